//! `leafgate events`.

use futures::StreamExt;
use leafgate_api::Event;
use leafgate_runtime::shutdown_on_signals;

use super::Context;
use super::console::{Colour, Style, plain};
use super::error::{CliError, Exit};
use super::moment::exact;
use super::registry::{Registry, RegistryAddress};
use super::table::{NONE, Table};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    registry: RegistryAddress,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List events, the newest unless told otherwise.
    List(ListArguments),
    /// Print events as they come, until Ctrl-C; a connection that breaks is made again.
    Tail(TailArguments),
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArguments {
    /// Those that follow this one.
    #[arg(long, value_name = "SEQ")]
    after: Option<u64>,
    /// How many at most.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

#[derive(Debug, clap::Args)]
struct TailArguments {
    /// Begin with those that follow this one, not with what comes from now on.
    #[arg(long, value_name = "SEQ")]
    after: Option<u64>,
    /// End after this many events.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    count: Option<u32>,
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> Result<Exit, CliError> {
    let registry = &*arguments.registry.open(context)?;
    match &arguments.command {
        Command::List(arguments) => list(registry, context, arguments).await,
        Command::Tail(arguments) => tail(registry, context, arguments).await,
    }
}

pub(super) async fn list(
    registry: &dyn Registry,
    context: &Context,
    arguments: &ListArguments,
) -> Result<Exit, CliError> {
    let list = registry.events(arguments.after, arguments.limit).await?;
    context.console.show(&list, |style| {
        if list.events.is_empty() {
            return "no events".to_owned();
        }
        let mut table = Table::new(&["SEQ", "TIME", "ACTOR", "EVENT", "DEVICE"]);
        for event in &list.events {
            let device = event.device.as_ref();
            table.push(vec![
                event.seq.to_string().into(),
                exact(event.at).into(),
                event.actor.as_str().into(),
                event.kind.as_str().into(),
                device.map_or(NONE, |id| id.as_str()).into(),
            ]);
        }
        table.render(style)
    })?;
    Ok(Exit::Done)
}

async fn tail(
    registry: &dyn Registry,
    context: &Context,
    arguments: &TailArguments,
) -> Result<Exit, CliError> {
    let shutdown = shutdown_on_signals()
        .map_err(|error| CliError::new(Exit::Wrong, format!("can't wait for signals: {error}")))?;
    let mut events = registry.follow(arguments.after).await?;
    let mut seen = 0;
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            () = shutdown.cancelled() => return Ok(Exit::Done),
        };
        let Some(event) = event.transpose()? else {
            return Ok(Exit::Done);
        };
        context
            .console
            .show_next(&event, |style| line(&event, style))?;
        seen += 1;
        if arguments.count == Some(seen) {
            return Ok(Exit::Done);
        }
    }
}

/// An event on a line of its own: what comes later can't be aligned with.
fn line(event: &Event, style: Style) -> String {
    let device = event.device.as_ref();
    [
        event.seq.to_string(),
        exact(event.at),
        style.paint(Colour::Quiet, &plain(&event.actor)),
        event.kind.to_string(),
        device.map_or(NONE, |id| id.as_str()).to_owned(),
    ]
    .join("   ")
}
