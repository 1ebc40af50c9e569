use std::collections::BTreeSet;
use std::time::Duration;

use leafgate_registry::{Epoch, EventHash, StoreError};
use sqlx::{AssertSqlSafe, PgConnection};

use super::connect::{ANSWER_LIMIT, Database, within};
use crate::migration::{self, Migration};

const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "registry",
        sql: include_str!("../../../../migrations/postgres/0001_registry.sql"),
    },
    Migration {
        version: 2,
        name: "room_for_updates",
        sql: include_str!("../../../../migrations/postgres/0002_room_for_updates.sql"),
    },
];

/// All that the steps make, as [`OBJECTS`] tells of it.
const EXPECTED_OBJECTS: &str = include_str!("../../../../migrations/postgres/objects.txt");

/// How long bringing the schema up to date may take; new indexes of a large registry take minutes.
const MIGRATION_LIMIT: Duration = Duration::from_secs(600);

/// Makes processes that migrate do so one after the other. A step then waits 5 s for each table at most, since whatever
/// comes to that table waits behind it.
const BEGIN: &str = "BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; \
     SELECT pg_advisory_xact_lock(hashtext(current_schema()), hashtext('leafgate schema_migrations')); \
     SET LOCAL lock_timeout = '5s'; \
     CREATE TABLE IF NOT EXISTS schema_migrations ( \
         version  BIGINT           NOT NULL PRIMARY KEY, \
         name     TEXT COLLATE \"C\" NOT NULL, \
         checksum TEXT COLLATE \"C\" NOT NULL \
     )";

/// The tables of the schema that no extension brought.
const TABLES: &str = "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
     WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p') AND NOT EXISTS \
     (SELECT 1 FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')";

/// Columns, indexes and constraints of all tables of the schema, and what else could change the way that they work,
/// in a line each.
const OBJECTS: &str = r#"
WITH tables AS (
    SELECT c.oid, c.relname, c.relrowsecurity FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p')
)
SELECT format('column %s of %s: %s%s%s', a.attname, t.relname, format_type(a.atttypid, a.atttypmod),
              ' collate ' || l.collname, CASE WHEN a.attnotnull THEN ' not null' END)
FROM tables t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_collation l ON l.oid = a.attcollation
UNION ALL
SELECT format('index %s of %s: %s%s (%s)%s', i.relname, t.relname, CASE WHEN x.indisunique THEN 'unique ' END,
              m.amname,
              (SELECT string_agg(pg_get_indexdef(x.indexrelid, place::int, true) || ' ' || o.opcname, ', ' ORDER BY place)
               FROM unnest(x.indclass::oid[]) WITH ORDINALITY k (opclass, place) JOIN pg_opclass o ON o.oid = k.opclass),
              ' where ' || pg_get_expr(x.indpred, x.indrelid, true))
FROM tables t JOIN pg_index x ON x.indrelid = t.oid AND x.indisvalid
JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_am m ON m.oid = i.relam
UNION ALL
SELECT format('check of %s: %s', t.relname, pg_get_expr(c.conbin, c.conrelid, true))
FROM tables t JOIN pg_constraint c ON c.conrelid = t.oid AND c.contype = 'c'
UNION ALL
SELECT format('trigger %s of %s', g.tgname, t.relname)
FROM tables t JOIN pg_trigger g ON g.tgrelid = t.oid AND NOT g.tgisinternal AND g.tgenabled <> 'D'
UNION ALL
SELECT format('rule %s of %s', r.rulename, t.relname) FROM tables t JOIN pg_rewrite r ON r.ev_class = t.oid
UNION ALL
SELECT format('row security of %s', relname) FROM tables WHERE relrowsecurity
"#;

/// What no step makes, and what would change records behind our back or hide them.
const FORBIDDEN: &[&str] = &["trigger ", "rule ", "row security "];

/// Brings the schema up to date, or refuses to touch it.
pub(super) async fn migrate(
    connection: &mut PgConnection,
    database: &Database,
) -> Result<(), StoreError> {
    if !pending(connection, database).await?.is_empty() {
        within(MIGRATION_LIMIT, async {
            Ok(apply(connection, database).await)
        })
        .await
        .map_err(|error: sqlx::Error| database.failed(error))??;
    }
    check_objects(connection, database).await
}

/// That the schema is up to date.
pub(super) async fn check(
    connection: &mut PgConnection,
    database: &Database,
) -> Result<(), StoreError> {
    match pending(connection, database).await? {
        [] => check_objects(connection, database).await,
        [next, ..] => Err(migration::lacks(database, next)),
    }
}

