//! A device is two documents.
//!
//! `devices/<id>` is what scripts know: `registered_at`, `status`, `device_type`, and whatever else they put there, which
//! leafgate never touches. `leafgate/devices/<id>` is leafgate's record, with the certificates. They are apart because
//! `vault kv put`, which is how such scripts register, replaces a whole document: a record inside it would go with it,
//! and with the record a revocation. So can the right to write them be.
//!
//! What a device is follows from both:
//!
//! | | leafgate has a record | it has none |
//! |---|---|---|
//! | state | the narrower of the record's and the document's | the document's |
//! | type, time of registration | the record's | the document's |
//! | trust domain | the record's | the one that is configured |
//! | generation, certificates | the record's | 1, none |
//! | site, attributes | the record's | none |
//! | version | the record's, and one for each later edit by hand | the document's, as Vault counts |
//!
//! The document's state is its `status`, by exact spelling: `active`, `quarantined`, `pending`, `disabled`, `revoked`.
//! `deleted` by hand is `revoked`, because leafgate alone makes tombstones. Any other text, none, a deleted document, and
//! a foreign document without a usable type are `disabled`. From wide to narrow: active, quarantined, pending and disabled
//! (between which the record decides), revoked, deleted. So:
//!
//! | leafgate recorded | somebody sets `status` to | the device is |
//! |---|---|---|
//! | active | `disabled`, `quarantined`, `revoked` | that, until they set it back |
//! | active | `Active`, `enabled`, nothing at all | disabled |
//! | disabled | `active` | disabled: `leafgate device enable` lets it in |
//! | pending | `active`, `disabled` | pending: `leafgate device approve` lets it in |
//! | revoked | `active`, or anything | revoked |
//! | deleted | `active`, or anything | deleted: only leafgate registers it again |
//!
//! Whatever leafgate writes next records the state that it found: from then on only leafgate widens it. An edit by hand
//! counts as a version, so that a change that was built before it is refused and built anew.

use std::collections::BTreeMap;

use leafgate_identity::{DeviceId, TrustDomainName, UnixMs, is_token};
use leafgate_registry::{Device, DeviceRecord, DeviceState};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::journal::Write;
use crate::kv::Doc;
use crate::layout;
use crate::records::{self, Fields, Owner, StoredDevice};

/// The type of a device whose document names none that can be one. It admits nobody.
const NO_TYPE: &str = "unknown";

/// Both documents of a device.
#[derive(Debug, Clone)]
pub(crate) struct Documents {
    pub(crate) id: DeviceId,
    /// What scripts know.
    pub(crate) public: Doc,
    /// What leafgate knows.
    pub(crate) own: Doc,
}

impl Documents {
    /// Whether the one is as leafgate left it when it wrote the other, so that they belong together however they were
    /// read.
    pub(crate) fn agree(&self) -> bool {
        let known = self
            .own
            .data
            .as_ref()
            .and_then(|own| own.get("document_version"));
        known.and_then(Value::as_u64) == Some(self.public.version)
    }

    /// The version of the device; none if there is no such device. It needs no more of the record than its numbers.
    pub(crate) fn version(&self, name: &str) -> Result<Option<u64>, Failure> {
        let Some(own) = &self.own.data else {
            return Ok(self.public.data.as_ref().map(|_| self.public.version));
        };
        let number = |field: &str| {
            let number = own.get(field).and_then(Value::as_u64);
            number.ok_or_else(|| Failure::Record(format!("{field} in {name} is no number")))
        };
        let (recorded, known) = (number("version")?, number("document_version")?);
        // A document that was removed with all of its versions is counted from 1 again.
        let edits = match self.public.version.checked_sub(known) {
            Some(edits) => edits,
            None => self.public.version + 1,
        };
        let removed = u64::from(self.public.data.is_none());
        Ok(Some(recorded + edits + removed))
    }

    /// The device; none if there is no such device. `name` is how a person finds leafgate's record.
    pub(crate) fn record(
        &self,
        trust_domain: &TrustDomainName,
        name: &str,
    ) -> Result<Option<DeviceRecord>, Failure> {
        let Some(version) = self.version(name)? else {
            return Ok(None);
        };
        match &self.own.data {
            Some(own) => self.recorded(own, version, name).map(Some),
            None => Ok(self
                .public
                .data
                .as_ref()
                .map(|public| self.foreign(public, version, trust_domain))),
        }
    }

