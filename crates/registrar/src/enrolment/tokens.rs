use std::collections::BTreeSet;
use std::slice;
use std::time::Duration;

use leafgate_access::{
    Admits, EnrolmentToken, EnrolmentTokenId, EnrolmentTokenText, NewEnrolmentToken, Permission,
    Principal,
};
use leafgate_identity::{DeviceId, UnixMs};
use leafgate_registry::{
    Act, Change, Cursor, Document, DocumentKind, DocumentName, DocumentWrite, EventKind, NewDevice,
    Page, StoreError,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::api_keys::{check_end, check_name, malformed};
use crate::content::{document_name, encode};
use crate::error::{EnrolError, RegistrarError, TokenEnd};
use crate::registrar::Registrar;

/// For how long a token is listed after its end.
const KEPT_AFTER_END: Duration = Duration::from_secs(30 * 24 * 3600);
/// How many ids a token names at most: the whole list is read with each use.
const MAX_IDS: usize = 1000;

/// A token, and how often it was used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenStatus {
    /// The token.
    pub token: EnrolmentToken,
    /// How many devices it has let in, or was about to.
    pub uses: u32,
}

/// The count stands apart from the token, which may be long and never changes but to be revoked. Revoking writes both,
/// so that no use passes by it.
#[derive(Serialize, Deserialize)]
struct Uses {
    uses: u32,
}

/// A token that counts, shown by its bearer.
pub(super) struct PresentedToken {
    pub(super) token: EnrolmentToken,
    uses: (Document, Uses),
}

