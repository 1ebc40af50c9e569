use leafgate_nats_jwt::{ResponseClaims, ServerKey, UserKey, VerifiedResponse};
use serde::{Deserialize, Serialize};

use super::{claims_of, issued_at, parse_account, signing_key};

#[derive(Clone, Serialize, Deserialize)]
pub struct ResponseVector {
    pub name: String,
    pub issuer_seed: String,
    pub spec: ResponseSpec,
    pub token: String,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct ResponseSpec {
    pub subject: String,
    pub audience: String,
    pub jwt: String,
    pub error: String,
    pub issuer_account: String,
}

fn outcome(spec: &ResponseSpec) -> Result<&str, &str> {
    if spec.error.is_empty() {
        Ok(&spec.jwt)
    } else {
        Err(&spec.error)
    }
}

pub fn encode(vector: &ResponseVector, issued_at_secs: i64) -> String {
    let spec = &vector.spec;
    ResponseClaims {
        subject: &UserKey::parse(&spec.subject).unwrap(),
        audience: &ServerKey::parse(&spec.audience).unwrap(),
        issued_at_secs,
        outcome: outcome(spec),
        issuer_account: parse_account(&spec.issuer_account).as_ref(),
    }
    .encode(&signing_key(&vector.issuer_seed))
    .unwrap()
}

pub fn check(vector: &ResponseVector) {
    let encoded = encode(vector, issued_at(&vector.token));
    assert_eq!(
        claims_of(&encoded),
        claims_of(&vector.token),
        "{}",
        vector.name
    );

    let ResponseVector {
        spec,
        issuer_seed,
        token,
        ..
    } = vector;
    let response = VerifiedResponse::decode(token.as_bytes()).unwrap();
    assert_eq!(
        response.issuer.as_str(),
        signing_key(issuer_seed).public().as_str()
    );
    assert_eq!(response.subject.as_str(), spec.subject);
    assert_eq!(response.audience.as_str(), spec.audience);
    assert_eq!(
        response.outcome.as_deref().map_err(String::as_str),
        outcome(spec)
    );
    assert_eq!(response.issuer_account, parse_account(&spec.issuer_account));
}
