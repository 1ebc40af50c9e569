use std::time::Duration;

use leafgate_identity::{DeviceId, UnixMs};
use leafgate_registry::{Certificate, CertificateStatus, DeviceRecord};

use crate::error::{IssuanceLimit, RegistrarError};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// For how long an intent counts that came to nothing. An issuer that fails for a while must not lock devices out for a
/// day; a device that asks without end must not fill the registry.
pub(crate) const UNSIGNED_COUNTS: Duration = Duration::from_secs(3600);

/// How many certificates a device gets. Each number is one at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IssuanceLimits {
    /// How many may be in use at a time: issued or in their overlap, and not expired.
    pub in_use: usize,
    /// How many it gets within 24 hours.
    pub per_day: usize,
}

impl Default for IssuanceLimits {
    /// 8 in use, 24 a day: a device that renews in time never has more than two.
    fn default() -> Self {
        Self {
            in_use: 8,
            per_day: 24,
        }
    }
}

impl IssuanceLimits {
    /// No limits.
    pub const NONE: Self = Self {
        in_use: usize::MAX,
        per_day: usize::MAX,
    };

    /// Refuses a further certificate where there is no room for one.
    pub(crate) fn check(&self, record: &DeviceRecord, now: UnixMs) -> Result<(), RegistrarError> {
        let in_use = record.current_certificates().filter_map(use_ends).collect();
        let of_day = record.certificates.iter().map(day_ends).collect();
        let id = &record.device.id;
        refuse_without_room(id, in_use, IssuanceLimit::InUse(self.in_use), now)?;
        refuse_without_room(id, of_day, IssuanceLimit::PerDay(self.per_day), now)
    }

    /// Refuses a further request where so many came to nothing. `ends` is until when each of them counts.
    pub(crate) fn check_requests(
        &self,
        id: &DeviceId,
        ends: Vec<UnixMs>,
        now: UnixMs,
    ) -> Result<(), RegistrarError> {
        refuse_without_room(id, ends, IssuanceLimit::PerDay(self.per_day), now)
    }
}

fn refuse_without_room(
    id: &DeviceId,
    ends: Vec<UnixMs>,
    limit: IssuanceLimit,
    now: UnixMs,
) -> Result<(), RegistrarError> {
    let (IssuanceLimit::InUse(most) | IssuanceLimit::PerDay(most)) = limit;
    match room_at(ends, most, now) {
        None => Ok(()),
        Some(room_at) => Err(RegistrarError::IssuanceLimited {
            id: id.clone(),
            limit,
            retry_after: room_at.since(now),
        }),
    }
}

/// When there is room for another one, if there isn't now: when so many of those that count have ended.
pub(crate) fn room_at(mut ends: Vec<UnixMs>, most: usize, now: UnixMs) -> Option<UnixMs> {
    ends.retain(|end| *end > now);
    let too_many = (ends.len() + 1).checked_sub(most.max(1))?;
    ends.sort_unstable();
    too_many.checked_sub(1).map(|last| ends[last])
}

/// Until when a certificate is in use, if it was ever.
fn use_ends(certificate: &Certificate) -> Option<UnixMs> {
    match certificate.status {
        CertificateStatus::Issued => Some(certificate.not_after),
        CertificateStatus::Superseded { at } => Some(at.min(certificate.not_after)),
        CertificateStatus::Prepared | CertificateStatus::Revoked { .. } => None,
    }
}

/// Until when a certificate counts as one of a day.
pub(crate) fn day_ends(certificate: &Certificate) -> UnixMs {
    let counts = match certificate.fingerprint {
        Some(_) => DAY,
        None => UNSIGNED_COUNTS,
    };
    certificate.prepared_at.saturating_add(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_when_enough_have_ended() {
        let at = |ends: &[i64], most| {
            let ends = ends.iter().copied().map(UnixMs::new).collect();
            room_at(ends, most, UnixMs::new(100)).map(UnixMs::as_i64)
        };
        assert_eq!(at(&[], 2), None);
        assert_eq!(at(&[300], 2), None);
        assert_eq!(at(&[300, 100, 50], 2), None, "two have ended");
        assert_eq!(at(&[300, 200], 2), Some(200));
        assert_eq!(at(&[300, 200, 400], 2), Some(300), "one is too many");
        assert_eq!(at(&[300, 200, 400], 1), Some(400));
        assert_eq!(at(&[300], 0), Some(300), "as if it were one");
        assert_eq!(at(&[300; 50], usize::MAX), None);
    }
}
