use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use leafgate_identity::UnixMs;
use leafgate_registry::FeedPosition;
use tokio::sync::watch;

/// Without a confirmation for this long what is in memory counts as stale. The follower confirms once a second at least.
const FRESH: Duration = Duration::from_secs(3);

/// How far the feed was followed, for those who answer by it and those who wait for more.
#[derive(Debug, Default)]
pub(super) struct Following {
    followed: Mutex<Followed>,
    moved: watch::Sender<()>,
}

#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Followed {
    /// Everything up to here was applied.
    pub(super) position: Option<FeedPosition>,
    confirmed: Option<Confirmed>,
    failing: bool,
}

#[derive(Debug, Clone, Copy)]
struct Confirmed {
    at: UnixMs,
    monotonic: Duration,
}

/// What memory is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Knowledge {
    /// It is how things are, and the store can be asked for more.
    Fresh,
    /// It is how things were then. The store can't be asked.
    Stale {
        as_of: UnixMs,
        /// For how long it may still be told.
        good_for: Duration,
    },
    /// Nothing.
    None,
}

impl Following {
    pub(super) fn apply(&self, advance: impl FnOnce(&mut Option<FeedPosition>)) {
        advance(&mut self.lock().position);
        self.moved.send_replace(());
    }

    pub(super) fn confirm(&self, position: &FeedPosition, at: UnixMs, monotonic: Duration) {
        *self.lock() = Followed {
            position: Some(*position),
            confirmed: Some(Confirmed { at, monotonic }),
            failing: false,
        };
        self.moved.send_replace(());
    }

    /// Says whether this is the first failure after a success.
    pub(super) fn fail(&self) -> bool {
        !std::mem::replace(&mut self.lock().failing, true)
    }

    /// Lets everybody who waits look again.
    pub(super) fn nudge(&self) {
        self.moved.send_replace(());
    }

    pub(super) fn position(&self) -> Option<FeedPosition> {
        self.lock().position
    }

    /// Whether the feed was followed to its end once, or it turned out that it can't be.
    pub(super) fn has_begun(&self) -> bool {
        let followed = self.lock();
        followed.confirmed.is_some() || followed.failing
    }

    pub(super) fn knowledge(&self, now: Duration, serve_stale: Duration) -> Knowledge {
        let Followed {
            confirmed, failing, ..
        } = *self.lock();
        let Some(confirmed) = confirmed else {
            return Knowledge::None;
        };
        let age = now.saturating_sub(confirmed.monotonic);
        if !failing && age < FRESH {
            return Knowledge::Fresh;
        }
        match serve_stale.checked_sub(age) {
            Some(good_for) => Knowledge::Stale {
                as_of: confirmed.at,
                good_for,
            },
            None => Knowledge::None,
        }
    }

    /// Returns when this holds, which is asked whenever something moved.
    pub(super) async fn until(&self, mut holds: impl FnMut(&Followed) -> bool) {
        let mut moved = self.moved.subscribe();
        loop {
            let followed = *self.lock();
            if holds(&followed) {
                return;
            }
            if moved.changed().await.is_err() {
                // Its sender lives in this very value.
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Followed> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Followed {
    /// Whether everything up to `position` was applied.
    pub(super) fn reaches(&self, position: &FeedPosition) -> bool {
        self.position
            .is_some_and(|own| own.epoch == position.epoch && own.seq >= position.seq)
    }
}

#[cfg(test)]
mod tests {
    use leafgate_registry::{Epoch, EventHash};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn memory_is_fresh_then_stale_then_worthless() {
        let following = Following::default();
        let limit = 60 * SECOND;
        assert_eq!(following.knowledge(SECOND, limit), Knowledge::None);
        assert!(!following.has_begun());
        let position = FeedPosition {
            epoch: Epoch::generate(),
            seq: 1,
            hash: EventHash::ZERO,
        };
        let as_of = UnixMs::new(7_000);
        following.confirm(&position, as_of, 100 * SECOND);
        assert!(following.has_begun());
        let stale = |secs| Knowledge::Stale {
            as_of,
            good_for: secs * SECOND,
        };
        for (secs, expected) in [
            (100, Knowledge::Fresh),
            (102, Knowledge::Fresh),
            (103, stale(57)),
            (160, stale(0)),
            (161, Knowledge::None),
        ] {
            let known = following.knowledge(secs * SECOND, limit);
            assert_eq!(known, expected, "{secs}");
        }
        assert!(following.fail());
        assert!(!following.fail());
        assert_eq!(following.knowledge(100 * SECOND, limit), stale(60));
        following.confirm(&position, as_of, 101 * SECOND);
        assert_eq!(following.knowledge(101 * SECOND, limit), Knowledge::Fresh);
    }
}
