use std::time::Duration;

use leafgate_nats_jwt::{
    Limits, Permissions, ResponsePermission, SubjectRules, UserClaims, UserKey, VerifiedUser,
};
use serde::{Deserialize, Serialize};

use super::{claims_of, issued_at, parse_account, signing_key};

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

pub fn encode(vector: &UserVector, issued_at_secs: i64) -> String {
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

pub fn check(vector: &UserVector) {
    // At the same time, even the ids are equal: they hash the same bytes.
    let encoded = encode(vector, issued_at(&vector.token));
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
