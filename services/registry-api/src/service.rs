use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures::future::OptionFuture;
use leafgate_registrar::{KeptRequests, Registrar, RequestKeeper};
use leafgate_registry::{Act, DeviceStore};
use leafgate_runtime::{Clock, HealthListener, LogWriter, Shutdown};
use prometheus_client::registry::Registry;
use tokio::sync::Semaphore;

use crate::app::App;
use crate::authenticate::ApiKeys;
use crate::checkpoints::CheckpointKeeper;
use crate::feed::{ApiReadiness, Feed, Followers};
use crate::guesses::Guesses;
use crate::issuers::{Authority, follow_issuers};
use crate::listener::{ApiListener, ConnectionLimits, TlsFiles};
use crate::metrics::Metrics;
use crate::nats::Links;
use crate::random;
use crate::refusals::{Refusals, own_actor};
use crate::renewal::TrustedProxies;
use crate::router::{openapi_document, proxied_router, router};
use crate::sessions::Sessions;
use crate::setup::Setup;
use crate::status::{self, RevocationStatus, StatusParts};

/// How often gauges are brought up to date and what has ended is forgotten.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);
/// How often what issuers were asked for is looked after.
const KEEP_REQUESTS_EVERY: Duration = Duration::from_secs(60);
/// After how many of these expired documents are forgotten.
const FORGET_EVERY: usize = 60;

/// A registry API with its addresses bound and everything loaded.
pub struct RegistryService {
    app: Arc<App>,
    keeper: Option<CheckpointKeeper>,
    links: Option<Links>,
    tls: TlsFiles,
    api: ApiListener,
    proxied: Option<(ApiListener, TrustedProxies)>,
    status: ApiListener,
    health: HealthListener,
    metrics: Registry,
    log: LogWriter,
    /// Told to everything that serves the drain, once it is over.
    background: Shutdown,
}

/// Where a registry API is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// The API, over TLS.
    pub api: SocketAddr,
    /// What devices ask for through proxies, over TLS too.
    pub proxied: Option<SocketAddr>,
    /// Revocation lists and status, over plain HTTP.
    pub status: SocketAddr,
    /// Probes and metrics.
    pub health: SocketAddr,
}

