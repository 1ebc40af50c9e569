use std::collections::BTreeSet;

use leafgate_identity::{DeviceId, SpkiHash, UnixMs};
use leafgate_registry::{
    Certificate, CertificateId, CertificateStatus, Crl, DeviceRecord, Document, DocumentKind,
    DocumentName, FeedPosition, Holder, Ledger, Link, Needs,
};
use sqlx::postgres::{PgBindIterExt, PgHasArrayType, PgRow};
use sqlx::{Encode, PgConnection, Postgres, Type};

use super::connect::{ANSWER_LIMIT, within};
use super::read::Statement;
use crate::failure::Failure;
use crate::rows::{self, DEVICE, SERVICE, certificate_columns, integer};

/// How many rows one statement writes: few enough that it ends well within the time that it has.
const ROWS_PER_STATEMENT: usize = 1_000;

/// Reads what the changes of a transaction that begins at this position are compared with.
pub(super) async fn read_ledger<'a>(
    connection: &mut PgConnection,
    position: FeedPosition,
    needs: &Needs,
) -> Result<Ledger<'a>, Failure> {
    let mut ledger = Ledger::at(position);
    if !needs.folded_ids.is_empty() {
        for row in fetch(connection, known_devices(&needs.folded_ids)).await? {
            let (id, version) = rows::device_version(&row)?;
            ledger.knows_device(id, version);
        }
    }
    if !needs.new_certificates.is_empty() {
        for row in fetch(connection, known_certificates(&needs.new_certificates)).await? {
            ledger.knows_certificate(rows::certificate_id(&row)?);
        }
    }
    if !needs.service_certificates.is_empty() {
        let statement = known_service_certificates(&needs.service_certificates);
        for row in fetch(connection, statement).await? {
            ledger.knows_service_certificate(rows::certificate(&row)?);
        }
    }
    if !needs.issuers.is_empty() {
        for row in fetch(connection, known_crls(&needs.issuers)).await? {
            let crl = rows::crl(&row)?;
            ledger.knows_crl(crl.issuer, crl.number);
        }
    }
    if !needs.documents.is_empty() {
        for row in fetch(connection, known_documents(&needs.documents)).await? {
            let (kind, name, version) = rows::document_version(&row)?;
            ledger.knows_document(kind, name, version);
        }
    }
    Ok(ledger)
}

async fn fetch(
    connection: &mut PgConnection,
    statement: Statement,
) -> Result<Vec<PgRow>, sqlx::Error> {
    within(ANSWER_LIMIT, statement.fetch_all(connection)).await
}

pub(super) fn known_devices(folded_ids: &BTreeSet<String>) -> Statement {
    sqlx::query("SELECT id, version FROM devices WHERE id_folded = ANY($1)")
        .bind(folded_ids.iter().map(String::as_str).bind_iter())
}

pub(super) fn known_certificates(ids: &BTreeSet<CertificateId>) -> Statement {
    const KNOWN: &str = "SELECT c.issuer, c.serial FROM unnest($1::text[], $2::text[]) n (issuer, serial) \
         JOIN certificates c ON c.serial = n.serial AND c.issuer = n.issuer";
    bind_certificate_ids(KNOWN, ids)
}

fn known_service_certificates(ids: &BTreeSet<CertificateId>) -> Statement {
    const KNOWN: &str = concat!(
        "SELECT ",
        certificate_columns!(),
        " FROM unnest($1::text[], $2::text[]) n (issuer, serial) \
         JOIN certificates c ON c.serial = n.serial AND c.issuer = n.issuer WHERE c.holder_kind = 'service'"
    );
    bind_certificate_ids(KNOWN, ids)
}

fn bind_certificate_ids(sql: &'static str, ids: &BTreeSet<CertificateId>) -> Statement {
    sqlx::query(sql)
        .bind(ids.iter().map(|id| id.issuer.to_string()).bind_iter())
        .bind(ids.iter().map(|id| id.serial.to_string()).bind_iter())
}

fn known_crls(issuers: &BTreeSet<SpkiHash>) -> Statement {
    const KNOWN: &str =
        "SELECT issuer, number, this_update_ms, next_update_ms FROM crls WHERE issuer = ANY($1)";
    sqlx::query(KNOWN).bind(issuers.iter().map(ToString::to_string).bind_iter())
}

pub(super) fn known_documents(keys: &BTreeSet<(DocumentKind, DocumentName)>) -> Statement {
    const KNOWN: &str = "SELECT d.kind, d.name, d.version FROM unnest($1::text[], $2::text[]) n (kind, name) \
         JOIN documents d ON d.kind = n.kind AND d.name = n.name";
    sqlx::query(KNOWN)
        .bind(keys.iter().map(|(kind, _)| kind.as_str()).bind_iter())
        .bind(keys.iter().map(|(_, name)| name.as_str()).bind_iter())
}

