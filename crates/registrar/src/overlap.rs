use std::slice;

use leafgate_identity::{DeviceId, Fingerprint};
use leafgate_registry::{Act, Change, DeviceRecord};

use crate::error::RegistrarError;
use crate::registrar::{Registrar, device_after};

impl Registrar {
    /// Takes note that a device logged in with this certificate: it has shown that it holds it, and those that were
    /// issued before count only until the overlap has passed from now. Gives the device afterwards, or `None` if there
    /// was nothing to note, which costs one read; [`DeviceRecord::begins_overlap`] tells without any.
    ///
    /// # Errors
    /// The store fails.
    pub async fn note_log_in(
        &self,
        id: &DeviceId,
        fingerprint: &Fingerprint,
        act: &Act,
    ) -> Result<Option<DeviceRecord>, RegistrarError> {
        let overlap_ends = act.at.saturating_add(self.overlap);
        let mut tries = self.tries();
        loop {
            let Some(record) = self.store.load(id).await? else {
                return Ok(None);
            };
            let newer = record
                .certificate_by_fingerprint(fingerprint)
                .filter(|_| record.begins_overlap(fingerprint));
            let Some(newer) = newer else {
                return Ok(None);
            };
            let change = Change::supersede_older(&record, &newer.id(), overlap_ends, act)?;
            if self.commit(slice::from_ref(&change)).await? {
                return Ok(Some(device_after(&change).clone()));
            }
            tries.again(id).await?;
        }
    }
}
