use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::RevocationStatus;
use super::following::Knowledge;
use super::issuer::IssuerStatus;
use bytes::Bytes;
use leafgate_identity::{SerialNumber, UnixMs};
use leafgate_pki::{
    CertId, CertStatus, OcspError, OcspRequest, OcspResponseData, SignOcspError, SingleResponse,
};
use leafgate_registry::{CertificateId, StoreError};
use quick_cache::sync::Cache;

/// What is kept to answer without reading or signing. All of it may be forgotten at any time.
pub(super) struct Memory {
    /// Certificates that are not revoked.
    good: Cache<CertificateId, ()>,
    /// Answers without a nonce, by the CertID that they are about.
    answers: Cache<Box<[u8]>, Answer>,
    /// How often everything was forgotten.
    forgotten: AtomicU64,
}

/// An OCSP answer.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// The OCSPResponse in DER.
    pub(super) der: Bytes,
    pub(super) this_update: UnixMs,
    pub(super) next_update: UnixMs,
    /// Until when, on the monotonic clock, it is given out again.
    pub(super) reusable_until: Duration,
    status: CertStatus,
}

/// What becomes of a request.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    /// An answer that anybody may be given who asks the same.
    Common(Answer),
    /// An answer for the one who asked.
    Own(Bytes),
    /// None.
    Refused(OcspError),
}

impl Memory {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            good: Cache::new(capacity),
            answers: Cache::new(capacity),
            forgotten: AtomicU64::new(0),
        }
    }

    /// Takes that a certificate, which is known as revoked by now, may have been called good.
    pub(super) fn forget(&self, id: &CertificateId) {
        self.good.remove(id);
    }

    pub(super) fn forget_all(&self) {
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        self.good.clear();
        self.answers.clear();
    }
}

