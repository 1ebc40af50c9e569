use std::sync::Arc;

use bytes::Bytes;
use nkeys::XKey;
use serde_json::{Value, json};

use super::*;

const NOW_SECS: i64 = 1_800_000_000;

struct World {
    issuer: KeyPair,
    server: MadeUpServer,
    request: Request,
}

fn world(expected: Expected) -> World {
    let issuer = KeyPair::new_account();
    World {
        server: MadeUpServer::new(issuer.public_key(), XKey::new()),
        issuer,
        request: Request {
            device: Arc::from("0001"),
            user_nkey: KeyPair::new_user().public_key(),
            expected,
            headers: None,
            payload: Bytes::new(),
        },
    }
}

impl World {
    fn user(&self) -> Value {
        json!({
            "iss": self.issuer.public_key(), "sub": self.request.user_nkey, "aud": "DEVICES",
            "name": "0001", "iat": NOW_SECS, "exp": NOW_SECS + 12 * 3600,
            "nats": {
                "type": "user", "version": 2,
                "pub": { "allow": ["device.0001.metrics.>", "device.0001.status", "device.0001.renew"] },
                "sub": { "allow": ["device.0001.cmd", "device.0001.cmd.>", "_INBOX.0001.>"] },
                "resp": { "max": 1, "ttl": 60_000_000_000_i64 },
                "subs": 100, "payload": 65_536, "allowed_connection_types": ["STANDARD"],
            },
        })
    }

    fn response(&self, nats: &Value) -> Value {
        let mut nats = nats.clone();
        nats["type"] = "authorization_response".into();
        nats["version"] = 2.into();
        json!({
            "iss": self.issuer.public_key(), "sub": self.request.user_nkey,
            "aud": self.server.id, "nats": nats,
        })
    }

    fn grant(&self, user: &Value) -> String {
        let user = token(user, &self.issuer);
        token(&self.response(&json!({ "jwt": user })), &self.issuer)
    }

    fn refusal(&self) -> String {
        token(
            &self.response(&json!({ "error": "device-unknown" })),
            &self.issuer,
        )
    }

    fn check(self, answer: Option<String>) -> Tally {
        let check = AnswerCheck {
            server: &self.server,
            sealed: false,
            asked_at: UnixMs::from_secs(NOW_SECS),
        };
        check
            .check_all(&[self.request], &[answer.map(Bytes::from)])
            .unwrap()
    }
}

fn token(claims: &Value, key: &KeyPair) -> String {
    let header = BASE64URL_NOPAD.encode(br#"{"typ":"JWT","alg":"ed25519-nkey"}"#);
    let signed = format!(
        "{header}.{}",
        BASE64URL_NOPAD.encode(claims.to_string().as_bytes())
    );
    let signature = key.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))
}

#[test]
fn what_is_expected_is_counted() {
    let granted = world(Expected::Grant);
    let answer = granted.grant(&granted.user());
    assert_eq!(granted.check(Some(answer)).granted, 1);

    let refused = world(Expected::Refusal);
    let answer = refused.refusal();
    assert_eq!(refused.check(Some(answer)).refused, 1);

    assert_eq!(world(Expected::Silence).check(None).silent, 1);
}

#[test]
fn another_outcome_is_wrong() {
    let outcomes = |expected| {
        let [granted, refused] = [world(expected), world(expected)];
        let (grant, refusal) = (granted.grant(&granted.user()), refused.refusal());
        [
            granted.check(Some(grant)).wrong,
            refused.check(Some(refusal)).wrong,
            world(expected).check(None).wrong,
        ]
    };
    assert_eq!(outcomes(Expected::Grant), [0, 1, 1]);
    assert_eq!(outcomes(Expected::Refusal), [1, 0, 1]);
    assert_eq!(outcomes(Expected::Silence), [1, 1, 0]);
}

#[test]
fn any_other_grant_is_wrong() {
    let changes: [(&str, Value); 13] = [
        ("/name", "0002".into()),
        ("/name", Value::Null),
        ("/aud", "SYS".into()),
        ("/sub", KeyPair::new_user().public_key().into()),
        ("/iss", KeyPair::new_account().public_key().into()),
        ("/exp", (NOW_SECS + 24 * 3600).into()),
        ("/exp", (NOW_SECS + 3600).into()),
        (
            "/nats/pub/allow",
            json!([
                "device.0001.metrics.>",
                "device.0001.status",
                "device.0001.renew",
                ">"
            ]),
        ),
        (
            "/nats/pub/allow",
            json!([
                "device.0001.metrics.>",
                "device.0002.status",
                "device.0001.renew"
            ]),
        ),
        ("/nats/sub/allow", json!([])),
        ("/nats/resp", Value::Null),
        ("/nats/subs", (-1).into()),
        (
            "/nats/allowed_connection_types",
            json!(["STANDARD", "MQTT"]),
        ),
    ];
    for (place, value) in changes {
        let world = world(Expected::Grant);
        let mut user = world.user();
        *user.pointer_mut(place).unwrap() = value.clone();
        let answer = world.grant(&user);
        let tally = world.check(Some(answer));
        assert_eq!((tally.granted, tally.wrong), (0, 1), "{place} {value}");
    }
}

#[test]
fn a_response_to_somebody_else_is_wrong() {
    for (field, value) in [
        ("sub", KeyPair::new_user().public_key()),
        ("aud", KeyPair::new_server().public_key()),
        ("iss", KeyPair::new_account().public_key()),
    ] {
        let world = world(Expected::Refusal);
        let mut response = world.response(&json!({ "error": "device-unknown" }));
        response[field] = value.into();
        let answer = token(&response, &world.issuer);
        assert_eq!(world.check(Some(answer)).wrong, 1, "{field}");
    }
}

#[test]
fn a_forged_signature_is_wrong() {
    let world = world(Expected::Grant);
    let user = token(&world.user(), &KeyPair::new_account());
    let answer = token(&world.response(&json!({ "jwt": user })), &world.issuer);
    let tally = world.check(Some(answer));
    assert_eq!(tally.wrong, 1);
    assert!(
        tally.complaints[0].contains("forged"),
        "{:?}",
        tally.complaints
    );
}
