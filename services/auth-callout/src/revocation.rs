use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use leafgate_feed::FeedSink;
use leafgate_identity::DeviceId;
use leafgate_registry::{Event, EventKind, FeedPosition, StoreError};
use leafgate_runtime::Shutdown;
use leafgate_sessions::{ConnectionFilter, KickOutcome, SystemAccount};
use tokio::sync::{Semaphore, mpsc};

use crate::grants::{Place, Session};
use crate::live::admits_live;
use crate::peers::Peers;
use crate::random;
use crate::records::Found;
use crate::worker::Shared;

/// Jobs whose sessions are being ended at once, and as many searches. A search takes a hundred
/// times as long as a kick and must not hold one up.
const CONCURRENCY: usize = 64;

/// How often a kick that was not answered is tried.
const KICK_ATTEMPTS: u32 = 4;

/// The search for sessions that another replica granted waits for this long and up to as long
/// again, so that replicas don't all search at once.
const SEARCH_DELAY: Duration = Duration::from_millis(50);

/// Applies the change feed to this replica: forgets first, then ends sessions.
pub(crate) struct Revocation {
    shared: Arc<Shared>,
    jobs: mpsc::UnboundedSender<Job>,
    applied: Mutex<Option<FeedPosition>>,
}

/// What is to be done about a device's sessions.
#[derive(Debug)]
pub(crate) enum Job {
    /// It may have none: end those taken, then any that other replicas granted.
    End {
        id: DeviceId,
        sessions: Vec<Session>,
        origin: Origin,
    },
    /// What it may do has changed, perhaps: end those that would now be decided otherwise.
    Reconsider { id: DeviceId, origin: Origin },
}

/// Where the news of a change came from.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// The change feed, at this position: the other replicas are told.
    Feed(FeedPosition),
    /// Another replica, or a feed that was replaced.
    Hint,
}

/// How a session that must end was found.
#[derive(Debug, Clone, Copy)]
pub(crate) enum FoundBy {
    /// This replica granted it.
    Grant,
    /// A search for the sessions of its device.
    Search,
    /// The comparison of all live connections with the registry.
    Sweep,
}

impl FoundBy {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Grant => "grant",
            Self::Search => "search",
            Self::Sweep => "sweep",
        }
    }
}

/// What an event does to the sessions of its device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    None,
    Ends,
    Alters,
}

pub(crate) fn effect_of(kind: &EventKind) -> Effect {
    match kind {
        EventKind::DeviceDisabled | EventKind::DeviceRevoked | EventKind::DeviceDeleted => {
            Effect::Ends
        }
        EventKind::DeviceRegistered
        | EventKind::DeviceApproved
        | EventKind::CertificateRequested
        | EventKind::CertificateAbandoned
        | EventKind::CertificatePrepared
        | EventKind::CertificateIssued
        | EventKind::CrlNumbered
        | EventKind::EpochStarted => Effect::None,
        // Including kinds that this version does not know.
        _ => Effect::Alters,
    }
}

impl Revocation {
    pub(crate) fn new(shared: Arc<Shared>) -> (Self, mpsc::UnboundedReceiver<Job>) {
        let (jobs, queue) = mpsc::unbounded_channel();
        let revocation = Self {
            shared,
            jobs,
            applied: Mutex::new(None),
        };
        (revocation, queue)
    }

    /// Another replica has applied a change to this device. Unless it has been applied here too,
    /// forgets what is remembered of the device and has its sessions decided again.
    pub(crate) fn hear(&self, id: DeviceId, epoch: &str, seq: u64) {
        let known = self
            .applied()
            .as_ref()
            .is_some_and(|applied| applied.epoch.to_string() == epoch && applied.seq >= seq);
        if !known {
            self.shared.decider.records.evict(&id);
            let origin = Origin::Hint;
            self.enqueue(Job::Reconsider { id, origin });
        }
    }

    fn applied(&self) -> MutexGuard<'_, Option<FeedPosition>> {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves on to the event; the position it is at.
    fn advance(&self, event: &Event) -> Option<FeedPosition> {
        let mut applied = self.applied();
        let position = applied.as_mut()?;
        position.seq = event.seq;
        position.hash = event.hash;
        Some(*position)
    }

    fn enqueue(&self, job: Job) {
        // The queue ends only with the service.
        let _ = self.jobs.send(job);
    }
}

impl FeedSink for Revocation {
    fn apply(&self, event: &Event) {
        let origin = self.advance(event).map_or(Origin::Hint, Origin::Feed);
        let Some(id) = &event.device else { return };
        let decider = &self.shared.decider;
        decider.records.evict(id);
        self.shared.metrics.evictions.inc();
        match effect_of(&event.kind) {
            Effect::None => {}
            Effect::Ends => self.enqueue(Job::End {
                id: id.clone(),
                sessions: decider.grants.take(id),
                origin,
            }),
            Effect::Alters => self.enqueue(Job::Reconsider {
                id: id.clone(),
                origin,
            }),
        }
    }

    fn reset(&self, position: &FeedPosition) {
        *self.applied() = Some(*position);
        let decider = &self.shared.decider;
        decider.records.evict_all();
        for id in decider.grants.devices() {
            let origin = Origin::Hint;
            self.enqueue(Job::Reconsider { id, origin });
        }
    }

