//! `leafgate device explain`.

use std::net::IpAddr;

use leafgate_api::{Explanation, Grant, GrantSubjects};
use leafgate_policy::Lifetime;
use leafgate_runtime::Clock;

use super::id;
use crate::cli::Context;
use crate::cli::console::{Colour, Style, plain};
use crate::cli::error::{CliError, Exit};
use crate::cli::moment::relative;
use crate::cli::registry::{LogIn, Registry};
use crate::cli::table::NONE;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The device.
    id: String,
    /// How it connects: STANDARD, WEBSOCKET, MQTT and so on [default: STANDARD].
    #[arg(long, value_name = "TYPE")]
    connection_type: Option<String>,
    /// The address that it connects from.
    #[arg(long, value_name = "ADDRESS")]
    source: Option<IpAddr>,
    /// The site that it connects at [default: that of the registry's configuration].
    #[arg(long, value_name = "SITE")]
    site: Option<String>,
}

/// Ends with [`Exit::Wrong`] if the device would be refused, for scripts.
pub(super) async fn run(
    registry: &dyn Registry,
    context: &Context,
    arguments: &Arguments,
) -> Result<Exit, CliError> {
    let login = LogIn {
        connection_type: arguments.connection_type.clone(),
        source: arguments.source,
        site: arguments.site.clone(),
    };
    let explanation = registry.explain(&id::parse(&arguments.id)?, &login).await?;
    context.console.show(&explanation, |style| {
        let until = explanation
            .until
            .map(|until| relative(until, context.clock.now()));
        describe(&explanation, until.as_deref(), style)
    })?;
    Ok(if explanation.admitted {
        Exit::Done
    } else {
        Exit::Wrong
    })
}

fn describe(explanation: &Explanation, until: Option<&str>, style: Style) -> String {
    let Explanation {
        device,
        certificate,
        grant,
        reason,
        detail,
        ..
    } = explanation;
    let certificate = match certificate {
        Some(serial) => format!("certificate {serial}"),
        None => "no certificate".to_owned(),
    };
    let Some(grant) = grant else {
        let refused = style.paint(Colour::Bad, "would be refused");
        let reason = plain(reason.as_deref().unwrap_or(NONE));
        let detail = detail
            .as_deref()
            .map(|detail| format!(": {}", plain(detail)));
        return format!(
            "{device} {refused}, {certificate}\n  {reason}{}",
            detail.unwrap_or_default()
        );
    };
    let admitted = style.paint(Colour::Good, "would be let in");
    let mut lines = vec![format!("{device} {admitted}, {certificate}")];
    for (name, value) in facts(grant) {
        lines.push(format!("  {name:<10} {}", plain(&value)));
    }
    let lifetime = Lifetime {
        secs: grant.lifetime.secs,
        jitter_percent: grant.lifetime.jitter_percent,
    };
    lines.push(format!(
        "  account {}, up to {lifetime}{}",
        plain(&grant.account),
        until
            .map(|until| format!(", ends {until}"))
            .unwrap_or_default()
    ));
    lines.join("\n")
}

fn facts(grant: &Grant) -> Vec<(&'static str, String)> {
    let subjects = |subjects: &GrantSubjects| {
        let denied = subjects.deny.iter().map(|subject| format!("not {subject}"));
        let all: Vec<String> = subjects.allow.iter().cloned().chain(denied).collect();
        if all.is_empty() {
            "nothing".to_owned()
        } else {
            all.join("   ")
        }
    };
    let policy = if grant.quarantined {
        format!("{}, its quarantine grant", grant.policy)
    } else {
        grant.policy.clone()
    };
    vec![
        ("policy", policy),
        ("publish", subjects(&grant.publish)),
        ("subscribe", subjects(&grant.subscribe)),
    ]
}
