use std::io;
use std::sync::Arc;

use leafgate_registry::StoreError;

use super::connect::Database;
use crate::failure::Failure;

// https://www.postgresql.org/docs/15/errcodes-appendix.html
const INVALID_AUTHORIZATION: &str = "28000";
const INVALID_PASSWORD: &str = "28P01";
const INVALID_CATALOG_NAME: &str = "3D000";
const READ_ONLY_TRANSACTION: &str = "25006";
const SERIALIZATION_FAILURE: &str = "40001";
const DEADLOCK_DETECTED: &str = "40P01";
const INSUFFICIENT_PRIVILEGE: &str = "42501";
const UNDEFINED_COLUMN: &str = "42703";
const UNDEFINED_TABLE: &str = "42P01";
const DISK_FULL: &str = "53100";
const TOO_MANY_CONNECTIONS: &str = "53300";
const LOCK_NOT_AVAILABLE: &str = "55P03";
const QUERY_CANCELED: &str = "57014";
const ADMIN_SHUTDOWN: &str = "57P01";
const CRASH_SHUTDOWN: &str = "57P02";
const CANNOT_CONNECT_NOW: &str = "57P03";
const DATA_CORRUPTED: &str = "XX001";
const INDEX_CORRUPTED: &str = "XX002";

/// Whether an answer was not awaited any longer.
pub(super) fn is_silence(error: &sqlx::Error) -> bool {
    // The system's own time-outs, of a connection that is dead, have a number.
    matches!(error, sqlx::Error::Io(error)
        if error.kind() == io::ErrorKind::TimedOut && error.raw_os_error().is_none())
}

/// Whether the server that this connection led to went away, or ended it.
pub(super) fn is_disconnected(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    (matches!(error, sqlx::Error::Io(_)) && !is_silence(error))
        || matches!(
            code.as_deref(),
            Some(ADMIN_SHUTDOWN | CRASH_SHUTDOWN | CANNOT_CONNECT_NOW)
        )
}

/// Whether the same transaction may well succeed if it is tried again at once.
pub(super) fn is_transient(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    matches!(
        code.as_deref(),
        Some(SERIALIZATION_FAILURE | DEADLOCK_DETECTED | LOCK_NOT_AVAILABLE)
    )
}

impl Database {
    /// The error to report for a commit whose outcome nobody told.
    pub(super) fn is_unknown(&self, error: sqlx::Error) -> StoreError {
        let what = format!(
            "{self} was lost during a commit, which may or may not have been written; read again"
        );
        StoreError::unavailable(what, error)
    }

    fn is_untrusted(&self) -> String {
        format!(
            "{self} can't be trusted: check that its server has TLS, with a certificate of a CA in the CA file that \
             names the host"
        )
    }

    /// The error to report for a failure with this database.
    pub(super) fn failed(&self, failure: impl Into<Failure>) -> StoreError {
        let error = match failure.into() {
            Failure::Record(what) => return StoreError::Corrupt { what },
            Failure::Sql(error) => error,
        };
        let code = error.as_database_error().and_then(|error| error.code());
        let what = match (&error, code.as_deref()) {
            (sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_), _) => {
                return StoreError::Corrupt {
                    what: format!("{error} (in {self})"),
                };
            }
            (_, Some(DATA_CORRUPTED | INDEX_CORRUPTED)) => {
                return StoreError::Corrupt {
                    what: format!("{self} is damaged: {error}; restore it from a backup"),
                };
            }
            (_, Some(UNDEFINED_TABLE | UNDEFINED_COLUMN)) => {
                return StoreError::Unsupported {
                    what: format!("the schema of {self} is not as this program made it: {error}"),
                };
            }
            (sqlx::Error::Configuration(problem), _) => {
                return StoreError::Unsupported {
                    what: format!("{self} can't be connected to: {problem}"),
                };
            }
            (sqlx::Error::Tls(_), _) => self.is_untrusted(),
            // What rustls finds wrong comes in such an error.
            (sqlx::Error::Io(error), _) if error.kind() == io::ErrorKind::InvalidData => {
                self.is_untrusted()
            }
            (sqlx::Error::Io(_), _) if is_silence(&error) => {
                format!(
                    "{self} does not answer: check that the server is not overloaded or stopped"
                )
            }
            (sqlx::Error::Io(_), _) => {
                format!("{self} can't be reached: check that the server runs, its host and port")
            }
            (_, Some(INVALID_PASSWORD | INVALID_AUTHORIZATION)) => format!(
                "{self} refuses the log-in: check user and password, and the server's pg_hba.conf"
            ),
            (_, Some(INVALID_CATALOG_NAME)) => {
                format!("{self} does not exist; create the database first (CREATE DATABASE)")
            }
            (_, Some(INSUFFICIENT_PRIVILEGE)) => {
                format!("{self} refuses what this role has no right to; grant it, or use another")
            }
            (_, Some(READ_ONLY_TRANSACTION)) => {
                format!("{self} can't be written: it has become a standby, or is set read-only")
            }
            (_, Some(TOO_MANY_CONNECTIONS)) => {
                format!("{self} has no connection left: raise the server's max_connections")
            }
            (_, Some(ADMIN_SHUTDOWN | CRASH_SHUTDOWN | CANNOT_CONNECT_NOW)) => {
                format!("{self} is shutting down or starting up")
            }
            (_, Some(LOCK_NOT_AVAILABLE)) => format!("{self} is kept locked by another process"),
            (_, Some(QUERY_CANCELED)) => format!("{self} took too long for an answer"),
            (_, Some(DISK_FULL)) => format!("{self} can't grow: the disk is full"),
            _ => format!("{self} can't be used now"),
        };
        StoreError::Unavailable {
            what,
            source: Some(Arc::new(error)),
        }
    }
}
