//! What the programs of a cluster have in common.

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context;
use leafgate_runtime::{
    LoadConfigError, LogConfig, LogOutput, Shutdown, init_telemetry, shutdown_on_signals,
};
use tokio::runtime::Builder;

/// Starts the log, then runs `serve` on the runtime until it ends by itself or by a signal.
pub(crate) fn serve<F: Future<Output = anyhow::Result<()>>>(
    log: &LogConfig,
    mut runtime: Builder,
    serve: impl FnOnce(LogOutput, Shutdown) -> F,
) -> anyhow::Result<()> {
    let log = init_telemetry(log.format, &log.filter)?;
    let runtime = runtime.enable_all().build().context("runtime")?;
    runtime.block_on(async {
        let shutdown = shutdown_on_signals().context("signal handlers")?;
        serve(log, shutdown).await
    })
}

/// The exit status, and a line about what went wrong.
pub(crate) fn exit(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            crate::complain(&format!("error: {error:#}"));
            ExitCode::from(2)
        }
    }
}

/// Asks the health listener that the configuration names. Docker keeps every exit status but 0 and 1 for itself.
pub(crate) fn probe(listen: Result<SocketAddr, LoadConfigError>) -> ExitCode {
    let ready = listen
        .map_err(anyhow::Error::from)
        .and_then(|listen| Ok(leafgate_runtime::probe(listen)?));
    match ready {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            crate::complain(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
