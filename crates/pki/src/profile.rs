use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use leafgate_identity::{CnPattern, DeviceId, Excerpt, RenderCnError};

use crate::name::{DnsName, ParseDnsNameError};

/// Longest common name, in characters (RFC 5280 appendix A.1, ub-common-name).
const MAX_CN_LEN: usize = 64;
const HOUR: Duration = Duration::from_secs(3600);

/// What a certificate is for. Everything but the key, the serial number and the dates follows
/// from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProfileKind {
    /// A device: clientAuth, its name rendered from its trust domain's pattern.
    Device,
    /// A nats-server's own listener, route or leaf link: serverAuth and clientAuth.
    NatsServer,
    /// A service that connects to the devices' listener: clientAuth, under a name that no device
    /// can have.
    NatsClient,
}

impl ProfileKind {
    /// The name that records and messages use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::NatsServer => "nats-server",
            Self::NatsClient => "nats-client",
        }
    }

    /// The intermediate that signs this kind. Listeners for devices trust only the first, all
    /// others only the second.
    pub fn intermediate(self) -> Intermediate {
        match self {
            Self::Device | Self::NatsClient => Intermediate::Devices,
            Self::NatsServer => Intermediate::Servers,
        }
    }

    /// How long such a certificate lives unless [`Profile::with_lifetime`] says otherwise: 168 h
    /// for devices, 720 h for services.
    fn default_lifetime(self) -> Duration {
        match self {
            Self::Device => 168 * HOUR,
            Self::NatsServer | Self::NatsClient => 720 * HOUR,
        }
    }
}

impl fmt::Display for ProfileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One of the two issuing intermediates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Intermediate {
    /// Signs devices and the clients of their listener.
    Devices,
    /// Signs nats-servers.
    Servers,
}

impl Intermediate {
    /// `devices` or `servers`, as in the files of a CA directory.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Devices => "devices",
            Self::Servers => "servers",
        }
    }
}

impl fmt::Display for Intermediate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The checked content of a certificate to be: a CA signs nothing that is not in here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    kind: ProfileKind,
    common_name: String,
    dns_names: Vec<DnsName>,
    ip_addresses: Vec<IpAddr>,
    lifetime: Duration,
}

impl Profile {
    /// A certificate for the device `id` of the trust domain whose names look like `pattern`.
    ///
    /// The common name becomes a DNS SAN as well when it is a DNS name, which takes an id that is
    /// a DNS label; otherwise there is no SAN.
    ///
    /// # Errors
    /// The id is longer than the pattern leaves room for.
    pub fn device(pattern: &CnPattern, id: &DeviceId) -> Result<Self, BuildProfileError> {
        let common_name = pattern.render(id).map_err(BuildProfileError::DeviceName)?;
        let dns_names = DnsName::parse(&common_name).into_iter().collect();
        Ok(Self::new(ProfileKind::Device, common_name, dns_names))
    }

