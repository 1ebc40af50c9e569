//! Renewal over NATS, for devices that reach nothing but their nats-server.
//!
//! A device publishes `{"csr": PEM}` or `{"csr": PEM, "proof": PEM}` on its subject `<prefix>.<id>.renew`, with a reply
//! subject in its own inbox `_INBOX.<id>.`. The answer is that of `POST /v1/renew`, or a problem document.
//!
//! That a request came on a device's subject says only that nats-server let a session of that device publish there. It
//! does not say with which certificate the session began, nor that whoever speaks holds a key: the session may be in
//! the hands of something that can use the device's connection but not its key, and others of the account may publish
//! there. So a request has to show a key of the device itself, that of one of its certificates that counts now:
//!
//! - `csr` is made with that key, as its own signature shows: the new certificate is for the same key.
//! - `csr` is made with a new key, and `proof` is a second certificate request, made with the present key, whose common
//!   name is the SHA-256 of the first one's DER in lower-case hex. So the holder of the present key names the new one.
//!
//! Who took over a session without the key gets nothing. Who repeats a request that they saw gets a certificate for a
//! key that the device made, which is of no use without it, and the same one each time until it is due for renewal. A
//! certificate that has expired does not count here: `POST /v1/renew` takes it for a while, but no session rests on it.
//!
//! nats-server checks no permission on reply subjects: a device can name another's command subject. Two things stand
//! against it, either of which would do. Answers go only to the inbox of the device that asked; a request with another
//! reply subject is dropped. And the registry's user may publish to `_INBOX.*.>` alone and has no response permission,
//! which would reach any subject. What remains: whoever holds the seed of that user can publish to devices' inboxes, as
//! false answers, none of which is a command.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, Message};
use aws_lc_rs::digest::{SHA256, digest};
use axum::http::HeaderMap;
use data_encoding::HEXLOWER;
use futures::{FutureExt, StreamExt};
use leafgate_api::{ProblemDocument, ProblemType};
use leafgate_identity::{DeviceId, Fingerprint, SpkiHash, UnixMs};
use leafgate_nats_config::SubjectPrefix;
use leafgate_nats_config::subjects::{REGISTRY_QUEUE, renewals};
use leafgate_pki::PublicKeyInfo;
use leafgate_registrar::{DeviceCredentials, RegistrarError};
use leafgate_registry::{Act, Actor, Certificate, DeviceRecord};
use leafgate_runtime::Shutdown;
use quick_cache::sync::Cache;
use serde::Deserialize;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use crate::app::App;
use crate::certificates::issued_certificate;
use crate::enrol::told_to_devices;
use crate::problem::{Problem, chain};
use crate::refusals::is_refusal;
use crate::request_id::RequestId;

/// Requests that are worked on at once.
const CONCURRENCY: usize = 8;

/// One request of a device in this time is looked at; more are dropped, so that no device keeps the others waiting.
const EVERY: Duration = Duration::from_secs(1);

/// Devices whose last request is remembered.
const REMEMBERED: usize = 10_000;

/// Longest request: two certificate requests of RSA keys have room in it several times.
const MAX_BYTES: usize = 64 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Renewal {
    csr: String,
    proof: Option<String>,
}

/// Answers devices that renew their certificate. Each request is answered by one replica.
pub(super) async fn answer(
    app: Arc<App>,
    client: Client,
    prefix: SubjectPrefix,
    shutdown: Shutdown,
) {
    let subject = renewals(&prefix);
    let requests = match client.queue_subscribe(subject, REGISTRY_QUEUE.into()).await {
        Ok(requests) => requests,
        Err(error) => {
            tracing::error!(%error, "can't listen to renewals");
            return;
        }
    };
    let desk = Arc::new(Desk {
        app,
        client,
        prefix: format!("{prefix}."),
        seen: Cache::new(REMEMBERED),
    });
    let answering = requests.for_each_concurrent(CONCURRENCY, move |request| {
        let desk = Arc::clone(&desk);
        async move { desk.take(request).await }
    });
    shutdown.run_until_cancelled(answering).await;
}

struct Desk {
    app: Arc<App>,
    client: Client,
    /// What subjects begin with, up to the device's id.
    prefix: String,
    /// When each device was last listened to, by the monotonic clock.
    seen: Cache<DeviceId, Duration>,
}

