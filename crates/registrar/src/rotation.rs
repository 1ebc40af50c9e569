mod acts;
mod record;

use std::sync::Arc;

use leafgate_identity::{SpkiHash, UnixMs};
use leafgate_pki::{Intermediate, Issuer};
use leafgate_registry::{DocumentKind, Outstanding, StoreError};

pub use self::record::IssuerState;
use self::record::{Placed, Rotation};
use crate::error::RegistrarError;
use crate::registrar::Registrar;

/// Every kind of issuer.
pub(crate) const KINDS: [Intermediate; 2] = [Intermediate::Devices, Intermediate::Servers];

/// An issuer and its place in its rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerStatus {
    /// What it signs.
    pub intermediate: Intermediate,
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub issuer: SpkiHash,
    /// Its place.
    pub state: IssuerState,
    /// Since when it has this place; `None` while nothing is recorded of it.
    pub since: Option<UnixMs>,
    /// Its certificate (PEM).
    pub certificate_pem: String,
    /// Whether this process can sign with it.
    pub key_present: bool,
    /// Its certificates that have not ended; `None` where the store can't tell.
    pub outstanding: Option<Outstanding>,
}

impl Registrar {
    /// The issuers of both kinds with their places, oldest first. One that is retired, has no certificate left and whose
    /// key is not here is left out: it is over.
    ///
    /// # Errors
    /// The store fails.
    pub async fn issuers(&self, now: UnixMs) -> Result<Vec<IssuerStatus>, RegistrarError> {
        let mut all = Vec::new();
        for intermediate in KINDS {
            let recorded = self.rotation(intermediate).await?.unwrap_or_default();
            let placed = self.with_unrecorded(intermediate, recorded);
            for Placed {
                issuer,
                state,
                since,
                certificate,
            } in placed.issuers
            {
                let key_present = self.issuers.find_of(intermediate, &issuer).is_some();
                let outstanding = match self.store.outstanding(&issuer, now).await {
                    Err(StoreError::Unsupported { .. }) => None,
                    counted => Some(counted?),
                };
                let some_left = outstanding.as_ref().is_none_or(|it| it.unexpired > 0);
                if state == IssuerState::Retired && !key_present && !some_left {
                    continue;
                }
                all.push(IssuerStatus {
                    intermediate,
                    issuer,
                    state,
                    since,
                    certificate_pem: certificate,
                    key_present,
                    outstanding,
                });
            }
        }
        Ok(all)
    }

    /// One of [`issuers`](Self::issuers).
    ///
    /// # Errors
    /// There is no such issuer, or the store fails.
    pub async fn issuer_status(
        &self,
        issuer: &SpkiHash,
        now: UnixMs,
    ) -> Result<IssuerStatus, RegistrarError> {
        let all = self.issuers(now).await?;
        let found = all.into_iter().find(|it| it.issuer == *issuer);
        found.ok_or(RegistrarError::IssuerUnknown { issuer: *issuer })
    }

    /// The issuer that signs certificates of this kind: the one that the registry has as active.
    pub(crate) async fn signer(
        &self,
        intermediate: Intermediate,
    ) -> Result<Arc<dyn Issuer>, RegistrarError> {
        let active = match self.rotation(intermediate).await? {
            Some(rotation) => rotation.active(),
            None => None,
        };
        let signer = match active {
            Some(active) => self.issuers.find_of(intermediate, &active),
            None => self.issuers.first(intermediate),
        };
        signer.ok_or(RegistrarError::IssuerKeyMissing {
            intermediate,
            issuer: active,
        })
    }

    /// That the keys of the issuers that sign are here.
    ///
    /// # Errors
    /// [`RegistrarError::IssuerKeyMissing`], or the store fails.
    pub async fn check_keys(&self) -> Result<(), RegistrarError> {
        for intermediate in KINDS {
            self.signer(intermediate).await?;
        }
        Ok(())
    }

    /// Refuses to let a retired issuer sign. Asked once the intent is recorded: whatever a retired issuer signed was
    /// announced before it was retired.
    pub(crate) async fn check_signs(
        &self,
        intermediate: Intermediate,
        issuer: &SpkiHash,
    ) -> Result<(), RegistrarError> {
        let rotation = self.rotation(intermediate).await?.unwrap_or_default();
        match rotation.find(issuer) {
            Some(placed) if placed.state == IssuerState::Retired => Err(RegistrarError::Busy {
                what: format!("the issuers of {intermediate}"),
            }),
            _ => Ok(()),
        }
    }

    /// The certificate (PEM) of an issuer, if it is known and not retired.
    pub(crate) async fn issuing_certificate(
        &self,
        intermediate: Intermediate,
        issuer: &SpkiHash,
    ) -> Result<Option<String>, RegistrarError> {
        let recorded = self.rotation(intermediate).await?.unwrap_or_default();
        let placed = self.with_unrecorded(intermediate, recorded);
        let found = placed.issuers.into_iter().find(|it| it.issuer == *issuer);
        let counting = found.filter(|it| it.state != IssuerState::Retired);
        Ok(counting.map(|it| it.certificate))
    }

    async fn rotation(
        &self,
        intermediate: Intermediate,
    ) -> Result<Option<Rotation>, RegistrarError> {
        let found = self.document(DocumentKind::Issuer, intermediate.as_str());
        Ok(found.await?.map(|(_, rotation)| rotation))
    }

    /// The rotation with those of this process's issuers that are not recorded: the first is active where nothing is
    /// recorded, any other prepared.
    fn with_unrecorded(&self, intermediate: Intermediate, mut rotation: Rotation) -> Rotation {
        for issuer in self.issuers.of(intermediate) {
            if rotation.find(&issuer.spki()).is_some() {
                continue;
            }
            let state = match rotation.active() {
                None => IssuerState::Active,
                Some(_) => IssuerState::Prepared,
            };
            rotation.issuers.push(Placed {
                issuer: issuer.spki(),
                state,
                since: None,
                certificate: issuer.certificate_pem().to_owned(),
            });
        }
        rotation
    }
}
