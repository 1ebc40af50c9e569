//! The `leafgate-registry` program.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use leafgate_registry_api::{Config, RegistryService, Setup};
use leafgate_runtime::{Environment, SystemClock};
use tokio::runtime::Builder;

use crate::wiring::RegistryParts;
use crate::{environment, program};

/// leafgate's registry: devices and their certificates over REST.
#[derive(Debug, Parser)]
#[command(name = "leafgate-registry", version)]
struct Arguments {
    /// The configuration file (TOML); LEAFGATE_<SECTION>__<KEY> overrides a key.
    #[arg(long, value_name = "FILE", env = "LEAFGATE_CONFIG")]
    config: PathBuf,
    /// Ask the running registry of this configuration whether it takes requests, for health checks: 0 if it does, else 1.
    #[arg(long)]
    probe: bool,
}

/// Serves the registry until SIGTERM or SIGINT.
pub fn main() -> ExitCode {
    let (arguments, environment) = (Arguments::parse(), environment());
    if arguments.probe {
        let config = Config::load(&arguments.config, &environment);
        return program::probe(config.map(|config| config.health.listen));
    }
    program::exit(serve(&arguments, &environment))
}

fn serve(arguments: &Arguments, environment: &Environment) -> anyhow::Result<()> {
    let config = Config::load(&arguments.config, environment)?;
    let log = config.log.clone();
    program::serve(
        &log,
        Builder::new_multi_thread(),
        |log, shutdown| async move {
            let setup = Setup::load(config)?;
            let RegistryParts { store, authority } =
                RegistryParts::open(setup.config(), environment).await?;
            let clock = Arc::new(SystemClock::start());
            let service =
                RegistryService::bind(setup, store, authority, clock, log.writer(), shutdown)
                    .await?;
            service.serve().await
        },
    )
}
