//! The searches, which every SQL database makes in the same way but for a few words.

use leafgate_identity::{DeviceId, SpkiHash, UnixMs};
use leafgate_registry::{
    Certificate, CertificateId, CertificateQuery, Cursor, DeviceRecord, DeviceState, Document,
    DocumentKind, DocumentName, Holder, Outstanding, Page, Query,
};
use sqlx::{Database, QueryBuilder};

use crate::failure::Failure;
use crate::rows::{
    self, Columns, DEVICE, SERVICE, certificate_columns, device_columns, document_columns, integer,
};

/// What databases say differently.
pub(crate) trait Dialect: Database<Arguments: Default> {
    fn push_text(sql: &mut QueryBuilder<Self>, text: String);
    fn push_integer(sql: &mut QueryBuilder<Self>, integer: i64);
    /// The condition that `attributes` has this one.
    fn push_attribute(sql: &mut QueryBuilder<Self>, name: &str, value: &str);
}

/// The devices that a query asks for, and one more: a row for each certificate, ordered by device.
pub(crate) fn devices<DB: Dialect>(query: &Query) -> QueryBuilder<DB> {
    let mut sql = QueryBuilder::new(concat!(
        "SELECT ",
        device_columns!(),
        ", ",
        certificate_columns!(),
        " FROM (SELECT * FROM devices WHERE "
    ));
    match query.state {
        Some(state) => push(&mut sql, "state = ", state.as_str()),
        None => push(&mut sql, "state <> ", DeviceState::Deleted.as_str()),
    }
    if let Some(device_type) = &query.device_type {
        push(&mut sql, " AND device_type = ", device_type);
    }
    if let Some((name, value)) = &query.attribute {
        sql.push(" AND ");
        DB::push_attribute(&mut sql, name, value);
    }
    if let Some(prefix) = &query.id_prefix {
        push_prefix(&mut sql, "id", prefix);
    }
    if let Some(site) = &query.site {
        push(&mut sql, " AND site = ", site);
    }
    if let Some(time) = query.expires_by {
        push_expires_by(&mut sql, time);
    }
    if let Some(after) = &query.after {
        push(&mut sql, " AND id > ", after.key().as_str());
    }
    sql.push(" ORDER BY id");
    push_limit(&mut sql, query.limit);
    sql.push(
        ") d LEFT JOIN certificates c ON c.holder_kind = 'device' AND c.holder = d.id ORDER BY d.id",
    );
    sql
}

/// Whether a query asks for nothing but the beginning of an id, whose order is that of the page: whatever the values, one
/// index serves.
pub(crate) fn names_devices(query: &Query) -> bool {
    let Query {
        state,
        device_type,
        attribute,
        site,
        id_prefix,
        expires_by,
        after: _,
        limit: _,
    } = query;
    id_prefix.is_some()
        && state.is_none()
        && device_type.is_none()
        && attribute.is_none()
        && site.is_none()
        && expires_by.is_none()
}

pub(crate) fn device_page<R: Columns>(
    rows: &[R],
    query: &Query,
) -> Result<Page<DeviceRecord, DeviceId>, Failure> {
    let id = |record: &DeviceRecord| record.device.id.clone();
    Ok(Page::cut(rows::records(rows)?, query.limit.max(1), id))
}

/// The certificates that a query asks for, and one more.
pub(crate) fn certificates<DB: Dialect>(query: &CertificateQuery) -> QueryBuilder<DB> {
    let mut sql = QueryBuilder::new(concat!(
        "SELECT ",
        certificate_columns!(),
        " FROM certificates c WHERE TRUE"
    ));
    if let Some(issuer) = &query.issuer {
        push(&mut sql, " AND issuer = ", issuer.to_string());
    }
    if let Some(serial) = &query.serial {
        push(&mut sql, " AND serial = ", serial.to_string());
    }
    if let Some(status) = query.status {
        // Written out, since only a literal lets the index of revoked certificates be used.
        sql.push(" AND status = '").push(status.as_str()).push("'");
    }
    match &query.holder {
        None => {}
        Some(Holder::Device { id, generation }) => {
            push(&mut sql, " AND holder_kind = ", DEVICE);
            push(&mut sql, " AND holder = ", id.as_str());
            push_integer(&mut sql, " AND holder_generation = ", (*generation).into());
        }
        Some(Holder::Service { name }) => {
            push(&mut sql, " AND holder_kind = ", SERVICE);
            push(&mut sql, " AND holder = ", name.as_str());
        }
    }
    if let Some(prefix) = &query.device_prefix {
        push(&mut sql, " AND holder_kind = ", DEVICE);
        push_prefix(&mut sql, "holder", prefix);
    }
    if let Some(fingerprint) = &query.fingerprint {
        push(&mut sql, " AND fingerprint = ", fingerprint.to_string());
    }
    if let Some(key) = &query.public_key {
        push(&mut sql, " AND public_key = ", key.to_string());
    }
    if let Some(time) = query.expires_after {
        push_integer(&mut sql, " AND not_after_ms > ", time.as_i64());
    }
    if let Some(time) = query.expires_by {
        push_integer(&mut sql, " AND not_after_ms <= ", time.as_i64());
    }
    if let Some(after) = &query.after {
        let CertificateId { issuer, serial } = after.key();
        push(&mut sql, " AND (serial, issuer) > (", serial.to_string());
        push(&mut sql, ", ", issuer.to_string());
        sql.push(")");
    }
    sql.push(" ORDER BY serial, issuer");
    push_limit(&mut sql, query.limit);
    sql
}

