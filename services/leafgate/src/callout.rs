//! The `leafgate-callout` program.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use leafgate_auth_callout::{Config, Setup, run};
use leafgate_runtime::{Environment, SystemClock, init_telemetry, shutdown_on_signals};

use crate::environment;
use crate::wiring::open_store_read_only;

/// One replica of leafgate's auth callout: lets devices into a NATS leaf cluster.
#[derive(Debug, Parser)]
#[command(name = "leafgate-callout", version)]
struct Arguments {
    /// The configuration file (TOML); LEAFGATE_<SECTION>__<KEY> overrides a key.
    #[arg(long, value_name = "FILE", env = "LEAFGATE_CONFIG")]
    config: PathBuf,
}

/// Runs a replica until SIGTERM or SIGINT.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match serve(&arguments, &environment()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            crate::complain(&format!("error: {error:#}"));
            ExitCode::from(2)
        }
    }
}

fn serve(arguments: &Arguments, environment: &Environment) -> anyhow::Result<()> {
    let config = Config::load(&arguments.config, environment)?;
    let log = init_telemetry(config.log.format, &config.log.filter)?;
    let store_url = config.store.url.clone();
    let setup = Setup::load(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("runtime")?;
    runtime.block_on(async {
        let shutdown = shutdown_on_signals().context("signal handlers")?;
        let store = open_store_read_only(&store_url).await?;
        run(setup, store, Arc::new(SystemClock::start()), &log, shutdown).await
    })
}
