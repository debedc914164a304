//! A [`KeyValueStore`](kv_core::KeyValueStore) on PostgreSQL: one table of ordered byte keys, which any number of processes share.
//!
//! ```no_run
//! use kv_core::{Batch, Durability, KeyValueStore, Outcome};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> kv_core::Result<()> {
//! let store = kv_postgres::Store::open("postgres://app:secret@db.example/app").await?;
//! let batch = Batch::new().require_absent("greeting").put("greeting", "hello");
//! assert_eq!(store.commit(batch, Durability::Durable).await?, Outcome::Applied);
//! store.close().await
//! # }
//! ```
//!
//! # The URL
//! `postgres://USER:PASSWORD@HOST:PORT/DATABASE?PARAMETERS`, or `postgresql://`. Special characters of user and password
//! are percent-encoded. Several hosts are tried in turn (`h1:5432,h2:5432`), and the first that takes commits is used, so
//! that a store finds the new primary after a failover.
//!
//! | parameter | is | default |
//! |---|---|---|
//! | `table` | the table of the store, `NAME` or `SCHEMA.NAME`: stores of one database differ in it | `kv_store` |
//! | `sslmode` | `disable`; `prefer`: encrypted if the server offers it, whoever it is; `require` or `verify-full`: encrypted, to a server whose certificate is trusted and has its name | `prefer`, or `require` with `sslrootcert` |
//! | `sslrootcert` | a PEM file of the certificates that are trusted | the system's |
//! | `max_connections` | connections of one handle: a quarter of them commits, and one more listens once there is a [watch](kv_core::KeyValueStore::watch) | 16 |
//! | `timeout` | seconds that a call may take | 30 |
//! | `wakes` | `off`: commits wake nobody | `on` |
//!
//! Others go to the driver, tokio-postgres: `connect_timeout`, `application_name`, `options`, `keepalives`. Here `require`
//! looks at the certificate, where libpq does not. Certificates of clients are not supported.
//!
//! # What is stored
//! One table, `(k bytea PRIMARY KEY, v bytea NOT NULL)`, whose bytes no collation sorts. The row of the empty key, which is
//! no key of a store, says that the table is ours and of which version; an empty table that an administrator made is
//! taken as it is. Making the table needs `CREATE` on the schema; afterwards `SELECT`, `INSERT`, `UPDATE` and `DELETE` on
//! the table are enough. `VACUUM` is left to the server. It compresses values of more than 2 KB, by lz4 if it was built with
//! that.
//!
//! # What a commit does
//! A commit is one statement, which is its own transaction at isolation `SERIALIZABLE`: one round trip checks the
//! conditions, writes, and wakes. Either all of it holds at one moment, or the server undoes it because another commit came
//! between; then it is sent again, and says which condition does not hold any more. Nobody holds a lock while a client
//! thinks, and a client that goes away leaves nothing open.
//! - [`Durability::Durable`](kv_core::Durability::Durable): it returns when the server has synced its log, and, where the
//!   server is set to (`synchronous_standby_names`), when a standby has it too. A server that was set to
//!   `synchronous_commit = off` is asked for `on`.
//! - [`Durability::Buffered`](kv_core::Durability::Buffered): `synchronous_commit = off` for that one transaction. The
//!   server syncs it within the second; a crash of the server before loses it, a crash of the client does not.
//!
//! Reads are one statement each, at `READ COMMITTED`, from the primary: they see every commit that has returned. A page
//! has at most 1,024 entries, whatever the scan asks for.
//!
//! # Waking
//! Each commit that writes does a `NOTIFY` in its transaction, and one connection per handle listens, once somebody
//! watches. After a lost connection it comes back by itself and wakes everybody. A `NOTIFY` costs something: the server
//! lets transactions that have one commit one after another, across all its databases. Where many stores share a server
//! and nobody follows them, `wakes=off` lets their syncs overlap.
//!
//! # What is left when something fails
//! - A connection that breaks, a server that ends it, or no answer in time, after a commit was sent:
//!   [`Error::OutcomeUnknown`](kv_core::Error::OutcomeUnknown). What the server says of a transaction that it undid, and
//!   whatever happens before it was sent: [`Error::Unavailable`](kv_core::Error::Unavailable).
//! - A read on a connection that had ended is sent again on another.
//! - The server's own time limit for a statement is the same as the call's: what was given up does not land much later.
//! - The server has checksums of its pages only if it was made with them (`initdb --data-checksums`). Keep one in the
//!   value, as the event store does.
//!
//! # Limits
//! Keys of 1 KiB, values of 16 MiB, batches of 64 MiB and 65,536 operations. A batch is in memory several times, on both
//! sides, while it is sent. A proxy between must give each client a session of its own: one that shares
//! sessions by the transaction (PgBouncer's `transaction` mode) loses prepared statements and `LISTEN`.
//!
//! # Engines like it
//! Checked is PostgreSQL 15 alone. The statements are ones that CockroachDB and YugabyteDB document, too: plain tables,
//! `unnest`, common table expressions and `SERIALIZABLE`, no `FOR UPDATE`, no advisory lock, no function of our own. There,
//! `wakes=off` does without `NOTIFY`, and YugabyteDB needs a table that sorts its keys, made beforehand:
//! `CREATE TABLE kv_store (k bytea, v bytea NOT NULL, PRIMARY KEY (k ASC))`. Run both suites before trusting it.
#![forbid(unsafe_code)]

mod connection;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod pool;
mod statements;
mod store;
mod table;
mod tls;
mod url;
mod wake;

pub use store::Store;
