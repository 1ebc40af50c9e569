use leafgate_identity::{CnPattern, DeviceId, TrustDomains};
use leafgate_registry::Device;

/// Devices by what their certificates' common names begin with.
#[derive(Debug)]
pub(crate) struct CommonNamePrefix<'a> {
    domains: &'a TrustDomains,
    prefix: &'a str,
}

impl<'a> CommonNamePrefix<'a> {
    pub(crate) fn new(domains: &'a TrustDomains, prefix: &'a str) -> Self {
        Self { domains, prefix }
    }

    /// Whether the common name of this device begins so.
    pub(crate) fn fits(&self, device: &Device) -> bool {
        common_name_of(self.domains, device).is_some_and(|name| name.starts_with(self.prefix))
    }

    /// What the ids of all such devices begin with; `None` if no device can be named so.
    pub(crate) fn id_prefix(&self) -> Option<&'a str> {
        let of_domains = self
            .domains
            .iter()
            .filter_map(|domain| domain.cn_pattern.id_prefix(self.prefix));
        of_domains.reduce(common)
    }
}

/// The common name in a device's certificates; `None` if its trust domain is served no more.
pub(crate) fn common_name_of(domains: &TrustDomains, device: &Device) -> Option<String> {
    let domain = domains.by_name(&device.trust_domain)?;
    domain.cn_pattern.render(&device.id).ok()
}

/// The ids of the devices that may have this common name, one for each trust domain whose pattern it fits. Ids say
/// nothing of trust domains: the device that is found must be shown to have it ([`common_name_of`]).
pub(crate) fn ids_named(domains: &TrustDomains, common_name: &str) -> Vec<DeviceId> {
    let id = |pattern: &CnPattern| pattern.matches(common_name).ok();
    domains
        .iter()
        .filter_map(|domain| id(&domain.cn_pattern))
        .collect()
}

/// What both begin with.
fn common<'a>(one: &'a str, other: &'a str) -> &'a str {
    let same = one
        .char_indices()
        .zip(other.chars())
        .find(|((_, a), b)| a != b);
    let end = same.map_or(one.len().min(other.len()), |((at, _), _)| at);
    &one[..end]
}

#[cfg(test)]
mod tests {
    use leafgate_identity::{Binding, SpkiHash, TrustDomain, TrustDomainName};

    use super::*;

    fn domains(patterns: &[&str]) -> TrustDomains {
        let domain = |(n, pattern): (usize, &&str)| TrustDomain {
            name: TrustDomainName::parse(&format!("d{n}")).unwrap(),
            issuers: vec![SpkiHash::from_bytes([u8::try_from(n).unwrap(); 32])],
            cn_pattern: CnPattern::parse(pattern).unwrap(),
            binding: Binding::Issued,
        };
        let domains: Vec<_> = patterns.iter().enumerate().map(domain).collect();
        TrustDomains::try_from(domains).unwrap()
    }

    #[test]
    fn ids_begin_with_what_all_patterns_leave() {
        let prefix = |patterns: &[&str], text| {
            let domains = domains(patterns);
            CommonNamePrefix::new(&domains, text)
                .id_prefix()
                .map(str::to_owned)
        };
        let one = ["device-{id}.example"];
        assert_eq!(prefix(&one, "device-00").as_deref(), Some("00"));
        assert_eq!(prefix(&one, "dev").as_deref(), Some(""));
        assert_eq!(prefix(&one, "device-0007.exam").as_deref(), Some("0007"));
        assert_eq!(prefix(&one, "pump-"), None);
        let two = ["device-{id}.example", "device-0{id}.example"];
        assert_eq!(prefix(&two, "device-00").as_deref(), Some("0"));
        let apart = ["a-{id}", "b-{id}"];
        assert_eq!(prefix(&apart, "b-7").as_deref(), Some("7"));
    }
}
