use leafgate_registry::{Epoch, EventHash, StoreError};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use super::connect::Database;
use crate::migration::{self, Migration};

const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "registry",
        sql: include_str!("../../../../migrations/sqlite/0001_registry.sql"),
    },
    Migration {
        version: 2,
        name: "documents",
        sql: include_str!("../../../../migrations/sqlite/0002_documents.sql"),
    },
];

const CREATE_MIGRATIONS: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (
    version  INTEGER NOT NULL PRIMARY KEY,
    name     TEXT    NOT NULL,
    checksum TEXT    NOT NULL
) STRICT";

/// Brings the schema up to date, or refuses to touch it.
pub(super) async fn migrate(
    connection: &mut SqliteConnection,
    database: &Database,
) -> Result<(), StoreError> {
    let pending = pending(connection, database).await?;
    // Not before it is known whose file it is.
    database.enter_wal(connection).await?;
    if !pending.is_empty() {
        apply(connection, database).await?;
    }
    check_objects(connection, database).await
}

/// That the schema is up to date.
pub(super) async fn check(
    connection: &mut SqliteConnection,
    database: &Database,
) -> Result<(), StoreError> {
    match pending(connection, database).await? {
        [] => {
            database.check_wal(connection).await?;
            check_objects(connection, database).await
        }
        [next, ..] => Err(migration::lacks(database, next)),
    }
}

async fn apply(connection: &mut SqliteConnection, database: &Database) -> Result<(), StoreError> {
    let failed = |error: sqlx::Error| database.failed(error);
    let mut transaction = connection
        .begin_with("BEGIN IMMEDIATE")
        .await
        .map_err(failed)?;
    // Another process may have migrated before this one got the lock.
    let steps = pending(&mut transaction, database).await?;
    sqlx::query(CREATE_MIGRATIONS)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    for step in steps {
        sqlx::raw_sql(step.sql)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        sqlx::query("INSERT INTO schema_migrations (version, name, checksum) VALUES (?, ?, ?)")
            .bind(step.version)
            .bind(step.name)
            .bind(step.checksum())
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
    }
    sqlx::query("INSERT OR IGNORE INTO feed_head (id, epoch, seq, hash) VALUES (1, ?, 0, ?)")
        .bind(Epoch::generate().to_string())
        .bind(EventHash::ZERO.to_string())
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    transaction.commit().await.map_err(failed)
}

/// The steps that the database still lacks, after a check that those it has are ours.
async fn pending(
    connection: &mut SqliteConnection,
    database: &Database,
) -> Result<&'static [Migration], StoreError> {
    let unsupported = |what: String| StoreError::Unsupported { what };
    let tables: Vec<String> =
        sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'table'")
            .fetch_all(&mut *connection)
            .await
            .map_err(|error| database.failed(error))?;
    if tables.is_empty() {
        return Ok(MIGRATIONS);
    }
    if !tables.iter().any(|table| table == "schema_migrations") {
        return Err(unsupported(format!(
            "{database} is not a leafgate registry but another SQLite database"
        )));
    }
    let applied: Vec<_> =
        sqlx::query_as("SELECT version, checksum FROM schema_migrations ORDER BY version")
            .fetch_all(connection)
            .await
            .map_err(|error| database.failed(error))?;
    migration::pending(MIGRATIONS, &applied, database)
}

/// That tables and indexes are as the migrations made them. Further indexes and tables do no harm; triggers would.
async fn check_objects(
    connection: &mut SqliteConnection,
    database: &Database,
) -> Result<(), StoreError> {
    let failed = |error: sqlx::Error| database.failed(error);
    let mut pattern = SqliteConnectOptions::new()
        .in_memory(true)
        .connect()
        .await
        .map_err(failed)?;
    for step in MIGRATIONS {
        sqlx::raw_sql(step.sql)
            .execute(&mut pattern)
            .await
            .map_err(failed)?;
    }
    let expected = objects(&mut pattern).await.map_err(failed)?;
    let found = objects(connection).await.map_err(failed)?;
    let missing = expected.iter().find(|object| !found.contains(object));
    let trigger = found.iter().find(|(kind, ..)| kind == "trigger");
    match missing.or(trigger) {
        None => Ok(()),
        Some((kind, name, _)) => Err(StoreError::Unsupported {
            what: format!(
                "the {kind} {name} of {database} is not as this program made it; restore a backup"
            ),
        }),
    }
}

async fn objects(
    connection: &mut SqliteConnection,
) -> Result<Vec<(String, String, String)>, sqlx::Error> {
    sqlx::query_as("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL")
        .fetch_all(connection)
        .await
}

#[cfg(test)]
pub(super) mod tests {
    use sqlx::{AssertSqlSafe, QueryBuilder, Row, Sqlite};
    use tempfile::TempDir;

    use super::super::connect::Access;
    use super::*;
    use crate::migration::tests::assert_as_released;

    /// An empty registry.
    pub(in super::super) async fn migrated() -> (TempDir, SqliteConnection) {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("registry.db");
        let (database, mut connection) = Database::open(&path, Access::Create).await.unwrap();
        migrate(&mut connection, &database).await.unwrap();
        (folder, connection)
    }

    /// How SQLite goes about a query (<https://www.sqlite.org/eqp.html>).
    pub(in super::super) async fn plan(
        connection: &mut SqliteConnection,
        sql: QueryBuilder<Sqlite>,
    ) -> Vec<String> {
        let sql = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", sql.into_string()));
        let rows = sqlx::query(sql).fetch_all(connection).await.unwrap();
        rows.iter().map(|row| row.get("detail")).collect()
    }

    /// A step that was released must never change: a registry that has it would be refused. A new step gets its line here.
    #[test]
    fn released_steps_are_as_they_were() {
        assert_as_released(
            MIGRATIONS,
            &[
                "79521a9d71f28180005c58934a0d96dbb3904da161ec55bb1f4193e2556c744b",
                "5cb7d7713922b421aed6bf4dddf32984afa3f1e590c998594c6df92d139bf3d5",
            ],
        );
    }
}
