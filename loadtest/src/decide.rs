mod bench;
mod registry;

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use leafgate_processes::NatsServerBinary;
use leafgate_runtime::{Clock as _, SystemClock};

use self::bench::{Bench, Services};
use crate::bench_server::BenchServer;
use crate::contender::Contender;
use crate::fleet::Fleet;
use crate::machine::Machine;
use crate::peer_service;
use crate::report::{Figures, Report, Row};
use crate::scale::{Scale, ScaleName, at_least_one};

pub(crate) use self::registry::TRUST_DOMAIN;

/// What to measure, with what.
#[derive(Debug, Clone, Args)]
pub struct DecideArgs {
    /// How much to measure.
    #[arg(long, value_enum, default_value = "full")]
    pub scale: ScaleName,
    /// The repository: its .tools hold nats-server, its policies the grants that answers must
    /// have, its loadtest/peers the source of the peer.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub root: PathBuf,
    /// The leafgate-callout to measure [default: the one beside this program].
    #[arg(long, value_name = "FILE")]
    pub callout_bin: Option<PathBuf>,
    /// A peer that is built already [default: built by go into target/peers].
    #[arg(long, value_name = "FILE")]
    pub peer_bin: Option<PathBuf>,
    /// A further argument for the peer, such as -cert-cache=0. May be given more than once.
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub peer_arg: Vec<String>,
    /// Measure only this one.
    #[arg(long, value_enum, value_name = "SERVICE")]
    pub only: Option<Contender>,
    /// Requests of one measurement, in place of the scale's.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub requests: Option<usize>,
    /// Measurements of which the median counts, in place of the scale's.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub runs: Option<usize>,
    /// Keep configuration and logs here, in a folder that does not exist yet [default: a
    /// temporary one].
    #[arg(long, value_name = "DIR")]
    pub work_dir: Option<PathBuf>,
}

impl DecideArgs {
    /// Everything by default, for the repository at `root`.
    pub fn new(scale: ScaleName, root: PathBuf) -> Self {
        Self {
            scale,
            root,
            callout_bin: None,
            peer_bin: None,
            peer_arg: Vec::new(),
            only: None,
            requests: None,
            runs: None,
            work_dir: None,
        }
    }

    fn scale(&self) -> Scale {
        let mut scale = self.scale.scale();
        scale.requests = self.requests.unwrap_or(scale.requests);
        scale.runs = self.runs.unwrap_or(scale.runs);
        scale
    }

    fn contenders(&self) -> Vec<Contender> {
        match self.only {
            Some(only) => vec![only],
            None => vec![Contender::Leafgate, Contender::Peer],
        }
    }

    fn services(&self, contenders: &[Contender]) -> Result<Services> {
        let leafgate = match &self.callout_bin {
            Some(binary) => binary.clone(),
            None => std::env::current_exe()
                .context("can't tell where this program is")?
                .with_file_name("leafgate-callout"),
        };
        if contenders.contains(&Contender::Leafgate) && !leafgate.is_file() {
            bail!(
                "no leafgate-callout at {}: build it (cargo build --release) or name it with --callout-bin",
                leafgate.display()
            );
        }
        let peer = match &self.peer_bin {
            Some(binary) => binary.clone(),
            None if contenders.contains(&Contender::Peer) => peer_service::build(&self.root)?,
            None => PathBuf::new(),
        };
        Ok(Services {
            leafgate,
            policy: self.root.join("policies/device.toml"),
            peer,
            peer_args: self.peer_arg.clone(),
        })
    }
}

/// Measures what a decision costs, leafgate and its peer in turns. Progress goes to `progress`,
/// line by line.
///
/// # Errors
/// A program is missing or can't be run, a service answers wrongly, not at all or where it must
/// not, or the machine refuses.
pub async fn decide(args: &DecideArgs, progress: &mut dyn Write) -> Result<Report> {
    let contenders = args.contenders();
    let services = args.services(&contenders)?;
    let binary = NatsServerBinary::pinned(NatsServerBinary::DEFAULT_VERSION, &args.root)?;
    let scale = args.scale();

    let temporary;
    let dir = match &args.work_dir {
        Some(dir) => {
            std::fs::create_dir(dir).with_context(|| format!("can't make {}", dir.display()))?;
            // Services read paths as relative to their own configuration.
            std::path::absolute(dir)?
        }
        None => {
            temporary = tempfile::tempdir().context("can't make a temporary folder")?;
            temporary.path().to_owned()
        }
    };
    let clock = SystemClock::start();
    writeln!(
        progress,
        "{} devices, {} of them connecting",
        scale.devices, scale.connecting
    )?;
    let (fleet, members) = Fleet::create(&scale, &dir, clock.now()).await?;
    let database = dir.join("registry.db");
    if contenders.contains(&Contender::Leafgate) {
        registry::create(&database, &members, clock.now()).await?;
    }
    drop(members);

    let bench = Bench::new(
        BenchServer::start(&binary, &dir).await?,
        fleet,
        database,
        services,
        clock,
        dir,
    );
    let rows = measure(&bench, &scale, &contenders, progress).await?;
    let report = Report {
        at: bench.clock.now(),
        nats_server: bench.nats.version.to_string(),
        devices: scale.devices,
        connecting: scale.connecting,
        machine: Machine::this()?,
        rows,
    };
    bench.stop().await?;
    Ok(report)
}

/// Every load, plain and sealed, by every service; services take turns, so that what else the
/// machine does falls on all alike.
async fn measure(
    bench: &Bench,
    scale: &Scale,
    contenders: &[Contender],
    progress: &mut dyn Write,
) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for sealed in [false, true] {
        let mut figures = vec![Vec::new(); contenders.len()];
        for run in 1..=scale.runs {
            for (contender, figures) in contenders.iter().zip(&mut figures) {
                let measured = bench.run(*contender, sealed, scale).await?;
                let first = scale.loads.first().zip(measured.first());
                if let Some((load, first)) = first {
                    writeln!(
                        progress,
                        "{}{}, run {run} of {}: {:.1} µs CPU per decision, {:.0} decisions/s, {load}",
                        contender.name(),
                        if sealed { " with xkey" } else { "" },
                        scale.runs,
                        first.cpu_us_per_decision,
                        first.decisions_per_s,
                    )?;
                }
                figures.push(measured);
            }
        }
        let of = |contender| contenders.iter().position(|it| *it == contender);
        let median = |contender, load: usize| {
            of(contender)
                .and_then(|index| Figures::median(figures[index].iter().map(|run| &run[load])))
        };
        rows.extend(scale.loads.iter().enumerate().map(|(index, load)| Row {
            load: load.to_string(),
            xkey: sealed,
            runs: scale.runs,
            requests: scale.requests,
            leafgate: median(Contender::Leafgate, index),
            peer: median(Contender::Peer, index),
        }));
    }
    Ok(rows)
}
