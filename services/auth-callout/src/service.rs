use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use async_nats::connection::State;
use futures::StreamExt;
use leafgate_feed::follow;
use leafgate_registry::DeviceStore;
use leafgate_runtime::{
    Clock, HealthListener, LogOutput, LogWriter, Readiness, ReadinessReport, Shutdown,
};
use leafgate_sessions::{SessionEventKind, SystemAccount};
use prometheus_client::registry::Registry;
use tokio::sync::{oneshot, watch};

use crate::config::LimitsConfig;
use crate::connect::Login;
use crate::decider::Decider;
use crate::grants::Place;
use crate::metrics::Metrics;
use crate::peers::Peers;
use crate::records::Records;
use crate::revocation::{Enforcer, Revocation};
use crate::servers::Servers;
use crate::setup::Setup;
use crate::sweep::Sweeper;
use crate::worker::{Shared, Worker};

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
/// What keeps it from starting: keys, addresses, files. Later trouble is logged and overcome.
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

    let limits = setup.config.limits.clone();
    let trust = Arc::new(setup.trust);
    let accounts = accounts_of(&trust);
    let system = match &setup.system_login {
        Some(login) => Some(SystemAccount::new(
            login.connect("system", WAITING_EVENTS).await?,
            SYSTEM_TIMEOUT,
        )),
        None => None,
    };
    let decider = Decider::new(
        Servers::new(system.clone(), setup.curve_key, clock.clone()),
        Records::new(store.clone(), limits.cached_devices, limits.serve_stale()),
        clock.clone(),
        trust.clone(),
        setup.issuer,
        setup.config.site.clone(),
        limits.deadline(),
    );
    let shared = Arc::new(Shared {
        decider,
        metrics,
        waiting_requests: limits.waiting_requests,
        concurrent_lookups: limits.concurrent_lookups,
    });

    // Ends what serves the drain only after the drain.
    let background = Shutdown::new();
    let (revocation, jobs) = Revocation::new(shared.clone());
    let revocation = Arc::new(revocation);
    let peers = Peers::new(
        setup.login.connect("replicas", WAITING_EVENTS).await?,
        setup.login.replica.clone(),
        clock.clone(),
    );
    let enforcer = Arc::new(Enforcer::new(
        shared.clone(),
        system.clone(),
        peers.clone(),
        accounts.clone(),
    ));
    tokio::spawn(follow(
        store.clone(),
        revocation.clone(),
        background.clone(),
    ));
    tokio::spawn(enforcer.clone().run(jobs, background.clone()));
    let heard = move |id, epoch: &str, seq| revocation.hear(id, epoch, seq);
    tokio::spawn(peers.run(heard, background.clone()));
    tokio::spawn({
        let (shared, background) = (shared.clone(), background.clone());
        async move { shared.decider.servers.recheck(background).await }
    });
    if let Some(system) = system {
        tokio::spawn(watch_departures(
            shared.clone(),
            system,
            accounts,
            background.clone(),
        ));
    }
    let sweeper = Sweeper {
        enforcer,
        trust,
        store,
    };
    tokio::spawn(sweeper.run(background.clone()));

    let (serving, may_serve) = watch::channel(false);
    tokio::spawn(keep_time(
        shared.clone(),
        limits,
        log.writer(),
        serving,
        background.clone(),
    ));
    let workers = Workers::start(
        &shared,
        &setup.login,
        setup.config.nats.workers,
        log,
        &may_serve,
        &shutdown,
    )
    .await?;
    let readiness = Arc::new(ServiceReadiness {
        shared,
        subscriptions: workers.subscriptions.clone(),
    });
    let health = tokio::spawn(listener.serve(readiness, Arc::new(registry), background.clone()));
    tracing::info!(
        replica = setup.config.replica,
        site = setup.config.site,
        workers = workers.threads.len(),
        health = %health_address,
        "callout started"
    );
    workers.join().await;
    background.cancel();
    health.await.context("health listener")??;
    tracing::info!("callout ended");
    Ok(())
}

fn accounts_of(trust: &crate::setup::Trust) -> Vec<String> {
    let policies = trust.policies.values().flat_map(|set| set.policies());
    let accounts: BTreeSet<String> = policies.map(|policy| policy.account).collect();
    accounts.into_iter().collect()
}

