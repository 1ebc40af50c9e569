//! `leafgate demo`: the life of a device on real servers, told step by step.

mod cast;
mod report;
mod story;

use std::path::PathBuf;
use std::process::ExitCode;

use leafgate_runtime::{Clock, Environment, SystemClock};

use self::cast::Cast;
use self::report::Report;
use crate::dev::{SiteArguments, cli_act};
use crate::local::{LocalDir, LocalSite};

/// The name of the site in dev and demo.
const SITE: &str = "demo";

/// Show a device's life on real nats-servers: log-in, telemetry, commands, isolation, revocation.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The folder for everything; emptied first, if it is leafgate's own.
    #[arg(long, value_name = "DIR", default_value = ".leafgate/demo")]
    dir: PathBuf,
    /// Where devices connect; 0 takes any free port.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    device_port: u16,
}

/// Tells the story; success only if every step came out as it must.
///
/// # Errors
/// The servers did not start.
pub async fn run(arguments: &Arguments, environment: &Environment) -> anyhow::Result<ExitCode> {
    let clock = SystemClock::start();
    let act = cli_act(clock.now());
    let options = SiteArguments {
        device_port: arguments.device_port,
        leaf_nodes: 1,
        replicas: 1,
    }
    .options(SITE, environment)?;
    let mut report = Report::begin(&clock, &options, &arguments.dir);
    let dir = LocalDir::create_empty(&arguments.dir)?;
    let mut site = LocalSite::start(dir, &options, &act).await?;
    report.set_up("hub and leaf cluster up, leaf linked to hub, callout and registry serving");
    let told = async {
        let mut cast = Cast::assemble(&mut site, &act, &clock).await?;
        report.set_up("0001 (thermostat) and 0002 (pump) registered, certificates for 7 days");
        story::tell(&mut cast, &mut report).await;
        anyhow::Ok(())
    }
    .await;
    let stopped = site.stop().await;
    told.and(stopped)?;
    Ok(report.end())
}
