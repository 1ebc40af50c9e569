//! The form that all NATS JWTs share: `header.claims.signature` in unpadded base64url, Ed25519 over
//! `header.claims` (nats-io/jwt v2 `claims.go`, `decoder.go`).

use aws_lc_rs::digest::{SHA512_256, digest};
use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use ed25519_zebra::{Signature, VerificationKeyBytes, batch};
use serde::{Deserialize, Serialize};

use crate::key::KeyKind;
use crate::signing::SigningKey;
use crate::text::Excerpt;

/// The largest token that is read (nats-io/jwt `MaxTokenSize`).
pub const MAX_TOKEN_BYTES: usize = 1024 * 1024;

/// `{"typ":"JWT","alg":"ed25519-nkey"}`
const HEADER: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ";
const SIGNATURE_BYTES: usize = 64;
const SIGNATURE_CHARS: usize = 86;

/// The version of claims that this crate writes and reads.
pub(crate) const CLAIMS_VERSION: i64 = 2;

/// What is wrong with the form of a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeTokenError {
    /// Over [`MAX_TOKEN_BYTES`].
    #[error("the token has {len_bytes} bytes, more than the {MAX_TOKEN_BYTES} allowed")]
    TooLarge {
        /// Bytes received.
        len_bytes: usize,
    },
    /// Not `header.claims.signature`.
    #[error("a token has 3 parts between dots, this one has {found}: it is cut off or no JWT")]
    Parts {
        /// Parts found.
        found: usize,
    },
    /// The header is not base64url of a JSON object with `typ` and `alg`.
    #[error("the token's header is not base64url of a JSON object with typ and alg")]
    Header,
    /// `typ` is not `JWT`.
    #[error("the token's type is {found}, not \"JWT\"")]
    Type {
        /// The `typ` found.
        found: Excerpt,
    },
    /// `alg` is not `ed25519-nkey`.
    #[error("the token's algorithm is {found}, not \"ed25519-nkey\"")]
    Algorithm {
        /// The `alg` found.
        found: Excerpt,
    },
    /// The claims are not unpadded base64url.
    #[error("the token's claims are not unpadded base64url")]
    ClaimsEncoding,
    /// The claims are not the JSON that was expected.
    #[error("the token's claims are not as expected: {detail}")]
    Claims {
        /// What the JSON parser found, escaped and cut.
        detail: Excerpt,
    },
    /// The signature is not 64 bytes of unpadded base64url.
    #[error("the token's signature is not {SIGNATURE_BYTES} bytes in unpadded base64url")]
    SignatureEncoding,
}

/// Why claims can't be made into a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeClaimsError {
    /// Servers refuse these claims from this kind of key.
    #[error("these claims are signed by a key of kind {expected}, not of kind {found}")]
    Issuer {
        /// The kind that may sign.
        expected: KeyKind,
        /// The kind of the key that was given.
        found: KeyKind,
    },
    /// A response without user JWT and without error text says nothing.
    #[error("a response needs a user JWT or the text of an error, and the given one is empty")]
    EmptyOutcome,
}

/// A token taken apart, its signature not yet checked.
pub(crate) struct Parts<'a> {
    /// `header.claims`
    pub(crate) signed: &'a [u8],
    pub(crate) signature: Signature,
    /// The JSON.
    pub(crate) claims: Vec<u8>,
}

/// Takes a token apart, cheapest checks first.
pub(crate) fn split(token: &[u8]) -> Result<Parts<'_>, DecodeTokenError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(DecodeTokenError::TooLarge {
            len_bytes: token.len(),
        });
    }
    let parts = || DecodeTokenError::Parts {
        found: token.split(|&byte| byte == b'.').count(),
    };
    let header_end = match token.strip_prefix(HEADER.as_bytes()) {
        Some([b'.', ..]) => HEADER.len(),
        _ => {
            let end = token
                .iter()
                .position(|&byte| byte == b'.')
                .ok_or_else(parts)?;
            check_header(&token[..end])?;
            end
        }
    };
    let claims_end = token
        .iter()
        .rposition(|&byte| byte == b'.')
        .ok_or_else(parts)?;
    if claims_end == header_end {
        return Err(parts());
    }
    let claims = BASE64URL_NOPAD
        .decode(&token[header_end + 1..claims_end])
        .map_err(|_| match parts() {
            DecodeTokenError::Parts { found: 3 } => DecodeTokenError::ClaimsEncoding,
            other => other,
        })?;
    let signature = &token[claims_end + 1..];
    let mut signature_raw = [0; SIGNATURE_BYTES];
    if signature.len() != SIGNATURE_CHARS
        || BASE64URL_NOPAD
            .decode_mut(signature, &mut signature_raw)
            .is_err()
    {
        return Err(DecodeTokenError::SignatureEncoding);
    }
    Ok(Parts {
        signed: &token[..claims_end],
        signature: Signature::from(signature_raw),
        claims,
    })
}