impl Registrar {
    /// For how long an enrolment token counts unless its maker says otherwise.
    pub const DEFAULT_TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 3600);

    /// Makes an enrolment token. Its text is given once and kept nowhere.
    ///
    /// # Errors
    /// A value is malformed, the trust domain is not known, an id does not fit it, or the store fails.
    pub async fn create_enrolment_token(
        &self,
        new: NewEnrolmentToken,
        act: &Act,
    ) -> Result<(EnrolmentToken, EnrolmentTokenText), RegistrarError> {
        self.check_token(&new, act)?;
        let mut tries = self.tries();
        loop {
            let (token, text) = EnrolmentToken::generate(new.clone(), act.at);
            let kept_until = Some(token.expires_at.saturating_add(KEPT_AFTER_END));
            let write = |kind, name: &str, body| {
                DocumentWrite::new(kind, document_name(name), body, kept_until)
            };
            let (kept, none) = (encode(&token), encode(&Uses { uses: 0 }));
            let change = Change::note(EventKind::EnrolmentTokenCreated, described(&token), act)
                .with_document(write(DocumentKind::EnrolmentToken, token.id.as_str(), kept))
                .with_document(write(DocumentKind::Request, &uses_name(&token.id), none));
            if self.commit(slice::from_ref(&change)).await? {
                return Ok((token, text));
            }
            tries.again("the enrolment tokens").await?;
        }
    }

    /// Makes an enrolment token on behalf of somebody, for devices that they may register.
    ///
    /// # Errors
    /// As [`create_enrolment_token`](Self::create_enrolment_token), and [`RegistrarError::Refused`].
    pub async fn grant_enrolment_token(
        &self,
        by: &Principal,
        new: NewEnrolmentToken,
        act: &Act,
    ) -> Result<(EnrolmentToken, EnrolmentTokenText), RegistrarError> {
        by.check_device(Permission::ProvisionDevices, &new.target())?;
        self.create_enrolment_token(new, act).await
    }

    /// A token, ended or not.
    ///
    /// # Errors
    /// The store fails.
    pub async fn enrolment_token(
        &self,
        id: &EnrolmentTokenId,
    ) -> Result<Option<TokenStatus>, RegistrarError> {
        let found = self
            .document(DocumentKind::EnrolmentToken, id.as_str())
            .await?;
        let Some((_, token)) = found else {
            return Ok(None);
        };
        Ok(Some(self.status(token).await?))
    }

    /// All tokens in the order of their ids; those that ended stay for 30 days.
    ///
    /// # Errors
    /// The store fails.
    pub async fn enrolment_tokens(
        &self,
        after: Option<&Cursor<DocumentName>>,
        limit: usize,
    ) -> Result<Page<TokenStatus, DocumentName>, RegistrarError> {
        let kind = DocumentKind::EnrolmentToken;
        let page: Page<EnrolmentToken, _> = self.documents(kind, after, limit).await?;
        let mut items = Vec::with_capacity(page.items.len());
        for token in page.items {
            items.push(self.status(token).await?);
        }
        Ok(Page {
            items,
            next: page.next,
        })
    }

    /// Revokes a token. One that is revoked already stays as it is.
    ///
    /// # Errors
    /// There is no such token, or the store fails.
    pub async fn revoke_enrolment_token(
        &self,
        id: &EnrolmentTokenId,
        act: &Act,
    ) -> Result<TokenStatus, RegistrarError> {
        self.revoke_token_if(id, |_| Ok(()), act).await
    }

    /// Revokes a token on behalf of somebody who could have made it.
    ///
    /// # Errors
    /// As [`revoke_enrolment_token`](Self::revoke_enrolment_token), and [`RegistrarError::Refused`].
    pub async fn revoke_enrolment_token_as(
        &self,
        by: &Principal,
        id: &EnrolmentTokenId,
        act: &Act,
    ) -> Result<TokenStatus, RegistrarError> {
        let may = |token: &EnrolmentToken| {
            Ok(by.check_device(Permission::ProvisionDevices, &token.target())?)
        };
        self.revoke_token_if(id, may, act).await
    }

    async fn revoke_token_if(
        &self,
        id: &EnrolmentTokenId,
        may: impl Fn(&EnrolmentToken) -> Result<(), RegistrarError> + Send,
        act: &Act,
    ) -> Result<TokenStatus, RegistrarError> {
        let unknown = || RegistrarError::EnrolmentTokenUnknown { id: id.clone() };
        let mut tries = self.tries();
        loop {
            let found = self
                .document(DocumentKind::EnrolmentToken, id.as_str())
                .await?;
            let (document, mut token): (_, EnrolmentToken) = found.ok_or_else(unknown)?;
            may(&token)?;
            if token.revoked_at.is_some() {
                return self.status(token).await;
            }
            token.revoked_at = Some(act.at);
            let end = Some(act.at.min(token.expires_at).saturating_add(KEPT_AFTER_END));
            let mut change = Change::note(EventKind::EnrolmentTokenRevoked, described(&token), act)
                .with_document(document.replaced(encode(&token), end));
            if let Some((counted, uses)) = self.find_uses(id).await? {
                change = change.with_document(counted.replaced(encode(&uses), end));
            }
            if self.commit(slice::from_ref(&change)).await? {
                return self.status(token).await;
            }
            tries.again(format!("enrolment token {id}")).await?;
        }
    }

    /// The token of this text, if it counts.
    pub(super) async fn presented_token(
        &self,
        text: &EnrolmentTokenText,
        now: UnixMs,
    ) -> Result<PresentedToken, RegistrarError> {
        // Read first: who revokes the token meanwhile writes this too, and the use fails.
        let uses = self.find_uses(&text.id).await?;
        let found = self
            .document(DocumentKind::EnrolmentToken, text.id.as_str())
            .await?;
        let token = found
            .map(|(_, token): (_, EnrolmentToken)| token)
            .filter(|token| token.is(text))
            .ok_or(EnrolError::TokenUnknown)?;
        let end = match token.revoked_at {
            Some(at) => Some(TokenEnd::Revoked { at }),
            None if now >= token.expires_at => Some(TokenEnd::Expired {
                at: token.expires_at,
            }),
            None => None,
        };
        if let Some(end) = end {
            return Err(EnrolError::TokenEnded { end }.into());
        }
        let uses = uses.ok_or_else(|| StoreError::Corrupt {
            what: format!("enrolment token {} has no count of its uses", text.id),
        })?;
        Ok(PresentedToken { token, uses })
    }

    /// The count may be forgotten a moment before the token is.
    async fn status(&self, token: EnrolmentToken) -> Result<TokenStatus, RegistrarError> {
        let found = self.find_uses(&token.id).await?;
        let uses = found.map_or(0, |(_, Uses { uses })| uses);
        Ok(TokenStatus { token, uses })
    }

    async fn find_uses(
        &self,
        id: &EnrolmentTokenId,
    ) -> Result<Option<(Document, Uses)>, RegistrarError> {
        self.document(DocumentKind::Request, &uses_name(id)).await
    }

    fn check_token(&self, new: &NewEnrolmentToken, act: &Act) -> Result<(), RegistrarError> {
        check_name(&new.name)?;
        check_end(new.expires_at, act.at)?;
        if new.admits.max_uses() == 0 {
            return malformed("admits", "must let one device in at least");
        }
        if new.admits.ids().count() > MAX_IDS {
            return malformed("admits", "must name 1000 ids at most; make several tokens");
        }
        let mut folded = BTreeSet::new();
        if !new.admits.ids().all(|id| folded.insert(id.folded())) {
            return malformed(
                "admits",
                "must name ids that differ in more than their case",
            );
        }
        let device = |id| NewDevice {
            id,
            trust_domain: new.trust_domain.clone(),
            pending: false,
            device_type: new.device_type.clone(),
            site: new.site.clone(),
            attributes: new.attributes.clone(),
        };
        let any = DeviceId::parse("0").expect("a digit is an id");
        // Refuses what no device could be registered with.
        Change::register(None, device(any.clone()), act)?;
        self.check_name(&device(any))?;
        let mut ids = new.admits.ids().cloned();
        ids.try_for_each(|id| self.check_name(&device(id)))
    }
}

impl PresentedToken {
    /// The write that goes with a use, whether or not it is a further one.
    pub(super) fn used(&self, further: bool) -> Result<DocumentWrite, EnrolError> {
        let (document, Uses { uses }) = &self.uses;
        if further
            && let Admits::Unnamed { max_uses } = self.token.admits
            && *uses >= max_uses
        {
            return Err(EnrolError::TokenEnded {
                end: TokenEnd::UsedUp,
            });
        }
        let uses = uses.saturating_add(u32::from(further));
        Ok(document.replaced(encode(&Uses { uses }), document.expires_at))
    }
}

fn uses_name(id: &EnrolmentTokenId) -> String {
    format!("enrolment-uses:{id}")
}

/// What an event says of a token; never its hash.
fn described(token: &EnrolmentToken) -> Value {
    json!({
        "id": token.id,
        "name": token.name,
        "admits": token.admits,
        "trust_domain": token.trust_domain,
        "device_type": token.device_type,
        "site": token.site,
        "attributes": token.attributes,
        "expires_at": token.expires_at,
    })
}
