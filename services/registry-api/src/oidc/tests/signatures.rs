use std::process::Command;

use leafgate_access::{Role, Scope};
use leafgate_identity::UnixMs;
use leafgate_runtime::Clock;
use serde_json::{Value, json};

use super::support::{Bench, SigningKey, b64, first_rsa, p256, second_rsa};

#[tokio::test]
async fn a_good_token_names_its_bearer_and_what_they_may_do() {
    let bench = Bench::start().await;
    let token = bench.verify(&bench.token()).await.unwrap();
    assert_eq!(token.principal.name, "oidc:ann@example.com");
    let roles: Vec<_> = token.principal.authority.roles.iter().collect();
    assert_eq!(roles, [Role::Operator, Role::Auditor]);
    let north = Scope {
        sites: ["north"].into_iter().collect(),
        ..Scope::everything()
    };
    assert_eq!(token.principal.authority.scope, north);
    let in_an_hour = bench.clock.now().as_secs() + 3_600;
    assert_eq!(token.expires_at, UnixMs::from_secs(in_an_hour + 60));
    assert_eq!(
        (bench.idp.discovery_requests(), bench.idp.keys_requests()),
        (1, 1)
    );
    let es256 = bench.token_of(p256(), "ec-1");
    assert_eq!(bench.reason(&es256).await, "admitted");
    assert_eq!(bench.idp.keys_requests(), 1);
}

#[tokio::test]
async fn every_algorithm_that_can_be_configured_works() {
    let all = [
        "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA",
    ];
    let bench = Bench::with_config(&format!("algorithms = {all:?}")).await;
    let (p384, ed25519) = (SigningKey::p384(), SigningKey::ed25519());
    let keys: [(&SigningKey, &[&str]); 4] = [
        (first_rsa(), &all[..6]),
        (p256(), &all[6..7]),
        (&p384, &all[7..8]),
        (&ed25519, &all[8..]),
    ];
    let public = keys.iter().map(|(key, _)| key.jwk(key.algorithm()));
    bench.idp.set_keys(public);
    for (key, algorithms) in keys {
        for algorithm in algorithms {
            let header = json!({"alg": algorithm, "kid": key.algorithm()});
            let token = key.sign(&header, &bench.claims());
            assert_eq!(bench.reason(&token).await, "admitted", "{algorithm}");
        }
    }
}

#[tokio::test]
async fn algorithms_that_are_not_configured_are_refused() {
    let bench = Bench::start().await;
    for algorithm in ["RS384", "RS512", "PS256", "PS512"] {
        let header = json!({"alg": algorithm, "kid": "rsa-1"});
        let token = bench.token_with(&header, &json!({}));
        assert_eq!(
            bench.reason(&token).await,
            "algorithm-not-accepted",
            "{algorithm}"
        );
    }
    assert_eq!(bench.idp.keys_requests(), 0);
}

/// The public key of a provider is known to all: as the secret of an HMAC it would let anybody sign.
#[tokio::test]
async fn an_hmac_with_the_public_key_is_refused() {
    let bench = Bench::start().await;
    let pkcs1 = first_rsa().public_der();
    let pem = pem::encode(&pem::Pem::new("RSA PUBLIC KEY", pkcs1));
    let jwk = first_rsa().jwk("rsa-1");
    let modulus = jwk["n"].as_str().unwrap();
    for (algorithm, hmac) in [
        ("HS256", aws_lc_rs::hmac::HMAC_SHA256),
        ("HS384", aws_lc_rs::hmac::HMAC_SHA384),
        ("HS512", aws_lc_rs::hmac::HMAC_SHA512),
    ] {
        for secret in [pkcs1, pem.as_bytes(), modulus.as_bytes(), b""] {
            let header = json!({"alg": algorithm, "kid": "rsa-1"});
            let message = message(&header, &bench.claims());
            let key = aws_lc_rs::hmac::Key::new(hmac, secret);
            let tag = aws_lc_rs::hmac::sign(&key, message.as_bytes());
            let token = format!("{message}.{}", b64(tag.as_ref()));
            assert_eq!(bench.reason(&token).await, "algorithm-not-accepted");
            // The same tag under a name that is accepted.
            let header = json!({"alg": "RS256", "kid": "rsa-1"});
            let message = self::message(&header, &bench.claims());
            let tag = aws_lc_rs::hmac::sign(&key, message.as_bytes());
            let token = format!("{message}.{}", b64(tag.as_ref()));
            assert_eq!(bench.reason(&token).await, "signature-invalid");
        }
    }
}

#[tokio::test]
async fn a_token_without_a_signature_is_refused() {
    let bench = Bench::start().await;
    for algorithm in ["none", "None", "NONE", "nOnE", ""] {
        let message = message(&json!({"alg": algorithm, "kid": "rsa-1"}), &bench.claims());
        let reason = bench.reason(&format!("{message}.")).await;
        assert_eq!(reason, "algorithm-not-accepted", "{algorithm}");
    }
    for key in ["rsa-1", "ec-1"] {
        let algorithm = if key == "rsa-1" { "RS256" } else { "ES256" };
        let message = message(&json!({"alg": algorithm, "kid": key}), &bench.claims());
        for signature in [&[][..], &[0; 64], &[0; 256], &[0xff; 256]] {
            let token = format!("{message}.{}", b64(signature));
            assert_eq!(bench.reason(&token).await, "signature-invalid");
        }
    }
}

