//! Certificates of issuers that draw serial numbers only when they sign.
//!
//! What such an issuer is asked for is a document first, in one commit with the event that tells of it. The certificate is
//! recorded, and the document closed, in one commit after the signature. A document that stays open leads to what was
//! signed and never recorded; it then holds what the issuer has still to revoke, until it has.

use std::slice;
use std::sync::Arc;
use std::time::Duration;

use leafgate_identity::{DeviceId, SerialNumber, SpkiHash, UnixMs};
use leafgate_pki::{Inventory, IssueError, Issuer, Prepared};
use leafgate_registry::{
    Act, Change, Cursor, Device, Document, DocumentKind, DocumentName, DocumentWrite, EventKind,
    Holder,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::content::{decode, document_name, encode};
use crate::error::RegistrarError;
use crate::registrar::Registrar;

/// For how long a request is kept that came to nothing, so that an enrolment token is not used up by asking again.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// How many are read at a time.
const PAGE: usize = 100;
/// Hex digits of the issuer's key in a document's name.
const ISSUER_DIGITS: usize = 16;

/// What an issuer was asked to sign.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct CertificateRequest {
    pub(crate) issuer: SpkiHash,
    pub(crate) profile: String,
    pub(crate) common_name: String,
    pub(crate) public_key: SpkiHash,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) device: Option<DeviceId>,
    pub(crate) at: UnixMs,
    pub(crate) state: RequestState,
    /// What the issuer has still to revoke.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) revoke: Vec<SerialNumber>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RequestState {
    /// Not known.
    Open,
    /// The certificate is recorded.
    Recorded,
    /// Nothing was signed.
    NotSigned,
    /// What was signed is nobody's: the issuer has it revoked, or still to revoke.
    Abandoned,
}

/// A request that is about to be recorded, or was.
#[derive(Clone, Debug)]
pub(crate) struct NewRequest {
    pub(crate) name: DocumentName,
    content: CertificateRequest,
}

impl NewRequest {
    /// `random` makes the name unique.
    pub(crate) fn new(prepared: &Prepared, holder: &Holder, random: [u32; 2], act: &Act) -> Self {
        let content = CertificateRequest {
            issuer: prepared.issuer(),
            profile: prepared.profile().kind().as_str().to_owned(),
            common_name: prepared.profile().common_name().to_owned(),
            public_key: prepared.public_key().spki_hash(),
            device: match holder {
                Holder::Device { id, .. } => Some(id.clone()),
                Holder::Service { .. } => None,
            },
            at: act.at,
            state: RequestState::Open,
            revoke: Vec::new(),
        };
        let prefix = prefix_of(&content.issuer, holder, Some(&content.public_key));
        let [high, low] = random;
        Self {
            name: document_name(&format!("{prefix}{high:08x}{low:08x}")),
            content,
        }
    }

    /// What the event of the request tells.
    pub(crate) fn detail(&self) -> Value {
        let CertificateRequest {
            issuer,
            profile,
            common_name,
            public_key,
            ..
        } = &self.content;
        json!({
            "issuer": issuer,
            "profile": profile,
            "common_name": common_name,
            "public_key": public_key,
        })
    }

    pub(crate) fn write(&self) -> DocumentWrite {
        let body = encode(&self.content);
        DocumentWrite::new(
            DocumentKind::CertificateRequest,
            self.name.clone(),
            body,
            None,
        )
    }
}

/// How the names of a holder's requests begin.
fn prefix_of(issuer: &SpkiHash, holder: &Holder, key: Option<&SpkiHash>) -> String {
    let mut issuer = issuer.to_string();
    issuer.truncate(ISSUER_DIGITS);
    let holder = match holder {
        Holder::Device { id, generation } => format!("device:{id}:{generation}"),
        Holder::Service { .. } => "service".to_owned(),
    };
    match key {
        Some(key) => format!("{issuer}:{holder}:{key}:"),
        None => format!("{issuer}:{holder}:"),
    }
}

/// What an issuer keeps account of.
pub(crate) fn inventory_of(issuer: &dyn Issuer) -> Result<&dyn Inventory, RegistrarError> {
    let issuer_key = issuer.spki();
    let missing = || RegistrarError::InventoryMissing { issuer: issuer_key };
    issuer.inventory().ok_or_else(missing)
}

impl Registrar {
    /// The requests of a device's present registration that are not known to have come to a certificate, for one key or
    /// for any.
    pub(crate) async fn unrecorded_requests(
        &self,
        issuer: &SpkiHash,
        device: &Device,
        key: Option<&SpkiHash>,
    ) -> Result<Vec<CertificateRequest>, RegistrarError> {
        let prefix = prefix_of(issuer, &device.holder(), key);
        let mut after = Cursor::after(document_name(&prefix));
        let mut found = Vec::new();
        loop {
            let kind = DocumentKind::CertificateRequest;
            let page = self.store.documents(kind, Some(&after), PAGE).await?;
            for document in &page.items {
                if !document.name.as_str().starts_with(&prefix) {
                    return Ok(found);
                }
                let request: CertificateRequest = decode(document)?;
                if request.state != RequestState::Recorded {
                    found.push(request);
                }
            }
            match page.next {
                Some(next) => after = next,
                None => return Ok(found),
            }
        }
    }

