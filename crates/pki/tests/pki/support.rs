//! A CA in a temporary folder and the `openssl` on PATH.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use leafgate_identity::{CnPattern, DeviceId, UnixMs};
use leafgate_pki::{
    CaDirectory, EmbeddedCa, Intermediate, Issued, Issuer, Profile, PublicKeyInfo, RootKey,
    StatusUrl, StatusUrls, init_with_root_crl_url,
};
use secrecy::SecretString;
use tempfile::TempDir;

/// 2026-03-01T12:00:00.250Z: certificates must come out right although it is no whole second.
pub(crate) const NOW: UnixMs = UnixMs::new(1_772_366_400_250);
pub(crate) const PASSPHRASE: &str = "correct horse battery staple";

pub(crate) struct TestCa {
    pub(crate) dir: TempDir,
    pub(crate) ca: CaDirectory,
    status: Option<StatusUrl>,
}

impl TestCa {
    pub(crate) fn create() -> Self {
        Self::create_under(None)
    }

    /// A CA whose certificates say that their status is served under this URL.
    pub(crate) fn with_status(base: &str) -> Self {
        Self::create_under(Some(StatusUrl::parse(base).unwrap()))
    }

    fn create_under(status: Option<StatusUrl>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ca = init_with_root_crl_url(
            &dir.path().join("ca"),
            RootKey::Encrypted {
                out: &dir.path().join("root.key"),
                passphrase: &SecretString::from(PASSPHRASE),
            },
            status.as_ref().map(StatusUrl::root_crl).as_ref(),
            NOW,
        )
        .unwrap();
        Self { dir, ca, status }
    }

    pub(crate) fn load(&self, intermediate: Intermediate) -> EmbeddedCa {
        let ca = self.ca.load(intermediate).unwrap();
        match &self.status {
            None => ca,
            Some(base) => {
                let urls = StatusUrls::under(base, ca.spki());
                ca.with_status_urls(urls)
            }
        }
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

/// The kinds of key that a CA of somebody else's making may have.
pub(crate) const CA_KEYS: [(&str, &[&str]); 4] = [
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
];

/// A CA that OpenSSL made, valid at [`NOW`]: its certificate, and itself loaded.
pub(crate) fn foreign_ca(test: &TestCa, new_key: &[&str]) -> (PathBuf, EmbeddedCa) {
    let (key, csr, certificate) = (
        test.path("foreign.key"),
        test.path("foreign.csr"),
        test.path("foreign.crt"),
    );
    let mut args = vec!["req", "-new", "-nodes", "-subj", "/O=Example/CN=own"];
    args.extend(["-keyout", key.to_str().unwrap()]);
    args.extend(["-out", csr.to_str().unwrap()]);
    args.extend(new_key);
    openssl(&args);
    let config = test.write(
        "foreign.conf",
        "[ca]\ndefault_ca=own\n[own]\ndatabase=index.txt\nserial=serial\nnew_certs_dir=.\n\
         default_md=default\npolicy=any\n[any]\norganizationName=supplied\ncommonName=supplied\n\
         [extensions]\nbasicConstraints=critical,CA:TRUE,pathlen:0\n\
         keyUsage=critical,digitalSignature,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n",
    );
    test.write("index.txt", "");
    test.write("serial", "01");
    let output = Command::new("openssl")
        .current_dir(test.dir.path())
        .args(["ca", "-batch", "-selfsign", "-extensions", "extensions"])
        .args([
            "-startdate",
            "20260101000000Z",
            "-enddate",
            "20270101000000Z",
        ])
        .args([Path::new("-config"), &config, Path::new("-in"), &csr])
        .args([Path::new("-keyfile"), &key, Path::new("-out"), &certificate])
        .arg("-notext")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let ca = EmbeddedCa::load(&certificate, &key).unwrap();
    (certificate, ca)
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
