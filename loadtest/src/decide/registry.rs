use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use leafgate_identity::{TrustDomainName, UnixMs};
use leafgate_registry::{
    Act, Action, Actor, CertificateId, Change, DeviceRecord, DeviceStore as _, NewCertificate,
    NewDevice,
};
use leafgate_store_sql::SqliteStore;

use crate::fleet::Member;

/// Changes of one transaction.
const COMMIT: usize = 5_000;

/// The trust domain of every device.
pub(crate) const TRUST_DOMAIN: &str = "devices";

/// Makes a registry at `path` that holds every member, with the events that led there.
pub(crate) async fn create(path: &Path, members: &[Member], now: UnixMs) -> Result<()> {
    let store = SqliteStore::open(path)
        .await
        .context("can't make the registry")?;
    let act = Act {
        actor: Actor::parse("loadtest")?,
        at: now,
    };
    let trust_domain = TrustDomainName::parse(TRUST_DOMAIN)?;
    let mut changes = Vec::with_capacity(COMMIT);
    for member in members {
        append(&mut changes, member, &trust_domain, &act)?;
        if changes.len() >= COMMIT {
            store.commit(&changes).await?;
            changes.clear();
        }
    }
    store.commit(&changes).await?;
    Ok(())
}

fn append(
    changes: &mut Vec<Change>,
    member: &Member,
    trust_domain: &TrustDomainName,
    act: &Act,
) -> Result<()> {
    let new = NewDevice {
        id: member.id.clone(),
        trust_domain: trust_domain.clone(),
        pending: false,
        device_type: "pump".into(),
        site: None,
        attributes: BTreeMap::new(),
    };
    let mut record = apply(changes, Change::register(None, new, act)?)?;
    if let Some(certificate) = &member.certificate {
        let issued = &certificate.issued;
        let id = CertificateId {
            issuer: issued.issuer,
            serial: issued.serial,
        };
        let new = NewCertificate {
            id,
            profile: "device".into(),
            public_key: certificate.public_key,
            validity: issued.validity,
        };
        record = apply(changes, Change::prepare_certificate(&record, new, act)?)?;
        record = apply(
            changes,
            Change::record_issued(&record, &id, issued.fingerprint, act)?,
        )?;
    }
    if !member.enabled {
        apply(changes, Change::transition(&record, Action::Disable, act)?)?;
    }
    Ok(())
}

/// Takes up a change of a device and gives the record that the next one builds on.
fn apply(changes: &mut Vec<Change>, change: Change) -> Result<DeviceRecord> {
    let after = change
        .device_after()
        .context("a change of a device has a record")?
        .clone();
    changes.push(change);
    Ok(after)
}
