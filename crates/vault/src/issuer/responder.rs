use std::sync::Arc;
use std::time::Duration;

use leafgate_identity::{UnixMs, Validity};
use leafgate_pki::{
    KeyPairPem, OcspResponder, OcspResponseData, SignOcspError, certificate_validity,
};
use serde_json::json;
use tokio::sync::Mutex;

use super::{SignError, VaultIssuer, csr_pem, encode_pem};

/// The name of every responder. It is no host's.
const COMMON_NAME: &str = "leafgate-ocsp";
/// How long a responder's certificate lives; it is renewed when half of that is over.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// For how long nobody asks again after Vault gave no certificate.
const PAUSE: Duration = Duration::from_secs(2);

/// The key that signs OCSP answers in the issuer's place.
pub(super) struct Responder {
    role: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    current: Option<Arc<Certified>>,
    failed: Option<Failed>,
}

struct Certified {
    responder: OcspResponder,
    validity: Validity,
}

struct Failed {
    at: UnixMs,
    error: Arc<dyn std::error::Error + Send + Sync>,
}

impl Responder {
    pub(super) fn new(role: String) -> Self {
        Self {
            role,
            state: Mutex::default(),
        }
    }

    pub(super) async fn answer(
        &self,
        issuer: &VaultIssuer,
        data: &OcspResponseData,
    ) -> Result<Vec<u8>, SignOcspError> {
        let certified = self.certified(issuer, data).await?;
        certified.responder.sign(data)
    }

    /// A key whose certificate outlives the answer. Where Vault gives no new one in time the old one does as long as it
    /// is valid.
    async fn certified(
        &self,
        issuer: &VaultIssuer,
        data: &OcspResponseData,
    ) -> Result<Arc<Certified>, SignOcspError> {
        let now = data.produced_at;
        let mut state = self.state.lock().await;
        let current = state.current.clone();
        if let Some(current) = current.as_ref().filter(|current| current.is_fresh(data)) {
            return Ok(Arc::clone(current));
        }
        let paused = state
            .failed
            .as_ref()
            .filter(|failed| now.since(failed.at) < PAUSE && now >= failed.at)
            .map(|failed| Arc::clone(&failed.error));
        let error = match paused {
            Some(error) => error,
            None => match self.certify(issuer, now).await {
                Ok(certified) => {
                    let certified = Arc::new(certified);
                    *state = State {
                        current: Some(Arc::clone(&certified)),
                        failed: None,
                    };
                    return Ok(certified);
                }
                Err(error) => {
                    let error: Arc<dyn std::error::Error + Send + Sync> = Arc::from(error);
                    tracing::warn!(
                        error = &*error as &dyn std::error::Error,
                        "Vault certified no OCSP responder; trying again"
                    );
                    state.failed = Some(Failed {
                        at: now,
                        error: Arc::clone(&error),
                    });
                    error
                }
            },
        };
        current
            .filter(|current| now < current.validity.not_after)
            .ok_or_else(|| SignOcspError::Unavailable(error.into()))
    }

    async fn certify(
        &self,
        issuer: &VaultIssuer,
        now: UnixMs,
    ) -> Result<Certified, Box<dyn std::error::Error + Send + Sync>> {
        let pair = KeyPairPem::generate()?;
        let not_after = now.saturating_add(LIFETIME).min(issuer.validity.not_after);
        let body = json!({
            "csr": csr_pem(pair.public.csr_der().unwrap_or_default()),
            "common_name": COMMON_NAME,
            "exclude_cn_from_sans": true,
            "not_after": UnixMs::from_secs(not_after.as_secs()),
        });
        let der = issuer.sign(&self.role, &body).await.map_err(|error| {
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
        data.produced_at < half && data.next_update <= not_after
    }
}
