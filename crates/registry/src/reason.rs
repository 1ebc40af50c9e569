use crate::text::named;

/// Why a certificate was revoked (RFC 5280 section 5.3.1).
///
/// `certificateHold` and `removeFromCRL` are left out because a revocation is final here (a device that may come back is
/// disabled or quarantined instead), `aACompromise` because there are no attribute certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum RevocationReason {
    /// No reason was given. A CRL then carries no reason code, as RFC 5280 advises.
    #[default]
    Unspecified,
    /// The private key is known or suspected to be in other hands.
    KeyCompromise,
    /// The issuer's key is known or suspected to be in other hands.
    CaCompromise,
    /// The device changed its owner or its name.
    AffiliationChanged,
    /// Another certificate took its place.
    Superseded,
    /// The device is no longer in use; deletion says this.
    CessationOfOperation,
    /// The device may no longer do what the certificate stands for.
    PrivilegeWithdrawn,
}

named!(RevocationReason, UnknownRevocationReason, "revocation reason", {
    Unspecified => "unspecified",
    KeyCompromise => "key-compromise",
    CaCompromise => "ca-compromise",
    AffiliationChanged => "affiliation-changed",
    Superseded => "superseded",
    CessationOfOperation => "cessation-of-operation",
    PrivilegeWithdrawn => "privilege-withdrawn",
});
