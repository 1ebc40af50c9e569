use leafgate_identity::{DeviceId, SerialNumber, SpkiHash};
use leafgate_registry::{
    Certificate, Crl, DeviceRecord, Document, DocumentKind, DocumentName, Event, FeedPosition,
};
use serde_json::json;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, SqliteExecutor};

use crate::failure::Failure;
use crate::rows::{self, Columns, certificate_columns, device_columns, document_columns, integer};

// Each read is one statement, and so sees one state of the database.

const LOAD: &str = concat!(
    "SELECT ",
    device_columns!(),
    ", ",
    certificate_columns!(),
    " FROM devices d LEFT JOIN certificates c ON c.holder_kind = 'device' AND c.holder = d.id WHERE d.id = ?"
);

pub(super) async fn load(
    executor: impl SqliteExecutor<'_>,
    id: &DeviceId,
) -> Result<Option<DeviceRecord>, Failure> {
    let rows = sqlx::query(LOAD)
        .bind(id.as_str())
        .fetch_all(executor)
        .await?;
    Ok(rows::records(&rows)?.pop())
}

const CERTIFICATES: &str = concat!(
    "SELECT ",
    certificate_columns!(),
    " FROM certificates c WHERE c.issuer = ? AND c.serial IN (SELECT value FROM json_each(?))"
);

pub(super) async fn certificates(
    executor: impl SqliteExecutor<'_>,
    issuer: &SpkiHash,
    serials: &[SerialNumber],
) -> Result<Vec<Certificate>, Failure> {
    let rows = sqlx::query(CERTIFICATES)
        .bind(issuer.to_string())
        .bind(json!(serials).to_string())
        .fetch_all(executor)
        .await?;
    rows.iter().map(rows::certificate).collect()
}

pub(super) async fn crl(
    executor: impl SqliteExecutor<'_>,
    issuer: &SpkiHash,
) -> Result<Option<Crl>, Failure> {
    let row = sqlx::query(
        "SELECT issuer, number, this_update_ms, next_update_ms FROM crls WHERE issuer = ?",
    )
    .bind(issuer.to_string())
    .fetch_optional(executor)
    .await?;
    row.as_ref().map(rows::crl).transpose()
}

pub(super) async fn document(
    executor: impl SqliteExecutor<'_>,
    kind: DocumentKind,
    name: &DocumentName,
) -> Result<Option<Document>, Failure> {
    const DOCUMENT: &str = concat!(
        "SELECT ",
        document_columns!(),
        " FROM documents WHERE kind = ? AND name = ?"
    );
    let row = sqlx::query(DOCUMENT)
        .bind(kind.as_str())
        .bind(name.as_str())
        .fetch_optional(executor)
        .await?;
    row.as_ref().map(rows::document).transpose()
}

pub(super) async fn position(executor: impl SqliteExecutor<'_>) -> Result<FeedPosition, Failure> {
    let row = sqlx::query("SELECT epoch, seq, hash FROM feed_head WHERE id = 1")
        .fetch_optional(executor)
        .await?;
    let row = row.ok_or_else(|| Failure::Record("the row of feed_head is missing".to_owned()))?;
    rows::position(&row)
}

pub(super) async fn events_after(
    executor: impl SqliteExecutor<'_>,
    seq: u64,
    limit: usize,
) -> Result<Vec<Event>, Failure> {
    const EVENTS: &str = "SELECT seq, at_ms, actor, kind, device_id, detail, previous_hash, hash \
                          FROM events WHERE seq > ";
    let mut sql = QueryBuilder::new(EVENTS);
    sql.push_bind(integer(seq));
    // Written out: a statement is planned anew whenever its limit is bound.
    sql.push(" ORDER BY seq LIMIT ").push(integer(limit));
    let rows = sql.build().fetch_all(executor).await?;
    rows.iter().map(rows::event).collect()
}

impl Columns for SqliteRow {
    fn text(&self, name: &'static str) -> Result<Option<&str>, sqlx::Error> {
        self.try_get(name)
    }

    fn integer(&self, name: &'static str) -> Result<Option<i64>, sqlx::Error> {
        self.try_get(name)
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema::tests::{migrated, plan};
    use super::*;

    #[tokio::test]
    async fn a_device_and_its_certificates_are_one_indexed_look_up_each() {
        let (_folder, mut connection) = migrated().await;
        let plan = plan(&mut connection, QueryBuilder::new(LOAD)).await;
        let expected = [
            "SEARCH d USING PRIMARY KEY (id=?)",
            "SEARCH c USING PRIMARY KEY (holder_kind=? AND holder=?) LEFT-JOIN",
        ];
        assert_eq!(plan, expected);
    }

    #[tokio::test]
    async fn certificates_of_serial_numbers_are_an_indexed_look_up_each() {
        let (_folder, mut connection) = migrated().await;
        let plan = plan(&mut connection, QueryBuilder::new(CERTIFICATES)).await;
        assert!(
            plan[0].starts_with("SEARCH c USING ") && plan[0].contains("serial=?"),
            "{plan:?}"
        );
    }
}