impl RegistryService {
    /// Binds the addresses. `shutdown` ends the service.
    ///
    /// # Errors
    /// An address that can't be bound.
    pub async fn bind(
        setup: Setup,
        store: Arc<dyn DeviceStore>,
        authority: Authority,
        clock: Arc<dyn Clock>,
        log: LogWriter,
        shutdown: Shutdown,
    ) -> anyhow::Result<Self> {
        let Setup {
            config,
            domains,
            device_issuers,
            policies,
            tls,
            nats,
            oidc,
            checkpoints,
            clients,
        } = setup;
        let mut registry = Registry::default();
        let metrics = Arc::new(Metrics::register(&mut registry));
        let api = ApiListener::bind(config.http.listen).await?;
        let status_settings = config.status_settings();
        let proxied = match config.http.proxied {
            Some(proxied) => {
                let listener = ApiListener::bind(proxied.listen).await?;
                Some((listener, proxied.trusted_proxies.into()))
            }
            None => None,
        };
        let status = ApiListener::bind(config.status.listen).await?;
        let health = HealthListener::bind(config.health.listen).await?;
        let background = Shutdown::new();
        let revocations = RevocationStatus::new(
            StatusParts {
                store: Arc::clone(&store),
                clock: Arc::clone(&clock),
                actor: own_actor(),
                root_list: authority.root_crl.clone(),
                settings: status_settings,
                shutdown: background.clone(),
            },
            &mut registry,
        );
        let clients = clients.map(|clients| clients.apart_from(&authority));
        let clients = clients.transpose().context("[clients] ca_file")?;
        let (checkpoints, keeper) = match checkpoints {
            Some(checkpoints) => {
                let (checkpoints, keeper) =
                    checkpoints.open(&store).context("[audit] checkpoint_dir")?;
                (Some(Arc::new(checkpoints)), Some(keeper))
            }
            None => (None, None),
        };
        let domains = Arc::new(domains);
        let registrar = Registrar::new(
            Arc::clone(&store),
            authority.issuers.clone(),
            Arc::clone(&domains),
            random::number,
        )
        .with_overlap(config.certificates.overlap())
        .with_renew_grace(config.certificates.renew_grace())
        .with_limits(config.certificates.limits());
        let links = match nats {
            Some(logins) => Some(logins.connect().await?),
            None => None,
        };
        let system = links.as_ref().and_then(Links::system_account);
        let sessions = system.map(|system| Sessions::new(system, policies.as_ref()));
        let app = Arc::new(App {
            registrar,
            store,
            domains,
            policies,
            authority,
            device_issuers,
            issuer_watch: Arc::default(),
            activate_after: config.certificates.activate_after(),
            sessions,
            api_keys: ApiKeys::new(),
            oidc,
            clients: clients.map(Arc::new),
            links: links.as_ref().map(Links::states).unwrap_or_default(),
            guesses: Guesses::new(),
            token_guesses: Guesses::new(),
            refusals: Refusals::default(),
            feed: Arc::new(Feed::new(Arc::clone(&metrics))),
            revocations,
            clock,
            metrics,
            room: Semaphore::new(config.limits.requests),
            streams: Arc::new(Semaphore::new(config.limits.event_streams)),
            bulk: Arc::new(Semaphore::new(config.limits.bulk_requests)),
            verifications: Semaphore::new(1),
            limits: config.limits,
            checkpoints,
            openapi: openapi_document().into(),
            shutdown,
        });
        Ok(Self {
            app,
            keeper,
            links,
            tls,
            api,
            proxied,
            status,
            health,
            metrics: registry,
            log,
            background,
        })
    }

    /// The addresses in use.
    ///
    /// # Errors
    /// What the system says of a socket.
    pub fn addresses(&self) -> std::io::Result<Addresses> {
        Ok(Addresses {
            api: self.api.local_addr()?,
            proxied: match &self.proxied {
                Some((listener, _)) => Some(listener.local_addr()?),
                None => None,
            },
            status: self.status.local_addr()?,
            health: self.health.local_addr()?,
        })
    }

