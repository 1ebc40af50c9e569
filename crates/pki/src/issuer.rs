use std::time::Duration;

use async_trait::async_trait;
use leafgate_identity::{Fingerprint, SerialNumber, SpkiHash, UnixMs, Validity};

use crate::encoding::whole_seconds;
use crate::ocsp::{OcspResponseData, SignOcspError};
use crate::profile::Profile;
use crate::public_key::PublicKeyInfo;
use crate::serial::DrawSerialError;

/// How far before its making a certificate begins.
pub(crate) const BACKDATE: Duration = Duration::from_secs(300);

/// Something that signs certificates, and what tells of their revocation, for one issuing key.
///
/// Issuing takes two steps, so that the caller can record what is going to be signed before it
/// is: a certificate that exists is then always one that somebody knows of. An issuer that draws serial numbers only when
/// it signs keeps an [inventory](Self::inventory), in which the caller finds what it signed and nobody recorded.
#[async_trait]
pub trait Issuer: Send + Sync {
    /// SHA-256 of the issuing certificate's SubjectPublicKeyInfo.
    fn spki(&self) -> SpkiHash;

    /// The issuing certificate in PEM.
    fn certificate_pem(&self) -> &str;

    /// Settles dates and, if this issuer can, serial number of a certificate, and signs nothing.
    ///
    /// The certificate is to be valid from five minutes before `now` (or less, if the issuer settles that itself) for the
    /// lifetime of the profile, but within the issuer's own validity.
    ///
    /// # Errors
    /// The issuer is not valid at `now`, or no serial number can be drawn.
    fn prepare(
        &self,
        profile: Profile,
        key: PublicKeyInfo,
        now: UnixMs,
    ) -> Result<Prepared, PrepareError>;

    /// Signs what was prepared, once.
    ///
    /// # Errors
    /// Another issuer prepared it, or signing fails. After [`IssueError::Unavailable`] an issuer with an inventory may
    /// have signed all the same; after [`IssueError::Unfit`] it has.
    async fn issue(&self, prepared: Prepared) -> Result<Issued, IssueError>;

    /// Signs the revocation list (RFC 5280 section 5) with the number `number`, which must grow
    /// from list to list, and returns its DER. `entries` are all revoked certificates of this
    /// issuer that have not expired.
    ///
    /// # Errors
    /// `next_update` does not come after `now`, or signing fails.
    async fn sign_crl(
        &self,
        entries: &[RevokedEntry],
        number: u64,
        now: UnixMs,
        next_update: UnixMs,
    ) -> Result<Vec<u8>, SignCrlError>;

    /// Signs an OCSP answer about certificates of this issuer, with its own key or that of a
    /// responder that it delegates to ([`OcspResponder`](crate::OcspResponder)), and returns the
    /// OCSPResponse in DER.
    ///
    /// # Errors
    /// `next_update` does not come after `this_update`, or signing fails.
    async fn sign_ocsp(&self, data: &OcspResponseData) -> Result<Vec<u8>, SignOcspError>;

    /// What it has signed, if it keeps account of that itself and draws serial numbers when it signs.
    fn inventory(&self) -> Option<&dyn Inventory> {
        None
    }
}

/// An issuer's own account of what it has signed. Others may have it sign too.
#[async_trait]
pub trait Inventory: Send + Sync {
    /// The serial numbers of all certificates, of other issuers of the same account too.
    ///
    /// # Errors
    /// The issuer can't be reached, or doesn't tell.
    async fn serials(&self) -> Result<Vec<SerialNumber>, InventoryError>;

    /// A certificate in DER; none if there is no such.
    ///
    /// # Errors
    /// The issuer can't be reached, or doesn't tell.
    async fn certificate(&self, serial: &SerialNumber) -> Result<Option<Vec<u8>>, InventoryError>;

    /// The serial numbers of those that the issuer itself knows as revoked.
    ///
    /// # Errors
    /// The issuer can't be reached, or doesn't tell.
    async fn revoked(&self) -> Result<Vec<SerialNumber>, InventoryError>;

    /// Has the issuer revoke a certificate too. One that it has revoked already, or doesn't know, is no error.
    ///
    /// # Errors
    /// The issuer can't be reached, or refuses.
    async fn revoke(&self, serial: &SerialNumber) -> Result<(), InventoryError>;
}

/// From when to when an issuer that is valid for `issuer` certifies something at `now` for `lifetime`: from five minutes
/// before, for peers whose clock is behind, and within its own validity.
///
/// # Errors
/// The issuer is not valid at `now`.
pub fn validity_within(
    issuer: Validity,
    now: UnixMs,
    lifetime: Duration,
) -> Result<Validity, PrepareError> {
    let Validity {
        not_before,
        not_after,
    } = issuer;
    let now = whole_seconds(now);
    if now < not_before {
        return Err(PrepareError::IssuerNotYetValid { not_before });
    }
    if now >= not_after {
        return Err(PrepareError::IssuerExpired { not_after });
    }
    Ok(Validity {
        not_before: now.saturating_sub(BACKDATE).max(not_before),
        not_after: whole_seconds(now.saturating_add(lifetime)).min(not_after),
    })
}

