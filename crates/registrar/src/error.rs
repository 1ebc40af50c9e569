mod enrolment;
mod kind;
mod limit;
mod renewal;

use std::time::Duration;

use leafgate_access::{ApiKeyId, EnrolmentTokenId, RefuseError};
use leafgate_identity::{DeviceId, Excerpt, SerialNumber, SpkiHash, TrustDomainName, UnixMs};
use leafgate_pki::{
    BuildProfileError, GenerateKeyError, Intermediate, InventoryError, IssueError, ParseCsrError,
    PrepareError, SignCrlError,
};
use leafgate_registry::{BuildChangeError, DeviceState, StoreError};

pub use self::enrolment::{EnrolError, EnrolmentBar, TokenEnd};
pub use self::kind::ErrorKind;
pub use self::limit::IssuanceLimit;
pub use self::renewal::RenewalRefusal;

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
    Name(#[from] BuildProfileError),
    /// The certificate request is refused.
    #[error("the certificate request is refused")]
    Csr(#[from] ParseCsrError),
    /// The key is known to be in other hands.
    #[error(
        "this key is compromised: {} was revoked for that; make a new key",
        .serial.map_or_else(|| "a certificate".to_owned(), |serial| format!("certificate {serial}"))
    )]
    KeyCompromised {
        /// The certificate of the same holder that had the key, if it was the same.
        serial: Option<SerialNumber>,
    },
    /// The key is somebody else's.
    #[error(
        "this key is held by {}: every device needs a key of its own; make a new key",
        .holder.as_ref().map_or_else(|| "another device".to_owned(), |id| format!("device {id}"))
    )]
    KeyHeld {
        /// The device that has it, if whoever asks may know.
        holder: Option<DeviceId>,
    },
    /// The device got so many certificates that something must be wrong with it.
    #[error("{id} has {limit}; the next one can be asked for in {}", span(*.retry_after))]
    IssuanceLimited {
        /// The device.
        id: DeviceId,
        /// Which limit it is.
        limit: IssuanceLimit,
        /// After which time there is room for one.
        retry_after: Duration,
    },
    /// The presented certificate can't be renewed.
    #[error("the certificate of {id} can't be renewed: {why}")]
    RenewalRefused {
        /// The device.
        id: DeviceId,
        /// Why.
        why: RenewalRefusal,
    },
    /// The presented certificate of a part of the installation can't be renewed.
    #[error("the certificate of {name} can't be renewed: {why}")]
    ServiceRenewalRefused {
        /// The name in the certificate.
        name: Excerpt,
        /// Why.
        why: RenewalRefusal,
    },
    /// A part of the installation got so many certificates that something must be wrong with it.
    #[error("{name} got {per_day} certificates within a day; the next one can be asked for in {}", span(*.retry_after))]
    ServiceIssuanceLimited {
        /// Its name.
        name: String,
        /// How many it gets.
        per_day: usize,
        /// After which time there is room for one.
        retry_after: Duration,
    },
    /// The device is not let in.
    #[error(transparent)]
    Enrol(#[from] EnrolError),
    /// No API key has this id.
    #[error("there is no API key {id}")]
    ApiKeyUnknown {
        /// The id.
        id: ApiKeyId,
    },
    /// There are API keys.
    #[error("there is an API key already; whoever holds an admin's key can make further ones")]
    ApiKeysExist,
    /// No enrolment token has this id.
    #[error("there is no enrolment token {id}")]
    EnrolmentTokenUnknown {
        /// The id.
        id: EnrolmentTokenId,
    },
    /// Whoever asks may not do this.
    #[error(transparent)]
    Refused(#[from] RefuseError),
    /// The device is not the one that was meant.
    #[error("{id} is in version {found}, not {expected}; read it again")]
    VersionDiffers {
        /// The device.
        id: DeviceId,
        /// The version that was meant.
        expected: u64,
        /// Its version.
        found: u64,
    },
    /// The same request was carried out before.
    #[error("this request was carried out already")]
    RequestRepeated,
    /// A change of many devices would change more or fewer than was confirmed.
    #[error(
        "this would change {found} devices, not {expected}; nothing was done: look again, and confirm that number"
    )]
    CountDiffers {
        /// The number that was confirmed.
        expected: usize,
        /// The number of devices that are selected.
        found: usize,
    },
    /// A device is not among those that a change of many was about.
    #[error("{id} was changed meanwhile and is no longer among the selected devices")]
    NotSelected {
        /// The device.
        id: DeviceId,
    },
    /// The id is that of another device, perhaps in other letters.
    #[error("the id {id} is taken{}; ids are unique ignoring case", by(.id, .existing))]
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
        "{} was not signed; a new one can be asked for",
        .serial.map_or_else(
            || "the certificate that was asked for".to_owned(),
            |serial| format!("certificate {serial} is recorded as prepared, admits nobody, and"),
        )
    )]
    NotSigned {
        /// Its serial number, if the issuer had settled that.
        serial: Option<SerialNumber>,
        /// Why.
        #[source]
        source: IssueError,
    },
    /// The certificate was signed, but recording it as issued failed or came to an unknown end.
    #[error(
        "certificate {serial} was signed but could not be recorded as issued; it is not handed out: ask for a new one"
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
    /// No issuer has this key.
    #[error("there is no issuer with key {issuer}")]
    IssuerUnknown {
        /// SHA-256 of its SubjectPublicKeyInfo.
        issuer: SpkiHash,
    },
    /// The issuer signs nothing any more.
    #[error("issuer {issuer} is retired, which is final: prepare another one")]
    IssuerRetired {
        /// SHA-256 of its SubjectPublicKeyInfo.
        issuer: SpkiHash,
    },
    /// The issuer was prepared too short a time ago.
    #[error(
        "issuer {issuer} was prepared at {since}: listeners and callouts that do not know it yet would keep its devices out; wait {} more, or say that all of them know it", span(*.left)
    )]
    IssuerTooYoung {
        /// SHA-256 of its SubjectPublicKeyInfo.
        issuer: SpkiHash,
        /// When it was prepared.
        since: UnixMs,
        /// How long to wait.
        left: Duration,
    },
    /// The issuer is the one that signs.
    #[error("issuer {issuer} is the active one: activate another one first")]
    IssuerActive {
        /// SHA-256 of its SubjectPublicKeyInfo.
        issuer: SpkiHash,
    },
    /// This process can't sign as the registry wants it.
    #[error(
        "this registry lacks the key of the issuer of {intermediate}{}: copy {intermediate}.crt and the {intermediate}*.key files from the CA folder that has it",
        .issuer.map_or_else(String::new, |issuer| format!(" ({issuer})"))
    )]
    IssuerKeyMissing {
        /// What it signs.
        intermediate: Intermediate,
        /// SHA-256 of its SubjectPublicKeyInfo; `None` if there is no issuer at all.
        issuer: Option<SpkiHash>,
    },
    /// No trust domain names the issuer.
    #[error(
        "no trust domain of this registry names issuer {issuer}: put its certificate into a file of [[trust_domain]] issuers, here, for the callouts, and in the listeners' ca_file"
    )]
    IssuerUntrusted {
        /// SHA-256 of its SubjectPublicKeyInfo.
        issuer: SpkiHash,
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
    /// No issuer here with this key keeps an account of what it signed.
    #[error("issuer {issuer}, which was asked to sign, is none of this registry's any more")]
    InventoryMissing {
        /// The issuer's key.
        issuer: SpkiHash,
    },
    /// The issuer's own account could not be read or changed.
    #[error("the issuer's own account of what it signed can't be read or changed")]
    Inventory(#[from] InventoryError),
}

impl RegistrarError {
    /// After which time it makes sense to ask again, where that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::IssuanceLimited { retry_after, .. }
            | Self::ServiceIssuanceLimited { retry_after, .. } => Some(*retry_after),
            Self::IssuerTooYoung { left, .. } => Some(*left),
            _ => None,
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

/// Who has an id, if that doesn't go without saying.
fn by(id: &DeviceId, existing: &DeviceId) -> String {
    if id == existing {
        String::new()
    } else {
        format!(" by {existing}")
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

/// A time in whole units, rounded up.
fn span(time: Duration) -> String {
    match time.as_secs_f64().ceil() {
        secs if secs < 120.0 => format!("{secs} s"),
        secs if secs < 7_200.0 => format!("{} min", (secs / 60.0).ceil()),
        secs => format!("{} h", (secs / 3_600.0).ceil()),
    }
}

fn list(names: &[TrustDomainName]) -> String {
    let names: Vec<&str> = names.iter().map(TrustDomainName::as_str).collect();
    names.join(", ")
}
