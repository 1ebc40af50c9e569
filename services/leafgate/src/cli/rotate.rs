//! `leafgate ca rotate`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use leafgate_identity::{SpkiHash, UnixMs};
use leafgate_pki::{CaDirectory, Intermediate, PrepareNextError, RootAuthority};
use leafgate_registrar::{IssuerState, IssuerStatus, Registrar};
use leafgate_runtime::{Clock, read_secret};
use serde::Serialize;

use super::Context;
use super::certificate::expiry_cell;
use super::error::{CliError, Exit};
use super::files::explain_files;
use super::moment::{exact, relative};
use super::registry::RegistryArguments;
use super::table::{NONE, Table};

/// `leafgate ca rotate`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    registry: RegistryArguments,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make the next intermediate, which signs nothing yet, and say who must know it first.
    Prepare {
        /// What it is to sign.
        kind: Kind,
        /// The folder of the CA; that of the registry if it is left out.
        #[arg(long, value_name = "DIR")]
        ca: Option<PathBuf>,
        /// The file of the root's key, encrypted. Without it: root.key in the CA's folder, as it is
        /// there for development.
        #[arg(long, value_name = "FILE", requires = "passphrase_file")]
        root_key: Option<PathBuf>,
        /// The file that holds the passphrase of the root's key.
        #[arg(long, value_name = "FILE", requires = "root_key")]
        passphrase_file: Option<PathBuf>,
        /// Make one although the rotation before is not over.
        #[arg(long)]
        another: bool,
    },
    /// Show the issuers, their places in their rotation, and what is left of their certificates.
    Status,
    /// Let an issuer sign in the place of the present one; undone by activating that one again.
    Activate {
        /// The issuer: `devices` or `servers` for the only one that is
        /// prepared, or the SHA-256 of its public key, its first 8 digits or more.
        issuer: String,
        /// Go ahead although it was prepared less than a day ago: every listener and callout knows it.
        #[arg(long)]
        now: bool,
    },
    /// Let an issuer sign no certificate ever again. It signs revocation lists until its last
    /// certificate has ended.
    Retire {
        /// The issuer: `devices` or `servers` for the only one that is
        /// superseded, or the SHA-256 of its public key, its first 8 digits or more.
        issuer: String,
    },
    /// Remove a retired issuer from the CA's folder, with its key, once its last certificate has ended.
    Remove {
        /// The issuer: `devices` or `servers` for the only one that is
        /// retired, or the SHA-256 of its public key, its first 8 digits or more.
        issuer: String,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// Devices, and the clients of their listener.
    Devices,
    /// The nats-servers.
    Servers,
}

impl From<Kind> for Intermediate {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Devices => Self::Devices,
            Kind::Servers => Self::Servers,
        }
    }
}

#[derive(Serialize)]
struct PreparedView<'a> {
    name: &'a str,
    issuer: SpkiHash,
    /// The certificates of all issuers of this kind.
    certificates: PathBuf,
    key: PathBuf,
}

#[derive(Serialize)]
struct IssuersView {
    issuers: Vec<IssuerView>,
}

#[derive(Serialize)]
struct IssuerView {
    name: String,
    issuer: SpkiHash,
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<UnixMs>,
    key_present: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    outstanding: Option<OutstandingView>,
}