    fn recorded(&self, own: &Fields, version: u64, name: &str) -> Result<DeviceRecord, Failure> {
        let stored: StoredDevice = records::parse(own, name)?;
        let owner = Owner::Device(self.id.clone());
        let certificates = records::certificates(own, &owner, name)?;
        let device = Device {
            id: self.id.clone(),
            trust_domain: stored.trust_domain,
            generation: stored.generation,
            version,
            state: narrower(stored.state, state_of(self.public.data.as_ref())),
            device_type: stored.device_type,
            site: stored.site,
            attributes: stored.attributes,
            registered_at_ms: stored.registered_at,
            updated_at_ms: stored.updated_at,
        };
        Ok(DeviceRecord::new(device, certificates))
    }

    fn foreign(
        &self,
        public: &Fields,
        version: u64,
        trust_domain: &TrustDomainName,
    ) -> DeviceRecord {
        let written_at = self.public.written_at.unwrap_or(UnixMs::new(0));
        let (device_type, mut state) = (type_of(public), state_of(Some(public)));
        if device_type == NO_TYPE {
            state = narrower(DeviceState::Disabled, state);
        }
        let device = Device {
            id: self.id.clone(),
            trust_domain: trust_domain.clone(),
            generation: 1,
            version,
            state,
            device_type: device_type.to_owned(),
            site: None,
            attributes: BTreeMap::new(),
            registered_at_ms: registered_at(public).unwrap_or(written_at),
            updated_at_ms: written_at,
        };
        DeviceRecord::new(device, Vec::new())
    }

    /// The writes that make of these documents those of `after`.
    pub(crate) fn writes(&self, after: &DeviceRecord) -> Vec<Write> {
        let public = self.public_write(&after.device);
        let document_version = self.public.version + u64::from(public.is_some());
        let mut own = self.own.data.clone().unwrap_or_default();
        own.extend(records::fields(&StoredDevice::of(
            &after.device,
            document_version,
        )));
        let certificates = after.certificates.iter().map(records::certificate_json);
        own.insert("certificates".to_owned(), certificates.collect());
        let own = Write {
            path: layout::record(&self.id),
            version: self.own.version,
            data: Some(own),
        };
        std::iter::once(own).chain(public).collect()
    }

    /// Sets what the document says otherwise; none where it says all of it already, in whatever words.
    fn public_write(&self, device: &Device) -> Option<Write> {
        let mut fields = self.public.data.clone().unwrap_or_default();
        let before = fields.clone();
        if self.public.data.is_none() || state_of(Some(&before)) != visible(device.state) {
            fields.insert("status".to_owned(), json!(device.state));
        }
        if self.public.data.is_none() || type_of(&before) != device.device_type {
            fields.insert("device_type".to_owned(), json!(device.device_type));
        }
        if registered_at(&before) != Some(device.registered_at_ms) {
            fields.insert("registered_at".to_owned(), json!(device.registered_at_ms));
        }
        let changed = self.public.data.as_ref() != Some(&fields);
        changed.then(|| Write {
            path: layout::device(&self.id),
            version: self.public.version,
            data: Some(fields),
        })
    }
}

/// The state that a document of a device tells.
fn state_of(public: Option<&Fields>) -> DeviceState {
    let status = public.and_then(|public| text(public, "status"));
    match status.and_then(DeviceState::parse) {
        Some(state) => visible(state),
        None => DeviceState::Disabled,
    }
}

/// A state as far as a document that anybody may have written can tell it.
const fn visible(state: DeviceState) -> DeviceState {
    match state {
        DeviceState::Deleted => DeviceState::Revoked,
        state => state,
    }
}

/// The narrower of two states, and the recorded one of two that are as narrow.
fn narrower(recorded: DeviceState, by_hand: DeviceState) -> DeviceState {
    let narrowness = |state| match state {
        DeviceState::Active => 0,
        DeviceState::Quarantined => 1,
        DeviceState::Pending | DeviceState::Disabled => 2,
        DeviceState::Revoked => 3,
        DeviceState::Deleted => 4,
    };
    if narrowness(by_hand) > narrowness(recorded) {
        by_hand
    } else {
        recorded
    }
}

fn text<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    fields.get(name).and_then(Value::as_str)
}

/// The type that a document of a device tells.
fn type_of(public: &Fields) -> &str {
    text(public, "device_type")
        .filter(|text| is_token(text))
        .unwrap_or(NO_TYPE)
}

fn registered_at(public: &Fields) -> Option<UnixMs> {
    text(public, "registered_at").and_then(|text| text.parse().ok())
}

#[cfg(test)]
mod tests;
