use std::net::IpAddr;
use std::time::Duration;

use leafgate_identity::{SerialNumber, UnixMs, Validity};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SigningKey,
};
use time::OffsetDateTime;

use super::der::{BIT_STRING, INTEGER, OID, SEQUENCE, SET, children, element};

/// Content octets of the object identifier 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// Content octets of the object identifier 2.5.4.10.
const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];

/// What a [`ScratchCa`](super::ScratchCa) shall sign.
#[derive(Clone, Debug)]
pub struct ScratchLeaf {
    subject: Vec<NameAttribute>,
    alternative_names: Vec<SanType>,
    extended_usages: Vec<ExtendedKeyUsagePurpose>,
    validity: Validity,
    serial: Option<Vec<u8>>,
    is_ca: bool,
}

impl ScratchLeaf {
    /// What a device certificate with this common name usually is: for clients, without
    /// alternative names, valid from five minutes before `now` for an hour.
    pub fn device(common_name: &str, now: UnixMs) -> Self {
        Self {
            subject: vec![NameAttribute::common_name(common_name)],
            alternative_names: Vec::new(),
            extended_usages: vec![ExtendedKeyUsagePurpose::ClientAuth],
            validity: Validity {
                not_before: now.saturating_sub(Duration::from_secs(300)),
                not_after: now.saturating_add(Duration::from_secs(3600)),
            },
            serial: None,
            is_ca: false,
        }
    }

    /// With these attributes as subject, each in a relative name of its own.
    #[must_use]
    pub fn with_subject(mut self, subject: impl IntoIterator<Item = NameAttribute>) -> Self {
        self.subject = subject.into_iter().collect();
        self
    }

    /// With one more DNS name. It may have any ASCII characters.
    #[must_use]
    pub fn with_dns_name(mut self, name: &str) -> Self {
        let name = name.try_into().expect("a DNS name is ASCII");
        self.alternative_names.push(SanType::DnsName(name));
        self
    }

    /// With one more address.
    #[must_use]
    pub fn with_ip_address(mut self, address: IpAddr) -> Self {
        self.alternative_names.push(SanType::IpAddress(address));
        self
    }

    /// With one more e-mail address.
    #[must_use]
    pub fn with_email(mut self, address: &str) -> Self {
        let address = address.try_into().expect("an e-mail address is ASCII");
        self.alternative_names.push(SanType::Rfc822Name(address));
        self
    }

    /// With one more URI.
    #[must_use]
    pub fn with_uri(mut self, uri: &str) -> Self {
        let uri = uri.try_into().expect("a URI is ASCII");
        self.alternative_names.push(SanType::URI(uri));
        self
    }

    /// With these extended key usages; none at all leaves the extension out.
    #[must_use]
    pub fn with_extended_usages(mut self, usages: &[ExtendedKeyUsagePurpose]) -> Self {
        self.extended_usages = usages.to_vec();
        self
    }

    /// Valid from `not_before` to `not_after`.
    #[must_use]
    pub fn with_validity(mut self, not_before: UnixMs, not_after: UnixMs) -> Self {
        self.validity = Validity {
            not_before,
            not_after,
        };
        self
    }

    /// With this serial number, another certificate's perhaps.
    #[must_use]
    pub fn with_serial(self, serial: SerialNumber) -> Self {
        let positive = [&[0], serial.as_be_bytes()].concat();
        let superfluous = serial.as_be_bytes()[0] < 0x80;
        self.with_raw_serial(&positive[usize::from(superfluous)..])
    }

    /// With these content octets of the serial number's INTEGER: zero, negative or too long.
    #[must_use]
    pub fn with_raw_serial(mut self, octets: &[u8]) -> Self {
        self.serial = Some(octets.to_vec());
        self
    }

    /// A CA certificate, which may sign others.
    #[must_use]
    pub fn with_ca_flag(mut self) -> Self {
        self.is_ca = true;
        self
    }

    pub(super) fn sign(&self, key: &KeyPair, issuer: &Issuer<'static, KeyPair>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.subject_alt_names.clone_from(&self.alternative_names);
        params.extended_key_usages.clone_from(&self.extended_usages);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.not_before = time_of(self.validity.not_before);
        params.not_after = time_of(self.validity.not_after);
        params.use_authority_key_identifier_extension = true;
        params.is_ca = if self.is_ca {
            params.key_usages.push(KeyUsagePurpose::KeyCertSign);
            IsCa::Ca(BasicConstraints::Unconstrained)
        } else {
            IsCa::NoCa
        };
        let certificate = params
            .signed_by(key, issuer)
            .expect("well-formed parameters");
        self.with_name_and_serial(certificate.der(), issuer.key())
    }

    /// rcgen writes neither a second common name nor a negative serial number: both are put in
    /// place afterwards, and the whole is signed again.
    fn with_name_and_serial(&self, der: &[u8], issuer_key: &KeyPair) -> Vec<u8> {
        let [to_be_signed, algorithm, _signature] = children(der)[..] else {
            panic!("a certificate has three parts (RFC 5280 section 4.1)");
        };
        let [
            version,
            serial,
            signature,
            issuer,
            validity,
            _subject,
            key,
            extensions,
        ] = children(to_be_signed)[..]
        else {
            panic!("a version 3 certificate with extensions has eight fields");
        };
        let serial = match &self.serial {
            Some(octets) => element(INTEGER, octets),
            None => serial.to_vec(),
        };
        let names: Vec<u8> = self
            .subject
            .iter()
            .flat_map(NameAttribute::to_der)
            .collect();
        let subject = element(SEQUENCE, &names);
        let fields = [
            version, &serial, signature, issuer, validity, &subject, key, extensions,
        ];
        let to_be_signed = element(SEQUENCE, &fields.concat());
        let signature = issuer_key
            .sign(&to_be_signed)
            .expect("the key has signed before");
        let signature = element(BIT_STRING, &[&[0], &signature[..]].concat());
        element(SEQUENCE, &[&to_be_signed, algorithm, &signature].concat())
    }
}

/// One attribute of a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameAttribute {
    oid: &'static [u8],
    string_type: StringType,
    octets: Vec<u8>,
}

impl NameAttribute {
    /// A common name as UTF8String.
    pub fn common_name(text: &str) -> Self {
        Self::raw_common_name(StringType::Utf8, text.as_bytes())
    }

    /// A common name of any string type and content, whether they fit each other or not.
    pub fn raw_common_name(string_type: StringType, octets: &[u8]) -> Self {
        Self {
            oid: COMMON_NAME,
            string_type,
            octets: octets.to_vec(),
        }
    }

    /// An organization as UTF8String.
    pub fn organization(text: &str) -> Self {
        Self {
            oid: ORGANIZATION,
            string_type: StringType::Utf8,
            octets: text.as_bytes().to_vec(),
        }
    }

    fn to_der(&self) -> Vec<u8> {
        let oid = element(OID, self.oid);
        let value = element(self.string_type as u8, &self.octets);
        element(SET, &element(SEQUENCE, &[oid, value].concat()))
    }
}

/// String types of X.520 names, by their DER tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StringType {
    /// UTF-8.
    Utf8 = 0x0c,
    /// A subset of ASCII.
    Printable = 0x13,
    /// UCS-2, big-endian.
    Bmp = 0x1e,
}

fn time_of(at: UnixMs) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(at.as_secs())
        .expect("UnixMs stays within the years that ASN.1 can write")
}
