//! The vectors that `vectors/go` writes and reads, and what must be true of them.

use std::path::Path;
use std::time::Duration;

use data_encoding::{BASE64, BASE64URL_NOPAD};
use leafgate_nats_jwt::{
    AccountKey, CurveKey, Limits, Permissions, RequestClaims, ResponseClaims, ResponsePermission,
    ServerKey, SigningKey, SubjectRules, UnverifiedRequest, UserClaims, UserKey, VerifiedResponse,
    VerifiedUser,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Clone, Serialize, Deserialize)]
pub struct RequestVector {
    pub name: String,
    pub server_seed: String,
    pub token: String,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct UserVector {
    pub name: String,
    pub issuer_seed: String,
    pub spec: UserSpec,
    pub token: String,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct UserSpec {
    pub subject: String,
    pub name: String,
    pub audience: String,
    pub expires: i64,
    pub pub_allow: Option<Vec<String>>,
    pub pub_deny: Option<Vec<String>>,
    pub sub_allow: Option<Vec<String>>,
    pub sub_deny: Option<Vec<String>>,
    pub resp: Option<RespSpec>,
    pub connection_types: Option<Vec<String>>,
    pub networks: Option<Vec<String>>,
    pub subs: Option<i64>,
    pub data: Option<i64>,
    pub payload: Option<i64>,
    pub issuer_account: String,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct RespSpec {
    pub max: i32,
    pub nanos: u64,
}

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

#[derive(Clone, Serialize, Deserialize)]
pub struct BoxVector {
    pub name: String,
    pub sender_seed: String,
    pub recipient_seed: String,
    pub plain: String,
    pub sealed_base64: String,
}

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
            vector.token = encode_request(vector);
        }
        for vector in &mut vectors.users {
            vector.token = encode_user(vector, issued_at(&vector.token));
        }
        for vector in &mut vectors.responses {
            vector.token = encode_response(vector, issued_at(&vector.token));
        }
        for vector in &mut vectors.boxes {
            vector.sealed_base64 = BASE64.encode(&seal(vector));
        }
        vectors
    }

