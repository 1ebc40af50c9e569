use leafgate_registry::{Device, DeviceState};

use crate::error::RegistrarError;

/// On what occasion a device gets a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// Somebody who may asks for it.
    Issue,
    /// The device itself asks, with the certificate that it has.
    Renewal,
    /// The device itself asks, with an enrolment token.
    Enrolment,
}

impl Occasion {
    /// Refuses a certificate for this device, whatever its key.
    pub(crate) fn check(self, device: &Device) -> Result<(), RegistrarError> {
        if self.allows(device.state) {
            return Ok(());
        }
        Err(RegistrarError::NotIssuable {
            id: device.id.clone(),
            state: device.state,
        })
    }

    /// Whether a device in this state gets one. This is the one rule; `Change::prepare_certificate` refuses only what is
    /// right on no occasion. A device that enrols may wait for its approval with a certificate in its hands, which admits
    /// it from then on; nobody else gets one for it before.
    const fn allows(self, state: DeviceState) -> bool {
        match self {
            Self::Issue | Self::Renewal => {
                matches!(state, DeviceState::Active | DeviceState::Quarantined)
            }
            Self::Enrolment => matches!(state, DeviceState::Pending | DeviceState::Active),
        }
    }
}