/// Forgets documents that expired, and says how many.
pub(super) async fn forget_expired(
    connection: &mut PgConnection,
    now: UnixMs,
    limit: usize,
) -> Result<usize, Failure> {
    // What a commit that runs right now writes again is left to it, and its new end is looked at.
    const FORGET: &str = "DELETE FROM documents d USING (SELECT kind, name FROM documents WHERE expires_at_ms <= $1 \
         LIMIT $2 FOR UPDATE SKIP LOCKED) expired WHERE d.kind = expired.kind AND d.name = expired.name";
    let done = sqlx::query(FORGET)
        .bind(now.as_i64())
        .bind(integer(limit))
        .execute(connection)
        .await?;
    Ok(usize::try_from(done.rows_affected()).unwrap_or(usize::MAX))
}

/// Writes what a transaction made of the records, with its events.
pub(super) async fn write_ledger(
    connection: &mut PgConnection,
    ledger: &Ledger<'_>,
) -> Result<(), Failure> {
    // A version of 1 was never there before, and nothing has to be looked up for it.
    let (new, changed): (Vec<_>, Vec<_>) = ledger
        .devices()
        .partition(|record| record.device.version == 1);
    write(connection, &new, insert_devices).await?;
    write(connection, &changed, put_devices).await?;
    let certificates: Vec<_> = ledger.certificates().collect();
    write(connection, &certificates, put_certificates).await?;
    let crls: Vec<_> = ledger.crls().collect();
    write(connection, &crls, put_crls).await?;
    let documents: Vec<_> = ledger.documents().collect();
    write(connection, &documents, put_documents).await?;
    let events: Vec<_> = ledger.events().iter().collect();
    write(connection, &events, insert_events).await
}

async fn write<T>(
    connection: &mut PgConnection,
    rows: &[&T],
    statement: fn(&[&T]) -> Statement,
) -> Result<(), Failure> {
    for rows in rows.chunks(ROWS_PER_STATEMENT) {
        within(ANSWER_LIMIT, statement(rows).execute(&mut *connection)).await?;
    }
    Ok(())
}

macro_rules! devices_sql {
    ($or:literal) => {
        concat!(
            "INSERT INTO devices (id, id_folded, trust_domain, generation, version, state, device_type, site, \
             attributes, registered_at_ms, updated_at_ms) SELECT * FROM unnest($1::text[], $2::text[], $3::text[], \
             $4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::text[], $9::text[], $10::bigint[], \
             $11::bigint[])",
            $or
        )
    };
}

fn insert_devices(records: &[&DeviceRecord]) -> Statement {
    bind_devices(devices_sql!(""), records)
}

fn put_devices(records: &[&DeviceRecord]) -> Statement {
    const PUT: &str = devices_sql!(
        " ON CONFLICT (id) DO UPDATE SET trust_domain = excluded.trust_domain, generation = excluded.generation, \
         version = excluded.version, state = excluded.state, device_type = excluded.device_type, \
         site = excluded.site, attributes = excluded.attributes, registered_at_ms = excluded.registered_at_ms, \
         updated_at_ms = excluded.updated_at_ms"
    );
    bind_devices(PUT, records)
}

fn bind_devices(sql: &'static str, records: &[&DeviceRecord]) -> Statement {
    sqlx::query(sql)
        .bind(column(records, |record| record.device.id.as_str()))
        .bind(column(records, |record| record.device.id.folded()))
        .bind(column(records, |record| {
            record.device.trust_domain.as_str()
        }))
        .bind(column(records, |record| {
            i64::from(record.device.generation)
        }))
        .bind(column(records, |record| integer(record.device.version)))
        .bind(column(records, |record| record.device.state.as_str()))
        .bind(column(records, |record| record.device.device_type.as_str()))
        .bind(column(records, |record| record.device.site.as_deref()))
        .bind(column(records, |record| json(&record.device.attributes)))
        .bind(column(records, |record| {
            record.device.registered_at_ms.as_i64()
        }))
        .bind(column(records, |record| {
            record.device.updated_at_ms.as_i64()
        }))
}

