mod error;
mod extensions;
mod pem;
mod shape;
mod subject;

pub use error::{CertificatePlace, DerProblem, ParseCertificateError, ReadDerError, ReadPemError};

use crate::{Excerpt, Fingerprint, SerialNumber, SpkiHash, UnixMs};
use extensions::Extensions;
use x509_parser::{
    certificate::{X509Certificate, X509CertificateParser},
    nom::Parser,
    time::ASN1Time,
    x509::{X509Name, X509Version},
};

/// Links of the longest chain that is read; real ones have two to four.
const MAX_CHAIN_LEN: usize = 8;

/// A verified certificate chain, read.
///
/// Made without a verdict about time or trust domain: whoever keeps it may reuse it as long as
/// the same bytes come again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedChain {
    /// The device's certificate.
    pub leaf: DeviceCertificate,
    /// Key of the certificate that issued it.
    pub issuer: SpkiHash,
}

impl ParsedChain {
    /// Reads a chain that nats-server verified: `verified_chains[0]` of an authorization request
    /// (nats-server `server/auth_callout.go`), PEM texts, the device's certificate first.
    ///
    /// Signatures and times were checked by nats-server and are not checked again. Everything
    /// else is: each text is exactly one `CERTIFICATE` block, each certificate strict DER of
    /// X.509 v3 (RFC 5280) in which nothing is passed over, each link names the next as its
    /// issuer, and the device's certificate is an end-entity certificate for client
    /// authentication with one common name and at most one subject alternative name, a DNS name
    /// equal to it.
    ///
    /// # Errors
    /// Says what is wrong with which certificate; [`ParseCertificateError::is_name`] tells
    /// problems of the name from problems of the form.
    pub fn parse(chain: &[impl AsRef<str>]) -> Result<Self, ParseCertificateError> {
        let len = chain.len();
        if len < 2 {
            return Err(ParseCertificateError::ChainTooShort { len });
        }
        if len > MAX_CHAIN_LEN {
            return Err(ParseCertificateError::ChainTooLong { len });
        }
        let ders = chain
            .iter()
            .enumerate()
            .map(|(index, text)| read_pem(CertificatePlace::in_chain(index), text.as_ref()))
            .collect::<Result<Vec<_>, _>>()?;
        let links = ders
            .iter()
            .enumerate()
            .map(|(index, der)| Link::read(CertificatePlace::in_chain(index), der))
            .collect::<Result<Vec<_>, _>>()?;
        for pair in links.windows(2) {
            pair[0].check_issued_by(&pair[1])?;
        }
        Ok(Self {
            leaf: DeviceCertificate::try_from(&links[0])?,
            issuer: links[1].public_key(),
        })
    }
}

/// What the certificate of a device says, whatever trust domain it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceCertificate {
    common_name: Box<str>,
    has_dns_san: bool,
    serial: SerialNumber,
    fingerprint: Fingerprint,
    validity: Validity,
    public_key: SpkiHash,
}

impl DeviceCertificate {
    /// The common name: 1 to 64 of `A-Z a-z 0-9 . - _ : @ /`.
    pub fn common_name(&self) -> &str {
        &self.common_name
    }

    /// The DNS name among the subject alternative names, always equal to the common name.
    pub fn dns_san(&self) -> Option<&str> {
        self.has_dns_san.then_some(&*self.common_name)
    }

    /// Serial number, unique per issuer.
    pub fn serial(&self) -> SerialNumber {
        self.serial
    }

    /// SHA-256 of the certificate.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// When the certificate is valid.
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// The device's own key.
    pub fn public_key(&self) -> SpkiHash {
        self.public_key
    }
}

impl TryFrom<&Link<'_>> for DeviceCertificate {
    type Error = ParseCertificateError;

    fn try_from(link: &Link<'_>) -> Result<Self, Self::Error> {
        let validity = link.validity();
        if validity.not_after < validity.not_before {
            return Err(ParseCertificateError::ValidityReversed {
                not_before: validity.not_before,
                not_after: validity.not_after,
            });
        }
        link.extensions.check_device()?;
        let common_name = subject::common_name(link.certificate.subject())?;
        let has_dns_san = match link.extensions.dns_san()? {
            None => false,
            Some(san) if san == common_name => true,
            Some(san) => {
                return Err(ParseCertificateError::SanMismatch {
                    cn: Excerpt::of(common_name),
                    san: Excerpt::of(san),
                });
            }
        };
        Ok(Self {
            common_name: common_name.into(),
            has_dns_san,
            serial: link.serial,
            fingerprint: Fingerprint::of_certificate_der(link.certificate.as_raw()),
            validity,
            public_key: link.public_key(),
        })
    }
}

/// The period in which a certificate is valid, both ends included (RFC 5280, section 4.1.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// First moment.
    pub not_before: UnixMs,
    /// Last moment.
    pub not_after: UnixMs,
}

impl Validity {
    /// True if `now` lies in the period.
    pub fn contains(&self, now: UnixMs) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }
}

