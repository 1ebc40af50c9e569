use std::time::Duration;

use leafgate_identity::{DeviceId, UnixMs};
use leafgate_registry::{
    CertificateId, CertificateWrite, Change, CommitError, DeviceStore, Document, DocumentKind,
    DocumentName, DocumentWrite, StoreError, Write,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::content::{decode, encode};
use crate::error::RegistrarError;

/// For how long a request is known to have been carried out.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// What makes a request one that must not be carried out twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestKey {
    /// Where it is recorded: a hash of whoever asks and of the key that they gave the request.
    pub name: DocumentName,
    /// The SHA-256 of what was asked, in lower-case hex.
    pub request_sha256: String,
}

/// A request that was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedRequest {
    /// The SHA-256 of what was asked, in lower-case hex.
    pub request_sha256: String,
    /// When.
    pub at: UnixMs,
    /// What its first commit did, in order.
    pub outcome: Vec<Outcome>,
}

/// One change that a request made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The kind of its event.
    pub event: String,
    /// The device that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceId>,
    /// The certificate that it announced, as `issuer:serial`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// The document that it made, by its name: a key's or a token's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
}

/// The state of one request.
pub(crate) struct Once {
    key: RequestKey,
    /// Held during the first commit, so that those of one act that come at a time record the request once.
    written: Mutex<bool>,
}

impl Once {
    pub(crate) fn new(key: RequestKey) -> Self {
        Self {
            key,
            written: Mutex::new(false),
        }
    }

    /// Commits, and records the request with the first commit that succeeds.
    pub(crate) async fn commit(
        &self,
        store: &dyn DeviceStore,
        changes: &[Change],
    ) -> Result<(), CommitError> {
        let mut written = self.written.lock().await;
        let Some(first) = changes.first().filter(|_| !*written) else {
            drop(written);
            return store.commit(changes).await.map(drop);
        };
        let at = first.event().at;
        let write = self.write(store, changes, at).await?;
        let mut changes = changes.to_vec();
        changes[0] = changes[0].clone().with_document(write);
        let result = store.commit(&changes).await;
        // After an unknown outcome it may be recorded, and must not stand in its own way.
        *written = matches!(
            result,
            Ok(_) | Err(CommitError::Store(StoreError::Unavailable { .. }))
        );
        result.map(drop)
    }

    async fn write(
        &self,
        store: &dyn DeviceStore,
        changes: &[Change],
        at: UnixMs,
    ) -> Result<DocumentWrite, StoreError> {
        let (kind, name) = (DocumentKind::Request, &self.key.name);
        let body = encode(&RecordedRequest {
            request_sha256: self.key.request_sha256.clone(),
            at,
            outcome: changes.iter().map(outcome).collect(),
        });
        let end = Some(at.saturating_add(KEPT));
        let stale = store.document(kind, name).await?;
        Ok(match stale.filter(|document| !counts(document, at)) {
            Some(stale) => stale.replaced(body, end),
            // One that counts makes the commit fail.
            None => DocumentWrite::new(kind, name.clone(), body, end),
        })
    }

    /// Whether the request is recorded, and not by this act: asked when a commit was refused.
    pub(crate) async fn is_repeated(
        &self,
        store: &dyn DeviceStore,
        at: UnixMs,
    ) -> Result<bool, RegistrarError> {
        if *self.written.lock().await {
            return Ok(false);
        }
        let recorded = find(store, &self.key.name, at).await?;
        Ok(recorded.is_some())
    }
}

/// The request that is recorded under this name, if it is not too long ago.
pub(crate) async fn find(
    store: &dyn DeviceStore,
    name: &DocumentName,
    now: UnixMs,
) -> Result<Option<RecordedRequest>, RegistrarError> {
    let found = store.document(DocumentKind::Request, name).await?;
    let counting = found.filter(|document| counts(document, now));
    counting.as_ref().map(decode).transpose()
}

fn counts(document: &Document, now: UnixMs) -> bool {
    document.expires_at.is_none_or(|end| now < end)
}

fn outcome(change: &Change) -> Outcome {
    let new_certificate = |write: &CertificateWrite| match write {
        CertificateWrite::Insert(certificate) => Some(certificate.id()),
        CertificateWrite::Update(_) => None,
    };
    let certificate: Option<CertificateId> = match change.write() {
        Write::Device(write) => write.certificates.iter().find_map(new_certificate),
        Write::ServiceCertificate(write) if write.before.is_none() => Some(write.after.id()),
        _ => None,
    };
    let mut documents = change.documents().iter();
    let document = documents.find(|write| write.expected_version.is_none());
    Outcome {
        event: change.event().kind.as_str().to_owned(),
        device: change.event().device.clone(),
        certificate: certificate.map(|id| id.to_string()),
        document: document.map(|write| write.document.name.to_string()),
    }
}
