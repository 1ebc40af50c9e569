use std::fmt::{self, Display};

use anyhow::{Context as _, Result};
use serde::Serialize;

/// The machine that was measured on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// Cores that this process may use, shared by nats-server, service and load.
    pub cores: usize,
    /// The processor as it calls itself.
    pub processor: String,
}

impl Machine {
    /// Asks the system.
    ///
    /// # Errors
    /// It does not tell.
    pub fn this() -> Result<Self> {
        let cores = std::thread::available_parallelism().context("can't count the cores")?;
        let cpuinfo =
            std::fs::read_to_string("/proc/cpuinfo").context("can't read /proc/cpuinfo")?;
        let processor = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .map_or("unknown processor", |rest| {
                rest.trim_start_matches(['\t', ' ', ':'])
            });
        Ok(Self {
            cores: cores.get(),
            processor: processor.to_owned(),
        })
    }
}

impl Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cores, {}", self.cores, self.processor)
    }
}

/// How many processes have wanted a core in the last minute, on average (proc(5), `loadavg`).
///
/// # Errors
/// The system does not tell.
pub fn load_average() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").context("can't read /proc/loadavg")?;
    let first = text.split_whitespace().next();
    let load = first.and_then(|number| number.parse().ok());
    load.context("/proc/loadavg has no number")
}
