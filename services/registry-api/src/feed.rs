use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use leafgate_feed::FeedSink;
use leafgate_registry::{Event, FeedPosition, StoreError};
use leafgate_runtime::{Readiness, ReadinessReport, Shutdown};
use tokio::sync::watch;

use crate::app::App;
use crate::metrics::Metrics;
use crate::status::RevocationStatus;

/// How far the registry's feed has come, for those who wait for more.
#[derive(Debug)]
pub(crate) struct Feed {
    newest: watch::Sender<Option<FeedPosition>>,
    fails: AtomicBool,
    metrics: Arc<Metrics>,
}

impl Feed {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            newest: watch::Sender::new(None),
            fails: AtomicBool::new(false),
            metrics,
        }
    }

    /// Tells of every change of the newest position.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<FeedPosition>> {
        self.newest.subscribe()
    }

    fn is_at(&self, position: &FeedPosition) {
        self.fails.store(false, Ordering::Relaxed);
        let seq = i64::try_from(position.seq).unwrap_or(i64::MAX);
        self.metrics.feed_sequence.set(seq);
        let position = Some(*position);
        self.newest
            .send_if_modified(|newest| std::mem::replace(newest, position) != position);
    }
}

impl FeedSink for Feed {
    fn apply(&self, _event: &Event) {}

    fn reset(&self, position: &FeedPosition) {
        self.is_at(position);
    }

    fn confirm(&self, position: &FeedPosition) {
        self.is_at(position);
    }

    fn fail(&self, error: &StoreError) {
        self.metrics.store_failures.inc();
        if !self.fails.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "the registry can't be followed"
            );
        }
    }
}

/// Tells everybody of the feed who follows it: first what is served of revocations, then those who wait for events.
pub(crate) struct Followers {
    pub(crate) status: Arc<RevocationStatus>,
    pub(crate) feed: Arc<Feed>,
}

impl FeedSink for Followers {
    fn apply(&self, event: &Event) {
        self.status.apply(event);
        self.feed.apply(event);
    }

    fn reset(&self, position: &FeedPosition) {
        self.status.reset(position);
        self.feed.reset(position);
    }

    fn confirm(&self, position: &FeedPosition) {
        self.status.confirm(position);
        self.feed.confirm(position);
    }

    fn fail(&self, error: &StoreError) {
        self.status.fail(error);
        self.feed.fail(error);
    }
}

/// What `/readyz` says: ready once revocation lists are served and until the service is to end, degraded while the
/// registry can't be read. Then requests are answered with 503 and `Retry-After`, which tells a client more than a
/// service that is gone.
pub(crate) struct ApiReadiness {
    app: Arc<App>,
    shutdown: Shutdown,
    /// Whether it was ready before. An issuer that is added later has no list for a moment.
    has_begun: AtomicBool,
}

impl ApiReadiness {
    pub(crate) fn new(app: Arc<App>) -> Self {
        Self {
            shutdown: app.shutdown.clone(),
            app,
            has_begun: AtomicBool::new(false),
        }
    }

    fn has_begun(&self) -> bool {
        let begins = !self.has_begun.load(Ordering::Relaxed) && self.app.revocations.has_begun();
        self.has_begun.fetch_or(begins, Ordering::Relaxed) || begins
    }
}

impl Readiness for ApiReadiness {
    fn report(&self) -> ReadinessReport {
        let has_begun = self.has_begun();
        let mut degraded = Vec::new();
        if !has_begun {
            degraded.push("the first revocation lists are being made".to_owned());
        }
        if self.app.feed.fails.load(Ordering::Relaxed) {
            degraded.push("the registry can't be read: requests are answered with 503".to_owned());
        }
        if self.app.issuer_watch.lacks_key() {
            degraded.push(
                "the key of an issuer that is to sign is not here: nothing is signed".to_owned(),
            );
        }
        degraded.extend(self.app.revocations.degraded());
        if self.app.checkpoints.as_ref().is_some_and(|it| it.fail()) {
            degraded.push("no checkpoint of the audit trail can be made: see the log".to_owned());
        }
        let clients = self.app.clients.as_ref();
        if let Some(end) = clients.and_then(|it| it.lists_ended(self.app.clock.now())) {
            degraded.push(format!(
                "a revocation list in [clients] crl_file ended at {end}: renew it, or no client certificate of its CA counts"
            ));
        }
        for (connection, without) in self.app.links.lost() {
            degraded.push(format!(
                "the connection to the leaf cluster for {connection} is lost: {without}"
            ));
        }
        ReadinessReport {
            ready: has_begun && !self.shutdown.is_cancelled(),
            degraded,
        }
    }
}
