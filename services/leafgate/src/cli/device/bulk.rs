//! `leafgate device bulk`.

use clap::ValueEnum;
use futures::StreamExt;
use leafgate_api::{
    ApplyBulk, BulkAction, BulkFilter, BulkOutcome, BulkPlan, BulkResult, PlanBulk,
};
use leafgate_identity::SpkiHash;
use leafgate_registry::RevocationReason;
use leafgate_runtime::Clock;

use super::FilterArguments;
use crate::cli::Context;
use crate::cli::console::{Colour, plain};
use crate::cli::error::{CliError, Exit};
use crate::cli::progress::Progress;
use crate::cli::registry::{DeviceFilter, Registry};
use crate::cli::table::count;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// What to do: approve, enable, disable, quarantine, revoke or delete.
    #[arg(hide_possible_values = true)]
    action: Verb,
    #[command(flatten)]
    filter: FilterArguments,
    /// With a certificate of the issuer with this public key, as `leafgate ca show` shows it.
    #[arg(long, value_name = "HEX")]
    issuer: Option<SpkiHash>,
    /// All devices that there are, where no other condition is given.
    #[arg(long)]
    all: bool,
    /// Why devices are revoked, as revocation lists say it.
    #[arg(long, value_name = "REASON")]
    reason: Option<RevocationReason>,
    /// Say how many devices it would be about, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do nothing unless it is about so many devices, as a dry run told.
    #[arg(long, value_name = "N")]
    expect: Option<u64>,
    /// How many devices are changed in a second at most.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Verb {
    Approve,
    Enable,
    Disable,
    Quarantine,
    Revoke,
    Delete,
}

pub(super) async fn run(
    registry: &dyn Registry,
    context: &Context,
    arguments: &Arguments,
) -> Result<Exit, CliError> {
    let (verb, action) = (arguments.action.as_str(), arguments.action.action());
    let filter = arguments.filter(context)?;
    if arguments.reason.is_some() && action != BulkAction::Revoke {
        return Err(CliError::usage("--reason is for revoke alone"));
    }
    if !arguments.dry_run {
        context
            .console
            .check_can_ask(&format!("{verb} many devices"))?;
    }
    let plan = PlanBulk {
        action,
        filter: filter.clone(),
    };
    let planned = registry.plan(&plan).await?;
    let devices = count(
        usize::try_from(planned.devices).unwrap_or(usize::MAX),
        "device",
    );
    if arguments.dry_run {
        return shown(context, &planned, &format!("this would {verb} {devices}"));
    }
    if let Some(expected) = arguments.expect.filter(|it| *it != planned.devices) {
        let error = format!("this would {verb} {devices}, not {expected}; nothing was done");
        return Err(CliError::told(Exit::Conflict, None, &error));
    }
    if planned.devices == 0 {
        return shown(context, &planned, &format!("there is no device to {verb}"));
    }
    let mut question = verb.to_owned();
    question[..1].make_ascii_uppercase();
    context.console.confirm(&format!("{question} {devices}?"))?;
    let change = ApplyBulk {
        action,
        reason: arguments.reason,
        filter,
        expected: planned.devices,
        devices_per_second: arguments.rate,
    };
    apply(registry, context, &change).await
}

fn shown(context: &Context, plan: &BulkPlan, text: &str) -> Result<Exit, CliError> {
    context.console.show_next(plan, |_| text.to_owned())?;
    Ok(Exit::Done)
}

async fn apply(
    registry: &dyn Registry,
    context: &Context,
    change: &ApplyBulk,
) -> Result<Exit, CliError> {
    let progress = Progress::new(Some(change.expected), false);
    let mut results = registry.apply(change).await?;
    let (mut changed, mut skipped, mut failed) = (0, 0, 0);
    while let Some(result) = results.next().await.transpose()? {
        match result.outcome {
            BulkOutcome::Changed => changed += 1,
            BulkOutcome::Skipped => skipped += 1,
            BulkOutcome::Failed => failed += 1,
        }
        progress.beside(|| show(context, &result))?;
        progress.advance(1, || format!("{changed} changed, {failed} failed"));
    }
    drop(progress);
    let changed = count(changed, "device");
    context.console.print_text(&format!(
        "{changed} changed, {skipped} changed by others meanwhile and left alone, {failed} failed"
    ))?;
    Ok(if failed == 0 { Exit::Done } else { Exit::Wrong })
}

/// To people, only what they may have to see to.
fn show(context: &Context, result: &BulkResult) -> Result<(), CliError> {
    context.console.show_some(result, |style| {
        let problem = result.problem.as_ref()?;
        let word = match result.outcome {
            BulkOutcome::Failed => style.paint(Colour::Bad, "failed:"),
            BulkOutcome::Changed | BulkOutcome::Skipped => style.paint(Colour::Careful, "note:"),
        };
        Some(format!("{} {word} {}", result.id, plain(&problem.detail)))
    })
}

impl Arguments {
    fn filter(&self, context: &Context) -> Result<BulkFilter, CliError> {
        let filter = self.filter.at(context.clock.now());
        let is_empty = filter == DeviceFilter::default() && self.issuer.is_none();
        match (is_empty, self.all) {
            (true, false) => {
                return Err(CliError::usage("no condition says which devices are meant")
                    .hint("give one, such as --site, or --all"));
            }
            (false, true) => {
                return Err(CliError::usage("--all is for no other condition"));
            }
            _ => {}
        }
        let attribute = filter.attribute.as_ref();
        Ok(BulkFilter {
            state: filter.state,
            attribute: attribute.map(|(name, value)| format!("{name}={value}")),
            device_type: filter.device_type,
            site: filter.site,
            id_prefix: filter.id_prefix,
            expires_by: filter.expires_by,
            issuer: self.issuer,
        })
    }
}

impl Verb {
    fn action(self) -> BulkAction {
        match self {
            Self::Approve => BulkAction::Approve,
            Self::Enable => BulkAction::Enable,
            Self::Disable => BulkAction::Disable,
            Self::Quarantine => BulkAction::Quarantine,
            Self::Revoke => BulkAction::Revoke,
            Self::Delete => BulkAction::Delete,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Enable => "enable",
            Self::Disable => "disable",
            Self::Quarantine => "quarantine",
            Self::Revoke => "revoke",
            Self::Delete => "delete",
        }
    }
}
