//! Many devices of the registry in a folder.

use std::num::NonZeroU32;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use leafgate_api::{
    ApplyBulk, BulkAction, BulkFilter, BulkOutcome, BulkPlan, BulkResult, ImportOutcome,
    ImportResult, LineProblem, PlanBulk, ProblemType, RegisterDevice,
};
use leafgate_identity::DeviceId;
use leafgate_registrar::{
    BulkResult as Applied, DeviceAction, DeviceFilter as Selected, ErrorKind, Imported, Registrar,
    RegistrarError,
};
use leafgate_registry::{Act, BuildChangeError, Query};

use super::described::described;
use crate::cli::device::name_and_value;
use crate::cli::error::CliError;
use crate::cli::registry::{Line, Results};

/// What a result is told under.
struct Key {
    line: u64,
    id: Option<DeviceId>,
}

/// Why a line is not registered.
struct Refused(LineProblem);

impl From<RegistrarError> for Refused {
    fn from(error: RegistrarError) -> Self {
        Self(problem_of(error))
    }
}

pub(super) fn import(
    registrar: &Registrar,
    lines: BoxStream<'static, Line>,
    act: impl Fn() -> Act + Send + Sync + 'static,
) -> Results<ImportResult> {
    let devices = lines.map(|Line { number, text }| {
        let read = serde_json::from_str::<RegisterDevice>(&text);
        let id = read.as_ref().ok().map(|device| device.id.clone());
        let new = read.map(described).map_err(|error| {
            let kind = ProblemType::RequestMalformed;
            Refused(LineProblem::new(kind, error.to_string()))
        });
        (Key { line: number, id }, new)
    });
    let results = registrar.import(devices, act);
    results
        .map(|(Key { line, id }, result)| {
            let (outcome, problem) = match result {
                Ok(Imported::Registered(_)) => (ImportOutcome::Registered, None),
                Ok(Imported::Unchanged(_)) => (ImportOutcome::Unchanged, None),
                Err(Refused(problem)) => (ImportOutcome::Failed, Some(problem)),
            };
            Ok(ImportResult {
                line,
                id,
                outcome,
                problem,
            })
        })
        .boxed()
}

/// A problem as the registry API would call it.
fn problem_of(error: RegistrarError) -> LineProblem {
    let kind = match &error {
        RegistrarError::IdTaken { .. }
        | RegistrarError::Change(BuildChangeError::IdTaken { .. }) => ProblemType::DeviceExists,
        RegistrarError::TrustDomainUnknown { .. } => ProblemType::TrustDomainUnknown,
        other => match other.kind() {
            ErrorKind::Input => ProblemType::ValueMalformed,
            ErrorKind::Conflict => ProblemType::StateIllegal,
            ErrorKind::Unavailable => ProblemType::RegistryUnavailable,
            ErrorKind::NotFound => ProblemType::DeviceUnknown,
            ErrorKind::Forbidden | ErrorKind::TooMany | ErrorKind::Failed => ProblemType::Internal,
        },
    };
    let cli = CliError::from(error);
    LineProblem::new(kind, cli.message().to_owned())
}

pub(super) async fn plan(registrar: &Registrar, plan: &PlanBulk) -> Result<BulkPlan, CliError> {
    let action = action_of(plan.action, None);
    let devices = registrar.plan(&selected(&plan.filter)?, action).await?;
    Ok(BulkPlan {
        devices: u64::try_from(devices).unwrap_or(u64::MAX),
    })
}

pub(super) async fn apply(
    registrar: &Registrar,
    change: &ApplyBulk,
    act: impl Fn() -> Act + Send + Sync + 'static,
) -> Result<Results<BulkResult>, CliError> {
    let action = action_of(change.action, change.reason);
    let rate = change.devices_per_second.and_then(NonZeroU32::new);
    let (of, expected) = (
        change.expected,
        usize::try_from(change.expected).unwrap_or(usize::MAX),
    );
    let applied = registrar
        .apply(selected(&change.filter)?, action, expected, rate, act)
        .await?;
    let results = applied.zip(stream::iter(1..)).map(move |(applied, done)| {
        let Applied { id, outcome } = applied;
        let (outcome, state, problem) = match outcome {
            Ok(record) => (BulkOutcome::Changed, Some(record.device.state), None),
            Err(RegistrarError::NotSelected { .. }) => (BulkOutcome::Skipped, None, None),
            Err(error) => (BulkOutcome::Failed, None, Some(problem_of(error))),
        };
        Ok(BulkResult {
            done,
            of,
            id,
            outcome,
            state,
            problem,
        })
    });
    Ok(results.boxed())
}

fn selected(filter: &BulkFilter) -> Result<Selected, CliError> {
    let attribute = filter.attribute.as_deref().map(name_and_value).transpose();
    Ok(Selected {
        query: Query {
            state: filter.state,
            device_type: filter.device_type.clone(),
            attribute: attribute.map_err(CliError::usage)?,
            site: filter.site.clone(),
            id_prefix: filter.id_prefix.clone(),
            expires_by: filter.expires_by,
            ..Query::default()
        },
        issuer: filter.issuer,
        ..Selected::default()
    })
}

fn action_of(
    action: BulkAction,
    reason: Option<leafgate_registry::RevocationReason>,
) -> DeviceAction {
    match action {
        BulkAction::Approve => DeviceAction::Approve,
        BulkAction::Enable => DeviceAction::Enable,
        BulkAction::Disable => DeviceAction::Disable,
        BulkAction::Quarantine => DeviceAction::Quarantine,
        BulkAction::Revoke => DeviceAction::Revoke(reason.unwrap_or_default()),
        BulkAction::Delete => DeviceAction::Delete,
    }
}
