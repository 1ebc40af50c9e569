//! The `leafgate-callout` program.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use leafgate_auth_callout::{Config, Setup, run};
use leafgate_runtime::{Environment, SystemClock};
use tokio::runtime::Builder;

use crate::wiring::open_store_read_only;
use crate::{environment, program};

/// One replica of leafgate's auth callout: lets devices into a NATS leaf cluster.
#[derive(Debug, Parser)]
#[command(name = "leafgate-callout", version)]
struct Arguments {
    /// The configuration file (TOML); LEAFGATE_<SECTION>__<KEY> overrides a key.
    #[arg(long, value_name = "FILE", env = "LEAFGATE_CONFIG")]
    config: PathBuf,
    /// Ask the running replica of this configuration whether it takes requests, for health checks: 0 if it does, else 1.
    #[arg(long)]
    probe: bool,
}

/// Runs a replica until SIGTERM or SIGINT.
pub fn main() -> ExitCode {
    let (arguments, environment) = (Arguments::parse(), environment());
    if arguments.probe {
        let config = Config::load(&arguments.config, &environment);
        return program::probe(config.map(|config| config.http.listen));
    }
    program::exit(serve(&arguments, &environment))
}

fn serve(arguments: &Arguments, environment: &Environment) -> anyhow::Result<()> {
    let config = Config::load(&arguments.config, environment)?;
    let log = config.log.clone();
    program::serve(
        &log,
        Builder::new_current_thread(),
        |log, shutdown| async move {
            let store = open_store_read_only(&config, environment).await?;
            let setup = Setup::load(config)?;
            run(setup, store, Arc::new(SystemClock::start()), &log, shutdown).await
        },
    )
}
