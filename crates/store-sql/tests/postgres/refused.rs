//! Databases that are no registry of this version.

use super::*;

/// What opening says, which is the same for reading and for writing.
async fn refusal(database: &PostgresDatabase<'_>) -> String {
    let options = options(database.url());
    let writing = PostgresStore::open(&options).await;
    let reading = PostgresStore::open_read_only(&options).await;
    let (writing, reading) = (writing.err().unwrap(), reading.err().unwrap());
    for error in [&writing, &reading] {
        assert!(matches!(error, StoreError::Unsupported { .. }), "{error:?}");
    }
    assert_eq!(writing.to_string(), reading.to_string());
    assert!(writing.to_string().contains(database.name()), "{writing}");
    writing.to_string()
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let database = with_device().await;
    database.sql("INSERT INTO schema_migrations VALUES (99, 'later', 'abc')");
    let refusal = refusal(&database).await;
    assert!(
        refusal.contains("has schema 99, this program knows only up to ")
            && refusal.ends_with(": use a newer leafgate"),
        "{refusal}"
    );
}

#[tokio::test]
async fn an_edited_migration_is_refused() {
    let database = with_device().await;
    database.sql("UPDATE schema_migrations SET checksum = 'abc' WHERE version = 1");
    let refusal = refusal(&database).await;
    assert!(
        refusal.starts_with("step 1 (registry) of the schema"),
        "{refusal}"
    );
}

#[tokio::test]
async fn what_is_missing_is_refused_and_what_is_added_is_not() {
    let database = with_device().await;
    database.sql("CREATE INDEX of_mine ON devices (site); ALTER TABLE devices ADD mine TEXT");
    open(&database).await;
    for (spoil, mend, expected) in [
        (
            "DROP INDEX devices_by_state",
            "CREATE INDEX devices_by_state ON devices (state, id)",
            "index devices_by_state of devices",
        ),
        (
            "ALTER TABLE devices ALTER device_type TYPE TEXT COLLATE \"und-x-icu\"",
            "ALTER TABLE devices ALTER device_type TYPE TEXT COLLATE \"C\"",
            "column device_type of devices: text collate C",
        ),
        (
            "ALTER TABLE crls ALTER number DROP NOT NULL",
            "ALTER TABLE crls ALTER number SET NOT NULL",
            "column number of crls: bigint not null",
        ),
    ] {
        database.sql(spoil);
        let refusal = refusal(&database).await;
        assert!(
            refusal.starts_with("the schema of") && refusal.contains(expected),
            "{refusal}"
        );
        database.sql(mend);
        open(&database).await;
    }
}

#[tokio::test]
async fn what_works_behind_the_back_is_refused() {
    let database = with_device().await;
    for (spoil, mend, expected) in [
        (
            "CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; \
             CREATE TRIGGER forget BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION forget()",
            "DROP TRIGGER forget ON events",
            "has a trigger forget of events",
        ),
        (
            "CREATE RULE forget AS ON DELETE TO events DO INSTEAD NOTHING",
            "DROP RULE forget ON events",
            "has a rule forget of events",
        ),
        (
            "ALTER TABLE devices ENABLE ROW LEVEL SECURITY",
            "ALTER TABLE devices DISABLE ROW LEVEL SECURITY",
            "has a row security of devices",
        ),
    ] {
        database.sql(spoil);
        let refusal = refusal(&database).await;
        assert!(refusal.contains(expected), "{refusal}");
        database.sql(mend);
        open(&database).await;
    }
}

#[tokio::test]
async fn another_database_is_left_alone() {
    let database = PostgresServer::shared().create_database();
    database.sql("CREATE TABLE recipes (name TEXT)");
    let refusal = refusal(&database).await;
    assert!(
        refusal.contains("holds the tables of another program"),
        "{refusal}"
    );
    let tables = "SELECT string_agg(tablename, ' ') FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(database.sql(tables), "recipes");
}

#[tokio::test]
async fn a_database_of_another_encoding_is_refused() {
    let database = PostgresServer::shared().create_database();
    let name = format!("{}_latin", database.name());
    database.sql(&format!(
        "CREATE DATABASE {name} OWNER leafgate ENCODING 'LATIN1' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0"
    ));
    let url = database.url().replace(database.name(), &name);
    let opened = PostgresStore::open(&options(url)).await;
    database.sql(&format!("DROP DATABASE {name} WITH (FORCE)"));
    let error = opened.err().unwrap();
    assert!(matches!(error, StoreError::Unsupported { .. }), "{error:?}");
    assert!(
        error.to_string().contains("has the encoding LATIN1"),
        "{error}"
    );
}

#[tokio::test]
async fn a_role_without_the_right_to_create_is_told() {
    let database = PostgresServer::shared().create_database();
    database.sql("CREATE ROLE guest LOGIN PASSWORD 'guest'");
    let guest = options(database.url_with("guest:guest"));
    let error = PostgresStore::open(&guest).await.err().unwrap();
    database.sql("DROP ROLE guest");
    assert!(
        error
            .to_string()
            .contains("refuses what this role has no right to"),
        "{error:?}"
    );
}