fn put_certificates(certificates: &[&Certificate]) -> Statement {
    const PUT: &str = "INSERT INTO certificates (holder_kind, holder, holder_generation, issuer, serial, profile, \
         fingerprint, public_key, status, status_at_ms, reason, not_before_ms, not_after_ms, prepared_at_ms) \
         SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], \
         $8::text[], $9::text[], $10::bigint[], $11::text[], $12::bigint[], $13::bigint[], $14::bigint[]) \
         ON CONFLICT (holder_kind, holder, issuer, serial) DO UPDATE SET fingerprint = excluded.fingerprint, \
         status = excluded.status, status_at_ms = excluded.status_at_ms, reason = excluded.reason";
    let all = certificates;
    sqlx::query(PUT)
        .bind(column(all, |certificate| holder(certificate).0))
        .bind(column(all, |certificate| holder(certificate).1))
        .bind(column(all, |certificate| holder(certificate).2))
        .bind(column(all, |certificate| certificate.issuer.to_string()))
        .bind(column(all, |certificate| certificate.serial.to_string()))
        .bind(column(all, |certificate| certificate.profile.as_str()))
        .bind(column(all, |certificate| {
            certificate
                .fingerprint
                .map(|fingerprint| fingerprint.to_string())
        }))
        .bind(column(all, |certificate| {
            certificate.public_key.to_string()
        }))
        .bind(column(all, |certificate| {
            certificate.status.kind().as_str()
        }))
        .bind(column(all, |certificate| end(certificate).0))
        .bind(column(all, |certificate| end(certificate).1))
        .bind(column(all, |certificate| certificate.not_before.as_i64()))
        .bind(column(all, |certificate| certificate.not_after.as_i64()))
        .bind(column(all, |certificate| certificate.prepared_at.as_i64()))
}

/// Its kind, its name, and its generation if it is a device.
fn holder(certificate: &Certificate) -> (&'static str, &str, Option<i64>) {
    match &certificate.holder {
        Holder::Device { id, generation } => (DEVICE, id.as_str(), Some((*generation).into())),
        Holder::Service { name } => (SERVICE, name.as_str(), None),
    }
}

/// When it ends before its time, and why.
fn end(certificate: &Certificate) -> (Option<i64>, Option<&'static str>) {
    match certificate.status {
        CertificateStatus::Prepared | CertificateStatus::Issued => (None, None),
        CertificateStatus::Superseded { at } => (Some(at.as_i64()), None),
        CertificateStatus::Revoked { at, reason } => (Some(at.as_i64()), Some(reason.as_str())),
    }
}

fn put_crls(crls: &[&Crl]) -> Statement {
    const PUT: &str = "INSERT INTO crls (issuer, number, this_update_ms, next_update_ms) \
         SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[]) \
         ON CONFLICT (issuer) DO UPDATE SET number = excluded.number, this_update_ms = excluded.this_update_ms, \
         next_update_ms = excluded.next_update_ms";
    sqlx::query(PUT)
        .bind(column(crls, |crl| crl.issuer.to_string()))
        .bind(column(crls, |crl| integer(crl.number)))
        .bind(column(crls, |crl| crl.this_update.as_i64()))
        .bind(column(crls, |crl| crl.next_update.as_i64()))
}

fn put_documents(documents: &[&Document]) -> Statement {
    const PUT: &str = "INSERT INTO documents (kind, name, version, expires_at_ms, body) \
         SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[]) \
         ON CONFLICT (kind, name) DO UPDATE SET version = excluded.version, \
         expires_at_ms = excluded.expires_at_ms, body = excluded.body";
    sqlx::query(PUT)
        .bind(column(documents, |document| document.kind.as_str()))
        .bind(column(documents, |document| document.name.as_str()))
        .bind(column(documents, |document| integer(document.version)))
        .bind(column(documents, |document| {
            document.expires_at.map(UnixMs::as_i64)
        }))
        .bind(column(documents, |document| document.body.to_string()))
}

fn insert_events(events: &[&Link<'_>]) -> Statement {
    const INSERT: &str = "INSERT INTO events (seq, at_ms, actor, kind, device_id, detail, previous_hash, hash) \
         SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], \
         $7::text[], $8::text[])";
    sqlx::query(INSERT)
        .bind(column(events, |event| integer(event.seq)))
        .bind(column(events, |event| event.body.at.as_i64()))
        .bind(column(events, |event| event.body.actor.as_str()))
        .bind(column(events, |event| event.body.kind.as_str()))
        .bind(column(events, |event| {
            event.body.device.as_ref().map(DeviceId::as_str)
        }))
        .bind(column(events, |event| event.detail.as_str()))
        .bind(column(events, |event| event.previous_hash.to_string()))
        .bind(column(events, |event| event.hash.to_string()))
}

/// One value of each row, as an array for `unnest`.
fn column<'a, T, V>(
    rows: &'a [&'a T],
    value: impl Fn(&'a T) -> V + 'a,
) -> impl Encode<'a, Postgres> + Type<Postgres>
where
    V: Encode<'a, Postgres> + Type<Postgres> + PgHasArrayType + 'a,
{
    rows.iter().map(move |row| value(row)).bind_iter()
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("strings and collections of them always have a JSON form")
}
