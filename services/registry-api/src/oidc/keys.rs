use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use serde_json::Value;

use super::algorithm::{KeyKind, SigningAlgorithm};
use super::error::OidcError;
use super::token::{Claims, SignedToken, not_accepted};

/// More keys than any provider has at a time.
const MAX_KEYS: usize = 100;

/// Shorter moduli can be factored with effort, longer ones take long to compute with.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;

/// The public keys of a provider (RFC 7517 section 5) that may sign access tokens.
#[derive(Debug)]
pub(super) struct KeySet {
    keys: Vec<Key>,
    accepted: Vec<SigningAlgorithm>,
    /// Those that are not used, each with the reason.
    pub(super) ignored: Vec<String>,
}

#[derive(Debug)]
struct Key {
    kid: Option<String>,
    algorithms: Vec<SigningAlgorithm>,
    key: DecodingKey,
}

impl KeySet {
    /// Reads the provider's document. A key that is not for signatures by an accepted algorithm, or too weak, is left
    /// out; what is no key set at all is an error.
    pub(super) fn parse(
        json: &[u8],
        accepted: &[SigningAlgorithm],
    ) -> Result<Self, ParseKeysError> {
        #[derive(Deserialize)]
        struct Document {
            keys: Vec<Value>,
        }
        let document: Document = serde_json::from_slice(json)?;
        if document.keys.len() > MAX_KEYS {
            return Err(ParseKeysError::TooMany(document.keys.len()));
        }
        let (mut keys, mut ignored) = (Vec::new(), Vec::new());
        for (position, jwk) in document.keys.into_iter().enumerate() {
            match serde_json::from_value(jwk).map(|jwk| key(jwk, accepted)) {
                Ok(Ok(key)) => keys.push(key),
                Ok(Err(why)) => ignored.push(format!("key {position}: {why}")),
                Err(_) => ignored.push(format!("key {position}: it is no JSON Web Key")),
            }
        }
        Ok(Self {
            keys,
            accepted: accepted.to_vec(),
            ignored,
        })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is a key for this token, or can be none, so that newer keys would make no difference.
    pub(super) fn settle(&self, token: &SignedToken<'_>) -> bool {
        !matches!(self.of(token), Err(OidcError::KeyUnknown))
    }

    /// The claims of a token that one of these keys has signed.
    pub(super) fn verify(&self, token: &SignedToken<'_>) -> Result<Claims, OidcError> {
        let keys = self.of(token)?;
        let message = token.message.as_bytes();
        let signed = keys.iter().any(|key| {
            let algorithm = token.algorithm.into();
            // An error is a signature that is no base64url.
            jsonwebtoken::crypto::verify(token.signature, message, &key.key, algorithm)
                .unwrap_or(false)
        });
        if !signed {
            return Err(OidcError::SignatureInvalid);
        }
        token.claims()
    }

    /// The keys that may have signed a token: those that it names, of which there may be several of different kinds (RFC
    /// 7517 section 4.5). It may name none only if it can't mean but one.
    fn of(&self, token: &SignedToken<'_>) -> Result<Vec<&Key>, OidcError> {
        let fits = |key: &&Key| key.algorithms.contains(&token.algorithm);
        let Some(kid) = &token.kid else {
            let fitting: Vec<_> = self.keys.iter().filter(fits).collect();
            return match fitting.len() {
                0 => Err(OidcError::KeyUnknown),
                1 => Ok(fitting),
                _ => Err(OidcError::KeyUnnamed),
            };
        };
        let named = self.keys.iter().filter(|key| key.kid.as_ref() == Some(kid));
        let named: Vec<_> = named.collect();
        if named.is_empty() {
            return Err(OidcError::KeyUnknown);
        }
        let fitting: Vec<_> = named.into_iter().filter(fits).collect();
        if fitting.is_empty() {
            return Err(not_accepted(&self.accepted));
        }
        Ok(fitting)
    }
}

/// Why a document is no set of keys.
#[derive(Debug, thiserror::Error)]
pub(super) enum ParseKeysError {
    #[error("it is no JSON Web Key Set")]
    Malformed(#[from] serde_json::Error),
    #[error("it has {0} keys, and more than {MAX_KEYS} are not read")]
    TooMany(usize),
}

/// A JSON Web Key (RFC 7517 section 4, RFC 7518 section 6).
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

fn key(jwk: Jwk, accepted: &[SigningAlgorithm]) -> Result<Key, String> {
    if jwk.usage.as_ref().is_some_and(|usage| usage != "sig") {
        return Err("its use is not sig".to_owned());
    }
    if jwk
        .key_ops
        .as_ref()
        .is_some_and(|ops| !ops.iter().any(|op| op == "verify"))
    {
        return Err("its key_ops are without verify".to_owned());
    }
    let (kind, key) = public_key(&jwk)?;
    let fits = |algorithm: &&SigningAlgorithm| {
        algorithm.key_kind() == kind
            && jwk
                .alg
                .as_deref()
                .is_none_or(|alg| alg == algorithm.as_str())
    };
    let algorithms: Vec<_> = accepted.iter().filter(fits).copied().collect();
    if algorithms.is_empty() {
        return Err("it is for no accepted algorithm".to_owned());
    }
    Ok(Key {
        kid: jwk.kid,
        algorithms,
        key,
    })
}

fn public_key(jwk: &Jwk) -> Result<(KeyKind, DecodingKey), String> {
    let (kind, bytes) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) => return Ok((KeyKind::Rsa, rsa_key(jwk)?)),
        ("EC", Some("P-256")) => (KeyKind::P256, 32),
        ("EC", Some("P-384")) => (KeyKind::P384, 48),
        ("OKP", Some("Ed25519")) => {
            let key = coordinate(&jwk.x, 32)?;
            return Ok((KeyKind::Ed25519, DecodingKey::from_ed_der(&key)));
        }
        _ => return Err("it is of no kind that is accepted".to_owned()),
    };
    let (x, y) = (coordinate(&jwk.x, bytes)?, coordinate(&jwk.y, bytes)?);
    // Uncompressed (SEC 1 section 2.3.3), which is what the verification takes.
    let point = [&[4], &x[..], &y[..]].concat();
    Ok((kind, DecodingKey::from_ec_der(&point)))
}

