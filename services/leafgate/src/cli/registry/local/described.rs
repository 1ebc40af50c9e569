//! What commands ask for, in the registry's own terms.

use std::str::FromStr;

use leafgate_api::RegisterDevice;
use leafgate_identity::{CnPattern, DeviceId, TrustDomainName};
use leafgate_registry::{CertificateQuery, Cursor, Holder, NewDevice};

use crate::cli::error::{CliError, Exit};
use crate::cli::registry::{CertificateFilter, Part};
use crate::local::new_device;

/// A device that is to be registered, by default in the one trust domain that there is.
pub(super) fn described(new: RegisterDevice) -> NewDevice {
    let plain = new_device(new.id, &new.device_type);
    NewDevice {
        trust_domain: new.trust_domain.unwrap_or(plain.trust_domain),
        pending: new.pending,
        site: new.site,
        attributes: new.attributes,
        id: plain.id,
        device_type: plain.device_type,
    }
}

/// The one trust domain that there is.
pub(super) fn trust_domain() -> TrustDomainName {
    let id = DeviceId::parse("0").expect("a digit is an id");
    new_device(id, "device").trust_domain
}

pub(super) fn certificate_query(
    filter: &CertificateFilter,
    part: &Part,
) -> Result<CertificateQuery, CliError> {
    Ok(CertificateQuery {
        issuer: filter.issuer,
        serial: filter.serial,
        holder: service_of(filter).map(|name| Holder::Service { name }),
        device_prefix: filter.device_prefix.clone(),
        fingerprint: filter.fingerprint,
        status: filter.status,
        expires_by: filter.expires_by,
        after: part.cursor()?,
        limit: part.limit(),
        ..CertificateQuery::default()
    })
}

/// The device whose certificates are meant, by its id or by their common name.
pub(super) fn device_of(filter: &CertificateFilter) -> Option<DeviceId> {
    let named = filter.common_name.as_deref();
    let of_name = named.and_then(|name| CnPattern::default().matches(name).ok());
    filter.device.clone().or(of_name)
}

/// The service whose certificates are meant: what has a common name that no device can have is one.
fn service_of(filter: &CertificateFilter) -> Option<String> {
    let named = || {
        filter
            .common_name
            .clone()
            .filter(|_| device_of(filter).is_none())
    };
    filter.service.clone().or_else(named)
}

impl Part {
    pub(super) fn limit(&self) -> usize {
        usize::try_from(self.limit).unwrap_or(usize::MAX)
    }

    pub(super) fn cursor<K>(&self) -> Result<Option<Cursor<K>>, CliError>
    where
        Cursor<K>: FromStr<Err: std::error::Error + 'static>,
    {
        let parsed = self.after.as_deref().map(str::parse).transpose();
        parsed.map_err(|error| {
            let error = CliError::caused(Exit::Usage, &error);
            error.hint("--after takes what the list before said, unchanged")
        })
    }
}
