use super::*;
use crate::key::{KeyKind, PublicKey};
use crate::signing::SigningKey;
use crate::token::EncodeClaimsError;
use crate::token::tests::TestRng;
use crate::{Permissions, ResponseClaims, SubjectRules, UserClaims};
use std::time::Duration;

fn account() -> SigningKey {
    SigningKey::generate(KeyKind::Account, &mut TestRng::new(1))
}

fn user() -> UserKey {
    UserKey::try_from(PublicKey::from_raw(KeyKind::User, [2; 32])).unwrap()
}

fn server() -> ServerKey {
    ServerKey::try_from(PublicKey::from_raw(KeyKind::Server, [3; 32])).unwrap()
}

fn response<'a>(
    subject: &'a UserKey,
    audience: &'a ServerKey,
    outcome: Result<&'a str, &'a str>,
) -> ResponseClaims<'a> {
    ResponseClaims {
        subject,
        audience,
        issued_at_secs: 7,
        outcome,
        issuer_account: None,
    }
}

#[test]
fn responses_come_back_as_sent() {
    let (user, server) = (user(), server());
    for outcome in [Ok("eyJ.user.jwt"), Err("device \"x\" is <revoked>\n")] {
        let token = response(&user, &server, outcome)
            .encode(&account())
            .unwrap();
        let read = VerifiedResponse::decode(token.as_bytes()).unwrap();
        assert_eq!(
            read.outcome.as_deref().map_err(|error| error.as_str()),
            outcome
        );
        assert_eq!(
            (read.subject, read.audience, read.issued_at_secs),
            (user, server, 7)
        );
        assert_eq!(PublicKey::from(read.issuer), *account().public());
        assert_eq!(read.issuer_account, None);
    }
}

#[test]
fn a_response_says_something() {
    for outcome in [Ok(""), Err("")] {
        assert_eq!(
            response(&user(), &server(), outcome).encode(&account()),
            Err(EncodeClaimsError::EmptyOutcome)
        );
    }
}

#[test]
fn answers_are_signed_by_accounts_alone() {
    let user_key = SigningKey::generate(KeyKind::User, &mut TestRng::new(1));
    let refused = Err(EncodeClaimsError::Issuer {
        expected: KeyKind::Account,
        found: KeyKind::User,
    });
    assert_eq!(
        response(&user(), &server(), Ok("jwt")).encode(&user_key),
        refused
    );
    assert_eq!(claims(&user(), &[]).encode(&user_key), refused);
}

fn claims<'a>(subject: &'a UserKey, allow: &'a [String]) -> UserClaims<'a> {
    UserClaims {
        subject,
        name: "pump-7",
        audience: "DEVICES",
        issued_at_secs: 7,
        expires_at_secs: Some(99),
        permissions: Permissions {
            publish: SubjectRules { allow, deny: &[] },
            subscribe: SubjectRules {
                allow: &[],
                deny: allow,
            },
            responses: Some(crate::ResponsePermission {
                max: 1,
                ttl: Duration::from_secs(5),
            }),
        },
        allowed_connection_types: &["STANDARD", "MQTT"],
        source_networks: &[],
        limits: Limits {
            subscriptions: Some(0),
            data_bytes: None,
            payload_bytes: Some(65_536),
        },
        issuer_account: None,
    }
}

#[test]
fn users_come_back_as_sent() {
    let allow = ["device.pump-7.metrics.>".to_owned()];
    let token = claims(&user(), &allow).encode(&account()).unwrap();
    let read = VerifiedUser::decode(token.as_bytes()).unwrap();
    assert_eq!(
        read,
        VerifiedUser {
            issuer: AccountKey::try_from(*account().public()).unwrap(),
            subject: user(),
            name: "pump-7".to_owned(),
            audience: "DEVICES".to_owned(),
            issued_at_secs: 7,
            expires_at_secs: Some(99),
            publish_allow: allow.to_vec(),
            publish_deny: Vec::new(),
            subscribe_allow: Vec::new(),
            subscribe_deny: allow.to_vec(),
            responses: Some(ResponsePermission {
                max: 1,
                ttl: Duration::from_secs(5)
            }),
            allowed_connection_types: vec!["STANDARD".to_owned(), "MQTT".to_owned()],
            source_networks: Vec::new(),
            limits: Limits {
                subscriptions: Some(0),
                data_bytes: None,
                payload_bytes: Some(65_536)
            },
            issuer_account: None,
            other_claims: Vec::new(),
        }
    );
}

/// nats-io/jwt takes an `exp` of 0 or less for "never".
#[test]
fn a_user_that_expired_in_1970_is_not_one_that_never_expires() {
    let user = user();
    for expires_at_secs in [0, -1, i64::MIN] {
        let claims = UserClaims {
            expires_at_secs: Some(expires_at_secs),
            ..claims(&user, &[])
        };
        let token = claims.encode(&account()).unwrap();
        let read = VerifiedUser::decode(token.as_bytes()).unwrap();
        assert_eq!(read.expires_at_secs, Some(1), "{expires_at_secs}");
    }
    let json = format!(
        r#"{{"iss":"{}","sub":"{user}","exp":-1,"nats":{{"type":"user","version":2}}}}"#,
        account().public()
    );
    let token = token::sign_claims(json.as_bytes(), &account());
    let read = VerifiedUser::decode(token.as_bytes()).unwrap();
    assert_eq!(read.expires_at_secs, None);
}

#[test]
fn one_kind_of_claims_is_not_taken_for_another() {
    let user_token = claims(&user(), &[]).encode(&account()).unwrap();
    assert!(matches!(
        VerifiedResponse::decode(user_token.as_bytes()),
        Err(DecodeResponseError::Type {
            expected: "authorization_response",
            version: 2,
            ..
        })
    ));
}

#[test]
fn a_signature_by_another_account_is_refused() {
    let token = response(&user(), &server(), Ok("jwt"))
        .encode(&account())
        .unwrap();
    let other = SigningKey::generate(KeyKind::Account, &mut TestRng::new(5));
    let (signed, _) = token.rsplit_once('.').unwrap();
    let signature = data_encoding::BASE64URL_NOPAD.encode(&other.sign(signed.as_bytes()));
    assert!(matches!(
        VerifiedResponse::decode(format!("{signed}.{signature}").as_bytes()),
        Err(DecodeResponseError::Signature { .. })
    ));
}

#[test]
fn a_response_with_two_outcomes_or_none_is_refused() {
    let key = account();
    for nats in [
        r#""type":"authorization_response","version":2"#,
        r#""jwt":"a","error":"b","type":"authorization_response","version":2"#,
    ] {
        let json = format!(
            r#"{{"iss":"{}","sub":"{}","aud":"{}","nats":{{{nats}}}}}"#,
            key.public(),
            user(),
            server()
        );
        let token = token::sign_claims(json.as_bytes(), &key);
        let error = VerifiedResponse::decode(token.as_bytes()).unwrap_err();
        assert_eq!(error, DecodeResponseError::Outcome);
    }
}

#[test]
fn claims_that_are_not_read_are_named() {
    let key = account();
    let json = format!(
        r#"{{"iss":"{}","sub":"{}","nats":{{"times":[],"type":"user","version":2}}}}"#,
        key.public(),
        user()
    );
    let token = token::sign_claims(json.as_bytes(), &key);
    assert_eq!(
        VerifiedUser::decode(token.as_bytes()).unwrap().other_claims,
        ["times"]
    );
}
