//! `leafgate audit`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use leafgate_api::{AuditReport, Event, EventList, Restore};
use leafgate_registrar::{
    Checkpoint, CheckpointError, CheckpointFolder, CheckpointPublicKey, verify_audit_against,
};
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
    Verify {
        /// A folder of checkpoints, or a copy of one: check that the chain passes through all of them too.
        #[arg(long, value_name = "DIR")]
        checkpoints: Option<PathBuf>,
        /// The public key that verifies them, where it is not the folder that is trusted; else DIR/checkpoint.pub.
        #[arg(long, value_name = "FILE", requires = "checkpoints")]
        checkpoint_key: Option<PathBuf>,
    },
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
        Command::Verify {
            checkpoints,
            checkpoint_key,
        } => {
            let checkpoints = match checkpoints {
                Some(folder) => read_checkpoints(folder, checkpoint_key.as_deref())?,
                None => Vec::new(),
            };
            verify(&arguments.registry, checkpoints, context).await
        }
        Command::List { after, limit } => list(&arguments.registry, context, *after, *limit).await,
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
    registry: &RegistryArguments,
    checkpoints: Vec<Checkpoint>,
    context: &Context,
) -> Result<Exit, CliError> {
    let store = registry.store().await?;
    let report = verify_audit_against(&*store, checkpoints).await?;
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let position = FeedPosition {
        epoch: report.epoch,
        seq: report.head.seq,
        hash: report.head.hash,
    };
    let restores = report.restores.iter().map(|restore| Restore {
        seq: restore.seq,
        at: restore.at,
        lost_checkpoints: number(restore.lost_checkpoints),
    });
    let view = AuditReport {
        checkpoints: number(report.checkpoints),
        restores: restores.collect(),
        ..AuditReport::intact(&position)
    };
    context.console.show(&view, |_| {
        let events = usize::try_from(view.events).unwrap_or(usize::MAX);
        let mut text = format!(
            "{}, unbroken\n  head    {}\n  epoch   {}",
            count(events, "event"),
            view.head,
            view.epoch
        );
        if view.checkpoints > 0 {
            let passed = count(report.checkpoints, "signed checkpoint");
            let _ = write!(text, "\n  passes through {passed}");
        }
        for restore in &report.restores {
            let lost = count(restore.lost_checkpoints, "checkpoint");
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
