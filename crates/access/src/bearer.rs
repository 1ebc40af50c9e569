use aws_lc_rs::{constant_time, digest, rand};
use data_encoding::{BASE32_NOPAD, HEXLOWER, Specification};
use secrecy::{ExposeSecret, SecretString};

const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;

/// Makes the pair of types for something that its bearer shows as `<prefix>_<id>_<secret>`: the id, which is public,
/// and the whole text, whose secret part never shows. What is recorded of the secret is [`hash`].
macro_rules! bearer_text {
    ($(#[$id_doc:meta])* $id:ident, $(#[$text_doc:meta])* $text:ident, $error:ident, $prefix:literal, $noun:literal) => {
        $(#[$id_doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
        #[serde(transparent)]
        pub struct $id(String);

        impl $id {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $id {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(&self.0)
            }
        }

        impl std::str::FromStr for $id {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let valid = $crate::bearer::is_id(text);
                valid.then(|| Self(text.to_owned())).ok_or($error)
            }
        }

        impl<'de> serde::Deserialize<'de> for $id {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        $(#[$text_doc])*
        #[derive(Debug, Clone)]
        pub struct $text {
            /// The public part.
            pub id: $id,
            secret: secrecy::SecretString,
        }

        impl $text {
            const PREFIX: &str = $prefix;

            fn generate() -> Self {
                let (id, secret) = $crate::bearer::generate();
                Self { id: $id(id), secret }
            }

            /// Reads the text.
            ///
            /// # Errors
            #[doc = concat!("[`", stringify!($error), "`], which does not repeat the text.")]
            pub fn parse(text: &str) -> Result<Self, $error> {
                let (id, secret) = $crate::bearer::parse(Self::PREFIX, text).ok_or($error)?;
                Ok(Self { id: $id(id), secret })
            }

            /// The whole text, to be handed to its bearer once.
            pub fn expose(&self) -> secrecy::SecretString {
                let secret = secrecy::ExposeSecret::expose_secret(&self.secret);
                format!("{}_{}_{secret}", Self::PREFIX, self.id).into()
            }
        }

        #[doc = concat!("A text that is no ", $noun, ".")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
        #[error("this is no {}: one reads {}_<id>_<secret>, in lower case", $noun, $prefix)]
        pub struct $error;
    };
}

pub(crate) use bearer_text;

/// A new id and a new secret.
pub(crate) fn generate() -> (String, SecretString) {
    (
        encode(&random::<ID_BYTES>()),
        encode(&random::<SECRET_BYTES>()).into(),
    )
}

/// The id and the secret of a text with this prefix.
pub(crate) fn parse(prefix: &str, text: &str) -> Option<(String, SecretString)> {
    let mut parts = text.split('_');
    let (Some(found), Some(id), Some(secret), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let valid = found == prefix && is_id(id) && is_encoded::<SECRET_BYTES>(secret);
    valid.then(|| (id.to_owned(), secret.into()))
}

pub(crate) fn is_id(text: &str) -> bool {
    is_encoded::<ID_BYTES>(text)
}

/// The SHA-256 of a secret in lower-case hex: of 256 random bits, so that nothing slower is needed.
pub(crate) fn hash(secret: &SecretString) -> String {
    HEXLOWER.encode(digest::digest(&digest::SHA256, secret.expose_secret().as_bytes()).as_ref())
}

/// Whether this is the hash of the secret, in constant time.
pub(crate) fn matches(secret: &SecretString, recorded: &str) -> bool {
    let presented = hash(secret);
    constant_time::verify_slices_are_equal(presented.as_bytes(), recorded.as_bytes()).is_ok()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the secret parts are random by definition"
)]
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("aws-lc aborts rather than give no randomness");
    bytes
}

/// Base32 (RFC 4648 section 6) in lower case: no character of it needs quoting anywhere.
fn encode(bytes: &[u8]) -> String {
    BASE32_NOPAD.encode(bytes).to_ascii_lowercase()
}

fn is_encoded<const N: usize>(text: &str) -> bool {
    let mut specification = Specification::new();
    specification
        .symbols
        .push_str("abcdefghijklmnopqrstuvwxyz234567");
    let decoded = specification
        .encoding()
        .ok()
        .and_then(|encoding| encoding.decode(text.as_bytes()).ok());
    decoded.is_some_and(|bytes| bytes.len() == N)
}
