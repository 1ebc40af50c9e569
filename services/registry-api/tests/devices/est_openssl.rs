//! EST by hand with OpenSSL alone: its requests, its TLS, its reading of the answers.

use std::path::Path;

use serde_json::json;

use crate::bench::Bench;
use crate::support::tools::openssl;

struct Shell<'a> {
    bench: &'a Bench,
    folder: &'a Path,
}

impl Shell<'_> {
    fn path(&self, name: &str) -> String {
        self.folder.join(name).to_str().unwrap().to_owned()
    }

    /// A certificate request (DER) of a new key for these names.
    fn request(&self, key: &str, name: &str) -> Vec<u8> {
        let (key, subject) = (self.path(key), format!("/CN={name}"));
        let names = format!("subjectAltName=DNS:{name}");
        let new = [
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ];
        let what = [
            "-subj", &subject, "-addext", &names, "-keyout", &key, "-outform", "DER",
        ];
        openssl(&[&["req", "-new"][..], &new, &what].concat(), b"")
    }

    /// Sends a request over `openssl s_client` and gives the base64 of the answer's body.
    fn send(&self, operation: &str, headers: &str, tls: &[&str], der: &[u8]) -> String {
        let body = openssl(&["base64"], der);
        let port = self.bench.addresses.api.port();
        let (address, ca) = (format!("localhost:{port}"), self.path("server-ca.pem"));
        let head = format!(
            "POST /.well-known/est/{operation} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\
             Content-Type: application/pkcs10\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let request = [head.as_bytes(), &body].concat();
        let connect = [
            "s_client",
            "-connect",
            &address,
            "-quiet",
            "-verify_return_error",
            "-CAfile",
            &ca,
        ];
        let answer = openssl(&[&connect[..], tls].concat(), &request);
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        body.to_owned()
    }

    /// Takes the one certificate out of a body and has it verified; gives its file.
    fn take(&self, body: &str, name: &str) -> String {
        let der = openssl(&["base64", "-d"], body.as_bytes());
        let pem = openssl(&["pkcs7", "-inform", "DER", "-print_certs"], &der);
        assert_eq!(
            String::from_utf8_lossy(&pem)
                .matches("BEGIN CERTIFICATE")
                .count(),
            1
        );
        let shown = openssl(&["cms", "-cmsout", "-print", "-inform", "DER"], &der);
        assert!(String::from_utf8_lossy(&shown).contains("signerInfos:\n      <EMPTY>"));
        let (certificate, ca) = (self.path(name), self.bench.world.folder.path().join("ca"));
        std::fs::write(&certificate, pem).unwrap();
        let (root, devices) = (ca.join("root.crt"), ca.join("devices.crt"));
        let trust = [
            "-CAfile",
            root.to_str().unwrap(),
            "-untrusted",
            devices.to_str().unwrap(),
        ];
        let verify = ["verify", "-x509_strict", "-purpose", "sslclient"];
        openssl(&[&verify[..], &trust, &[&certificate]].concat(), b"");
        certificate
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn openssl_enrolls_and_reenrolls() {
    let bench = Bench::start().await;
    let (_, bearer) = bench.token(json!({ "ids": ["0001"] })).await;
    let folder = tempfile::tempdir().unwrap();
    let name = "device-0001.device.synadia.local";
    let server_ca = bench.world.server_ca.certificate_pem();
    std::fs::write(folder.path().join("server-ca.pem"), server_ca).unwrap();
    let token = bearer.key().to_owned();
    let bench = tokio::task::spawn_blocking(move || {
        let shell = Shell {
            bench: &bench,
            folder: folder.path(),
        };
        let basic = data_encoding::BASE64.encode(format!("device:{token}").as_bytes());
        let authorization = format!("Authorization: Basic {basic}\r\n");
        let request = shell.request("first.key", name);
        let body = shell.send("simpleenroll", &authorization, &[], &request);
        let certificate = shell.take(&body, "first.crt");
        for tls in ["-tls1_2", "-tls1_3"] {
            let request = shell.request("next.key", name);
            let key = shell.path("first.key");
            let present = [tls, "-cert", &certificate, "-key", &key];
            let body = shell.send("simplereenroll", "", &present, &request);
            shell.take(&body, "next.crt");
        }
        bench
    });
    let bench = bench.await.unwrap();
    let device = bench.device("0001").await;
    assert_eq!(device["certificates"].as_array().unwrap().len(), 3);
}
