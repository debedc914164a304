//! What a failure of etcd, or of the way to it, says about a call.

use std::error::Error as StdError;
use std::time::Duration;

use kv_core::Error;
use tonic::{Code, ConnectError, Status};

/// A call that failed, by what is known of it.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was not carried out, and the next member, or the same one in a moment, may do it.
    Later(Status),
    /// It was refused, and will be as long as nothing else changes.
    Refused(Status),
    /// The token that came with it is not valid any more; it was not carried out.
    Token(Status),
    /// The reply is larger than is accepted here. The call was carried out.
    TooLargeReply(Status),
    /// Its end is not known.
    Unknown(Status),
}

impl Failure {
    pub(crate) fn timed_out(after: Duration) -> Self {
        Self::Unknown(Status::deadline_exceeded(format!("no answer within {after:?}")))
    }

    pub(crate) fn status(&self) -> &Status {
        match self {
            Self::Later(it)
            | Self::Refused(it)
            | Self::Token(it)
            | Self::TooLargeReply(it)
            | Self::Unknown(it) => it,
        }
    }

    /// The error of a call that changes nothing.
    pub(crate) fn of_read(self) -> Error {
        let reason = self.reason();
        Error::unavailable(reason, self.into_status())
    }

    /// The error of a commit.
    pub(crate) fn of_commit(self) -> Error {
        let reason = self.reason();
        match self {
            Self::Unknown(status) | Self::TooLargeReply(status) => Error::outcome_unknown(reason, status),
            Self::Later(status) | Self::Refused(status) | Self::Token(status) => {
                Error::unavailable(reason, status)
            }
        }
    }

    fn into_status(self) -> Status {
        match self {
            Self::Later(it)
            | Self::Refused(it)
            | Self::Token(it)
            | Self::TooLargeReply(it)
            | Self::Unknown(it) => it,
        }
    }

    /// What happened, and what to do about it.
    fn reason(&self) -> String {
        let message = self.status().message();
        let remedy = REMEDIES.iter().find(|(sign, _)| message.contains(sign));
        match (remedy, self) {
            (Some((_, remedy)), _) => (*remedy).to_owned(),
            (None, Self::Later(_)) => format!("no member of the etcd cluster can do it now: {message}"),
            (None, Self::Unknown(_)) => format!("etcd did not answer to the end: {message}"),
            (None, _) => format!("etcd refused: {message}"),
        }
    }
}

/// Signs in etcd's messages, and what an operator or a caller does about them.
const REMEDIES: &[(&str, &str)] = &[
    (
        "database space exceeded",
        "etcd's database is full (alarm NOSPACE) and takes no writes: compact and defragment it, or raise \
         --quota-backend-bytes, then run etcdctl alarm disarm",
    ),
    (
        "too many operations in txn",
        "etcd takes fewer operations in a transaction than the store was told: start its members with a higher \
         --max-txn-ops, or give theirs as max_txn_ops in the URL",
    ),
    (
        "request is too large",
        "etcd takes smaller requests than the store was told: start its members with a higher --max-request-bytes, or \
         give theirs as max_request_bytes in the URL",
    ),
    (
        "user name is empty",
        "etcd asks who is there: give a user and a password in the URL, etcd://USER:PASSWORD@HOST",
    ),
    (
        "authentication failed",
        "etcd does not know the user or the password in the URL; correct them",
    ),
    (
        "authentication is not enabled",
        "etcd has no authentication enabled: leave the user and the password out of the URL, or enable it there",
    ),
    (
        "permission denied",
        "the user may not read and write the store's prefix in etcd: grant it (etcdctl role grant-permission ROLE \
         --prefix=true readwrite PREFIX)",
    ),
    (
        "corrupt cluster",
        "etcd found a member with other data than the rest (alarm CORRUPT) and takes no writes: replace that member",
    ),
];

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let message = status.message();
        if is_unsent(&status) {
            return Self::Later(status);
        }
        match status.code() {
            // From here, not from the server, whose replies may have any size.
            Code::OutOfRange if message.contains("decoded message length too large") => {
                Self::TooLargeReply(status)
            }
            Code::Unauthenticated => Self::Token(status),
            Code::InvalidArgument if message.contains("revision of auth store is old") => Self::Token(status),
            Code::InvalidArgument | Code::PermissionDenied | Code::FailedPrecondition | Code::DataLoss => {
                Self::Refused(status)
            }
            Code::Unimplemented | Code::NotFound | Code::OutOfRange => Self::Refused(status),
            // Checked before a request is proposed to the others.
            Code::ResourceExhausted if message.contains("too many requests") => Self::Later(status),
            Code::ResourceExhausted if message.starts_with("etcdserver:") => Self::Refused(status),
            // A member says so at once where each request asks for one that has a leader.
            Code::Unavailable if message == "etcdserver: no leader" => Self::Later(status),
            _ => Self::Unknown(status),
        }
    }
}

/// Whether no connection could be made: then nothing was sent.
fn is_unsent(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_commit(code: Code, message: &str) -> Error {
        Failure::from(Status::new(code, message)).of_commit()
    }

    #[test]
    fn what_may_have_happened_is_not_called_a_failure() {
        for (code, message) in [
            (Code::Unavailable, "etcdserver: request timed out"),
            (
                Code::Unavailable,
                "etcdserver: request timed out, possibly due to previous leader failure",
            ),
            (Code::Unavailable, "etcdserver: server stopped"),
            (Code::Unavailable, "error reading a body from connection"),
            (Code::Unknown, "raft proposal dropped"),
            (Code::Cancelled, "h2 protocol error"),
            (Code::Internal, "anything"),
            (
                Code::OutOfRange,
                "Error, decoded message length too large: found 9 bytes",
            ),
        ] {
            assert!(of_commit(code, message).is_outcome_unknown(), "{message}");
        }
        assert!(
            Failure::timed_out(Duration::from_secs(1))
                .of_commit()
                .is_outcome_unknown()
        );
    }

    #[test]
    fn what_etcd_refuses_did_not_happen_and_says_what_to_do() {
        for (code, message, remedy) in [
            (
                Code::ResourceExhausted,
                "etcdserver: mvcc: database space exceeded",
                "etcdctl alarm disarm",
            ),
            (
                Code::InvalidArgument,
                "etcdserver: too many operations in txn request",
                "max_txn_ops in the URL",
            ),
            (
                Code::InvalidArgument,
                "etcdserver: request is too large",
                "max_request_bytes in the URL",
            ),
            (
                Code::InvalidArgument,
                "etcdserver: user name is empty",
                "etcd://USER:PASSWORD@HOST",
            ),
            (
                Code::PermissionDenied,
                "etcdserver: permission denied",
                "role grant-permission",
            ),
            (
                Code::Unauthenticated,
                "etcdserver: invalid auth token",
                "invalid auth token",
            ),
            (
                Code::Unavailable,
                "etcdserver: no leader",
                "no member of the etcd cluster",
            ),
            (
                Code::DataLoss,
                "etcdserver: corrupt cluster",
                "replace that member",
            ),
        ] {
            let error = of_commit(code, message);
            assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
            assert!(error.to_string().contains(remedy), "{error}");
        }
    }
}
