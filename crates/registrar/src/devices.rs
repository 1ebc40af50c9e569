use std::collections::BTreeMap;
use std::slice;

use leafgate_identity::DeviceId;
use leafgate_pki::BuildProfileError;
use leafgate_registry::{
    Act, Action, BuildChangeError, Change, Device, DeviceEdit, DeviceRecord, DeviceState,
    NewDevice, RevocationReason,
};

use crate::error::RegistrarError;
use crate::registrar::{Registrar, device_after, find_domain};

/// What can be done to a device's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceAction {
    /// Let a pending device in.
    Approve,
    /// Let a disabled or quarantined device back in.
    Enable,
    /// Lock a device out until it is enabled.
    Disable,
    /// Narrow a device to the policy's quarantine grant.
    Quarantine,
    /// Lock a device out for good and revoke its certificates, for this reason.
    Revoke(RevocationReason),
    /// Remove a device and revoke its certificates; a tombstone stays.
    Delete,
}

impl DeviceAction {
    /// The step in [`TRANSITIONS`](leafgate_registry::TRANSITIONS).
    pub const fn action(self) -> Action {
        match self {
            Self::Approve => Action::Approve,
            Self::Enable => Action::Enable,
            Self::Disable => Action::Disable,
            Self::Quarantine => Action::Quarantine,
            Self::Revoke(_) => Action::Revoke,
            Self::Delete => Action::Delete,
        }
    }

    pub(crate) fn build(
        self,
        record: &DeviceRecord,
        act: &Act,
    ) -> Result<Change, BuildChangeError> {
        match self {
            Self::Revoke(reason) => Change::revoke(record, reason, act),
            other => Change::transition(record, other.action(), act),
        }
    }
}

impl Registrar {
    /// Registers a device, without a certificate. The id of a deleted device starts its next
    /// generation.
    ///
    /// # Errors
    /// The id is taken, too long for its trust domain's pattern, the domain is not known, or a
    /// value is malformed.
    pub async fn register(
        &self,
        new: NewDevice,
        act: &Act,
    ) -> Result<DeviceRecord, RegistrarError> {
        self.check_name(&new)?;
        let mut tries = self.tries();
        loop {
            let change = self.build_registration(&new, act).await?;
            if self.commit(slice::from_ref(&change)).await? {
                return Ok(device_after(&change).clone());
            }
            tries.again(&new.id).await?;
        }
    }

    /// The registration of a device whose name was checked, by what the store holds under its id.
    pub(crate) async fn build_registration(
        &self,
        new: &NewDevice,
        act: &Act,
    ) -> Result<Change, RegistrarError> {
        let existing = self.store.load(&new.id).await?;
        if let Some(DeviceRecord { device, .. }) = &existing
            && let Err(refusal) = self.guard.before(device)
        {
            // That the id is taken can't be kept from whoever asks for it; how the device stands can.
            return Err(match device.state {
                DeviceState::Deleted => refusal,
                _ => RegistrarError::IdTaken {
                    id: new.id.clone(),
                    existing: device.id.clone(),
                },
            });
        }
        let change = Change::register(existing.as_ref(), new.clone(), act)?;
        self.guard.after(&device_after(&change).device)?;
        Ok(change)
    }

    /// Refuses an id that no certificate of its trust domain could carry.
    pub(crate) fn check_name(&self, new: &NewDevice) -> Result<(), RegistrarError> {
        let domains = self.domains.load();
        let domain = find_domain(&domains, &new.trust_domain)?;
        let rendered = domain.cn_pattern.render(&new.id);
        rendered.map_err(BuildProfileError::DeviceName)?;
        Ok(())
    }

    /// Takes a device from one state to another.
    ///
    /// # Errors
    /// There is no such device, or its state does not allow it.
    pub async fn change_state(
        &self,
        id: &DeviceId,
        action: DeviceAction,
        act: &Act,
    ) -> Result<DeviceRecord, RegistrarError> {
        self.change(id, |record| Ok(action.build(record, act)?))
            .await
    }

    /// Lets a pending device in.
    ///
    /// # Errors
    /// There is no such device, or it is not pending.
    pub async fn approve(&self, id: &DeviceId, act: &Act) -> Result<DeviceRecord, RegistrarError> {
        self.change_state(id, DeviceAction::Approve, act).await
    }

