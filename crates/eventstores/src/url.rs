//! URLs: which backend, and where its data is.
//!
//! Parsing is pure and knows every backend, whichever features are on: a URL means the same in every build.

use std::fmt;
#[cfg(feature = "_engine")]
use std::path::Path;
use std::path::PathBuf;
use std::str::FromStr;

/// Every URL that there is, for messages.
const FORMS: &str = "memory:, sled:PATH, fjall:PATH, redb:PATH, lmdb:PATH, postgres://HOST/DATABASE or etcd://HOST:PORT/PREFIX";

/// Where the data of a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    /// In the memory of the process, new and empty.
    Memory,
    /// In a directory of the engine sled.
    Sled(PathBuf),
    /// In a directory of the engine fjall.
    Fjall(PathBuf),
    /// In a directory of the engine redb.
    Redb(PathBuf),
    /// In a directory of the engine LMDB.
    Lmdb(PathBuf),
    /// In a table of a PostgreSQL server.
    Postgres(ServerUrl),
    /// In a cluster of etcd.
    Etcd(ServerUrl),
}

/// The URL of a server, or of several, which may hold a password: it is not shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ServerUrl(String);

/// What is wrong with a URL, and what is right.
///
/// No message repeats the text behind an unknown scheme: it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UrlError {
    MissingScheme,
    UnknownScheme { scheme: String },
    MemoryHasNoPath,
    EmptyPath { scheme: &'static str },
    NulInPath { scheme: &'static str },
    Host { scheme: &'static str, rest: String },
    NoHost { form: &'static str },
}

impl Location {
    /// The feature of this crate that makes the backend available.
    pub(crate) fn feature(&self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Sled(_) => "sled",
            Self::Fjall(_) => "fjall",
            Self::Redb(_) => "redb",
            Self::Lmdb(_) => "lmdb",
            Self::Postgres(_) => "postgres",
            Self::Etcd(_) => "etcd",
        }
    }

    /// The directory of an engine that has one.
    #[cfg(feature = "_engine")]
    pub(crate) fn directory(&self) -> Option<&Path> {
        match self {
            Self::Sled(path) | Self::Fjall(path) | Self::Redb(path) | Self::Lmdb(path) => Some(path),
            Self::Memory | Self::Postgres(_) | Self::Etcd(_) => None,
        }
    }
}

impl FromStr for Location {
    type Err = UrlError;

    fn from_str(url: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = url
            .split_once(':')
            .filter(|(scheme, _)| is_scheme(scheme))
            .ok_or(UrlError::MissingScheme)?;
        match scheme.to_ascii_lowercase().as_str() {
            "memory" if rest.is_empty() => Ok(Self::Memory),
            "memory" => Err(UrlError::MemoryHasNoPath),
            "sled" => Ok(Self::Sled(path("sled", rest)?)),
            "fjall" => Ok(Self::Fjall(path("fjall", rest)?)),
            "redb" => Ok(Self::Redb(path("redb", rest)?)),
            "lmdb" => Ok(Self::Lmdb(path("lmdb", rest)?)),
            "postgres" | "postgresql" => {
                ServerUrl::new(url, rest, "postgres://USER:PASSWORD@HOST/DATABASE").map(Self::Postgres)
            }
            "etcd" => ServerUrl::new(url, rest, "etcd://HOST:PORT,HOST:PORT/PREFIX").map(Self::Etcd),
            _ => Err(UrlError::UnknownScheme {
                scheme: scheme.to_owned(),
            }),
        }
    }
}

/// The URL of the location, in the form that is preferred.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory:"),
            Self::Sled(path) => write!(f, "sled:{}", path.display()),
            Self::Fjall(path) => write!(f, "fjall:{}", path.display()),
            Self::Redb(path) => write!(f, "redb:{}", path.display()),
            Self::Lmdb(path) => write!(f, "lmdb:{}", path.display()),
            Self::Postgres(url) | Self::Etcd(url) => url.fmt(f),
        }
    }
}

impl ServerUrl {
    /// `url`, of which `rest` follows the colon.
    fn new(url: &str, rest: &str, form: &'static str) -> Result<Self, UrlError> {
        match rest.strip_prefix("//") {
            Some(host) if !host.is_empty() => Ok(Self(url.to_owned())),
            _ => Err(UrlError::NoHost { form }),
        }
    }

