//! The JSON of what leafgate alone writes. Free values (the detail of an event, the content of a document) are kept as
//! JSON text, because Vault reads numbers as floating point and would change some.

use std::collections::BTreeMap;

use leafgate_identity::{DeviceId, Fingerprint, SerialNumber, SpkiHash, TrustDomainName, UnixMs};
use leafgate_registry::{
    Certificate, CertificateStatus, CertificateStatusKind, Crl, Device, DeviceState, Document,
    DocumentKind, DocumentName, Event, Holder, RevocationReason,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::failure::Failure;

/// The fields of a document.
pub(crate) type Fields = Map<String, Value>;

/// A device without its certificates, which stand beside these fields under `certificates`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredDevice {
    pub(crate) version: u64,
    /// The version of the document that scripts know the device by, as Vault counts, when this was written or once what
    /// was written with this is carried out. A later one was written by somebody else.
    pub(crate) document_version: u64,
    pub(crate) generation: u32,
    pub(crate) trust_domain: TrustDomainName,
    pub(crate) state: DeviceState,
    pub(crate) device_type: String,
    pub(crate) site: Option<String>,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) registered_at: UnixMs,
    pub(crate) updated_at: UnixMs,
}

impl StoredDevice {
    pub(crate) fn of(device: &Device, document_version: u64) -> Self {
        Self {
            version: device.version,
            document_version,
            generation: device.generation,
            trust_domain: device.trust_domain.clone(),
            state: device.state,
            device_type: device.device_type.clone(),
            site: device.site.clone(),
            attributes: device.attributes.clone(),
            registered_at: device.registered_at_ms,
            updated_at: device.updated_at_ms,
        }
    }
}

/// A certificate without its holder, in whose document it stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct StoredCertificate {
    issuer: SpkiHash,
    serial: SerialNumber,
    /// Of a device.
    generation: Option<u32>,
    profile: String,
    fingerprint: Option<Fingerprint>,
    public_key: SpkiHash,
    status: CertificateStatusKind,
    status_at: Option<UnixMs>,
    reason: Option<RevocationReason>,
    not_before: UnixMs,
    not_after: UnixMs,
    prepared_at: UnixMs,
}

/// Whose document a certificate stands in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Owner {
    Device(DeviceId),
    Service(String),
}

impl Owner {
    pub(crate) fn of(holder: &Holder) -> Self {
        match holder {
            Holder::Device { id, .. } => Self::Device(id.clone()),
            Holder::Service { name } => Self::Service(name.clone()),
        }
    }

    fn holder(&self, generation: Option<u32>) -> Result<Holder, &'static str> {
        match (self, generation) {
            (Self::Device(id), Some(generation)) => Ok(Holder::Device {
                id: id.clone(),
                generation,
            }),
            (Self::Device(_), None) => Err("a device's certificate has a generation"),
            (Self::Service(name), _) => Ok(Holder::Service { name: name.clone() }),
        }
    }
}

/// The JSON of a certificate in the document of its holder.
pub(crate) fn certificate_json(certificate: &Certificate) -> Value {
    let (status_at, reason) = match certificate.status {
        CertificateStatus::Prepared | CertificateStatus::Issued => (None, None),
        CertificateStatus::Superseded { at } => (Some(at), None),
        CertificateStatus::Revoked { at, reason } => (Some(at), Some(reason)),
    };
    let generation = match &certificate.holder {
        Holder::Device { generation, .. } => Some(*generation),
        Holder::Service { .. } => None,
    };
    json!(StoredCertificate {
        issuer: certificate.issuer,
        serial: certificate.serial,
        generation,
        profile: certificate.profile.clone(),
        fingerprint: certificate.fingerprint,
        public_key: certificate.public_key,
        status: certificate.status.kind(),
        status_at,
        reason,
        not_before: certificate.not_before,
        not_after: certificate.not_after,
        prepared_at: certificate.prepared_at,
    })
}

/// The certificate of that JSON.
pub(crate) fn certificate(value: &Value, owner: &Owner) -> Result<Certificate, String> {
    let stored = StoredCertificate::deserialize(value).map_err(|error| error.to_string())?;
    let at = || stored.status_at.ok_or("status_at is missing");
    Ok(Certificate {
        holder: owner.holder(stored.generation)?,
        status: match stored.status {
            CertificateStatusKind::Prepared => CertificateStatus::Prepared,
            CertificateStatusKind::Issued => CertificateStatus::Issued,
            CertificateStatusKind::Superseded => CertificateStatus::Superseded { at: at()? },
            CertificateStatusKind::Revoked => CertificateStatus::Revoked {
                at: at()?,
                reason: stored.reason.ok_or("reason is missing")?,
            },
        },
        serial: stored.serial,
        issuer: stored.issuer,
        profile: stored.profile,
        fingerprint: stored.fingerprint,
        public_key: stored.public_key,
        not_before: stored.not_before,
        not_after: stored.not_after,
        prepared_at: stored.prepared_at,
    })
}

