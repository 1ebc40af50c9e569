//! Scripts whose certificates their CA has revoked, by lists that OpenSSL makes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use leafgate_registry_api::Setup;
use reqwest::Identity;
use tempfile::TempDir;

use crate::support::{Api, PATIENCE, World, client_builder, config};

const SECTION: &str = r#"
[clients]
ca_file = "clients.crt"
crl_file = "clients.crl"
[[clients.grant]]
common_name = "watch"
roles = ["viewer", "auditor"]
scope.sites = "*"
"#;

const OPENSSL_CONFIG: &str = r#"
[ca]
default_ca = clients
[clients]
database = index.txt
serial = serial
crlnumber = crlnumber
new_certs_dir = .
certificate = ca.crt
private_key = ca.key
default_md = sha256
default_days = 30
default_crl_days = 30
policy = any
unique_subject = no
x509_extensions = client
crl_extensions = list
[any]
commonName = supplied
[client]
basicConstraints = CA:FALSE
keyUsage = digitalSignature
extendedKeyUsage = clientAuth
[root]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[list]
authorityKeyIdentifier = keyid
[req]
distinguished_name = name
prompt = no
[name]
CN = clients
"#;

const NEW_KEY: [&str; 6] = [
    "-nodes",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-batch",
];

/// A CA in a folder, run with `openssl ca`.
struct OpensslCa(TempDir);

