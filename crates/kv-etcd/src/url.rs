//! `etcd://[USER:PASSWORD@]HOST[:PORT][,HOST…][/PREFIX][?NAME=VALUE[&…]]`.

use std::str::FromStr;
use std::time::Duration;

use kv_core::{Error, Result};

use crate::options::Options;

const FORM: &str = "etcd://[USER:PASSWORD@]HOST[:PORT][,HOST...][/PREFIX][?NAME=VALUE]";
const PARAMETERS: &str = "tls, ca, cert, key, timeout_ms, max_txn_ops and max_request_bytes";

/// `%XX` stands for a byte in the user, the password, the prefix and the values.
impl FromStr for Options {
    type Err = Error;

    /// # Errors
    /// [`Error::Invalid`], which says what is right and repeats no password.
    fn from_str(url: &str) -> Result<Self> {
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        if !scheme.eq_ignore_ascii_case("etcd") {
            return Err(Error::invalid(format!(
                "the URL of a store in etcd has the form {FORM}"
            )));
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (Some(user), hosts),
            None => (None, authority),
        };
        let mut options = Self::new(hosts.split(','));
        if !prefix.is_empty() {
            options = options.prefix(decoded(prefix, "prefix")?);
        }
        if let Some(user) = user {
            let (name, password) = user.split_once(':').ok_or_else(|| {
                Error::invalid(
                    "the URL of etcd has a user without a password; write etcd://USER:PASSWORD@HOST",
                )
            })?;
            options = options.credentials(decoded(name, "user")?, decoded(password, "password")?);
        }
        for parameter in query.split('&').filter(|it| !it.is_empty()) {
            options = with_parameter(options, parameter)?;
        }
        options.check()?;
        Ok(options)
    }
}

fn with_parameter(mut options: Options, parameter: &str) -> Result<Options> {
    let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
    let value = decoded(value, "parameter")?;
    let number = || {
        value.parse::<usize>().map_err(|_| {
            Error::invalid(format!(
                "the parameter {name} of etcd's URL is a number; write {name}=NUMBER"
            ))
        })
    };
    match name {
        "tls" if value == "on" => options = options.tls(),
        "tls" if value == "off" => options.tls = None,
        "tls" => {
            return Err(Error::invalid(
                "the parameter tls of etcd's URL is tls=on or tls=off",
            ));
        }
        "ca" | "cert" | "key" => {
            options = options.tls();
            let tls = options.tls.get_or_insert_default();
            let file = match name {
                "ca" => &mut tls.ca,
                "cert" => &mut tls.certificate,
                _ => &mut tls.key,
            };
            *file = Some(value.into());
        }
        "timeout_ms" => options = options.timeout(Duration::from_millis(number()? as u64)),
        "max_txn_ops" => options = options.max_txn_ops(number()?),
        "max_request_bytes" => options = options.max_request_bytes(number()?),
        unknown => {
            return Err(Error::invalid(format!(
                "the URL of a store in etcd knows no parameter {unknown:?}; use {PARAMETERS}"
            )));
        }
    }
    Ok(options)
}

/// `text` with its bytes in place of `%XX`.
fn decoded(text: &str, what: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.ok_or_else(|| wrong(what))?);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).map_err(|_| wrong(what))
}

fn wrong(what: &str) -> Error {
    Error::invalid(format!(
        "the {what} in etcd's URL has a % that begins no byte, or is no UTF-8; write %25 for a % itself"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Options {
        url.parse().unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    #[test]
    fn hosts_have_the_port_of_etcd_unless_they_say_another() {
        let options = parsed("etcd://a,b:1,[::1],[::2]:7");
        assert_eq!(options.endpoints, ["a:2379", "b:1", "[::1]:2379", "[::2]:7"]);
        assert_eq!(options.prefix, "eventstores");
        assert_eq!(
            options.location(),
            "etcd://a:2379,b:1,[::1]:2379,[::2]:7/eventstores"
        );
    }

    #[test]
    fn user_password_and_prefix_may_have_any_character() {
        let options = parsed("ETCD://m%40e:p%3a%2F:@h/a/b%20%C3%BC");
        assert_eq!(options.credentials, Some(("m@e".to_owned(), "p:/:".to_owned())));
        assert_eq!(options.prefix, "a/b ü");
        assert!(!format!("{options:?}").contains("p:/"), "{options:?}");
    }

    #[test]
    fn any_file_of_tls_turns_it_on() {
        assert_eq!(parsed("etcd://h").tls, None);
        for url in ["etcd://h?tls=on", "etcd://h?ca=a", "etcd://h?cert=c&key=k"] {
            assert!(parsed(url).tls.is_some(), "{url}");
        }
    }

    #[test]
    fn wrong_url_says_what_is_right_and_no_secret() {
        for (url, remedy) in [
            ("etcd:h", FORM),
            ("http://h", FORM),
            ("etcd://", "write HOST:PORT"),
            ("etcd://a,,b", "write HOST:PORT"),
            ("etcd://a b", "write HOST:PORT"),
            ("etcd://h:0", "write HOST:PORT"),
            ("etcd://h:x", "write HOST:PORT"),
            ("etcd://secret@h", "write etcd://USER:PASSWORD@HOST"),
            ("etcd://u:secret%@h", "write %25"),
            ("etcd://u:secret%zz@h", "write %25"),
            ("etcd://h/%00", "no NUL in it"),
            ("etcd://h?secrets=1", PARAMETERS),
            ("etcd://h?tls=maybe", "tls=on or tls=off"),
            ("etcd://h?cert=c", "cert and key both"),
            ("etcd://h?timeout_ms=soon", "timeout_ms=NUMBER"),
            ("etcd://h?timeout_ms=1", "10 ms to 60 s"),
            ("etcd://h?max_txn_ops=8", "48 at least"),
            ("etcd://h?max_request_bytes=8", "from 524288"),
        ] {
            let error = url.parse::<Options>().expect_err(url).to_string();
            assert!(error.contains(remedy), "{url}: {error}");
            assert!(!error.contains("secret") || url.contains("secrets"), "{error}");
        }
    }
}