    /// Serves until the shutdown that it was bound with, then lets what has begun end.
    ///
    /// # Errors
    /// TLS can't be set up, or the health listener fails for good. Other trouble is logged and overcome.
    pub async fn serve(self) -> anyhow::Result<()> {
        let addresses = self.addresses().context("listeners")?;
        let acceptor = self.tls.acceptor().context("TLS")?;
        let Self {
            app,
            keeper,
            links,
            tls,
            api,
            proxied,
            status,
            health,
            metrics,
            log,
            background,
        } = self;
        let shutdown = app.shutdown.clone();
        tokio::spawn(tls.follow(background.clone()));
        if let Some(clients) = app.clients.clone() {
            tokio::spawn(clients.follow(background.clone()));
        }
        app.revocations
            .set_issuers(&app.authority.issuers.all())
            .context("the revocation status of an issuer")?;
        let followers = Followers {
            status: Arc::clone(&app.revocations),
            feed: Arc::clone(&app.feed),
        };
        tokio::spawn(leafgate_feed::follow(
            Arc::clone(&app.store),
            Arc::new(followers),
            background.clone(),
        ));
        if let Some(links) = links {
            links.start(&app, &background);
        }
        tokio::spawn(follow_issuers(Arc::clone(&app), background.clone()));
        tokio::spawn(keep_up(Arc::clone(&app), log, background.clone()));
        tokio::spawn(keep_requests(Arc::clone(&app), background.clone()));
        let readiness = Arc::new(ApiReadiness::new(Arc::clone(&app)));
        let health = tokio::spawn(health.serve(readiness, Arc::new(metrics), background.clone()));
        let signing = Shutdown::new();
        let keeping = keeper.map(|keeper| keeper.keep(Arc::clone(&app), signing.clone()));
        let keeping = keeping.map(tokio::spawn);
        let refusals = Shutdown::new();
        let recording = Arc::clone(&app);
        let until = refusals.clone();
        let recording = tokio::spawn(async move { recording.record_refusals(until).await });
        tracing::info!(
            api = %addresses.api,
            proxied = addresses.proxied.map(tracing::field::display),
            status = %addresses.status,
            health = %addresses.health,
            "registry API started"
        );
        let limits = ConnectionLimits {
            connections: app.limits.connections,
            header_timeout: app.limits.header_timeout(),
            drain: app.limits.drain(),
        };
        let open = app.metrics.connections.clone();
        let proxied = proxied.map(|(listener, trusted)| {
            let (router, limits) = (proxied_router(&app, trusted), limits.clone());
            listener.serve(
                Some(acceptor.clone()),
                router,
                limits,
                open.clone(),
                shutdown.clone(),
            )
        });
        // Whoever waits for a revocation to be served needs it served, and its relying parties need it longest.
        let status = {
            let (router, limits) = (status::router(Arc::clone(&app.revocations)), limits.clone());
            status.serve(None, router, limits, open.clone(), background.clone())
        };
        let status = tokio::spawn(status);
        tokio::join!(
            api.serve(Some(acceptor), router(&app), limits, open, shutdown),
            OptionFuture::from(proxied),
        );
        refusals.cancel();
        recording.await.context("recording refusals")?;
        signing.cancel();
        if let Some(keeping) = keeping {
            keeping.await.context("signing the audit trail")?;
        }
        background.cancel();
        status.await.context("status listener")?;
        health.await.context("health listener")??;
        tracing::info!("registry API ended");
        Ok(())
    }
}

/// Looks after what issuers were asked for and didn't give.
async fn keep_requests(app: Arc<App>, shutdown: Shutdown) {
    let mut keeper = RequestKeeper::new(app.registrar.clone());
    let mut ticks = tokio::time::interval(KEEP_REQUESTS_EVERY);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        let act = Act {
            actor: own_actor(),
            at: app.clock.now(),
        };
        match shutdown.run_until_cancelled(keeper.keep(&act)).await {
            None => return,
            Some(Ok(kept)) if kept == KeptRequests::default() => {}
            Some(Ok(KeptRequests {
                not_signed, found, ..
            })) => tracing::warn!(
                not_signed,
                found,
                "looked after certificates that were asked for and never recorded"
            ),
            Some(Err(error)) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "certificates that were asked for and never recorded could not be looked after: trying again"
            ),
        }
    }
}

async fn keep_up(app: Arc<App>, log: LogWriter, shutdown: Shutdown) {
    let mut ticks = tokio::time::interval(UPKEEP_EVERY);
    for number in 0_usize.. {
        if shutdown.run_until_cancelled(ticks.tick()).await.is_none() {
            return;
        }
        let dropped = i64::try_from(log.dropped()).unwrap_or(i64::MAX);
        app.metrics.log_lines_dropped.set(dropped);
        app.links.count(&app.metrics);
        if number.is_multiple_of(FORGET_EVERY) {
            forget_expired(&app).await;
        }
    }
}

/// Removes requests and keys whose time is over.
async fn forget_expired(app: &App) {
    match app
        .registrar
        .forget_expired_documents(app.clock.now())
        .await
    {
        Ok(0) => {}
        Ok(forgotten) => tracing::debug!(forgotten, "forgot expired documents"),
        Err(error) => tracing::warn!(
            error = &error as &dyn std::error::Error,
            "expired documents could not be forgotten"
        ),
    }
}
