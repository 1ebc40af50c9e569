//! The registry in an SQL database: SQLite, for one machine and the few processes on it.

mod failure;
mod rows;
mod sqlite;
mod writer;

pub use sqlite::SqliteStore;