/// Whether a query names its certificates by a key that at most a few have: whatever the values, one index serves.
pub(crate) fn names_certificates(query: &CertificateQuery) -> bool {
    query.serial.is_some() || query.fingerprint.is_some() || query.public_key.is_some()
}

pub(crate) fn certificate_page<R: Columns>(
    rows: &[R],
    query: &CertificateQuery,
) -> Result<Page<Certificate, CertificateId>, Failure> {
    let certificates: Result<_, _> = rows.iter().map(rows::certificate).collect();
    Ok(Page::cut(
        certificates?,
        query.limit.max(1),
        Certificate::id,
    ))
}

/// What is left at a time of an issuer's certificates.
pub(crate) fn outstanding<DB: Dialect>(issuer: &SpkiHash, now: UnixMs) -> QueryBuilder<DB> {
    const ACCEPTED: &str = "status = 'issued' OR (status = 'superseded' AND status_at_ms > ";
    let mut sql = QueryBuilder::new(
        "SELECT COUNT(*) AS unexpired, MAX(not_after_ms) AS last_unexpired_ms, COUNT(accepted) AS certificates, \
         COUNT(DISTINCT CASE WHEN accepted = 1 THEN holder_kind || ':' || holder END) AS holders, \
         MAX(CASE WHEN accepted = 1 THEN not_after_ms END) AS last_not_after_ms \
         FROM (SELECT holder_kind, holder, not_after_ms, CASE WHEN ",
    );
    push_integer(&mut sql, ACCEPTED, now.as_i64());
    sql.push(") THEN 1 END AS accepted FROM certificates WHERE ");
    push(&mut sql, "issuer = ", issuer.to_string());
    push_integer(&mut sql, " AND not_after_ms > ", now.as_i64());
    sql.push(") c");
    sql
}

pub(crate) fn outstanding_of<R: Columns>(rows: &[R]) -> Result<Outstanding, Failure> {
    match rows {
        [row] => rows::outstanding(row),
        _ => Err(Failure::Record("a count is one row".to_owned())),
    }
}

/// A page of the documents of a kind, and one more.
pub(crate) fn documents<DB: Dialect>(
    kind: DocumentKind,
    after: Option<&Cursor<DocumentName>>,
    limit: usize,
) -> QueryBuilder<DB> {
    let mut sql = QueryBuilder::new(concat!(
        "SELECT ",
        document_columns!(),
        " FROM documents WHERE "
    ));
    push(&mut sql, "kind = ", kind.as_str());
    if let Some(after) = after {
        push(&mut sql, " AND name > ", after.key().as_str());
    }
    sql.push(" ORDER BY name");
    push_limit(&mut sql, limit);
    sql
}

pub(crate) fn document_page<R: Columns>(
    rows: &[R],
    limit: usize,
) -> Result<Page<Document, DocumentName>, Failure> {
    let documents: Result<_, _> = rows.iter().map(rows::document).collect();
    let name = |document: &Document| document.name.clone();
    Ok(Page::cut(documents?, limit.max(1), name))
}

fn push<DB: Dialect>(sql: &mut QueryBuilder<DB>, condition: &str, text: impl Into<String>) {
    sql.push(condition);
    DB::push_text(sql, text.into());
}

fn push_integer<DB: Dialect>(sql: &mut QueryBuilder<DB>, condition: &str, value: i64) {
    sql.push(condition);
    DB::push_integer(sql, value);
}

/// Ids are ASCII and their greatest character is z, whose successor is {.
fn push_prefix<DB: Dialect>(sql: &mut QueryBuilder<DB>, column: &str, prefix: &str) {
    push(sql, &format!(" AND {column} >= "), prefix);
    push(sql, &format!(" AND {column} < "), format!("{prefix}{{"));
}

/// That the device has an issued certificate of its present generation, and that none ends later.
///
/// Both look at one device's certificates at a time: an `IN` that compares generations too would read all that end by
/// then once for every device.
fn push_expires_by<DB: Dialect>(sql: &mut QueryBuilder<DB>, time: UnixMs) {
    const ISSUED: &str = "EXISTS (SELECT 1 FROM certificates WHERE holder_kind = 'device' AND holder = devices.id \
                          AND holder_generation = devices.generation AND status = 'issued' AND not_after_ms ";
    for (exists, end) in [(" AND ", "<= "), (" AND NOT ", "> ")] {
        sql.push(exists).push(ISSUED);
        push_integer(sql, end, time.as_i64());
        sql.push(")");
    }
}

/// One more than asked for, and than the one that is always given, tells a page that is full from one that others
/// follow.
///
/// It is written out: SQLite plans a statement anew whenever its limit is bound.
fn push_limit<DB: Dialect>(sql: &mut QueryBuilder<DB>, limit: usize) {
    let limit = integer(limit.max(1)).saturating_add(1);
    sql.push(" LIMIT ").push(limit);
}