    /// Locks a device out until it is enabled.
    ///
    /// # Errors
    /// There is no such device, or its state does not allow it.
    pub async fn disable(&self, id: &DeviceId, act: &Act) -> Result<DeviceRecord, RegistrarError> {
        self.change_state(id, DeviceAction::Disable, act).await
    }

    /// Lets a disabled or quarantined device back in.
    ///
    /// # Errors
    /// There is no such device, or it is neither.
    pub async fn enable(&self, id: &DeviceId, act: &Act) -> Result<DeviceRecord, RegistrarError> {
        self.change_state(id, DeviceAction::Enable, act).await
    }

    /// Narrows an active device to the quarantine grant.
    ///
    /// # Errors
    /// There is no such device, or it is not active.
    pub async fn quarantine(
        &self,
        id: &DeviceId,
        act: &Act,
    ) -> Result<DeviceRecord, RegistrarError> {
        self.change_state(id, DeviceAction::Quarantine, act).await
    }

    /// Locks a device out for good and revokes all of its certificates for `reason`.
    ///
    /// # Errors
    /// There is no such device, or it is revoked or deleted already.
    pub async fn revoke(
        &self,
        id: &DeviceId,
        reason: RevocationReason,
        act: &Act,
    ) -> Result<DeviceRecord, RegistrarError> {
        self.change_state(id, DeviceAction::Revoke(reason), act)
            .await
    }

    /// Removes a device and revokes all of its certificates. A tombstone keeps its history; the
    /// id can be registered again.
    ///
    /// # Errors
    /// There is no such device, or it is deleted already.
    pub async fn delete(&self, id: &DeviceId, act: &Act) -> Result<DeviceRecord, RegistrarError> {
        self.change_state(id, DeviceAction::Delete, act).await
    }

    /// Changes a device's type, site or attributes, whatever they were.
    ///
    /// # Errors
    /// There is no such device, it is revoked or deleted, a value is malformed, or nothing would
    /// change.
    pub async fn edit(
        &self,
        id: &DeviceId,
        edit: DeviceEdit,
        act: &Act,
    ) -> Result<DeviceRecord, RegistrarError> {
        self.edit_with(id, |_| Ok(edit.clone()), act).await
    }

    /// Changes a device's type, site or attributes to what `edit` makes of the present ones. It is
    /// asked again when somebody else changed the device meanwhile, so that of two edits side by
    /// side neither is lost.
    ///
    /// # Errors
    /// What `edit` refuses, and as [`edit`](Self::edit).
    pub async fn edit_with<E: From<RegistrarError>>(
        &self,
        id: &DeviceId,
        edit: impl Fn(&Device) -> Result<DeviceEdit, E> + Send,
        act: &Act,
    ) -> Result<DeviceRecord, E> {
        self.change(id, move |record| {
            let edit = edit(&record.device)?;
            Ok(Change::edit(record, edit, act).map_err(RegistrarError::from)?)
        })
        .await
    }

    /// Gives a device these attributes in place of all that it has.
    ///
    /// # Errors
    /// As [`edit`](Self::edit).
    pub async fn set_attributes(
        &self,
        id: &DeviceId,
        attributes: BTreeMap<String, String>,
        act: &Act,
    ) -> Result<DeviceRecord, RegistrarError> {
        let edit = DeviceEdit {
            attributes: Some(attributes),
            ..DeviceEdit::default()
        };
        self.edit(id, edit, act).await
    }

    /// Records that somebody ends this many live sessions of a device; to be called before they are ended.
    ///
    /// # Errors
    /// There is no such device, or the store fails.
    pub async fn note_disconnect(
        &self,
        id: &DeviceId,
        sessions: u64,
        act: &Act,
    ) -> Result<(), RegistrarError> {
        let mut tries = self.tries();
        loop {
            self.guard.before(&self.load(id).await?.device)?;
            if self
                .commit(&[Change::disconnect(id, sessions, act)])
                .await?
            {
                return Ok(());
            }
            tries.again(id).await?;
        }
    }

    pub(crate) async fn change<E: From<RegistrarError>>(
        &self,
        id: &DeviceId,
        build: impl Fn(&DeviceRecord) -> Result<Change, E> + Send,
    ) -> Result<DeviceRecord, E> {
        let (record, ()) = self
            .change_device(id, move |record| Ok::<_, E>((build(record)?, ())))
            .await?;
        Ok(record)
    }
}
