//! `leafgate api-key`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use leafgate_access::{Role, Scope, Selection};
use leafgate_api::{ApiKey, CreateApiKey, CreatedApiKey};
use leafgate_runtime::Clock;
use serde::Serialize;

use super::Context;
use super::error::{CliError, Exit};
use super::files::{draft_secret, explain_files, publish_secret};
use super::moment::{parse_duration, relative};
use super::registry::{Part, Registry, RegistryAddress};
use super::table::{self, Table, end_cell};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    registry: RegistryAddress,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make an API key, for no more than your own may do.
    Create(CreateArguments),
    /// List API keys, those that ended a while ago too.
    List {
        #[command(flatten)]
        part: Part,
    },
    /// Revoke an API key.
    Revoke {
        /// Its public part, as listed.
        id: String,
    },
}

#[derive(Debug, clap::Args)]
struct CreateArguments {
    /// What people call it.
    name: String,
    /// What it may do: viewer, operator, provisioner, auditor or admin; may be repeated.
    #[arg(long = "role", value_name = "ROLE", required = true)]
    roles: Vec<Role>,
    /// To devices of this trust domain only; may be repeated.
    #[arg(long = "trust-domain", value_name = "NAME")]
    trust_domains: Vec<String>,
    /// To devices of this site only; may be repeated.
    #[arg(long = "site", value_name = "SITE")]
    sites: Vec<String>,
    /// To devices of this type only; may be repeated.
    #[arg(long = "type", value_name = "TYPE")]
    device_types: Vec<String>,
    /// How long it lasts: 12h, 30d [default: 90d].
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    expires_in: Option<Duration>,
    /// The new file for the key's text, for its owner only; it is told this once.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Serialize)]
struct CreatedView<'a> {
    api_key: &'a ApiKey,
    file: &'a Path,
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> Result<Exit, CliError> {
    let registry = &*arguments.registry.open(context)?;
    match &arguments.command {
        Command::Create(arguments) => create(registry, context, arguments).await,
        Command::List { part } => list(registry, context, part).await,
        Command::Revoke { id } => revoke(registry, context, id).await,
    }
}

async fn create(
    registry: &dyn Registry,
    context: &Context,
    arguments: &CreateArguments,
) -> Result<Exit, CliError> {
    let now = context.clock.now();
    let draft = draft_secret(&arguments.out)?;
    let new = CreateApiKey {
        name: arguments.name.clone(),
        roles: arguments.roles.iter().copied().collect(),
        scope: Scope {
            trust_domains: selection(&arguments.trust_domains),
            sites: selection(&arguments.sites),
            device_types: selection(&arguments.device_types),
        },
        expires_at: arguments.expires_in.map(|time| now.saturating_add(time)),
    };
    let CreatedApiKey { api_key, key } = registry.create_api_key(new).await?;
    let file = &arguments.out;
    let id = &api_key.id;
    let lost = format!("an API key was made and is lost: leafgate api-key revoke {id}");
    publish_secret(draft, &key, &lost)?;
    let view = CreatedView {
        api_key: &api_key,
        file,
    };
    context.console.show(&view, |_| {
        let expires = relative(api_key.expires_at, now);
        format!(
            "API key {} ({}) is made, expires {expires}\n{}",
            api_key.id,
            api_key.name,
            explain_files(&[(file, "its text, for who uses it alone")])
        )
    })?;
    Ok(Exit::Done)
}

/// All where none is named.
fn selection(names: &[String]) -> Selection {
    if names.is_empty() {
        return Selection::Any;
    }
    names.iter().cloned().collect()
}

async fn list(registry: &dyn Registry, context: &Context, part: &Part) -> Result<Exit, CliError> {
    let list = registry.api_keys(part).await?;
    context.console.show(&list, |style| {
        let now = context.clock.now();
        let mut table = Table::new(&["ID", "NAME", "ROLES", "SCOPE", "EXPIRES", "MADE BY"]);
        for key in &list.api_keys {
            table.push(vec![
                key.id.as_str().into(),
                key.name.as_str().into(),
                roles(key).into(),
                scope(&key.scope).into(),
                end_cell(key.expires_at, key.revoked_at, now),
                key.created_by.as_str().into(),
            ]);
        }
        table::page(&table, "API key", list.next_page_token.as_deref(), style)
    })?;
    Ok(Exit::Done)
}

fn roles(key: &ApiKey) -> String {
    let names: Vec<&str> = key.roles.iter().map(Role::as_str).collect();
    names.join(", ")
}

/// What it is narrowed to.
fn scope(scope: &Scope) -> String {
    let parts = [
        ("trust domain", &scope.trust_domains),
        ("site", &scope.sites),
        ("type", &scope.device_types),
    ];
    let narrow = parts
        .iter()
        .filter(|(_, selection)| **selection != Selection::Any);
    let narrow: Vec<String> = narrow
        .map(|(name, selection)| format!("{name} {selection}"))
        .collect();
    if narrow.is_empty() {
        return "everything".to_owned();
    }
    narrow.join("; ")
}

async fn revoke(registry: &dyn Registry, context: &Context, id: &str) -> Result<Exit, CliError> {
    let key = registry.revoke_api_key(id).await?;
    context.console.show(&key, |_| {
        format!("API key {} ({}) is revoked", key.id, key.name)
    })?;
    Ok(Exit::Done)
}
