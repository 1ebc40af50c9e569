//! Whether what somebody else signed with an issuer's key is what was asked for.

use std::net::IpAddr;
use std::time::Duration;

use leafgate_identity::{Fingerprint, SerialNumber, UnixMs, Validity};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{DistributionPointName, GeneralName, ParsedExtension};
use x509_parser::oid_registry::{OID_PKIX_ACCESS_DESCRIPTOR_OCSP, OID_X509_COMMON_NAME};
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;
use x509_parser::x509::X509Version;

use crate::encoding::{CERTIFICATE_LABEL, encode_pem, spki_hash_of, validity_of};
use crate::issuer::{Issued, Prepared, RevokedEntry};
use crate::profile::{Profile, ProfileKind};
use crate::status_url::StatusUrls;

/// How far the signer's clock may be from ours.
const SKEW: Duration = Duration::from_secs(300);
/// Shorter serial numbers can be guessed (CA/Browser Forum baseline requirements, section 7.1).
const MIN_SERIAL_BYTES: usize = 8;

/// Takes a certificate (DER) that was signed elsewhere for what was prepared, if it says that and nothing else: the
/// subject, names, key and usages of the profile, no CA, no longer than was prepared, and the status URLs, if there are
/// some to be had. `issuer_pem` is the certificate of the issuer.
///
/// The key may also be for key agreement and encipherment, which some signers can't leave out and TLS doesn't use.
///
/// # Errors
/// [`UnfitError`] says what is wrong, in words for whoever set the signer up.
pub fn check_signed(
    prepared: &Prepared,
    der: &[u8],
    issuer_pem: &str,
    status: Option<&StatusUrls>,
) -> Result<Issued, UnfitError> {
    let Ok(([], certificate)) = X509Certificate::from_der(der) else {
        return Err(unfit("it is no certificate"));
    };
    let serial = SerialNumber::from_be_bytes(certificate.tbs_certificate.raw_serial())
        .map_err(|_| unfit("its serial number is malformed"))?;
    if serial.as_be_bytes().len() < MIN_SERIAL_BYTES {
        return Err(unfit("its serial number is shorter than 64 bits"));
    }
    if certificate.version() != X509Version::V3 {
        return Err(unfit("it is not of version 3"));
    }
    let issuer = pem::parse(issuer_pem).map_err(|_| unfit("its issuer is no certificate"))?;
    let Ok(([], issuer)) = X509Certificate::from_der(issuer.contents()) else {
        return Err(unfit("its issuer is no certificate"));
    };
    check_issuer(&certificate, &issuer)?;
    if certificate.public_key().raw != prepared.public_key().to_der() {
        return Err(unfit("its key is another one"));
    }
    check_subject(&certificate, prepared.profile())?;
    check_extensions(&certificate, prepared.profile())?;
    if let Some(status) = status {
        check_status(&certificate, status)?;
    }
    let validity = validity_of(&certificate);
    check_validity(validity, prepared.validity())?;
    let certificate_pem = encode_pem(CERTIFICATE_LABEL, der);
    Ok(Issued {
        chain_pem: format!("{certificate_pem}{issuer_pem}"),
        certificate_pem,
        serial,
        fingerprint: Fingerprint::of_certificate_der(der),
        issuer: spki_hash_of(&issuer),
        validity,
    })
}

/// Takes a revocation list (DER) that was signed elsewhere, if it has this number and these certificates and no others, and
/// is current until `next_update`, give or take five minutes between the signer's clock and ours.
///
/// # Errors
/// [`UnfitError`] says what is wrong.
pub fn check_signed_list(
    der: &[u8],
    issuer_pem: &str,
    entries: &[RevokedEntry],
    number: u64,
    next_update: UnixMs,
) -> Result<(), UnfitError> {
    let Ok(([], list)) = CertificateRevocationList::from_der(der) else {
        return Err(unfit("it is no revocation list"));
    };
    let issuer = pem::parse(issuer_pem).map_err(|_| unfit("its issuer is no certificate"))?;
    let Ok(([], issuer)) = X509Certificate::from_der(issuer.contents()) else {
        return Err(unfit("its issuer is no certificate"));
    };
    let is_ours = list.issuer().as_raw() == issuer.subject().as_raw()
        && list.verify_signature(issuer.public_key()).is_ok();
    if !is_ours {
        return Err(unfit("another issuer signed it"));
    }
    if list.crl_number().map(ToString::to_string) != Some(number.to_string()) {
        return Err(unfit("it has another number"));
    }
    let mut listed: Vec<_> = list
        .iter_revoked_certificates()
        .map(|revoked| SerialNumber::from_be_bytes(revoked.raw_serial()).ok())
        .collect();
    let mut asked: Vec<_> = entries.iter().map(|entry| Some(entry.serial)).collect();
    listed.sort_unstable();
    asked.sort_unstable();
    if listed != asked {
        return Err(unfit("it lists other certificates"));
    }
    check_list_end(&list, next_update)
}

