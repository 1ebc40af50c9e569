use std::sync::Arc;

use leafgate_registry::StoreError;

use super::connect::Database;
use crate::failure::Failure;

// https://www.sqlite.org/rescode.html
const SQLITE_BUSY: i32 = 5;
const SQLITE_READONLY: i32 = 8;
const SQLITE_CORRUPT: i32 = 11;
const SQLITE_FULL: i32 = 13;
const SQLITE_CANTOPEN: i32 = 14;
const SQLITE_NOTADB: i32 = 26;

/// SQLite's primary result code.
fn code(error: &sqlx::Error) -> Option<i32> {
    let extended: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(extended & 0xff)
}

/// Whether another connection held a lock for longer than we waited.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    code(error) == Some(SQLITE_BUSY)
}

impl Database {
    /// The error to report for a failure with this file.
    pub(super) fn failed(&self, failure: impl Into<Failure>) -> StoreError {
        let error = match failure.into() {
            Failure::Record(what) => return StoreError::Corrupt { what },
            Failure::Sql(error) => error,
        };
        if matches!(
            error,
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_)
        ) {
            return StoreError::Corrupt {
                what: format!("{error} (in {self})"),
            };
        }
        let what = match code(&error) {
            Some(SQLITE_CORRUPT) => {
                return StoreError::Corrupt {
                    what: format!("{self} is damaged; restore it from a backup"),
                };
            }
            Some(SQLITE_NOTADB) => {
                return StoreError::Unsupported {
                    what: format!("{self} is not an SQLite database"),
                };
            }
            Some(SQLITE_BUSY) => format!("{self} is kept locked by another process"),
            Some(SQLITE_CANTOPEN) => format!(
                "{self} can't be opened: check that its folder exists, and the rights of both"
            ),
            Some(SQLITE_FULL) => format!("{self} can't grow: the disk is full"),
            Some(SQLITE_READONLY) => {
                format!("{self} can't be written: check the rights of the file and its folder")
            }
            _ => format!("{self} can't be used now"),
        };
        StoreError::Unavailable {
            what,
            source: Some(Arc::new(error)),
        }
    }
}
