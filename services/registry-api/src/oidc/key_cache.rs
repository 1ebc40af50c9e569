use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use tokio::sync::Semaphore;

use super::error::OidcError;
use super::keys::KeySet;
use super::provider::Provider;
use super::token::{Claims, SignedToken};

/// The shortest time from one reading of the keys to the next, whatever tokens come.
pub(super) const REFRESH_PAUSE: Duration = Duration::from_secs(30);

/// How many may wait for the keys at a time, each with its request.
const MAX_WAITING: usize = 64;

/// When to come again while the keys are being read.
const SOON: Duration = Duration::from_secs(1);

/// The keys of a provider, kept.
///
/// They are read when somebody asks and those at hand are old or settle nothing, never more often than every
/// [`REFRESH_PAUSE`]. Nothing is kept of tokens that name a key that does not exist. The reading goes on when whoever
/// began it hangs up: else anybody could use up the one attempt, again and again.
pub(super) struct KeyCache {
    provider: Arc<Provider>,
    refresh_after: Duration,
    stale_after: Duration,
    held: Arc<ArcSwapOption<Held>>,
    attempt: Mutex<Option<Attempt>>,
    waiting: Semaphore,
}

/// Keys that were read.
struct Held {
    keys: KeySet,
    /// When reading them began, on the monotonic clock.
    read_at: Duration,
}

/// The last time that the keys were read, or should have been.
#[derive(Clone)]
struct Attempt {
    began_at: Duration,
    /// Whether the attempt before it failed.
    after_failure: bool,
    done: Shared<BoxFuture<'static, ()>>,
}

impl KeyCache {
    pub(super) fn new(provider: Provider, refresh_after: Duration, stale_after: Duration) -> Self {
        Self {
            provider: Arc::new(provider),
            refresh_after,
            stale_after,
            held: Arc::default(),
            attempt: Mutex::new(None),
            waiting: Semaphore::new(MAX_WAITING),
        }
    }

    /// The claims of a token that the provider has signed. `now` is of the monotonic clock.
    pub(super) async fn verify(
        &self,
        token: &SignedToken<'_>,
        now: Duration,
    ) -> Result<Claims, OidcError> {
        let held = self.usable(now);
        let settled = held.as_ref().is_some_and(|held| held.keys.settle(token));
        if let Some(held) = held.filter(|held| settled && now < held.read_at + self.refresh_after) {
            return held.keys.verify(token);
        }
        let attempt = self.attempt(now);
        // Nobody waits who can do without while the provider is known to be away.
        if !(settled && attempt.after_failure)
            && let Ok(_place) = self.waiting.try_acquire()
        {
            attempt.done.clone().await;
        }
        let unavailable = || OidcError::KeysUnavailable {
            retry_after: attempt.retry_after(now),
        };
        let held = self.usable(now).ok_or_else(unavailable)?;
        match held.keys.verify(token) {
            // Newer keys might have it.
            Err(OidcError::KeyUnknown) if held.read_at < attempt.began_at => Err(unavailable()),
            verdict => verdict,
        }
    }

    fn usable(&self, now: Duration) -> Option<Arc<Held>> {
        let held = self.held.load_full();
        held.filter(|held| now < held.read_at + self.stale_after)
    }

    /// The last attempt, which begins here if one is due.
    fn attempt(&self, now: Duration) -> Attempt {
        let mut last = self.attempt.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some(attempt) if now < attempt.began_at + REFRESH_PAUSE => attempt.clone(),
            before => {
                let read_at = self.held.load().as_ref().map(|held| held.read_at);
                let attempt = Attempt {
                    began_at: now,
                    after_failure: before
                        .as_ref()
                        .is_some_and(|before| read_at < Some(before.began_at)),
                    done: self.begin(now),
                };
                *last = Some(attempt.clone());
                attempt
            }
        }
    }

    fn begin(&self, now: Duration) -> Shared<BoxFuture<'static, ()>> {
        let (provider, held) = (Arc::clone(&self.provider), Arc::clone(&self.held));
        let reading = tokio::spawn(async move {
            match provider.read_keys().await {
                Ok(keys) => {
                    report(&provider, &keys);
                    held.store(Some(Arc::new(Held { keys, read_at: now })));
                }
                Err(error) => tracing::warn!(
                    issuer = provider.issuer(),
                    error = &error as &dyn Error,
                    "the keys of the OpenID provider can't be read"
                ),
            }
        });
        reading.map(|_| ()).boxed().shared()
    }
}

impl Attempt {
    fn retry_after(&self, now: Duration) -> Duration {
        match self.done.clone().now_or_never() {
            Some(()) => (self.began_at + REFRESH_PAUSE)
                .saturating_sub(now)
                .max(SOON),
            None => SOON,
        }
    }
}

fn report(provider: &Provider, keys: &KeySet) {
    let (issuer, count) = (provider.issuer(), keys.len());
    tracing::debug!(issuer, keys = count, ignored = ?keys.ignored, "read the keys of the OpenID provider");
    if count == 0 {
        tracing::warn!(
            issuer,
            ignored = ?keys.ignored,
            "the OpenID provider has no key that is accepted: nobody can log in with its tokens"
        );
    }
}
