//! A copy of a store is that store: on every pair of backends, after any interruption, and from files to servers.

mod content;
mod faults;
mod pairs;
mod refused;

#[cfg(all(feature = "fjall", feature = "postgres"))]
#[path = "../../../kv-postgres/tests/common/server.rs"]
mod postgres_server;

#[cfg(all(feature = "fjall", feature = "etcd"))]
#[path = "../../../kv-etcd/tests/common/mod.rs"]
mod etcd_server;

#[cfg(all(feature = "fjall", any(feature = "postgres", feature = "etcd")))]
mod servers;