#[tokio::test]
async fn the_algorithm_is_that_of_the_key_not_of_the_token() {
    let bench = Bench::start().await;
    for (key, kid, algorithm) in [
        (p256(), "rsa-1", "ES256"),
        (first_rsa(), "ec-1", "RS256"),
        (first_rsa(), "rsa-1", "ES256"),
        (p256(), "ec-1", "RS256"),
    ] {
        let token = key.sign(&json!({"alg": algorithm, "kid": kid}), &bench.claims());
        let reason = bench.reason(&token).await;
        assert_eq!(reason, "algorithm-not-accepted", "{algorithm} with {kid}");
    }
    assert_eq!(bench.idp.keys_requests(), 1);
    // Accepted are RS256 and RS512, but this key's `alg` says RS512.
    let bench = Bench::with_config(r#"algorithms = ["RS256", "RS512"]"#).await;
    let mut jwk = first_rsa().jwk("rsa-1");
    jwk["alg"] = "RS512".into();
    bench.idp.set_keys([jwk]);
    assert_eq!(bench.reason(&bench.token()).await, "algorithm-not-accepted");
    let token = bench.token_with(&json!({"alg": "RS512", "kid": "rsa-1"}), &json!({}));
    assert_eq!(bench.reason(&token).await, "admitted");
}

#[tokio::test]
async fn keys_that_the_token_brings_along_count_for_nothing() {
    let bench = Bench::start().await;
    let evil = super::support::Idp::start(json!([second_rsa().jwk("rsa-1")])).await;
    for header in [
        json!({"jwk": second_rsa().jwk("rsa-1")}),
        json!({"jku": evil.keys_url()}),
        json!({"x5u": evil.keys_url()}),
        json!({"x5c": [b64(second_rsa().public_der())], "x5t": "AAAA"}),
        json!({"jwk": second_rsa().jwk("rsa-1"), "jku": evil.keys_url()}),
    ] {
        let mut header = header;
        header["alg"] = "RS256".into();
        let unnamed = second_rsa().sign(&header, &bench.claims());
        header["kid"] = "rsa-1".into();
        let named = second_rsa().sign(&header, &bench.claims());
        assert_eq!(bench.reason(&named).await, "signature-invalid", "{header}");
        assert_eq!(
            bench.reason(&unnamed).await,
            "signature-invalid",
            "{header}"
        );
        // Beside a good signature they do no harm.
        let good = bench.token_with(&header, &json!({}));
        assert_eq!(bench.reason(&good).await, "admitted", "{header}");
    }
    assert_eq!(evil.keys_requests(), 0);
}

#[tokio::test]
async fn extensions_that_must_be_understood_are_refused() {
    let bench = Bench::start().await;
    for crit in [json!(["b64"]), json!(["exp"]), json!([]), Value::Null] {
        let header = json!({"alg": "RS256", "kid": "rsa-1", "crit": crit, "b64": true});
        let token = bench.token_with(&header, &json!({}));
        assert_eq!(bench.reason(&token).await, "header-critical");
    }
    assert_eq!(bench.idp.keys_requests(), 0);
}

#[tokio::test]
async fn whose_signature_it_is_matters() {
    let bench = Bench::start().await;
    let forged = bench.token_of(second_rsa(), "rsa-1");
    assert_eq!(bench.reason(&forged).await, "signature-invalid");
    let good = bench.token();
    let other = bench.token_but(&json!({"sub": "other"}));
    let [message, _] = halves(&good);
    let [_, signature] = halves(&other);
    assert_eq!(
        bench.reason(&format!("{message}.{signature}")).await,
        "signature-invalid"
    );
}

/// A signature by a real key of 1,024 bits, which is right but for the length of the key.
#[tokio::test]
async fn a_short_rsa_key_signs_nothing() {
    let bench = Bench::start().await;
    let folder = tempfile::tempdir().unwrap();
    let openssl = |arguments: &[&str]| {
        let run = Command::new("openssl")
            .args(arguments)
            .current_dir(folder.path())
            .output();
        let output = run.unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    };
    openssl(&["genrsa", "-out", "key.pem", "1024"]);
    let modulus = openssl(&["rsa", "-in", "key.pem", "-noout", "-modulus"]);
    let modulus = String::from_utf8(modulus).unwrap();
    let hex = modulus.trim().strip_prefix("Modulus=").unwrap();
    let modulus = data_encoding::HEXUPPER.decode(hex.as_bytes()).unwrap();
    let jwk = json!({"kty": "RSA", "kid": "short", "n": b64(&modulus), "e": "AQAB"});
    bench.idp.set_keys([jwk, p256().jwk("ec-1")]);
    let message = message(&json!({"alg": "RS256", "kid": "short"}), &bench.claims());
    std::fs::write(folder.path().join("message"), &message).unwrap();
    let signature = openssl(&["dgst", "-sha256", "-sign", "key.pem", "message"]);
    let token = format!("{message}.{}", b64(&signature));
    assert_eq!(bench.reason(&token).await, "key-unknown");
}

fn message(header: &Value, claims: &Value) -> String {
    format!(
        "{}.{}",
        b64(header.to_string().as_bytes()),
        b64(claims.to_string().as_bytes())
    )
}

fn halves(token: &str) -> [&str; 2] {
    let (message, signature) = token.rsplit_once('.').unwrap();
    [message, signature]
}
