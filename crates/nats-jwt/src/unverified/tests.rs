use super::*;
use crate::CurveKey;
use crate::key::KeyKind;
use crate::request::RequestClaims;
use crate::signing::SigningKey;
use crate::token::tests::TestRng;
use data_encoding::BASE64URL_NOPAD;

mod sealed;

struct Server {
    key: SigningKey,
    curve: CurveKey,
    user: UserKey,
}

impl Server {
    fn new(seed: u64) -> Self {
        let rng = &mut TestRng::new(seed);
        let user = SigningKey::generate(KeyKind::User, rng);
        Self {
            key: SigningKey::generate(KeyKind::Server, rng),
            curve: CurveKey::generate(rng),
            user: UserKey::try_from(*user.public()).unwrap(),
        }
    }

    fn id(&self) -> ServerKey {
        ServerKey::try_from(*self.key.public()).unwrap()
    }

    fn claims(&self) -> RequestClaims {
        RequestClaims {
            subject: "ACALLOUT".to_owned(),
            issued_at_secs: 1_000,
            expires_at_secs: 1_002,
            user_nkey: self.user,
            server: ServerInfo {
                name: "leaf-1".to_owned(),
                host: "0.0.0.0".to_owned(),
                id: self.id(),
                version: "2.15.1".to_owned(),
                cluster: "leaf".to_owned(),
                tags: vec!["site:demo".to_owned()],
                xkey: Some(*self.curve.public()),
            },
            client: ClientInfo {
                host: "10.0.0.7".to_owned(),
                id: 42,
                ..Default::default()
            },
            connect: ConnectOptions::default(),
            tls: Some(ClientTls {
                version: "1.3".to_owned(),
                verified_chains: vec![vec!["leaf\n".to_owned(), "issuer\n".to_owned()]],
                ..Default::default()
            }),
        }
    }

    fn token(&self) -> String {
        self.claims().encode(&self.key).unwrap()
    }

    /// Signs the usual claims with one text in them replaced.
    fn token_with(&self, from: &str, to: &str) -> String {
        let json = self.claims_json();
        assert!(json.contains(from), "{json}");
        token::sign_claims(json.replacen(from, to, 1).as_bytes(), &self.key)
    }

    fn claims_json(&self) -> String {
        let token = self.token();
        let claims = token.split('.').nth(1).unwrap();
        String::from_utf8(BASE64URL_NOPAD.decode(claims.as_bytes()).unwrap()).unwrap()
    }
}

fn decode(token: &str) -> UnverifiedRequest {
    UnverifiedRequest::decode(token.as_bytes()).unwrap()
}

fn refusal(token: &str) -> DecodeRequestError {
    UnverifiedRequest::decode(token.as_bytes()).unwrap_err()
}

#[test]
fn a_signed_request_says_what_its_server_said() {
    let server = Server::new(1);
    let request = decode(&server.token());
    assert_eq!(request.issuer(), &server.id());
    let request = request.verify().unwrap();
    let claims = server.claims();
    assert_eq!(request.subject, claims.subject);
    assert_eq!(request.audience, "nats-authorization-request");
    assert_eq!(
        (request.issued_at_secs, request.expires_at_secs),
        (1_000, 1_002)
    );
    assert_eq!(request.user_nkey, claims.user_nkey);
    assert_eq!(request.server, claims.server);
    assert_eq!(request.client, claims.client);
    assert_eq!(request.connect, claims.connect);
    assert_eq!(request.tls, claims.tls);
    assert_eq!(request.box_peer, None);
    assert_eq!(request.skew_secs(1_005), 5);
}

#[test]
fn requests_are_signed_by_servers_alone() {
    let user = SigningKey::generate(KeyKind::User, &mut TestRng::new(9));
    assert_eq!(
        Server::new(1).claims().encode(&user),
        Err(token::EncodeClaimsError::Issuer {
            expected: KeyKind::Server,
            found: KeyKind::User
        })
    );
}

