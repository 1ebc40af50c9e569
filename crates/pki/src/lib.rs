//! Certificates: what leafgate's CA signs, for whom, and how it is kept.
//!
//! A [`Profile`] holds the checked content of a certificate, an [`Issuer`] settles serial number
//! and dates ([`Prepared`]), and signs it once ([`Issued`]). From a certificate request only the
//! public key is taken ([`PublicKeyInfo`]). [`EmbeddedCa`] is the issuer that needs no other
//! service; [`init`] makes its files.

mod authority;
mod csr;
mod directory;
mod embedded;
mod encoding;
mod files;
mod issuer;
mod key_pair;
mod name;
mod profile;
mod public_key;
mod root;
mod serial;

pub use authority::JoinAuthorityError;
pub use csr::{MAX_CSR_BYTES, ParseCsrError};
pub use directory::{CaDirectory, InitCaError, OpenCaError, RootKey, init};
pub use embedded::{EmbeddedCa, LoadCaError};
pub use encoding::crl_pem;
pub use files::{ReadCaFileError, WriteCaFileError};
pub use issuer::{
    CrlReason, IssueError, Issued, Issuer, PrepareError, Prepared, RevokedEntry, SignCrlError,
};
pub use key_pair::{GenerateKeyError, KeyPairPem};
pub use name::ParseDnsNameError;
pub use profile::{BuildProfileError, Intermediate, Profile, ProfileKind};
pub use public_key::{KeyAlgorithm, ParsePublicKeyError, PublicKeyInfo};
pub use root::{
    CreateRootError, INTERMEDIATE_LIFETIME, NewIntermediate, ReadRootError, RootAuthority,
    WriteRootError,
};
pub use serial::{DrawSerialError, RandomSerials, SerialSource};
