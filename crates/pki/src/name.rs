use std::fmt;

use leafgate_identity::{CnPattern, DeviceId, Excerpt};

/// Longest DNS name in text form, without a final dot (RFC 1035 section 2.3.4).
const MAX_DNS_NAME_LEN: usize = 253;
const MAX_LABEL_LEN: usize = 63;

/// A host name as in RFC 1123 section 2.1, in ASCII, equal ignoring case.
#[derive(Clone, Debug)]
pub(crate) struct DnsName(String);

impl DnsName {
    pub(crate) fn parse(name: &str) -> Result<Self, ParseDnsNameError> {
        let refused = |reason| ParseDnsNameError {
            name: Excerpt::of(name),
            reason,
        };
        if name.is_empty() || name.len() > MAX_DNS_NAME_LEN {
            return Err(refused("it must have 1 to 253 characters"));
        }
        for label in name.split('.') {
            if label.is_empty() || label.len() > MAX_LABEL_LEN {
                return Err(refused("each label must have 1 to 63 characters"));
            }
            if !label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
            {
                return Err(refused("labels have only A–Z a–z 0–9 and -"));
            }
            if label.starts_with('-') || label.ends_with('-') {
                return Err(refused("a label can't begin or end with -"));
            }
        }
        let last = name.rsplit('.').next().unwrap_or(name);
        if last.bytes().all(|b| b.is_ascii_digit()) {
            return Err(refused(
                "its last label is a number; give addresses as addresses",
            ));
        }
        Ok(Self(name.into()))
    }

    /// Also accepts one leading `*` label before at least two others (RFC 6125 section 6.4.3).
    pub(crate) fn parse_wildcard(name: &str) -> Result<Self, ParseDnsNameError> {
        let Some(parent) = name.strip_prefix("*.") else {
            return Self::parse(name);
        };
        let parent = Self::parse(parent)?;
        if !parent.0.contains('.') {
            return Err(ParseDnsNameError {
                name: Excerpt::of(name),
                reason: "a wildcard needs two labels after it",
            });
        }
        Ok(Self(name.into()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether some device of this pattern has a name that this one equals or, as a wildcard,
    /// matches.
    pub(crate) fn may_be_of(&self, pattern: &CnPattern) -> bool {
        let Some(parent) = self.0.strip_prefix("*.") else {
            return pattern.covers(&self.0);
        };
        // A wildcard stands for one whole label. Either that label holds the pattern's `{id}`,
        // and any device fits, or it is fixed text, and the device of any id shows it.
        let sample = DeviceId::parse("a").expect("a letter is a device id");
        pattern.render(&sample).is_ok_and(|name| {
            let first = name.split('.').next().unwrap_or_default();
            pattern.covers(&format!("{first}.{parent}"))
        })
    }
}

impl PartialEq for DnsName {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for DnsName {}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not a DNS name.
#[derive(Debug, thiserror::Error)]
#[error("{name} is not a DNS name: {reason}")]
pub struct ParseDnsNameError {
    name: Excerpt,
    reason: &'static str,
}
