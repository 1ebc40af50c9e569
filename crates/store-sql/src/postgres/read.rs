use leafgate_identity::{DeviceId, SerialNumber, SpkiHash};
use leafgate_registry::{DocumentKind, DocumentName, FeedPosition};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{Execute, Postgres, QueryBuilder, Row};

use crate::failure::Failure;
use crate::rows::{self, Columns, certificate_columns, device_columns, document_columns, integer};
use crate::search::Dialect;

// Each read is one statement, and so sees one state of the database.

const LOAD: &str = concat!(
    "SELECT ",
    device_columns!(),
    ", ",
    certificate_columns!(),
    " FROM devices d LEFT JOIN certificates c ON c.holder_kind = 'device' AND c.holder = d.id WHERE d.id = $1"
);

/// A statement with its values.
pub(super) type Statement = Query<'static, Postgres, PgArguments>;

pub(super) fn load(id: &DeviceId) -> Statement {
    sqlx::query(LOAD).bind(id.as_str())
}

pub(super) fn certificates(issuer: &SpkiHash, serials: &[SerialNumber]) -> Statement {
    const CERTIFICATES: &str = concat!(
        "SELECT ",
        certificate_columns!(),
        " FROM certificates c WHERE c.issuer = $1 AND c.serial = ANY($2)"
    );
    let serials: Vec<String> = serials.iter().map(SerialNumber::to_string).collect();
    sqlx::query(CERTIFICATES)
        .bind(issuer.to_string())
        .bind(serials)
}

pub(super) fn crl(issuer: &SpkiHash) -> Statement {
    const CRL: &str =
        "SELECT issuer, number, this_update_ms, next_update_ms FROM crls WHERE issuer = $1";
    sqlx::query(CRL).bind(issuer.to_string())
}

pub(super) fn document(kind: DocumentKind, name: &DocumentName) -> Statement {
    const DOCUMENT: &str = concat!(
        "SELECT ",
        document_columns!(),
        " FROM documents WHERE kind = $1 AND name = $2"
    );
    sqlx::query(DOCUMENT)
        .bind(kind.as_str())
        .bind(name.as_str())
}

pub(super) fn position() -> Statement {
    sqlx::query("SELECT epoch, seq, hash FROM feed_head WHERE id = 1")
}

/// The position in the rows of `feed_head`.
pub(super) fn position_of(rows: &[PgRow]) -> Result<FeedPosition, Failure> {
    let row = rows.first();
    let row = row.ok_or_else(|| Failure::Record("the row of feed_head is missing".to_owned()))?;
    rows::position(row)
}

pub(super) fn events_after(seq: u64, limit: usize) -> Statement {
    const EVENTS: &str = "SELECT seq, at_ms, actor, kind, device_id, detail, previous_hash, hash \
                          FROM events WHERE seq > $1 ORDER BY seq LIMIT $2";
    sqlx::query(EVENTS).bind(integer(seq)).bind(integer(limit))
}

/// A search. It is planned for its very values: how many devices are in a state, say, decides which index serves.
pub(super) fn search(sql: QueryBuilder<Postgres>) -> Statement {
    built(sql).persistent(false)
}

pub(super) fn built(mut sql: QueryBuilder<Postgres>) -> Statement {
    // A builder refuses a value that can't be encoded when it is pushed.
    let arguments = sql.build().take_arguments().ok().flatten();
    sqlx::query_with(sql.into_sql(), arguments.unwrap_or_default())
}

impl Dialect for Postgres {
    fn push_text(sql: &mut QueryBuilder<Self>, text: String) {
        sql.push_bind(text);
    }

    fn push_integer(sql: &mut QueryBuilder<Self>, integer: i64) {
        sql.push_bind(integer);
    }

    fn push_attribute(sql: &mut QueryBuilder<Self>, name: &str, value: &str) {
        let attribute = serde_json::json!({ name: value }).to_string();
        sql.push("attributes::jsonb @> ")
            .push_bind(attribute)
            .push("::jsonb");
    }
}

impl Columns for PgRow {
    fn text(&self, name: &'static str) -> Result<Option<&str>, sqlx::Error> {
        self.try_get(name)
    }

    fn integer(&self, name: &'static str) -> Result<Option<i64>, sqlx::Error> {
        self.try_get(name)
    }
}
