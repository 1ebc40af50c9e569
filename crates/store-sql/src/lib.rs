//! The registry in an SQL database: SQLite, for one machine and the few processes on it.

mod ledger;
mod sqlite;

pub use sqlite::SqliteStore;
