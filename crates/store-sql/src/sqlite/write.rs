use std::collections::BTreeSet;
use std::sync::Arc;

use leafgate_identity::UnixMs;
use leafgate_registry::{
    Certificate, CertificateId, CertificateStatus, Crl, DeviceRecord, Document, EventBody, Holder,
    Ledger, Link, Needs,
};
use serde::Serialize;
use sqlx::query_builder::Separated;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::read;
use crate::failure::Failure;
use crate::rows::{self, DEVICE, SERVICE, certificate_columns, integer};

/// How many rows one statement writes: with 14 columns well below SQLite's 32,766 parameters.
const ROWS_PER_STATEMENT: usize = 1_000;

/// Reads what the changes of a transaction are compared with.
pub(super) async fn read_ledger<'a>(
    connection: &mut SqliteConnection,
    needs: &Needs,
) -> Result<Ledger<'a>, Failure> {
    let mut ledger = Ledger::at(read::position(&mut *connection).await?);
    if !needs.folded_ids.is_empty() {
        const DEVICES: &str =
            "SELECT id, version FROM devices WHERE id_folded IN (SELECT value FROM json_each(?))";
        let rows = sqlx::query(DEVICES)
            .bind(json(&needs.folded_ids))
            .fetch_all(&mut *connection)
            .await?;
        for row in rows {
            let (id, version) = rows::device_version(&row)?;
            ledger.knows_device(id, version);
        }
    }
    if !needs.new_certificates.is_empty() {
        const CERTIFICATES: &str = "SELECT c.issuer, c.serial FROM json_each(?) j \
             JOIN certificates c ON c.serial = j.value ->> 1 AND c.issuer = j.value ->> 0";
        let rows = sqlx::query(CERTIFICATES)
            .bind(pairs(&needs.new_certificates))
            .fetch_all(&mut *connection)
            .await?;
        for row in rows {
            ledger.knows_certificate(rows::certificate_id(&row)?);
        }
    }
    if !needs.service_certificates.is_empty() {
        const CERTIFICATES: &str = concat!(
            "SELECT ",
            certificate_columns!(),
            " FROM json_each(?) j JOIN certificates c ON c.serial = j.value ->> 1 AND c.issuer = j.value ->> 0 \
             WHERE c.holder_kind = 'service'"
        );
        let rows = sqlx::query(CERTIFICATES)
            .bind(pairs(&needs.service_certificates))
            .fetch_all(&mut *connection)
            .await?;
        for row in rows {
            ledger.knows_service_certificate(rows::certificate(&row)?);
        }
    }
    for issuer in &needs.issuers {
        if let Some(crl) = read::crl(&mut *connection, issuer).await? {
            ledger.knows_crl(*issuer, crl.number);
        }
    }
    if !needs.documents.is_empty() {
        const DOCUMENTS: &str = "SELECT d.kind, d.name, d.version FROM json_each(?) j \
             JOIN documents d ON d.kind = j.value ->> 0 AND d.name = j.value ->> 1";
        let names = needs.documents.iter();
        let names: Vec<_> = names.map(|(kind, name)| (kind, name.as_str())).collect();
        let rows = sqlx::query(DOCUMENTS)
            .bind(json(&names))
            .fetch_all(&mut *connection)
            .await?;
        for row in rows {
            let (kind, name, version) = rows::document_version(&row)?;
            ledger.knows_document(kind, name, version);
        }
    }
    Ok(ledger)
}

/// Forgets documents that expired, and says how many.
pub(super) async fn forget_expired(
    connection: &mut SqliteConnection,
    now: UnixMs,
    limit: usize,
) -> Result<usize, Failure> {
    const FORGET: &str = "DELETE FROM documents WHERE (kind, name) IN \
         (SELECT kind, name FROM documents WHERE expires_at_ms <= ? LIMIT ?)";
    let done = sqlx::query(FORGET)
        .bind(now.as_i64())
        .bind(integer(limit))
        .execute(connection)
        .await?;
    Ok(usize::try_from(done.rows_affected()).unwrap_or(usize::MAX))
}

