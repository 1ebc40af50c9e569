use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use leafgate_access::RefuseError;
use leafgate_api::ProblemType;
use leafgate_pki::{IssueError, SignCrlError};
use leafgate_registrar::{EnrolError, EnrolmentBar, ErrorKind, RegistrarError};
use leafgate_registry::{BuildChangeError, StoreError};

/// Longest detail, in bytes: what is told may repeat parts of the request.
const MAX_DETAIL_BYTES: usize = 1_000;

/// When to try again what failed because something can't be reached or is too busy.
pub(crate) const SOON: Duration = Duration::from_secs(1);
pub(crate) const LATER: Duration = Duration::from_secs(5);

/// Why a request is not answered as it was meant.
///
/// As a response it is only a status: whoever finishes responses gives it its document, which needs what only they
/// know, and logs what lies behind it.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) kind: ProblemType,
    pub(crate) detail: String,
    pub(crate) retry_after: Option<Duration>,
    /// What is behind it, for the log alone.
    pub(crate) source: Option<Arc<dyn Error + Send + Sync>>,
}

impl Problem {
    pub(crate) fn new(kind: ProblemType, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        if detail.len() > MAX_DETAIL_BYTES {
            let end = detail.floor_char_boundary(MAX_DETAIL_BYTES);
            detail.truncate(end);
            detail.push('…');
        }
        Self {
            kind,
            detail,
            retry_after: None,
            source: None,
        }
    }

    /// A request that can't be read.
    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(ProblemType::RequestMalformed, detail)
    }

    /// Something broken, of which only the log tells.
    pub(crate) fn internal(source: impl Error + Send + Sync + 'static) -> Self {
        let detail = "the service's log holds the cause under this request_id";
        Self::new(ProblemType::Internal, detail).because(source)
    }

    #[must_use]
    pub(crate) fn retry_after(mut self, time: Duration) -> Self {
        self.retry_after = Some(time);
        self
    }

    #[must_use]
    pub(crate) fn because(mut self, source: impl Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.kind.status()).unwrap_or_default();
        let mut response = status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<RefuseError> for Problem {
    fn from(error: RefuseError) -> Self {
        let kind = match error {
            RefuseError::Role { .. } => ProblemType::RoleInsufficient,
            RefuseError::Scope { .. } => ProblemType::ScopeExceeded,
            RefuseError::Grant => ProblemType::GrantExceeded,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable { .. } => Self::new(
                ProblemType::RegistryUnavailable,
                "the registry can't be read or written now",
            )
            .retry_after(LATER)
            .because(error),
            StoreError::Unsupported { what } => Self::new(ProblemType::NotSupported, what),
            StoreError::Corrupt { .. } => Self::internal(error),
        }
    }
}

impl From<RegistrarError> for Problem {
    fn from(error: RegistrarError) -> Self {
        use ProblemType as P;
        match error {
            RegistrarError::Store(source) => source.into(),
            RegistrarError::Refused(source) => source.into(),
            RegistrarError::Unconfirmed(source) => Self::new(
                P::OutcomeUnknown,
                "the registry failed while writing: read again to see whether the change was made",
            )
            .retry_after(LATER)
            .because(source),
            RegistrarError::RegisteredWithoutCertificate { source, .. }
            | RegistrarError::SignedNotRecorded { source, .. } => Self::from(*source),
            RegistrarError::NotSigned {
                source: IssueError::Unavailable(_),
                ..
            }
            | RegistrarError::Crl(SignCrlError::Unavailable(_)) => {
                let detail = "no certificate was signed: the issuer does not answer";
                Self::new(P::IssuerUnavailable, detail)
                    .retry_after(LATER)
                    .because(error)
            }
            RegistrarError::IssuerKeyMissing { .. } => {
                Self::new(P::IssuerKeyMissing, error.to_string()).retry_after(LATER)
            }
            RegistrarError::Busy { .. } => Self::new(P::Busy, error.to_string()).retry_after(SOON),
            error => match kind_of(&error) {
                Some(kind) => {
                    let problem = Self::new(kind, chain(&error));
                    match error.retry_after() {
                        Some(time) => problem.retry_after(time),
                        None => problem,
                    }
                }
                None => Self::internal(error),
            },
        }
    }
}