/// Who fetches a list that ends early refuses every certificate until the next.
fn check_list_end(
    list: &CertificateRevocationList<'_>,
    next_update: UnixMs,
) -> Result<(), UnfitError> {
    let Some(ends) = list.next_update() else {
        return Err(unfit("it does not say when the next one is due"));
    };
    let ends = UnixMs::from_secs(ends.timestamp());
    if ends < next_update.saturating_sub(SKEW) {
        return Err(unfit(format!(
            "it ends at {ends}, before {next_update}: compare the signer's clock with this machine's"
        )));
    }
    Ok(())
}

fn check_issuer(
    certificate: &X509Certificate<'_>,
    issuer: &X509Certificate<'_>,
) -> Result<(), UnfitError> {
    if certificate.issuer().as_raw() != issuer.subject().as_raw()
        || certificate
            .verify_signature(Some(issuer.public_key()))
            .is_err()
    {
        return Err(unfit("another issuer signed it"));
    }
    Ok(())
}

/// The common name of the profile and nothing else.
fn check_subject(certificate: &X509Certificate<'_>, profile: &Profile) -> Result<(), UnfitError> {
    let mut attributes = certificate.subject().iter_attributes();
    let is_it = match (attributes.next(), attributes.next()) {
        (Some(only), None) => {
            *only.attr_type() == OID_X509_COMMON_NAME
                && only
                    .as_str()
                    .is_ok_and(|name| name == profile.common_name())
        }
        _ => false,
    };
    if is_it {
        return Ok(());
    }
    Err(unfit(format!(
        "its subject is \"{}\", not the common name \"{}\" alone: the role needs use_csr_common_name=false, and no \
         organization, ou, country and the like",
        certificate.subject(),
        profile.common_name()
    )))
}

fn check_extensions(
    certificate: &X509Certificate<'_>,
    profile: &Profile,
) -> Result<(), UnfitError> {
    if certificate.tbs_certificate.extensions_map().is_err() {
        return Err(unfit("it has the same extension twice"));
    }
    let (mut names, mut key_usage, mut extended) = (Vec::new(), false, false);
    for extension in certificate.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(alternative) => {
                names.clone_from(&alternative.general_names);
            }
            ParsedExtension::KeyUsage(usage) => {
                let allowed = usage.digital_signature()
                    && !(usage.non_repudiation()
                        || usage.data_encipherment()
                        || usage.key_cert_sign()
                        || usage.crl_sign()
                        || usage.encipher_only()
                        || usage.decipher_only());
                if !allowed {
                    return Err(unfit(
                        "its key is for other uses: the role needs key_usage=DigitalSignature",
                    ));
                }
                key_usage = true;
            }
            ParsedExtension::ExtendedKeyUsage(usage) => {
                let serves = profile.kind() == ProfileKind::NatsServer;
                let more = usage.any
                    || usage.code_signing
                    || usage.email_protection
                    || usage.time_stamping
                    || usage.ocsp_signing
                    || !usage.other.is_empty();
                if !usage.client_auth || usage.server_auth != serves || more {
                    return Err(unfit(format!(
                        "its key is for the wrong side of TLS: the role needs client_flag=true, server_flag={serves} \
                         and no ext_key_usage"
                    )));
                }
                extended = true;
            }
            ParsedExtension::BasicConstraints(constraints) => {
                if constraints.ca {
                    return Err(unfit("it is a CA's"));
                }
            }
            ParsedExtension::SubjectKeyIdentifier(_)
            | ParsedExtension::AuthorityKeyIdentifier(_)
            | ParsedExtension::CRLDistributionPoints(_)
            | ParsedExtension::AuthorityInfoAccess(_) => {}
            _ => {
                return Err(unfit(format!(
                    "it has an extension that was not asked for ({}): the role needs no policy_identifiers",
                    extension.oid
                )));
            }
        }
    }
    if !key_usage {
        return Err(unfit(
            "it has no key usage: the role needs key_usage=DigitalSignature",
        ));
    }
    if !extended {
        return Err(unfit(
            "it has no extended key usage: the role needs client_flag=true",
        ));
    }
    check_names(&names, profile)
}

