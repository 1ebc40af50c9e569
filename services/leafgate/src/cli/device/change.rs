//! `leafgate device approve`, `disable`, `enable`, `quarantine`, `revoke` and `delete`.

use leafgate_api::Device;
use leafgate_registry::{Action, CertificateStatusKind, DeviceRecord, RevocationReason};

use super::view::colour_of;
use super::{id, read};
use crate::cli::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::registry::RegistryArguments;
use crate::cli::table::count;

pub(super) async fn run(
    registry: &RegistryArguments,
    context: &Context,
    id: &str,
    action: Action,
    reason: RevocationReason,
) -> Result<Exit, CliError> {
    let id = id::parse(id)?;
    let final_act = matches!(action, Action::Revoke | Action::Delete);
    if final_act {
        context.console.check_can_ask(&format!("{action} {id}"))?;
        let store = registry.store().await?;
        let record = read::load(&*store, &id).await?;
        context.console.confirm(&question(&record, action))?;
    }
    let act = context.act();
    let registrar = registry.registrar().await?;
    let record = match action {
        Action::Approve => registrar.approve(&id, &act).await,
        Action::Enable => registrar.enable(&id, &act).await,
        Action::Disable => registrar.disable(&id, &act).await,
        Action::Quarantine => registrar.quarantine(&id, &act).await,
        Action::Revoke => registrar.revoke(&id, reason, &act).await,
        Action::Delete => registrar.delete(&id, &act).await,
    }?;
    context.console.show(&Device::from(&record), |style| {
        let state = record.device.state;
        let state = style.paint(colour_of(state), state.as_str());
        format!("{id} is {state}{}", consequence(action))
    })?;
    Ok(Exit::Done)
}

fn question(record: &DeviceRecord, action: Action) -> String {
    let id = &record.device.id;
    let revocable = record
        .certificates
        .iter()
        .filter(|certificate| certificate.status.kind() != CertificateStatusKind::Revoked)
        .count();
    let certificates = match revocable {
        0 => String::new(),
        some => format!(" and revoke {}", count(some, "certificate")),
    };
    match action {
        Action::Delete => format!("Delete {id}{certificates}?"),
        _ => format!("Lock {id} out for good{certificates}?"),
    }
}

/// What follows from it, for those who don't know the states by heart.
fn consequence(action: Action) -> &'static str {
    match action {
        Action::Approve | Action::Enable => "",
        Action::Disable => ": its session ends, and log-ins are refused until it is enabled",
        Action::Quarantine => ": it may do what the quarantine grant of its policy allows, no more",
        Action::Revoke => " for good, its certificates with it",
        Action::Delete => ": its certificates are revoked, and the id can be registered again",
    }
}
