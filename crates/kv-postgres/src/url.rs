//! What a URL says: the parameters of this crate, and those that the driver knows.

use std::path::PathBuf;
use std::time::Duration;

use kv_core::{Error, Result, error_chain};
use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use crate::table::Table;
use crate::tls::Tls;

const DEFAULT_TABLE: &str = "kv_store";
/// Each connection is a process of the server, which takes 100 of them unless it is told otherwise.
const DEFAULT_MAX_CONNECTIONS: usize = 16;
/// One for commits and one for reads.
const MIN_CONNECTIONS: usize = 2;
/// More than this and the server is slower, not faster.
const MAX_CONNECTIONS: usize = 1000;
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_TIMEOUT_SECS: u64 = 24 * 60 * 60;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a server that is gone without a word is taken for one that is there.
const SILENCE: Duration = Duration::from_secs(15);

/// Everything that opening and reconnecting needs.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) config: Config,
    pub(crate) table: Table,
    pub(crate) tls: Tls,
    pub(crate) max_connections: usize,
    /// How long one call may take.
    pub(crate) timeout: Duration,
    pub(crate) wakes: bool,
    /// The URL for messages: without the password.
    pub(crate) location: String,
}

/// What is asked of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Encryption {
    /// None.
    Off,
    /// If the server offers it, and whoever the server is.
    Preferred,
    /// Always, to a server with a certificate that the system trusts, or that the file says.
    Verified { roots: Option<PathBuf> },
}

/// Takes `url` apart.
pub(crate) fn parse(url: &str) -> Result<Target> {
    let refused = |reason: String| Error::incompatible(location(url), reason);
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let scheme = base.split("://").next().unwrap_or_default();
    if !["postgres", "postgresql"].contains(&scheme.to_ascii_lowercase().as_str())
        || scheme.len() == base.len()
    {
        return Err(refused("write postgres://USER:PASSWORD@HOST/DATABASE".to_owned()));
    }
    let mut ours = Parameters::default();
    let mut drivers = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_decode_str(value).decode_utf8();
        let value = value.map_err(|_| refused(format!("the value of {name} is not UTF-8")))?;
        if !ours.take(name, &value).map_err(refused)? {
            drivers.push(pair);
        }
    }
    // The driver takes its schemes in lower case alone.
    let rest = &base[scheme.len()..];
    let config = format!("postgres{rest}?{}", drivers.join("&")).parse::<Config>();
    let mut config = config.map_err(|error| {
        refused(format!(
            "{}; see the documentation of kv_postgres",
            error_chain(&error)
        ))
    })?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err(refused(
            "it names no host; write postgres://USER:PASSWORD@HOST/DATABASE".to_owned(),
        ));
    }
    complete(&mut config);
    let encryption = ours.encryption().map_err(refused)?;
    config.ssl_mode(match encryption {
        Encryption::Off => SslMode::Disable,
        Encryption::Preferred => SslMode::Prefer,
        Encryption::Verified { .. } => SslMode::Require,
    });
    let table = ours.table.as_deref().unwrap_or(DEFAULT_TABLE);
    Ok(Target {
        table: Table::new(table).map_err(refused)?,
        tls: Tls::new(&encryption).map_err(refused)?,
        max_connections: ours.max_connections.unwrap_or(DEFAULT_MAX_CONNECTIONS),
        timeout: ours.timeout.unwrap_or(DEFAULT_TIMEOUT),
        wakes: ours.wakes.unwrap_or(true),
        location: described(&config, table),
        config,
    })
}

/// What the URL leaves open, and what it may not choose.
fn complete(config: &mut Config) {
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    if config.get_application_name().is_none() {
        config.application_name("kv-postgres");
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(SILENCE);
    }
    config
        .keepalives_idle(SILENCE / 3)
        .keepalives_interval(SILENCE / 3)
        .keepalives_retries(2);
    // A standby takes no commit, and what is read from it may be old.
    config.target_session_attrs(TargetSessionAttrs::ReadWrite);
}

#[derive(Default)]
struct Parameters {
    table: Option<String>,
    ssl_mode: Option<String>,
    ssl_root_cert: Option<PathBuf>,
    max_connections: Option<usize>,
    timeout: Option<Duration>,
    wakes: Option<bool>,
}

