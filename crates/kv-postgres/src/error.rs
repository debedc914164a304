//! The server's and the driver's failures by what the caller can do about them.

use kv_core::{Error, error_chain};
use tokio_postgres::error::{DbError, Severity, SqlState};

/// The failure of a connection that was being made, or of the look at the table.
pub(crate) fn of_open(error: tokio_postgres::Error, location: &str) -> Error {
    let Some(answer) = error.as_db_error() else {
        let text = error_chain(&error);
        // The driver has no kinds for these.
        if text.contains("password missing") {
            return Error::incompatible(
                location,
                "the server asks for a password; write postgres://USER:PASSWORD@HOST/DATABASE",
            );
        }
        if text.contains("TLS") || text.contains("certificate") {
            let reason = format!(
                "no encrypted connection ({text}); name the server as its certificate does, give the certificate of its \
                 authority by sslrootcert=PATH, or do without encryption by sslmode=disable"
            );
            return Error::incompatible(location, reason);
        }
        let reason = format!(
            "{location} cannot be reached ({text}); is the server running, and are host and port right?"
        );
        return Error::unavailable(reason, error);
    };
    let refused = |remedy: &str| Error::incompatible(location, format!("{}; {remedy}", answer.message()));
    match answer.code().clone() {
        SqlState::INVALID_PASSWORD => refused("correct user and password in the URL"),
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            refused("correct the user in the URL, or let it in by pg_hba.conf")
        }
        SqlState::INVALID_CATALOG_NAME => refused("create the database, or name another in the URL"),
        SqlState::INSUFFICIENT_PRIVILEGE => {
            refused("grant it, or let somebody who may make the table: see the documentation of kv_postgres")
        }
        SqlState::UNDEFINED_COLUMN
        | SqlState::DATATYPE_MISMATCH
        | SqlState::UNDEFINED_FUNCTION
        | SqlState::WRONG_OBJECT_TYPE => {
            refused("the table holds something else; choose another with table=NAME")
        }
        _ => of_read(error),
    }
}

/// The failure of a call that changes nothing.
pub(crate) fn of_read(error: tokio_postgres::Error) -> Error {
    match error.as_db_error() {
        Some(answer) if is_damage(answer) => Error::corrupt(
            format!("the server reads damaged data: {}", answer.message()),
            error,
        ),
        Some(answer) => Error::unavailable(format!("the server refuses: {}", answer.message()), error),
        None => Error::unavailable("the connection to the server is lost", error),
    }
}

/// What the failure of a sent commit means.
pub(crate) enum CommitFailure {
    /// The server undid it because of another commit: the same again may work.
    Conflict(tokio_postgres::Error),
    Final(Error),
}

pub(crate) fn of_commit(error: tokio_postgres::Error) -> CommitFailure {
    let Some(answer) = error.as_db_error() else {
        // What was not understood was sent all the same.
        return CommitFailure::Final(Error::outcome_unknown(
            "the connection broke after the commit was sent",
            error,
        ));
    };
    if leaves_open(answer) {
        let reason = format!(
            "the server ended the connection in the commit: {}",
            answer.message()
        );
        return CommitFailure::Final(Error::outcome_unknown(reason, error));
    }
    let code = answer.code();
    if *code == SqlState::T_R_SERIALIZATION_FAILURE || *code == SqlState::T_R_DEADLOCK_DETECTED {
        return CommitFailure::Conflict(error);
    }
    // Everything else is said of a transaction that was undone.
    CommitFailure::Final(of_read(error))
}

/// Whether it was the connection that failed, and not the call.
pub(crate) fn lost(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_none_or(leaves_open)
}

/// Whether the answer leaves open what became of the transaction. What ends a connection may come after the commit and
/// before its answer; some engines and proxies have codes for it.
fn leaves_open(answer: &DbError) -> bool {
    let ends = matches!(
        answer.parsed_severity(),
        Some(Severity::Fatal | Severity::Panic) | None
    );
    ends || answer.code().code().starts_with("08")
        || *answer.code() == SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN
}

fn is_damage(answer: &DbError) -> bool {
    [SqlState::DATA_CORRUPTED, SqlState::INDEX_CORRUPTED].contains(answer.code())
}
