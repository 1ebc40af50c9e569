use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::algorithm::SigningAlgorithm;
use super::error::OidcError;

/// The longest token that is looked at, in bytes.
pub(super) const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// The claims of a token, by name.
pub(super) type Claims = Map<String, Value>;

/// A signed JWT in its compact form (RFC 7515 section 7.1), read but not yet believed.
///
/// Of the header only what chooses among keys already known is used: a key or the address of one in it (`jwk`, `jku`,
/// `x5c`, `x5u`) has no effect.
pub(super) struct SignedToken<'a> {
    /// How it claims to be signed; one of the accepted algorithms.
    pub(super) algorithm: SigningAlgorithm,
    /// The key that it claims to be signed with.
    pub(super) kid: Option<String>,
    /// Whether it is typed as an access token (RFC 9068 section 2.1), and not just as a JWT or not at all.
    pub(super) is_typed: bool,
    /// What is signed.
    pub(super) message: &'a str,
    /// The signature in base64url.
    pub(super) signature: &'a str,
    payload: &'a str,
}

impl<'a> SignedToken<'a> {
    /// Reads the header.
    pub(super) fn parse(text: &'a str, accepted: &[SigningAlgorithm]) -> Result<Self, OidcError> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(OidcError::TokenTooLong {
                max_bytes: MAX_TOKEN_BYTES,
            });
        }
        let malformed = |what| OidcError::TokenMalformed { what };
        let parts: Vec<_> = text.split('.').collect();
        let [header, payload, signature] = parts[..] else {
            return Err(malformed(match parts.len() {
                5 => "it has five parts: an encrypted one can't be read here",
                _ => "it must have three parts with dots between",
            }));
        };
        let message = &text[..header.len() + 1 + payload.len()];
        let header: Header =
            read_part(header).ok_or(malformed("its header is no JSON object in base64url"))?;
        if header.has_crit {
            return Err(OidcError::HeaderCritical);
        }
        let algorithm = SigningAlgorithm::named(&header.alg)
            .filter(|algorithm| accepted.contains(algorithm))
            .ok_or_else(|| not_accepted(accepted))?;
        Ok(Self {
            algorithm,
            kid: header.kid,
            is_typed: is_typed(header.typ.as_deref())?,
            message,
            signature,
            payload,
        })
    }

    /// Its claims; for whoever has checked the signature.
    pub(super) fn claims(&self) -> Result<Claims, OidcError> {
        read_part(self.payload).ok_or(OidcError::TokenMalformed {
            what: "its payload is no JSON object in base64url",
        })
    }
}

impl fmt::Debug for SignedToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedToken")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

pub(super) fn not_accepted(accepted: &[SigningAlgorithm]) -> OidcError {
    let names: Vec<_> = accepted.iter().map(|known| known.as_str()).collect();
    OidcError::AlgorithmNotAccepted {
        accepted: names.join(", "),
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    #[serde(rename = "crit", default, deserialize_with = "is_there")]
    has_crit: bool,
}

/// Even `null` and an empty list are no crit that a token may have.
fn is_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|IgnoredAny| true)
}

/// Whether the type is that of an access token. `JWT` and none at all say nothing, and many providers type their access
/// tokens so; any other is that of a token for something else.
fn is_typed(typ: Option<&str>) -> Result<bool, OidcError> {
    let Some(typ) = typ.map(str::to_ascii_lowercase) else {
        return Ok(false);
    };
    match typ.strip_prefix("application/").unwrap_or(&typ) {
        "at+jwt" => Ok(true),
        "jwt" => Ok(false),
        _ => Err(OidcError::NotAccessToken {
            what: "its header's typ is neither at+jwt nor JWT",
        }),
    }
}

fn read_part<T: DeserializeOwned>(part: &str) -> Option<T> {
    let json = BASE64URL_NOPAD.decode(part.as_bytes()).ok()?;
    serde_json::from_slice(&json).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_header(header: &str) -> String {
        let part = |json: &str| BASE64URL_NOPAD.encode(json.as_bytes());
        format!("{}.{}.AAAA", part(header), part("{}"))
    }

    fn reason_of(text: &str) -> &'static str {
        let parsed = SignedToken::parse(text, &[SigningAlgorithm::Rs256]);
        parsed.map_or_else(|error| error.reason(), |_| "none")
    }

    #[test]
    fn the_header_chooses_among_what_is_accepted() {
        let text =
            with_header(r#"{"alg":"RS256","kid":"k","typ":"AT+JWT","jku":"https://evil.example"}"#);
        let token = SignedToken::parse(&text, &[SigningAlgorithm::Rs256]).unwrap();
        assert_eq!(token.kid.as_deref(), Some("k"));
        assert!(token.is_typed && text.starts_with(token.message));
        assert_eq!(format!("{}.{}", token.message, token.signature), text);
        assert_eq!(token.claims(), Ok(Claims::new()));
        assert!(!format!("{token:?}").contains(token.message));
    }

    #[test]
    fn types_other_than_those_of_access_tokens_are_refused() {
        let typed =
            |typ: &str| reason_of(&with_header(&format!(r#"{{"alg":"RS256","typ":{typ}}}"#)));
        for good in [r#""JWT""#, r#""jwt""#, r#""application/at+jwt""#, "null"] {
            assert_eq!(typed(good), "none", "{good}");
        }
        for wrong in [
            r#""logout+jwt""#,
            r#""secevent+jwt""#,
            r#""dpop+jwt""#,
            r#""JOSE""#,
            r#""""#,
        ] {
            assert_eq!(typed(wrong), "token-not-access", "{wrong}");
        }
        assert_eq!(typed("7"), "token-malformed");
    }

    #[test]
    fn crit_is_refused_in_any_form() {
        for crit in [r#"["b64"]"#, "[]", "null", r#""b64""#] {
            let header = format!(r#"{{"alg":"RS256","b64":false,"crit":{crit}}}"#);
            assert_eq!(
                reason_of(&with_header(&header)),
                "header-critical",
                "{crit}"
            );
        }
    }

    #[test]
    fn a_header_is_one_json_object_with_an_algorithm() {
        for wrong in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"alg":null}"#,
            r#"{"alg":["RS256"]}"#,
            r#"{"alg":"RS256","alg":"RS256"}"#,
            r#"{"alg":"RS256","kid":7}"#,
            r#"{"alg":"RS256"} {}"#,
        ] {
            assert_eq!(reason_of(&with_header(wrong)), "token-malformed", "{wrong}");
        }
        for other in ["none", "None", "HS256", "ES256", "rs256", " RS256", ""] {
            let header = format!(r#"{{"alg":"{other}"}}"#);
            let reason = reason_of(&with_header(&header));
            assert_eq!(reason, "algorithm-not-accepted", "{other:?}");
        }
    }

    #[test]
    fn the_compact_form_is_three_parts_of_plain_base64url() {
        let good = with_header(r#"{"alg":"RS256"}"#);
        assert_eq!(reason_of(&good), "none");
        for wrong in [
            "",
            ".",
            "..",
            "a.b",
            &format!("{good}.e.f"),
            &format!(" {good}"),
            &format!("{good}."),
            &good.replacen('.', "=.", 1),
            &good.replacen('e', "+", 1),
        ] {
            assert_eq!(reason_of(wrong), "token-malformed", "{wrong}");
        }
        let long = format!("{good}{}", "A".repeat(MAX_TOKEN_BYTES));
        assert_eq!(reason_of(&long), "token-too-long");
    }
}
