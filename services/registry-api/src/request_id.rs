use std::fmt;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use leafgate_identity::UnixMs;
use uuid::Builder;

use crate::random;

/// The header that names a request, in both directions.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const MAX_LEN: usize = 64;

/// What a request is called in its answer and in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    /// The one that the client gave, if it is 1 to 64 of `A-Z a-z 0-9 . _ -`, else a new one (UUID version 7).
    pub(crate) fn of(headers: &HeaderMap, now: UnixMs) -> Self {
        let given = headers.get(X_REQUEST_ID).filter(|value| is_valid(value));
        given.map_or_else(|| Self::generate(now), |value| Self(value.clone()))
    }

    fn generate(now: UnixMs) -> Self {
        let ms = u64::try_from(now.as_i64()).unwrap_or(0);
        let text = Builder::from_unix_timestamp_millis(ms, &random::bytes())
            .into_uuid()
            .to_string();
        Self(HeaderValue::from_str(&text).expect("a UUID is ASCII"))
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn is_valid(value: &HeaderValue) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=MAX_LEN).contains(&value.len()) && value.as_bytes().iter().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs::from_secs(1_800_000_000);

    fn of(text: &'static str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(X_REQUEST_ID, HeaderValue::from_static(text));
        RequestId::of(&headers, NOW).to_string()
    }

    #[test]
    fn a_plain_id_is_kept_and_any_other_replaced() {
        assert_eq!(of("a.B_9-"), "a.B_9-");
        for wrong in ["", "a b", "a\"b", "a=b", "../x"] {
            let replaced = of(wrong);
            let uuid = uuid::Uuid::parse_str(&replaced).unwrap();
            assert_eq!(uuid.get_version_num(), 7, "{wrong:?}");
        }
        assert_ne!(of(""), of(""));
    }
}