impl Parameters {
    /// Takes a parameter that is ours. An error says what is wrong with it and what is right.
    fn take(&mut self, name: &str, value: &str) -> Result<bool, String> {
        match name {
            "table" => self.table = Some(value.to_owned()),
            "sslmode" => self.ssl_mode = Some(value.to_owned()),
            "sslrootcert" => self.ssl_root_cert = Some(value.into()),
            "max_connections" => {
                let number = value
                    .parse()
                    .ok()
                    .filter(|it| (MIN_CONNECTIONS..=MAX_CONNECTIONS).contains(it));
                self.max_connections = Some(number.ok_or_else(|| {
                    format!("max_connections={value} is not between {MIN_CONNECTIONS} and {MAX_CONNECTIONS}")
                })?);
            }
            "timeout" => {
                let seconds = value
                    .parse()
                    .ok()
                    .filter(|it| (1..=MAX_TIMEOUT_SECS).contains(it));
                let seconds = seconds.ok_or_else(|| {
                    format!("timeout={value} is not between 1 and {MAX_TIMEOUT_SECS} seconds")
                })?;
                self.timeout = Some(Duration::from_secs(seconds));
            }
            "wakes" => {
                self.wakes = Some(match value {
                    "on" => true,
                    "off" => false,
                    other => return Err(format!("wakes={other} is neither on nor off")),
                });
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn encryption(&self) -> Result<Encryption, String> {
        let roots = self.ssl_root_cert.clone();
        match self.ssl_mode.as_deref() {
            Some("disable") => Ok(Encryption::Off),
            None if roots.is_some() => Ok(Encryption::Verified { roots }),
            None | Some("prefer") => Ok(Encryption::Preferred),
            Some("require" | "verify-full") if cfg!(feature = "tls") => Ok(Encryption::Verified { roots }),
            Some(mode @ ("require" | "verify-full")) => Err(format!(
                "sslmode={mode} needs the feature `tls` of the crate `kv-postgres`, which is off"
            )),
            Some(other) => Err(format!(
                "sslmode={other} is not known; use disable, prefer, require or verify-full (the last two are the same)"
            )),
        }
    }
}

/// The URL of a configuration, without its password.
fn described(config: &Config, table: &str) -> String {
    let hosts = config.get_hosts().iter().enumerate().map(|(index, host)| {
        let port = match config.get_ports() {
            [] => 5432,
            [port] => *port,
            ports => ports.get(index).copied().unwrap_or(5432),
        };
        match host {
            Host::Tcp(name) => format!("{name}:{port}"),
            #[cfg(unix)]
            Host::Unix(path) => path.display().to_string(),
        }
    });
    let hosts = hosts.collect::<Vec<_>>().join(",");
    let user = config
        .get_user()
        .map(|user| format!("{user}@"))
        .unwrap_or_default();
    let database = config.get_dbname().unwrap_or_default();
    format!("postgres://{user}{hosts}/{database}?table={table}")
}

/// What can be said of a URL that is not understood: its password may be anywhere.
fn location(url: &str) -> String {
    let host = url.rsplit('@').next().unwrap_or_default();
    let host = host.split_once("://").map_or(host, |(_, host)| host);
    let host = host.split(['/', '?']).next().unwrap_or_default();
    format!("postgres://{host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(url: &str) -> String {
        match parse(url) {
            Ok(_) => panic!("{url} must be refused"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn every_parameter_is_taken_and_the_drivers_are_passed_on() {
        let url = "postgres://u:p%40ss@h1:1,h2:2/db?table=s.t&max_connections=4&timeout=5&wakes=off&sslmode=disable\
                   &connect_timeout=3&application_name=app";
        let target = parse(url).expect("valid");
        assert_eq!(target.location, "postgres://u@h1:1,h2:2/db?table=s.t");
        assert_eq!(
            (target.max_connections, target.timeout),
            (4, Duration::from_secs(5))
        );
        assert_eq!(
            (target.wakes, target.config.get_ssl_mode()),
            (false, SslMode::Disable)
        );
        assert_eq!(target.config.get_password(), Some(&b"p@ss"[..]));
        assert_eq!(target.config.get_connect_timeout(), Some(&Duration::from_secs(3)));
        assert_eq!(target.config.get_application_name(), Some("app"));
    }

    #[test]
    fn both_schemes_are_taken_in_any_case() {
        for scheme in ["postgres", "postgresql", "PostgreSQL"] {
            let target = parse(&format!("{scheme}://h/db")).expect("valid");
            assert_eq!(target.location, "postgres://h:5432/db?table=kv_store");
        }
    }

    #[test]
    fn wrong_parameter_is_named_with_what_is_right() {
        for (query, remedy) in [
            ("sslmode=verify-ca", "use disable, prefer, require or verify-full"),
            ("max_connections=1", "between 2 and 1000"),
            ("timeout=0", "between 1 and 86400"),
            ("wakes=maybe", "neither on nor off"),
            ("table=", "table"),
            ("tabel=x", "tabel"),
            ("table=%ff", "not UTF-8"),
        ] {
            let refusal = refusal(&format!("postgres://u:secret@h/db?{query}"));
            assert!(refusal.contains(remedy), "{refusal}");
            assert!(!refusal.contains("secret"), "{refusal}");
        }
    }

    #[test]
    fn url_without_a_host_is_told_the_form() {
        for url in ["postgres:db", "postgres:///db", "mysql://h/db", "postgres"] {
            assert!(
                refusal(url).contains("postgres://USER:PASSWORD@HOST/DATABASE"),
                "{url}"
            );
        }
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn encryption_that_was_not_built_names_its_feature() {
        assert!(refusal("postgres://h/db?sslmode=require").contains("the feature `tls`"));
    }
}
