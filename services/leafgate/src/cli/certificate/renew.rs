//! `leafgate certificate renew`.

use std::path::{Path, PathBuf};

use leafgate_identity::{Fingerprint, SerialNumber, UnixMs};
use leafgate_runtime::{Clock, read_secret};
use serde::Serialize;

use crate::cli::Context;
use crate::cli::device::parse_id;
use crate::cli::error::{CliError, Exit};
use crate::cli::files::{
    explain_files, make_key, prepare_credentials, read_text, write_credentials,
};
use crate::cli::moment::relative;
use crate::cli::registry::{Presented, RegistryAddress};
use crate::local::Credentials;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The device.
    id: String,
    /// The folder with ID.crt and ID.key, which are replaced by a new certificate and key.
    #[arg(long, value_name = "DIR", default_value = ".")]
    cert_dir: PathBuf,
}

#[derive(Serialize)]
struct RenewedView<'a> {
    serial: SerialNumber,
    fingerprint: Fingerprint,
    not_after: UnixMs,
    renew_after: UnixMs,
    files: Files<'a>,
}

#[derive(Serialize)]
struct Files<'a> {
    certificate: &'a Path,
    key: &'a Path,
}

pub(super) async fn run(
    address: &RegistryAddress,
    context: &Context,
    arguments: &Arguments,
) -> Result<Exit, CliError> {
    let id = parse_id(&arguments.id)?;
    let present = Credentials::in_folder(&arguments.cert_dir, id.as_str());
    let chain = read_text(&present.certificate)?;
    let presented = Presented::parse(&chain, &read_secret(&present.key)?).map_err(|problem| {
        CliError::usage(format!("{}: {problem}", present.certificate.display()))
    })?;
    let files = prepare_credentials(&arguments.cert_dir.join(id.as_str()))?;
    let (key, csr) = make_key(id.as_str())?;
    let renewed = address.renew(context, &id, presented, &csr).await?;
    write_credentials(files, &renewed.chain, &key)?;
    let view = RenewedView {
        serial: renewed.serial,
        fingerprint: renewed.fingerprint,
        not_after: renewed.not_after,
        renew_after: renewed.renew_after,
        files: Files {
            certificate: &present.certificate,
            key: &present.key,
        },
    };
    context.console.show(&view, |_| {
        let now = context.clock.now();
        let certificate = format!(
            "its certificate with the chain, expires {}; best renewed {}",
            relative(view.not_after, now),
            relative(view.renew_after, now)
        );
        let files = explain_files(&[
            (&present.certificate, &certificate),
            (&present.key, "its new key, for the device alone"),
        ]);
        format!("{id} has a new certificate\n{files}")
    })?;
    Ok(Exit::Done)
}
