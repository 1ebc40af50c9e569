use super::{
    CertificatePlace, ParseCertificateError,
    shape::{self, Shape},
};
use crate::Excerpt;
use std::collections::HashSet;
use x509_parser::{
    certificate::X509Certificate,
    error::X509Error,
    extensions::{
        BasicConstraints, ExtendedKeyUsage, GeneralName, KeyUsage, SubjectAlternativeName,
        X509Extension,
    },
    oid_registry::{
        OID_X509_EXT_BASIC_CONSTRAINTS, OID_X509_EXT_CERTIFICATE_POLICIES,
        OID_X509_EXT_EXTENDED_KEY_USAGE, OID_X509_EXT_KEY_USAGE, OID_X509_EXT_SUBJECT_ALT_NAME,
    },
    prelude::FromDer,
};

/// The extensions that decide what a certificate is for; the others are left alone.
#[derive(Default)]
pub(super) struct Extensions<'a> {
    basic_constraints: Option<BasicConstraints>,
    key_usage: Option<KeyUsage>,
    extended_key_usage: Option<ExtendedKeyUsage<'a>>,
    subject_alt_name: Option<SubjectAlternativeName<'a>>,
    critical_unknown: Option<Excerpt>,
}

impl<'a> Extensions<'a> {
    /// Reads each extension at most once (RFC 5280, section 4.2: "A certificate MUST NOT include
    /// more than one instance of a particular extension").
    pub(super) fn read(
        place: CertificatePlace,
        certificate: &X509Certificate<'a>,
    ) -> Result<Self, ParseCertificateError> {
        let mut read = Self::default();
        let mut seen = HashSet::new();
        for extension in certificate.extensions() {
            let oid = &extension.oid;
            if !seen.insert(oid) {
                return Err(ParseCertificateError::ExtensionRepeated {
                    place,
                    oid: Excerpt::of(&oid.to_id_string()),
                });
            }
            if *oid == OID_X509_EXT_BASIC_CONSTRAINTS {
                read.basic_constraints = Some(value(place, extension, &shape::BASIC_CONSTRAINTS)?);
            } else if *oid == OID_X509_EXT_KEY_USAGE {
                read.key_usage = Some(value(place, extension, &shape::KEY_USAGE)?);
            } else if *oid == OID_X509_EXT_EXTENDED_KEY_USAGE {
                read.extended_key_usage =
                    Some(value(place, extension, &shape::EXTENDED_KEY_USAGE)?);
            } else if *oid == OID_X509_EXT_SUBJECT_ALT_NAME {
                read.subject_alt_name = Some(value(place, extension, &shape::SUBJECT_ALT_NAME)?);
            } else if extension.critical && *oid != OID_X509_EXT_CERTIFICATE_POLICIES {
                read.critical_unknown = Some(Excerpt::of(&oid.to_id_string()));
            }
        }
        Ok(read)
    }

    /// True if the certificate may issue others (RFC 5280, section 4.2.1.9).
    pub(super) fn is_ca(&self) -> bool {
        self.basic_constraints
            .as_ref()
            .is_some_and(|constraints| constraints.ca)
    }

    /// Checks that this is an end-entity certificate for client authentication.
    pub(super) fn check_device(&self) -> Result<(), ParseCertificateError> {
        let signs = |usage: &KeyUsage| usage.key_cert_sign() || usage.crl_sign();
        if self.is_ca() || self.key_usage.as_ref().is_some_and(signs) {
            return Err(ParseCertificateError::DeviceIsCa);
        }
        match &self.extended_key_usage {
            None => return Err(ParseCertificateError::ExtendedKeyUsageMissing),
            Some(usage) if !usage.client_auth => {
                return Err(ParseCertificateError::ClientAuthMissing);
            }
            Some(_) => {}
        }
        match &self.critical_unknown {
            Some(oid) => Err(ParseCertificateError::CriticalExtension { oid: oid.clone() }),
            None => Ok(()),
        }
    }

    /// The one DNS name among the subject alternative names, if there are any names at all.
    pub(super) fn dns_san(&self) -> Result<Option<&'a str>, ParseCertificateError> {
        let Some(san) = &self.subject_alt_name else {
            return Ok(None);
        };
        match san.general_names.as_slice() {
            [GeneralName::DNSName(name)] => Ok(Some(name)),
            [other] => Err(ParseCertificateError::SanKind { kind: kind(other) }),
            names => Err(ParseCertificateError::SanCount { count: names.len() }),
        }
    }
}

fn value<'a, T: FromDer<'a, X509Error>>(
    place: CertificatePlace,
    extension: &X509Extension<'a>,
    shape: &Shape,
) -> Result<T, ParseCertificateError> {
    let oid = || Excerpt::of(&extension.oid.to_id_string());
    shape::check(extension.value, shape).map_err(|source| ParseCertificateError::Extension {
        place,
        oid: oid(),
        source,
    })?;
    T::from_der(extension.value)
        .map(|(_, value)| value)
        .map_err(|error| ParseCertificateError::Unreadable {
            place,
            reason: Excerpt::of(&format!("extension {}: {error}", oid())),
        })
}

fn kind(name: &GeneralName<'_>) -> &'static str {
    match name {
        GeneralName::OtherName(..) => "otherName",
        GeneralName::RFC822Name(_) => "rfc822Name (e-mail)",
        GeneralName::DNSName(_) => "dNSName",
        GeneralName::X400Address(_) => "x400Address",
        GeneralName::DirectoryName(_) => "directoryName",
        GeneralName::EDIPartyName(_) => "ediPartyName",
        GeneralName::URI(_) => "uniformResourceIdentifier (URI)",
        GeneralName::IPAddress(_) => "iPAddress",
        GeneralName::RegisteredID(_) => "registeredID",
        GeneralName::Invalid(..) => "malformed name",
    }
}
