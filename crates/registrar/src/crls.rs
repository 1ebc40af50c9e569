use std::slice;
use std::time::Duration;

use leafgate_identity::{SpkiHash, UnixMs};
use leafgate_pki::{CrlReason, Intermediate, Issuer, RevokedEntry};
use leafgate_registry::{
    Act, Certificate, CertificateQuery, CertificateStatus, CertificateStatusKind, Change, Crl,
    NewCrl, RevocationReason, Write,
};

use crate::error::RegistrarError;
use crate::registrar::Registrar;
use crate::rotation::KINDS;

/// For how long a list is current.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);
const PAGE: usize = 1000;

/// A revocation list that was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCrl {
    /// Whose certificates it lists.
    pub intermediate: Intermediate,
    /// The key that signed it.
    pub issuer: SpkiHash,
    /// Its number, higher than that of any list before.
    pub number: u64,
    /// When it was made.
    pub this_update: UnixMs,
    /// When the next one is due at the latest.
    pub next_update: UnixMs,
    /// How many certificates it lists.
    pub revoked: usize,
    /// The list in DER.
    pub der: Vec<u8>,
}

impl Registrar {
    /// Makes a revocation list of each issuer whose key is here, those of devices' issuers first.
    ///
    /// Its number is taken before the revocations are read: a list with a higher number then
    /// never lacks what one with a lower number has, however many processes make lists at a
    /// time. A process that dies in between leaves a number unused.
    ///
    /// # Errors
    /// The store or an issuer fails. Lists made before the failure are lost, their numbers used;
    /// asking again makes all anew.
    pub async fn build_crls(&self, act: &Act) -> Result<Vec<SignedCrl>, RegistrarError> {
        let mut lists = Vec::new();
        for intermediate in KINDS {
            for issuer in self.issuers.of(intermediate) {
                lists.push(self.build_crl(intermediate, &*issuer, act).await?);
            }
        }
        Ok(lists)
    }

    async fn build_crl(
        &self,
        intermediate: Intermediate,
        issuer: &dyn Issuer,
        act: &Act,
    ) -> Result<SignedCrl, RegistrarError> {
        let (previous, crl) = self.take_crl_number(issuer.spki(), act).await?;
        let entries = self.revoked_entries(&crl, previous.as_ref()).await?;
        let der = issuer
            .sign_crl(&entries, crl.number, crl.this_update, crl.next_update)
            .await?;
        Ok(SignedCrl {
            intermediate,
            issuer: crl.issuer,
            number: crl.number,
            this_update: crl.this_update,
            next_update: crl.next_update,
            revoked: entries.len(),
            der,
        })
    }

    async fn take_crl_number(
        &self,
        issuer: SpkiHash,
        act: &Act,
    ) -> Result<(Option<Crl>, Crl), RegistrarError> {
        let next = NewCrl {
            issuer,
            this_update: act.at,
            next_update: act.at.saturating_add(LIFETIME),
        };
        let mut tries = self.tries();
        loop {
            let previous = self.store.crl(&issuer).await?;
            let change = Change::record_crl(previous.as_ref(), next, act)?;
            if self.commit(slice::from_ref(&change)).await? {
                return Ok((previous, crl_after(&change)));
            }
            let what = format!("the revocation list of issuer {issuer}");
            tries.again(what).await?;
        }
    }

    /// The revoked certificates that have not expired, and those that were valid still when the
    /// previous list was made: each entry appears on one list after its end (RFC 5280
    /// section 3.3).
    async fn revoked_entries(
        &self,
        crl: &Crl,
        previous: Option<&Crl>,
    ) -> Result<Vec<RevokedEntry>, RegistrarError> {
        let before = previous.map_or(crl.this_update, |previous| previous.this_update);
        let query = CertificateQuery {
            issuer: Some(crl.issuer),
            status: Some(CertificateStatusKind::Revoked),
            expires_after: Some(before.min(crl.this_update)),
            ..CertificateQuery::default()
        };
        let revoked = self.find_all_certificates(query).await?;
        Ok(revoked.iter().filter_map(entry).collect())
    }

    pub(crate) async fn find_all_certificates(
        &self,
        mut query: CertificateQuery,
    ) -> Result<Vec<Certificate>, RegistrarError> {
        query.limit = PAGE;
        let mut all = Vec::new();
        loop {
            let page = self.store.find_certificates(&query).await?;
            all.extend(page.items);
            query.after = page.next;
            if query.after.is_none() {
                return Ok(all);
            }
        }
    }
}

/// The list as it is after a change of a list's number.
fn crl_after(change: &Change) -> Crl {
    match change.write() {
        Write::Crl(write) => write.crl,
        _ => unreachable!("a change built for a list's number changes that number"),
    }
}

fn entry(certificate: &Certificate) -> Option<RevokedEntry> {
    let CertificateStatus::Revoked { at, reason } = certificate.status else {
        return None;
    };
    Some(RevokedEntry {
        serial: certificate.serial,
        revoked_at: at,
        reason: crl_reason(reason),
    })
}

/// The reason as certificates' status has it.
pub fn crl_reason(reason: RevocationReason) -> CrlReason {
    match reason {
        RevocationReason::Unspecified => CrlReason::Unspecified,
        RevocationReason::KeyCompromise => CrlReason::KeyCompromise,
        RevocationReason::CaCompromise => CrlReason::CaCompromise,
        RevocationReason::AffiliationChanged => CrlReason::AffiliationChanged,
        RevocationReason::Superseded => CrlReason::Superseded,
        RevocationReason::CessationOfOperation => CrlReason::CessationOfOperation,
        RevocationReason::PrivilegeWithdrawn => CrlReason::PrivilegeWithdrawn,
    }
}
