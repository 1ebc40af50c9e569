use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use leafgate_identity::{Excerpt, SpkiHash};

use crate::name::DnsName;

/// Longest URL that is written into certificates.
const MAX_URL_LEN: usize = 512;

/// Where a certificate says that its revocation status is to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusUrls {
    /// The issuer's revocation list (RFC 5280 section 4.2.1.13).
    pub crl: StatusUrl,
    /// The OCSP responder (RFC 5280 section 4.2.2.1).
    pub ocsp: StatusUrl,
}

impl StatusUrls {
    /// Where a registry whose plain-HTTP listener is reached under `base` serves the status of an
    /// issuer's certificates: `BASE/crl/SPKI.crl` and `BASE/ocsp`.
    pub fn under(base: &StatusUrl, issuer: SpkiHash) -> Self {
        Self {
            crl: base.join(&format!("crl/{issuer}.crl")),
            ocsp: base.join("ocsp"),
        }
    }
}

/// An `http` URL without query and fragment.
///
/// `https` is refused: whoever fetches a status over TLS may have to fetch the status of that
/// connection's certificate first (RFC 5280 section 8). What is served is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusUrl(String);

impl StatusUrl {
    /// Takes a URL such as `http://pki.example.org:8080`.
    ///
    /// # Errors
    /// It is of another scheme, names no host, or has a part or character that has no place in it.
    pub fn parse(text: &str) -> Result<Self, ParseStatusUrlError> {
        let refused = |reason| ParseStatusUrlError {
            url: Excerpt::of(text),
            reason,
        };
        if text.len() > MAX_URL_LEN {
            return Err(refused("it must have at most 512 characters"));
        }
        let Some(rest) = text.strip_prefix("http://") else {
            return Err(refused(
                "it must begin with http:// (a status is signed and needs no TLS)",
            ));
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if !is_authority(authority) {
            return Err(refused(
                "after http:// comes a DNS name or address, and perhaps a port",
            ));
        }
        if !path.bytes().all(is_path_byte) {
            return Err(refused(
                "its path may have A–Z a–z 0–9 / - . _ ~ only, and nothing may follow it",
            ));
        }
        Ok(Self(text.into()))
    }

    /// Where a registry whose plain-HTTP listener is reached under this URL serves the list of its
    /// root: `BASE/crl/root.crl`.
    #[must_use]
    pub fn root_crl(&self) -> Self {
        self.join("crl/root.crl")
    }

    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn join(&self, path: &str) -> Self {
        Self(format!("{}/{path}", self.0.trim_end_matches('/')))
    }
}

impl fmt::Display for StatusUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_authority(authority: &str) -> bool {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, port)) if host.parse::<Ipv6Addr>().is_ok() => ("", port),
            _ => return false,
        },
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let is_host = host.is_empty() == authority.starts_with('[')
        && (host.is_empty() || host.parse::<IpAddr>().is_ok() || DnsName::parse(host).is_ok());
    let is_port = port.is_empty()
        || port.strip_prefix(':').is_some_and(|port| {
            port.bytes().all(|b| b.is_ascii_digit())
                && port.parse::<u16>().is_ok_and(|port| port != 0)
        });
    is_host && is_port
}

fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte)
}

/// Why a text is no [`StatusUrl`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{url} can't be where certificates point for their status: {reason}")]
pub struct ParseStatusUrlError {
    url: Excerpt,
    reason: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_plain_http_urls() {
        for text in [
            "http://pki.example.org",
            "http://pki.example.org/",
            "http://pki.example.org:8080/status/v1.0_a~b-c",
            "http://localhost:1",
            "http://192.0.2.7:65535/x",
            "http://[2001:db8::7]:8080/x",
            "http://[::1]",
        ] {
            let url = StatusUrl::parse(text).unwrap();
            assert_eq!(url.to_string(), text);
        }
    }

    #[test]
    fn refuses_what_a_relying_party_could_not_or_should_not_fetch() {
        for text in [
            "",
            "http://",
            "http:///crl",
            "https://pki.example.org",
            "HTTP://pki.example.org",
            "ldap://pki.example.org",
            "file:///etc/passwd",
            "pki.example.org",
            "http://user@pki.example.org",
            "http://user:secret@pki.example.org",
            "http://pki.example.org:",
            "http://pki.example.org:0",
            "http://pki.example.org:65536",
            "http://pki.example.org:+1",
            "http://pki.example.org:1:2",
            "http://[::1",
            "http://[::1]x",
            "http://[192.0.2.7]",
            "http://::1/",
            "http://-x.example.org",
            "http://pki.example.org/a b",
            "http://pki.example.org/a\n",
            "http://pki.example.org/\0",
            "http://pki.example.org/ä",
            "http://pki.example.org/?a=b",
            "http://pki.example.org/#a",
            "http://pki.example.org?a",
            "http://pki.example.org/%2e",
            "http://pki.example.org\\a",
            " http://pki.example.org",
        ] {
            assert!(StatusUrl::parse(text).is_err(), "{text:?}");
        }
        let long = format!("http://pki.example.org/{}", "a".repeat(600));
        assert!(StatusUrl::parse(&long).is_err());
    }

    #[test]
    fn a_registry_serves_each_issuer_under_its_key() {
        let issuer = SpkiHash::from_bytes([0xab; 32]);
        for base in ["http://pki.example.org/x", "http://pki.example.org/x/"] {
            let base = StatusUrl::parse(base).unwrap();
            let urls = StatusUrls::under(&base, issuer);
            let list = format!("http://pki.example.org/x/crl/{}.crl", "ab".repeat(32));
            assert_eq!(urls.crl.as_str(), list);
            assert_eq!(urls.ocsp.as_str(), "http://pki.example.org/x/ocsp");
            assert_eq!(
                base.root_crl().as_str(),
                "http://pki.example.org/x/crl/root.crl"
            );
            for url in [&urls.crl, &urls.ocsp, &base.root_crl()] {
                StatusUrl::parse(url.as_str()).unwrap();
            }
        }
    }
}
