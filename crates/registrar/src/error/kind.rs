use leafgate_pki::{InventoryError, IssueError, SignCrlError};
use leafgate_registry::{BuildChangeError, StoreError};

use super::{EnrolError, RegistrarError};

/// Whose turn it is after an error: what exit codes and HTTP statuses are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// What was asked for makes no sense; ask for something else.
    Input,
    /// The device or certificate does not exist.
    NotFound,
    /// The present state of things does not allow it.
    Conflict,
    /// Whoever asks may not have it.
    Forbidden,
    /// It was asked for too often; try again later.
    TooMany,
    /// The store or the issuer can't be reached; try again.
    Unavailable,
    /// Something is broken that neither asking again nor asking differently mends.
    Failed,
}

impl RegistrarError {
    /// Whose turn it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::DeviceUnknown { .. }
            | Self::CertificateUnknown { .. }
            | Self::ApiKeyUnknown { .. }
            | Self::EnrolmentTokenUnknown { .. }
            | Self::IssuerUnknown { .. } => ErrorKind::NotFound,
            Self::CertificateAmbiguous { .. }
            | Self::TrustDomainUnknown { .. }
            | Self::Name(_)
            | Self::Csr(_) => ErrorKind::Input,
            Self::KeyCompromised { .. }
            | Self::KeyHeld { .. }
            | Self::IdTaken { .. }
            | Self::NotIssuable { .. }
            | Self::IssuerForeign { .. }
            | Self::Busy { .. }
            | Self::ApiKeysExist
            | Self::VersionDiffers { .. }
            | Self::RequestRepeated
            | Self::CountDiffers { .. }
            | Self::NotSelected { .. }
            | Self::IssuerRetired { .. }
            | Self::IssuerTooYoung { .. }
            | Self::IssuerActive { .. }
            | Self::IssuerUntrusted { .. } => ErrorKind::Conflict,
            Self::IssuerKeyMissing { .. } => ErrorKind::Unavailable,
            Self::Refused(_) | Self::RenewalRefused { .. } | Self::ServiceRenewalRefused { .. } => {
                ErrorKind::Forbidden
            }
            Self::IssuanceLimited { .. } | Self::ServiceIssuanceLimited { .. } => {
                ErrorKind::TooMany
            }
            Self::Enrol(source) => source.kind(),
            Self::Change(source) => kind_of_change(source),
            Self::Prepare(_) | Self::Key(_) | Self::InventoryMissing { .. } => ErrorKind::Failed,
            Self::Inventory(source) => match source {
                InventoryError::Unavailable(_) => ErrorKind::Unavailable,
                InventoryError::Failed(_) => ErrorKind::Failed,
            },
            Self::NotSigned { source, .. } => match source {
                IssueError::Unavailable(_) => ErrorKind::Unavailable,
                IssueError::Refused(_) => ErrorKind::Input,
                IssueError::Foreign { .. } | IssueError::Sign(_) | IssueError::Unfit { .. } => {
                    ErrorKind::Failed
                }
            },
            Self::SignedNotRecorded { source, .. }
            | Self::RegisteredWithoutCertificate { source, .. } => source.kind(),
            Self::Unconfirmed(source) | Self::Store(source) => match source {
                StoreError::Unavailable { .. } => ErrorKind::Unavailable,
                StoreError::Corrupt { .. } | StoreError::Unsupported { .. } => ErrorKind::Failed,
            },
            Self::Crl(source) => match source {
                SignCrlError::Unavailable(_) => ErrorKind::Unavailable,
                SignCrlError::NextUpdateNotAfterNow { .. } | SignCrlError::Sign(_) => {
                    ErrorKind::Failed
                }
            },
        }
    }
}

impl EnrolError {
    /// Whose turn it is.
    const fn kind(&self) -> ErrorKind {
        match self {
            Self::TokenUnknown
            | Self::TokenEnded { .. }
            | Self::NotCovered { .. }
            | Self::KeyForeign { .. } => ErrorKind::Forbidden,
            Self::Illegal { .. } => ErrorKind::Conflict,
        }
    }
}

fn kind_of_change(error: &BuildChangeError) -> ErrorKind {
    match error {
        BuildChangeError::CertificateUnknown { .. } => ErrorKind::NotFound,
        BuildChangeError::Malformed { .. } => ErrorKind::Input,
        BuildChangeError::IdTaken { .. }
        | BuildChangeError::TransitionIllegal { .. }
        | BuildChangeError::EditIllegal { .. }
        | BuildChangeError::IssueIllegal { .. }
        | BuildChangeError::CertificateExists { .. }
        | BuildChangeError::CertificateIllegal { .. }
        | BuildChangeError::Unchanged { .. } => ErrorKind::Conflict,
    }
}