fn coordinate(member: &Option<String>, bytes: usize) -> Result<Vec<u8>, String> {
    let decoded = decode(member)?;
    if decoded.len() != bytes {
        return Err("a coordinate has another length than those of its curve".to_owned());
    }
    Ok(decoded)
}

fn rsa_key(jwk: &Jwk) -> Result<DecodingKey, String> {
    let (modulus, exponent) = (decode(&jwk.n)?, decode(&jwk.e)?);
    let [modulus, exponent] = [&modulus, &exponent].map(|number| significant(number));
    let bits = modulus.len() * 8
        - modulus
            .first()
            .map_or(0, |byte| byte.leading_zeros() as usize);
    if !RSA_BITS.contains(&bits) {
        return Err(format!("it is RSA of {bits} bits"));
    }
    // With 1 a message would be its own signature.
    let is_exponent =
        exponent.len() <= 4 && exponent != [1] && exponent.last().is_some_and(|byte| byte % 2 == 1);
    if !is_exponent {
        return Err("its RSA exponent is none".to_owned());
    }
    Ok(DecodingKey::from_rsa_raw_components(modulus, exponent))
}

fn significant(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

fn decode(member: &Option<String>) -> Result<Vec<u8>, &'static str> {
    let text = member.as_ref().ok_or("it lacks a part")?;
    BASE64URL_NOPAD
        .decode(text.as_bytes())
        .map_err(|_| "a part of it is no base64url")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn number(bytes: &[u8]) -> String {
        BASE64URL_NOPAD.encode(bytes)
    }

    fn rsa(bits: usize) -> Value {
        let mut modulus = vec![0xff; bits.div_ceil(8)];
        modulus[0] >>= modulus.len() * 8 - bits;
        json!({"kty": "RSA", "kid": "k", "n": number(&modulus), "e": "AQAB"})
    }

    fn p256() -> Value {
        json!({"kty": "EC", "crv": "P-256", "x": number(&[1; 32]), "y": number(&[2; 32])})
    }

    fn read(keys: &[Value]) -> KeySet {
        let json = serde_json::to_vec(&json!({"keys": keys, "more": 1})).unwrap();
        KeySet::parse(&json, SigningAlgorithm::ALL).unwrap()
    }

    fn with(mut jwk: Value, member: &str, value: Value) -> Value {
        jwk[member] = value;
        jwk
    }

    #[test]
    fn a_key_is_for_the_accepted_algorithms_of_its_kind_and_alg() {
        let names = |jwk: &Value| {
            let set = read(std::slice::from_ref(jwk));
            let algorithms = set.keys.iter().flat_map(|key| &key.algorithms);
            algorithms
                .map(|known| known.as_str())
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(names(&rsa(2048)), "RS256 RS384 RS512 PS256 PS384 PS512");
        assert_eq!(names(&with(rsa(2048), "alg", json!("PS384"))), "PS384");
        assert_eq!(names(&p256()), "ES256");
        let p384 =
            json!({"kty": "EC", "crv": "P-384", "x": number(&[1; 48]), "y": number(&[2; 48])});
        assert_eq!(names(&p384), "ES384");
        let ed25519 = json!({"kty": "OKP", "crv": "Ed25519", "x": number(&[1; 32])});
        assert_eq!(names(&ed25519), "EdDSA");
        for useless in ["RS1", "HS256", "ES256", "RSA-OAEP", "none"] {
            assert_eq!(
                names(&with(rsa(2048), "alg", json!(useless))),
                "",
                "{useless}"
            );
        }
        let pinned = serde_json::to_vec(&json!({"keys": [rsa(2048), p256()]})).unwrap();
        let pinned = KeySet::parse(&pinned, &[SigningAlgorithm::Es256]).unwrap();
        assert_eq!((pinned.len(), pinned.ignored.len()), (1, 1));
    }

    #[test]
    fn keys_that_are_weak_or_for_something_else_are_left_out_and_others_are_not() {
        for (wrong, why) in [
            (rsa(2047), "2047 bits"),
            (rsa(1024), "1024 bits"),
            (rsa(8193), "8193 bits"),
            (with(rsa(2048), "n", json!("")), "0 bits"),
            (with(rsa(2048), "n", json!("AA")), "0 bits"),
            (with(rsa(2048), "e", json!("AQ")), "exponent"),
            (with(rsa(2048), "e", json!("AAAB")), "exponent"),
            (with(rsa(2048), "e", json!("Ag")), "exponent"),
            (with(rsa(2048), "e", json!("")), "exponent"),
            (with(rsa(2048), "e", json!("AAEAAAAB")), "exponent"),
            (with(rsa(2048), "e", Value::Null), "lacks"),
            (with(rsa(2048), "n", json!("+/==")), "base64url"),
            (with(rsa(2048), "use", json!("enc")), "use"),
            (with(rsa(2048), "key_ops", json!(["encrypt"])), "key_ops"),
            (with(rsa(2048), "kid", json!(7)), "no JSON Web Key"),
            (with(p256(), "x", json!(number(&[1; 31]))), "length"),
            (with(p256(), "y", json!(number(&[1; 33]))), "length"),
            (with(p256(), "crv", json!("secp256k1")), "kind"),
            (with(p256(), "crv", json!("P-521")), "kind"),
            (json!({"kty": "oct", "kid": "k", "k": "c2VjcmV0"}), "kind"),
            (
                json!({"kty": "OKP", "crv": "X25519", "x": number(&[1; 32])}),
                "kind",
            ),
            (json!("key"), "no JSON Web Key"),
            (json!({}), "no JSON Web Key"),
        ] {
            let set = read(&[wrong.clone(), p256()]);
            assert_eq!(set.len(), 1, "{wrong}");
            assert!(set.ignored[0].contains(why), "{wrong}: {:?}", set.ignored);
        }
        let good = with(
            with(rsa(2048), "use", json!("sig")),
            "key_ops",
            json!(["verify"]),
        );
        assert_eq!(read(&[good]).len(), 1);
    }

    #[test]
    fn leading_zeros_make_no_key_longer() {
        let modulus = [vec![0; 128], vec![0xff; 128]].concat();
        let padded = with(rsa(2048), "n", json!(number(&modulus)));
        assert_eq!(read(&[padded]).len(), 0);
        let modulus = [vec![0], vec![0xff; 256]].concat();
        let padded = with(rsa(2048), "n", json!(number(&modulus)));
        assert_eq!(read(&[padded]).len(), 1);
    }

    #[test]
    fn what_is_no_key_set_is_an_error() {
        let parse = |json: &str| KeySet::parse(json.as_bytes(), SigningAlgorithm::ALL);
        for wrong in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"keys": {}}"#,
            r#"{"keys": []"#,
            "<html>",
        ] {
            let refused = parse(wrong).map(|set| set.len()).unwrap_err();
            assert!(matches!(refused, ParseKeysError::Malformed(_)), "{wrong}");
        }
        assert_eq!(parse(r#"{"keys": []}"#).unwrap().len(), 0);
        let many = |count| serde_json::to_string(&json!({"keys": vec![p256(); count]})).unwrap();
        assert_eq!(parse(&many(MAX_KEYS)).unwrap().len(), MAX_KEYS);
        assert!(matches!(
            parse(&many(MAX_KEYS + 1)),
            Err(ParseKeysError::TooMany(101))
        ));
    }
}
