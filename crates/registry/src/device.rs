use std::cmp::Reverse;
use std::collections::BTreeMap;

use leafgate_identity::{DeviceId, Fingerprint, SpkiHash, TrustDomainName, UnixMs};

use crate::certificate::{Certificate, CertificateId, CertificateStatus, Holder};
use crate::state::DeviceState;

/// A device as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its name, unique ignoring case.
    pub id: DeviceId,
    /// The trust domain whose certificates may name it.
    pub trust_domain: TrustDomainName,
    /// How often this id has been registered, from 1. Grows with each registration after a deletion.
    pub generation: u32,
    /// Grows by one with every change of the device or its certificates, from 1, through all
    /// generations.
    pub version: u64,
    /// Where it stands.
    pub state: DeviceState,
    /// What policies match on.
    pub device_type: String,
    /// The site that it belongs to; `None` if it may be at any.
    pub site: Option<String>,
    /// Free properties, for policies and people. Not a place for secrets.
    pub attributes: BTreeMap<String, String>,
    /// When this generation was registered.
    pub registered_at_ms: UnixMs,
    /// When the device or its certificates last changed.
    pub updated_at_ms: UnixMs,
}

impl Device {
    /// Its present generation, as certificates name who holds them.
    pub fn holder(&self) -> Holder {
        Holder::Device {
            id: self.id.clone(),
            generation: self.generation,
        }
    }
}

/// A device with all that was ever issued to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceRecord {
    /// The device.
    pub device: Device,
    /// Its certificates, of every generation, newest first.
    pub certificates: Vec<Certificate>,
}

impl DeviceRecord {
    /// The record of a device and its certificates, which may come in any order.
    pub fn new(device: Device, mut certificates: Vec<Certificate>) -> Self {
        certificates
            .sort_by_key(|certificate| (Reverse(certificate.prepared_at), certificate.id()));
        Self {
            device,
            certificates,
        }
    }

    /// The certificate of this issuer and serial number, of whichever generation.
    pub fn certificate(&self, id: &CertificateId) -> Option<&Certificate> {
        self.certificates
            .iter()
            .find(|certificate| certificate.is(id))
    }

    /// The certificate with this fingerprint that was issued to the device's present generation.
    pub fn certificate_by_fingerprint(&self, fingerprint: &Fingerprint) -> Option<&Certificate> {
        self.current_certificates()
            .find(|certificate| certificate.fingerprint.as_ref() == Some(fingerprint))
    }

    /// Whether a log-in with this certificate is the first since it took the place of older ones, which then count
    /// until an overlap has passed ([`Change::supersede_older`](crate::Change::supersede_older)).
    pub fn begins_overlap(&self, fingerprint: &Fingerprint) -> bool {
        self.certificate_by_fingerprint(fingerprint)
            .filter(|newer| newer.status == CertificateStatus::Issued)
            .is_some_and(|newer| self.older_in_use(newer).next().is_some())
    }

    /// The issued certificates of the present generation that were prepared before this one.
    pub(crate) fn older_in_use(&self, newer: &Certificate) -> impl Iterator<Item = &Certificate> {
        self.current_certificates().filter(|other| {
            other.status == CertificateStatus::Issued
                && !other.is(&newer.id())
                && other.prepared_at <= newer.prepared_at
        })
    }

    /// The certificates of the present generation, newest first.
    pub fn current_certificates(&self) -> impl Iterator<Item = &Certificate> {
        self.certificates.iter().filter(|certificate| {
            matches!(&certificate.holder, Holder::Device { generation, .. } if *generation == self.device.generation)
        })
    }
}

/// The newest certificate revocation list of an issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crl {
    /// The key that signs it.
    pub issuer: SpkiHash,
    /// Its CRL number (RFC 5280 section 5.2.3), from 1; taken before the list is signed and never
    /// given twice.
    pub number: u64,
    /// When it was made.
    pub this_update: UnixMs,
    /// When the next one is due at the latest.
    pub next_update: UnixMs,
}
