use std::sync::Arc;

use leafgate_access::{Permission, Principal, Target};
use leafgate_registry::Device;

use crate::error::RegistrarError;

/// What must hold of every device that an act changes. It is asked of the record that the change is built from and of
/// the one that comes of it, in every try, so that nothing that others do meanwhile passes by it.
#[derive(Clone, Default)]
pub(crate) struct Guard {
    pub(crate) on_behalf_of: Option<Arc<(Principal, Permission)>>,
    pub(crate) version: Option<u64>,
}

impl Guard {
    /// Asked of a device before it is changed.
    pub(crate) fn before(&self, device: &Device) -> Result<(), RegistrarError> {
        self.after(device)?;
        match self.version {
            Some(expected) if expected != device.version => Err(RegistrarError::VersionDiffers {
                id: device.id.clone(),
                expected,
                found: device.version,
            }),
            _ => Ok(()),
        }
    }

    /// Asked of a device as it will be.
    pub(crate) fn after(&self, device: &Device) -> Result<(), RegistrarError> {
        if let Some(asked) = &self.on_behalf_of {
            let (principal, permission) = &**asked;
            principal.check_device(*permission, &target(device))?;
        }
        Ok(())
    }

    /// Asked before something changes that belongs to no device.
    pub(crate) fn everywhere(&self) -> Result<(), RegistrarError> {
        if let Some(asked) = &self.on_behalf_of {
            asked.0.check_everywhere(asked.1)?;
        }
        Ok(())
    }

    /// Whether whoever asks is known and has this device in their scope.
    pub(crate) fn reaches(&self, device: &Device) -> bool {
        self.on_behalf_of
            .as_ref()
            .is_some_and(|asked| asked.0.authority.scope.contains(&target(device)))
    }
}

/// A device as scopes look at it.
pub fn target(device: &Device) -> Target<'_> {
    Target {
        trust_domain: device.trust_domain.as_str(),
        site: device.site.as_deref(),
        device_type: &device.device_type,
    }
}
