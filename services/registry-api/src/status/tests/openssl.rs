use std::path::Path;
use std::process::Command;

use super::world::{Leaf, World};

/// Runs `openssl` and returns what it printed; panics with its complaint if it fails.
pub(super) fn openssl(args: &[&str]) -> String {
    let (succeeded, said) = try_openssl(args);
    assert!(succeeded, "openssl {}: {said}", args.join(" "));
    said
}

pub(super) fn try_openssl(args: &[&str]) -> (bool, String) {
    let output = Command::new("openssl")
        .args(args)
        .output()
        .expect("these tests need openssl on PATH");
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    (output.status.success(), said)
}

/// The state that an OCSP answer to [`World::request`] gives a certificate, if OpenSSL accepts it.
pub(super) fn state_in(world: &World, response: &[u8], leaf: &Leaf) -> String {
    let path = world.path("response.der");
    std::fs::write(&path, response).unwrap();
    let (issuer, root) = (world.issuer(), world.ca.root_certificate());
    let said = openssl(&[
        "ocsp",
        "-respin",
        path.to_str().unwrap(),
        "-issuer",
        issuer.to_str().unwrap(),
        "-cert",
        leaf.path.to_str().unwrap(),
        "-CAfile",
        root.to_str().unwrap(),
        "-verify_other",
        issuer.to_str().unwrap(),
        "-no_nonce",
    ]);
    assert!(said.contains("Response verify OK"), "{said}");
    state(&said, leaf)
}

/// The state that `openssl ocsp` printed of a certificate.
pub(super) fn state(said: &str, leaf: &Leaf) -> String {
    let start = format!("{}: ", leaf.path.display());
    let line = said.lines().find_map(|line| line.strip_prefix(&start));
    line.unwrap_or_else(|| panic!("no state in\n{said}"))
        .to_owned()
}

/// Why an OCSP request was refused, as `openssl ocsp` has it.
pub(super) fn refusal(world: &World, response: &[u8]) -> String {
    let path = world.path("response.der");
    std::fs::write(&path, response).unwrap();
    let (_, said) = try_openssl(&["ocsp", "-respin", path.to_str().unwrap(), "-noverify"]);
    let (_, error) = said
        .split_once("Responder Error: ")
        .unwrap_or_else(|| panic!("no refusal in\n{said}"));
    error.lines().next().unwrap().to_owned()
}

/// What `openssl crl` tells of a list in DER whose signature it accepts.
pub(super) fn list_text(list: &Path, issuer: &Path) -> String {
    let said = openssl(&[
        "crl",
        "-inform",
        "DER",
        "-in",
        list.to_str().unwrap(),
        "-noout",
        "-text",
        "-CAfile",
        issuer.to_str().unwrap(),
    ]);
    assert!(said.contains("verify OK"), "{said}");
    said
}
