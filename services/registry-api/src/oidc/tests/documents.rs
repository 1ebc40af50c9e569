use std::fs;

use crate::oidc::OidcVerifier;
use hyper::StatusCode;
use leafgate_runtime::SetUpProblems;
use leafgate_testkit::scratch_ca::ScratchCa;
use serde_json::{Value, json};

use super::support::{Answer, Bench, Idp, config, first_rsa};

/// That keys once read go on counting while the provider's documents are like this, and that none are read before.
async fn is_as_good_as_an_outage(what: &str, spoil: impl Fn(&Idp)) {
    let bench = Bench::start().await;
    assert_eq!(bench.reason(&bench.token()).await, "admitted");
    bench.clock.advance(600);
    spoil(&bench.idp);
    assert_eq!(bench.reason(&bench.token()).await, "admitted", "{what}");
    assert_eq!(bench.idp.discovery_requests(), 2, "{what}");
    assert_eq!(bench.idp.moved_requests(), 0, "{what}");
    let bench = Bench::start().await;
    spoil(&bench.idp);
    assert_eq!(
        bench.reason(&bench.token()).await,
        "keys-unavailable",
        "{what}"
    );
}

#[tokio::test]
async fn malformed_key_sets_replace_none() {
    let good = first_rsa().jwk("rsa-1");
    let many = vec![good.clone(); 101];
    for (what, answer) in [
        ("nothing", Answer::Text(String::new())),
        ("HTML", Answer::Text("<html>Sign in</html>".to_owned())),
        ("a list", Answer::Json(json!([good]))),
        ("no keys", Answer::Json(json!({"key": [good]}))),
        (
            "keys that are no list",
            Answer::Json(json!({"keys": {"rsa-1": good}})),
        ),
        (
            "half of it",
            Answer::Text(json!({"keys": [good]}).to_string()[..80].to_owned()),
        ),
        (
            "more after it",
            Answer::Text(format!("{} {{}}", json!({"keys": [good]}))),
        ),
        ("too many keys", Answer::Json(json!({ "keys": many }))),
        ("nested without end", Answer::Text("[".repeat(10_000))),
        ("no end", Answer::Endless),
        (
            "a long end",
            Answer::Text(format!("{{\"keys\": []}}{}", " ".repeat(256 * 1024))),
        ),
        ("404", Answer::Status(StatusCode::NOT_FOUND)),
        ("204", Answer::Status(StatusCode::NO_CONTENT)),
    ] {
        is_as_good_as_an_outage(what, |idp| idp.answer_keys(answer.clone())).await;
    }
}

#[tokio::test]
async fn malformed_discovery_documents_lead_nowhere() {
    for (what, member, value) in [
        ("another issuer", "issuer", json!("https://evil.example")),
        ("no issuer", "issuer", Value::Null),
        (
            "keys over HTTP",
            "jwks_uri",
            json!("http://127.0.0.1:1/keys"),
        ),
        ("keys in a file", "jwks_uri", json!("file:///etc/passwd")),
        ("no place of the keys", "jwks_uri", Value::Null),
        ("no URL", "jwks_uri", json!("keys")),
    ] {
        is_as_good_as_an_outage(what, |idp| {
            let mut document = idp.discovery();
            document[member] = value.clone();
            idp.answer_discovery(Answer::Json(document));
        })
        .await;
    }
    is_as_good_as_an_outage("a slash more", |idp| {
        let mut document = idp.discovery();
        document["issuer"] = format!("{}/", idp.issuer()).into();
        idp.answer_discovery(Answer::Json(document));
    })
    .await;
    is_as_good_as_an_outage("HTML", |idp| {
        idp.answer_discovery(Answer::Text("<html>".to_owned()));
    })
    .await;
    is_as_good_as_an_outage("no end", |idp| idp.answer_discovery(Answer::Endless)).await;
}

#[tokio::test]
async fn nobody_is_sent_elsewhere() {
    is_as_good_as_an_outage("redirected keys", |idp| {
        idp.answer_keys(Answer::Redirect(idp.moved_url()));
    })
    .await;
    is_as_good_as_an_outage("redirected discovery", |idp| {
        idp.answer_discovery(Answer::Redirect(idp.moved_url()));
    })
    .await;
}

