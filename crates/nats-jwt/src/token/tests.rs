use rand_core::{CryptoRng, RngCore};

use super::*;

/// SplitMix64: every test sees the same keys in every run.
pub(crate) struct TestRng(u64);

impl TestRng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }
}

impl RngCore for TestRng {
    fn next_u32(&mut self) -> u32 {
        self.next_u64() as u32
    }

    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn fill_bytes(&mut self, into: &mut [u8]) {
        for chunk in into.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes()[..chunk.len()]);
        }
    }

    fn try_fill_bytes(&mut self, into: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(into);
        Ok(())
    }
}

impl CryptoRng for TestRng {}

fn token() -> String {
    let key = SigningKey::generate(KeyKind::Account, &mut TestRng::new(1));
    let registered = RegisteredClaims {
        audience: "DEVICES",
        expires_at_secs: 20,
        issued_at_secs: 10,
        issuer: key.public().as_str(),
        name: "pump \"7\"\n\u{1f600}",
        subject: "UABC",
    };
    encode(&registered, &serde_json::json!({"version": 2}), &key)
}

fn refusal(token: impl AsRef<[u8]>) -> DecodeTokenError {
    split(token.as_ref()).err().unwrap()
}

/// The token with another header, signature left as it is.
fn with_header(header: &str) -> String {
    let token = token();
    let (_, rest) = token.split_once('.').unwrap();
    format!("{}.{rest}", BASE64URL_NOPAD.encode(header.as_bytes()))
}

#[test]
fn the_header_constant_is_what_servers_expect() {
    assert_eq!(
        BASE64URL_NOPAD.decode(HEADER.as_bytes()).unwrap(),
        br#"{"typ":"JWT","alg":"ed25519-nkey"}"#
    );
}

#[test]
fn claims_are_json_with_an_id_of_their_own() {
    let token = token();
    let parts = split(token.as_bytes()).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&parts.claims).unwrap();
    assert_eq!(claims["name"], "pump \"7\"\n\u{1f600}");
    assert_eq!(claims["jti"].as_str().unwrap().len(), 52);
    assert_eq!(claims["nats"]["version"], 2);
}

#[test]
fn oversized_tokens_are_refused_unread() {
    let mut large = token().into_bytes();
    large.resize(MAX_TOKEN_BYTES, b'A');
    assert_eq!(refusal(&large), DecodeTokenError::SignatureEncoding);
    large.push(b'A');
    assert_eq!(
        refusal(&large),
        DecodeTokenError::TooLarge {
            len_bytes: MAX_TOKEN_BYTES + 1
        }
    );
}

#[test]
fn other_than_three_parts_are_refused() {
    let token = token();
    let parts: Vec<_> = token.split('.').collect();
    for (text, found) in [
        (String::new(), 1),
        ("garbage".to_owned(), 1),
        (parts[0].to_owned(), 1),
        (format!("{}.", parts[0]), 2),
        (parts[..2].join("."), 2),
        (format!("{token}.{}", parts[2]), 4),
        (format!("{}.{}..{}", parts[0], parts[1], parts[2]), 4),
    ] {
        assert_eq!(refusal(&text), DecodeTokenError::Parts { found }, "{text}");
    }
}

#[test]
fn truncated_signatures_are_refused() {
    let token = token();
    let start = token.rfind('.').unwrap() + 1;
    for end in start..token.len() {
        assert_eq!(refusal(&token[..end]), DecodeTokenError::SignatureEncoding);
    }
    assert_eq!(
        refusal(format!("{token}A")),
        DecodeTokenError::SignatureEncoding
    );
    assert_eq!(
        refusal(format!("{token}=")),
        DecodeTokenError::SignatureEncoding
    );
    assert_eq!(
        refusal(format!("{token}\n")),
        DecodeTokenError::SignatureEncoding
    );
}

#[test]
fn claims_that_are_no_base64url_are_refused() {
    let token = token();
    let (head, tail) = token.split_at(HEADER.len() + 5);
    assert_eq!(
        refusal(format!("{head}+{}", &tail[1..])),
        DecodeTokenError::ClaimsEncoding
    );
    assert_eq!(
        refusal(format!("{head}\n{tail}")),
        DecodeTokenError::ClaimsEncoding
    );
}

#[test]
fn other_algorithms_and_types_are_refused() {
    for alg in [
        "none",
        "None",
        "HS256",
        "EdDSA",
        "ed25519",
        "ed25519-nkey ",
        "",
    ] {
        assert_eq!(
            refusal(with_header(&format!(r#"{{"typ":"JWT","alg":"{alg}"}}"#))),
            DecodeTokenError::Algorithm {
                found: Excerpt::of(alg)
            }
        );
    }
    assert_eq!(
        refusal(with_header(r#"{"typ":"JWE","alg":"ed25519-nkey"}"#)),
        DecodeTokenError::Type {
            found: Excerpt::of("JWE")
        }
    );
}

#[test]
fn the_header_may_be_spelt_otherwise() {
    for header in [
        r#"{"alg":"ed25519-nkey","typ":"jwt"}"#,
        r#"{ "typ": "JWT", "alg": "ed25519-nkey", "kid": "7" }"#,
    ] {
        assert!(split(with_header(header).as_bytes()).is_ok(), "{header}");
    }
}

#[test]
fn malformed_headers_are_refused() {
    for header in [
        "",
        "[]",
        r#"{"typ":"JWT"}"#,
        r#"{"alg":"ed25519-nkey"}"#,
        r#"{"typ":"JWT","alg":"none","alg":"ed25519-nkey"}"#,
        r#"{"typ":"JWT","alg":"ed25519-nkey"} x"#,
    ] {
        assert_eq!(
            refusal(with_header(header)),
            DecodeTokenError::Header,
            "{header}"
        );
    }
    let token = token();
    let (_, rest) = token.split_once('.').unwrap();
    assert_eq!(refusal(format!("*.{rest}")), DecodeTokenError::Header);
}

#[test]
fn claims_errors_are_escaped_and_cut() {
    let error = parse_claims::<i64>(format!("\"\u{1b}{}\"", "x".repeat(500)).as_bytes());
    let DecodeTokenError::Claims { detail } = error.unwrap_err() else {
        panic!("another error");
    };
    assert!(!detail.to_string().contains('\u{1b}'));
    assert!(detail.to_string().len() < 200);
}
