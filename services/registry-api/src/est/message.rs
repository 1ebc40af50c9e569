use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64;
use leafgate_pki::certs_only;

const CONTENT_TRANSFER_ENCODING: HeaderName = HeaderName::from_static("content-transfer-encoding");
/// The longest line of base64 (RFC 2045 section 6.8), for clients whose decoders insist.
const LINE_LEN: usize = 76;

/// Certificates (DER) as sections 4.1.3 and 4.2.3 have them.
pub(super) fn certificates<'a>(ders: impl IntoIterator<Item = &'a [u8]>) -> Response {
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/pkcs7-mime; smime-type=certs-only"),
        ),
        (
            CONTENT_TRANSFER_ENCODING,
            HeaderValue::from_static("base64"),
        ),
    ];
    (headers, to_base64(&certs_only(ders))).into_response()
}

fn to_base64(bytes: &[u8]) -> String {
    let text = BASE64.encode(bytes);
    let mut lines = String::with_capacity(text.len() + text.len() / LINE_LEN * 2 + 2);
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE_LEN));
        lines.push_str(line);
        lines.push_str("\r\n");
        rest = after;
    }
    lines
}

/// Reads base64 with line breaks and blanks anywhere (RFC 8951 section 3.1).
pub(super) fn from_base64(text: &[u8]) -> Option<Vec<u8>> {
    let text: Vec<u8> = text
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    BASE64.decode(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_short_and_read_again() {
        for len in [0, 1, 56, 57, 58, 114, 1_000] {
            let bytes = vec![7; len];
            let text = to_base64(&bytes);
            assert!(
                text.lines()
                    .all(|line| line.len() <= 76 && !line.is_empty())
            );
            assert!(text.is_empty() || text.ends_with("\r\n"));
            assert_eq!(from_base64(text.as_bytes()).unwrap(), bytes);
        }
        assert_eq!(from_base64(b" A Q\tI\n=\r\n").unwrap(), [1, 2]);
        for wrong in ["AQI", "AQ-_", "-----BEGIN"] {
            assert_eq!(from_base64(wrong.as_bytes()), None);
        }
    }
}
