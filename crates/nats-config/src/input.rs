use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use leafgate_identity::{Excerpt, is_token};
use secrecy::{ExposeSecret, SecretString};

use crate::error::ParseInputError;

/// The name of a site, account, server, cluster, replica or JetStream domain: one token of a NATS subject,
/// `A-Z a-z 0-9 _ -`, alphanumeric first and last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// Reads a name.
    ///
    /// # Errors
    /// The text is not one such token.
    pub fn parse(text: &str) -> Result<Self, ParseInputError> {
        if is_token(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseInputError::Name {
                text: Excerpt::of(text),
            })
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn constant(text: &'static str) -> Self {
        Self::parse(text).expect("a constant of this crate that its tests parse")
    }
}

/// What device subjects begin with: one or more tokens joined by `.`, `device` by default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectPrefix(String);

impl SubjectPrefix {
    /// Reads a prefix.
    ///
    /// # Errors
    /// The text is not made of such tokens, or begins with `site`, where the hub's subjects are.
    pub fn parse(text: &str) -> Result<Self, ParseInputError> {
        if text.split('.').all(is_token) && text.split('.').next() != Some("site") {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseInputError::SubjectPrefix {
                text: Excerpt::of(text),
            })
        }
    }
}

impl Default for SubjectPrefix {
    fn default() -> Self {
        Self("device".to_owned())
    }
}

/// A host name or an IP address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host(String);