    /// The document of a request that is open.
    pub(crate) async fn open_request(
        &self,
        name: &DocumentName,
    ) -> Result<(Document, CertificateRequest), RegistrarError> {
        match self.request(name).await? {
            Some((document, request)) if request.state == RequestState::Open => {
                Ok((document, request))
            }
            _ => Err(RegistrarError::NotSigned {
                serial: None,
                source: IssueError::Unavailable("it took too long, and was given up".into()),
            }),
        }
    }

    async fn request(
        &self,
        name: &DocumentName,
    ) -> Result<Option<(Document, CertificateRequest)>, RegistrarError> {
        self.document(DocumentKind::CertificateRequest, name.as_str())
            .await
    }

    /// Takes that what an issuer said means for a request.
    pub(crate) async fn note_not_signed(
        &self,
        name: &DocumentName,
        error: &RegistrarError,
        act: &Act,
    ) {
        let RegistrarError::NotSigned { source, .. } = error else {
            return;
        };
        match source {
            IssueError::Unfit { serial, .. } => self.abandon(name, Some(*serial), act).await,
            IssueError::Refused(_) | IssueError::Foreign { .. } => {
                self.abandon(name, None, act).await;
            }
            // It may be signed all the same.
            IssueError::Sign(_) | IssueError::Unavailable(_) => {}
        }
    }

    /// Gives a request up, with what was signed for it. What can't be done here is left to
    /// [`RequestKeeper`](crate::RequestKeeper).
    pub(crate) async fn abandon(
        &self,
        name: &DocumentName,
        serial: Option<SerialNumber>,
        act: &Act,
    ) {
        let given_up = async {
            self.give_up(name, serial.as_slice(), act).await?;
            self.revoke_abandoned(name, act).await
        };
        if let Err(error) = given_up.await {
            tracing::warn!(
                request = %name,
                error = &error as &dyn std::error::Error,
                "what an issuer may have signed could not be revoked there yet"
            );
        }
    }

    /// Records that a request came to nothing, or to certificates that nobody has; unless it is known by then what became of
    /// it, which `false` says.
    pub(crate) async fn give_up(
        &self,
        name: &DocumentName,
        serials: &[SerialNumber],
        act: &Act,
    ) -> Result<bool, RegistrarError> {
        let mut tries = self.tries();
        while let Some((document, mut request)) = self.request(name).await? {
            let new: Vec<_> = serials
                .iter()
                .filter(|serial| !request.revoke.contains(serial))
                .copied()
                .collect();
            let is_known = request.state != RequestState::Open && new.is_empty();
            // Meanwhile one of the certificates was recorded: it belongs to somebody.
            if is_known || request.state == RequestState::Recorded {
                return Ok(false);
            }
            request.revoke.extend(new);
            request.state = match request.revoke[..] {
                [] => RequestState::NotSigned,
                _ => RequestState::Abandoned,
            };
            if self.settle(&document, &request, act).await? {
                return Ok(true);
            }
            tries.again(name).await?;
        }
        Ok(false)
    }

    /// Has the issuer revoke what a request left, and records that it has.
    pub(crate) async fn revoke_abandoned(
        &self,
        name: &DocumentName,
        act: &Act,
    ) -> Result<(), RegistrarError> {
        let mut tries = self.tries();
        while let Some((document, mut request)) = self.request(name).await? {
            if request.revoke.is_empty() {
                return Ok(());
            }
            let issuer = self.keeper_of(&request.issuer)?;
            let inventory = inventory_of(&*issuer)?;
            for serial in &request.revoke {
                inventory.revoke(serial).await?;
                tracing::warn!(
                    %serial,
                    common_name = request.common_name,
                    "a certificate that was signed and never handed out is revoked at its issuer"
                );
            }
            request.revoke.clear();
            if self.settle(&document, &request, act).await? {
                return Ok(());
            }
            tries.again(name).await?;
        }
        Ok(())
    }

    /// The issuer with this key, for [`inventory_of`].
    pub(crate) fn keeper_of(&self, issuer: &SpkiHash) -> Result<Arc<dyn Issuer>, RegistrarError> {
        let found = self.issuers.find(issuer);
        found.ok_or(RegistrarError::InventoryMissing { issuer: *issuer })
    }

    /// Commits what became of a request, or says with `false` that the document is another by now.
    async fn settle(
        &self,
        document: &Document,
        request: &CertificateRequest,
        act: &Act,
    ) -> Result<bool, RegistrarError> {
        let is_over = request.revoke.is_empty();
        let end = is_over.then(|| act.at.saturating_add(KEPT));
        let detail = json!({
            "issuer": request.issuer,
            "common_name": request.common_name,
            "public_key": request.public_key,
            "state": request.state,
            "to_revoke": request.revoke,
        });
        let change = Change::note(EventKind::CertificateAbandoned, detail, act)
            .with_document(document.replaced(encode(request), end));
        self.unguarded().commit(slice::from_ref(&change)).await
    }
}

/// The write that closes a request with the commit that records its certificate.
pub(crate) fn recorded(
    document: &Document,
    mut request: CertificateRequest,
    act: &Act,
) -> DocumentWrite {
    request.state = RequestState::Recorded;
    document.replaced(encode(&request), Some(act.at))
}
