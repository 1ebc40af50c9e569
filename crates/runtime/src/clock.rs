use std::time::{Duration, Instant, SystemTime};

use leafgate_identity::UnixMs;

/// The two clocks of a service. Wall time is for what other machines read (claims, certificates,
/// records); monotonic time is for every deadline and age, because wall time may jump.
pub trait Clock: Send + Sync + 'static {
    /// Wall time, in milliseconds since the Unix epoch.
    fn now(&self) -> UnixMs;
    /// Time since an arbitrary fixed moment of this process; never goes backwards.
    fn monotonic(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Debug, Clone)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// Starts the monotonic clock at zero.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the machine's clocks"
    )]
    pub fn start() -> Self {
        Self {
            started: Instant::now(),
        }
    }
}

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the machine's clocks"
    )]
    fn now(&self) -> UnixMs {
        let since_epoch = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        UnixMs::new(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}
