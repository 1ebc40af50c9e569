//! `leafgate token`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ArgGroup;
use leafgate_api::{Admits, CreateEnrolmentToken, CreatedEnrolmentToken, EnrolmentToken, Unnamed};
use leafgate_identity::{DeviceId, SpkiHash, TrustDomainName};
use leafgate_runtime::Clock;
use serde::Serialize;

use super::Context;
use super::device::{attributes, name_and_value, parse_id};
use super::error::{CliError, Exit};
use super::files::{draft_secret, explain_files, publish_secret, read_text};
use super::moment::{parse_duration, relative};
use super::registry::{Part, Registry, RegistryAddress};
use super::table::{self, NONE, Table, count, end_cell};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    registry: RegistryAddress,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make an enrolment token, with which new devices let themselves in.
    Create(CreateArguments),
    /// List enrolment tokens, those that ended a while ago too.
    List {
        #[command(flatten)]
        part: Part,
    },
    /// Revoke an enrolment token; the devices that it let in stay.
    Revoke {
        /// Its public part, as listed.
        id: String,
    },
}

#[derive(Debug, clap::Args)]
#[command(
    group = ArgGroup::new("admits").required(true),
    override_usage = "leafgate token create [OPTIONS] --out <FILE> <NAME>"
)]
struct CreateArguments {
    /// What people call it.
    name: String,
    /// For the device with this id; may be repeated.
    #[arg(long = "id", value_name = "ID", group = "admits")]
    ids: Vec<String>,
    /// For the devices in this file (JSON): ids, each with the SHA-256 of its key (SPKI) in hex.
    #[arg(long, value_name = "FILE", group = "admits")]
    manifest: Option<PathBuf>,
    /// For so many devices of any id, which then wait for approval.
    #[arg(long, value_name = "N", group = "admits", value_parser = clap::value_parser!(u32).range(1..))]
    unnamed: Option<u32>,
    /// Their type.
    #[arg(long = "type", value_name = "TYPE", default_value = "device")]
    device_type: String,
    /// The only site at which they may log in.
    #[arg(long, value_name = "SITE")]
    site: Option<String>,
    /// A free property of those that it registers; may be repeated.
    #[arg(long = "attr", value_name = "NAME=VALUE", value_parser = name_and_value)]
    attributes: Vec<(String, String)>,
    /// Their trust domain, where there are several.
    #[arg(long, value_name = "NAME")]
    trust_domain: Option<TrustDomainName>,
    /// How long it lasts: 12h, 7d [default: 24h].
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    expires_in: Option<Duration>,
    /// The new file for the token's text, for its owner only; it is told this once.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Serialize)]
struct CreatedView<'a> {
    enrolment_token: &'a EnrolmentToken,
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
    let admits = admits(arguments)?;
    let attributes = attributes(&arguments.attributes)?;
    let draft = draft_secret(&arguments.out)?;
    let new = CreateEnrolmentToken {
        name: arguments.name.clone(),
        admits,
        trust_domain: arguments.trust_domain.clone(),
        device_type: arguments.device_type.clone(),
        site: arguments.site.clone(),
        attributes,
        expires_at: arguments.expires_in.map(|time| now.saturating_add(time)),
    };
    let CreatedEnrolmentToken {
        enrolment_token,
        token,
    } = registry.create_enrolment_token(new).await?;
    let (id, file) = (&enrolment_token.id, &arguments.out);
    let lost = format!("a token was made and is lost: leafgate token revoke {id}");
    publish_secret(draft, &token, &lost)?;
    let view = CreatedView {
        enrolment_token: &enrolment_token,
        file,
    };
    context.console.show(&view, |_| {
        let devices = usize::try_from(enrolment_token.max_uses).unwrap_or(usize::MAX);
        format!(
            "token {id} ({}) for {} is made, expires {}\n{}",
            enrolment_token.name,
            count(devices, "device"),
            relative(enrolment_token.expires_at, now),
            explain_files(&[(file, "its text, for those devices alone")])
        )
    })?;
    Ok(Exit::Done)
}

fn admits(arguments: &CreateArguments) -> Result<Admits, CliError> {
    if let Some(path) = &arguments.manifest {
        let text = read_text(path)?;
        let manifest: BTreeMap<DeviceId, SpkiHash> =
            serde_json::from_str(&text).map_err(|error| {
                let error = format!("{}: {error}", path.display());
                CliError::usage(error).hint(r#"write {"0001": "<64 hex digits>", …}"#)
            })?;
        return Ok(Admits::Manifest(manifest));
    }
    if let Some(max_uses) = arguments.unnamed {
        return Ok(Admits::Unnamed(Unnamed { max_uses }));
    }
    let ids = arguments.ids.iter().map(|id| parse_id(id));
    let ids: BTreeSet<DeviceId> = ids.collect::<Result<_, _>>()?;
    Ok(Admits::Ids(ids))
}

async fn list(registry: &dyn Registry, context: &Context, part: &Part) -> Result<Exit, CliError> {
    let list = registry.enrolment_tokens(part).await?;
    context.console.show(&list, |style| {
        let now = context.clock.now();
        let mut table = Table::new(&["ID", "NAME", "TYPE", "SITE", "USED", "EXPIRES", "MADE BY"]);
        for token in &list.enrolment_tokens {
            table.push(vec![
                token.id.as_str().into(),
                token.name.as_str().into(),
                token.device_type.as_str().into(),
                token.site.as_deref().unwrap_or(NONE).into(),
                format!("{} of {}", token.uses, token.max_uses).into(),
                end_cell(token.expires_at, token.revoked_at, now),
                token.created_by.as_str().into(),
            ]);
        }
        let table = table.without_empty_column("SITE");
        table::page(&table, "token", list.next_page_token.as_deref(), style)
    })?;
    Ok(Exit::Done)
}

async fn revoke(registry: &dyn Registry, context: &Context, id: &str) -> Result<Exit, CliError> {
    let token = registry.revoke_enrolment_token(id).await?;
    context.console.show(&token, |_| {
        format!("token {} ({}) is revoked", token.id, token.name)
    })?;
    Ok(Exit::Done)
}
