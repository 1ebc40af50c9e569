//! `leafgate audit`.

use leafgate_api::{AuditReport, Event, EventList};
use leafgate_registrar::verify_audit;
use leafgate_registry::FeedPosition;

use super::Context;
use super::error::{CliError, Exit};
use super::moment::exact;
use super::registry::RegistryArguments;
use super::table::{NONE, Table, count};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    registry: RegistryArguments,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Check every link of the chain of events.
    Verify,
    /// List events, the newest unless told otherwise.
    List {
        /// Those that follow this one.
        #[arg(long, value_name = "SEQ")]
        after: Option<u64>,
        /// How many at most.
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> Result<Exit, CliError> {
    match &arguments.command {
        Command::Verify => verify(&arguments.registry, context).await,
        Command::List { after, limit } => list(&arguments.registry, context, *after, *limit).await,
    }
}

async fn verify(registry: &RegistryArguments, context: &Context) -> Result<Exit, CliError> {
    let store = registry.store().await?;
    let report = verify_audit(&*store).await?;
    let view = AuditReport::intact(&FeedPosition {
        epoch: report.epoch,
        seq: report.head.seq,
        hash: report.head.hash,
    });
    context.console.show(&view, |_| {
        let events = usize::try_from(view.events).unwrap_or(usize::MAX);
        format!(
            "{}, unbroken\n  head    {}\n  epoch   {}",
            count(events, "event"),
            view.head,
            view.epoch
        )
    })?;
    Ok(Exit::Done)
}

async fn list(
    registry: &RegistryArguments,
    context: &Context,
    after: Option<u64>,
    limit: u32,
) -> Result<Exit, CliError> {
    let store = registry.store().await?;
    let newest = store.position().await?;
    let after = after.unwrap_or_else(|| newest.seq.saturating_sub(u64::from(limit)));
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let events = store.events_after(after, limit).await?;
    let next_after = events.last().map_or(after, |event| event.seq);
    let list = EventList {
        events: events.into_iter().map(Event::from).collect(),
        next_after,
        newest: newest.seq.max(next_after),
        epoch: newest.epoch.to_string(),
    };
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
