use super::*;
use crate::key::{KeyKind, PublicKey, UserKey};
use crate::request::{ClientInfo, ConnectOptions, ServerInfo};
use crate::{CurveKey, CurvePublicKey, token::tests::TestRng};

const NOW: i64 = 1_000_000;
const LEEWAY: u32 = 60;

fn server_key(seed: u8) -> ServerKey {
    ServerKey::try_from(PublicKey::from_raw(KeyKind::Server, [seed; 32])).unwrap()
}

fn curve_key(seed: u64) -> CurvePublicKey {
    *CurveKey::generate(&mut TestRng::new(seed)).public()
}

fn request() -> AuthorizationRequest {
    AuthorizationRequest {
        issuer: server_key(1),
        subject: "ISSUER".to_owned(),
        audience: REQUEST_AUDIENCE.to_owned(),
        issued_at_secs: NOW,
        expires_at_secs: NOW + 2,
        not_before_secs: 0,
        user_nkey: UserKey::try_from(PublicKey::from_raw(KeyKind::User, [2; 32])).unwrap(),
        server: ServerInfo {
            name: "leaf-1".to_owned(),
            host: "0.0.0.0".to_owned(),
            id: server_key(1),
            version: String::new(),
            cluster: String::new(),
            tags: Vec::new(),
            xkey: None,
        },
        client: ClientInfo::default(),
        connect: ConnectOptions::default(),
        tls: None,
        claims_type: REQUEST_TYPE.to_owned(),
        claims_version: 2,
        box_peer: None,
    }
}

fn checked(change: impl FnOnce(&mut AuthorizationRequest)) -> Result<(), CheckRequestError> {
    let mut request = request();
    change(&mut request);
    request.check(
        NOW,
        &Expected {
            subject: Some("ISSUER"),
        },
        LEEWAY,
    )
}

#[test]
fn a_usual_request_passes() {
    assert_eq!(checked(|_| ()), Ok(()));
    assert_eq!(request().check(NOW, &Expected::default(), 0), Ok(()));
}

#[test]
fn other_claims_than_a_request_are_refused() {
    assert_eq!(
        checked(|request| request.claims_type = "user".to_owned()),
        Err(CheckRequestError::Type {
            found: Excerpt::of("user")
        })
    );
    for found in [0, 1, 3] {
        assert_eq!(
            checked(|request| request.claims_version = found),
            Err(CheckRequestError::Version { found })
        );
    }
}

#[test]
fn requests_for_others_are_refused() {
    assert_eq!(
        checked(|request| request.audience = "other".to_owned()),
        Err(CheckRequestError::Audience {
            found: Excerpt::of("other")
        })
    );
    assert_eq!(
        checked(|request| request.subject = "OTHER".to_owned()),
        Err(CheckRequestError::Subject {
            expected: Excerpt::of("ISSUER"),
            found: Excerpt::of("OTHER"),
        })
    );
    let mut request = request();
    request.subject = "OTHER".to_owned();
    assert_eq!(request.check(NOW, &Expected::default(), LEEWAY), Ok(()));
}

#[test]
fn a_server_speaks_for_itself_alone() {
    assert_eq!(
        checked(|request| request.server.id = server_key(9)),
        Err(CheckRequestError::Server {
            issuer: server_key(1)
        })
    );
}

#[test]
fn the_key_of_the_box_is_the_signed_one() {
    assert_eq!(
        checked(|request| {
            request.box_peer = Some(curve_key(1));
            request.server.xkey = Some(curve_key(1));
        }),
        Ok(())
    );
    for signed in [None, Some(curve_key(2))] {
        assert_eq!(
            checked(|request| {
                request.box_peer = Some(curve_key(1));
                request.server.xkey = signed;
            }),
            Err(CheckRequestError::Xkey)
        );
    }
}

#[test]
fn expiry_has_leeway_and_no_more() {
    let leeway = i64::from(LEEWAY);
    assert_eq!(
        checked(|request| request.expires_at_secs = NOW - leeway),
        Ok(())
    );
    assert_eq!(
        checked(|request| request.expires_at_secs = NOW - leeway - 1),
        Err(CheckRequestError::Expired {
            by_secs: leeway + 1
        })
    );
    assert_eq!(
        checked(|request| request.expires_at_secs = 1),
        Err(CheckRequestError::Expired { by_secs: NOW - 1 })
    );
}

#[test]
fn the_future_has_leeway_and_no_more() {
    let leeway = i64::from(LEEWAY);
    assert_eq!(
        checked(|request| request.issued_at_secs = NOW + leeway),
        Ok(())
    );
    assert_eq!(
        checked(|request| request.issued_at_secs = NOW + leeway + 1),
        Err(CheckRequestError::NotYetValid {
            claim: "iat",
            by_secs: leeway + 1
        })
    );
    assert_eq!(
        checked(|request| request.not_before_secs = i64::MAX),
        Err(CheckRequestError::NotYetValid {
            claim: "nbf",
            by_secs: i64::MAX - NOW
        })
    );
}

#[test]
fn times_must_be_there() {
    for absent in [0, -1, i64::MIN] {
        assert_eq!(
            checked(|request| request.issued_at_secs = absent),
            Err(CheckRequestError::TimeMissing { claim: "iat" })
        );
        assert_eq!(
            checked(|request| request.expires_at_secs = absent),
            Err(CheckRequestError::TimeMissing { claim: "exp" })
        );
    }
}

#[test]
fn skew_is_signed() {
    assert_eq!(request().skew_secs(NOW + 3), 3);
    assert_eq!(request().skew_secs(NOW - 3), -3);
}
