//! openssl.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

/// What `openssl` makes of this input; it must succeed.
#[track_caller]
pub(crate) fn openssl(args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut running = Command::new("openssl")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("these tests need openssl on PATH");
    running.stdin.take().unwrap().write_all(input).unwrap();
    let ended = running.wait_with_output().unwrap();
    let complaint = String::from_utf8_lossy(&ended.stderr);
    assert!(
        ended.status.success(),
        "openssl {}: {complaint}",
        args.join(" ")
    );
    ended.stdout
}

/// What openssl is told at this address of a certificate (PEM) of this issuer (PEM), and believes. Its files go into
/// `folder`, which has the authority's in `ca`.
pub(crate) fn ocsp(
    folder: &Path,
    status: SocketAddr,
    issuer_pem: &str,
    certificate_pem: &str,
) -> String {
    let at = |name: &str| folder.join(name);
    std::fs::write(at("asked-issuer.crt"), issuer_pem).unwrap();
    std::fs::write(at("asked.crt"), certificate_pem).unwrap();
    let asked = Command::new("openssl")
        .args(["ocsp", "-issuer"])
        .arg(at("asked-issuer.crt"))
        .arg("-cert")
        .arg(at("asked.crt"))
        .arg("-CAfile")
        .arg(at("ca/root.crt"))
        .args(["-url", &format!("http://{status}/ocsp")])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&asked.stdout);
    let also = String::from_utf8_lossy(&asked.stderr);
    assert!(also.contains("Response verify OK"), "{said}{also}");
    let mut lines = said.lines();
    let line = lines.find(|line| line.contains("asked.crt: ")).unwrap();
    line.rsplit(": ").next().unwrap().to_owned()
}
