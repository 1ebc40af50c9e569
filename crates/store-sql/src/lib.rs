//! The registry in an SQL database: PostgreSQL, or SQLite for one machine and the few processes on it.

mod failure;
mod migration;
mod notices;
mod postgres;
mod rows;
mod search;
mod sqlite;
mod writer;

pub use postgres::{PostgresOptions, PostgresStore};
pub use sqlite::SqliteStore;
