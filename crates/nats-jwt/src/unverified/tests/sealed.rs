//! Requests in boxes.

use super::*;

/// Both ends of one server's boxes.
fn ends(server: &Server) -> (crate::SharedBox, crate::SharedBox) {
    let service = CurveKey::generate(&mut TestRng::new(77));
    (
        server.curve.shared(service.public()).unwrap(),
        service.shared(server.curve.public()).unwrap(),
    )
}

fn open(server: &Server, token: &str) -> UnverifiedRequest {
    let (theirs, ours) = ends(server);
    UnverifiedRequest::open(&theirs.seal(token.as_bytes(), &[1; 24]), &ours).unwrap()
}

fn binding(server: &Server) -> XkeyBinding {
    open(server, &server.token())
        .verify()
        .unwrap()
        .xkey_binding()
        .unwrap()
}

#[test]
fn a_signature_in_a_box_binds_the_box() {
    let server = Server::new(1);
    let request = open(&server, &server.token()).verify().unwrap();
    assert_eq!(request.box_peer, Some(*server.curve.public()));
    let bound = XkeyBinding {
        server: server.id(),
        xkey: *server.curve.public(),
    };
    assert_eq!(request.xkey_binding(), Some(bound));
}

#[test]
fn a_plain_request_binds_nothing() {
    let server = Server::new(1);
    assert_eq!(
        decode(&server.token()).verify().unwrap().xkey_binding(),
        None
    );
}

#[test]
fn a_bound_box_stands_for_the_signature() {
    let server = Server::new(1);
    let unsigned = token::sign_claims(server.claims_json().as_bytes(), &Server::new(2).key);
    let request = open(&server, &unsigned)
        .trust_opened_box(&binding(&server))
        .unwrap();
    assert_eq!(request.issuer, server.id());
    assert_eq!(request.xkey_binding(), Some(binding(&server)));
    assert!(open(&server, &unsigned).verify().is_err());
}

#[test]
fn any_other_name_asks_for_the_signature() {
    let (server, other) = (Server::new(1), Server::new(2));
    let bound = binding(&server);
    let id = server.id();
    let strange_issuer = server.token_with(
        &format!("\"iss\":\"{id}\""),
        &format!("\"iss\":\"{}\"", other.id()),
    );
    let strange_id = server.token_with(
        &format!("\"id\":\"{id}\""),
        &format!("\"id\":\"{}\"", other.id()),
    );
    let strange_xkey = server.token_with(
        server.curve.public().as_str(),
        other.curve.public().as_str(),
    );
    let no_xkey = server.token_with("\"xkey\":", "\"ykey\":");
    for token in [strange_issuer, strange_id, strange_xkey, no_xkey] {
        assert!(open(&server, &token).trust_opened_box(&bound).is_err());
    }
    // In plain text, in a box of another key, and under the binding of another server.
    assert!(decode(&server.token()).trust_opened_box(&bound).is_err());
    assert!(
        open(&other, &server.token())
            .trust_opened_box(&bound)
            .is_err()
    );
    assert!(
        open(&server, &server.token())
            .trust_opened_box(&binding(&other))
            .is_err()
    );
}

#[test]
fn a_request_that_is_not_trusted_can_still_be_verified() {
    let (server, other) = (Server::new(1), Server::new(2));
    let request = open(&server, &server.token()).trust_opened_box(&binding(&other));
    assert!(request.unwrap_err().verify().is_ok());
}

#[test]
fn garbage_in_a_box_and_a_broken_box_differ() {
    let server = Server::new(1);
    let (theirs, ours) = ends(&server);
    let garbage = theirs.seal(b"garbage", &[1; 24]);
    assert!(matches!(
        UnverifiedRequest::open(&garbage, &ours),
        Err(OpenRequestError::Decode(DecodeRequestError::Token(
            DecodeTokenError::Parts { .. }
        )))
    ));
    assert!(matches!(
        UnverifiedRequest::open(server.token().as_bytes(), &ours),
        Err(OpenRequestError::Box(OpenBoxError::Version))
    ));
}

#[test]
fn boxes_and_plain_texts_are_verified_in_one_batch() {
    let server = Server::new(1);
    let batch = vec![open(&server, &server.token()), decode(&server.token())];
    let verdicts = verify_batch(batch, &mut TestRng::new(7));
    assert!(verdicts.iter().all(Result::is_ok));
}
