//! `leafgate certificate`.

mod list;
mod renew;
mod view;

use std::path::PathBuf;

use leafgate_identity::{SerialNumber, SpkiHash};
use leafgate_registry::RevocationReason;

use self::view::holder_of;
pub(super) use self::view::{admits, describe_status, expiry_cell, status_cell};
use super::error::{CliError, Exit};
use super::registry::{Registry, RegistryAddress};
use super::{Context, device};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    registry: RegistryAddress,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Issue a certificate to a device: for a new key, or for that of a certificate request.
    Issue {
        /// The device.
        id: String,
        /// The certificate request (PEM); - reads standard input. Only its key is used.
        #[arg(long, value_name = "FILE")]
        csr: Option<PathBuf>,
        /// The folder for ID.crt (with its chain), ID.key and ca.crt; with --csr the file, or
        /// folder, for the certificate, which is printed without it.
        #[arg(long, value_name = "DIR", required_unless_present = "csr")]
        out: Option<PathBuf>,
    },
    /// Renew a device's certificate with the one that it has, as the device itself would.
    Renew(renew::Arguments),
    /// Revoke one certificate; its holder keeps the others.
    Revoke(RevokeArguments),
    /// List certificates of devices and services.
    List(list::Arguments),
    /// Find certificates by what identifies them.
    Search(list::SearchArguments),
}

#[derive(Debug, clap::Args)]
struct RevokeArguments {
    /// Its serial number, in hex as listed or with colons.
    #[arg(value_parser = serial_number)]
    serial: SerialNumber,
    /// The public key of its issuer, where two issuers gave out the same serial number.
    #[arg(long, value_name = "HEX")]
    issuer: Option<SpkiHash>,
    /// Why, as revocation lists say it: unspecified, key-compromise, ca-compromise,
    /// affiliation-changed, superseded, cessation-of-operation or privilege-withdrawn.
    #[arg(long, value_name = "REASON", default_value = "unspecified")]
    reason: RevocationReason,
}

/// Reads a serial number as leafgate or OpenSSL writes it.
fn serial_number(text: &str) -> Result<SerialNumber, String> {
    let hex = text.replace(':', "").to_ascii_lowercase();
    hex.parse()
        .map_err(|error: leafgate_identity::ParseSerialNumberError| error.to_string())
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> Result<Exit, CliError> {
    let address = &arguments.registry;
    let open = || address.open(context);
    match &arguments.command {
        Command::Issue { id, csr, out } => match (csr, out) {
            (Some(csr), out) => device::sign(&*open()?, context, id, csr, out.as_deref()).await,
            (None, Some(out)) => device::issue(&*open()?, context, id, out).await,
            (None, None) => Err(CliError::usage("give --out, --csr or both")),
        },
        // The device itself asks, with its certificate.
        Command::Renew(arguments) => renew::run(address, context, arguments).await,
        Command::Revoke(arguments) => revoke(&*open()?, context, arguments).await,
        Command::List(arguments) => list::list(&*open()?, context, arguments).await,
        Command::Search(arguments) => list::search(&*open()?, context, arguments).await,
    }
}

async fn revoke(
    registry: &dyn Registry,
    context: &Context,
    arguments: &RevokeArguments,
) -> Result<Exit, CliError> {
    let RevokeArguments {
        serial,
        issuer,
        reason,
    } = arguments;
    context
        .console
        .check_can_ask(&format!("revoke certificate {serial}"))?;
    let held = registry
        .certificate(*serial, *issuer)
        .await
        .map_err(|error| match error.exit() {
            Exit::NotFound => error.hint("leafgate certificate list shows those that there are"),
            Exit::Usage | Exit::Conflict => error.hint("give --issuer HEX"),
            _ => error,
        })?;
    let kind = if held.device.is_some() {
        "device"
    } else {
        "service"
    };
    let holder = format!("{kind} {}", holder_of(&held));
    context.console.confirm(&format!(
        "Revoke certificate {serial} of {holder} for good?"
    ))?;
    let revoked = registry
        .revoke_certificate(*serial, held.certificate.issuer, *reason)
        .await?;
    context.console.show(&revoked, |_| {
        let done = format!("certificate {serial} of {holder} is revoked");
        match registry.publishes_revocations() {
            true => done,
            false => {
                format!("{done}\nNext: leafgate ca crl --out DIR puts it on the revocation list")
            }
        }
    })?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_are_read_as_openssl_writes_them() {
        let plain = serial_number("0aff").unwrap();
        assert_eq!(plain.to_string(), "0aff");
        assert_eq!(serial_number("0A:FF"), Ok(plain));
        assert_eq!(serial_number("0AFF"), Ok(plain));
        assert!(serial_number("0x0aff").is_err());
    }
}
