//! `leafgate device approve`, `disable`, `enable`, `quarantine`, `revoke` and `delete`.

use leafgate_api::Device;
use leafgate_registrar::DeviceAction;
use leafgate_registry::{Action, CertificateStatusKind};

use super::id;
use super::view::colour_of;
use crate::cli::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::registry::Registry;
use crate::cli::table::count;

pub(super) async fn run(
    registry: &dyn Registry,
    context: &Context,
    id: &str,
    action: DeviceAction,
) -> Result<Exit, CliError> {
    let id = id::parse(id)?;
    let verb = action.action();
    if matches!(verb, Action::Revoke | Action::Delete) {
        context.console.check_can_ask(&format!("{verb} {id}"))?;
        if context.console.asks() {
            let device = registry.device(&id).await?;
            context.console.confirm(&question(&device, verb))?;
        }
    }
    let device = registry.change_state(&id, action).await?;
    context.console.show(&device, |style| {
        let state = style.paint(colour_of(device.state), device.state.as_str());
        format!("{id} is {state}{}", consequence(verb))
    })?;
    Ok(Exit::Done)
}

fn question(device: &Device, action: Action) -> String {
    let id = &device.id;
    let revocable = device
        .certificates
        .iter()
        .filter(|certificate| certificate.status != CertificateStatusKind::Revoked)
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
