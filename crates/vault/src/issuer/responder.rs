use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::Shared;
use leafgate_identity::{UnixMs, Validity};
use leafgate_pki::{
    KeyPairPem, OcspResponder, OcspResponseData, SignOcspError, certificate_validity,
};
use serde_json::json;
use tokio::sync::oneshot;

use super::engine::{Engine, SignError};
use super::{csr_pem, encode_pem};

/// The name of every responder. It is no host's.
const COMMON_NAME: &str = "leafgate-ocsp";
/// How long a responder's certificate lives; it is renewed when half of that is over.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// For how long nobody asks again after Vault gave no certificate.
const PAUSE: Duration = Duration::from_secs(2);

/// The key that signs OCSP answers in the issuer's place.
///
/// A certificate is renewed aside: while one outlives the answers, nobody waits for Vault.
pub(super) struct Responder {
    certifier: Arc<Certifier>,
    state: Arc<Mutex<State>>,
}

/// Who asks Vault.
struct Certifier {
    engine: Engine,
    role: String,
    /// When the issuer ends.
    ends: UnixMs,
}

#[derive(Default)]
struct State {
    current: Option<Arc<Certified>>,
    /// What Vault is being asked, or was answered within [`PAUSE`] if that was no certificate.
    attempt: Option<Attempt>,
}

struct Certified {
    responder: OcspResponder,
    validity: Validity,
}

type Error = Arc<dyn std::error::Error + Send + Sync>;
type Attempt = Shared<oneshot::Receiver<Result<Arc<Certified>, Error>>>;

impl Responder {
    /// For an issuer that `ends` then.
    pub(super) fn new(engine: Engine, role: &str, ends: UnixMs) -> Self {
        Self {
            certifier: Arc::new(Certifier {
                engine,
                role: role.to_owned(),
                ends,
            }),
            state: Arc::default(),
        }
    }

    pub(super) async fn answer(&self, data: &OcspResponseData) -> Result<Vec<u8>, SignOcspError> {
        let certified = self.certified(data).await?;
        certified.responder.sign(data)
    }

    /// A key whose certificate outlives the answer. Where Vault gives no new one in time the old one does as long as it
    /// is valid.
    async fn certified(&self, data: &OcspResponseData) -> Result<Arc<Certified>, SignOcspError> {
        let now = data.produced_at;
        let (current, attempt) = {
            let mut state = lock(&self.state);
            let current = state.current.clone();
            if let Some(fresh) = current.as_ref().filter(|current| current.is_fresh(data)) {
                return Ok(Arc::clone(fresh));
            }
            let attempt = state.attempt.get_or_insert_with(|| self.begin(now));
            (current, attempt.clone())
        };
        let error = match current.as_ref().filter(|current| current.outlives(data)) {
            Some(current) => return Ok(Arc::clone(current)),
            None => match attempt.await {
                Ok(Ok(certified)) => return Ok(certified),
                Ok(Err(error)) => error,
                Err(ended) => Arc::new(ended),
            },
        };
        current
            .filter(|current| now < current.validity.not_after)
            .ok_or_else(|| SignOcspError::Unavailable(error.into()))
    }

    /// Asks Vault, whoever waits for it.
    fn begin(&self, now: UnixMs) -> Attempt {
        let (certifier, state) = (Arc::clone(&self.certifier), Arc::clone(&self.state));
        let (outcome, attempt) = oneshot::channel();
        tokio::spawn(async move {
            match certifier.certify(now).await {
                Ok(certified) => {
                    let certified = Arc::new(certified);
                    *lock(&state) = State {
                        current: Some(Arc::clone(&certified)),
                        attempt: None,
                    };
                    // Nobody may be waiting for it.
                    let _ = outcome.send(Ok(certified));
                }
                Err(error) => {
                    tracing::warn!(
                        error = &*error as &dyn std::error::Error,
                        "Vault certified no OCSP responder; trying again"
                    );
                    let _ = outcome.send(Err(Arc::from(error)));
                    tokio::time::sleep(PAUSE).await;
                    lock(&state).attempt = None;
                }
            }
        });
        attempt.shared()
    }
}

impl Certifier {
    async fn certify(
        &self,
        now: UnixMs,
    ) -> Result<Certified, Box<dyn std::error::Error + Send + Sync>> {
        let pair = KeyPairPem::generate()?;
        let not_after = now.saturating_add(LIFETIME).min(self.ends);
        let body = json!({
            "csr": csr_pem(pair.public.csr_der().unwrap_or_default()),
            "common_name": COMMON_NAME,
            "exclude_cn_from_sans": true,
            "not_after": UnixMs::from_secs(not_after.as_secs()),
        });
        let signed = self.engine.sign(&self.role, &body).await;
        let der = signed.map_err(|error| {
            if let SignError::Refused(text) = &error {
                SignError::Refused(format!(
                    "{text}: it must allow the name {COMMON_NAME} and have ext_key_usage=OCSPSigning"
                ))
            } else {
                error
            }
        })?;
        let certificate_pem = encode_pem("CERTIFICATE", &der);
        let validity = certificate_validity(&certificate_pem)
            .ok_or("the certificate of the OCSP responder is malformed")?;
        Ok(Certified {
            responder: OcspResponder::new(&certificate_pem, &pair.private_key_pem)?,
            validity,
        })
    }
}

impl Certified {
    fn is_fresh(&self, data: &OcspResponseData) -> bool {
        let Validity {
            not_before,
            not_after,
        } = self.validity;
        let half = not_before.saturating_add(not_after.since(not_before) / 2);
        data.produced_at < half && self.outlives(data)
    }

    fn outlives(&self, data: &OcspResponseData) -> bool {
        data.next_update <= self.validity.not_after
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