/// A certificate settled in every detail and not yet signed.
///
/// It can't be copied, and signing consumes it:
///
/// ```compile_fail,E0382
/// # use leafgate_pki::{Issuer, Prepared};
/// async fn sign_twice(issuer: &dyn Issuer, prepared: Prepared) {
///     let _ = issuer.issue(prepared).await;
///     let _ = issuer.issue(prepared).await;
/// }
/// ```
#[derive(Debug)]
pub struct Prepared {
    issuer: SpkiHash,
    profile: Profile,
    key: PublicKeyInfo,
    serial: Option<SerialNumber>,
    validity: Validity,
}

impl Prepared {
    /// For implementations of [`Issuer`]: `issuer` is the one that will sign. Those that draw the serial number when they
    /// sign leave it out.
    pub fn new(
        issuer: SpkiHash,
        profile: Profile,
        key: PublicKeyInfo,
        serial: Option<SerialNumber>,
        validity: Validity,
    ) -> Self {
        Self {
            issuer,
            profile,
            key,
            serial,
            validity,
        }
    }

    /// The key hash of the issuer that prepared it.
    pub fn issuer(&self) -> SpkiHash {
        self.issuer
    }

    /// What the certificate will say and be for.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The key that will be certified.
    pub fn public_key(&self) -> &PublicKeyInfo {
        &self.key
    }

    /// The serial number that the certificate will have, unless the issuer draws it when it signs.
    pub fn serial(&self) -> Option<SerialNumber> {
        self.serial
    }

    /// When the certificate will be valid, to the second; one whose serial number is not settled may begin later.
    pub fn validity(&self) -> Validity {
        self.validity
    }
}

/// A signed certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The certificate in PEM.
    pub certificate_pem: String,
    /// The certificate followed by its issuer's, as TLS servers and clients send them.
    pub chain_pem: String,
    /// Its serial number.
    pub serial: SerialNumber,
    /// SHA-256 of its DER.
    pub fingerprint: Fingerprint,
    /// The key hash of its issuer.
    pub issuer: SpkiHash,
    /// When it is valid.
    pub validity: Validity,
}

/// One line of a revocation list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokedEntry {
    /// The serial number of the certificate.
    pub serial: SerialNumber,
    /// When it was revoked.
    pub revoked_at: UnixMs,
    /// Why.
    pub reason: CrlReason,
}

/// Why a certificate was revoked (RFC 5280 section 5.3.1). Left out are `certificateHold` and
/// `removeFromCRL`, because revocation is final, and `aACompromise`, because there are no
/// attribute certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CrlReason {
    /// No reason given; the list then carries no reason code.
    Unspecified,
    /// The private key is known or suspected to be in other hands.
    KeyCompromise,
    /// The same for the key of the issuer.
    CaCompromise,
    /// The subject's name or other data changed.
    AffiliationChanged,
    /// Another certificate took its place.
    Superseded,
    /// The subject is no longer in use.
    CessationOfOperation,
    /// A right that the certificate gave was withdrawn.
    PrivilegeWithdrawn,
}

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a certificate can't be prepared.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The issuer's certificate has ended.
    #[error("the issuing certificate ended at {not_after}: issue a new intermediate from the root")]
    IssuerExpired {
        /// When it ended.
        not_after: UnixMs,
    },
    /// The issuer's certificate is not valid yet.
    #[error("the issuing certificate is not valid before {not_before}: check this machine's clock")]
    IssuerNotYetValid {
        /// When it begins.
        not_before: UnixMs,
    },
    /// No random number for the serial.
    #[error("no serial number could be drawn")]
    Serial(#[from] DrawSerialError),
    /// The issuer refuses the request, for a reason of its own.
    #[error("the issuer refused to prepare the certificate")]
    Refused(#[source] Source),
}

/// Why a prepared certificate was not signed.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// Another issuer prepared it.
    #[error("the certificate was prepared by another issuer ({prepared_by})")]
    Foreign {
        /// The key hash of that issuer.
        prepared_by: SpkiHash,
    },
    /// The signature could not be made.
    #[error("the certificate could not be signed")]
    Sign(#[source] Source),
    /// The issuer, or the rules that it was given, don't allow this certificate. It was not signed.
    #[error("the issuer refuses to sign this certificate")]
    Refused(#[source] Source),
    /// The issuer signed something else than what was prepared. Nobody may have it, and it must be revoked.
    #[error("the issuer signed something else than what it was asked for (certificate {serial})")]
    Unfit {
        /// The serial number of what it signed.
        serial: SerialNumber,
        /// What is wrong with it.
        #[source]
        source: Source,
    },
    /// The issuer can't be reached.
    #[error("the issuer can't be reached: try again")]
    Unavailable(#[source] Source),
}

/// Why an [`Inventory`] doesn't tell, or do, what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// The issuer can't be reached.
    #[error("the issuer can't be reached: try again")]
    Unavailable(#[source] Source),
    /// It refuses, or tells what can't be read.
    #[error("the issuer doesn't do this")]
    Failed(#[source] Source),
}

/// Why a revocation list was not signed.
#[derive(Debug, thiserror::Error)]
pub enum SignCrlError {
    /// The list would end before it begins.
    #[error("the revocation list's next update ({next_update}) must come after its date ({now})")]
    NextUpdateNotAfterNow {
        /// The date of the list.
        now: UnixMs,
        /// The date of the next one.
        next_update: UnixMs,
    },
    /// The signature could not be made.
    #[error("the revocation list could not be signed")]
    Sign(#[source] Source),
    /// The issuer can't be reached.
    #[error("the issuer can't be reached: try again")]
    Unavailable(#[source] Source),
}
