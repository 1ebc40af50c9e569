use std::time::Duration;

use leafgate_identity::UnixMs;

/// Why an access token lets nobody in. None of this repeats the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OidcError {
    /// It is longer than any that is looked at.
    #[error(
        "the access token has more than {max_bytes} bytes: have its issuer put fewer claims in"
    )]
    TokenTooLong {
        /// The most that it may have.
        max_bytes: usize,
    },
    /// It is no signed JWT (RFC 7519, RFC 7515 section 7.1).
    #[error("the access token is no signed JWT: {what}")]
    TokenMalformed {
        /// Where reading it failed.
        what: &'static str,
    },
    /// Its header demands an extension, and none is supported (RFC 7515 section 4.1.11).
    #[error("the access token's header has crit, and no extension is supported")]
    HeaderCritical,
    /// It is a token for something else, such as an ID token.
    #[error("this is no access token for an API: {what}")]
    NotAccessToken {
        /// By what this was told.
        what: &'static str,
    },
    /// It counts only together with a key of its bearer, and nobody asks for a proof of that here.
    #[error(
        "the access token is bound to a key of its bearer (cnf), which can't be checked here: ask for one that is not"
    )]
    TokenBound,
    /// The algorithm that it names is not accepted at all, or not with the key that it names.
    #[error("the access token's algorithm is not accepted with its key: accepted are {accepted}")]
    AlgorithmNotAccepted {
        /// The configured algorithms.
        accepted: String,
    },
    /// It names no key (`kid`) where there are several.
    #[error("the access token names no key (kid), and its issuer has several")]
    KeyUnnamed,
    /// The issuer has no such key.
    #[error("the access token's key (kid) is none of its issuer's")]
    KeyUnknown,
    /// The signature is not that of the key.
    #[error("the access token's signature is wrong")]
    SignatureInvalid,
    /// A claim that every token needs is not there.
    #[error("the access token has no claim {claim}")]
    ClaimMissing {
        /// The claim.
        claim: &'static str,
    },
    /// A claim is not of the type or form that it must have.
    #[error("the access token's claim {claim} is malformed")]
    ClaimMalformed {
        /// The claim.
        claim: String,
    },
    /// Somebody else issued it.
    #[error("the access token is of another issuer than {expected}")]
    IssuerMismatch {
        /// The configured issuer.
        expected: String,
    },
    /// It is meant for others.
    #[error("the access token is not for the audience {expected}")]
    AudienceMismatch {
        /// The configured audience.
        expected: String,
    },
    /// Its time is over.
    #[error("the access token ended at {at}")]
    TokenExpired {
        /// When it ended.
        at: UnixMs,
    },
    /// Its time has not come, or it comes from the future.
    #[error("the access token counts from {from} only")]
    TokenNotYetValid {
        /// From when it counts.
        from: UnixMs,
    },
    /// It says nothing by which its bearer could be named.
    #[error("the access token names nobody: it has none of the claims {claims}")]
    NameMissing {
        /// The claims that were looked for.
        claims: String,
    },
    /// The name of its bearer can't stand in the audit trail.
    #[error(
        "the access token's claim {claim} can't name somebody: it must be 1 to {max_bytes} bytes without control characters"
    )]
    NameMalformed {
        /// The claim.
        claim: String,
        /// The longest name.
        max_bytes: usize,
    },
    /// It is good, but no grant is for any role in it.
    #[error("{name} may do nothing here: no grant is for a role in the access token")]
    GrantNone {
        /// Who asked, as in [`Principal::name`](leafgate_access::Principal::name).
        name: String,
    },
    /// The issuer's keys can't be read, so that it can't be said whether the token is good.
    #[error("the issuer's keys can't be read now")]
    KeysUnavailable {
        /// When it may be worth trying again.
        retry_after: Duration,
    },
}

impl OidcError {
    /// The reason in kebab-case, for logs, metrics and the audit trail.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::TokenTooLong { .. } => "token-too-long",
            Self::TokenMalformed { .. } => "token-malformed",
            Self::HeaderCritical => "header-critical",
            Self::NotAccessToken { .. } => "token-not-access",
            Self::TokenBound => "token-bound",
            Self::AlgorithmNotAccepted { .. } => "algorithm-not-accepted",
            Self::KeyUnnamed => "key-unnamed",
            Self::KeyUnknown => "key-unknown",
            Self::SignatureInvalid => "signature-invalid",
            Self::ClaimMissing { .. } => "claim-missing",
            Self::ClaimMalformed { .. } => "claim-malformed",
            Self::IssuerMismatch { .. } => "issuer-mismatch",
            Self::AudienceMismatch { .. } => "audience-mismatch",
            Self::TokenExpired { .. } => "token-expired",
            Self::TokenNotYetValid { .. } => "token-not-yet-valid",
            Self::NameMissing { .. } => "name-missing",
            Self::NameMalformed { .. } => "name-malformed",
            Self::GrantNone { .. } => "grant-none",
            Self::KeysUnavailable { .. } => "keys-unavailable",
        }
    }
}