    /// A certificate for a nats-server reached under `dns_names` and `ip_addresses`. Its common
    /// name is the first DNS name, or the first address when there are no names.
    ///
    /// A name may start with the wildcard label `*`. `device_patterns` are the patterns of every
    /// trust domain: a server must not bear a name that some device could.
    ///
    /// # Errors
    /// There is no name at all, one is malformed, one could be a device's, or the first is too
    /// long for a common name.
    pub fn nats_server(
        dns_names: &[impl AsRef<str>],
        ip_addresses: &[IpAddr],
        device_patterns: &[CnPattern],
    ) -> Result<Self, BuildProfileError> {
        let mut names: Vec<DnsName> = Vec::with_capacity(dns_names.len());
        for name in dns_names {
            let name = DnsName::parse_wildcard(name.as_ref())?;
            if device_patterns
                .iter()
                .any(|pattern| name.may_be_of(pattern))
            {
                return Err(BuildProfileError::NameOfDevice {
                    name: name.to_string(),
                });
            }
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let mut addresses: Vec<IpAddr> = Vec::with_capacity(ip_addresses.len());
        for address in ip_addresses {
            if address.is_unspecified() || address.is_multicast() {
                return Err(BuildProfileError::Address(*address));
            }
            if !addresses.contains(address) {
                addresses.push(*address);
            }
        }
        let common_name = match (names.first(), addresses.first()) {
            (Some(name), _) => name.to_string(),
            (None, Some(address)) => address.to_string(),
            (None, None) => return Err(BuildProfileError::NoName),
        };
        if common_name.len() > MAX_CN_LEN {
            return Err(BuildProfileError::CommonNameTooLong { name: common_name });
        }
        // An address can look like a device as well: `10.0.0.{id}` is a pattern.
        refuse_name_of_device(&common_name, device_patterns)?;
        let mut profile = Self::new(ProfileKind::NatsServer, common_name, names);
        profile.ip_addresses = addresses;
        Ok(profile)
    }

    /// A certificate under which a service (the auth callout, say) connects to the devices'
    /// listener. It has no SAN.
    ///
    /// # Errors
    /// The name is not 1 to 64 of `A-Z a-z 0-9 . _ -` with an alphanumeric first and last
    /// character, or some device could bear it.
    pub fn nats_client(
        name: &str,
        device_patterns: &[CnPattern],
    ) -> Result<Self, BuildProfileError> {
        if !is_service_name(name) {
            return Err(BuildProfileError::ClientName {
                name: Excerpt::of(name),
            });
        }
        refuse_name_of_device(name, device_patterns)?;
        Ok(Self::new(ProfileKind::NatsClient, name.into(), Vec::new()))
    }

    fn new(kind: ProfileKind, common_name: String, dns_names: Vec<DnsName>) -> Self {
        Self {
            kind,
            common_name,
            dns_names,
            ip_addresses: Vec::new(),
            lifetime: kind.default_lifetime(),
        }
    }

    /// The same profile with another lifetime. The issuer's own end still comes first.
    ///
    /// # Errors
    /// The lifetime is shorter than a second.
    pub fn with_lifetime(mut self, lifetime: Duration) -> Result<Self, BuildProfileError> {
        if lifetime.as_secs() == 0 {
            return Err(BuildProfileError::LifetimeTooShort);
        }
        self.lifetime = lifetime;
        Ok(self)
    }

    /// What the certificate is for.
    pub fn kind(&self) -> ProfileKind {
        self.kind
    }

    /// The common name of the subject.
    pub fn common_name(&self) -> &str {
        &self.common_name
    }

    /// The DNS names of the SAN extension.
    pub fn dns_names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.dns_names.iter().map(DnsName::as_str)
    }

    /// The addresses of the SAN extension.
    pub fn ip_addresses(&self) -> &[IpAddr] {
        &self.ip_addresses
    }

    /// How long the certificate shall live from the moment it is prepared.
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }
}

fn refuse_name_of_device(name: &str, patterns: &[CnPattern]) -> Result<(), BuildProfileError> {
    if patterns.iter().any(|pattern| pattern.covers(name)) {
        return Err(BuildProfileError::NameOfDevice { name: name.into() });
    }
    Ok(())
}

fn is_service_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    (1..=MAX_CN_LEN).contains(&bytes.len())
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        && bytes[0].is_ascii_alphanumeric()
        && bytes[bytes.len() - 1].is_ascii_alphanumeric()
}

/// Why a certificate of this content is not issued.
#[derive(Debug, thiserror::Error)]
pub enum BuildProfileError {
    /// The device's name can't be rendered.
    #[error("the device id does not fit its trust domain's common name pattern")]
    DeviceName(#[source] RenderCnError),
    /// A server name is malformed.
    #[error("a server name is not a DNS name")]
    DnsName(#[from] ParseDnsNameError),
    /// A client name is malformed.
    #[error(
        "{name} can't name a client: use 1 to {MAX_CN_LEN} of A–Z a–z 0–9 . _ -, first and last a letter or digit"
    )]
    ClientName {
        /// The name.
        name: Excerpt,
    },
    /// Some device could have this name.
    #[error("\"{name}\" could be a device's name: choose one that no device pattern matches")]
    NameOfDevice {
        /// The name.
        name: String,
    },
    /// An address that no server listens on.
    #[error("{0} is not the address of a server")]
    Address(IpAddr),
    /// Neither a DNS name nor an address was given.
    #[error("a server certificate needs at least one DNS name or address")]
    NoName,
    /// The first name does not fit into a common name.
    #[error(
        "\"{name}\" is longer than the {MAX_CN_LEN} characters of a common name: put a shorter name first"
    )]
    CommonNameTooLong {
        /// The name.
        name: String,
    },
    /// The lifetime is below a second.
    #[error("a certificate must live for a second at least")]
    LifetimeTooShort,
}

#[cfg(test)]
mod tests;