/// Writes what a transaction made of the records, with its events and the end of the chain.
pub(super) async fn write_ledger(
    connection: &mut SqliteConnection,
    ledger: &Ledger<'_>,
) -> Result<(), Failure> {
    const DEVICES: &str = "INSERT INTO devices (id, id_folded, trust_domain, generation, version, state, \
         device_type, site, attributes, registered_at_ms, updated_at_ms) ";
    const OR_CHANGE_DEVICE: &str = " ON CONFLICT (id) DO UPDATE SET trust_domain = excluded.trust_domain, \
         generation = excluded.generation, version = excluded.version, state = excluded.state, \
         device_type = excluded.device_type, site = excluded.site, attributes = excluded.attributes, \
         registered_at_ms = excluded.registered_at_ms, updated_at_ms = excluded.updated_at_ms";
    const CERTIFICATES: &str = "INSERT INTO certificates (holder_kind, holder, holder_generation, issuer, serial, \
         profile, fingerprint, public_key, status, status_at_ms, reason, not_before_ms, not_after_ms, \
         prepared_at_ms) ";
    const OR_CHANGE_CERTIFICATE: &str = " ON CONFLICT (holder_kind, holder, issuer, serial) DO UPDATE SET \
         fingerprint = excluded.fingerprint, status = excluded.status, status_at_ms = excluded.status_at_ms, \
         reason = excluded.reason";
    const CRLS: &str = "INSERT INTO crls (issuer, number, this_update_ms, next_update_ms) ";
    const OR_CHANGE_CRL: &str = " ON CONFLICT (issuer) DO UPDATE SET number = excluded.number, \
         this_update_ms = excluded.this_update_ms, next_update_ms = excluded.next_update_ms";
    const DOCUMENTS: &str = "INSERT INTO documents (kind, name, version, expires_at_ms, body) ";
    const OR_CHANGE_DOCUMENT: &str = " ON CONFLICT (kind, name) DO UPDATE SET version = excluded.version, \
         expires_at_ms = excluded.expires_at_ms, body = excluded.body";
    const EVENTS: &str =
        "INSERT INTO events (seq, at_ms, actor, kind, device_id, detail, previous_hash, hash) ";

    let certificates = ledger.certificates().collect();
    let crls = ledger.crls().collect();
    let documents = ledger.documents().collect();
    let events = ledger.events().iter().collect();
    // A version of 1 was never there before, and nothing has to be compared with it.
    let (new, changed): (Vec<_>, Vec<_>) = ledger
        .devices()
        .partition(|record| record.device.version == 1);
    let mut inserts = inserts(DEVICES, new, bind_device, "")
        .chain(inserts(DEVICES, changed, bind_device, OR_CHANGE_DEVICE))
        .chain(inserts(
            CERTIFICATES,
            certificates,
            bind_certificate,
            OR_CHANGE_CERTIFICATE,
        ))
        .chain(inserts(CRLS, crls, bind_crl, OR_CHANGE_CRL))
        .chain(inserts(
            DOCUMENTS,
            documents,
            bind_document,
            OR_CHANGE_DOCUMENT,
        ))
        .chain(inserts(EVENTS, events, bind_event, ""));
    let mut next = inserts.next();
    while let Some(insert) = next {
        // While SQLite, on a thread of its own, is at one, the next is built.
        let (done, following) =
            tokio::join!(insert.execute(&mut *connection), async { inserts.next() });
        done?;
        next = following;
    }
    let position = ledger.position();
    sqlx::query("UPDATE feed_head SET epoch = ?, seq = ?, hash = ? WHERE id = 1")
        .bind(position.epoch.to_string())
        .bind(integer(position.seq))
        .bind(position.hash.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

type Values<'a> = Separated<'a, Sqlite, &'static str>;

/// A statement with what it writes.
struct Insert {
    sql: QueryBuilder<Sqlite>,
    rows: usize,
}

impl Insert {
    async fn execute(mut self, connection: &mut SqliteConnection) -> Result<(), Failure> {
        // Statements of the usual sizes are worth keeping.
        let keep = self.rows == 1 || self.rows == ROWS_PER_STATEMENT;
        let sql = self.sql.build().persistent(keep);
        sql.execute(connection).await?;
        Ok(())
    }
}

/// The statements that write these rows, each built when its turn comes.
fn inserts<'a, T>(
    into: &'static str,
    rows: Vec<&'a T>,
    bind: fn(Values<'_>, &T),
    or: &'static str,
) -> impl Iterator<Item = Insert> + use<'a, T> {
    let starts = (0..rows.len()).step_by(ROWS_PER_STATEMENT);
    starts.map(move |start| {
        let end = rows.len().min(start + ROWS_PER_STATEMENT);
        let rows = &rows[start..end];
        let mut sql = QueryBuilder::new(into);
        sql.push_values(rows, |values, row| bind(values, row))
            .push(or);
        Insert {
            sql,
            rows: rows.len(),
        }
    })
}

fn bind_device(mut values: Values<'_>, record: &DeviceRecord) {
    let device = &record.device;
    values
        .push_bind(text(device.id.as_str()))
        .push_bind(device.id.folded())
        .push_bind(text(device.trust_domain.as_str()))
        .push_bind(device.generation)
        .push_bind(integer(device.version))
        .push_bind(text(device.state.as_str()))
        .push_bind(text(device.device_type.as_str()))
        .push_bind(device.site.as_deref().map(text))
        .push_bind(json(&device.attributes))
        .push_bind(device.registered_at_ms.as_i64())
        .push_bind(device.updated_at_ms.as_i64());
}

fn bind_certificate(mut values: Values<'_>, certificate: &Certificate) {
    let (kind, holder, generation) = match &certificate.holder {
        Holder::Device { id, generation } => (DEVICE, id.as_str(), Some(*generation)),
        Holder::Service { name } => (SERVICE, name.as_str(), None),
    };
    let (at, reason) = match certificate.status {
        CertificateStatus::Prepared | CertificateStatus::Issued => (None, None),
        CertificateStatus::Superseded { at } => (Some(at), None),
        CertificateStatus::Revoked { at, reason } => (Some(at), Some(reason.as_str())),
    };
    values
        .push_bind(kind)
        .push_bind(holder)
        .push_bind(generation)
        .push_bind(certificate.issuer.to_string())
        .push_bind(certificate.serial.to_string())
        .push_bind(certificate.profile.as_str())
        .push_bind(
            certificate
                .fingerprint
                .map(|fingerprint| fingerprint.to_string()),
        )
        .push_bind(certificate.public_key.to_string())
        .push_bind(certificate.status.kind().as_str())
        .push_bind(at.map(UnixMs::as_i64))
        .push_bind(reason)
        .push_bind(certificate.not_before.as_i64())
        .push_bind(certificate.not_after.as_i64())
        .push_bind(certificate.prepared_at.as_i64());
}

fn bind_crl(mut values: Values<'_>, crl: &Crl) {
    values
        .push_bind(crl.issuer.to_string())
        .push_bind(integer(crl.number))
        .push_bind(crl.this_update.as_i64())
        .push_bind(crl.next_update.as_i64());
}

fn bind_document(mut values: Values<'_>, document: &Document) {
    values
        .push_bind(document.kind.as_str())
        .push_bind(document.name.as_str())
        .push_bind(integer(document.version))
        .push_bind(document.expires_at.map(UnixMs::as_i64))
        .push_bind(document.body.to_string());
}

fn bind_event(mut values: Values<'_>, event: &Link<'_>) {
    let EventBody {
        at,
        actor,
        kind,
        device,
        detail: _,
    } = event.body;
    values
        .push_bind(integer(event.seq))
        .push_bind(at.as_i64())
        .push_bind(text(actor.as_str()))
        .push_bind(text(kind.as_str()))
        .push_bind(device.as_ref().map(|device| text(device.as_str())))
        .push_bind(text(event.detail.as_str()))
        .push_bind(event.previous_hash.to_string())
        .push_bind(event.hash.to_string());
}

/// A text as it is bound with the fewest allocations: SQLx copies a `&str` into a string of its own and shares that.
fn text(text: &str) -> Arc<str> {
    text.into()
}

/// `[[issuer, serial], …]`.
fn pairs(ids: &BTreeSet<CertificateId>) -> String {
    let pairs = ids.iter().map(|id| (id.issuer, id.serial));
    json(&pairs.collect::<Vec<_>>())
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("strings and collections of them always have a JSON form")
}
