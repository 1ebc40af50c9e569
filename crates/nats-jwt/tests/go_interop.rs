//! The Go libraries themselves, run by `go run` in `vectors/go`.

#![expect(clippy::unwrap_used, reason = "a test may panic anywhere")]
#![expect(
    unreachable_pub,
    reason = "the support module is compiled into each test"
)]

mod support;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use leafgate_nats_jwt::{
    AccountKey, Limits, Permissions, PublicKey, ResponseClaims, ServerKey, SigningKey,
    SubjectRules, UserClaims, UserKey,
};
use support::responses::{ResponseSpec, ResponseVector};
use support::{Vectors, lasting_claims_of};

/// Runs the Go program and gives what it wrote to stdout, or to stderr if it failed.
fn go(arguments: &[&str], stdin: &str) -> Result<String, String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/go");
    let mut child = Command::new("go")
        .args(["run", "."])
        .args(arguments)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!(
                "can't run `go` ({error}): install Go 1.25 or later and put it on PATH; this test \
                 checks tokens against the Go libraries that nats-server uses"
            )
        });
    // A program that fails before it has read all says why on stderr, which tells more than the
    // broken pipe does.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

#[test]
fn go_reads_what_is_encoded_here_and_encodes_it_alike() {
    let mut vectors = Vectors::committed().encoded_here();
    vectors.responses.push(response_with_user());
    let said = go(&["verify"], &serde_json::to_string(&vectors).unwrap()).unwrap();
    let expected = format!(
        "verified {} requests, {} users, {} responses, {} boxes\n",
        vectors.requests.len(),
        vectors.users.len(),
        vectors.responses.len(),
        vectors.boxes.len()
    );
    assert_eq!(said, expected);
}

/// A whole answer, as a callout service sends it.
fn response_with_user() -> ResponseVector {
    let vectors = Vectors::committed();
    let ResponseVector {
        issuer_seed, spec, ..
    } = &vectors.responses[0];
    let issuer = SigningKey::from_seed(&issuer_seed.as_str().into()).unwrap();
    let subject = UserKey::parse(&spec.subject).unwrap();
    let user = UserClaims {
        subject: &subject,
        name: "pump-7",
        audience: "DEVICES",
        issued_at_secs: 1_800_000_000,
        expires_at_secs: Some(4_102_444_800),
        permissions: Permissions {
            publish: SubjectRules {
                allow: &["device.pump-7.>".to_owned()],
                deny: &[],
            },
            ..Permissions::default()
        },
        allowed_connection_types: &[],
        source_networks: &[],
        limits: Limits::default(),
        issuer_account: None,
    };
    let jwt = user.encode(&issuer).unwrap();
    let response = ResponseClaims {
        subject: &subject,
        audience: &ServerKey::parse(&spec.audience).unwrap(),
        issued_at_secs: 1_800_000_000,
        outcome: Ok(&jwt),
        issuer_account: None,
    };
    ResponseVector {
        name: "with a user".to_owned(),
        issuer_seed: issuer_seed.clone(),
        token: response.encode(&issuer).unwrap(),
        spec: ResponseSpec {
            jwt,
            ..spec.clone()
        },
    }
}

/// The check above can fail.
#[test]
fn go_refuses_a_changed_signature() {
    let vectors = Vectors::committed();
    let mut token = vectors.users[0].token.clone();
    let last_but_one = token.len() - 2;
    let other = if token.as_bytes()[last_but_one] == b'A' {
        "B"
    } else {
        "A"
    };
    token.replace_range(last_but_one..=last_but_one, other);
    let mut changed = Vectors::committed();
    changed.users[0].token = token;
    let refused = go(&["verify"], &serde_json::to_string(&changed).unwrap()).unwrap_err();
    assert!(refused.contains("signature verification"), "{refused}");
}

#[test]
fn the_committed_vectors_are_what_go_makes() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("nats-jwt-vectors");
    std::fs::create_dir_all(&dir).unwrap();
    go(&["make", dir.to_str().unwrap()], "").unwrap();
    let (fresh, committed) = (Vectors::load(&dir), Vectors::committed());
    fresh.check();

    let lasting = |vectors: &Vectors| {
        let mut value = serde_json::to_value(vectors).unwrap();
        for kind in ["requests", "users", "responses"] {
            for vector in value[kind].as_array_mut().unwrap() {
                let claims = lasting_claims_of(vector["token"].as_str().unwrap());
                vector["token"] = claims;
            }
        }
        value
    };
    assert_eq!(
        lasting(&fresh),
        lasting(&committed),
        "run `go run . make ../../tests/vectors` in crates/nats-jwt/vectors/go"
    );
}

/// The kinds of the keys that Go named are those that this crate reads.
#[test]
fn seeds_of_go_give_the_keys_that_go_named() {
    for vector in Vectors::committed().users {
        let issuer = SigningKey::from_seed(&vector.issuer_seed.as_str().into()).unwrap();
        let named = support::claims_of(&vector.token)["iss"]
            .as_str()
            .unwrap()
            .to_owned();
        let named = PublicKey::from(AccountKey::parse(&named).unwrap());
        assert_eq!(issuer.public(), &named);
    }
}
