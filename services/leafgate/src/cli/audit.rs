//! `leafgate audit`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use leafgate_registrar::{Checkpoint, CheckpointError, CheckpointFolder, CheckpointPublicKey};

use super::Context;
use super::error::{CliError, Exit};
use super::events;
use super::moment::exact;
use super::registry::{Registry, RegistryAddress};
use super::table::count;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    registry: RegistryAddress,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Check every link of the chain of events.
    Verify {
        /// A folder of checkpoints, or a copy of one: check that the chain passes through all of them too.
        #[arg(long, value_name = "DIR")]
        checkpoints: Option<PathBuf>,
        /// The public key that verifies them, where it is not the folder that is trusted; else DIR/checkpoint.pub.
        #[arg(long, value_name = "FILE", requires = "checkpoints")]
        checkpoint_key: Option<PathBuf>,
    },
    /// List events, the newest unless told otherwise.
    List(events::ListArguments),
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> Result<Exit, CliError> {
    let registry = &*arguments.registry.open(context)?;
    match &arguments.command {
        Command::Verify {
            checkpoints,
            checkpoint_key,
        } => {
            let checkpoints = match checkpoints {
                Some(folder) => read_checkpoints(folder, checkpoint_key.as_deref())?,
                None => Vec::new(),
            };
            verify(registry, checkpoints, context).await
        }
        Command::List(arguments) => events::list(registry, context, arguments).await,
    }
}

fn read_checkpoints(folder: &Path, key: Option<&Path>) -> Result<Vec<Checkpoint>, CliError> {
    let at = CheckpointFolder::new(folder);
    let key = key.map_or_else(|| at.public_key_file(), Path::to_owned);
    let fails = |error: &CheckpointError| {
        let exit = match error {
            CheckpointError::KeyForeign { .. } | CheckpointError::Forged { .. } => Exit::Wrong,
            _ => Exit::Usage,
        };
        CliError::caused(exit, error)
    };
    let key = CheckpointPublicKey::read(&key).map_err(|error| fails(&error))?;
    let read = at.read(&key).map_err(|error| fails(&error))?;
    if read.is_empty() {
        let error = format!("{} holds no checkpoint", folder.display());
        return Err(CliError::usage(error));
    }
    Ok(read.into_iter().map(|(checkpoint, _)| checkpoint).collect())
}

async fn verify(
    registry: &dyn Registry,
    checkpoints: Vec<Checkpoint>,
    context: &Context,
) -> Result<Exit, CliError> {
    let report = registry.verify_audit(checkpoints).await?;
    if let Some(problem) = &report.problem {
        return Err(CliError::told(Exit::Wrong, None, problem));
    }
    context.console.show(&report, |_| {
        let number = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        let mut text = format!(
            "{}, unbroken\n  head    {}\n  epoch   {}",
            count(number(report.events), "event"),
            report.head,
            report.epoch
        );
        if report.checkpoints > 0 {
            let passed = count(number(report.checkpoints), "signed checkpoint");
            let _ = write!(text, "\n  passes through {passed}");
        }
        for restore in &report.restores {
            let lost = count(number(restore.lost_checkpoints), "checkpoint");
            let (seq, at) = (restore.seq, exact(restore.at));
            let _ = write!(
                text,
                "\n  restored from a backup at event {seq}, {at}; {lost} lost by it"
            );
        }
        text
    })?;
    Ok(Exit::Done)
}
