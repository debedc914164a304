//! The one table: its name, how it is made, and how it is known again.

use kv_core::{Error, Result};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::error::of_open;

/// Longer names are cut by the server, so that two of them would be one table.
const MAX_NAME_BYTES: usize = 63;
/// What the row of the empty key says, which is no key of a store. A change of the table gets a new number.
const MARKER: &[u8] = b"kv-postgres 1";
/// Two handles that make the same table at once get in each other's way, and one of them tries again.
const TRIES: usize = 5;

/// The name of a table, and of its schema if one is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    schema: Option<String>,
    name: String,
}

impl Table {
    /// `NAME` or `SCHEMA.NAME`. An error says what is right.
    pub(crate) fn new(text: &str) -> std::result::Result<Self, String> {
        let (schema, name) = match text.split_once('.') {
            Some((schema, name)) => (Some(schema), name),
            None => (None, text),
        };
        for part in schema.into_iter().chain([name]) {
            if part.is_empty() || part.len() > MAX_NAME_BYTES || part.contains(['\0', '.']) {
                return Err(format!(
                    "table={text:?} names no table; write table=NAME or table=SCHEMA.NAME, each of 1 to \
                     {MAX_NAME_BYTES} bytes"
                ));
            }
        }
        Ok(Self {
            schema: schema.map(str::to_owned),
            name: name.to_owned(),
        })
    }

    /// The name as SQL has it.
    pub(crate) fn sql(&self) -> String {
        let name = quoted(&self.name);
        match &self.schema {
            Some(schema) => format!("{}.{name}", quoted(schema)),
            None => name,
        }
    }

    /// Makes the table if there is none, and checks that it is one of ours. Its number in the server is the name of its
    /// wake-ups.
    pub(crate) async fn open(&self, client: &Client, location: &str) -> Result<u32> {
        for _ in 1..TRIES {
            match self.try_open(client, location).await {
                Err(Failure::Raced) => {}
                Err(Failure::Other(error)) => return Err(error),
                Ok(number) => return Ok(number),
            }
        }
        match self.try_open(client, location).await {
            Ok(number) => Ok(number),
            Err(Failure::Other(error)) => Err(error),
            Err(Failure::Raced) => Err(Error::Unavailable {
                reason: format!("others make and drop the table of {location} all the time; try again"),
                source: None,
            }),
        }
    }

    async fn try_open(&self, client: &Client, location: &str) -> std::result::Result<u32, Failure> {
        let failed = |error| Failure::new(error, location);
        let table = self.sql();
        if let Some(number) = self.number(client).await.map_err(failed)? {
            let marker = format!("SELECT v FROM {table} WHERE k = ''::bytea");
            let marker = client.query_opt(&marker, &[]).await.map_err(failed)?;
            match marker
                .map(|row| row.try_get::<_, Vec<u8>>(0))
                .transpose()
                .map_err(failed)?
            {
                Some(marker) if marker == MARKER => return Ok(number),
                Some(marker) => return Err(Failure::Other(other_version(location, &marker))),
                None => {}
            }
            let used = format!("SELECT EXISTS (SELECT 1 FROM {table})");
            if client.query_one(&used, &[]).await.map_err(failed)?.get(0) {
                // Between the two looks another handle may have begun to use it.
                return Err(if self.is_marked(client).await.map_err(failed)? {
                    Failure::Raced
                } else {
                    Failure::Other(Error::incompatible(
                        location,
                        "the table holds something else; choose another with table=NAME",
                    ))
                });
            }
        }
        client.batch_execute(&self.creation()).await.map_err(failed)?;
        // What it is now is looked at like what was there before.
        Err(Failure::Raced)
    }

    async fn is_marked(&self, client: &Client) -> std::result::Result<bool, tokio_postgres::Error> {
        let marked = format!("SELECT EXISTS (SELECT 1 FROM {} WHERE k = ''::bytea)", self.sql());
        Ok(client.query_one(&marked, &[]).await?.get(0))
    }

    async fn number(&self, client: &Client) -> std::result::Result<Option<u32>, tokio_postgres::Error> {
        let row = client
            .query_one("SELECT to_regclass($1)::oid", &[&self.sql()])
            .await?;
        row.try_get(0)
    }

    /// Statements that are sent as one are one transaction: there is no table of ours without its marker. An administrator may have made the table, empty,
    /// where the engine wants it in a form of its own.
    fn creation(&self) -> String {
        let table = self.sql();
        let schema = self.schema.as_deref().map(quoted);
        let schema = schema.map_or_else(String::new, |schema| {
            format!("CREATE SCHEMA IF NOT EXISTS {schema};")
        });
        let marker: String = MARKER.iter().map(|byte| format!("{byte:02x}")).collect();
        format!(
            "{schema}
             CREATE TABLE IF NOT EXISTS {table} (k bytea PRIMARY KEY, v bytea NOT NULL);
             INSERT INTO {table} (k, v) VALUES (''::bytea, '\\x{marker}'::bytea) ON CONFLICT (k) DO NOTHING"
        )
    }
}

/// How a look at the table failed.
enum Failure {
    /// Somebody else did something between two steps, or we did: look again.
    Raced,
    Other(Error),
}

impl Failure {
    fn new(error: tokio_postgres::Error, location: &str) -> Self {
        // `IF NOT EXISTS` looks first and makes it then, and does not see what others are about to make.
        let raced = [
            SqlState::UNIQUE_VIOLATION,
            SqlState::DUPLICATE_TABLE,
            SqlState::DUPLICATE_SCHEMA,
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::T_R_DEADLOCK_DETECTED,
            SqlState::UNDEFINED_TABLE,
        ];
        match error.code() {
            Some(code) if raced.contains(code) => Self::Raced,
            _ => Self::Other(of_open(error, location)),
        }
    }
}

fn other_version(location: &str, marker: &[u8]) -> Error {
    let found = String::from_utf8_lossy(marker).into_owned();
    let reason = if found.starts_with("kv-postgres ") {
        format!("its table is of another version ({found}); open it with the version that wrote it")
    } else {
        "the table holds something else; choose another with table=NAME".to_owned()
    };
    Error::incompatible(location, reason)
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_and_a_dot_divides() {
        let sql = |text| Table::new(text).expect("valid").sql();
        assert_eq!(sql("t"), r#""t""#);
        assert_eq!(sql("s.t"), r#""s"."t""#);
        assert_eq!(sql(r#"a"; DROP TABLE b; --"#), r#""a""; DROP TABLE b; --""#);
    }

    #[test]
    fn names_that_the_server_would_cut_are_refused() {
        for text in ["", ".", "s.", ".t", "a.b.c", "nul\0", &"x".repeat(64)] {
            assert!(Table::new(text).is_err(), "{text:?}");
        }
        assert!(Table::new(&"x".repeat(63)).is_ok());
    }
}
