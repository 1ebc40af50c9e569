use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use async_nats::Client;
use leafgate_registry::DeviceStore;
use leafgate_runtime::{Clock, HealthListener, LogOutput, LogWriter, Shutdown};
use leafgate_sessions::{ConnectError, Login, SystemAccount};
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use crate::decider::Decider;
use crate::log_ins::{LogIns, send_log_ins};
use crate::metrics::Metrics;
use crate::readiness::ReplicaReadiness;
use crate::records::Records;
use crate::servers::Servers;
use crate::setup::Setup;
use crate::upkeep::Upkeep;
use crate::worker::Shared;
use crate::workers::Workers;

/// How long one question to the system account may take.
const SYSTEM_TIMEOUT: Duration = Duration::from_secs(1);

/// How often it is looked at whether this replica may serve…
const TICK: Duration = Duration::from_millis(100);
/// …and after how many of these gauges are brought up to date.
const TICKS_PER_GAUGE: usize = 20;

/// Messages from the system account that may wait.
const WAITING_EVENTS: usize = 65_536;

/// Runs a callout replica until `shutdown`, then drains it.
///
/// # Errors
/// What keeps it from starting: keys, addresses, files; or a worker that panicked. Other trouble is
/// logged and overcome.
pub async fn run(
    setup: Setup,
    store: Arc<dyn DeviceStore>,
    clock: Arc<dyn Clock>,
    log: &LogOutput,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    for warning in setup.warnings() {
        tracing::warn!("{warning}");
    }
    let mut registry = Registry::default();
    let metrics = Arc::new(Metrics::register(&mut registry));
    let listener = HealthListener::bind(setup.config.http.listen).await?;
    let health_address = listener.local_addr().context("health listener")?;

    let Setup {
        config,
        login,
        system_login,
        issuer,
        curve_key,
        trust,
    } = setup;
    let trust = Arc::new(trust);
    let links = Links::connect(&login, system_login.as_ref()).await?;
    let limits = &config.limits;
    let (log_ins, log_ins_waiting) = LogIns::new();
    let shared = Arc::new(Shared {
        decider: Decider::new(
            Servers::new(links.system_account(), curve_key, clock.clone()),
            Records::new(store.clone(), limits.cached_devices, limits.serve_stale()),
            clock,
            trust.clone(),
            issuer,
            config.site.clone(),
            limits.deadline(),
        ),
        metrics,
        log_ins,
        waiting_requests: limits.waiting_requests,
        concurrent_lookups: limits.concurrent_lookups,
    });

    // Ends what serves the drain only after the drain.
    let background = Shutdown::new();
    let (serving, may_serve) = watch::channel(false);
    tokio::spawn(keep_time(
        shared.clone(),
        log.writer(),
        serving,
        background.clone(),
    ));
    tokio::spawn(send_log_ins(
        log_ins_waiting,
        links.replicas.clone(),
        background.clone(),
    ));
    let upkeep = Upkeep {
        shared: shared.clone(),
        trust,
        store,
        system: links.system_account(),
        replicas: links.replicas.clone(),
        replica: login.replica.clone(),
        sweep_every: limits.sweep_every(),
    };
    upkeep.start(&background);

    let count = config.nats.workers;
    let workers = Workers::start(&shared, &login, count, log, &may_serve, &shutdown).await?;
    let readiness = Arc::new(ReplicaReadiness {
        shared,
        system: links.system,
        replicas: links.replicas,
        subscriptions: workers.subscriptions.clone(),
    });
    let health = tokio::spawn(listener.serve(readiness, Arc::new(registry), background.clone()));
    tracing::info!(
        replica = config.replica,
        site = config.site,
        workers = workers.subscriptions.len(),
        health = %health_address,
        "callout started"
    );
    let drained = workers.join().await;
    background.cancel();
    health.await.context("health listener")??;
    tracing::info!("callout ended");
    drained
}

/// The connections besides those of the workers.
struct Links {
    system: Option<Client>,
    /// In the callout's account, to the other replicas.
    replicas: Client,
}

impl Links {
    async fn connect(login: &Login, system_login: Option<&Login>) -> Result<Self, ConnectError> {
        let system = match system_login {
            Some(login) => Some(login.connect("system", WAITING_EVENTS).await?),
            None => None,
        };
        let replicas = login.connect("replicas", WAITING_EVENTS).await?;
        Ok(Self { system, replicas })
    }

    fn system_account(&self) -> Option<SystemAccount> {
        let client = self.system.clone()?;
        Some(SystemAccount::new(client, SYSTEM_TIMEOUT))
    }
}

/// Brings gauges up to date, and takes this replica out of the queue group while it could answer
/// nobody: before the registry was first read, and after the stale limit.
async fn keep_time(
    shared: Arc<Shared>,
    log: LogWriter,
    serving: watch::Sender<bool>,
    shutdown: Shutdown,
) {
    let mut ticks = tokio::time::interval(TICK);
    for number in 0_usize.. {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let Shared {
            decider, metrics, ..
        } = &*shared;
        let may_serve = decider.records.may_serve(decider.clock.monotonic());
        serving.send_if_modified(|serving| std::mem::replace(serving, may_serve) != may_serve);
        if number.is_multiple_of(TICKS_PER_GAUGE) {
            metrics.sessions.set(gauge(decider.grants.len()));
            metrics.cached_devices.set(gauge(decider.records.len()));
            metrics.log_lines_dropped.set(gauge(log.dropped()));
        }
    }
}

fn gauge(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