#[test]
fn no_change_of_a_character_passes() {
    let token = Server::new(1).token();
    for position in (0..token.len()).step_by(7) {
        let mut bent = token.clone().into_bytes();
        bent[position] = if bent[position] == b'Q' { b'R' } else { b'Q' };
        if let Ok(request) = UnverifiedRequest::decode(&bent) {
            assert!(request.verify().is_err(), "{position}");
        }
    }
}

#[test]
fn a_signature_by_another_key_is_refused() {
    let (server, other) = (Server::new(1), Server::new(2));
    let claims = server.claims_json();
    let forged = token::sign_claims(claims.as_bytes(), &other.key);
    assert_eq!(
        decode(&forged).verify().unwrap_err(),
        VerifyRequestError {
            issuer: server.id()
        }
    );
}

#[test]
fn keys_of_the_wrong_kind_are_named() {
    let server = Server::new(1);
    let account = SigningKey::generate(KeyKind::Account, &mut TestRng::new(3));
    let account = account.public().as_str();
    let id = server.id();
    let xkey = server.curve.public();
    for (claim, from, to) in [
        (
            "iss",
            format!("\"iss\":\"{id}\""),
            format!("\"iss\":\"{account}\""),
        ),
        (
            "nats.server_id.id",
            format!("\"id\":\"{id}\""),
            format!("\"id\":\"{account}\""),
        ),
        (
            "nats.user_nkey",
            server.user.to_string(),
            account.to_owned(),
        ),
        ("nats.server_id.xkey", xkey.to_string(), account.to_owned()),
    ] {
        let error = refusal(&server.token_with(&from, &to));
        let DecodeRequestError::Key {
            claim: found,
            source: ParseKeyError::Kind { .. },
        } = error
        else {
            panic!("{claim}: {error:?}");
        };
        assert_eq!(found, claim);
    }
}

#[test]
fn unknown_claims_are_tolerated_at_every_level() {
    let server = Server::new(1);
    for (from, to) in [
        ("{\"aud\"", "{\"new\":{\"deep\":[1,null]},\"aud\""),
        ("{\"server_id\"", "{\"new\":1.5,\"server_id\""),
        ("\"server_id\":{", "\"server_id\":{\"new\":true,"),
        ("\"client_info\":{", "\"client_info\":{\"new\":\"\","),
        ("\"connect_opts\":{", "\"connect_opts\":{\"new\":[],"),
        ("\"client_tls\":{", "\"client_tls\":{\"new\":{},"),
    ] {
        assert!(
            decode(&server.token_with(from, to)).verify().is_ok(),
            "{to}"
        );
    }
}

#[test]
fn known_claims_given_twice_are_refused() {
    let server = Server::new(1);
    for (from, to) in [
        ("\"exp\":1002", "\"exp\":1002,\"exp\":9999999999"),
        ("{\"server_id\"", "{\"type\":\"user\",\"server_id\""),
        ("\"client_info\":{", "\"client_info\":{\"id\":1,"),
        (
            "\"client_tls\":{",
            "\"client_tls\":{\"verified_chains\":[],",
        ),
    ] {
        let error = refusal(&server.token_with(from, to));
        assert!(error.to_string().contains("duplicate field"), "{error}");
    }
}

#[test]
fn incomplete_or_mistyped_claims_are_refused() {
    let server = Server::new(1);
    for (from, to, detail) in [
        ("\"user_nkey\"", "\"user_key\"", "missing field"),
        ("\"sub\":\"ACALLOUT\"", "\"sub\":7", "expected a string"),
        ("\"id\":42", "\"id\":-42", "expected u64"),
        ("\"id\":42", "\"id\":\u{1}", "line 1"),
    ] {
        let error = refusal(&server.token_with(from, to));
        assert!(error.to_string().contains(detail), "{error}");
    }
}

#[test]
fn secrets_of_the_client_are_dropped() {
    let server = Server::new(1);
    let secret = r#""connect_opts":{"jwt":"s3cret-jwt","nkey":"s3cret-nkey","sig":"s3cret-sig","auth_token":"s3cret-token","user":"someone","pass":"s3cret-pass","#;
    let request = decode(&server.token_with("\"connect_opts\":{", secret))
        .verify()
        .unwrap();
    let connect = &request.connect;
    assert!(connect.has_jwt && connect.has_nkey && connect.has_signature);
    assert!(connect.has_token && connect.has_user && connect.has_password);
    assert!(!format!("{request:?}").contains("s3cret"));

    let absent = r#""connect_opts":{"jwt":"","pass":"","#;
    let request = decode(&server.token_with("\"connect_opts\":{", absent))
        .verify()
        .unwrap();
    assert_eq!(request.connect, ConnectOptions::default());
}