impl Host {
    /// Reads a host name (RFC 1123) or an IP address without brackets.
    ///
    /// # Errors
    /// The text is neither.
    pub fn parse(text: &str) -> Result<Self, ParseInputError> {
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let named = text.len() <= 253 && text.split('.').all(label);
        if named || text.parse::<IpAddr>().is_ok() {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseInputError::Host {
                text: Excerpt::of(text),
            })
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The address of another server: a host, which its certificate has to name, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddress {
    host: Host,
    port: u16,
}

impl ServerAddress {
    /// Puts an address together.
    #[must_use]
    pub fn new(host: Host, port: u16) -> Self {
        Self { host, port }
    }

    /// Reads `host:port`, an IPv6 address in brackets.
    ///
    /// # Errors
    /// The text is no such address.
    pub fn parse(text: &str) -> Result<Self, ParseInputError> {
        Self::read(text).ok_or_else(|| ParseInputError::Address {
            text: Excerpt::of(text),
        })
    }

    fn read(text: &str) -> Option<Self> {
        let address = match text.parse::<SocketAddr>() {
            Ok(address) => address.into(),
            Err(_) => {
                let (host, port) = text.rsplit_once(':')?;
                // IPv6 without brackets would leave its last group as the port.
                if host.contains(':') {
                    return None;
                }
                Self::new(Host::parse(host).ok()?, port.parse().ok()?)
            }
        };
        (address.port != 0).then_some(address)
    }
}

impl From<SocketAddr> for ServerAddress {
    fn from(address: SocketAddr) -> Self {
        Self {
            host: Host(address.ip().to_string()),
            port: address.port(),
        }
    }
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    host: Host,
    port: Option<u16>,
}

impl Listen {
    /// On `port` of `host`, which is not 0.
    #[must_use]
    pub fn on(host: Host, port: u16) -> Self {
        Self {
            host,
            port: Some(port),
        }
    }

    /// On a free port of `host` that nats-server picks (`-1`) and tells in its ports file.
    #[must_use]
    pub fn free_port(host: Host) -> Self {
        Self { host, port: None }
    }

    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    /// As nats-server has it: -1 is any free one.
    pub(crate) fn port(&self) -> i64 {
        self.port.map_or(-1, i64::from)
    }
}

/// What the servers of one cluster show each other, besides their certificates, before they exchange messages:
/// another cluster's server has a certificate of the same issuer, too.
#[derive(Clone, Debug)]
pub struct RouteSecret(SecretString);

impl RouteSecret {
    /// Reads a secret of 22 to 128 letters and digits (22 random ones are 130 bits).
    ///
    /// # Errors
    /// The text is anything else.
    pub fn parse(secret: SecretString) -> Result<Self, ParseInputError> {
        let text = secret.expose_secret();
        if (22..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
        {
            Ok(Self(secret))
        } else {
            Err(ParseInputError::RouteSecret)
        }
    }

    pub(crate) fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// What the accounts are called, on hub and leaf alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accounts {
    /// Holds the callout service, on the leaf.
    pub auth: Name,
    /// Holds the devices, on the leaf; the account that policies grant.
    pub devices: Name,
    /// Carries what devices publish up to the hub.
    pub telemetry: Name,
    /// Carries commands down to devices, and their answers back.
    pub commands: Name,
    /// The system account.
    pub system: Name,
}

impl Default for Accounts {
    fn default() -> Self {
        Self {
            auth: Name::constant("AUTH"),
            devices: Name::constant("DEVICES"),
            telemetry: Name::constant("TELEMETRY"),
            commands: Name::constant("COMMANDS"),
            system: Name::constant("SYS"),
        }
    }
}

impl Accounts {
    pub(crate) fn all(&self) -> [&Name; 5] {
        [
            &self.auth,
            &self.devices,
            &self.telemetry,
            &self.commands,
            &self.system,
        ]
    }
}

macro_rules! from_str {
    ($($type:ty),*) => {$(
        impl FromStr for $type {
            type Err = ParseInputError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::parse(text)
            }
        }
    )*};
}

macro_rules! display {
    ($($type:ty),*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

from_str!(Name, SubjectPrefix, Host, ServerAddress);
display!(Name, SubjectPrefix, Host);

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_address(f, &self.host, i64::from(self.port))
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_address(f, &self.host, self.port())
    }
}

fn write_address(f: &mut fmt::Formatter<'_>, host: &Host, port: i64) -> fmt::Result {
    if host.0.contains(':') {
        write!(f, "[{host}]:{port}")
    } else {
        write!(f, "{host}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts that would end a string, a token or a line, or add something after it.
    const HOSTILE: [&str; 12] = [
        "", " ", "a b", "a\"b", "a'b", "a{b", "a}b", "a;b", "a#b", "a\nb", "$HOME", "a\u{0}b",
    ];

    #[test]
    fn hostile_texts_are_nothing() {
        for text in HOSTILE {
            assert!(Name::parse(text).is_err(), "{text:?}");
            assert!(SubjectPrefix::parse(text).is_err(), "{text:?}");
            assert!(Host::parse(text).is_err(), "{text:?}");
            assert!(ServerAddress::parse(text).is_err(), "{text:?}");
            assert!(
                ServerAddress::parse(&format!("{text}:7422")).is_err(),
                "{text:?}"
            );
        }
    }

    #[test]
    fn names_are_single_tokens() {
        for text in ["demo", "cph-1", "0001", "A_b"] {
            assert_eq!(Name::parse(text).unwrap().as_str(), text);
        }
        for text in ["a.b", "*", ">", "-a", "a-", "ø"] {
            assert!(Name::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn prefixes_are_tokens_that_stay_out_of_the_hubs_subjects() {
        for text in ["device", "iot.device", "sites"] {
            assert_eq!(SubjectPrefix::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "device.",
            ".device",
            "device.*",
            "a..b",
            "site",
            "site.demo",
        ] {
            assert!(SubjectPrefix::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn addresses_keep_brackets_where_they_belong() {
        for text in [
            "hub:7422",
            "hub.example.com:1",
            "10.0.0.7:7422",
            "[::1]:7422",
        ] {
            assert_eq!(ServerAddress::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "hub",
            "hub:",
            ":7422",
            "hub:70000",
            "hub:-1",
            "hub:0",
            "[::1]:0",
            "::1:7422",
            "tls://hub:7422",
            "-hub:1",
        ] {
            assert!(ServerAddress::parse(text).is_err(), "{text:?}");
        }
        let any = Listen::free_port(Host::parse("::1").unwrap());
        assert_eq!(any.to_string(), "[::1]:-1");
    }

    #[test]
    fn route_secrets_are_long_and_plain_and_not_shown() {
        let parse = |text: &str| RouteSecret::parse(SecretString::from(text));
        let good = "Aa0".repeat(8);
        let secret = parse(&good).unwrap();
        assert!(!format!("{secret:?}").contains(&good));
        for text in ["short", &"a".repeat(129), &format!("{good}@hub:1/")] {
            let error = parse(text).unwrap_err();
            assert!(!error.to_string().contains(text));
        }
    }
}
