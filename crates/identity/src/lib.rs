//! Who a device is: from the verified certificate chain of an mTLS connection to a device id.
//!
//! A device presents a certificate, nats-server verifies its chain and hands it over as PEM.
//! [`ParsedChain::parse`] reads the chain strictly and without a verdict about time or trust
//! domain, so that its result may be cached by the bytes of the chain.
//! [`DeviceIdentity::resolve`] then finds the trust domain by the key of the issuer, never by
//! anything that the device's certificate says, and takes the device id out of the common name
//! with the domain's [`CnPattern`].
//!
//! A [`DeviceId`] is exactly one token of a NATS subject. It exists only parsed, so no wildcard,
//! separator, blank or control byte of a certificate can reach a subject.
//!
//! This crate is pure: no clock, no network, no randomness.

mod certificate;
mod cn_pattern;
mod device_id;
mod device_identity;
mod digest;
mod excerpt;
mod serde_text;
mod serial_number;
mod token;
mod trust_domain;
mod unix_ms;

pub use certificate::{
    CertificatePlace, DerProblem, DeviceCertificate, ParseCertificateError, ParsedChain,
    ReadDerError, ReadPemError, Validity, certificate_blocks, spki_hash_of_certificate_pem,
    spki_hashes_of_certificates_pem,
};
pub use cn_pattern::{CnPattern, MatchCnError, ParseCnPatternError, RenderCnError};
pub use device_id::{DeviceId, ParseDeviceIdError};
pub use device_identity::{DeviceIdentity, ResolveIdentityError};
pub use digest::{Fingerprint, ParseDigestError, SpkiHash};
pub use excerpt::Excerpt;
pub use serial_number::{ParseSerialNumberError, SerialNumber};
pub use token::{TokenProblem, is_token};
pub use trust_domain::{
    Binding, BuildTrustDomainsError, ParseTrustDomainNameError, TrustDomain, TrustDomainName,
    TrustDomains,
};
pub use unix_ms::{ParseUnixMsError, UnixMs};
