//! Whether certificates are revoked, over plain HTTP: revocation lists (RFC 5280) and OCSP (RFC 6960).
//!
//! A [`RevocationStatus`] follows the registry's feed ([`feed`]) and keeps for each issuer what is revoked
//! ([`revoked`]), a list that is renewed with every revocation and before it ends ([`keeper`]), and answers to those who
//! ask for single certificates ([`responder`]). [`router`] is what serves both.

mod fault;
mod feed;
mod following;
mod issuer;
mod keeper;
mod load;
mod look_ups;
mod metrics;
mod responder;
mod revocation;
mod revoked;
mod root_list;
mod router;
#[cfg(test)]
mod tests;
mod told;

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use leafgate_identity::SpkiHash;
use leafgate_pki::{Issuer, ParseIssuerError};
use leafgate_registry::{Actor, DeviceStore, FeedPosition, StoreError};
use leafgate_runtime::{Clock, Shutdown};
use prometheus_client::registry::Registry;

use self::fault::Fault;
use self::following::Following;
use self::issuer::IssuerStatus;
use self::metrics::Metrics;
use self::responder::Memory;
pub use self::router::router;

/// How long one answer of the store is awaited.
const STORE_LIMIT: Duration = Duration::from_secs(10);

/// How long what is served is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusSettings {
    /// How long a revocation list is current. It is renewed when half of it is over.
    pub crl_lifetime: Duration,
    /// How long an OCSP answer is current. It is given out again for half of it.
    pub ocsp_lifetime: Duration,
    /// How long certificates are still called good from memory when the registry can't be read.
    pub serve_stale: Duration,
    /// How long looking certificates up may take before whoever asks is told to try later.
    pub look_up_limit: Duration,
    /// How long the body of a request may take.
    pub body_timeout: Duration,
    /// How many certificates' states and answers are kept in memory.
    pub cached_answers: usize,
}

impl Default for StatusSettings {
    fn default() -> Self {
        Self {
            crl_lifetime: Duration::from_secs(24 * 3600),
            ocsp_lifetime: Duration::from_secs(600),
            serve_stale: Duration::from_secs(3600),
            look_up_limit: Duration::from_secs(2),
            body_timeout: Duration::from_secs(30),
            cached_answers: 100_000,
        }
    }
}

/// What a [`RevocationStatus`] works with.
pub struct StatusParts {
    /// The registry.
    pub store: Arc<dyn DeviceStore>,
    /// The service's clocks.
    pub clock: Arc<dyn Clock>,
    /// Whom the audit trail names for the numbers of lists.
    pub actor: Actor,
    /// The file with the root's list, if it is to be served.
    pub root_list: Option<PathBuf>,
    /// How long what is served is good for.
    pub settings: StatusSettings,
    /// Ends the keeping of lists.
    pub shutdown: Shutdown,
}

/// The revocation status of every certificate that the registry knows of.
///
/// It is a [`FeedSink`](leafgate_feed::FeedSink), and tells nothing before it is told of the feed.
pub struct RevocationStatus {
    store: Arc<dyn DeviceStore>,
    clock: Arc<dyn Clock>,
    actor: Actor,
    root_list: Option<PathBuf>,
    /// Whether the root's list can't be read.
    root_list_fault: Fault,
    settings: StatusSettings,
    /// Whether single certificates can't be read.
    look_up_fault: Fault,
    shutdown: Shutdown,
    issuers: IssuerList,
    following: Following,
    memory: Memory,
    metrics: Metrics,
}

type IssuerList = Arc<RwLock<Vec<Arc<IssuerStatus>>>>;

impl RevocationStatus {
    /// Knows no issuer yet. Registers its metrics under `leafgate_registry_`.
    pub fn new(parts: StatusParts, registry: &mut Registry) -> Arc<Self> {
        let StatusParts {
            store,
            clock,
            actor,
            root_list,
            settings,
            shutdown,
        } = parts;
        let issuers = IssuerList::default();
        let metrics = Metrics::register(registry, Arc::clone(&issuers), Arc::clone(&clock));
        Arc::new(Self {
            store,
            clock,
            actor,
            root_list,
            root_list_fault: Fault::default(),
            settings,
            look_up_fault: Fault::default(),
            shutdown,
            issuers,
            following: Following::default(),
            memory: Memory::new(settings.cached_answers),
            metrics,
        })
    }

