use std::collections::HashSet;

use leafgate_identity::UnixMs;

use crate::certificate::{Certificate, Holder};

/// The certificates of an issuer that have not ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outstanding {
    /// How many are accepted.
    pub certificates: usize,
    /// How many devices and services hold these.
    pub holders: usize,
    /// When the last of these ends.
    pub last_not_after: Option<UnixMs>,
    /// How many there are, accepted or not: prepared, replaced and revoked ones too, of which revocation lists tell.
    pub unexpired: usize,
    /// When the last of those ends.
    pub last_unexpired: Option<UnixMs>,
}

/// Counts certificates one by one, for stores that can't count by themselves.
#[derive(Default)]
pub(crate) struct Count {
    counted: Outstanding,
    /// Whether each is a device, and its name.
    holders: HashSet<(bool, String)>,
}

impl Count {
    /// Counts a certificate that has not ended at `now`.
    pub(crate) fn add(&mut self, certificate: &Certificate, now: UnixMs) {
        let counted = &mut self.counted;
        let end = Some(certificate.not_after);
        counted.unexpired += 1;
        counted.last_unexpired = counted.last_unexpired.max(end);
        if certificate.status.admits(now) {
            counted.certificates += 1;
            counted.last_not_after = counted.last_not_after.max(end);
            self.holders.insert(match &certificate.holder {
                Holder::Device { id, .. } => (true, id.as_str().to_owned()),
                Holder::Service { name } => (false, name.clone()),
            });
        }
    }

    pub(crate) fn finish(self) -> Outstanding {
        Outstanding {
            holders: self.holders.len(),
            ..self.counted
        }
    }
}
