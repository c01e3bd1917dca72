//! What can be done about PostgreSQL's errors (its manual, appendix A: SQLSTATE codes).

use std::time::Duration;

use crate::db::backend::Failure;
use crate::error::Kind;

/// Sorts an error.
pub(super) fn failure(cause: sqlx::Error) -> Failure {
    let kind = match &cause {
        sqlx::Error::Database(error) => error.code().map_or(Kind::Unavailable, |code| kind_of(&code)),
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Kind::Corrupt,
        sqlx::Error::Configuration(_) => Kind::Invalid,
        // A server that is away, a pool that found no connection in time, words that make no sense.
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => Kind::Unavailable,
        _ => Kind::Internal,
    };
    Failure { kind, cause }
}

fn kind_of(code: &str) -> Kind {
    match code {
        "23505" => Kind::AlreadyExists,
        // A row that this one needs is gone.
        "23503" => Kind::Conflict,
        "53100" => Kind::NoSpace,
        "28000" | "28P01" | "42501" => Kind::Denied,
        "3D000" => Kind::NotFound,
        // Text that is not UTF-8 or has a NUL; a value out of range.
        "22021" | "22003" => Kind::Invalid,
        // Deadlock and serialisation: cannot happen under the lock, and going again is right.
        "40001" | "40P01" => Kind::Conflict,
        // A table that is not there: somebody dropped it.
        "42P01" | "42703" => Kind::Corrupt,
        _ => match code.get(..2) {
            // XX001 and XX002 are damaged pages and indexes; XX000 is a bug of the server or damage that it fell over.
            Some("XX") => Kind::Corrupt,
            // Syntax, types: ours to get right.
            Some("42" | "22" | "23" | "0A") => Kind::Internal,
            // Connections, resources, shutdown, time limits, a standby that does not write.
            _ => Kind::Unavailable,
        },
    }
}

/// Whether the connection is of no use any more.
pub(super) fn is_lost(cause: &sqlx::Error) -> bool {
    match cause {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => true,
        // The server ended it: shutdown, a transaction that stood still for too long.
        sqlx::Error::Database(error) => {
            error.code().is_some_and(|code| code.starts_with("08") || code.starts_with("57P") || code == "25P03")
        }
        _ => false,
    }
}

/// The server has not answered in time.
pub(super) fn silent(limit: Duration) -> sqlx::Error {
    let said = format!("the database server has not answered within {} s", limit.as_secs());
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, said))
}
