//! What must hold for any input.

use data_encoding::BASE64URL_NOPAD;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::token::tests::TestRng;
use crate::{
    ClientInfo, ClientTls, ConnectOptions, CurveKey, KeyKind, Limits, Permissions, PublicKey,
    RequestClaims, ResponseClaims, ServerInfo, ServerKey, SigningKey, SubjectRules,
    UnverifiedRequest, UserClaims, UserKey, VerifiedResponse, VerifiedUser, verify_batch,
};

fn key(kind: KeyKind) -> SigningKey {
    SigningKey::generate(kind, &mut TestRng::new(kind.prefix().into()))
}

fn user() -> UserKey {
    UserKey::try_from(*key(KeyKind::User).public()).unwrap()
}

fn server_id() -> ServerKey {
    ServerKey::try_from(*key(KeyKind::Server).public()).unwrap()
}

fn request() -> impl Strategy<Value = RequestClaims> {
    (
        vec(any::<String>(), 12),
        vec(vec(any::<String>(), 0..4), 0..3),
        any::<(u64, i64, i64)>(),
    )
        .prop_map(|(texts, chains, (id, issued_at_secs, expires_at_secs))| {
            let mut texts = texts.into_iter();
            let mut text = || texts.next().unwrap();
            RequestClaims {
                subject: text(),
                issued_at_secs,
                expires_at_secs,
                user_nkey: user(),
                server: ServerInfo {
                    name: text(),
                    host: text(),
                    id: server_id(),
                    version: text(),
                    cluster: text(),
                    tags: vec![text(), text()],
                    xkey: None,
                },
                client: ClientInfo {
                    id,
                    host: text(),
                    mqtt_id: text(),
                    ..ClientInfo::default()
                },
                connect: ConnectOptions {
                    name: text(),
                    lang: text(),
                    ..ConnectOptions::default()
                },
                tls: (!chains.is_empty()).then(|| ClientTls {
                    cipher: text(),
                    verified_chains: chains,
                    ..ClientTls::default()
                }),
            }
        })
}

fn decode_as_anything(token: &[u8]) {
    if let Ok(request) = UnverifiedRequest::decode(token) {
        let _ = request.verify();
    }
    let _ = VerifiedResponse::decode(token);
    let _ = VerifiedUser::decode(token);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn requests_are_read_as_written(claims in request()) {
        let token = claims.encode(&key(KeyKind::Server)).unwrap();
        let read = UnverifiedRequest::decode(token.as_bytes()).unwrap().verify().unwrap();
        prop_assert_eq!(read.subject, claims.subject);
        prop_assert_eq!(read.issued_at_secs, claims.issued_at_secs);
        prop_assert_eq!(read.expires_at_secs, claims.expires_at_secs);
        prop_assert_eq!(read.server, claims.server);
        prop_assert_eq!(read.client, claims.client);
        prop_assert_eq!(read.connect, claims.connect);
        prop_assert_eq!(read.tls, claims.tls);
    }

    #[test]
    fn answers_are_read_as_written(
        name in any::<String>(),
        audience in any::<String>(),
        allow in vec(any::<String>(), 0..4),
        deny in vec(any::<String>(), 0..4),
        error in ".+",
    ) {
        let account = key(KeyKind::Account);
        let claims = UserClaims {
            subject: &user(),
            name: &name,
            audience: &audience,
            issued_at_secs: 1,
            expires_at_secs: None,
            permissions: Permissions {
                publish: SubjectRules { allow: &allow, deny: &deny },
                ..Permissions::default()
            },
            allowed_connection_types: &[],
            source_networks: &[],
            limits: Limits::default(),
            issuer_account: None,
        };
        let token = claims.encode(&account).unwrap();
        let read = VerifiedUser::decode(token.as_bytes()).unwrap();
        prop_assert_eq!((read.name, read.audience), (name, audience));
        prop_assert_eq!((read.publish_allow, read.publish_deny), (allow, deny));

        for outcome in [Ok(token.as_str()), Err(error.as_str())] {
            let response = ResponseClaims {
                subject: &user(),
                audience: &server_id(),
                issued_at_secs: 1,
                outcome,
                issuer_account: None,
            };
            let read = response.encode(&account).unwrap();
            let read = VerifiedResponse::decode(read.as_bytes()).unwrap();
            prop_assert_eq!(read.outcome.as_deref().map_err(String::as_str), outcome);
        }
    }

    #[test]
    fn nothing_makes_reading_panic(bytes in vec(any::<u8>(), 0..600), claims in any::<String>()) {
        decode_as_anything(&bytes);
        let signed = crate::token::sign_claims(claims.as_bytes(), &key(KeyKind::Server));
        decode_as_anything(signed.as_bytes());
        let shared = CurveKey::generate(&mut TestRng::new(1))
            .shared(CurveKey::generate(&mut TestRng::new(2)).public())
            .unwrap();
        prop_assert!(shared.open(&bytes).is_err());
    }

    /// Every byte of a token counts: there is no second spelling of the same signature or claims.
    #[test]
    fn no_other_bytes_pass(
        claims in request(),
        position in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let token = claims.encode(&key(KeyKind::Server)).unwrap();
        let mut changed = token.clone().into_bytes();
        changed[position.index(token.len())] = byte;
        prop_assume!(changed != token.as_bytes());
        if let Ok(request) = UnverifiedRequest::decode(&changed) {
            prop_assert!(request.verify().is_err());
        }
    }

    #[test]
    fn no_part_of_a_token_passes(claims in request(), length in any::<prop::sample::Index>()) {
        let token = claims.encode(&key(KeyKind::Server)).unwrap();
        let cut = &token.as_bytes()[..length.index(token.len())];
        prop_assert!(UnverifiedRequest::decode(cut).is_err());
    }

    #[test]
    fn batches_never_change_a_verdict(
        claims in request(),
        forged in vec(any::<bool>(), 0..40),
        seed in any::<u64>(),
    ) {
        let good = claims.encode(&key(KeyKind::Server)).unwrap();
        let (signed, _) = good.rsplit_once('.').unwrap();
        let signature = key(KeyKind::User).sign(signed.as_bytes());
        let bad = format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature));
        let requests = forged
            .iter()
            .map(|forged| if *forged { &bad } else { &good })
            .map(|token| UnverifiedRequest::decode(token.as_bytes()).unwrap())
            .collect();
        let verdicts = verify_batch(requests, &mut TestRng::new(seed));
        prop_assert_eq!(verdicts.iter().map(Result::is_err).collect::<Vec<_>>(), forged);
    }

    #[test]
    fn boxes_open_to_what_was_sealed(plain in vec(any::<u8>(), 0..2000), nonce in any::<[u8; 24]>()) {
        let rng = &mut TestRng::new(1);
        let (ours, theirs) = (CurveKey::generate(rng), CurveKey::generate(rng));
        let sealed = ours.shared(theirs.public()).unwrap().seal(&plain, &nonce);
        prop_assert_eq!(theirs.shared(ours.public()).unwrap().open(&sealed).unwrap(), plain);
    }

    #[test]
    fn a_key_is_its_text(raw in any::<[u8; 32]>(), other in "[A-Z2-7]{56}") {
        let key = PublicKey::from_raw(KeyKind::User, raw);
        prop_assert_eq!(PublicKey::parse(KeyKind::User, key.as_str()), Ok(key));
        if let Ok(parsed) = PublicKey::parse(KeyKind::Account, &other) {
            prop_assert_eq!(parsed.as_str(), other);
        }
    }
}