impl OpensslCa {
    fn init(common_name: &str) -> Self {
        let ca = Self(tempfile::tempdir().unwrap());
        fs::write(ca.path("openssl.cnf"), OPENSSL_CONFIG).unwrap();
        fs::write(ca.path("index.txt"), "").unwrap();
        for number in ["serial", "crlnumber"] {
            fs::write(ca.path(number), "01\n").unwrap();
        }
        let subject = format!("/CN={common_name}");
        ca.run(&[
            &[
                "req",
                "-x509",
                "-config",
                "openssl.cnf",
                "-extensions",
                "root",
            ],
            &["-subj", &subject, "-keyout", "ca.key", "-out", "ca.crt"],
            &NEW_KEY[..],
        ]);
        ca
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn run(&self, args: &[&[&str]]) {
        let output = Command::new("openssl")
            .args(args.concat())
            .current_dir(self.0.path())
            .output()
            .expect("these tests need openssl on PATH");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {said}");
    }

    /// Makes `NAME.crt` and its key.
    fn issue(&self, name: &str, common_name: &str) {
        let subject = format!("/CN={common_name}");
        let [key, csr, certificate] = ["key", "csr", "crt"].map(|end| format!("{name}.{end}"));
        self.run(&[
            &["req", "-new", "-config", "openssl.cnf", "-subj", &subject],
            &["-keyout", &key, "-out", &csr],
            &NEW_KEY[..],
        ]);
        self.run(&[
            &["ca", "-config", "openssl.cnf", "-batch", "-notext"],
            &["-in", &csr, "-out", &certificate],
        ]);
    }

    fn revoke(&self, name: &str) {
        let certificate = format!("{name}.crt");
        self.run(&[&["ca", "-config", "openssl.cnf", "-revoke", &certificate]]);
    }

    /// A list of what is revoked by now.
    fn list(&self, more: &[&str]) -> String {
        self.run(&[
            &[
                "ca",
                "-config",
                "openssl.cnf",
                "-gencrl",
                "-out",
                "list.crl",
            ],
            more,
        ]);
        self.read("list.crl")
    }

    /// Somebody without a key who connects with a certificate.
    fn holder(&self, world: &World, name: &str) -> Api {
        let pem = self.read(&format!("{name}.crt")) + &self.read(&format!("{name}.key"));
        let identity = Identity::from_pem(pem.as_bytes()).unwrap();
        let client = client_builder(&world.server_ca).identity(identity).build();
        world.admin.anonymous().through(client.unwrap())
    }

    async fn world(&self, list: &str) -> World {
        let files = [
            ("clients.crt", &*self.read("ca.crt")),
            ("clients.crl", list),
        ];
        World::start_with_files(SECTION, &files).await
    }
}

/// An hour that is over.
const ENDED: [&str; 4] = [
    "-crl_lastupdate",
    "20250101000000Z",
    "-crl_nextupdate",
    "20250101010000Z",
];

/// Puts another list in the place of the one that is read.
fn replace(world: &World, list: &str) {
    let (new, path) = (path(world, "new.crl"), path(world, "clients.crl"));
    fs::write(&new, list).unwrap();
    fs::rename(new, path).unwrap();
}

fn path(world: &World, name: &str) -> PathBuf {
    world.folder.path().join(name)
}

/// Returns when this holder is answered so.
async fn until_status(holder: &Api, status: u16) -> crate::support::Answer {
    let mut waited = Duration::ZERO;
    loop {
        let answer = holder.get("/v1/devices").await;
        if answer.status == status {
            return answer;
        }
        assert!(waited < PATIENCE, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
        waited += Duration::from_millis(100);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_certificate_is_revoked_gets_in_no_more() {
    let ca = OpensslCa::init("clients");
    for name in ["kept", "lost", "late"] {
        ca.issue(name, "watch");
    }
    ca.revoke("lost");
    let world = ca.world(&ca.list(&[])).await;
    let [kept, lost, late] = ["kept", "lost", "late"].map(|name| ca.holder(&world, name));
    kept.get("/v1/devices").await.expect(200);
    let refused = lost.get("/v1/devices").await;
    assert!(
        refused
            .problem("credentials-invalid")
            .contains("is revoked")
    );

    // On a connection that lasts, and for a stream that does.
    late.get("/v1/devices").await.expect(200);
    let stream = late.request(reqwest::Method::GET, "/v1/events/stream");
    let stream = stream.send().await.unwrap();
    assert_eq!(stream.status(), 200);
    ca.revoke("late");
    replace(&world, &ca.list(&[]));
    let refused = until_status(&late, 401).await;
    assert!(
        refused
            .problem("credentials-invalid")
            .contains("is revoked")
    );
    // By itself, before this client gives it up.
    stream.bytes().await.unwrap();
    kept.get("/v1/devices").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_has_ended_or_is_a_strangers_lets_nobody_in() {
    let ca = OpensslCa::init("clients");
    ca.issue("kept", "watch");
    let world = ca.world(&ca.list(&ENDED)).await;
    let kept = ca.holder(&world, "kept");
    let readiness = async || {
        let url = format!("http://{}/readyz", world.health);
        let answer = reqwest::get(url).await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.text().await.unwrap()
    };
    let refused = kept.get("/v1/devices").await;
    let detail = refused.problem("credentials-invalid");
    assert!(detail.contains("no current revocation list"), "{detail}");
    assert!(readiness().await.contains("[clients] crl_file ended"));

    replace(&world, &ca.list(&[]));
    until_status(&kept, 200).await;
    assert!(!readiness().await.contains("[clients]"));

    // Of the same name, and another key.
    let twin = OpensslCa::init("clients");
    replace(&world, &twin.list(&[]));
    let refused = until_status(&kept, 401).await;
    let detail = refused.problem("credentials-invalid");
    assert!(detail.contains("no current revocation list"), "{detail}");

    // What is no list changes nothing: by the list before, nobody gets in either.
    replace(&world, "garbage");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(kept.get("/v1/devices").await.status, 401);
    replace(&world, &ca.list(&[]));
    until_status(&kept, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ca_of_clients_is_replaced_while_it_serves() {
    let (old, new) = (OpensslCa::init("clients"), OpensslCa::init("more clients"));
    for ca in [&old, &new] {
        ca.issue("kept", "watch");
    }
    let world = old.world(&old.list(&[])).await;
    let (of_old, of_new) = (old.holder(&world, "kept"), new.holder(&world, "kept"));
    of_old.get("/v1/devices").await.expect(200);
    of_new
        .get("/v1/devices")
        .await
        .problem("credentials-invalid");
    // Lists first: a CA without one is refused.
    replace(&world, &(old.list(&[]) + &new.list(&[])));
    fs::write(
        path(&world, "clients.crt"),
        old.read("ca.crt") + &new.read("ca.crt"),
    )
    .unwrap();
    until_status(&of_new, 200).await;
    of_old.get("/v1/devices").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_that_are_no_use_are_told_of_at_the_start() {
    let ca = OpensslCa::init("clients");
    let world = ca.world(&ca.list(&[])).await;
    let said = |file: &Path| {
        let sections = SECTION.replace("clients.crl", file.to_str().unwrap());
        let refused = Setup::load(config(&world.folder, &sections));
        refused.unwrap_err().to_string()
    };
    let stranger = OpensslCa::init("others");
    stranger.list(&[]);
    ca.run(&[&[
        "crl", "-in", "list.crl", "-outform", "DER", "-out", "list.der",
    ]]);
    // RFC 5280 section 5.1.2.1: without extensions it is of version 1.
    let text = OPENSSL_CONFIG.replace("crl_extensions = list", "");
    let text = text.replace("crlnumber = crlnumber", "");
    fs::write(ca.path("version1.cnf"), text).unwrap();
    ca.run(&[&["ca", "-config", "version1.cnf", "-gencrl", "-out", "1.crl"]]);
    for (file, told) in [
        (ca.path("none.crl"), "none.crl"),
        (ca.path("ca.crt"), "holds no revocation list in PEM"),
        (
            stranger.path("list.crl"),
            "no revocation list of \"CN=clients\"",
        ),
        (ca.path("1.crl"), "version 2"),
    ] {
        let said = said(&file);
        assert!(
            said.contains("[clients] crl_file: ") && said.contains(told),
            "{told}: {said}"
        );
    }
    assert!(said(&ca.path("list.der")).contains("[clients] crl_file: "));
}
