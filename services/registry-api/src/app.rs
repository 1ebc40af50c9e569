use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use leafgate_access::{ApiKeyId, EnrolmentTokenId, Permission, Scope, Target};
use leafgate_api::ProblemType;
use leafgate_identity::{DeviceId, TrustDomainName, TrustDomains};
use leafgate_registrar::{Registrar, RegistrarError, target};
use leafgate_registry::{Act, Actor, DeviceRecord, DeviceStore, NewDevice, StoreError};
use leafgate_runtime::{Clock, Shutdown};
use tokio::sync::Semaphore;

use crate::authenticate::{ApiKeys, Caller};
use crate::checkpoints::Checkpoints;
use crate::clients::ClientCertificates;
use crate::config::LimitsConfig;
use crate::feed::Feed;
use crate::guesses::Guesses;
use crate::issuers::{Authority, IssuerWatch};
use crate::metrics::Metrics;
use crate::nats::LinkStates;
use crate::oidc::OidcVerifier;
use crate::problem::{Problem, SOON};
use crate::refusals::Refusals;
use crate::renewal::DeviceIssuers;
use crate::sessions::Sessions;
use crate::setup::Policies;
use crate::status::RevocationStatus;

/// How long an act waits until what it revoked is served.
const SERVED_WITHIN: Duration = Duration::from_secs(10);

/// What every request is answered with.
pub(crate) struct App {
    pub(crate) registrar: Registrar,
    pub(crate) store: Arc<dyn DeviceStore>,
    pub(crate) domains: Arc<TrustDomains>,
    pub(crate) policies: Option<Policies>,
    pub(crate) authority: Authority,
    pub(crate) device_issuers: DeviceIssuers,
    pub(crate) issuer_watch: Arc<IssuerWatch>,
    /// How long an issuer must have been prepared before it is activated.
    pub(crate) activate_after: Duration,
    /// None without the system account.
    pub(crate) sessions: Option<Sessions>,
    pub(crate) api_keys: ApiKeys,
    pub(crate) oidc: Option<OidcVerifier>,
    pub(crate) clients: Option<Arc<ClientCertificates>>,
    pub(crate) links: LinkStates,
    pub(crate) guesses: Guesses<ApiKeyId>,
    pub(crate) token_guesses: Guesses<EnrolmentTokenId>,
    pub(crate) refusals: Refusals,
    pub(crate) feed: Arc<Feed>,
    pub(crate) revocations: Arc<RevocationStatus>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) limits: LimitsConfig,
    /// The API's description (JSON).
    pub(crate) openapi: Bytes,
    pub(crate) checkpoints: Option<Arc<Checkpoints>>,
    /// Told when the service is to end.
    pub(crate) shutdown: Shutdown,
    /// Requests that may still be begun.
    pub(crate) room: Semaphore,
    /// Streams of events that may still be begun.
    pub(crate) streams: Arc<Semaphore>,
    /// Requests about many devices that may still be begun.
    pub(crate) bulk: Arc<Semaphore>,
    /// Verifications of the audit trail, which read all of it: one at a time.
    pub(crate) verifications: Semaphore,
}

impl App {
    /// A device that the caller may see. One outside of their scope is answered like one that does not exist.
    pub(crate) async fn device(
        &self,
        caller: &Caller,
        id: &DeviceId,
    ) -> Result<DeviceRecord, Problem> {
        caller.principal.check(Permission::ReadDevices)?;
        let found = self.store.load(id).await?;
        found
            .filter(|record| caller.reaches(record))
            .ok_or_else(|| RegistrarError::DeviceUnknown { id: id.clone() }.into())
    }

    /// The trust domain that is meant where none is named.
    pub(crate) fn only_domain(&self) -> Result<TrustDomainName, Problem> {
        let mut domains = self.domains.iter().map(|domain| &domain.name);
        match (domains.next(), domains.next()) {
            (Some(only), None) => Ok(only.clone()),
            _ => {
                let known: Vec<&str> = self.domains.iter().map(|it| it.name.as_str()).collect();
                let detail = format!("name the device's trust_domain: {}", known.join(", "));
                Err(Problem::new(ProblemType::TrustDomainUnknown, detail))
            }
        }
    }
}

impl App {
    /// Something that somebody does at this moment.
    pub(crate) fn act(&self, actor: Actor) -> Act {
        let at = self.clock.now();
        Act { actor, at }
    }

    /// Returns when what was revoked up to now is on the lists and in the answers that are served.
    pub(crate) async fn serve_revocations(&self) -> Result<(), Problem> {
        let served = async {
            let position = self.store.position().await?;
            self.revocations.served_after(&position).await;
            Ok::<_, StoreError>(())
        };
        let pending = || {
            let detail = "the revocation is recorded and holds for every log-in; revocation lists do not tell of it yet";
            Problem::new(ProblemType::RevocationNotServed, detail).retry_after(SOON)
        };
        match tokio::time::timeout(SERVED_WITHIN, served).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(pending().because(error)),
            Err(_) => Err(pending()),
        }
    }
}

impl Caller {
    /// Whether every device is within the caller's scope.
    pub(crate) fn reaches_everything(&self) -> bool {
        self.principal.authority.scope == Scope::everything()
    }

    /// Whether a device that is to be registered is within the caller's scope.
    pub(crate) fn reaches_new(&self, new: &NewDevice) -> bool {
        self.principal.authority.scope.contains(&Target {
            trust_domain: new.trust_domain.as_str(),
            site: new.site.as_deref(),
            device_type: &new.device_type,
        })
    }

    /// Whether a device is within the caller's scope.
    pub(crate) fn reaches(&self, record: &DeviceRecord) -> bool {
        self.principal
            .authority
            .scope
            .contains(&target(&record.device))
    }
}
