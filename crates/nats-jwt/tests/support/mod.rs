//! The vectors that `vectors/go` writes and reads, and what must be true of them.

pub mod boxes;
pub mod requests;
pub mod responses;
pub mod users;

use std::path::Path;

use data_encoding::{BASE64, BASE64URL_NOPAD};
use leafgate_nats_jwt::{AccountKey, SigningKey};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use boxes::BoxVector;
use requests::RequestVector;
use responses::ResponseVector;
use users::UserVector;

#[derive(Serialize)]
pub struct Vectors {
    pub requests: Vec<RequestVector>,
    pub users: Vec<UserVector>,
    pub responses: Vec<ResponseVector>,
    pub boxes: Vec<BoxVector>,
}

impl Vectors {
    pub fn load(dir: &Path) -> Self {
        fn read<T: for<'a> Deserialize<'a>>(path: &Path) -> Vec<T> {
            let text = std::fs::read(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
            let vectors: Vec<T> = serde_json::from_slice(&text).unwrap();
            assert!(!vectors.is_empty(), "{path:?}");
            vectors
        }
        Self {
            requests: read(&dir.join("requests.json")),
            users: read(&dir.join("users.json")),
            responses: read(&dir.join("responses.json")),
            boxes: read(&dir.join("boxes.json")),
        }
    }

    pub fn committed() -> Self {
        Self::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors"))
    }

    /// The same things, encoded here instead of by Go. Nonces are those of the Go boxes.
    pub fn encoded_here(&self) -> Self {
        let mut vectors = Self {
            requests: self.requests.clone(),
            users: self.users.clone(),
            responses: self.responses.clone(),
            boxes: self.boxes.clone(),
        };
        for vector in &mut vectors.requests {
            vector.token = requests::encode(vector);
        }
        for vector in &mut vectors.users {
            vector.token = users::encode(vector, issued_at(&vector.token));
        }
        for vector in &mut vectors.responses {
            vector.token = responses::encode(vector, issued_at(&vector.token));
        }
        for vector in &mut vectors.boxes {
            vector.sealed_base64 = BASE64.encode(&boxes::seal(vector));
        }
        vectors
    }

    /// Everything is read as it was meant, and encoded to the same claims.
    pub fn check(&self) {
        self.requests.iter().for_each(requests::check);
        self.users.iter().for_each(users::check);
        self.responses.iter().for_each(responses::check);
        self.boxes.iter().for_each(boxes::check);
    }
}

pub fn claims_of(token: &str) -> Value {
    let claims = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&BASE64URL_NOPAD.decode(claims.as_bytes()).unwrap()).unwrap()
}

/// The claims but for those that differ from one encoding to the next.
pub fn lasting_claims_of(token: &str) -> Value {
    let mut claims = claims_of(token);
    for claim in ["jti", "iat"] {
        assert!(
            claims.as_object_mut().unwrap().remove(claim).is_some(),
            "{claim}"
        );
    }
    claims
}

fn issued_at(token: &str) -> i64 {
    claims_of(token)["iat"].as_i64().unwrap()
}

fn signing_key(seed: &str) -> SigningKey {
    SigningKey::from_seed(&seed.into()).unwrap()
}

fn parse_account(text: &str) -> Option<AccountKey> {
    (!text.is_empty()).then(|| AccountKey::parse(text).unwrap())
}
