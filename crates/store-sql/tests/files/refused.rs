//! Files that are no registry of this version.

use super::*;

impl Scratch {
    /// What opening says, which is the same for reading and for writing.
    async fn refusal(&self) -> String {
        let writing = SqliteStore::open(&self.path)
            .await
            .err()
            .expect("not to be opened");
        let reading = SqliteStore::open_read_only(&self.path)
            .await
            .err()
            .expect("not to be opened");
        assert!(
            matches!(writing, StoreError::Unsupported { .. }),
            "{writing:?}"
        );
        assert!(
            matches!(reading, StoreError::Unsupported { .. }),
            "{reading:?}"
        );
        assert_eq!(writing.to_string(), reading.to_string());
        assert!(
            writing.to_string().contains(&*self.path.to_string_lossy()),
            "{writing}"
        );
        writing.to_string()
    }
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let scratch = Scratch::with_device().await;
    scratch
        .execute("INSERT INTO schema_migrations VALUES (99, 'later', 'abc')")
        .await;
    let refusal = scratch.refusal().await;
    assert!(
        refusal.contains("has schema 99, this program knows only up to ")
            && refusal.ends_with(": use a newer leafgate"),
        "{refusal}"
    );
}

#[tokio::test]
async fn an_edited_migration_is_refused() {
    let scratch = Scratch::with_device().await;
    scratch
        .execute("UPDATE schema_migrations SET checksum = 'abc' WHERE version = 1")
        .await;
    let refusal = scratch.refusal().await;
    assert!(
        refusal.starts_with("step 1 (registry) of the schema"),
        "{refusal}"
    );
}

#[tokio::test]
async fn an_edited_table_is_refused_and_an_additional_index_is_not() {
    let scratch = Scratch::with_device().await;
    scratch
        .execute("CREATE INDEX of_mine ON devices (site)")
        .await;
    SqliteStore::open(&scratch.path).await.unwrap();
    scratch
        .execute("ALTER TABLE devices ADD COLUMN mine TEXT")
        .await;
    let refusal = scratch.refusal().await;
    assert!(refusal.starts_with("the table devices of"), "{refusal}");
}

#[tokio::test]
async fn a_missing_index_and_a_trigger_are_refused() {
    let scratch = Scratch::with_device().await;
    scratch
        .execute("CREATE TRIGGER forget AFTER INSERT ON events BEGIN DELETE FROM events; END")
        .await;
    let refusal = scratch.refusal().await;
    assert!(refusal.starts_with("the trigger forget of"), "{refusal}");
    scratch
        .execute("DROP TRIGGER forget; DROP INDEX devices_by_state")
        .await;
    let refusal = scratch.refusal().await;
    assert!(
        refusal.starts_with("the index devices_by_state of"),
        "{refusal}"
    );
}

#[tokio::test]
async fn another_database_is_left_alone() {
    let scratch = Scratch::new();
    scratch
        .execute("PRAGMA journal_mode = WAL; CREATE TABLE recipes (name TEXT)")
        .await;
    let refusal = scratch.refusal().await;
    assert!(
        refusal.ends_with("is not a leafgate registry but another SQLite database"),
        "{refusal}"
    );
}

#[tokio::test]
async fn another_file_is_left_alone() {
    let scratch = Scratch::new();
    let text = "not a database\n".repeat(1_000);
    fs::write(&scratch.path, &text).unwrap();
    let refusal = scratch.refusal().await;
    assert!(refusal.ends_with("is not an SQLite database"), "{refusal}");
    assert_eq!(fs::read_to_string(&scratch.path).unwrap(), text);
}
