//! What a rotation makes of the files of a CA.

use std::path::{Path, PathBuf};

use leafgate_api::Issuer;
use leafgate_identity::SpkiHash;
use leafgate_pki::{CaDirectory, Intermediate, PrepareNextError};
use leafgate_registrar::IssuerState;
use leafgate_runtime::Clock;
use serde::Serialize;

use super::view::short;
use crate::cli::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::files::explain_files;
use crate::cli::moment::exact;
use crate::cli::root::RootArguments;

#[derive(Serialize)]
struct PreparedView<'a> {
    name: &'a str,
    issuer: SpkiHash,
    /// The certificates of all issuers of this kind.
    certificates: PathBuf,
    key: PathBuf,
}

/// Makes the next intermediate.
pub(super) fn prepare(
    intermediate: Intermediate,
    folder: &CaDirectory,
    root: &RootArguments,
    another: bool,
    context: &Context,
) -> Result<(), CliError> {
    let root = root.root(folder)?;
    let prepared = folder.prepare_next(intermediate, &root, another, context.clock.now());
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

/// Takes an issuer that is over out of the folder.
pub(super) fn remove(
    status: &Issuer,
    folder: &CaDirectory,
    context: &Context,
) -> Result<(), CliError> {
    let issuer = short(&status.issuer);
    if status.state != IssuerState::Retired.as_str() {
        let error = format!("issuer {issuer} is {}, not retired", status.state);
        let hint = format!("leafgate ca rotate retire {issuer}");
        return Err(CliError::new(Exit::Conflict, error).hint(hint));
    }
    if let Some(end) = status
        .outstanding
        .as_ref()
        .and_then(|left| left.last_unexpired)
    {
        let error = format!("issuer {issuer} has certificates until {}", exact(end));
        let hint = "its revocation list is signed until then";
        return Err(CliError::new(Exit::Conflict, error).hint(hint));
    }
    if status.outstanding.is_none() {
        let act = format!("remove issuer {issuer}, of whose certificates this registry can't tell");
        context.console.check_can_ask(&act)?;
        context.console.confirm(&format!(
            "This registry can't tell which certificates of issuer {issuer} are left. Remove it with its key?"
        ))?;
    }
    let intermediate = [Intermediate::Devices, Intermediate::Servers]
        .into_iter()
        .find(|it| it.as_str() == status.name)
        .ok_or_else(|| CliError::usage(format!("there are no files of {}", status.name)))?;
    let removed = folder.remove(intermediate, &status.issuer);
    removed.map_err(|error| CliError::caused(Exit::Usage, &error))?;
    let file = folder.certificate(intermediate);
    let text = format!(
        "issuer {issuer} and its key are gone from {}\n\
         Next: copy {} to listeners, callouts and other registries as before, and remove the key there",
        folder.path().display(),
        file.display()
    );
    let view = serde_json::json!({ "issuer": status.issuer, "certificates": file });
    context.console.show(&view, |_| text)
}