    /// Everything is read as it was meant, and encoded to the same claims.
    pub fn check(&self) {
        self.requests.iter().for_each(check_request);
        self.users.iter().for_each(check_user);
        self.responses.iter().for_each(check_response);
        self.boxes.iter().for_each(check_box);
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

fn curve_key(seed: &str) -> CurveKey {
    CurveKey::from_seed(&seed.into()).unwrap()
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

fn encode_request(vector: &RequestVector) -> String {
    request_claims(&vector.token)
        .encode(&signing_key(&vector.server_seed))
        .unwrap()
}

/// A request keeps, through reading and encoding, all that is not secret or of no use here.
fn check_request(vector: &RequestVector) {
    let claims = request_claims(&vector.token);
    assert!(!format!("{claims:?}").contains("s3cret"), "{}", vector.name);

    let encoded = encode_request(vector);
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

fn encode_user(vector: &UserVector, issued_at_secs: i64) -> String {
    let spec = &vector.spec;
    let subject = UserKey::parse(&spec.subject).unwrap();
    let issuer_account = parse_account(&spec.issuer_account);
    let types: Vec<_> = spec
        .connection_types
        .iter()
        .flatten()
        .map(String::as_str)
        .collect();
    UserClaims {
        subject: &subject,
        name: &spec.name,
        audience: &spec.audience,
        issued_at_secs,
        expires_at_secs: (spec.expires != 0).then_some(spec.expires),
        permissions: Permissions {
            publish: rules(&spec.pub_allow, &spec.pub_deny),
            subscribe: rules(&spec.sub_allow, &spec.sub_deny),
            responses: response_permission(spec.resp),
        },
        allowed_connection_types: &types,
        source_networks: spec.networks.as_deref().unwrap_or_default(),
        limits: limits(spec),
        issuer_account: issuer_account.as_ref(),
    }
    .encode(&signing_key(&vector.issuer_seed))
    .unwrap()
}

fn rules<'a>(allow: &'a Option<Vec<String>>, deny: &'a Option<Vec<String>>) -> SubjectRules<'a> {
    SubjectRules {
        allow: allow.as_deref().unwrap_or_default(),
        deny: deny.as_deref().unwrap_or_default(),
    }
}

fn response_permission(spec: Option<RespSpec>) -> Option<ResponsePermission> {
    spec.map(|spec| ResponsePermission {
        max: spec.max,
        ttl: Duration::from_nanos(spec.nanos),
    })
}

fn limits(spec: &UserSpec) -> Limits {
    Limits {
        subscriptions: spec.subs,
        data_bytes: spec.data,
        payload_bytes: spec.payload,
    }
}

fn parse_account(text: &str) -> Option<AccountKey> {
    (!text.is_empty()).then(|| AccountKey::parse(text).unwrap())
}

fn check_user(vector: &UserVector) {
    // At the same time, even the ids are equal: they hash the same bytes.
    let encoded = encode_user(vector, issued_at(&vector.token));
    assert_eq!(
        claims_of(&encoded),
        claims_of(&vector.token),
        "{}",
        vector.name
    );

    let UserVector {
        spec,
        issuer_seed,
        token,
        ..
    } = vector;
    let user = VerifiedUser::decode(token.as_bytes()).unwrap();
    assert_eq!(
        user.issuer.as_str(),
        signing_key(issuer_seed).public().as_str()
    );
    assert_eq!(user.subject.as_str(), spec.subject);
    assert_eq!((&user.name, &user.audience), (&spec.name, &spec.audience));
    assert_eq!(user.expires_at_secs.unwrap_or_default(), spec.expires);
    assert_eq!(
        user.publish_allow,
        spec.pub_allow.clone().unwrap_or_default()
    );
    assert_eq!(user.publish_deny, spec.pub_deny.clone().unwrap_or_default());
    assert_eq!(
        user.subscribe_allow,
        spec.sub_allow.clone().unwrap_or_default()
    );
    assert_eq!(
        user.subscribe_deny,
        spec.sub_deny.clone().unwrap_or_default()
    );
    assert_eq!(user.responses, response_permission(spec.resp));
    assert_eq!(
        user.allowed_connection_types,
        spec.connection_types.clone().unwrap_or_default()
    );
    assert_eq!(
        user.source_networks,
        spec.networks.clone().unwrap_or_default()
    );
    assert_eq!(user.limits, limits(spec));
    assert_eq!(user.issuer_account, parse_account(&spec.issuer_account));
    assert_eq!(user.other_claims, [""; 0]);
}

fn outcome(spec: &ResponseSpec) -> Result<&str, &str> {
    if spec.error.is_empty() {
        Ok(&spec.jwt)
    } else {
        Err(&spec.error)
    }
}

fn encode_response(vector: &ResponseVector, issued_at_secs: i64) -> String {
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

fn check_response(vector: &ResponseVector) {
    let encoded = encode_response(vector, issued_at(&vector.token));
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

fn seal(vector: &BoxVector) -> Vec<u8> {
    let recipient = curve_key(&vector.recipient_seed);
    let sealed = BASE64.decode(vector.sealed_base64.as_bytes()).unwrap();
    let nonce = sealed[4..28].try_into().unwrap();
    curve_key(&vector.sender_seed)
        .shared(recipient.public())
        .unwrap()
        .seal(vector.plain.as_bytes(), nonce)
}

fn check_box(vector: &BoxVector) {
    let sender = curve_key(&vector.sender_seed);
    let sealed = BASE64.decode(vector.sealed_base64.as_bytes()).unwrap();
    let shared = curve_key(&vector.recipient_seed)
        .shared(sender.public())
        .unwrap();
    assert_eq!(
        shared.open(&sealed).unwrap(),
        vector.plain.as_bytes(),
        "{}",
        vector.name
    );
    assert_eq!(seal(vector), sealed, "{}", vector.name);
}