#[derive(Deserialize)]
struct Header {
    typ: String,
    alg: String,
}

fn check_header(encoded: &[u8]) -> Result<(), DecodeTokenError> {
    let json = BASE64URL_NOPAD
        .decode(encoded)
        .map_err(|_| DecodeTokenError::Header)?;
    let header: Header = serde_json::from_slice(&json).map_err(|_| DecodeTokenError::Header)?;
    if !header.typ.eq_ignore_ascii_case("JWT") {
        return Err(DecodeTokenError::Type {
            found: Excerpt::of(&header.typ),
        });
    }
    if header.alg != "ed25519-nkey" {
        return Err(DecodeTokenError::Algorithm {
            found: Excerpt::of(&header.alg),
        });
    }
    Ok(())
}

pub(crate) fn parse_claims<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, DecodeTokenError> {
    serde_json::from_slice(json).map_err(|error| DecodeTokenError::Claims {
        detail: Excerpt::of(&error.to_string()),
    })
}

/// What is to be verified, independent of the message: it holds the hash of it.
pub(crate) fn signature_item(key: &[u8; 32], signature: Signature, signed: &[u8]) -> batch::Item {
    batch::Item::from((VerificationKeyBytes::from(*key), signature, signed))
}

/// The registered claims (RFC 7519, 4.1) in the order in which nats-io/jwt hashes them.
#[derive(Serialize)]
pub(crate) struct RegisteredClaims<'a> {
    #[serde(rename = "aud", skip_serializing_if = "str::is_empty")]
    pub(crate) audience: &'a str,
    #[serde(rename = "exp", skip_serializing_if = "is_zero")]
    pub(crate) expires_at_secs: i64,
    #[serde(rename = "iat", skip_serializing_if = "is_zero")]
    pub(crate) issued_at_secs: i64,
    #[serde(rename = "iss")]
    pub(crate) issuer: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) name: &'a str,
    #[serde(rename = "sub")]
    pub(crate) subject: &'a str,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
pub(crate) fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// Fails unless `key` is of the kind that signs these claims.
pub(crate) fn require_issuer(expected: KeyKind, key: &SigningKey) -> Result<(), EncodeClaimsError> {
    if key.kind() == expected {
        Ok(())
    } else {
        Err(EncodeClaimsError::Issuer {
            expected,
            found: key.kind(),
        })
    }
}

/// Signs claims. `jti` is the hash of the registered claims alone, as in nats-io/jwt.
pub(crate) fn encode(
    registered: &RegisteredClaims<'_>,
    nats: &impl Serialize,
    key: &SigningKey,
) -> String {
    let mut json = Vec::with_capacity(1024);
    write_json(&mut json, registered);
    let id = digest(&SHA512_256, &json);
    json.pop();
    json.extend_from_slice(br#","jti":""#);
    json.extend_from_slice(BASE32_NOPAD.encode(id.as_ref()).as_bytes());
    json.extend_from_slice(br#"","nats":"#);
    write_json(&mut json, nats);
    json.push(b'}');
    sign_claims(&json, key)
}

pub(crate) fn sign_claims(json: &[u8], key: &SigningKey) -> String {
    let claims_chars = BASE64URL_NOPAD.encode_len(json.len());
    let mut token = String::with_capacity(HEADER.len() + 1 + claims_chars + 1 + SIGNATURE_CHARS);
    token.push_str(HEADER);
    token.push('.');
    BASE64URL_NOPAD.encode_append(json, &mut token);
    let signature = key.sign(token.as_bytes());
    token.push('.');
    BASE64URL_NOPAD.encode_append(&signature, &mut token);
    token
}

fn write_json(into: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(into, value).expect("claims are plain structs, and memory takes them");
}

#[cfg(test)]
pub(crate) mod tests;
