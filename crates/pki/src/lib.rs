//! Certificates: what leafgate's CA signs, for whom, and how it is kept.
//!
//! A [`Profile`] holds the checked content of a certificate, an [`Issuer`] settles serial number
//! and dates ([`Prepared`]), and signs it once ([`Issued`]). From a certificate request only the
//! public key is taken ([`PublicKeyInfo`]). Issuers also sign what tells of revoked certificates:
//! lists, and answers to an [`OcspRequest`]. [`EmbeddedCa`] is the issuer that needs no other
//! service; [`init`] makes its files.

mod authority;
mod certs_only;
mod crl;
mod csr;
mod der;
mod directory;
mod embedded;
mod encoding;
mod files;
mod intermediates;
mod issuer;
mod key_pair;
mod name;
mod ocsp;
mod profile;
mod public_key;
mod root;
mod root_list;
mod rotation;
mod serial;
mod signed_elsewhere;
mod status_url;

pub use authority::JoinAuthorityError;
pub use certs_only::certs_only;
pub use crl::{ParseListError, SignedList};
pub use csr::{MAX_CSR_BYTES, ParseCsrError};
pub use directory::{CaDirectory, InitCaError, OpenCaError, RootKey, init, init_with_root_crl_url};
pub use embedded::{EmbeddedCa, LoadCaError};
pub use encoding::{
    certificate_key, certificate_serial, certificate_validity, crl_pem, is_self_signed,
};
pub use files::{
    ReadCaFileError, WriteCaFileError, read_secret as read_secret_file, write_new as write_new_file,
};
pub use intermediates::CaStamp;
pub use issuer::{
    CrlReason, Inventory, InventoryError, IssueError, Issued, Issuer, PrepareError, Prepared,
    RevokedEntry, SignCrlError, validity_within,
};
pub use key_pair::{GenerateKeyError, KeyPairPem, WriteCsrError, write_csr};
pub use name::ParseDnsNameError;
pub use ocsp::{
    CertId, CertStatus, IssuerHashes, JoinResponderError, MAX_OCSP_CERT_IDS,
    MAX_OCSP_REQUEST_BYTES, OcspError, OcspNonce, OcspRequest, OcspResponder, OcspResponseData,
    ParseIssuerError, ParseOcspRequestError, SignOcspError, SingleResponse,
};
pub use profile::{BuildProfileError, Intermediate, Profile, ProfileKind};
pub use public_key::{KeyAlgorithm, ParsePublicKeyError, PublicKeyInfo};
pub use root::{
    CreateRootError, INTERMEDIATE_LIFETIME, NewIntermediate, ReadRootError, RootAuthority,
    WriteRootError,
};
pub use root_list::RenewRootListError;
pub use rotation::{NextIntermediate, PrepareNextError, RemoveIntermediateError};
pub use serial::{DrawSerialError, RandomSerials, SerialSource};
pub use signed_elsewhere::{UnfitError, check_signed, check_signed_list};
pub use status_url::{ParseStatusUrlError, StatusUrl, StatusUrls};
