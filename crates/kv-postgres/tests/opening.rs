//! What opening makes, what it refuses, and what it says then.

mod common;

use common::{FreshTable, client, commit, execute, open, server};
use kv_core::{Batch, Error, KeyValueStore};
use kv_postgres::Store;

async fn refused(url: &str) -> Error {
    match Store::open(url).await {
        Ok(_) => panic!("{url} must be refused"),
        Err(error) => error,
    }
}

/// The URL is refused for good, with a remedy and without its password.
async fn check_incompatible(url: &str, remedy: &str) {
    let error = refused(url).await;
    assert!(matches!(error, Error::Incompatible { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(remedy), "{text}");
    assert!(!text.contains("sesame"), "{text}");
}

/// The server's URL with another user, password, port or database.
fn changed(server: &str, what: &str, by: &str) -> String {
    assert!(
        server.contains(what),
        "the tests know the server of cargo xtask services"
    );
    server.replacen(what, by, 1)
}

#[tokio::test]
async fn server_that_is_not_there_is_unavailable_and_says_where_it_was_looked_for() {
    let error = refused("postgres://u:sesame@127.0.0.1:1/db").await;
    let Error::Unavailable { reason, .. } = &error else {
        panic!("{error:?}")
    };
    assert!(reason.contains("postgres://u@127.0.0.1:1/db"), "{reason}");
    assert!(reason.contains("is the server running"), "{reason}");
    assert!(!format!("{error:?}").contains("sesame"), "{error:?}");
}

#[tokio::test]
async fn user_password_and_database_that_are_wrong_are_named() {
    let Some(server) = server() else { return };
    if std::env::var_os("EVENTSTORES_TEST_POSTGRES").is_some() {
        return;
    }
    let remedy = "correct user and password in the URL";
    check_incompatible(&changed(server, ":eventstores@", ":sesame@"), remedy).await;
    check_incompatible(&changed(server, "eventstores:", "nobody:"), remedy).await;
    let remedy = "write postgres://USER:PASSWORD@HOST/DATABASE";
    check_incompatible(&changed(server, ":eventstores@", "@"), remedy).await;
    check_incompatible(&changed(server, "/postgres", "/nowhere"), "create the database").await;
}

#[tokio::test]
async fn table_of_somebody_else_is_refused_and_left_alone() {
    let Some(server) = server() else { return };
    let remedy = "the table holds something else; choose another with table=NAME";
    for (columns, row) in [
        ("id int", "1"),
        ("k bytea PRIMARY KEY, v bytea NOT NULL", "'a', 'b'"),
        ("k text PRIMARY KEY, v text", "'a', 'b'"),
    ] {
        let table = FreshTable::new();
        let sql = format!(
            "CREATE TABLE \"{0}\" ({columns}); INSERT INTO \"{0}\" VALUES ({row})",
            table.name()
        );
        execute(server, &sql).await;
        check_incompatible(&table.url(), remedy).await;
        let count = format!("SELECT count(*) FROM \"{}\"", table.name());
        let rows: i64 = client(server)
            .await
            .query_one(&count, &[])
            .await
            .expect("count")
            .get(0);
        assert_eq!(rows, 1);
    }
}

#[tokio::test]
async fn table_of_another_version_is_refused() {
    let Some(server) = server() else { return };
    let table = FreshTable::new();
    open(&table.url()).await.close().await.expect("close");
    let newer = format!(
        "UPDATE \"{}\" SET v = 'kv-postgres 99' WHERE k = ''",
        table.name()
    );
    execute(server, &newer).await;
    check_incompatible(&table.url(), "open it with the version that wrote it").await;
}

#[tokio::test]
async fn empty_table_that_an_administrator_made_is_taken() {
    let Some(server) = server() else { return };
    let table = FreshTable::new();
    let made = format!(
        "CREATE TABLE \"{}\" (k bytea PRIMARY KEY, v bytea NOT NULL) WITH (fillfactor = 80)",
        table.name()
    );
    execute(server, &made).await;
    let store = open(&table.url()).await;
    commit(&store, Batch::new().put("k", "v")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_that_open_a_new_store_at_once_all_get_it() {
    if server().is_none() {
        return;
    }
    let table = FreshTable::new();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..8 {
        let url = table.url();
        tasks.spawn(async move {
            let store = open(&url).await;
            commit(&store, Batch::new().put(format!("k{number}"), "v")).await;
        });
    }
    tasks.join_all().await;
    let store = open(&table.url()).await;
    assert_eq!(
        store
            .scan(kv_core::Scan::prefix("k"))
            .await
            .expect("scan")
            .entries
            .len(),
        8
    );
}

#[tokio::test]
async fn schema_is_made_and_two_tables_are_two_stores() {
    let Some(server) = server() else { return };
    let schema = FreshTable::new();
    let url = |table: &str| format!("{server}?table={}.{table}", schema.name());
    let (one, other) = (open(&url("one")).await, open(&url("other")).await);
    commit(&one, Batch::new().put("k", "v")).await;
    assert_eq!(other.get(b"k").await.expect("get"), None);
    drop((one, other));
    execute(server, &format!("DROP SCHEMA \"{}\" CASCADE", schema.name())).await;
}

#[tokio::test]
async fn store_without_wake_ups_works_and_says_so() {
    if server().is_none() {
        return;
    }
    let table = FreshTable::new();
    let store = open(&format!("{}&wakes=off", table.url())).await;
    assert!(store.watch().await.expect("watch").is_none());
    commit(&store, Batch::new().put("k", "v")).await;
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn encrypted_connection_needs_a_certificate_that_is_trusted() {
    let Some(server) = server() else { return };
    if std::env::var_os("EVENTSTORES_TEST_POSTGRES").is_some() {
        return;
    }
    let table = FreshTable::new();
    let remedy = "give the certificate of its authority by sslrootcert=PATH";
    check_incompatible(&format!("{}&sslmode=require", table.url()), remedy).await;

    let row = client(server)
        .await
        .query_one("SELECT pg_read_file('server.crt')", &[])
        .await;
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), row.expect("the certificate").get::<_, &str>(0)).expect("write");
    let trusted = format!(
        "{}&sslmode=verify-full&sslrootcert={}",
        table.url(),
        file.path().display()
    );
    let store = open(&format!("{trusted}&application_name={}", table.name())).await;
    commit(&store, Batch::new().put("k", "v")).await;
    let encrypted =
        "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = $1";
    let row = client(server)
        .await
        .query_one(encrypted, &[&table.name()])
        .await
        .expect("look");
    assert!(row.get::<_, bool>(0));

    // The certificate is of this machine, by its name and its address, and of no other name.
    let other = trusted.replace("127.0.0.1", "127.0.0.2");
    let error = refused(&other).await;
    assert!(
        matches!(error, Error::Incompatible { .. } | Error::Unavailable { .. }),
        "{error:?}"
    );
    std::fs::write(file.path(), "no certificate").expect("write");
    check_incompatible(&trusted, "the file has no certificate").await;
}
