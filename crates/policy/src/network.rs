//! IP networks that a policy admits devices from.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::de::{Deserialize, Deserializer, Error};
use serde::{Serialize, Serializer};

use crate::problem::Fault;

/// An IPv4 or IPv6 network such as `10.20.0.0/16`; a bare address is a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpNetwork {
    base: IpAddr,
    prefix_len: u8,
}

impl IpNetwork {
    /// Parses `address/length` or a bare address. Refuses set bits right of the prefix, and IPv4
    /// mapped into IPv6, as [`contains`](Self::contains) finds no address in it.
    pub(crate) fn parse(text: &str) -> Result<Self, Fault> {
        let fault = |hint: &str| {
            let message = format!("\"{}\" is not an IP network", text.escape_debug());
            Fault::new(message, hint)
        };
        let network = Self::parse_unchecked(text)
            .filter(|network| network.base.to_canonical() == network.base)
            .ok_or_else(|| fault("write 10.20.0.0/16 or 2001:db8::/32"))?;
        let base = mask(network.base, network.prefix_len);
        if base != network.base {
            let meant = Self { base, ..network };
            return Err(fault(&format!("did you mean \"{meant}\"?")));
        }
        Ok(network)
    }

    fn parse_unchecked(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let base: IpAddr = address.parse().ok()?;
        let bits = if base.is_ipv4() { 32 } else { 128 };
        let prefix_len = match length {
            None => bits,
            Some(length) => length
                .parse()
                .ok()
                .filter(|n: &u8| *n <= bits && n.to_string() == length)?,
        };
        Some(Self { base, prefix_len })
    }

    /// Whether `address` lies in the network; an IPv4 address mapped into IPv6 counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.base.is_ipv4() && mask(address, self.prefix_len) == self.base
    }
}

fn mask(address: IpAddr, prefix_len: u8) -> IpAddr {
    let length = u32::from(prefix_len);
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

impl fmt::Display for IpNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix_len)
    }
}

impl Serialize for IpNetwork {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for IpNetwork {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(|fault| {
            let hint = fault.hint.unwrap_or_default();
            D::Error::custom(format!("{}; {hint}", fault.message))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(network: &str, address: &str) -> bool {
        IpNetwork::parse(network)
            .unwrap()
            .contains(address.parse().unwrap())
    }

    #[test]
    fn membership_follows_the_prefix() {
        assert!(contains("10.20.0.0/16", "10.20.255.1"));
        assert!(!contains("10.20.0.0/16", "10.21.0.1"));
        assert!(contains("0.0.0.0/0", "203.0.113.9"));
        assert!(!contains("0.0.0.0/0", "2001:db8::1"));
        assert!(contains("::/0", "2001:db8::1"));
        assert!(contains("2001:db8::/32", "2001:db8:1::1"));
        assert!(contains("192.0.2.7", "192.0.2.7"));
        assert!(!contains("192.0.2.7", "192.0.2.8"));
    }

    #[test]
    fn a_mapped_address_counts_as_ipv4() {
        assert!(contains("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert!(!contains("::/0", "::ffff:10.1.2.3"));
    }

    #[test]
    fn json_is_the_text() {
        let json = r#"["10.20.0.0/16","2001:db8::/32"]"#;
        let networks: Vec<IpNetwork> = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&networks).unwrap(), json);
        let refused = serde_json::from_str::<IpNetwork>(r#""10.20.1.0/16""#).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "\"10.20.1.0/16\" is not an IP network; did you mean \"10.20.0.0/16\"?"
        );
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for bad in [
            "",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0/8",
            "10.0.0.0/+8",
            "::/129",
            "a/8",
            "::ffff:10.0.0.0/104",
            "::ffff:10.1.2.3",
        ] {
            let fault = IpNetwork::parse(bad).unwrap_err();
            assert_eq!(
                fault.hint.as_deref(),
                Some("write 10.20.0.0/16 or 2001:db8::/32"),
                "{bad}"
            );
        }
        let fault = IpNetwork::parse("10.20.1.0/16").unwrap_err();
        assert_eq!(
            fault.hint.as_deref(),
            Some("did you mean \"10.20.0.0/16\"?")
        );
    }
}
