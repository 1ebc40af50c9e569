//! `leafgate certificate`.

mod view;

use leafgate_api::{CertificateList, HeldCertificate};
use leafgate_identity::{SerialNumber, SpkiHash};
use leafgate_registrar::RegistrarError;
use leafgate_registry::{
    Certificate, CertificateId, CertificateQuery, CertificateStatusKind, Cursor, DeviceStore,
    Holder, RevocationReason,
};
use leafgate_runtime::Clock;

use self::view::holder_of;
pub(super) use self::view::{admits, describe_status, expiry_cell, status_cell};
use super::Context;
use super::error::{CliError, Exit};
use super::registry::RegistryArguments;
use super::table::{self, Table};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    registry: RegistryArguments,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List certificates of devices and services.
    List(ListArguments),
    /// Revoke one certificate; its holder keeps the others.
    Revoke {
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
    },
}

#[derive(Debug, clap::Args)]
struct ListArguments {
    /// Of this service.
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Of this status: prepared, issued, superseded or revoked.
    #[arg(long, value_name = "STATUS")]
    status: Option<CertificateStatusKind>,
    /// Of the issuer with this public key, as `leafgate ca show` shows it.
    #[arg(long, value_name = "HEX")]
    issuer: Option<SpkiHash>,
    /// How many at most.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Go on where an earlier list ended.
    #[arg(long, value_name = "NEXT")]
    after: Option<Cursor<CertificateId>>,
}

/// Reads a serial number as leafgate or OpenSSL writes it.
fn serial_number(text: &str) -> Result<SerialNumber, String> {
    let hex = text.replace(':', "").to_ascii_lowercase();
    hex.parse()
        .map_err(|error: leafgate_identity::ParseSerialNumberError| error.to_string())
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> Result<Exit, CliError> {
    let registry = &arguments.registry;
    match &arguments.command {
        Command::List(arguments) => list(registry, context, arguments).await,
        Command::Revoke {
            serial,
            issuer,
            reason,
        } => revoke(registry, context, *serial, *issuer, *reason).await,
    }
}

async fn list(
    registry: &RegistryArguments,
    context: &Context,
    arguments: &ListArguments,
) -> Result<Exit, CliError> {
    let query = CertificateQuery {
        issuer: arguments.issuer,
        holder: arguments
            .service
            .clone()
            .map(|name| Holder::Service { name }),
        status: arguments.status,
        after: arguments.after.clone(),
        limit: usize::try_from(arguments.limit).unwrap_or(usize::MAX),
        ..CertificateQuery::default()
    };
    let page = registry.store().await?.find_certificates(&query).await?;
    let list = CertificateList {
        certificates: page.items.iter().map(HeldCertificate::from).collect(),
        next_page_token: page.next.as_ref().map(ToString::to_string),
    };
    context.console.show(&list, |style| {
        let now = context.clock.now();
        let mut table = Table::new(&["CERTIFICATE", "HOLDER", "PROFILE", "STATUS", "EXPIRES"]);
        for held in &list.certificates {
            let certificate = &held.certificate;
            table.push(vec![
                certificate.serial.to_string().into(),
                holder_of(held).into(),
                certificate.profile.as_str().into(),
                status_cell(certificate, now),
                expiry_cell(certificate.not_after, now),
            ]);
        }
        let next = list.next_page_token.as_deref();
        table::page(&table, "certificate", next, style)
    })?;
    Ok(Exit::Done)
}

async fn revoke(
    registry: &RegistryArguments,
    context: &Context,
    serial: SerialNumber,
    issuer: Option<SpkiHash>,
    reason: RevocationReason,
) -> Result<Exit, CliError> {
    context
        .console
        .check_can_ask(&format!("revoke certificate {serial}"))?;
    let certificate = find(&*registry.store().await?, serial, issuer).await?;
    let holder = match &certificate.holder {
        Holder::Device { id, .. } => format!("device {id}"),
        Holder::Service { name } => format!("service {name}"),
    };
    context.console.confirm(&format!(
        "Revoke certificate {serial} of {holder} for good?"
    ))?;
    let registrar = registry.registrar().await?;
    let revoked = registrar
        .revoke_certificate(serial, Some(certificate.issuer), reason, &context.act())
        .await?;
    context
        .console
        .show(&HeldCertificate::from(&revoked), |_| {
            format!(
                "certificate {serial} of {holder} is revoked\n\
                 Next: leafgate ca crl --out DIR puts it on the revocation list"
            )
        })?;
    Ok(Exit::Done)
}

/// The one certificate with this serial number.
async fn find(
    store: &dyn DeviceStore,
    serial: SerialNumber,
    issuer: Option<SpkiHash>,
) -> Result<Certificate, CliError> {
    let query = CertificateQuery {
        serial: Some(serial),
        issuer,
        limit: 2,
        ..CertificateQuery::default()
    };
    let mut found = store.find_certificates(&query).await?.items;
    match (found.pop(), found.pop()) {
        (None, _) => {
            let error = CliError::from(RegistrarError::CertificateUnknown { serial });
            Err(error.hint("leafgate certificate list shows those that there are"))
        }
        (Some(certificate), None) => Ok(certificate),
        (Some(one), Some(other)) => {
            let error = CliError::from(RegistrarError::CertificateAmbiguous {
                serial,
                issuers: [one.issuer, other.issuer],
            });
            Err(error.hint("give --issuer HEX"))
        }
    }
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