/// The certificates in the document of their holder.
pub(crate) fn certificates(
    fields: &Fields,
    owner: &Owner,
    name: &str,
) -> Result<Vec<Certificate>, Failure> {
    let values = list(fields, "certificates", name)?.iter();
    let certificates = values.map(|value| {
        certificate(value, owner)
            .map_err(|problem| Failure::Record(format!("certificates in {name}: {problem}")))
    });
    certificates.collect()
}

/// The values of a list among the fields, which may be missing.
pub(crate) fn list<'a>(
    fields: &'a Fields,
    field: &str,
    name: &str,
) -> Result<&'a [Value], Failure> {
    match fields.get(field) {
        None => Ok(&[]),
        Some(Value::Array(values)) => Ok(values),
        Some(_) => Err(Failure::Record(format!("{field} in {name} is no list"))),
    }
}

/// The JSON of an event, with the name of the commit that it came with.
pub(crate) fn event_fields(event: &Event, commit: &str) -> Fields {
    let mut fields = fields(event);
    fields.insert("detail".to_owned(), json!(event.detail.to_string()));
    fields.insert("commit".to_owned(), json!(commit));
    fields
}

/// The event of that JSON.
pub(crate) fn event(fields: &Fields, name: &str) -> Result<Event, Failure> {
    let mut fields = fields.clone();
    fields.remove("commit");
    let detail = free(&fields, "detail", name)?;
    fields.insert("detail".to_owned(), detail);
    parse(&fields, name)
}

#[derive(Serialize, Deserialize)]
struct StoredDocument {
    kind: DocumentKind,
    name: String,
    version: u64,
    expires_at: Option<UnixMs>,
    body: String,
}

/// The JSON of a document.
pub(crate) fn document_fields(document: &Document) -> Fields {
    fields(&StoredDocument {
        kind: document.kind,
        name: document.name.to_string(),
        version: document.version,
        expires_at: document.expires_at,
        body: document.body.to_string(),
    })
}

/// The document of that JSON.
pub(crate) fn document(fields: &Fields, name: &str) -> Result<Document, Failure> {
    let stored: StoredDocument = parse(fields, name)?;
    let wrong = |error: &dyn std::fmt::Display| Failure::Record(format!("{name}: {error}"));
    Ok(Document {
        kind: stored.kind,
        name: DocumentName::parse(&stored.name).map_err(|error| wrong(&error))?,
        version: stored.version,
        expires_at: stored.expires_at,
        body: serde_json::from_str(&stored.body).map_err(|error| wrong(&error))?,
    })
}

#[derive(Serialize, Deserialize)]
struct StoredCrl {
    issuer: SpkiHash,
    number: u64,
    this_update: UnixMs,
    next_update: UnixMs,
}

/// The JSON of a list's number.
pub(crate) fn crl_fields(crl: &Crl) -> Fields {
    fields(&StoredCrl {
        issuer: crl.issuer,
        number: crl.number,
        this_update: crl.this_update,
        next_update: crl.next_update,
    })
}

/// The list's number of that JSON.
pub(crate) fn crl(fields: &Fields, name: &str) -> Result<Crl, Failure> {
    let stored: StoredCrl = parse(fields, name)?;
    Ok(Crl {
        issuer: stored.issuer,
        number: stored.number,
        this_update: stored.this_update,
        next_update: stored.next_update,
    })
}

/// The fields of anything that is written as an object.
pub(crate) fn fields(value: &impl Serialize) -> Fields {
    match serde_json::to_value(value) {
        Ok(Value::Object(fields)) => fields,
        _ => unreachable!("only structures of texts and numbers are written so"),
    }
}

/// What fields say; `name` is how a person finds them.
pub(crate) fn parse<T: DeserializeOwned>(fields: &Fields, name: &str) -> Result<T, Failure> {
    serde_json::from_value(Value::Object(fields.clone()))
        .map_err(|error| Failure::Record(format!("{name}: {error}")))
}

fn free(fields: &Fields, field: &str, name: &str) -> Result<Value, Failure> {
    let text = fields.get(field).and_then(Value::as_str);
    let value = text.and_then(|text| serde_json::from_str(text).ok());
    value.ok_or_else(|| Failure::Record(format!("{field} in {name} is no JSON text")))
}
