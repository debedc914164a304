//! Where the cluster is, and what it was started with.

use std::path::PathBuf;
use std::time::Duration;

use kv_core::{Error, Result};

/// What etcd's members are started with unless somebody says otherwise.
const DEFAULT_MAX_TXN_OPS: usize = 128;
const DEFAULT_MAX_REQUEST_BYTES: usize = 3 << 19;
/// Long enough for any commit of a healthy cluster, short beside the election of a leader.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3);
const DEFAULT_PREFIX: &str = "eventstores";

/// Below it a batch could not have the 256 operations that the event store needs.
const MIN_TXN_OPS: usize = 48;
/// Below it little would be left for an event beside what the operations of a batch take.
const MIN_REQUEST_BYTES: usize = 512 << 10;
/// Part of every key, twice where a key is both checked and put.
const MAX_PREFIX_BYTES: usize = 255;
/// Clusters have three, five or seven members.
const MAX_ENDPOINTS: usize = 64;

/// Where the cluster is, who asks, and what its members were started with.
///
/// ```
/// use std::time::Duration;
///
/// let options = kv_etcd::Options::new(["10.0.0.1:2379", "10.0.0.2:2379", "10.0.0.3:2379"])
///     .prefix("billing/events")
///     .credentials("billing", "secret")
///     .ca_file("/etc/etcd/ca.pem")
///     .timeout(Duration::from_secs(5));
/// let url = "etcd://billing:secret@10.0.0.1,10.0.0.2,10.0.0.3/billing/events?ca=/etc/etcd/ca.pem&timeout_ms=5000";
/// assert_eq!(url.parse::<kv_etcd::Options>().unwrap(), options);
/// ```
#[derive(Clone, PartialEq, Eq)]
#[must_use]
pub struct Options {
    pub(crate) endpoints: Vec<String>,
    pub(crate) prefix: String,
    pub(crate) credentials: Option<(String, String)>,
    pub(crate) tls: Option<Tls>,
    pub(crate) timeout: Duration,
    pub(crate) max_txn_ops: usize,
    pub(crate) max_request_bytes: usize,
}

/// The files of a connection with TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tls {
    /// Without it the system's authorities are trusted.
    pub(crate) ca: Option<PathBuf>,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
}

impl Options {
    /// The members of a cluster, each as `host:port`; without a port it is 2379.
    ///
    /// See the [type](Self) for an example.
    pub fn new<E: Into<String>>(endpoints: impl IntoIterator<Item = E>) -> Self {
        let endpoints = endpoints.into_iter().map(Into::into);
        Self {
            endpoints: endpoints.map(with_port).collect(),
            prefix: DEFAULT_PREFIX.to_owned(),
            credentials: None,
            tls: None,
            timeout: DEFAULT_TIMEOUT,
            max_txn_ops: DEFAULT_MAX_TXN_OPS,
            max_request_bytes: DEFAULT_MAX_REQUEST_BYTES,
        }
    }

    /// What all keys of the store begin with: one cluster holds many stores. 1 to 255 bytes without a NUL;
    /// `eventstores` unless it is given.
    ///
    /// See the [type](Self) for an example.
    pub fn prefix(self, prefix: impl Into<String>) -> Self {
        let prefix = prefix.into();
        Self { prefix, ..self }
    }