/// The alternative names of the profile, in whatever order.
fn check_names(names: &[GeneralName<'_>], profile: &Profile) -> Result<(), UnfitError> {
    let mut found: Vec<String> = names.iter().map(text_of).collect();
    let mut asked: Vec<String> = profile
        .dns_names()
        .map(str::to_owned)
        .chain(profile.ip_addresses().iter().map(ToString::to_string))
        .collect();
    found.sort_unstable();
    asked.sort_unstable();
    if found == asked {
        return Ok(());
    }
    Err(unfit(format!(
        "its alternative names are [{}], not [{}]: the role needs use_csr_sans=false",
        found.join(", "),
        asked.join(", ")
    )))
}

fn text_of(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(name) => (*name).to_owned(),
        GeneralName::IPAddress(octets) => {
            let v4 = <[u8; 4]>::try_from(*octets).map(IpAddr::from);
            let address = v4.or_else(|_| <[u8; 16]>::try_from(*octets).map(IpAddr::from));
            address.map_or_else(|_| format!("{octets:?}"), |address| address.to_string())
        }
        other => other.to_string(),
    }
}

fn check_status(certificate: &X509Certificate<'_>, status: &StatusUrls) -> Result<(), UnfitError> {
    let (mut lists, mut responders) = (Vec::new(), Vec::new());
    for extension in certificate.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::CRLDistributionPoints(points) => {
                for point in points.iter() {
                    match &point.distribution_point {
                        Some(DistributionPointName::FullName(names)) => {
                            lists.extend(names.iter().map(uri_of));
                        }
                        _ => lists.push(String::new()),
                    }
                }
            }
            ParsedExtension::AuthorityInfoAccess(access) => {
                let ocsp = access
                    .iter()
                    .filter(|description| {
                        description.access_method == OID_PKIX_ACCESS_DESCRIPTOR_OCSP
                    })
                    .map(|description| uri_of(&description.access_location));
                responders.extend(ocsp);
            }
            _ => {}
        }
    }
    if lists == [status.crl.as_str()] && responders == [status.ocsp.as_str()] {
        return Ok(());
    }
    Err(unfit(format!(
        "it names the revocation lists [{}] and OCSP responders [{}]: the issuer needs crl_distribution_points={} and \
         ocsp_servers={}",
        lists.join(", "),
        responders.join(", "),
        status.crl,
        status.ocsp
    )))
}

fn uri_of(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::URI(uri) => (*uri).to_owned(),
        other => other.to_string(),
    }
}

fn check_validity(found: Validity, prepared: Validity) -> Result<(), UnfitError> {
    let earliest = prepared.not_before.saturating_sub(SKEW);
    let latest = prepared.not_before.saturating_add(3 * SKEW);
    if found.not_before < earliest || found.not_before > latest {
        return Err(unfit(format!(
            "it begins at {}, too far from {}: compare the signer's clock with this machine's, and the role's \
             not_before_duration with 5 minutes",
            found.not_before, prepared.not_before
        )));
    }
    if found.not_after > prepared.not_after || found.not_after <= found.not_before {
        return Err(unfit(format!(
            "it ends at {}, not at {} or before: the role needs no not_after of its own",
            found.not_after, prepared.not_after
        )));
    }
    Ok(())
}

fn unfit(problem: impl Into<String>) -> UnfitError {
    UnfitError(problem.into())
}

/// What was signed is not what was asked for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnfitError(String);
