use std::path::PathBuf;

use leafgate_identity::{SerialNumber, UnixMs};
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;
use x509_parser::x509::{ReasonCode, X509Name};

use crate::crl::SignedList;
use crate::directory::{CaDirectory, ROOT_CRL_LIFETIME};
use crate::encoding::crl_pem;
use crate::files::{ReadCaFileError, WriteCaFileError, read_text, replace};
use crate::issuer::{CrlReason, RevokedEntry, SignCrlError};
use crate::root::RootAuthority;

impl CaDirectory {
    /// Signs the root's revocation list anew, with the next number and what the present one lists, and replaces its
    /// file. It is current for a year from `now`.
    ///
    /// # Errors
    /// The root is that of another CA, the present list is not the root's, signing fails, or a file can't be read or
    /// written.
    pub fn renew_root_list(
        &self,
        root: &RootAuthority,
        now: UnixMs,
    ) -> Result<SignedList, RenewRootListError> {
        let _turn = self.lock()?;
        let certificate = self.root_certificate();
        if !self.is_of(root)? {
            return Err(RenewRootListError::RootForeign { certificate });
        }
        let file = self.root_crl();
        let unfit = || RenewRootListError::List { list: file.clone() };
        let present = SignedList::parse(read_text(&file)?.as_bytes()).map_err(|_| unfit())?;
        let (entries, number) = content(&present.der, root).ok_or_else(unfit)?;
        let next_update = now.saturating_add(ROOT_CRL_LIFETIME);
        let der = root.sign_crl(&entries, number, now, next_update)?;
        replace(&file, &crl_pem(&der))?;
        SignedList::parse(&der).map_err(|_| unfit())
    }
}

/// What the root's list says, and the number of the next; `None` if it is none of this root.
fn content(der: &[u8], root: &RootAuthority) -> Option<(Vec<RevokedEntry>, u64)> {
    let (_, list) = CertificateRevocationList::from_der(der).ok()?;
    let root = pem::parse(root.certificate_pem()).ok()?;
    let (_, root) = x509_parser::parse_x509_certificate(root.contents()).ok()?;
    let same_name = |name: &X509Name<'_>| name.as_raw() == root.subject().as_raw();
    if !same_name(list.issuer()) || list.verify_signature(root.public_key()).is_err() {
        return None;
    }
    let entries = list.iter_revoked_certificates().map(|revoked| {
        Some(RevokedEntry {
            serial: SerialNumber::from_be_bytes(revoked.raw_serial()).ok()?,
            revoked_at: UnixMs::from_secs(revoked.revocation_date.timestamp()),
            reason: revoked
                .reason_code()
                .map_or(CrlReason::Unspecified, |(_, code)| reason(code)),
        })
    });
    let number = list.crl_number().map_or(Some(0), |it| it.try_into().ok())?;
    Some((
        entries.collect::<Option<_>>()?,
        u64::checked_add(number, 1)?,
    ))
}

/// What has no place among our reasons is left unspecified.
fn reason(code: ReasonCode) -> CrlReason {
    match code {
        ReasonCode::KeyCompromise => CrlReason::KeyCompromise,
        ReasonCode::CACompromise => CrlReason::CaCompromise,
        ReasonCode::AffiliationChanged => CrlReason::AffiliationChanged,
        ReasonCode::Superseded => CrlReason::Superseded,
        ReasonCode::CessationOfOperation => CrlReason::CessationOfOperation,
        ReasonCode::PrivilegeWithdrawn => CrlReason::PrivilegeWithdrawn,
        _ => CrlReason::Unspecified,
    }
}

/// Why the root's list is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RenewRootListError {
    /// The root's key belongs to another CA.
    #[error("the root's key is not that of {}", certificate.display())]
    RootForeign {
        /// The file of the CA's root certificate.
        certificate: PathBuf,
    },
    /// What is there is no list that can be followed by another.
    #[error("{} holds no revocation list of this root: put its last one there", list.display())]
    List {
        /// The file of the list.
        list: PathBuf,
    },
    /// The list could not be signed.
    #[error("the root's revocation list could not be made")]
    Sign(#[from] SignCrlError),
    /// A file of the CA can't be used.
    #[error(transparent)]
    Read(#[from] ReadCaFileError),
    /// The file could not be written.
    #[error(transparent)]
    Write(#[from] WriteCaFileError),
}