/// The key of a certificate given alone, as in a configuration that names an issuer.
///
/// # Errors
/// If the text is not exactly one `CERTIFICATE` block that holds an X.509 v3 certificate.
pub fn spki_hash_of_certificate_pem(pem: &str) -> Result<SpkiHash, ParseCertificateError> {
    let der = read_pem(CertificatePlace::Alone, pem)?;
    Ok(Link::read(CertificatePlace::Alone, &der)?.public_key())
}

/// The keys of the certificates in a file, in its order, as in a configuration that names an issuer and the next one.
///
/// # Errors
/// If the text is not one `CERTIFICATE` block after the other, one at least, each with an X.509 v3 certificate.
pub fn spki_hashes_of_certificates_pem(pem: &str) -> Result<Vec<SpkiHash>, ParseCertificateError> {
    let blocks = certificate_blocks(pem);
    if let [] | [_] = blocks[..] {
        return Ok(vec![spki_hash_of_certificate_pem(pem)?]);
    }
    let numbered = blocks.into_iter().zip(1..);
    numbered
        .map(|(block, number)| {
            let place = CertificatePlace::InFile(number);
            let der = read_pem(place, block)?;
            Ok(Link::read(place, &der)?.public_key())
        })
        .collect()
}

/// A text of several `CERTIFICATE` blocks cut behind each of them. Whether the parts are what they should be is seen
/// when they are read; blank lines between them are passed over.
pub fn certificate_blocks(pem: &str) -> Vec<&str> {
    let mut blocks = Vec::new();
    let mut rest = pem;
    while !rest.trim().is_empty() {
        let end = rest.find(pem::END).map_or(rest.len(), |at| {
            let behind = at + pem::END.len();
            let line_end = rest[behind..].find('\n').map(|line| behind + line + 1);
            line_end.unwrap_or(rest.len())
        });
        let (block, behind) = rest.split_at(end);
        blocks.push(block.trim_start_matches(['\r', '\n']));
        rest = behind;
    }
    blocks
}

/// One certificate of a chain, its form checked.
struct Link<'a> {
    place: CertificatePlace,
    certificate: X509Certificate<'a>,
    extensions: Extensions<'a>,
    serial: SerialNumber,
}

impl<'a> Link<'a> {
    fn read(place: CertificatePlace, der: &'a [u8]) -> Result<Self, ParseCertificateError> {
        // x509-parser passes over what it does not expect inside a SEQUENCE, reads BER where DER
        // is due, and ends a name at the first attribute that it can't read: a second common name
        // could hide there. The shape leaves it nothing to pass over.
        shape::check(der, &shape::CERTIFICATE)
            .map_err(|source| ParseCertificateError::Der { place, source })?;
        let unreadable = |reason: &str| ParseCertificateError::Unreadable {
            place,
            reason: Excerpt::of(reason),
        };
        let (rest, certificate) = X509CertificateParser::new()
            .with_deep_parse_extensions(false)
            .parse(der)
            .map_err(|error| unreadable(&error.to_string()))?;
        if !rest.is_empty() {
            return Err(unreadable("bytes follow the certificate"));
        }
        for name in [certificate.subject(), certificate.issuer()] {
            if shape::count_attributes(name.as_raw()) != Some(name.iter_attributes().count()) {
                return Err(unreadable("a name has an unreadable attribute"));
            }
        }
        if certificate.version() != X509Version::V3 {
            return Err(unreadable("its version is not 3"));
        }
        let serial = SerialNumber::from_der_integer(certificate.raw_serial())
            .map_err(|source| ParseCertificateError::Serial { place, source })?;
        let extensions = Extensions::read(place, &certificate)?;
        Ok(Self {
            place,
            certificate,
            extensions,
            serial,
        })
    }

    fn check_issued_by(&self, issuer: &Self) -> Result<(), ParseCertificateError> {
        if !same_name(self.certificate.issuer(), issuer.certificate.subject()) {
            return Err(ParseCertificateError::IssuerOther { place: self.place });
        }
        if !issuer.extensions.is_ca() {
            return Err(ParseCertificateError::IssuerNotCa {
                place: issuer.place,
            });
        }
        Ok(())
    }

    fn public_key(&self) -> SpkiHash {
        SpkiHash::of_spki_der(self.certificate.public_key().raw)
    }

    fn validity(&self) -> Validity {
        let validity = self.certificate.validity();
        Validity {
            not_before: moment(&validity.not_before),
            not_after: moment(&validity.not_after),
        }
    }
}

/// Byte for byte, as Go's crypto/x509 compares the names of a chain.
fn same_name(one: &X509Name<'_>, other: &X509Name<'_>) -> bool {
    one.as_raw() == other.as_raw()
}

fn moment(time: &ASN1Time) -> UnixMs {
    UnixMs::from_secs(time.timestamp())
}

fn read_pem(place: CertificatePlace, text: &str) -> Result<Vec<u8>, ParseCertificateError> {
    pem::decode(text).map_err(|source| ParseCertificateError::Pem { place, source })
}
