use std::collections::BTreeMap;

use leafgate_identity::{DeviceId, Excerpt, TrustDomainName, is_token};
use serde_json::{Value, json};

use super::{Act, BuildChangeError, CertificateWrite, Change, DeviceWrite, Write};
use crate::certificate::{Certificate, CertificateStatus};
use crate::device::{Device, DeviceRecord};
use crate::event::EventKind;
use crate::reason::RevocationReason;
use crate::state::{Action, DeviceState};

const MAX_ATTRIBUTES: usize = 64;
const MAX_ATTRIBUTE_VALUE_BYTES: usize = 256;

/// A device that is about to be registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDevice {
    /// Its name.
    pub id: DeviceId,
    /// The trust domain whose certificates may name it.
    pub trust_domain: TrustDomainName,
    /// Whether it waits for approval.
    pub pending: bool,
    /// What policies match on; one token.
    pub device_type: String,
    /// Its site, one token; `None` if it may be at any.
    pub site: Option<String>,
    /// Free properties: at most 64, each name one token, each value at most 256 bytes without
    /// control characters.
    pub attributes: BTreeMap<String, String>,
}

/// What to change about a device; `None` leaves as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceEdit {
    /// Another type.
    pub device_type: Option<String>,
    /// Another site, or none.
    pub site: Option<Option<String>>,
    /// Other attributes in place of all that it has.
    pub attributes: Option<BTreeMap<String, String>>,
}

impl Change {
    /// Registers a device: a new one, or the next generation of a deleted one. `existing` is what the store holds under
    /// this id.
    ///
    /// # Errors
    /// If the id is taken, or a value is malformed.
    pub fn register(
        existing: Option<&DeviceRecord>,
        new: NewDevice,
        act: &Act,
    ) -> Result<Self, BuildChangeError> {
        if let Some(DeviceRecord { device, .. }) = existing
            && (device.state != DeviceState::Deleted || device.id != new.id)
        {
            return Err(BuildChangeError::IdTaken {
                existing: device.id.clone(),
                state: device.state,
            });
        }
        let device = Device {
            id: new.id,
            trust_domain: new.trust_domain,
            generation: existing.map_or(0, |record| record.device.generation) + 1,
            version: existing.map_or(0, |record| record.device.version) + 1,
            state: if new.pending {
                DeviceState::Pending
            } else {
                DeviceState::Active
            },
            device_type: new.device_type,
            site: new.site,
            attributes: new.attributes,
            registered_at_ms: act.at,
            updated_at_ms: act.at,
        };
        check_values(&device)?;
        let detail = json!({
            "to": device.state,
            "trust_domain": device.trust_domain.to_string(),
            "device_type": device.device_type,
            "site": device.site,
            "attributes": device.attributes,
        });
        let event = act.device_event(EventKind::DeviceRegistered, &device, detail);
        let write = DeviceWrite {
            expected_version: existing.map(|record| record.device.version),
            record: DeviceRecord {
                device,
                certificates: existing.map_or_else(Vec::new, |record| record.certificates.clone()),
            },
            certificates: Vec::new(),
        };
        Ok(Self::new(Write::Device(write), event))
    }

    /// Takes a device from one state to another, as [`TRANSITIONS`](crate::TRANSITIONS) allow. Revoking and deleting
    /// revoke all of its certificates: a revoked device's for no stated reason (see [`Change::revoke`]), a deleted one's
    /// as out of operation.
    ///
    /// # Errors
    /// If the device's state doesn't allow the action.
    pub fn transition(
        record: &DeviceRecord,
        action: Action,
        act: &Act,
    ) -> Result<Self, BuildChangeError> {
        match action {
            Action::Approve => shift(record, action, EventKind::DeviceApproved, None, act),
            Action::Enable => shift(record, action, EventKind::DeviceEnabled, None, act),
            Action::Disable => shift(record, action, EventKind::DeviceDisabled, None, act),
            Action::Quarantine => shift(record, action, EventKind::DeviceQuarantined, None, act),
            Action::Revoke => Self::revoke(record, RevocationReason::Unspecified, act),
            Action::Delete => Self::delete(record, act),
        }
    }

    /// Locks a device out for good and revokes all of its certificates for this reason.
    ///
    /// # Errors
    /// If the device is revoked or deleted already.
    pub fn revoke(
        record: &DeviceRecord,
        reason: RevocationReason,
        act: &Act,
    ) -> Result<Self, BuildChangeError> {
        shift(
            record,
            Action::Revoke,
            EventKind::DeviceRevoked,
            Some(reason),
            act,
        )
    }

    /// Removes a device, leaving a tombstone, and revokes all of its certificates as out of operation.
    ///
    /// # Errors
    /// If the device is deleted already.
    pub fn delete(record: &DeviceRecord, act: &Act) -> Result<Self, BuildChangeError> {
        let reason = Some(RevocationReason::CessationOfOperation);
        shift(
            record,
            Action::Delete,
            EventKind::DeviceDeleted,
            reason,
            act,
        )
    }