    fn confirm(&self, position: &FeedPosition) {
        let decider = &self.shared.decider;
        decider.records.confirm(decider.clock.monotonic());
        let sequence = i64::try_from(position.seq).unwrap_or(i64::MAX);
        self.shared.metrics.feed_sequence.set(sequence);
    }

    fn fail(&self, error: &StoreError) {
        self.shared.decider.records.fail(error);
        self.shared.metrics.registry_failures.inc();
        tracing::warn!(
            error = error as &dyn std::error::Error,
            "the registry can't be followed"
        );
    }
}

/// Does the jobs: kicks what this replica granted, tells the other replicas, and looks for
/// sessions that nobody else may remember.
pub(crate) struct Enforcer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) system: Option<SystemAccount>,
    pub(crate) peers: Peers,
    pub(crate) accounts: Vec<String>,
    kicking: Semaphore,
    searching: Semaphore,
}

impl Enforcer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        system: Option<SystemAccount>,
        peers: Peers,
        accounts: Vec<String>,
    ) -> Self {
        Self {
            shared,
            system,
            peers,
            accounts,
            kicking: Semaphore::new(CONCURRENCY),
            searching: Semaphore::new(CONCURRENCY),
        }
    }

    pub(crate) async fn run(
        self: Arc<Self>,
        mut queue: mpsc::UnboundedReceiver<Job>,
        shutdown: Shutdown,
    ) {
        loop {
            let job = tokio::select! {
                () = shutdown.cancelled() => return,
                job = queue.recv() => match job {
                    Some(job) => job,
                    None => return,
                },
            };
            let enforcer = self.clone();
            tokio::spawn(async move { enforcer.enforce(job).await });
        }
    }

    async fn enforce(&self, job: Job) {
        let kicking = self.kicking.acquire().await;
        let (id, ending, origin) = match job {
            Job::End {
                id,
                sessions,
                origin,
            } => (id, sessions, origin),
            Job::Reconsider { id, origin } => {
                let altered = self.altered(&id).await;
                (id, altered, origin)
            }
        };
        let kicks = ending
            .iter()
            .map(|session| self.kick(&id, &session.place, FoundBy::Grant));
        futures::future::join_all(kicks).await;
        drop(kicking);
        let Origin::Feed(position) = origin else {
            return;
        };
        self.peers.announce_eviction(&id, &position).await;
        tokio::time::sleep(SEARCH_DELAY.mul_f64(1.0 + random::fraction())).await;
        let _searching = self.searching.acquire().await;
        self.end_unremembered(&id).await;
    }

    /// The remembered sessions that would now be decided otherwise; forgotten. Where the registry
    /// can't tell, all of them: they come back if they may.
    async fn altered(&self, id: &DeviceId) -> Vec<Session> {
        let decider = &self.shared.decider;
        if decider.grants.of(id).is_empty() {
            return Vec::new();
        }
        match decider.records.look_up(id, decider.clock.monotonic()).await {
            Ok(found) => self.altered_by(id, &found),
            Err(_) => decider.grants.take(id),
        }
    }

    /// The remembered sessions that this record decides otherwise; forgotten.
    pub(crate) fn altered_by(&self, id: &DeviceId, found: &Found) -> Vec<Session> {
        let decider = &self.shared.decider;
        let mut altered = decider.grants.of(id);
        altered.retain(|session| {
            // One that is being decided right now sees the eviction itself.
            session.granted.is_some_and(|granted| {
                decider.readmit(session, found).ok() != Some(granted.permission_hash)
            })
        });
        for session in &altered {
            decider.grants.forget(id, &session.place);
        }
        altered
    }

    /// Ends live sessions of the device that its record does not admit, whoever granted them.
    async fn end_unremembered(&self, id: &DeviceId) {
        let Some(system) = &self.system else { return };
        let decider = &self.shared.decider;
        let now = decider.clock.monotonic();
        let Ok(found) = decider.records.look_up(id, now).await else {
            return;
        };
        for account in &self.accounts {
            let filter = ConnectionFilter {
                account,
                user: Some(id.as_str()),
            };
            let connections = match system.connections(filter).await {
                Ok(connections) => connections,
                Err(error) => {
                    tracing::warn!(
                        device = id.as_str(),
                        error = &error as &dyn std::error::Error,
                        "live sessions could not be searched for; the next sweep does"
                    );
                    continue;
                }
            };
            for connection in connections {
                if !admits_live(&found, &connection, decider.clock.now())
                    && let Ok(place) = Place::of(&connection)
                {
                    self.kick(id, &place, FoundBy::Search).await;
                }
            }
        }
    }

    /// Ends one connection.
    pub(crate) async fn kick(&self, id: &DeviceId, place: &Place, found_by: FoundBy) {
        let Some(system) = &self.system else { return };
        for attempt in 1..=KICK_ATTEMPTS {
            match system.kick(place.server_id.as_str(), place.client_id).await {
                Ok(KickOutcome::Kicked) => {
                    self.shared.metrics.kicked(found_by);
                    tracing::info!(
                        device = id.as_str(),
                        server_id = place.server_id.as_str(),
                        cid = place.client_id,
                        found_by = found_by.as_str(),
                        "session ended"
                    );
                    return;
                }
                Ok(KickOutcome::Gone) => return,
                Err(error) => tracing::warn!(
                    device = id.as_str(),
                    attempt,
                    error = &error as &dyn std::error::Error,
                    "a session could not be ended"
                ),
            }
        }
    }
}
