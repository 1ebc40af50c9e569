use std::path::Path;

use leafgate_identity::{SerialNumber, UnixMs, Validity};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{DistributionPointName, GeneralName, ParsedExtension};
use x509_parser::oid_registry::OID_PKIX_ACCESS_DESCRIPTOR_OCSP;
use x509_parser::prelude::FromDer;

use super::Doctor;
use crate::cli::moment::relative;

/// The part of its life after which whoever keeps a certificate fresh has failed to, in percent.
const OVERDUE: i64 = 80;

/// A certificate whose revocation status is of interest.
pub(super) struct CertificateFile {
    pub(super) path: String,
    /// The certificate and those that follow it (DER).
    pub(super) chain: Vec<CertificateDer<'static>>,
}

/// What a certificate says that the checks need.
pub(super) struct Facts {
    pub(super) name: String,
    pub(super) subject: Vec<u8>,
    pub(super) issuer: Vec<u8>,
    pub(super) serial: Vec<u8>,
    pub(super) public_key: Vec<u8>,
    pub(super) validity: Validity,
    pub(super) crl_urls: Vec<String>,
    pub(super) ocsp_urls: Vec<String>,
}

impl Facts {
    pub(super) fn of(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let (crl_urls, ocsp_urls) = status_urls(&certificate);
        Some(Self {
            name: certificate.subject().to_string(),
            subject: certificate.subject().as_raw().to_vec(),
            issuer: certificate.issuer().as_raw().to_vec(),
            serial: certificate.raw_serial().to_vec(),
            public_key: certificate.public_key().subject_public_key.data.to_vec(),
            validity: Validity {
                not_before: UnixMs::from_secs(certificate.validity().not_before.timestamp()),
                not_after: UnixMs::from_secs(certificate.validity().not_after.timestamp()),
            },
            crl_urls,
            ocsp_urls,
        })
    }

    pub(super) fn serial_number(&self) -> String {
        SerialNumber::from_be_bytes(&self.serial)
            .map_or_else(|_| "?".to_owned(), |it| it.to_string())
    }
}

fn status_urls(certificate: &X509Certificate<'_>) -> (Vec<String>, Vec<String>) {
    let (mut crl, mut ocsp) = (Vec::new(), Vec::new());
    for extension in certificate.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::CRLDistributionPoints(points) => {
                for point in points.iter() {
                    if let Some(DistributionPointName::FullName(names)) = &point.distribution_point
                    {
                        crl.extend(names.iter().filter_map(url));
                    }
                }
            }
            ParsedExtension::AuthorityInfoAccess(access) => {
                let responders = access.iter();
                let responders =
                    responders.filter(|it| it.access_method == OID_PKIX_ACCESS_DESCRIPTOR_OCSP);
                ocsp.extend(responders.filter_map(|it| url(&it.access_location)));
            }
            _ => {}
        }
    }
    (crl, ocsp)
}

fn url(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::URI(url) => Some((*url).to_owned()),
        _ => None,
    }
}

impl Doctor<'_> {
    /// Looks at the ends of all certificates of a file.
    pub(super) fn check_certificate_file(&mut self, check: &'static str, path: &Path) {
        let target = path.display().to_string();
        let chain =
            CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let chain = match chain {
            Ok(chain) if !chain.is_empty() => chain,
            Ok(_) => {
                let remedy = "name a file with a certificate";
                return self
                    .report
                    .fail(check, &target, "it holds no certificate in PEM", remedy);
            }
            Err(error) => {
                let remedy = "put the certificate there";
                return self.report.fail(check, &target, error.to_string(), remedy);
            }
        };
        for certificate in &chain {
            self.check_end(check, &target, certificate);
        }
        self.files.push(CertificateFile {
            path: target,
            chain,
        });
    }

    pub(super) fn check_end(&mut self, check: &'static str, target: &str, der: &[u8]) {
        let Some(facts) = Facts::of(der) else {
            let remedy = "issue it anew";
            return self
                .report
                .fail(check, target, "it can't be read as a certificate", remedy);
        };
        let Validity {
            not_before,
            not_after,
        } = facts.validity;
        let (name, now) = (&facts.name, self.now);
        let end = relative(not_after, now);
        let life = not_after
            .as_i64()
            .saturating_sub(not_before.as_i64())
            .max(1);
        let lived = now.as_i64().saturating_sub(not_before.as_i64());
        let renew = "renew it, and see that its agent runs: leafgate agent";
        if now < not_before {
            let detail = format!(
                "{name} is not valid yet: it begins {}",
                relative(not_before, now)
            );
            self.report.fail(
                check,
                target,
                detail,
                "set the clock of this machine or of the issuer",
            );
        } else if now >= not_after {
            self.report
                .fail(check, target, format!("{name} expired {end}"), renew);
        } else if lived.saturating_mul(100) / life >= OVERDUE {
            let detail = format!("{name} expires {end}, and should have been renewed");
            self.report.warn(check, target, detail, renew);
        } else {
            self.report
                .ok(check, target, format!("{name} expires {end}"));
        }
    }
}
