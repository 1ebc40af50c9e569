use std::fmt;
use std::time::Duration;

use crate::error::RegistrarError;

/// How often an act is tried while others change the same records: for some seconds, as long as a client waits.
const MAX_TRIES: u32 = 48;
/// The longest pause after the first try. It doubles with each further one, to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(4);
const LONGEST_PAUSE: Duration = Duration::from_millis(256);

/// The tries of one act.
///
/// Of those who change a record at the same time one succeeds; the others would meet again at
/// once, and those at the end of a long line would never have their turn. Random pauses part them.
pub(crate) struct Tries {
    random: fn() -> u32,
    failed: u32,
}

impl Tries {
    /// `random` gives uniform numbers.
    pub(crate) fn new(random: fn() -> u32) -> Self {
        Self { random, failed: 0 }
    }

    /// Returns when it is time to try again, after a try that failed because others changed `what`.
    ///
    /// # Errors
    /// [`RegistrarError::Busy`] when it was tried often enough.
    pub(crate) async fn again(&mut self, what: impl fmt::Display) -> Result<(), RegistrarError> {
        self.failed += 1;
        if self.failed == MAX_TRIES {
            return Err(RegistrarError::Busy {
                what: what.to_string(),
            });
        }
        tokio::time::sleep(pause(self.failed, (self.random)())).await;
        Ok(())
    }
}

/// A pause that `random` picks, from nothing to the longest after this many tries, from 1.
fn pause(failed: u32, random: u32) -> Duration {
    let longest = FIRST_PAUSE
        .saturating_mul(2_u32.saturating_pow(failed - 1))
        .min(LONGEST_PAUSE);
    longest.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_spread_down_to_none() {
        let longest: Vec<u128> = (1..MAX_TRIES)
            .map(|failed| pause(failed, u32::MAX).as_millis())
            .collect();
        assert_eq!(longest[..8], [4, 8, 16, 32, 64, 128, 256, 256]);
        assert!(longest[8..].iter().all(|pause| *pause == 256));
        for failed in 1..MAX_TRIES {
            assert_eq!(pause(failed, 0), Duration::ZERO);
            let middle = pause(failed, u32::MAX / 2);
            assert!(Duration::ZERO < middle && middle < pause(failed, u32::MAX));
        }
    }
}