    /// The whole URL, for the backend.
    #[cfg(any(feature = "postgres", feature = "etcd"))]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The URL without user, password and parameters.
impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once("://").unwrap_or_default();
        // A password may have any character but @, which ends it.
        let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        write!(f, "{scheme}://{}", host.split('?').next().unwrap_or_default())
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingScheme => write!(
                f,
                "the URL has no scheme; use {FORMS} (a directory alone does not say which engine: fjall:./data does)"
            ),
            Self::UnknownScheme { scheme } => {
                write!(f, "no backend has the URL scheme {scheme:?}; use {FORMS}")
            }
            Self::MemoryHasNoPath => {
                f.write_str("a store in memory has no path or options; write memory: and nothing after it")
            }
            Self::EmptyPath { scheme } => write!(
                f,
                "the URL names no directory; write {scheme}:PATH, such as {scheme}:./data"
            ),
            Self::NulInPath { scheme } => {
                write!(f, "the path of the {scheme} URL has a NUL character; remove it")
            }
            Self::NoHost { form } => write!(f, "the URL names no server; write {form}"),
            Self::Host { scheme, rest } => write!(
                f,
                "{scheme} is in this process and has no host; write {scheme}:PATH: {scheme}:{rest}, or \
                 {scheme}:/{rest} for an absolute path"
            ),
        }
    }
}

impl std::error::Error for UrlError {}

/// Whether `text` can be a scheme at all: RFC 3986, section 3.1. It cannot when it is a part of a path.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

