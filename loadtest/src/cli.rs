use std::fmt::Display;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;
use tokio::runtime::Builder;

use crate::decide::{DecideArgs, decide};
use crate::issue::{IssueArgs, issue};
use crate::record::record;
use crate::registry::{RegistryArgs, registry};
use crate::report::Report;

/// Loads leafgate over real nats-servers and says what it costs.
#[derive(Debug, Parser)]
#[command(name = "leafgate-loadtest", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What a decision of the auth callout costs, beside a Go service that makes the same one.
    Decide {
        #[command(flatten)]
        args: DecideArgs,
        #[command(flatten)]
        result: ResultArgs,
        /// Fail where leafgate takes more than this share of the peer's CPU, under the first
        /// load.
        #[arg(long, value_name = "RATIO")]
        max_ratio: Option<f64>,
    },
    /// What it costs to sign certificate requests over HTTPS on PostgreSQL, beside Vault's PKI engine on files.
    Issue {
        #[command(flatten)]
        args: IssueArgs,
        #[command(flatten)]
        result: ResultArgs,
    },
    /// What a large registry costs: import, look-ups, searches, revocation lists and OCSP.
    Registry {
        #[command(flatten)]
        args: RegistryArgs,
        #[command(flatten)]
        result: ResultArgs,
    },
}

/// What becomes of the result.
#[derive(Debug, Args)]
struct ResultArgs {
    /// How to print the result.
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
    /// Add the result to the table in this Markdown document.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

/// Runs the program on its command line. Exit status 1 says that something came out wrong.
pub fn main() -> ExitCode {
    match execute(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where standard error is closed there is nobody to tell.
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(cli: Cli) -> Result<()> {
    let mut runtime = match cli.command {
        // One thread: load and replies share a core with nats-server and the service as it is.
        Command::Decide { .. } | Command::Issue { .. } => Builder::new_current_thread(),
        // The import runs in this process, on as many threads as in a service.
        Command::Registry { .. } => Builder::new_multi_thread(),
    };
    let runtime = runtime
        .enable_all()
        .build()
        .context("can't start the runtime")?;
    let done = runtime.block_on(run(cli));
    // An interrupted run may still be signing requests that nobody will send.
    runtime.shutdown_background();
    done
}

async fn run(cli: Cli) -> Result<()> {
    let mut progress = io::stderr();
    match cli.command {
        Command::Decide {
            args,
            result,
            max_ratio,
        } => {
            let report = uninterrupted(decide(&args, &mut progress)).await?;
            result.tell(&report, |path| record(&report, path))?;
            check_ratio(&report, max_ratio)
        }
        Command::Issue { args, result } => {
            let report = uninterrupted(issue(&args, &mut progress)).await?;
            result.tell(&report, |path| report.record(path))
        }
        Command::Registry { args, result } => {
            let report = uninterrupted(registry(&args, &mut progress)).await?;
            result.tell(&report, |path| report.record(path))
        }
    }
}

async fn uninterrupted<T>(run: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        report = run => report,
        // Dropping the run ends its processes and removes its files.
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
    }
}

impl ResultArgs {
    fn tell(
        &self,
        report: &(impl Display + Serialize),
        record: impl Fn(&Path) -> Result<()>,
    ) -> Result<()> {
        match self.output {
            Output::Table => writeln!(io::stdout(), "{report}")?,
            Output::Json => {
                writeln!(io::stdout(), "{}", serde_json::to_string_pretty(report)?)?;
            }
        }
        self.record.as_deref().map_or(Ok(()), record)
    }
}

fn check_ratio(report: &Report, max_ratio: Option<f64>) -> Result<()> {
    let ratio = report.rows.first().and_then(|row| row.ratio());
    if let Some((ratio, max)) = ratio.zip(max_ratio) {
        ensure!(
            ratio <= max,
            "leafgate takes {ratio:.3} of the peer's CPU per decision, more than {max}"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