    /// The user and the password that etcd asks for where its authentication is enabled.
    ///
    /// See the [type](Self) for an example.
    pub fn credentials(self, user: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            credentials: Some((user.into(), password.into())),
            ..self
        }
    }

    /// Speaks TLS, and trusts the system's authorities unless [`ca_file`](Self::ca_file) names another.
    ///
    /// ```
    /// let options = kv_etcd::Options::new(["etcd.example.com"]).tls();
    /// assert_eq!("etcd://etcd.example.com?tls=on".parse::<kv_etcd::Options>().unwrap(), options);
    /// ```
    pub fn tls(self) -> Self {
        self.with_tls(|_| ())
    }

    /// Speaks TLS, and trusts the authorities in a PEM file alone.
    ///
    /// See the [type](Self) for an example.
    pub fn ca_file(self, path: impl Into<PathBuf>) -> Self {
        self.with_tls(|tls| tls.ca = Some(path.into()))
    }

    /// Speaks TLS, and shows a certificate of its own: two PEM files, the certificate and its key.
    ///
    /// ```
    /// let options = kv_etcd::Options::new(["h"]).ca_file("ca.pem").identity_files("me.pem", "me.key");
    /// let url = "etcd://h?ca=ca.pem&cert=me.pem&key=me.key";
    /// assert_eq!(url.parse::<kv_etcd::Options>().unwrap(), options);
    /// ```
    pub fn identity_files(self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.with_tls(|tls| {
            tls.certificate = Some(certificate.into());
            tls.key = Some(key.into());
        })
    }

    /// How long one member may take to answer before another one is asked, 3 s unless it is given. A commit that was
    /// sent by then has an unknown outcome; a read goes on until four times as much is over. 10 ms to 60 s.
    ///
    /// See the [type](Self) for an example.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// The `--max-txn-ops` that the members were started with: 128, etcd's own, unless it is given, and 48 at least.
    ///
    /// ```
    /// let options = kv_etcd::Options::new(["h"]).max_txn_ops(1024).max_request_bytes(8 << 20);
    /// let url = "etcd://h?max_txn_ops=1024&max_request_bytes=8388608";
    /// assert_eq!(url.parse::<kv_etcd::Options>().unwrap(), options);
    /// ```
    pub fn max_txn_ops(self, max_txn_ops: usize) -> Self {
        Self { max_txn_ops, ..self }
    }

    /// The `--max-request-bytes` that the members were started with: 1.5 MiB, etcd's own, unless it is given, and
    /// 512 KiB to 64 MiB.
    ///
    /// See [`max_txn_ops`](Self::max_txn_ops) for an example.
    pub fn max_request_bytes(self, max_request_bytes: usize) -> Self {
        Self {
            max_request_bytes,
            ..self
        }
    }

    fn with_tls(mut self, change: impl FnOnce(&mut Tls)) -> Self {
        change(self.tls.get_or_insert_default());
        self
    }

    /// Where the store is, in the words of its URL, without its secrets.
    pub(crate) fn location(&self) -> String {
        format!("etcd://{}/{}", self.endpoints.join(","), self.prefix)
    }

    pub(crate) fn check(&self) -> Result<()> {
        let refuse = |reason: &str| Err(Error::invalid(reason));
        if self.endpoints.is_empty() || self.endpoints.len() > MAX_ENDPOINTS {
            return refuse(
                "an etcd cluster is named by 1 to 64 endpoints, such as etcd://10.0.0.1:2379,10.0.0.2:2379",
            );
        }
        if let Some(wrong) = self.endpoints.iter().find(|it| !is_endpoint(it)) {
            return Err(Error::invalid(format!(
                "{wrong:?} is no endpoint of etcd; write HOST:PORT, such as 10.0.0.1:2379 or [::1]:2379"
            )));
        }
        if self.prefix.is_empty() || self.prefix.len() > MAX_PREFIX_BYTES || self.prefix.contains('\0') {
            return refuse("the prefix of a store in etcd has 1 to 255 bytes, and no NUL in it; use another");
        }
        if self
            .tls
            .as_ref()
            .is_some_and(|tls| tls.certificate.is_some() != tls.key.is_some())
        {
            return refuse("a certificate needs its key, and a key its certificate: give cert and key both");
        }
        if !(Duration::from_millis(10)..=Duration::from_secs(60)).contains(&self.timeout) {
            return refuse("the timeout of etcd is from 10 ms to 60 s (timeout_ms); use one in between");
        }
        if self.max_txn_ops < MIN_TXN_OPS {
            return refuse(
                "max_txn_ops is 48 at least; start etcd's members with --max-txn-ops=128, their default",
            );
        }
        if !(MIN_REQUEST_BYTES..=64 << 20).contains(&self.max_request_bytes) {
            return refuse("max_request_bytes is from 524288 to 67108864; etcd's own default is 1572864");
        }
        Ok(())
    }
}

/// Without the password.
impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("endpoints", &self.endpoints)
            .field("prefix", &self.prefix)
            .field("user", &self.credentials.as_ref().map(|(user, _)| user))
            .field("tls", &self.tls)
            .field("timeout", &self.timeout)
            .field("max_txn_ops", &self.max_txn_ops)
            .field("max_request_bytes", &self.max_request_bytes)
            .finish()
    }
}

fn with_port(endpoint: String) -> String {
    // A colon behind the bracket that ends an address of version 6, or the only one.
    let has_port = match endpoint.rsplit_once(']') {
        Some((_, rest)) => rest.starts_with(':'),
        None => endpoint.contains(':'),
    };
    if has_port { endpoint } else { endpoint + ":2379" }
}

fn is_endpoint(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match bare {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|it| it.is_ascii_alphanumeric() || b".-_".contains(&it))
        }
    };
    is_host && port.parse::<u16>().is_ok_and(|port| port > 0)
}
