use std::error::Error;
use std::sync::Arc;

use leafgate_registry::StoreError;

/// Why Vault did not do what it was asked, or what it answered can't be used. Never holds a token or a document.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Failure {
    #[error("Vault at {address} does not answer")]
    Unreachable {
        address: String,
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    #[error("Vault at {address} is sealed; unseal it")]
    Sealed { address: String },
    #[error("Vault at {address} can't do this now: status {status}{errors}")]
    Unwell {
        address: String,
        status: u16,
        errors: String,
    },
    #[error(
        "Vault at {address} denies {method} {path}{errors}: check that the token is valid, and that its policy grants \
         what policies/vault/ does"
    )]
    Denied {
        address: String,
        method: String,
        path: String,
        errors: String,
    },
    #[error("{what}")]
    LogIn {
        what: String,
        #[source]
        source: Option<Arc<dyn Error + Send + Sync>>,
    },
    #[error("{0}")]
    Unsupported(String),
    /// A document holds what no version writes.
    #[error("{0}")]
    Record(String),
    /// Others are in the way, or it is unknown what became of something.
    #[error("{0}")]
    NotNow(String),
}

impl Failure {
    /// Whether trying again soon may help, and a write may have been carried out all the same.
    pub(crate) const fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::Sealed { .. } | Self::Unwell { .. }
        )
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        let what = failure.to_string();
        match failure {
            Failure::Record(what) => Self::Corrupt { what },
            Failure::Unsupported(what) => Self::Unsupported { what },
            Failure::Unreachable { source, .. }
            | Failure::LogIn {
                source: Some(source),
                ..
            } => Self::Unavailable {
                what,
                source: Some(source),
            },
            Failure::Sealed { .. }
            | Failure::Unwell { .. }
            | Failure::Denied { .. }
            | Failure::LogIn { source: None, .. }
            | Failure::NotNow(_) => Self::Unavailable { what, source: None },
        }
    }
}