/// Forgets sessions as they end.
async fn watch_departures(
    shared: Arc<Shared>,
    system: SystemAccount,
    accounts: Vec<String>,
    shutdown: Shutdown,
) {
    let events = system
        .session_events(accounts.iter().map(String::as_str))
        .await;
    let mut events = match events {
        Ok(events) => std::pin::pin!(events.into_stream()),
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "sessions can't be followed"
            );
            return;
        }
    };
    loop {
        let event = tokio::select! {
            () = shutdown.cancelled() => return,
            event = events.next() => match event {
                Some(event) => event,
                None => return,
            },
        };
        if let SessionEventKind::Disconnected(reason) = &event.kind
            && let Ok(id) = leafgate_identity::DeviceId::parse(&event.user)
            && let Ok(server_id) = leafgate_nats_jwt::ServerKey::parse(&event.server_id)
        {
            tracing::debug!(
                device = id.as_str(),
                cid = event.client_id,
                reason,
                "device left"
            );
            let place = Place {
                server_id,
                client_id: event.client_id,
            };
            shared.decider.grants.forget(&id, &place);
        }
    }
}

/// Brings gauges up to date, and takes this replica out of the queue group while it could answer
/// nobody: before the registry was first read, and after the stale limit.
async fn keep_time(
    shared: Arc<Shared>,
    limits: LimitsConfig,
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
        let unconfirmed = decider.records.unconfirmed_for(decider.clock.monotonic());
        let may_serve = unconfirmed.is_some_and(|time| time < limits.serve_stale());
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

/// The threads that answer requests.
struct Workers {
    threads: Vec<thread::JoinHandle<()>>,
    subscriptions: Vec<Subscription>,
}

/// Whether a worker takes requests.
#[derive(Clone)]
struct Subscription {
    client: async_nats::Client,
    subscribed: watch::Receiver<bool>,
}

impl Subscription {
    fn is_live(&self) -> bool {
        *self.subscribed.borrow() && self.client.connection_state() == State::Connected
    }
}

impl Workers {
    async fn start(
        shared: &Arc<Shared>,
        login: &Login,
        count: usize,
        log: &LogOutput,
        may_serve: &watch::Receiver<bool>,
        shutdown: &Shutdown,
    ) -> anyhow::Result<Self> {
        let count = match count {
            0 => thread::available_parallelism().map_or(1, |cores| usize::from(cores).div_ceil(2)),
            count => count,
        };
        let mut workers = Self {
            threads: Vec::new(),
            subscriptions: Vec::new(),
        };
        for number in 0..count {
            let (shared, login, log) = (shared.clone(), login.clone(), log.writer());
            let (may_serve, shutdown) = (may_serve.clone(), shutdown.clone());
            let (subscribed, is_subscribed) = watch::channel(false);
            let (connected, connection) = oneshot::channel();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .context("worker runtime")?;
            let thread = thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || {
                    runtime.block_on(async move {
                        match Worker::connect(shared, &login, number, log).await {
                            Ok(worker) => {
                                let _ = connected.send(Ok(worker.client()));
                                worker.run(may_serve, subscribed, shutdown).await;
                            }
                            Err(error) => {
                                let _ = connected.send(Err(error));
                            }
                        }
                    });
                })
                .context("worker thread")?;
            let client = connection.await.context("a worker died at start")??;
            workers.threads.push(thread);
            workers.subscriptions.push(Subscription {
                client,
                subscribed: is_subscribed,
            });
        }
        Ok(workers)
    }

    /// Waits until every worker has drained.
    async fn join(self) {
        for thread in self.threads {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!("a worker ended by panic");
            }
        }
    }
}

struct ServiceReadiness {
    shared: Arc<Shared>,
    subscriptions: Vec<Subscription>,
}

impl Readiness for ServiceReadiness {
    fn report(&self) -> ReadinessReport {
        let records = &self.shared.decider.records;
        let mut degraded = Vec::new();
        if !records.is_fresh(self.shared.decider.clock.monotonic()) {
            degraded.push("the registry can't be followed: known devices only".to_owned());
        }
        let workers = self.subscriptions.len();
        let idle = self
            .subscriptions
            .iter()
            .filter(|worker| !worker.is_live())
            .count();
        if idle > 0 {
            degraded.push(format!("{idle} of {workers} workers take no requests"));
        }
        ReadinessReport {
            ready: idle < workers,
            degraded,
        }
    }
}
