use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Parser, Subcommand, ValueEnum};

use crate::decide::{DecideArgs, decide};
use crate::record::record;
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
        /// How to print the result.
        #[arg(long, value_enum, default_value = "table")]
        output: Output,
        /// Add the result to the table in this Markdown document.
        #[arg(long, value_name = "FILE")]
        record: Option<PathBuf>,
        /// Fail where leafgate takes more than this share of the peer's CPU, under the first
        /// load.
        #[arg(long, value_name = "RATIO")]
        max_ratio: Option<f64>,
    },
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
    // One thread: load and replies share a core with nats-server and the service as it is.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("can't start the runtime")?;
    let done = runtime.block_on(run(cli));
    // An interrupted run may still be signing requests that nobody will send.
    runtime.shutdown_background();
    done
}

async fn run(cli: Cli) -> Result<()> {
    let Command::Decide {
        args,
        output,
        record: document,
        max_ratio,
    } = cli.command;
    let mut progress = io::stderr();
    let report = tokio::select! {
        report = decide(&args, &mut progress) => report?,
        // Dropping the run ends its processes and removes its files.
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
    };
    match output {
        Output::Table => writeln!(io::stdout(), "{report}")?,
        Output::Json => writeln!(io::stdout(), "{}", serde_json::to_string_pretty(&report)?)?,
    }
    if let Some(document) = document {
        record(&report, &document)?;
    }
    check_ratio(&report, max_ratio)
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