/// The problem that an error is whose every word may be told; `None` if it is about this side.
fn kind_of(error: &RegistrarError) -> Option<ProblemType> {
    use ProblemType as P;
    use RegistrarError as E;
    Some(match error {
        E::DeviceUnknown { .. } => P::DeviceUnknown,
        E::CertificateUnknown { .. } => P::CertificateUnknown,
        E::ApiKeyUnknown { .. } => P::ApiKeyUnknown,
        E::EnrolmentTokenUnknown { .. } => P::EnrolmentTokenUnknown,
        E::CertificateAmbiguous { .. } => P::CertificateAmbiguous,
        E::TrustDomainUnknown { .. } => P::TrustDomainUnknown,
        E::Name(_) => P::ValueMalformed,
        E::Csr(_)
        | E::NotSigned {
            source: IssueError::Refused(_),
            ..
        } => P::CertificateRequestRefused,
        E::KeyCompromised { .. } => P::KeyCompromised,
        E::KeyHeld { .. } => P::KeyConflict,
        E::RenewalRefused { .. } | E::ServiceRenewalRefused { .. } => P::RenewalRefused,
        E::Enrol(source) => match source {
            EnrolError::TokenUnknown => P::EnrolmentTokenInvalid,
            EnrolError::TokenEnded { .. } => P::EnrolmentTokenEnded,
            EnrolError::NotCovered { .. } | EnrolError::KeyForeign { .. } => P::EnrolmentRefused,
            EnrolError::Illegal { bar, .. } => match bar {
                EnrolmentBar::IdTaken => P::DeviceExists,
                EnrolmentBar::State(_)
                | EnrolmentBar::HasHadCertificate
                | EnrolmentBar::Differs(_) => P::StateIllegal,
            },
        },
        E::IssuanceLimited { .. } | E::ServiceIssuanceLimited { .. } => P::IssuanceLimited,
        E::IdTaken { .. } => P::DeviceExists,
        E::NotIssuable { .. } => P::StateIllegal,
        E::IssuerForeign { .. } => P::IssuerForeign,
        E::IssuerUnknown { .. } => P::IssuerUnknown,
        E::IssuerRetired { .. } | E::IssuerActive { .. } | E::IssuerUntrusted { .. } => {
            P::IssuerStateIllegal
        }
        E::IssuerTooYoung { .. } => P::IssuerTooYoung,
        E::VersionDiffers { .. } => P::VersionMismatch,
        E::CountDiffers { .. } => P::CountDiffers,
        E::Change(source) => match source {
            BuildChangeError::IdTaken { .. } => P::DeviceExists,
            BuildChangeError::CertificateUnknown { .. } => P::CertificateUnknown,
            BuildChangeError::Malformed { .. } => P::ValueMalformed,
            BuildChangeError::TransitionIllegal { .. }
            | BuildChangeError::EditIllegal { .. }
            | BuildChangeError::IssueIllegal { .. }
            | BuildChangeError::CertificateExists { .. }
            | BuildChangeError::CertificateIllegal { .. }
            | BuildChangeError::Unchanged { .. } => P::StateIllegal,
        },
        other => match other.kind() {
            ErrorKind::Input => P::ValueMalformed,
            ErrorKind::Conflict => P::StateIllegal,
            ErrorKind::Forbidden => P::RoleInsufficient,
            ErrorKind::NotFound
            | ErrorKind::TooMany
            | ErrorKind::Unavailable
            | ErrorKind::Failed => return None,
        },
    })
}

/// An error with its causes, none of which is told twice.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let what = error.to_string();
        if !text.ends_with(&what) {
            text.push_str(": ");
            text.push_str(&what);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_short_whole_characters() {
        let problem = Problem::malformed("ä".repeat(1_000));
        assert_eq!(problem.detail, format!("{}…", "ä".repeat(500)));
    }

    #[test]
    fn a_failing_store_is_told_without_its_causes() {
        let store = || {
            StoreError::unavailable(
                "/secret/registry.db is gone",
                std::io::Error::other("/secret"),
            )
        };
        for error in [
            RegistrarError::Store(store()),
            RegistrarError::Unconfirmed(store()),
            RegistrarError::Store(StoreError::Corrupt {
                what: "device /secret".to_owned(),
            }),
        ] {
            let problem = Problem::from(error);
            assert!(!problem.detail.contains("secret"), "{}", problem.detail);
            assert!(problem.kind.status() >= 500 && problem.source.is_some());
        }
    }
}