async fn apply(connection: &mut PgConnection, database: &Database) -> Result<(), StoreError> {
    let failed = |error: sqlx::Error| database.failed(error);
    sqlx::raw_sql(BEGIN)
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    // Another process may have migrated before this one got the lock.
    for step in pending(connection, database).await? {
        sqlx::raw_sql(step.sql)
            .execute(&mut *connection)
            .await
            .map_err(failed)?;
        sqlx::query("INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)")
            .bind(step.version)
            .bind(step.name)
            .bind(step.checksum())
            .execute(&mut *connection)
            .await
            .map_err(failed)?;
        tracing::info!(
            "step {} ({}) of the schema of {database}",
            step.version,
            step.name
        );
    }
    let finish = format!(
        "INSERT INTO feed_head (id, epoch, seq, hash) VALUES (1, '{}', 0, '{}') ON CONFLICT DO NOTHING; COMMIT",
        Epoch::generate(),
        EventHash::ZERO
    );
    sqlx::raw_sql(AssertSqlSafe(finish))
        .execute(connection)
        .await
        .map_err(failed)?;
    Ok(())
}

/// The steps that the database still lacks, after a check that those it has are ours.
async fn pending(
    connection: &mut PgConnection,
    database: &Database,
) -> Result<&'static [Migration], StoreError> {
    let tables = sqlx::query_scalar(TABLES).fetch_all(&mut *connection);
    let tables: Result<Vec<String>, sqlx::Error> = within(ANSWER_LIMIT, tables).await;
    let tables = tables.map_err(|error| database.failed(error))?;
    if tables.is_empty() {
        return Ok(MIGRATIONS);
    }
    if !tables.iter().any(|table| table == "schema_migrations") {
        return Err(StoreError::Unsupported {
            what: format!(
                "{database} holds the tables of another program; give leafgate a database of its own"
            ),
        });
    }
    const APPLIED: &str = "SELECT version, checksum FROM schema_migrations ORDER BY version";
    let applied = sqlx::query_as(APPLIED).fetch_all(connection);
    let applied: Result<Vec<_>, sqlx::Error> = within(ANSWER_LIMIT, applied).await;
    let applied = applied.map_err(|error| database.failed(error))?;
    migration::pending(MIGRATIONS, &applied, database)
}

/// That tables and indexes are as the migrations made them. Further columns, indexes and tables do no harm.
async fn check_objects(
    connection: &mut PgConnection,
    database: &Database,
) -> Result<(), StoreError> {
    let found = objects(connection)
        .await
        .map_err(|error| database.failed(error))?;
    let missing = EXPECTED_OBJECTS
        .lines()
        .find(|object| !found.contains(*object));
    let what = match missing {
        Some(object) => format!(
            "the schema of {database} lacks what this program made: {object}; make it again, or restore a backup"
        ),
        None => {
            let is_forbidden =
                |object: &&String| FORBIDDEN.iter().any(|kind| object.starts_with(kind));
            let Some(object) = found.iter().find(is_forbidden) else {
                return Ok(());
            };
            format!("the schema of {database} has a {object}, which no registry may have; drop it")
        }
    };
    Err(StoreError::Unsupported { what })
}

async fn objects(connection: &mut PgConnection) -> Result<BTreeSet<String>, sqlx::Error> {
    let objects = sqlx::query_scalar(OBJECTS).fetch_all(connection);
    let objects: Vec<String> = within(ANSWER_LIMIT, objects).await?;
    Ok(objects.into_iter().collect())
}

#[cfg(test)]
pub(super) mod tests {
    use leafgate_testkit::postgres::{PostgresDatabase, PostgresServer};

    use super::super::connect::Access;
    use super::super::target::PostgresOptions;
    use super::*;
    use crate::migration::tests::assert_as_released;

    /// An empty registry.
    pub(in super::super) async fn migrated() -> (PostgresDatabase<'static>, PgConnection) {
        let scratch = PostgresServer::shared().create_database();
        let options = PostgresOptions {
            url: scratch.url(),
            password_file: None,
            ca_file: None,
        };
        let (database, mut connection) = Database::open(&options, Access::Write).await.unwrap();
        migrate(&mut connection, &database).await.unwrap();
        (scratch, connection)
    }

    /// A step that was released must never change: a registry that has it would be refused. A new step gets its line here.
    #[test]
    fn released_steps_are_as_they_were() {
        assert_as_released(
            MIGRATIONS,
            &[
                "704e89d1139ea93541968d906b016f5bbb0a8524576cab0d01ad0625320c72a1",
                "8b535776a17df6f2dd8b3a074fc2168c360b204d4d9b9459acb032af8f3abe2d",
            ],
        );
    }

    /// After a new step, write what this finds to the file.
    #[tokio::test]
    async fn the_steps_make_the_objects_that_are_expected() {
        let (_scratch, mut connection) = migrated().await;
        let found: Vec<_> = objects(&mut connection)
            .await
            .unwrap()
            .into_iter()
            .collect();
        let expected: Vec<_> = EXPECTED_OBJECTS.lines().collect();
        assert_eq!(found, expected, "\n{}", found.join("\n"));
    }
}
