//! A CA in a temporary folder and the `openssl` on PATH.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use leafgate_identity::{CnPattern, DeviceId, UnixMs};
use leafgate_pki::{
    CaDirectory, EmbeddedCa, Intermediate, Issued, Issuer, Profile, PublicKeyInfo, RootKey, init,
};
use secrecy::SecretString;
use tempfile::TempDir;

/// 2026-03-01T12:00:00.250Z: certificates must come out right although it is no whole second.
pub(crate) const NOW: UnixMs = UnixMs::new(1_772_366_400_250);
pub(crate) const PASSPHRASE: &str = "correct horse battery staple";

pub(crate) struct TestCa {
    pub(crate) dir: TempDir,
    pub(crate) ca: CaDirectory,
}

impl TestCa {
    pub(crate) fn create() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ca = init(
            &dir.path().join("ca"),
            RootKey::Encrypted {
                out: &dir.path().join("root.key"),
                passphrase: &SecretString::from(PASSPHRASE),
            },
            NOW,
        )
        .unwrap();
        Self { dir, ca }
    }

    pub(crate) fn root_key(&self) -> PathBuf {
        self.path("root.key")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

pub(crate) fn device(id: &str) -> Profile {
    Profile::device(&CnPattern::default(), &DeviceId::parse(id).unwrap()).unwrap()
}

/// A certificate made at [`NOW`].
pub(crate) async fn issue(ca: &EmbeddedCa, profile: Profile, key: PublicKeyInfo) -> Issued {
    ca.issue(ca.prepare(profile, key, NOW).unwrap())
        .await
        .unwrap()
}

/// Whether `openssl verify`, at its strictest, accepts a certificate below an intermediate of `ca`
/// at [`NOW`]; `more` are further options.
pub(crate) fn verify(ca: &TestCa, leaf: &Path, intermediate: Intermediate, more: &[&str]) -> bool {
    verify_at(NOW, ca, leaf, intermediate, more)
}

/// [`verify`] at another time.
pub(crate) fn verify_at(
    at: UnixMs,
    ca: &TestCa,
    leaf: &Path,
    intermediate: Intermediate,
    more: &[&str],
) -> bool {
    let (root, below) = (ca.ca.root_certificate(), ca.ca.certificate(intermediate));
    let at = at.as_secs().to_string();
    let mut args = vec!["verify", "-x509_strict", "-attime", &at];
    args.extend(more);
    args.extend(["-CAfile", root.to_str().unwrap()]);
    args.extend(["-untrusted", below.to_str().unwrap()]);
    args.push(leaf.to_str().unwrap());
    try_openssl(&args).status.success()
}

/// What `openssl x509` tells of a certificate.
pub(crate) fn text(certificate: &Path) -> String {
    openssl(&[
        "x509",
        "-in",
        certificate.to_str().unwrap(),
        "-noout",
        "-text",
    ])
}

/// Runs `openssl` and returns what it printed; panics with its complaint if it fails.
pub(crate) fn openssl(args: &[&str]) -> String {
    let output = try_openssl(args);
    assert!(
        output.status.success(),
        "openssl {}: {}{}",
        args.join(" "),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn try_openssl(args: &[&str]) -> Output {
    Command::new("openssl")
        .args(args)
        .output()
        .expect("these tests need openssl on PATH")
}

/// A new key in `key` and a certificate request for it.
pub(crate) fn openssl_csr(key: &Path, args: &[&str]) -> String {
    let key = key.to_str().unwrap();
    let mut all = vec![
        "req",
        "-new",
        "-nodes",
        "-subj",
        "/CN=whatever",
        "-keyout",
        key,
    ];
    all.extend(args);
    openssl(&all)
}

pub(crate) const ACCEPTED_KEYS: [(&str, &[&str]); 6] = [
    (
        "P-256",
        &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    ),
    (
        "P-384",
        &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"],
    ),
    ("Ed25519", &["-newkey", "ed25519"]),
    ("RSA 2048", &["-newkey", "rsa:2048"]),
    ("RSA 3072", &["-newkey", "rsa:3072"]),
    ("RSA 4096", &["-newkey", "rsa:4096"]),
];