    /// Tells of the certificates of these issuers from now on and of no others.
    ///
    /// # Errors
    /// An issuer's certificate can't be read. The others are told of.
    pub fn set_issuers(
        self: &Arc<Self>,
        issuers: &[Arc<dyn Issuer>],
    ) -> Result<(), ParseIssuerError> {
        self.issuers
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|known| {
                let stays = issuers.iter().any(|issuer| issuer.spki() == known.spki);
                if !stays {
                    known.gone.cancel();
                }
                stays
            });
        let added = issuers.iter().map(|it| self.add_issuer(Arc::clone(it)));
        let added: Vec<_> = added.collect();
        // Whoever waits for all lists waits for one less.
        self.following.nudge();
        added.into_iter().collect()
    }

    /// Tells of this issuer's certificates too from now on, and keeps its list, in a task of the present runtime. One
    /// that is known already stays as it is.
    ///
    /// # Errors
    /// The issuer's certificate can't be read.
    pub fn add_issuer(self: &Arc<Self>, issuer: Arc<dyn Issuer>) -> Result<(), ParseIssuerError> {
        let (issuer, reader) = {
            let mut issuers = self.issuers.write().unwrap_or_else(PoisonError::into_inner);
            if issuers.iter().any(|known| known.spki == issuer.spki()) {
                return Ok(());
            }
            let gone = self.shutdown.child_token();
            let (issuer, reader) = IssuerStatus::new(issuer, gone)?;
            let issuer = Arc::new(issuer);
            issuers.push(Arc::clone(&issuer));
            (issuer, reader)
        };
        let (store, reading) = (Arc::clone(&self.store), Arc::clone(&issuer));
        let limit = self.settings.look_up_limit;
        tokio::spawn(async move {
            let until_gone = &reading.gone;
            until_gone
                .run_until_cancelled(reader.read(&*store, &reading.spki, limit))
                .await;
        });
        if issuer.issuer.inventory().is_some() {
            let (status, issuer) = (Arc::clone(self), Arc::clone(&issuer));
            tokio::spawn(async move {
                if let Some(inventory) = issuer.issuer.inventory() {
                    let telling = status.tell_issuer(&issuer, inventory);
                    issuer.gone.run_until_cancelled(telling).await;
                }
            });
        }
        let status = Arc::clone(self);
        tokio::spawn(async move {
            issuer
                .gone
                .run_until_cancelled(status.keep_list(&issuer))
                .await;
        });
        Ok(())
    }

    /// Returns when the lists and OCSP answers that are served hold every revocation up to this position of the feed.
    /// It may take as long as the store or an issuer is out of reach; the caller sets the limit.
    pub async fn served_after(&self, position: &FeedPosition) {
        self.following
            .until(|followed| {
                followed.reaches(position)
                    && self
                        .issuers()
                        .iter()
                        .all(|issuer| issuer.serves(position.seq))
            })
            .await;
    }

    /// Whether there is something to tell: the registry was read, and each issuer's first list is served. What fails at
    /// that is not waited for: nobody is helped by a service that takes no requests because one list can't be signed.
    pub(crate) fn has_begun(&self) -> bool {
        self.following.has_begun() && self.issuers().iter().all(|issuer| issuer.has_begun())
    }

    /// What can't be told as it should be, a sentence each.
    pub(crate) fn degraded(&self) -> Vec<String> {
        let issuers = self.issuers();
        let failing = |what: fn(&IssuerStatus) -> &Fault| {
            let failing = issuers.iter().filter(move |issuer| what(issuer).lasts());
            failing.map(|issuer| issuer.label.as_str())
        };
        let lists = failing(|issuer| &issuer.listing).map(|label| {
            format!("the revocation list of the issuer {label} can't be renewed: see the log")
        });
        let answers = failing(|issuer| &issuer.signing).map(|label| {
            format!("OCSP answers of the issuer {label} can't be signed: see the log")
        });
        lists.chain(answers).collect()
    }

    fn issuers(&self) -> Vec<Arc<IssuerStatus>> {
        let issuers = self.issuers.read().unwrap_or_else(PoisonError::into_inner);
        issuers.clone()
    }

    fn issuer(&self, spki: &SpkiHash) -> Option<Arc<IssuerStatus>> {
        let issuers = self.issuers.read().unwrap_or_else(PoisonError::into_inner);
        issuers.iter().find(|issuer| issuer.spki == *spki).cloned()
    }
}

async fn within<T, E: From<StoreError>>(
    limit: Duration,
    asking: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let answered = tokio::time::timeout(limit, asking).await;
    answered.unwrap_or_else(|_elapsed| {
        Err(StoreError::Unavailable {
            what: format!("the registry did not answer within {limit:?}"),
            source: None,
        }
        .into())
    })
}