#[test]
fn a_token_is_never_taken_for_a_user_name() {
    let server = Server::new(1);
    let json = server.claims_json().replacen(
        "\"client_info\":{",
        "\"client_info\":{\"user\":\"s3cret\",",
        1,
    );
    let sign = |connect: &str| {
        let json = json.replacen("\"connect_opts\":{", connect, 1);
        decode(&token::sign_claims(json.as_bytes(), &server.key))
            .verify()
            .unwrap()
    };
    assert_eq!(
        sign("\"connect_opts\":{\"auth_token\":\"s3cret\",")
            .client
            .user,
        ""
    );
    let both = "\"connect_opts\":{\"auth_token\":\"t\",\"user\":\"s3cret\",";
    assert_eq!(sign(both).client.user, "s3cret");
}

#[test]
fn a_batch_gives_the_verdicts_of_single_checks() {
    let servers = [Server::new(1), Server::new(2), Server::new(3)];
    let good: Vec<_> = servers.iter().map(Server::token).collect();
    let forged = token::sign_claims(servers[0].claims_json().as_bytes(), &servers[1].key);
    for bad in [&[][..], &[0], &[2], &[1, 3], &[0, 1, 2, 3]] {
        let tokens: Vec<_> = (0..4)
            .map(|at| {
                if bad.contains(&at) {
                    &forged
                } else {
                    &good[at % 3]
                }
            })
            .collect();
        let requests = tokens.iter().map(|token| decode(token)).collect();
        let verdicts = verify_batch(requests, &mut TestRng::new(7));
        assert_eq!(verdicts.len(), 4);
        for (at, (verdict, token)) in verdicts.iter().zip(tokens).enumerate() {
            assert_eq!(verdict.is_err(), bad.contains(&at), "{bad:?}: {at}");
            let single = decode(token).verify();
            match (verdict, single) {
                (Ok(batched), Ok(single)) => assert_eq!(batched.issuer, single.issuer),
                (Err(batched), Err(single)) => assert_eq!(*batched, single),
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(verify_batch(Vec::new(), &mut TestRng::new(7)).is_empty());
}

/// R and A of order 1 and s = 0: RFC 8032 lets an implementation choose, ZIP 215 does not.
#[test]
fn batch_and_single_checks_agree_on_points_of_low_order() {
    let server = Server::new(1);
    let mut identity = [0; 32];
    identity[0] = 1;
    let weak = crate::PublicKey::from_raw(KeyKind::Server, identity);
    let json = server
        .claims_json()
        .replace(server.id().as_str(), weak.as_str());
    let signed = token::sign_claims(json.as_bytes(), &server.key);
    let (signed, _) = signed.rsplit_once('.').unwrap();
    let mut signature = [0; 64];
    signature[0] = 1;
    let weak = format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature));
    let single = decode(&weak).verify().is_ok();
    let batch = vec![decode(&weak), decode(&server.token())];
    let batch: Vec<_> = verify_batch(batch, &mut TestRng::new(7))
        .iter()
        .map(Result::is_ok)
        .collect();
    assert_eq!(batch, [single, true]);
}

#[test]
fn an_issuer_that_is_no_point_is_refused() {
    let server = Server::new(1);
    let mut raw = [0; 32];
    raw[0] = 2; // no x belongs to y = 2
    let nowhere = crate::PublicKey::from_raw(KeyKind::Server, raw);
    let json = server
        .claims_json()
        .replace(server.id().as_str(), nowhere.as_str());
    let token = token::sign_claims(json.as_bytes(), &server.key);
    assert!(decode(&token).verify().is_err());
    let batch = verify_batch(vec![decode(&token), decode(&token)], &mut TestRng::new(7));
    assert!(batch.iter().all(Result::is_err));
}
