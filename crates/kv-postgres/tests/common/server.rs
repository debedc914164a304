//! The server that tests use, and a fresh table on it for each.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::io::Write;
use std::net::TcpStream;
use std::sync::OnceLock;

/// Where `cargo xtask services up` starts it.
const SERVICE: &str = "postgres://eventstores:eventstores@127.0.0.1:54329/postgres";

/// The URL of the server, without parameters. `None` where there is none, which fails the test if servers are required.
pub(crate) fn server() -> Option<&'static str> {
    static SERVER: OnceLock<Option<String>> = OnceLock::new();
    let found = SERVER.get_or_init(|| {
        let url = std::env::var("EVENTSTORES_TEST_POSTGRES").unwrap_or_else(|_| SERVICE.to_owned());
        let address = url
            .rsplit('@')
            .next()
            .unwrap_or_default()
            .split('/')
            .next()
            .unwrap_or_default();
        TcpStream::connect(address).is_ok().then_some(url)
    });
    if found.is_none() {
        let required = std::env::var("EVENTSTORES_REQUIRE_SERVICES").is_ok_and(|it| it == "1");
        assert!(!required, "no PostgreSQL is reachable; cargo xtask services up");
        // The print macros are captured in a test that passes; the stream itself is not.
        let _ = writeln!(
            std::io::stderr(),
            "skipped: no PostgreSQL is reachable; cargo xtask services up"
        );
    }
    found.as_deref()
}

/// The name of a table that nobody else uses, which is dropped with this.
pub(crate) struct FreshTable {
    name: String,
}

impl FreshTable {
    pub(crate) fn new() -> Self {
        Self {
            name: format!("test_{:016x}", fastrand::u64(..)),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The URL of a store in the table.
    pub(crate) fn url(&self) -> String {
        let server = server().expect("a test without a server has ended before");
        format!("{server}?table={}&max_connections=8", self.name)
    }
}

impl Drop for FreshTable {
    fn drop(&mut self) {
        let Some(server) = server() else { return };
        let sql = format!("DROP TABLE IF EXISTS \"{}\"", self.name);
        // A runtime of its own: the one of the test may be the one that waits for this drop.
        let drop = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(execute(server, &sql));
        });
        if drop.join().is_err() && !std::thread::panicking() {
            panic!("the table of the test cannot be dropped");
        }
    }
}

/// A bare connection to the server.
pub(crate) async fn client(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
        .await
        .expect("connect");
    tokio::spawn(connection);
    client
}

pub(crate) async fn execute(url: &str, sql: &str) {
    client(url).await.batch_execute(sql).await.expect(sql);
}