    /// Changes a device's type, site or attributes.
    ///
    /// # Errors
    /// If the device is revoked or deleted, a value is malformed, or nothing would change.
    pub fn edit(
        record: &DeviceRecord,
        edit: DeviceEdit,
        act: &Act,
    ) -> Result<Self, BuildChangeError> {
        let before = &record.device;
        if !before.state.may_be_edited() {
            return Err(BuildChangeError::EditIllegal {
                id: before.id.clone(),
                state: before.state,
            });
        }
        let mut after = touched(record, act);
        let device = &mut after.device;
        let mut detail = json!({});
        if let Some(device_type) = edit
            .device_type
            .filter(|device_type| *device_type != before.device_type)
        {
            detail["device_type"] = json!({ "from": before.device_type, "to": device_type });
            device.device_type = device_type;
        }
        if let Some(site) = edit.site.filter(|site| *site != before.site) {
            detail["site"] = json!({ "from": before.site, "to": site });
            device.site = site;
        }
        if let Some(attributes) = edit
            .attributes
            .filter(|attributes| *attributes != before.attributes)
        {
            detail["attributes"] = difference(&before.attributes, &attributes);
            device.attributes = attributes;
        }
        if detail == json!({}) {
            return Err(BuildChangeError::Unchanged {
                id: before.id.clone(),
            });
        }
        check_values(device)?;
        let event = act.device_event(EventKind::DeviceEdited, device, detail);
        Ok(update(record, after, Vec::new(), event))
    }
}

/// The record with its next version and the time of the act.
pub(super) fn touched(record: &DeviceRecord, act: &Act) -> DeviceRecord {
    let mut after = record.clone();
    after.device.version += 1;
    after.device.updated_at_ms = act.at;
    after
}

/// The change from `before` to `after`.
pub(super) fn update(
    before: &DeviceRecord,
    after: DeviceRecord,
    certificates: Vec<CertificateWrite>,
    event: crate::event::EventBody,
) -> Change {
    let write = DeviceWrite {
        expected_version: Some(before.device.version),
        record: after,
        certificates,
    };
    Change::new(Write::Device(write), event)
}

fn shift(
    record: &DeviceRecord,
    action: Action,
    kind: EventKind,
    revocation: Option<RevocationReason>,
    act: &Act,
) -> Result<Change, BuildChangeError> {
    let from = record.device.state;
    let to = from
        .after(action)
        .ok_or_else(|| BuildChangeError::TransitionIllegal {
            id: record.device.id.clone(),
            state: from,
            action,
        })?;
    let mut after = touched(record, act);
    after.device.state = to;
    let mut detail = json!({ "from": from, "to": to });
    let mut revoked = Vec::new();
    if let Some(reason) = revocation {
        revoked = revoke_all(
            &mut after.certificates,
            CertificateStatus::Revoked { at: act.at, reason },
        );
        detail["reason"] = json!(reason);
        detail["certificates"] = revoked
            .iter()
            .map(|c| json!({ "issuer": c.issuer, "serial": c.serial, "not_after": c.not_after }))
            .collect();
    }
    let event = act.device_event(kind, &after.device, detail);
    Ok(update(
        record,
        after,
        revoked.into_iter().map(CertificateWrite::Update).collect(),
        event,
    ))
}

fn revoke_all(certificates: &mut [Certificate], revoked: CertificateStatus) -> Vec<Certificate> {
    let revocable = certificates
        .iter_mut()
        .filter(|certificate| certificate.status.may_become(revoked.kind()));
    revocable
        .map(|certificate| {
            certificate.status = revoked;
            certificate.clone()
        })
        .collect()
}

fn difference(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Value {
    let set: BTreeMap<_, _> = after
        .iter()
        .filter(|(name, value)| before.get(*name) != Some(value))
        .collect();
    let removed: Vec<_> = before
        .keys()
        .filter(|name| !after.contains_key(*name))
        .collect();
    json!({ "set": set, "removed": removed })
}

fn check_values(device: &Device) -> Result<(), BuildChangeError> {
    let fits = |value: &str| {
        value.len() <= MAX_ATTRIBUTE_VALUE_BYTES && !value.chars().any(char::is_control)
    };
    let malformed = |field: String, problem| Err(BuildChangeError::Malformed { field, problem });
    if !is_token(&device.device_type) {
        return malformed("device_type".to_owned(), TOKEN_RULE);
    }
    if !device.site.as_deref().is_none_or(is_token) {
        return malformed("site".to_owned(), TOKEN_RULE);
    }
    if device.attributes.len() > MAX_ATTRIBUTES {
        return malformed("attributes".to_owned(), "must be 64 at most");
    }
    for (name, value) in &device.attributes {
        if !is_token(name) {
            return malformed(format!("attribute name {}", Excerpt::of(name)), TOKEN_RULE);
        }
        if !fits(value) {
            let problem = "must have 256 bytes at most and no control character";
            let field = format!("value of attribute {}", Excerpt::of(name));
            return malformed(field, problem);
        }
    }
    Ok(())
}

/// What [`is_token`] asks for.
const TOKEN_RULE: &str =
    "must be 1 to 64 of A-Z a-z 0-9 _ - and begin and end with a letter or digit";
