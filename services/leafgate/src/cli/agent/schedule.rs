use std::time::Duration;

use leafgate_identity::UnixMs;
use leafgate_registrar::renew_after;

use super::Pair;

const FIRST_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);

/// When a certificate is to be renewed: when the registry said, if it is known, else about two thirds into its life, at
/// the moment that the registry would choose for it.
pub(crate) fn due(pair: &Pair, said: Option<UnixMs>) -> UnixMs {
    said.unwrap_or_else(|| renew_after(pair.validity, &pair.fingerprint))
}

/// How long to wait after failures in a row.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The time until the next try: twice as long after each failure, up to a quarter of an hour, of which `random`
    /// takes up to a half; not before a server wants to be asked again.
    pub(crate) fn next(&mut self, told: Option<Duration>, random: u32) -> Duration {
        let doubled = FIRST_WAIT.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        let longest = doubled.min(LONGEST_WAIT);
        let share = f64::from(random) / f64::from(u32::MAX);
        let wait = longest - longest.mul_f64(share / 2.0);
        // Those who were told the same moment must not come in the same moment.
        told.map_or(wait, |told| wait.max(told + FIRST_WAIT.mul_f64(share)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_spread() {
        let mut backoff = Backoff::default();
        let waits: Vec<u64> = (0..10).map(|_| backoff.next(None, 0).as_secs()).collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 640, 900, 900]);
        assert_eq!(backoff.next(None, u32::MAX).as_secs(), 450);
        backoff.reset();
        assert_eq!(backoff.next(None, 0).as_secs(), 5);
    }

    #[test]
    fn a_server_that_wants_to_be_left_alone_is() {
        let mut backoff = Backoff::default();
        let told = Some(Duration::from_secs(3600));
        assert_eq!(backoff.next(told, 0).as_secs(), 3600);
        assert_eq!(backoff.next(told, u32::MAX).as_secs(), 3605);
        assert_eq!(backoff.next(Some(Duration::ZERO), 0).as_secs(), 20);
    }

    #[test]
    fn no_number_of_failures_is_too_large() {
        let mut backoff = Backoff { failures: u32::MAX };
        assert_eq!(backoff.next(None, 0), LONGEST_WAIT);
    }
}
