//! A bench whose issuers follow one another.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use leafgate_identity::{SpkiHash, spki_hash_of_certificate_pem};
use leafgate_pki::{CaDirectory, Intermediate, RootAuthority};
use serde_json::{Value, json};
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use crate::bench::Bench;
use crate::support::tools::{self, openssl};
use crate::support::{Api, now, until};

impl Bench {
    pub(crate) fn ca(&self) -> CaDirectory {
        CaDirectory::open(&self.world.folder.path().join("ca")).unwrap()
    }

    /// The issuers of devices that the API tells of.
    pub(crate) async fn device_issuers(&self) -> Vec<Value> {
        device_issuers(&self.world.admin).await
    }

    /// Prepares the next issuer of devices in the folder, and waits until the service knows it.
    pub(crate) async fn prepared(&self) -> (SpkiHash, SpkiHash) {
        let old = self.device_issuers().await[0]["issuer"].clone();
        let new = prepare(&self.ca());
        let known = async || {
            let all = self.device_issuers().await;
            all.iter()
                .any(|it| it["issuer"] == json!(new) && it["since"].is_string())
        };
        until(known).await;
        (serde_json::from_value(old).unwrap(), new)
    }

    pub(crate) async fn activate(&self, issuer: &SpkiHash) -> Value {
        let path = format!("/v1/issuers/{issuer}/activate");
        let activated = self.world.admin.post(&path, json!({ "now": true }));
        activated.await.expect(200)
    }

    pub(crate) async fn retire(&self, issuer: &SpkiHash) -> Value {
        let path = format!("/v1/issuers/{issuer}/retire");
        self.world.admin.post(&path, json!({})).await.expect(200)
    }

    /// The certificates that EST says are to be trusted.
    pub(crate) async fn est_certificates(&self) -> Vec<SpkiHash> {
        let asked = self.world.admin.anonymous();
        let body = asked.get("/.well-known/est/cacerts").await;
        assert_eq!(body.status, 200);
        let body = body.text.replace(['\r', '\n'], "");
        let der = data_encoding::BASE64.decode(body.as_bytes()).unwrap();
        let printed = openssl(&["pkcs7", "-inform", "DER", "-print_certs"], &der);
        let blocks = pem::parse_many(printed).unwrap();
        blocks.iter().map(spki_hash_of).collect()
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.world.folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// What openssl is told of a certificate of this issuer.
    pub(crate) fn ocsp(&self, issuer_pem: &str, chain: &str) -> String {
        let world = &self.world;
        tools::ocsp(world.folder.path(), world.status, issuer_pem, chain)
    }

    /// Whether openssl accepts a device's chain, with the revocation lists that are served of its issuer and the root.
    pub(crate) async fn verifies(&self, issuer: &SpkiHash, chain: &str) -> bool {
        let mut lists = String::new();
        for name in [issuer.to_string(), "root".to_owned()] {
            let url = format!("http://{}/crl/{name}.crl", self.world.status);
            let der = reqwest::get(url).await.unwrap().bytes().await.unwrap();
            assert!(CertificateRevocationList::from_der(&der).is_ok(), "{name}");
            lists.push_str(&leafgate_pki::crl_pem(&der));
        }
        let (list, certificate) = (
            self.write("lists.pem", lists),
            self.write("leaf.crt", chain),
        );
        let (root, devices) = (
            self.ca().root_certificate(),
            self.ca().certificate(Intermediate::Devices),
        );
        let at = |path: &Path| path.to_str().unwrap().to_owned();
        let verified = Command::new("openssl")
            .args(["verify", "-x509_strict", "-crl_check_all"])
            .args(["-CAfile", &at(&root), "-untrusted", &at(&devices)])
            .args(["-CRLfile", &at(&list), &at(&certificate)])
            .output()
            .unwrap();
        let complaint = String::from_utf8_lossy(&verified.stderr).into_owned();
        let is_revoked = complaint.contains("certificate revoked");
        assert!(verified.status.success() || is_revoked, "{complaint}");
        !is_revoked
    }
}

pub(crate) async fn device_issuers(api: &Api) -> Vec<Value> {
    let list = api.get("/v1/issuers").await.expect(200);
    let all = list["issuers"].as_array().unwrap().iter();
    all.filter(|it| it["name"] == "devices").cloned().collect()
}

fn prepare(ca: &CaDirectory) -> SpkiHash {
    let key = ca.path().join("root.key");
    let root = RootAuthority::read_plain(&ca.root_certificate(), &key).unwrap();
    let next = ca.prepare_next(Intermediate::Devices, &root, false, now());
    next.unwrap().issuer
}

/// The issuer of what was issued, which must have signed it.
pub(crate) fn issuer_of(issued: &Value) -> SpkiHash {
    let chain = pem::parse_many(issued["chain"].as_str().unwrap()).unwrap();
    let (_, leaf) = x509_parser::parse_x509_certificate(chain[0].contents()).unwrap();
    let (_, issuer) = x509_parser::parse_x509_certificate(chain[1].contents()).unwrap();
    leaf.verify_signature(Some(issuer.public_key())).unwrap();
    spki_hash_of(&chain[1])
}

fn spki_hash_of(block: &pem::Pem) -> SpkiHash {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    spki_hash_of_certificate_pem(&pem::encode_config(block, config)).unwrap()
}
