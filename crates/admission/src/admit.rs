use std::time::Duration;

use leafgate_identity::{Binding, DeviceIdentity, UnixMs};
use leafgate_policy::{ConnectionFacts, DeviceFacts, Grant, PolicyDenial, PolicySet};
use leafgate_registry::{
    Certificate, CertificateId, CertificateStatus, DeviceRecord, DeviceState, Holder,
};

use crate::Reason;

/// How far this machine's clock may be behind the one that dated a certificate.
const NOT_BEFORE_LEEWAY: Duration = Duration::from_secs(60);

/// How far issuers date certificates back at the most.
const BACKDATING: Duration = Duration::from_secs(3600);

/// Everything that a decision depends on.
#[derive(Debug)]
pub struct Facts<'a> {
    /// Who the verified certificate says it is.
    pub identity: &'a DeviceIdentity,
    /// How certificates bind to devices in the identity's trust domain.
    pub binding: Binding,
    /// What the registry holds under the identity's id.
    pub record: Option<&'a DeviceRecord>,
    /// The policies of the identity's trust domain.
    pub policies: &'a PolicySet,
    /// The site that this service serves.
    pub site: &'a str,
    /// How the device connects.
    pub connection: &'a ConnectionFacts,
    /// Wall time.
    pub now: UnixMs,
}

/// A device may come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// What it may do.
    pub grant: Grant,
    /// The session ends at this time at the latest: the certificate is good for no longer.
    pub until: UnixMs,
}

/// A device may not come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// Why.
    pub reason: Reason,
    /// What exactly, for the log; empty where the reason says it all.
    pub detail: String,
}

impl From<Reason> for Denial {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            detail: String::new(),
        }
    }
}

/// Decides. The first check that fails is the reason: device, its state, certificate, policy.
///
/// # Errors
/// A [`Denial`]; whatever is missing or unknown denies.
pub fn admit(facts: &Facts<'_>) -> Result<Admission, Denial> {
    let record = facts.record.ok_or(Reason::DeviceUnknown)?;
    let quarantined = check_device(record, facts.identity)?;
    let until = check_certificate(record, facts)?;
    let grant = check_policy(record, facts, quarantined)?;
    Ok(Admission { grant, until })
}

/// Whether the device is quarantined, if its state admits it at all.
fn check_device(record: &DeviceRecord, identity: &DeviceIdentity) -> Result<bool, Denial> {
    let device = &record.device;
    if device.id != identity.id {
        return Err(Reason::DeviceUnknown.into());
    }
    if device.state == DeviceState::Deleted {
        return Err(Reason::DeviceDeleted.into());
    }
    if device.trust_domain != identity.domain {
        return Err(Denial {
            reason: Reason::DomainMismatch,
            detail: format!("registered in {}", device.trust_domain),
        });
    }
    match device.state {
        DeviceState::Active => Ok(false),
        DeviceState::Quarantined => Ok(true),
        DeviceState::Pending => Err(Reason::DevicePending.into()),
        DeviceState::Disabled => Err(Reason::DeviceDisabled.into()),
        DeviceState::Revoked => Err(Reason::DeviceRevoked.into()),
        DeviceState::Deleted => Err(Reason::DeviceDeleted.into()),
    }
}

/// Until when the certificate admits.
fn check_certificate(record: &DeviceRecord, facts: &Facts<'_>) -> Result<UnixMs, Denial> {
    let identity = facts.identity;
    let mut until = identity.validity.not_after;
    match (facts.binding, recorded(record, facts)) {
        (Binding::Issued, None) => return Err(Reason::CertificateUnknown.into()),
        (Binding::Chain, None) => check_generation(record, identity)?,
        (_, Some(certificate)) => {
            if let Some(end) = end_of(certificate, facts.now)? {
                until = until.min(end);
            }
            check_holder(certificate, record)?;
        }
    }
    if facts.now.saturating_add(NOT_BEFORE_LEEWAY) < identity.validity.not_before {
        return Err(Denial {
            reason: Reason::CertificateNotYetValid,
            detail: format!("not_before {}", identity.validity.not_before),
        });
    }
    if facts.now >= identity.validity.not_after {
        return Err(Denial {
            reason: Reason::CertificateExpired,
            detail: format!("not_after {}", identity.validity.not_after),
        });
    }
    Ok(until)
}

