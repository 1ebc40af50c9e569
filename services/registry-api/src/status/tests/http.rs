//! What is served where, and how it may be kept.

use std::path::Path;

use reqwest::Method;

use super::openssl::{list_text, openssl, refusal, state, try_openssl};
use super::world::{Answer, Leaf, World, client};

/// The list that a certificate points to, in PEM.
async fn list_of(world: &World, certificate: &Path) -> String {
    let certificate = certificate.to_str().unwrap();
    let shown = openssl(&[
        "x509",
        "-in",
        certificate,
        "-noout",
        "-ext",
        "crlDistributionPoints",
    ]);
    let (_, url) = shown.split_once("URI:").unwrap();
    let list = world.first.get(url.trim()).await;
    let path = world.path("list.crl");
    list.write(&path);
    openssl(&["crl", "-inform", "DER", "-in", path.to_str().unwrap()])
}

/// Whether OpenSSL, at its strictest, accepts a certificate with its whole chain, by the lists that the certificates
/// point to.
async fn chain_is_accepted(world: &World, leaf: &Leaf) -> bool {
    let (root, below) = (world.ca.root_certificate(), world.issuer());
    let lists = [
        list_of(world, &leaf.path).await,
        list_of(world, &below).await,
    ];
    let path = world.path("lists.pem");
    std::fs::write(&path, lists.concat()).unwrap();
    let (accepted, said) = try_openssl(&[
        "verify",
        "-x509_strict",
        "-crl_check_all",
        "-CRLfile",
        path.to_str().unwrap(),
        "-CAfile",
        root.to_str().unwrap(),
        "-untrusted",
        below.to_str().unwrap(),
        leaf.path.to_str().unwrap(),
    ]);
    assert!(accepted || said.contains("certificate revoked"), "{said}");
    accepted
}