#[derive(Serialize)]
struct OutstandingView {
    certificates: usize,
    holders: usize,
    last_not_after: Option<UnixMs>,
    unexpired: usize,
    last_unexpired: Option<UnixMs>,
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> Result<Exit, CliError> {
    let registry = &arguments.registry;
    match &arguments.command {
        Command::Prepare {
            kind,
            ca,
            root_key,
            passphrase_file,
            another,
        } => {
            let folder = match ca {
                Some(folder) => CaDirectory::open(folder)
                    .map_err(|error| CliError::caused(Exit::NotFound, &error))?,
                None => registry.authorities()?,
            };
            let root = root(&folder, root_key.as_deref().zip(passphrase_file.as_deref()))?;
            prepare((*kind).into(), &folder, &root, *another, context)?;
            if ca.is_none() {
                // From here on the registry knows since when it is there.
                let registrar = registry.registrar().await?;
                registrar.note_issuers(&context.act()).await?;
            }
        }
        Command::Status => {
            let registrar = registry.registrar().await?;
            let all = registrar.issuers(context.clock.now()).await?;
            show(&all, context, |_| None)?;
        }
        Command::Activate { issuer, now } => {
            let registrar = registry.registrar().await?;
            let found = find(&registrar, issuer, IssuerState::Prepared, context).await?;
            let issuer = found.issuer;
            let ripe = if *now {
                Duration::ZERO
            } else {
                Registrar::DEFAULT_ACTIVATE_AFTER
            };
            let act = context.act();
            let activated = registrar.activate_issuer(&issuer, ripe, &act);
            let activated = activated.await.map_err(|error| {
                let error = CliError::from(error);
                match error.exit() {
                    Exit::Conflict if !now => error.hint("give --now if all of them know it"),
                    _ => error,
                }
            })?;
            show(&[activated], context, |_| Some(ACTIVATED.to_owned()))?;
        }
        Command::Retire { issuer } => {
            let registrar = registry.registrar().await?;
            let found = find(&registrar, issuer, IssuerState::Superseded, context).await?;
            let issuer = found.issuer;
            let retired = registrar.retire_issuer(&issuer, &context.act()).await?;
            show(&[retired], context, |it| Some(after_retirement(it)))?;
        }
        Command::Remove { issuer } => {
            let registrar = registry.registrar().await?;
            let status = find(&registrar, issuer, IssuerState::Retired, context).await?;
            remove(&status, &registry.authorities()?, context)?;
        }
    }
    Ok(Exit::Done)
}

fn root(ca: &CaDirectory, key: Option<(&Path, &Path)>) -> Result<RootAuthority, CliError> {
    let certificate = ca.root_certificate();
    let root = match key {
        Some((key, passphrase)) => {
            RootAuthority::read_encrypted(&certificate, key, &read_secret(passphrase)?)
        }
        None => {
            let key = ca.path().join("root.key");
            if !key.exists() {
                let error = format!("{} holds no root key", ca.path().display());
                return Err(CliError::usage(error)
                    .hint("take it out of the safe: --root-key FILE --passphrase-file FILE"));
            }
            RootAuthority::read_plain(&certificate, &key)
        }
    };
    root.map_err(|error| CliError::caused(Exit::Usage, &error))
}

fn prepare(
    intermediate: Intermediate,
    folder: &CaDirectory,
    root: &RootAuthority,
    another: bool,
    context: &Context,
) -> Result<(), CliError> {
    let prepared = folder.prepare_next(intermediate, root, another, context.clock.now());
    let prepared = prepared.map_err(|error| match &error {
        PrepareNextError::RotationUnfinished { .. } => CliError::caused(Exit::Conflict, &error)
            .hint("`leafgate ca rotate status` shows where it stands; remove what is over, or give --another"),
        _ => CliError::caused(Exit::Usage, &error),
    })?;
    let view = PreparedView {
        name: intermediate.as_str(),
        issuer: prepared.issuer,
        certificates: prepared.certificates,
        key: prepared.key,
    };
    context.console.show(&view, |_| {
        let files: [(&Path, &str); 2] = [
            (
                &view.certificates,
                "the present certificate and the next: what must be known before it signs",
            ),
            (&view.key, "its key, for every registry that signs"),
        ];
        format!(
            "{} has a next intermediate, {}, which signs nothing yet\n{}\n\n{}",
            view.name,
            short(&view.issuer),
            explain_files(&files),
            next_steps(intermediate, &view.issuer)
        )
    })
}

/// What an operator does between preparing an issuer and activating it.
fn next_steps(intermediate: Intermediate, issuer: &SpkiHash) -> String {
    let (files, restarts) = match intermediate {
        Intermediate::Devices => (
            "the ca_file of every device listener, and to the issuers of [[trust_domain]] of every callout\n     and registry",
            "nats-servers: restart them one by one in lame-duck mode. A reload works too, but reconnects\n     their devices. Callout replicas: restart them one by one.",
        ),
        Intermediate::Servers => (
            "the ca_file of every route and leaf listener",
            "nats-servers: restart them one by one in lame-duck mode. A reload works too, but reconnects\n     their devices.",
        ),
    };
    format!(
        "Next:\n\
         \x20 1. Copy {intermediate}.crt to {files}. Copy it and the new key\n\
         \x20    to every registry's CA folder that is not this one. Registries read them by themselves.\n\
         \x20 2. {restarts}\n\
         \x20 3. Make sure that each of them has started since, and that every registry lists the issuer\n\
         \x20    with its key: `leafgate ca rotate status`, or GET /v1/issuers.\n\
         \x20 4. After a day: leafgate ca rotate activate {}",
        short(issuer)
    )
}

const ACTIVATED: &str = "New certificates come from it. The one before can be activated again until it is retired:\n\
     leafgate ca rotate retire ISSUER";

fn after_retirement(status: &IssuerStatus) -> String {
    let Some(left) = status.outstanding else {
        return "It signs no certificate any more. Keep it in the ca_file of listeners and the issuers of callouts\n\
                until its last certificate has ended."
            .to_owned();
    };
    let keep = match left.last_not_after {
        Some(end) => format!(
            "{} devices and services hold {} certificates of it, the last until {}.\n\
             Keep it in the ca_file of listeners and the issuers of callouts until then.",
            left.holders,
            left.certificates,
            exact(end)
        ),
        None => {
            "Nobody holds a certificate of it: listeners and callouts need it no longer.".to_owned()
        }
    };
    match left.last_unexpired {
        Some(end) => format!(
            "{keep}\nIts revocation list is signed until {}; then: leafgate ca rotate remove {}",
            exact(end),
            short(&status.issuer)
        ),
        None => format!(
            "{keep}\nThen: leafgate ca rotate remove {}",
            short(&status.issuer)
        ),
    }
}

fn remove(status: &IssuerStatus, folder: &CaDirectory, context: &Context) -> Result<(), CliError> {
    let issuer = short(&status.issuer);
    if status.state != IssuerState::Retired {
        let error = format!("issuer {issuer} is {}, not retired", status.state);
        let hint = format!("leafgate ca rotate retire {issuer}");
        return Err(CliError::new(Exit::Conflict, error).hint(hint));
    }
    if let Some(end) = status.outstanding.and_then(|left| left.last_unexpired) {
        let error = format!("issuer {issuer} has certificates until {}", exact(end));
        let hint = "its revocation list is signed until then";
        return Err(CliError::new(Exit::Conflict, error).hint(hint));
    }
    let removed = folder.remove(status.intermediate, &status.issuer);
    removed.map_err(|error| CliError::caused(Exit::Usage, &error))?;
    let file = folder.certificate(status.intermediate);
    let text = format!(
        "issuer {issuer} and its key are gone from {}\n\
         Next: copy {} to listeners, callouts and other registries as before, and remove the key there",
        folder.path().display(),
        file.display()
    );
    let view = serde_json::json!({ "issuer": status.issuer, "certificates": file });
    context.console.show(&view, |_| text)
}

/// The issuer that begins with these digits; or, by the name of its kind, the only one of it in this state.
async fn find(
    registrar: &Registrar,
    text: &str,
    state: IssuerState,
    context: &Context,
) -> Result<IssuerStatus, CliError> {
    let kind = [Intermediate::Devices, Intermediate::Servers]
        .into_iter()
        .find(|kind| kind.as_str() == text);
    let is_hex = |digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    if kind.is_none() && !(text.len() >= 8 && text.bytes().all(is_hex)) {
        let error = format!(
            "{text:?} is not an issuer: devices, servers, or 8 lower-case hexadecimal digits or more"
        );
        return Err(CliError::usage(error).hint(LISTED));
    }
    let matches = |it: &IssuerStatus| match kind {
        Some(kind) => it.intermediate == kind && it.state == state,
        None => it.issuer.to_string().starts_with(text),
    };
    let all = registrar.issuers(context.clock.now()).await?.into_iter();
    let mut found = all.filter(matches);
    let what = match kind {
        Some(kind) => format!("{state} issuer of {kind}"),
        None => format!("issuer {text}"),
    };
    match (found.next(), found.next()) {
        (Some(found), None) => Ok(found),
        (None, _) => {
            let error = format!("there is no {what}");
            Err(CliError::new(Exit::NotFound, error).hint(LISTED))
        }
        (Some(_), Some(_)) => {
            let error = format!("there is more than one {what}");
            Err(CliError::usage(error).hint("name it by more of its digits"))
        }
    }
}

const LISTED: &str = "`leafgate ca rotate status` lists them";

fn show(
    all: &[IssuerStatus],
    context: &Context,
    next: impl FnOnce(&IssuerStatus) -> Option<String>,
) -> Result<(), CliError> {
    let view = IssuersView {
        issuers: all.iter().map(IssuerView::of).collect(),
    };
    let now = context.clock.now();
    context.console.show(&view, |style| {
        let mut table = Table::new(&[
            "NAME",
            "ISSUER",
            "STATE",
            "SINCE",
            "HOLDERS",
            "CERTIFICATES",
            "LAST EXPIRES",
            "KEY",
        ]);
        for it in all {
            let left = it.outstanding;
            let count = |count: Option<usize>| count.map_or(NONE.to_owned(), |it| it.to_string());
            table.push(vec![
                it.intermediate.as_str().into(),
                short(&it.issuer).into(),
                it.state.as_str().into(),
                it.since
                    .map_or(NONE.to_owned(), |at| relative(at, now))
                    .into(),
                count(left.map(|it| it.holders)).into(),
                count(left.map(|it| it.certificates)).into(),
                left.and_then(|it| it.last_not_after)
                    .map_or(NONE.into(), |end| expiry_cell(end, now)),
                if it.key_present { "here" } else { "missing" }.into(),
            ]);
        }
        let next = all.first().and_then(next);
        let next = next.map_or(String::new(), |next| format!("\n{next}"));
        format!("{}{next}", table.render(style))
    })
}

impl IssuerView {
    fn of(status: &IssuerStatus) -> Self {
        Self {
            name: status.intermediate.to_string(),
            issuer: status.issuer,
            state: status.state.to_string(),
            since: status.since,
            key_present: status.key_present,
            outstanding: status.outstanding.map(|it| OutstandingView {
                certificates: it.certificates,
                holders: it.holders,
                last_not_after: it.last_not_after,
                unexpired: it.unexpired,
                last_unexpired: it.last_unexpired,
            }),
        }
    }
}

/// What people name an issuer by.
fn short(issuer: &SpkiHash) -> String {
    let mut text = issuer.to_string();
    text.truncate(8);
    text
}