/// The registry's record of the certificate, by what the binding goes by.
fn recorded<'a>(record: &'a DeviceRecord, facts: &Facts<'_>) -> Option<&'a Certificate> {
    let identity = facts.identity;
    match facts.binding {
        Binding::Issued => record.certificates.iter().find(|certificate| {
            certificate.fingerprint == Some(identity.fingerprint)
                && certificate.issuer == identity.issuer
        }),
        Binding::Chain => record.certificate(&CertificateId {
            issuer: identity.issuer,
            serial: identity.serial,
        }),
    }
}

/// An id that was registered again accepts nothing from before. Of a certificate that isn't recorded only its dates tell
/// when it was issued. What the first generation brought along may be of any age.
fn check_generation(record: &DeviceRecord, identity: &DeviceIdentity) -> Result<(), Denial> {
    let device = &record.device;
    let not_before = identity.validity.not_before;
    if device.generation > 1 && not_before.saturating_add(BACKDATING) < device.registered_at_ms {
        return Err(Denial {
            reason: Reason::CertificateUnknown,
            detail: format!(
                "not_before {not_before}, registered again at {}",
                device.registered_at_ms
            ),
        });
    }
    Ok(())
}

/// When the record ends the certificate before its own expiry.
fn end_of(certificate: &Certificate, now: UnixMs) -> Result<Option<UnixMs>, Denial> {
    match &certificate.status {
        CertificateStatus::Revoked { at, .. } => Err(Denial {
            reason: Reason::CertificateRevoked,
            detail: format!("revoked_at {at}"),
        }),
        CertificateStatus::Superseded { at } if *at <= now => Err(Denial {
            reason: Reason::CertificateSuperseded,
            detail: format!("superseded_at {at}"),
        }),
        CertificateStatus::Superseded { at } => Ok(Some(*at)),
        CertificateStatus::Issued => Ok(None),
        // Recorded, but its signing was never confirmed.
        CertificateStatus::Prepared => Err(Reason::CertificateUnknown.into()),
    }
}

/// Deletion revokes every certificate of a generation; a record that says otherwise is not to be
/// relied on.
fn check_holder(certificate: &Certificate, record: &DeviceRecord) -> Result<(), Denial> {
    let device = &record.device;
    match &certificate.holder {
        Holder::Device { id, generation }
            if *id == device.id && *generation == device.generation =>
        {
            Ok(())
        }
        Holder::Device { id, generation } => Err(Denial {
            reason: Reason::CertificateUnknown,
            detail: format!("issued to {id}, generation {generation}"),
        }),
        Holder::Service { name } => Err(Denial {
            reason: Reason::CertificateUnknown,
            detail: format!("issued to the service {name}"),
        }),
    }
}

fn check_policy(
    record: &DeviceRecord,
    facts: &Facts<'_>,
    quarantined: bool,
) -> Result<Grant, Denial> {
    let device = &record.device;
    if let Some(site) = device.site.as_deref().filter(|site| *site != facts.site) {
        return Err(Denial {
            reason: Reason::SiteMismatch,
            detail: format!("device site {site}"),
        });
    }
    let device = DeviceFacts {
        id: &device.id,
        device_type: &device.device_type,
        site: facts.site,
        attributes: &device.attributes,
        quarantined,
    };
    facts
        .policies
        .decide(&device, facts.connection)
        .map_err(|denial| Denial {
            reason: reason_of(&denial),
            detail: denial.to_string(),
        })
}

fn reason_of(denial: &PolicyDenial) -> Reason {
    match denial {
        PolicyDenial::NoPolicy => Reason::PolicyNone,
        PolicyDenial::VariableMissing { .. } => Reason::PolicyVariableMissing,
        PolicyDenial::VariableNotToken { .. } => Reason::PolicyVariableMalformed,
        PolicyDenial::SourceNotAllowed => Reason::SourceNotAllowed,
        PolicyDenial::ConnectionTypeNotAllowed => Reason::ConnectionTypeNotAllowed,
        PolicyDenial::QuarantineNotGranted => Reason::PolicyQuarantineNone,
    }
}