/// A provider may have to withdraw every key that it has.
#[tokio::test]
async fn no_keys_are_an_answer() {
    let bench = Bench::start().await;
    assert_eq!(bench.reason(&bench.token()).await, "admitted");
    bench.clock.advance(600);
    bench.idp.set_keys([]);
    assert_eq!(bench.reason(&bench.token()).await, "key-unknown");
}

#[tokio::test]
async fn the_place_of_the_keys_can_be_configured() {
    let idp = Idp::start(json!([first_rsa().jwk("rsa-1")])).await;
    let url = format!("jwks_url = {:?}", idp.keys_url());
    let mut bench = Bench::start().await;
    bench.verifier = super::support::verifier(&config(&idp, &url));
    bench.idp = idp;
    bench
        .idp
        .answer_discovery(Answer::Status(StatusCode::NOT_FOUND));
    assert_eq!(bench.reason(&bench.token()).await, "admitted");
    assert_eq!(
        (bench.idp.discovery_requests(), bench.idp.keys_requests()),
        (0, 1)
    );
}

#[tokio::test]
async fn the_place_of_the_keys_is_found_anew_each_time() {
    let bench = Bench::start().await;
    assert_eq!(bench.reason(&bench.token()).await, "admitted");
    let elsewhere = Idp::start(json!([])).await;
    let mut document = bench.idp.discovery();
    document["jwks_uri"] = elsewhere.keys_url().into();
    bench.idp.answer_discovery(Answer::Json(document));
    bench.clock.advance(600);
    // Its certificate is of a CA that is not configured.
    assert_eq!(bench.reason(&bench.token()).await, "admitted");
    assert_eq!(
        (bench.idp.keys_requests(), elsewhere.keys_requests()),
        (1, 0)
    );
}

#[tokio::test]
async fn a_provider_with_a_certificate_of_somebody_elses_is_not_heard() {
    let mut bench = Bench::start().await;
    let other = tempfile::NamedTempFile::new().unwrap();
    fs::write(
        other.path(),
        ScratchCa::root("Another CA").certificate_pem(),
    )
    .unwrap();
    let mut config = config(&bench.idp, "");
    config.ca_file = Some(other.path().to_owned());
    bench.verifier = super::support::verifier(&config);
    assert_eq!(bench.reason(&bench.token()).await, "keys-unavailable");
    assert_eq!(bench.idp.discovery_requests(), 0);
}

#[tokio::test]
async fn what_is_wrong_with_the_configuration_is_told_with_its_place() {
    let idp = Idp::start(json!([])).await;
    let empty = tempfile::NamedTempFile::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let told = |change: &dyn Fn(&mut crate::oidc::OidcConfig)| {
        let mut config = config(&idp, "");
        change(&mut config);
        let mut problems = SetUpProblems::default();
        let loaded = OidcVerifier::load(&config, &mut problems);
        problems.finish(loaded).unwrap_err().problems().join("\n")
    };
    for (issuer, rule) in [
        ("http://login.example.com", "https"),
        ("https://login.example.com/?tenant=1", "no query"),
        ("https://me:secret@login.example.com", "without user"),
        ("login.example.com", "such as https://"),
    ] {
        let told = told(&|config| config.issuer = issuer.to_owned());
        assert!(
            told.starts_with("[oidc] issuer: ") && told.contains(rule),
            "{told}"
        );
        assert!(!told.contains("secret"), "{told}");
    }
    let url = told(&|config| config.jwks_url = Some("http://login.example.com/keys".to_owned()));
    assert!(url.starts_with("[oidc] jwks_url: "), "{url}");
    for path in [empty.path().to_owned(), folder.path().join("missing.pem")] {
        let told = told(&|config| config.ca_file = Some(path.clone()));
        assert!(
            told.starts_with("[oidc] ca_file: ") && told.contains(&path.display().to_string()),
            "{told}"
        );
    }
    let both = told(&|config| {
        config.audience.clear();
        config.issuer.clear();
    });
    assert_eq!(both.lines().count(), 2, "{both}");
}
