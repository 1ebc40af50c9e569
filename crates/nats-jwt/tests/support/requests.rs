use leafgate_nats_jwt::{RequestClaims, UnverifiedRequest};
use serde::{Deserialize, Serialize};

use super::{lasting_claims_of, signing_key};

#[derive(Clone, Serialize, Deserialize)]
pub struct RequestVector {
    pub name: String,
    pub server_seed: String,
    pub token: String,
}

fn request_claims(token: &str) -> RequestClaims {
    let request = UnverifiedRequest::decode(token.as_bytes())
        .unwrap()
        .verify()
        .unwrap();
    RequestClaims {
        subject: request.subject,
        issued_at_secs: request.issued_at_secs,
        expires_at_secs: request.expires_at_secs,
        user_nkey: request.user_nkey,
        server: request.server,
        client: request.client,
        connect: request.connect,
        tls: request.tls,
    }
}

pub fn encode(vector: &RequestVector) -> String {
    request_claims(&vector.token)
        .encode(&signing_key(&vector.server_seed))
        .unwrap()
}

/// A request keeps, through reading and encoding, all that is not secret or of no use here.
pub fn check(vector: &RequestVector) {
    let claims = request_claims(&vector.token);
    assert!(!format!("{claims:?}").contains("s3cret"), "{}", vector.name);

    let encoded = encode(vector);
    let mut expected = lasting_claims_of(&vector.token);
    let mut dropped = |part: &str, claims: &[&str]| {
        let part = expected["nats"]
            .pointer_mut(part)
            .unwrap()
            .as_object_mut()
            .unwrap();
        claims
            .iter()
            .filter(|claim| part.remove(**claim).is_some())
            .count()
    };
    let credentials = ["jwt", "nkey", "sig", "auth_token", "user", "pass"];
    let sent = dropped("/connect_opts", &credentials);
    dropped("/client_info", &["nonce", "tags", "name_tag"]);
    dropped("", &["request_nonce"]);
    assert_eq!(lasting_claims_of(&encoded), expected, "{}", vector.name);

    let connect = &claims.connect;
    let noticed = [
        connect.has_jwt,
        connect.has_nkey,
        connect.has_signature,
        connect.has_token,
        connect.has_user,
        connect.has_password,
    ];
    assert_eq!(
        noticed.iter().filter(|noticed| **noticed).count(),
        sent,
        "{}",
        vector.name
    );
}
