//! What openssl says.

use std::process::Command;

use leafgate_identity::UnixMs;
use leafgate_pki::{
    CertStatus, CrlReason, Issued, Issuer, OcspRequest, OcspResponseData, RevokedEntry,
    SingleResponse, crl_pem,
};
use tempfile::TempDir;

use super::HOUR;

/// A scratch folder with openssl in it.
pub(super) struct Folder(TempDir);

impl Folder {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().expect("a scratch folder"))
    }

    pub(super) fn path(&self, name: &str) -> String {
        let path = self.0.path().join(name);
        path.to_str().expect("our own name").to_owned()
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, content).expect("our own folder");
        path
    }

    /// What it prints. Panics where it fails.
    pub(super) fn openssl(&self, arguments: &[&str]) -> String {
        let output = Command::new("openssl")
            .args(arguments)
            .output()
            .expect("these tests need openssl on PATH");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        let both = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&both).into_owned()
    }
}

pub(super) fn accepts_the_certificate(
    issuer: &dyn Issuer,
    root_pem: &str,
    issued: &Issued,
    now: UnixMs,
) {
    let folder = Folder::new();
    let (root, issuer, certificate) = (
        folder.write("root", root_pem),
        folder.write("issuer", issuer.certificate_pem()),
        folder.write("certificate", &issued.certificate_pem),
    );
    let at = now.as_secs().to_string();
    let common = ["verify", "-x509_strict", "-attime", &at, "-CAfile", &root];
    let rest = ["-untrusted", &issuer, "-purpose", "sslclient", &certificate];
    folder.openssl(&[&common[..], &rest].concat());
}

pub(super) async fn accepts_lists(
    issuer: &dyn Issuer,
    root_pem: &str,
    issued: &Issued,
    now: UnixMs,
) {
    let folder = Folder::new();
    let entries: Vec<_> = [CrlReason::KeyCompromise, CrlReason::Unspecified]
        .into_iter()
        .zip(0_u8..)
        .map(|(reason, number)| RevokedEntry {
            serial: match number {
                0 => issued.serial,
                _ => leafgate_identity::SerialNumber::from_be_bytes(&[0x80, number])
                    .expect("a number"),
            },
            revoked_at: now,
            reason,
        })
        .collect();
    let list = issuer
        .sign_crl(&entries, 3, now, now.saturating_add(HOUR))
        .await
        .expect("a list");
    let (root, issuer, list) = (
        folder.write("root", root_pem),
        folder.write("issuer", issuer.certificate_pem()),
        folder.write("list", crl_pem(&list)),
    );
    let text = folder.openssl(&["crl", "-in", &list, "-noout", "-text", "-CAfile", &issuer]);
    assert!(text.contains("verify OK"), "{text}");
    assert!(text.contains("Key Compromise"), "{text}");
    let certificate = folder.write("certificate", &issued.certificate_pem);
    let at = now.as_secs().to_string();
    let output = Command::new("openssl")
        .args(["verify", "-x509_strict", "-crl_check", "-attime", &at])
        .args(["-CAfile", &root, "-untrusted", &issuer, "-CRLfile", &list])
        .arg(&certificate)
        .output()
        .expect("openssl");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && text.contains("certificate revoked"),
        "{text}"
    );
}

pub(super) async fn accepts_status_answers(
    issuer: &dyn Issuer,
    root_pem: &str,
    issued: &Issued,
    now: UnixMs,
) {
    let folder = Folder::new();
    let (root, issuer_file, certificate) = (
        folder.write("root", root_pem),
        folder.write("issuer", issuer.certificate_pem()),
        folder.write("certificate", &issued.certificate_pem),
    );
    let request = folder.path("request");
    let ask = [
        "ocsp",
        "-issuer",
        &issuer_file,
        "-cert",
        &certificate,
        "-reqout",
        &request,
    ];
    folder.openssl(&[&ask[..], &["-no_nonce"]].concat());
    let asked = std::fs::read(&request).expect("openssl wrote it");
    let asked = OcspRequest::parse(&asked).expect("openssl's request");
    let revoked = CertStatus::Revoked {
        at: now,
        reason: CrlReason::Superseded,
    };
    for (status, told) in [
        (CertStatus::Good, "good"),
        (revoked, "revoked"),
        (CertStatus::Unknown, "unknown"),
    ] {
        let responses = asked.cert_ids.iter().map(|cert_id| SingleResponse {
            cert_id: cert_id.clone(),
            status,
        });
        let answer = issuer
            .sign_ocsp(&OcspResponseData {
                responses: responses.collect(),
                nonce: None,
                produced_at: now,
                this_update: now,
                next_update: now.saturating_add(HOUR),
            })
            .await
            .expect("an answer");
        let answer = folder.write("answer", answer);
        let at = now.as_secs().to_string();
        let read = [
            "ocsp",
            "-respin",
            &answer,
            "-issuer",
            &issuer_file,
            "-cert",
            &certificate,
            "-CAfile",
            &root,
            "-verify_other",
            &issuer_file,
            "-attime",
            &at,
            "-no_nonce",
            "-validity_period",
            "1000000000",
        ];
        let text = folder.openssl(&read);
        assert!(text.contains("Response verify OK"), "{text}");
        assert!(text.contains(&format!("{certificate}: {told}")), "{text}");
    }
}