impl RevocationStatus {
    /// Answers an OCSPRequest in DER.
    pub(super) async fn answer(&self, request: &[u8]) -> Outcome {
        let answered = match OcspRequest::parse(request) {
            Ok(request) => self.answer_parsed(request).await,
            Err(error) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "OCSP request refused"
                );
                Err(OcspError::MalformedRequest)
            }
        };
        answered.unwrap_or_else(|error| {
            self.metrics.answered("", name_of_error(error));
            Outcome::Refused(error)
        })
    }

    async fn answer_parsed(&self, request: OcspRequest) -> Result<Outcome, OcspError> {
        let issuer = self.issuer_of(&request).ok_or(OcspError::Unauthorized)?;
        let common = request.nonce.is_none() && request.cert_ids.len() == 1;
        if common && let Some(answer) = self.kept_answer(&issuer, &request.cert_ids[0]) {
            self.count(&issuer, &[answer.status]);
            return Ok(Outcome::Common(answer));
        }
        loop {
            let forgotten = self.memory.forgotten.load(Ordering::SeqCst);
            let look_ups = self.statuses(&issuer, &request.cert_ids);
            let known = tokio::time::timeout(self.settings.look_up_limit, look_ups)
                .await
                .unwrap_or(Err(OcspError::TryLater))?;
            let answer = self.sign(&issuer, &request, &known).await?;
            if common {
                let key = request.cert_ids[0].as_der().into();
                self.memory.answers.insert(key, answer.clone());
            }
            // A revocation that was applied meanwhile may have come too late to be seen, and before the answer could be
            // forgotten again: look once more, now that it is kept.
            if self.still_holds(&issuer, &request.cert_ids, &known.statuses)
                && forgotten == self.memory.forgotten.load(Ordering::SeqCst)
            {
                self.count(&issuer, &known.statuses);
                return Ok(match common {
                    true => Outcome::Common(answer),
                    false => Outcome::Own(answer.der),
                });
            }
            if common {
                self.memory.answers.remove(request.cert_ids[0].as_der());
            }
        }
    }

    /// The issuer that all certificates of a request are of, if it is one of those that are told of here.
    fn issuer_of(&self, request: &OcspRequest) -> Option<Arc<IssuerStatus>> {
        let first = request.cert_ids.first()?;
        let issuers = self.issuers();
        let issuer = issuers
            .into_iter()
            .find(|issuer| issuer.hashes.named_by(first))?;
        let same = |id: &CertId| issuer.hashes.named_by(id);
        request.cert_ids.iter().all(same).then_some(issuer)
    }

    fn kept_answer(&self, issuer: &IssuerStatus, id: &CertId) -> Option<Answer> {
        let answer = self.memory.answers.get(id.as_der())?;
        let fresh = self.clock.monotonic() < answer.reusable_until;
        (fresh && self.holds(issuer, id, answer.status)).then_some(answer)
    }

    /// Whether nothing that was applied since contradicts a status.
    fn holds(&self, issuer: &IssuerStatus, id: &CertId, status: CertStatus) -> bool {
        let revoked = id
            .serial()
            .and_then(|serial| issuer.revoked().status(&serial));
        revoked.is_none_or(|revoked| revoked == status)
    }

    fn still_holds(&self, issuer: &IssuerStatus, ids: &[CertId], statuses: &[CertStatus]) -> bool {
        ids.iter()
            .zip(statuses)
            .all(|(id, status)| self.holds(issuer, id, *status))
    }

    /// What is known of certificates, and how good that is.
    async fn statuses(&self, issuer: &IssuerStatus, ids: &[CertId]) -> Result<Known, OcspError> {
        let knowledge = self
            .following
            .knowledge(self.clock.monotonic(), self.settings.serve_stale);
        let mut statuses = Vec::with_capacity(ids.len());
        for id in ids {
            statuses.push(match id.serial() {
                Some(serial) => self.status(issuer, serial, knowledge).await?,
                None => CertStatus::Unknown,
            });
        }
        let now = self.clock.now();
        let current_until = now.saturating_add(self.settings.ocsp_lifetime);
        let (this_update, next_update) = match knowledge {
            Knowledge::Stale { as_of, good_for } => (
                as_of.min(now),
                now.saturating_add(good_for).min(current_until),
            ),
            // Without knowledge only what is final was found.
            Knowledge::Fresh | Knowledge::None => (now, current_until),
        };
        Ok(Known {
            statuses,
            produced_at: now,
            this_update,
            next_update,
        })
    }

    async fn status(
        &self,
        issuer: &IssuerStatus,
        serial: SerialNumber,
        knowledge: Knowledge,
    ) -> Result<CertStatus, OcspError> {
        if let Some(revoked) = issuer.revoked().status(&serial) {
            return Ok(revoked);
        }
        let id = CertificateId {
            issuer: issuer.spki,
            serial,
        };
        if knowledge != Knowledge::None && self.memory.good.get(&id).is_some() {
            return Ok(CertStatus::Good);
        }
        if knowledge != Knowledge::Fresh {
            return Err(OcspError::TryLater);
        }
        let forgotten = self.memory.forgotten.load(Ordering::SeqCst);
        let status = match issuer.look_ups.status(serial).await {
            Some(Ok(status)) => status,
            Some(Err(error)) => return Err(self.look_up_failed(&error)),
            // The issuer was removed just now.
            None => return Err(OcspError::TryLater),
        };
        self.look_up_fault.ends();
        if status == CertStatus::Good {
            self.memory.good.insert(id, ());
            // What was applied since may have come before this could be forgotten again.
            if issuer.revoked().status(&serial).is_some()
                || forgotten != self.memory.forgotten.load(Ordering::SeqCst)
            {
                self.memory.good.remove(&id);
            }
        }
        Ok(status)
    }

    fn look_up_failed(&self, error: &StoreError) -> OcspError {
        if self.look_up_fault.begins() {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "certificates' states can't be read"
            );
        }
        match error {
            StoreError::Unavailable { .. } => OcspError::TryLater,
            StoreError::Corrupt { .. } | StoreError::Unsupported { .. } => OcspError::InternalError,
        }
    }

    async fn sign(
        &self,
        issuer: &IssuerStatus,
        request: &OcspRequest,
        known: &Known,
    ) -> Result<Answer, OcspError> {
        let responses = request.cert_ids.iter().zip(&known.statuses);
        let data = OcspResponseData {
            responses: responses
                .map(|(cert_id, status)| SingleResponse {
                    cert_id: cert_id.clone(),
                    status: *status,
                })
                .collect(),
            nonce: request.nonce.clone(),
            produced_at: known.produced_at,
            this_update: known.this_update,
            next_update: known.next_update,
        };
        let signed = issuer.issuer.sign_ocsp(&data).await.map_err(|error| {
            if issuer.signing.begins() {
                tracing::warn!(
                    issuer = issuer.label,
                    error = &error as &dyn std::error::Error,
                    "OCSP answers can't be signed"
                );
            }
            match error {
                SignOcspError::Unavailable(_) => OcspError::TryLater,
                _ => OcspError::InternalError,
            }
        })?;
        issuer.signing.ends();
        let half_its_life = known.next_update.since(known.produced_at) / 2;
        Ok(Answer {
            der: Bytes::from(signed),
            this_update: known.this_update,
            next_update: known.next_update,
            reusable_until: self.clock.monotonic() + half_its_life,
            status: known.statuses[0],
        })
    }

    fn count(&self, issuer: &IssuerStatus, statuses: &[CertStatus]) {
        for status in statuses {
            self.metrics
                .answered(&issuer.label, name_of_status(*status));
        }
    }
}

struct Known {
    statuses: Vec<CertStatus>,
    produced_at: UnixMs,
    this_update: UnixMs,
    next_update: UnixMs,
}

fn name_of_status(status: CertStatus) -> &'static str {
    match status {
        CertStatus::Good => "good",
        CertStatus::Revoked { .. } => "revoked",
        CertStatus::Unknown => "unknown",
    }
}

fn name_of_error(error: OcspError) -> &'static str {
    match error {
        OcspError::MalformedRequest => "malformed-request",
        OcspError::InternalError => "internal-error",
        OcspError::TryLater => "try-later",
        OcspError::Unauthorized => "unauthorized",
    }
}
