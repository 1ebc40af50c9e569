use leafgate_identity::{DeviceId, SerialNumber, SpkiHash, TrustDomainName};
use leafgate_pki::{
    BuildProfileError, GenerateKeyError, IssueError, ParseCsrError, PrepareError, SignCrlError,
};
use leafgate_registry::{BuildChangeError, DeviceState, StoreError};

/// Whose turn it is after an error: what exit codes and HTTP statuses are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// What was asked for makes no sense; ask for something else.
    Input,
    /// The device or certificate does not exist.
    NotFound,
    /// The present state of things does not allow it.
    Conflict,
    /// The store or the issuer can't be reached; try again.
    Unavailable,
    /// Something is broken that neither asking again nor asking differently mends.
    Failed,
}

/// Why an act was not carried out, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum RegistrarError {
    /// No device has this id.
    #[error("there is no device {id}")]
    DeviceUnknown {
        /// The id.
        id: DeviceId,
    },
    /// No certificate has this serial number.
    #[error("there is no certificate with serial number {serial}")]
    CertificateUnknown {
        /// The serial number.
        serial: SerialNumber,
    },
    /// Two issuers gave out this serial number.
    #[error("two certificates have serial number {serial}, of issuers {} and {}: name the issuer", .issuers[0], .issuers[1])]
    CertificateAmbiguous {
        /// The serial number.
        serial: SerialNumber,
        /// The keys of two of the issuers.
        issuers: [SpkiHash; 2],
    },
    /// No trust domain has this name.
    #[error("there is no trust domain {name}; there is {}", list(.known))]
    TrustDomainUnknown {
        /// The name.
        name: TrustDomainName,
        /// Those that there are.
        known: Vec<TrustDomainName>,
    },
    /// A name can't be certified.
    #[error("no certificate can carry this name")]
    Name(#[source] BuildProfileError),
    /// The certificate request is refused.
    #[error("the certificate request is refused")]
    Csr(#[from] ParseCsrError),
    /// The key of the certificate request is known to be in other hands.
    #[error("this key is compromised: certificate {serial} was revoked for that; make a new key")]
    KeyCompromised {
        /// The certificate of the same holder that had the key.
        serial: SerialNumber,
    },
    /// The id is that of another device, in other letters.
    #[error("the id {id} is taken by {existing}; ids are unique ignoring case")]
    IdTaken {
        /// The id that was asked for.
        id: DeviceId,
        /// The device that has it.
        existing: DeviceId,
    },
    /// The registry's rules don't allow it.
    #[error(transparent)]
    Change(#[from] BuildChangeError),
    /// The device's state allows no certificate.
    #[error("{id} is {state}: no certificate is issued to it{}", mend(*.state))]
    NotIssuable {
        /// The device.
        id: DeviceId,
        /// Its state.
        state: DeviceState,
    },
    /// Certificates of the device's trust domain come from somewhere else.
    #[error(
        "trust domain {domain} does not name this issuer ({issuer}): its certificates are issued elsewhere"
    )]
    IssuerForeign {
        /// The trust domain.
        domain: TrustDomainName,
        /// The key of the issuer here.
        issuer: SpkiHash,
    },
    /// Others kept changing the same record, and this was not done.
    #[error("others keep changing {what}; try again")]
    Busy {
        /// The record.
        what: String,
    },
    /// The issuer prepares no certificate.
    #[error("no certificate can be issued: nothing was done")]
    Prepare(#[from] PrepareError),
    /// No key could be made.
    #[error("no certificate can be issued: nothing was done")]
    Key(#[from] GenerateKeyError),
    /// The issuer did not sign what was prepared and recorded.
    #[error(
        "certificate {serial} is recorded as prepared and was not signed; it admits nobody, and a new one can be asked for"
    )]
    NotSigned {
        /// Its serial number.
        serial: SerialNumber,
        /// Why.
        #[source]
        source: IssueError,
    },
    /// The certificate was signed, but recording it as issued failed or came to an unknown end.
    /// If it was recorded after all, older ones count only until their overlap ends.
    #[error(
        "certificate {serial} was signed but could not be recorded as issued; it is not handed out: ask for a new one before older ones end"
    )]
    SignedNotRecorded {
        /// Its serial number.
        serial: SerialNumber,
        /// Why.
        #[source]
        source: Box<RegistrarError>,
    },
    /// The device was registered, its certificate not issued.
    #[error("{id} is registered, but has no certificate yet: ask for one")]
    RegisteredWithoutCertificate {
        /// The device.
        id: DeviceId,
        /// Why there is no certificate.
        #[source]
        source: Box<RegistrarError>,
    },
    /// The store failed during a write, which may or may not have been done.
    #[error(
        "the registry failed while writing: the change may or may not have been made; look before trying again"
    )]
    Unconfirmed(#[source] StoreError),
    /// The store failed.
    #[error("the registry can't be read or written")]
    Store(#[from] StoreError),
    /// A revocation list was not signed.
    #[error("a revocation list could not be made")]
    Crl(#[from] SignCrlError),
}

impl RegistrarError {
    /// Whose turn it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::DeviceUnknown { .. } | Self::CertificateUnknown { .. } => ErrorKind::NotFound,
            Self::CertificateAmbiguous { .. }
            | Self::TrustDomainUnknown { .. }
            | Self::Name(_)
            | Self::Csr(_)
            | Self::KeyCompromised { .. } => ErrorKind::Input,
            Self::IdTaken { .. }
            | Self::NotIssuable { .. }
            | Self::IssuerForeign { .. }
            | Self::Busy { .. } => ErrorKind::Conflict,
            Self::Change(source) => kind_of_change(source),
            Self::Prepare(_) | Self::Key(_) => ErrorKind::Failed,
            Self::NotSigned { source, .. } => match source {
                IssueError::Unavailable(_) => ErrorKind::Unavailable,
                IssueError::Foreign { .. } | IssueError::Sign(_) => ErrorKind::Failed,
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

    /// A store that can't be reached may have made the change all the same; any other failure
    /// tells that it did not.
    pub(crate) fn of_commit(source: StoreError) -> Self {
        match source {
            StoreError::Unavailable { .. } => Self::Unconfirmed(source),
            StoreError::Corrupt { .. } | StoreError::Unsupported { .. } => Self::Store(source),
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

/// What to do first.
fn mend(state: DeviceState) -> &'static str {
    match state {
        DeviceState::Pending => "; approve it first",
        DeviceState::Disabled => "; enable it first",
        DeviceState::Revoked => "; delete it and register it again",
        DeviceState::Deleted => "; register it again",
        DeviceState::Active | DeviceState::Quarantined => "",
    }
}

fn list(names: &[TrustDomainName]) -> String {
    let names: Vec<&str> = names.iter().map(TrustDomainName::as_str).collect();
    names.join(", ")
}