impl Desk {
    async fn take(&self, request: Message) {
        let Some(id) = self.device_of(&request.subject) else {
            return;
        };
        let Some(reply) = request.reply.filter(|reply| is_own_inbox(reply, &id)) else {
            tracing::debug!(
                device = id.as_str(),
                "a renewal names no inbox of its device for the answer"
            );
            return;
        };
        let began = self.app.clock.monotonic();
        let seen = self.seen.get(&id);
        if seen.is_some_and(|seen| began.saturating_sub(seen) < EVERY) {
            return;
        }
        self.seen.insert(id.clone(), began);
        // A bug that one request meets must not end the answers to all.
        let renewing = AssertUnwindSafe(self.renew(&id, &request.payload)).catch_unwind();
        let outcome = renewing.await.unwrap_or_else(|_| {
            let detail = "the service's log holds the cause under this request_id";
            Err(Problem::new(ProblemType::Internal, detail))
        });
        let body = self.finish(&id, &request.subject, &outcome, began);
        if let Err(error) = self.client.publish(reply, body.into()).await {
            tracing::warn!(device = id.as_str(), %error, "a renewal could not be answered");
        }
    }

    /// `<prefix>.<id>.renew`
    fn device_of(&self, subject: &str) -> Option<DeviceId> {
        let id = subject.strip_prefix(&self.prefix)?;
        DeviceId::parse(id.strip_suffix(".renew")?).ok()
    }

    async fn renew(&self, id: &DeviceId, payload: &[u8]) -> Result<DeviceCredentials, Problem> {
        let renewal = read(payload)?;
        let key = shown_key(&renewal)?;
        let act = Act {
            actor: actor(id),
            at: self.app.clock.now(),
        };
        let record = self.app.store.load(id).await?;
        let presented = record
            .and_then(|record| certificate_of(&record, &key, act.at))
            .ok_or_else(|| {
                let detail = "no certificate of this device that counts now has the key that was shown: make csr with \
                              the present key, or add proof, made with it";
                Problem::new(ProblemType::RenewalRefused, detail)
            })?;
        let registrar = &self.app.registrar;
        let renewed = registrar.renew(id, &presented, &renewal.csr, &act).await;
        renewed.map_err(told_to_devices)
    }

    /// The answer's body. The request is logged, and counted if it was refused.
    fn finish(
        &self,
        id: &DeviceId,
        subject: &str,
        outcome: &Result<DeviceCredentials, Problem>,
        began: Duration,
    ) -> Vec<u8> {
        let app = &self.app;
        let request_id = RequestId::of(&HeaderMap::new(), app.clock.now());
        let problem = outcome.as_ref().err();
        if let Some(problem) = problem {
            if let Some(source) = &problem.source {
                tracing::error!(
                    error = chain(&**source),
                    problem = problem.kind.as_str(),
                    %request_id,
                    "a request failed"
                );
            }
            if is_refusal(problem.kind) {
                app.metrics.refused(problem.kind);
                app.refusals.count(actor(id).as_str(), problem.kind);
            }
        }
        let took = app.clock.monotonic().saturating_sub(began);
        tracing::info!(
            subject,
            device = id.as_str(),
            problem = problem.map(|problem| problem.kind.as_str()),
            %request_id,
            micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            "renewal over NATS"
        );
        let body = match outcome {
            Ok(credentials) => serde_json::to_vec(&issued_certificate(credentials)),
            Err(problem) => serde_json::to_vec(&ProblemDocument {
                type_uri: problem.kind.uri().to_owned(),
                title: problem.kind.title().to_owned(),
                status: problem.kind.status(),
                detail: problem.detail.clone(),
                instance: subject.to_owned(),
                request_id: request_id.to_string(),
            }),
        };
        body.expect("texts and numbers always serialise")
    }
}

/// The device's name in the audit trail, as `POST /v1/renew` has it.
fn actor(id: &DeviceId) -> Actor {
    Actor::parse(&format!("device:{id}")).expect("device ids are short and plain")
}

fn is_own_inbox(reply: &str, id: &DeviceId) -> bool {
    reply
        .strip_prefix("_INBOX.")
        .and_then(|rest| rest.strip_prefix(id.as_str()))
        .is_some_and(|rest| rest.starts_with('.'))
}

