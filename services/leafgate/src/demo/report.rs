use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use leafgate_runtime::{Clock, SystemClock};

use crate::local::SiteOptions;
use crate::say;

/// Prints the steps as they come out.
pub(super) struct Report<'a> {
    clock: &'a SystemClock,
    dir: PathBuf,
    last: Duration,
    proven: usize,
    failed: usize,
}

impl<'a> Report<'a> {
    pub(super) fn begin(clock: &'a SystemClock, options: &SiteOptions, dir: &Path) -> Self {
        say(&format!(
            "leafgate demo: a device's life on real nats-servers ({}), everything under {}\n",
            options.nats_server.version(),
            dir.display()
        ));
        Self {
            clock,
            dir: dir.to_owned(),
            last: clock.monotonic(),
            proven: 0,
            failed: 0,
        }
    }

    /// Something that the story needs is there.
    pub(super) fn set_up(&mut self, what: &str) {
        let took = self.lap();
        say(&format!("    {:>5.2} s  {what}", took.as_secs_f64()));
    }

    /// A step came out, as it must or not.
    pub(super) fn step(&mut self, what: &str, outcome: anyhow::Result<String>) {
        let took = self.lap();
        if self.proven + self.failed == 0 {
            say("");
        }
        match outcome {
            Ok(seen) => {
                self.proven += 1;
                say(&format!("  ✓ {:>5.2} s  {what}", took.as_secs_f64()));
                if !seen.is_empty() {
                    say(&format!("              {seen}"));
                }
            }
            Err(error) => {
                self.failed += 1;
                say(&format!("  ✗ {:>5.2} s  {what}", took.as_secs_f64()));
                say(&format!(
                    "              expected as said; what came: {error:#}"
                ));
                say(&format!(
                    "              logs: {}",
                    self.dir.join("logs").display()
                ));
            }
        }
    }

    /// The sum, and what to do next.
    pub(super) fn end(self) -> ExitCode {
        let steps = self.proven + self.failed;
        say(&format!(
            "\n{} of {steps} proven in {:.1} s.",
            self.proven,
            self.clock.monotonic().as_secs_f64()
        ));
        if self.failed > 0 {
            return ExitCode::from(1);
        }
        say("Next: leafgate dev            the same servers, yours to play with");
        say("      docs/first-fleet.md     your own devices");
        ExitCode::SUCCESS
    }

    fn lap(&mut self) -> Duration {
        let now = self.clock.monotonic();
        let took = now.saturating_sub(self.last);
        self.last = now;
        took
    }
}
