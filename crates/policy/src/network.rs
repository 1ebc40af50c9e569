//! IP networks that a policy admits devices from.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// An IPv4 or IPv6 network such as `10.20.0.0/16`; a bare address is a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpNetwork {
    base: IpAddr,
    prefix_len: u8,
}

/// Text that is no IP network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseIpNetworkError {
    /// No address, or no prefix length that fits it.
    #[error("not an IP network: write an address and a prefix length, like 10.20.0.0/16")]
    Malformed,
    /// Bits are set to the right of the prefix.
    #[error("bits are set right of the prefix: the network is {network}")]
    HostBits {
        /// The network that the address lies in.
        network: IpNetwork,
    },
}

impl IpNetwork {
    /// Parses `address/length` or a bare address.
    ///
    /// # Errors
    /// When the text is no network, or bits right of the prefix are set.
    pub fn parse(text: &str) -> Result<Self, ParseIpNetworkError> {
        let malformed = ParseIpNetworkError::Malformed;
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| malformed.clone())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix_len = match length {
            None => bits,
            Some(length) => length
                .parse()
                .ok()
                .filter(|n: &u8| *n <= bits && n.to_string() == length)
                .ok_or(malformed)?,
        };
        let network = Self {
            base: mask(address, prefix_len),
            prefix_len,
        };
        if network.base != address {
            return Err(ParseIpNetworkError::HostBits { network });
        }
        Ok(network)
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

impl FromStr for IpNetwork {
    type Err = ParseIpNetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
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
    fn malformed_networks_are_refused() {
        for bad in [
            "",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0/8",
            "10.0.0.0/+8",
            "::/129",
            "a/8",
        ] {
            assert_eq!(
                IpNetwork::parse(bad),
                Err(ParseIpNetworkError::Malformed),
                "{bad}"
            );
        }
        let error = IpNetwork::parse("10.20.1.0/16").unwrap_err();
        assert!(error.to_string().ends_with("10.20.0.0/16"));
    }
}