/// The path in what follows the colon. It is taken as it is: no character of it is special, and none is decoded.
fn path(scheme: &'static str, rest: &str) -> Result<PathBuf, UrlError> {
    let path = match rest.strip_prefix("//") {
        // `scheme:///absolute`: an empty host, then the path.
        Some(path) if path.is_empty() || path.starts_with('/') => path,
        Some(host_and_path) => {
            return Err(UrlError::Host {
                scheme,
                rest: host_and_path.to_owned(),
            });
        }
        None => rest,
    };
    if path.is_empty() {
        return Err(UrlError::EmptyPath { scheme });
    }
    if path.contains('\0') {
        return Err(UrlError::NulInPath { scheme });
    }
    Ok(PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sled(path: &str) -> Result<Location, UrlError> {
        Ok(Location::Sled(path.into()))
    }

    fn fjall(path: &str) -> Result<Location, UrlError> {
        Ok(Location::Fjall(path.into()))
    }

    #[test]
    fn urls_name_a_backend_and_a_place() {
        for (url, expected) in [
            ("memory:", Ok(Location::Memory)),
            ("sled:data", sled("data")),
            ("sled:./data", sled("./data")),
            ("sled:../up", sled("../up")),
            ("sled:/abs/path", sled("/abs/path")),
            ("fjall:data", fjall("data")),
            ("fjall:///abs/path", fjall("/abs/path")),
            ("fjall:///", fjall("/")),
            (r"fjall:C:\data", fjall(r"C:\data")),
            ("redb:data", Ok(Location::Redb("data".into()))),
            ("lmdb:data", Ok(Location::Lmdb("data".into()))),
        ] {
            assert_eq!(url.parse(), expected, "{url}");
        }
    }

    #[test]
    fn feature_of_a_backend_is_its_scheme() {
        for url in [
            "memory:",
            "sled:a",
            "fjall:a",
            "redb:a",
            "lmdb:a",
            "postgres://h/db",
            "etcd://h/app",
        ] {
            let location = url.parse::<Location>().expect(url);
            assert_eq!(url.split(':').next(), Some(location.feature()));
        }
    }

    #[test]
    fn scheme_is_case_insensitive_and_path_is_not() {
        assert_eq!("MEMORY:".parse(), Ok(Location::Memory));
        assert_eq!("Sled:Data".parse(), sled("Data"));
        assert_eq!("fJaLL:///DATA".parse(), fjall("/DATA"));
    }

    #[test]
    fn path_is_taken_literally() {
        for path in [
            "with space",
            " leading",
            "50%25",
            "a?b=c",
            "a#b",
            "a:b",
            "Bücher/日本",
            "~/data",
            "/a//b",
        ] {
            assert_eq!(format!("fjall:{path}").parse(), fjall(path), "{path}");
        }
    }

    #[test]
    fn text_without_scheme_is_told_what_is_possible() {
        for url in [
            "",
            "memory",
            "data",
            "./data",
            "/abs:path",
            ":memory:",
            ":",
            " memory:",
            "me mory:",
            "1:x",
            "ü:x",
        ] {
            let error = url.parse::<Location>().expect_err(url);
            assert_eq!(error, UrlError::MissingScheme, "{url}");
            assert!(error.to_string().contains(FORMS));
        }
    }

    #[test]
    fn unknown_scheme_is_named_and_the_rest_is_not_repeated() {
        let error = "mongo://user:secret@host/db"
            .parse::<Location>()
            .expect_err("unknown");
        assert_eq!(
            error.to_string(),
            format!("no backend has the URL scheme \"mongo\"; use {FORMS}")
        );
        assert!("sledge:x".parse::<Location>().is_err());
        assert!(r"C:\data".parse::<Location>().is_err());
    }

    #[test]
    fn memory_takes_nothing_more() {
        for url in ["memory:x", "memory://", "memory: ", "memory:?a=b"] {
            let error = url.parse::<Location>().expect_err(url);
            assert_eq!(error, UrlError::MemoryHasNoPath, "{url}");
            assert!(error.to_string().contains("write memory: and nothing after it"));
        }
    }

    #[test]
    fn empty_path_is_refused_with_an_example() {
        for url in ["sled:", "sled://"] {
            let error = url.parse::<Location>().expect_err(url);
            assert_eq!(error, UrlError::EmptyPath { scheme: "sled" });
            assert!(error.to_string().contains("sled:./data"));
        }
    }

    #[test]
    fn host_is_refused_with_both_corrections() {
        let error = "fjall://host/x".parse::<Location>().expect_err("a host");
        assert_eq!(
            error.to_string(),
            "fjall is in this process and has no host; write fjall:PATH: fjall:host/x, or fjall:/host/x for an \
             absolute path"
        );
        assert!("sled://localhost".parse::<Location>().is_err());
    }

    #[test]
    fn nul_in_a_path_is_refused() {
        let error = "sled:a\0b".parse::<Location>().expect_err("a NUL");
        assert_eq!(error, UrlError::NulInPath { scheme: "sled" });
        assert!(
            error
                .to_string()
                .contains("the path of the sled URL has a NUL character; remove it")
        );
    }

    #[test]
    fn server_is_taken_whole_and_shown_without_its_secrets() {
        for scheme in ["postgres", "postgresql", "Postgres"] {
            let url = format!("{scheme}://user:s:e/c?ret@h1,h2:5433/db?table=t&password=secret");
            let location: Location = url.parse().expect("valid");
            assert_eq!(location, Location::Postgres(ServerUrl(url.clone())));
            for shown in [location.to_string(), format!("{location:?}")] {
                assert!(
                    shown.contains("://h1,h2:5433/db") && !shown.contains("ret"),
                    "{shown}"
                );
            }
        }
    }

    #[test]
    fn cluster_is_taken_whole_and_shown_without_its_secrets() {
        let url = "etcd://user:secret@h1,h2:2379/app?key=secret";
        let location: Location = url.parse().expect("valid");
        assert_eq!(location, Location::Etcd(ServerUrl(url.to_owned())));
        assert_eq!(
            (location.to_string().as_str(), location.feature()),
            ("etcd://h1,h2:2379/app", "etcd")
        );
        let error = "etcd:h1,h2".parse::<Location>().expect_err("no host");
        assert!(error.to_string().contains("etcd://HOST:PORT"), "{error}");
    }

    #[test]
    fn server_without_a_host_is_told_the_form() {
        for url in ["postgres:", "postgres:db", "postgresql://"] {
            let error = url.parse::<Location>().expect_err(url);
            assert!(
                error
                    .to_string()
                    .contains("postgres://USER:PASSWORD@HOST/DATABASE"),
                "{error}"
            );
        }
    }

    #[test]
    fn every_form_in_the_messages_parses() {
        for form in FORMS.split([',', ' ']).filter(|word| word.contains(':')) {
            assert!(form.parse::<Location>().is_ok(), "{form}");
        }
    }

    #[test]
    fn location_displays_as_its_url() {
        for url in ["memory:", "sled:./a b", "fjall:/abs", "redb:c", "lmdb:d"] {
            let location: Location = url.parse().expect(url);
            assert_eq!(location.to_string(), url);
        }
    }
}
