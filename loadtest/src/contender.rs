use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use leafgate_processes::Child;
use nix::unistd::Pid;

use crate::bench_server::BenchServer;
use crate::fleet::Fleet;

/// A service under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Contender {
    /// `leafgate-callout`.
    Leafgate,
    /// The same decision on the public Go libraries (`loadtest/peers/go-callout`).
    Peer,
}

impl Contender {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Leafgate => "leafgate-callout",
            Self::Peer => "go-callout",
        }
    }
}

/// What a service is started with.
pub(crate) struct Surroundings<'a> {
    pub(crate) nats: &'a BenchServer,
    pub(crate) fleet: &'a Fleet,
    /// The registry of the fleet.
    pub(crate) database: &'a Path,
    /// Whether requests and answers are sealed.
    pub(crate) sealed: bool,
    /// For configuration and logs of this one start.
    pub(crate) dir: &'a Path,
}

/// A running service.
pub(crate) struct Service {
    child: Child,
}

impl Service {
    pub(crate) fn start(contender: Contender, command: Command, dir: &Path) -> Result<Self> {
        let name = contender.name();
        let child = Child::start(name, command, &dir.join(format!("{name}.log")))?;
        Ok(Self { child })
    }

    pub(crate) fn process(&self) -> Result<Pid> {
        Ok(Pid::from_raw(i32::try_from(self.child.pid())?))
    }

    /// The end of its log, for errors; `None` while it runs as it should.
    pub(crate) fn has_ended(&mut self) -> Result<Option<String>> {
        let status = self
            .child
            .exit_status()
            .context("can't look after a service")?;
        Ok(status.map(|status| {
            let log = self.child.log();
            format!(
                "{} ended ({status})\n  log: {}\n{}",
                self.child.name(),
                log.path().display(),
                log.tail(12)
            )
        }))
    }

    pub(crate) async fn stop(mut self) -> Result<()> {
        self.child
            .stop(Duration::from_secs(10))
            .await
            .with_context(|| format!("can't stop {}", self.child.name()))?;
        Ok(())
    }
}
