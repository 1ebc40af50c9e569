//! `leafgate audit`.

use super::Context;
use super::error::{CliError, Exit};
use super::events;
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
    Verify,
    /// List events, the newest unless told otherwise.
    List(events::ListArguments),
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> Result<Exit, CliError> {
    let registry = &*arguments.registry.open(context)?;
    match &arguments.command {
        Command::Verify => verify(registry, context).await,
        Command::List(arguments) => events::list(registry, context, arguments).await,
    }
}

async fn verify(registry: &dyn Registry, context: &Context) -> Result<Exit, CliError> {
    let report = registry.verify_audit().await?;
    if let Some(problem) = &report.problem {
        return Err(CliError::told(Exit::Wrong, None, problem));
    }
    context.console.show(&report, |_| {
        let events = usize::try_from(report.events).unwrap_or(usize::MAX);
        format!(
            "{}, unbroken\n  head    {}\n  epoch   {}",
            count(events, "event"),
            report.head,
            report.epoch
        )
    })?;
    Ok(Exit::Done)
}