fn read(payload: &[u8]) -> Result<Renewal, Problem> {
    if payload.len() > MAX_BYTES {
        let detail = format!("a renewal has at most {MAX_BYTES} bytes");
        return Err(Problem::new(ProblemType::BodyTooLarge, detail));
    }
    serde_json::from_slice(payload).map_err(|error| Problem::malformed(error.to_string()))
}

/// The key that the request shows: that of its proof, if it has one, else its own.
fn shown_key(renewal: &Renewal) -> Result<SpkiHash, Problem> {
    let key_of = |csr: &str| {
        let key = PublicKeyInfo::from_csr_pem(csr).map_err(RegistrarError::from)?;
        Ok::<_, Problem>(key.spki_hash())
    };
    let asked_for = key_of(&renewal.csr)?;
    let Some(proof) = &renewal.proof else {
        return Ok(asked_for);
    };
    let shown = key_of(proof)?;
    let named = common_name(proof);
    let wanted = der(&renewal.csr).map(|der| HEXLOWER.encode(digest(&SHA256, &der).as_ref()));
    if named.is_none() || named != wanted {
        let detail = "the common name of proof must be the SHA-256 of csr's DER in lower-case hex";
        return Err(Problem::new(ProblemType::RenewalRefused, detail));
    }
    Ok(shown)
}

fn der(csr_pem: &str) -> Option<Vec<u8>> {
    pem::parse(csr_pem).ok().map(pem::Pem::into_contents)
}

/// The one common name of a certificate request.
fn common_name(csr_pem: &str) -> Option<String> {
    let der = der(csr_pem)?;
    let (_, request) = X509CertificationRequest::from_der(&der).ok()?;
    let subject = &request.certification_request_info.subject;
    let mut names = subject.iter_common_name();
    let (name, None) = (names.next()?, names.next()) else {
        return None;
    };
    name.as_str().ok().map(str::to_owned)
}

/// The newest certificate of the device with this key that counts now.
fn certificate_of(record: &DeviceRecord, key: &SpkiHash, now: UnixMs) -> Option<Fingerprint> {
    record
        .current_certificates()
        .find(|it| shows(it, key, now))
        .and_then(|it| it.fingerprint)
}

fn shows(certificate: &Certificate, key: &SpkiHash, now: UnixMs) -> bool {
    certificate.public_key == *key && certificate.status.admits(now) && now < certificate.not_after
}

#[cfg(test)]
mod tests {
    use leafgate_registry::{CertificateStatus, Holder, RevocationReason};

    use super::*;

    #[test]
    fn a_certificate_shows_its_key_while_it_counts() {
        let key = SpkiHash::of_spki_der(b"key");
        let with = |status| Certificate {
            serial: "01".parse().unwrap(),
            issuer: SpkiHash::of_spki_der(b"issuer"),
            holder: Holder::Device {
                id: DeviceId::parse("0001").unwrap(),
                generation: 1,
            },
            profile: "device".to_owned(),
            fingerprint: Some(Fingerprint::of_certificate_der(b"certificate")),
            public_key: key,
            status,
            not_before: UnixMs::new(100),
            not_after: UnixMs::new(200),
            prepared_at: UnixMs::new(100),
        };
        let until = |status| {
            let certificate = with(status);
            (100..=200)
                .take_while(|now| shows(&certificate, &key, UnixMs::new(*now)))
                .last()
        };
        assert_eq!(until(CertificateStatus::Issued), Some(199));
        let at = UnixMs::new(150);
        assert_eq!(until(CertificateStatus::Superseded { at }), Some(149));
        let reason = RevocationReason::Unspecified;
        assert_eq!(until(CertificateStatus::Revoked { at, reason }), None);
        assert_eq!(until(CertificateStatus::Prepared), None);
        let other = SpkiHash::of_spki_der(b"other");
        assert!(!shows(&with(CertificateStatus::Issued), &other, at));
    }

    #[test]
    fn answers_go_to_the_inbox_of_the_device_that_asks() {
        let id = DeviceId::parse("0001").unwrap();
        for reply in ["_INBOX.0001.x", "_INBOX.0001.a.b"] {
            assert!(is_own_inbox(reply, &id), "{reply}");
        }
        for reply in [
            "_INBOX.0001",
            "_INBOX.00011.x",
            "_INBOX.0002.x",
            "_INBOX.x",
            "device.0002.cmd",
            "x._INBOX.0001.x",
            "",
        ] {
            assert!(!is_own_inbox(reply, &id), "{reply}");
        }
    }
}
