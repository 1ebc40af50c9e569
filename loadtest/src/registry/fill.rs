use std::time::Duration;

use anyhow::{Context as _, Result};
use leafgate_identity::{Fingerprint, SerialNumber, SpkiHash, Validity};
use leafgate_pki::{EmbeddedCa, Issuer as _};
use leafgate_registry::{
    Act, CertificateId, Change, DeviceRecord, NewCertificate, Query, RevocationReason,
};

use super::database::Database;
use crate::site::Site;

/// Devices of one transaction.
const PAGE: usize = 1_000;

/// Records a certificate for each of the `devices` in the registry, and revokes `revoked` of them, spread evenly; gives the number of
/// changes. Everything is as if the certificates had been signed: only they themselves don't exist.
pub(super) async fn certify(
    site: &Site,
    database: &Database,
    issuer: &EmbeddedCa,
    devices: usize,
    revoked: usize,
) -> Result<usize> {
    let store = database.store();
    let every = devices.checked_div(revoked);
    let mut query = Query {
        limit: PAGE,
        ..Query::default()
    };
    let (mut seen, mut made) = (0, 0);
    let mut page = store.find(&query).await?;
    loop {
        let act = site.act();
        let mut changes = Vec::with_capacity(3 * PAGE);
        for record in &page.items {
            let is_revoked = every.is_some_and(|every| seen % every == 0);
            append(&mut changes, record, issuer.spki(), is_revoked, &act)?;
            seen += 1;
        }
        made += changes.len();
        query.after = page.next;
        if query.after.is_none() {
            store.commit(&changes).await?;
            return Ok(made);
        }
        let (committed, next) = tokio::join!(store.commit(&changes), store.find(&query));
        committed?;
        page = next?;
    }
}

/// The serial number of the one certificate of a device.
pub(super) fn serial_of(id: &str) -> Result<SerialNumber> {
    let mut bytes = *Fingerprint::of_certificate_der(id.as_bytes()).as_bytes();
    // Positive, and without leading zeros.
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_be_bytes(&bytes[..16])?)
}

fn append(
    changes: &mut Vec<Change>,
    record: &DeviceRecord,
    issuer: SpkiHash,
    is_revoked: bool,
    act: &Act,
) -> Result<()> {
    let name = record.device.id.as_str();
    let fingerprint = Fingerprint::of_certificate_der(format!("certificate of {name}").as_bytes());
    let id = CertificateId {
        issuer,
        serial: serial_of(name)?,
    };
    let new = NewCertificate {
        id,
        profile: "device".into(),
        public_key: SpkiHash::of_spki_der(format!("key of {name}").as_bytes()),
        validity: Validity {
            not_before: act.at.saturating_sub(Duration::from_secs(300)),
            not_after: act.at.saturating_add(Duration::from_secs(168 * 3600)),
        },
    };
    let prepare = Change::prepare_certificate(record, new, act)?;
    let issue = Change::record_issued(after(&prepare)?, &id, fingerprint, act)?;
    let revoke = if is_revoked {
        let reason = RevocationReason::CessationOfOperation;
        Some(Change::revoke_certificate(
            after(&issue)?,
            &id,
            reason,
            act,
        )?)
    } else {
        None
    };
    changes.extend([prepare, issue]);
    changes.extend(revoke);
    Ok(())
}

fn after(change: &Change) -> Result<&DeviceRecord> {
    change
        .device_after()
        .context("a change of a device has a record")
}
