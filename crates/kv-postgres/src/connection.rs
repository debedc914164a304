//! One connection: how it is made, and what it is set to.

use std::sync::Arc;

use kv_core::Result;
use tokio_postgres::Client;

use crate::error::of_open;
use crate::statements::{Commits, Reads};
use crate::tls;
use crate::url::Target;

/// What statements need to know of the table once it is there.
pub(crate) struct Place {
    pub(crate) target: Target,
    /// The table's name in SQL.
    pub(crate) table: String,
    /// On what commits are told, if they are.
    pub(crate) channel: Option<String>,
}

/// A connection with its statements.
pub(crate) struct Connection<S> {
    pub(crate) client: Client,
    pub(crate) statements: S,
}

/// What a pool's connections have prepared.
#[async_trait::async_trait]
pub(crate) trait Statements: Sized + Send + Sync + 'static {
    /// The isolation of their transactions.
    const ISOLATION: &str;

    async fn prepare(client: &Client, place: &Place) -> std::result::Result<Self, tokio_postgres::Error>;
}

#[async_trait::async_trait]
impl Statements for Reads {
    /// A statement sees one state, and no read makes a commit fail.
    const ISOLATION: &str = "read committed";

    async fn prepare(client: &Client, place: &Place) -> std::result::Result<Self, tokio_postgres::Error> {
        Self::prepare(client, &place.table).await
    }
}

#[async_trait::async_trait]
impl Statements for Commits {
    const ISOLATION: &str = "serializable";

    async fn prepare(client: &Client, place: &Place) -> std::result::Result<Self, tokio_postgres::Error> {
        Self::prepare(client, &place.table, place.channel.as_deref()).await
    }
}

impl<S: Statements> Connection<S> {
    pub(crate) async fn open(place: &Arc<Place>) -> Result<Self> {
        let client = connect(&place.target).await?;
        let failed = |error| of_open(error, &place.target.location);
        let settings = settings(&place.target, S::ISOLATION);
        client.batch_execute(&settings).await.map_err(failed)?;
        let statements = S::prepare(&client, place).await.map_err(failed)?;
        Ok(Self { client, statements })
    }
}

/// A bare connection, which lives as long as the client.
pub(crate) async fn connect(target: &Target) -> Result<Client> {
    let (client, connection) = tls::connect(target).await?;
    tokio::spawn(async move {
        // Whoever uses the client is told.
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to PostgreSQL ended");
        }
    });
    Ok(client)
}

/// What a session is set to. Servers that know a setting, and the value, are set; others have nothing of the kind.
///
/// Blocks of the log are large enough to be compressed by the server, whose own way takes a fifth of the time of a commit.
/// The statements look single keys and short ranges up by the index. A table that is new, and was not analyzed yet, would
/// make the planner take other ways, and keep to them; a look at the whole table would also be in the way of all commits,
/// by what serializable isolation remembers of it.
fn settings(target: &Target, isolation: &str) -> String {
    let timeout = target.timeout.as_millis();
    format!(
        "SELECT set_config(known.name, wanted.value, false) FROM pg_settings AS known JOIN (VALUES
             ('default_transaction_isolation', '{isolation}'),
             ('statement_timeout', '{timeout}'),
             ('plan_cache_mode', 'force_generic_plan'),
             ('enable_seqscan', 'off'),
             ('enable_bitmapscan', 'off'),
             ('enable_hashjoin', 'off'),
             ('enable_mergejoin', 'off'),
             ('jit', 'off'),
             ('default_toast_compression', 'lz4')
         ) AS wanted(name, value)
         ON known.name = wanted.name AND (known.enumvals IS NULL OR wanted.value = ANY(known.enumvals));
         SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
    )
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;

    use super::*;
    use crate::url;

    #[test]
    fn connecting_on_a_runtime_that_has_ended_is_an_error() {
        let runtime = Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let handle = runtime.handle().clone();
        drop(runtime);
        let nobody_listens = url::parse("postgres://127.0.0.1:1/db?sslmode=disable").expect("a URL");
        assert!(handle.block_on(connect(&nobody_listens)).is_err());
    }
}