/// What OpenSSL is told by the responder that a certificate names.
fn state_by_post(world: &World, leaf: &Leaf) -> String {
    let path = leaf.path.to_str().unwrap();
    let url = openssl(&["x509", "-in", path, "-noout", "-ocsp_uri"]);
    let (issuer, root) = (world.issuer(), world.ca.root_certificate());
    let said = openssl(&[
        "ocsp",
        "-url",
        url.trim(),
        "-issuer",
        issuer.to_str().unwrap(),
        "-cert",
        path,
        "-CAfile",
        root.to_str().unwrap(),
        "-verify_other",
        issuer.to_str().unwrap(),
    ]);
    assert!(said.contains("Response verify OK"), "{said}");
    assert!(!said.contains("WARNING"), "{said}");
    state(&said, leaf)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_says_where_its_revocation_is_told_and_it_is() {
    let world = World::start().await;
    let (kept, lost) = (world.enrol("kept").await, world.enrol("lost").await);
    for leaf in [&kept, &lost] {
        assert!(chain_is_accepted(&world, leaf).await);
        assert_eq!(state_by_post(&world, leaf), "good");
    }
    world.revoke_and_wait(&lost).await;
    assert!(!chain_is_accepted(&world, &lost).await);
    assert_eq!(state_by_post(&world, &lost), "revoked");
    assert!(chain_is_accepted(&world, &kept).await);
    assert_eq!(state_by_post(&world, &kept), "good");
}

#[tokio::test]
async fn a_list_may_be_kept_until_the_next_and_is_not_sent_again() {
    let world = World::start().await;
    let url = world.first.list_url();
    let list = world.first.get(&url).await;
    assert_eq!(
        (list.status, list.header("content-type")),
        (200, "application/pkix-crl")
    );
    let path = world.path("list.crl");
    list.write(&path);
    let text = list_text(&path, &world.issuer());
    assert!(text.contains("No Revoked Certificates."), "{text}");
    let max_age = list.header("cache-control");
    let max_age = max_age.strip_prefix("max-age=").unwrap();
    let max_age: u64 = max_age.strip_suffix(", public").unwrap().parse().unwrap();
    assert!((86_300..=86_400).contains(&max_age), "{max_age}");
    for (header, line) in [("last-modified", "Last Update"), ("expires", "Next Update")] {
        let (_, date) = text.split_once(&format!("{line}: ")).unwrap();
        let date: Vec<_> = date.lines().next().unwrap().split_whitespace().collect();
        let [month, day, time, year, _] = date[..] else {
            panic!("{date:?}");
        };
        let expected = format!("{day:0>2} {month} {year} {time} GMT");
        let (_, shown) = list.header(header).split_once(", ").unwrap();
        assert_eq!(shown, expected);
    }

    let tag = list.header("etag").to_owned();
    let again = client().get(&url).header("if-none-match", &tag);
    let again = Answer::of(again).await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    assert_eq!(again.header("etag"), tag);

    let leaf = world.enrol("0001").await;
    world.revoke_and_wait(&leaf).await;
    let changed = client().get(&url).header("if-none-match", &tag);
    let changed = Answer::of(changed).await;
    assert_eq!(changed.status, 200);
    assert_ne!(changed.header("etag"), tag);
    changed.write(&path);
    let serial = leaf.serial.to_string().to_uppercase();
    let text = list_text(&path, &world.issuer());
    assert!(text.contains(&format!("Serial Number: {serial}")), "{text}");
}

#[tokio::test]
async fn the_roots_list_is_served_in_der_as_its_file_has_it() {
    let world = World::start().await;
    let url = format!("{}/crl/root.crl", world.first.base);
    let file = world.ca.root_crl();
    let (as_pem, as_der) = (std::fs::read(&file).unwrap(), world.path("root.der"));
    let list = world.first.get(&url).await;
    assert_eq!(
        (list.status, list.header("content-type")),
        (200, "application/pkix-crl")
    );
    list.write(&as_der);
    list_text(&as_der, &world.ca.root_certificate());

    // A file in DER is served alike.
    std::fs::copy(&as_der, &file).unwrap();
    assert_eq!(world.first.get(&url).await.body, list.body);
    for broken in [&b""[..], b"junk", &as_pem[..as_pem.len() / 2]] {
        std::fs::write(&file, broken).unwrap();
        let refused = world.first.get(&url).await;
        assert_eq!((refused.status, refused.header("retry-after")), (503, "5"));
    }
    std::fs::remove_file(&file).unwrap();
    assert_eq!(world.first.get(&url).await.status, 503);
}

#[tokio::test]
async fn nothing_else_is_served() {
    let world = World::start().await;
    let first = &world.first;
    let unknown = format!("/crl/{}.crl", "ab".repeat(32));
    for path in [
        "/",
        "/crl",
        "/crl/",
        "/crl/devices.crl",
        &unknown,
        &unknown.to_uppercase(),
        "/crl/root.crl/x",
        "/crl/..%2Fca%2Froot.crl",
        "/metrics",
        "/v1/devices",
        "/health",
    ] {
        let answer = first.get(&format!("{}{path}", first.base)).await;
        assert_eq!(answer.status, 404, "{path}");
    }
    for (method, path) in [
        (Method::POST, "/crl/root.crl"),
        (Method::DELETE, "/crl/root.crl"),
        (Method::GET, "/ocsp"),
        (Method::PUT, "/ocsp"),
        (Method::POST, "/ocsp/MA"),
    ] {
        let url = format!("{}{path}", first.base);
        let answer = Answer::of(client().request(method.clone(), url)).await;
        assert_eq!(answer.status, 405, "{method} {path}");
    }
    let head = client().head(first.list_url());
    let head = Answer::of(head).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(head.header("content-length").parse::<u64>().unwrap() > 100);
}

#[tokio::test]
async fn an_answer_in_a_path_may_be_kept_for_half_its_life() {
    let world = World::start().await;
    let leaf = world.enrol("0001").await;
    let answer = world
        .first
        .ask_in_path(&world.request(&[&leaf], &["-no_nonce"]))
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/ocsp-response");
    let caching = answer.header("cache-control");
    let (max_age, rest) = caching.split_once(", ").unwrap();
    let max_age: u64 = max_age.strip_prefix("max-age=").unwrap().parse().unwrap();
    assert!((290..=300).contains(&max_age), "{max_age}");
    assert_eq!(rest, "public, no-transform, must-revalidate");
    assert!(answer.header("etag").len() > 10);
    assert!(answer.header("last-modified").ends_with(" GMT"));
    assert!(answer.header("expires").ends_with(" GMT"));

    for answer in [
        world
            .first
            .ask(world.request(&[&leaf], &["-no_nonce"]))
            .await,
        world.first.ask_in_path(&world.request(&[&leaf], &[])).await,
        world.first.ask_in_path(b"junk").await,
    ] {
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("etag"), "");
    }
}

#[tokio::test]
async fn what_is_no_request_is_called_malformed() {
    let world = World::start().await;
    let leaf = world.enrol("0001").await;
    let good = world.request(&[&leaf], &[]);
    let malformed = "malformedrequest (1)";
    for body in [
        Vec::new(),
        b"junk".to_vec(),
        good[..good.len() - 1].to_vec(),
        vec![0x30; 8 * 1024],
        vec![0x30; 64 * 1024],
    ] {
        let length = body.len();
        let answer = world.first.ask(body).await;
        assert_eq!(answer.status, 200, "{length}");
        assert_eq!(refusal(&world, &answer.body), malformed, "{length}");
    }
    for path in ["*", "MA", "%00", "MAoBAQ%3D%3D%3D", &"A".repeat(12_000)] {
        let url = format!("{}/ocsp/{path}", world.first.base);
        let answer = world.first.get(&url).await;
        assert_eq!(answer.status, 200);
        assert_eq!(refusal(&world, &answer.body), malformed);
    }
}
