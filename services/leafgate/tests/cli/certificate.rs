//! Certificates from their issue to their end, on both kinds of registry.

use serde_json::{Value, json};

use crate::support::{Desk, Done};

fn serials(list: &Value) -> Vec<&str> {
    let certificates = list["certificates"].as_array().unwrap();
    certificates
        .iter()
        .map(|certificate| certificate["serial"].as_str().unwrap())
        .collect()
}

#[test]
fn certificates_are_issued_found_renewed_and_revoked() {
    for desk in Desk::with_either() {
        desk.ok("device register 0001");
        desk.ok("device register 0002 --out devices");
        let issued = desk.json("certificate issue 0001 --out devices");
        let first = issued["certificates"][0].clone();
        let (serial, fingerprint) = (
            first["serial"].as_str().unwrap(),
            first["fingerprint"].as_str().unwrap(),
        );
        desk.openssl(
            "verify -x509_strict -CAfile devices/ca.crt -untrusted devices/0001.crt devices/0001.crt",
        );
        assert_eq!(desk.mode("devices/0001.key"), 0o600);
        let of_openssl = |what: &str| {
            let said = desk.openssl(&format!("x509 -in devices/0001.crt -noout {what}"));
            said.trim().split_once('=').unwrap().1.to_owned()
        };
        for wanted in [
            format!("--serial {}", of_openssl("-serial")),
            format!("--fingerprint {fingerprint}"),
            format!("--fingerprint {}", of_openssl("-fingerprint -sha256")),
            "--common-name device-0001.device.synadia.local".to_owned(),
            format!("--device-prefix 0001 --serial {serial}"),
        ] {
            let found = desk.json(&format!("cert search {wanted}"));
            assert_eq!(serials(&found), [serial], "{wanted}");
            assert_eq!(found["certificates"][0]["device"], "0001");
        }
        let none = desk.json("certificate search --common-name device-0009.device.synadia.local");
        assert_eq!(none["certificates"], json!([]));
        desk.fails("certificate search", 2);
        assert_eq!(
            desk.ok("cert list --device 0001 --expires-within 1d"),
            "0 certificates\n"
        );
        assert!(
            desk.ok("cert list --device 0001 --expires-within 30d")
                .ends_with("\n1 certificate\n")
        );

        // A new key with every renewal; the folder keeps what belongs together.
        let key = desk.read("devices/0001.key");
        let renewed = desk.json("certificate renew 0001 --cert-dir devices");
        let (next, due) = (&renewed["serial"], &renewed["renew_after"]);
        assert!(*next != json!(serial) && due.as_str() < renewed["not_after"].as_str());
        assert_ne!(desk.read("devices/0001.key"), key);
        assert_eq!(desk.mode("devices/0001.key"), 0o600);
        assert_eq!(
            desk.openssl("pkey -in devices/0001.key -pubout"),
            desk.openssl("x509 -in devices/0001.crt -noout -pubkey")
        );
        // The certificate is all the right that it takes.
        let mut command = desk.command(["certificate", "renew", "0001", "--cert-dir", "devices"]);
        let done: Done = command
            .env_remove("LEAFGATE_TOKEN_FILE")
            .output()
            .unwrap()
            .into();
        let said = done.stdout;
        assert!(
            said.starts_with("0001 has a new certificate\n  devices/0001.crt   its cert"),
            "{said}"
        );
        assert_eq!(
            serials(&desk.json("certificate list --device 0001")).len(),
            3
        );

        let newest = desk.json("device show 0001")["certificates"][0]["serial"].clone();
        let newest = newest.as_str().unwrap();
        let revoked = desk.json(&format!("cert revoke {newest} --reason superseded --yes"));
        assert_eq!(revoked["status"], "revoked");
        assert_eq!(revoked["revocation_reason"], "superseded");
        let listed = desk.json("certificate list --status revoked");
        assert_eq!(serials(&listed), [newest]);
        let before = desk.read("devices/0001.crt");
        let said = desk.fails("certificate renew 0001 --cert-dir devices", 5);
        assert!(said.contains("can't be renewed: it is revoked"), "{said}");
        assert_eq!(desk.read("devices/0001.crt"), before);
        let said = desk.fails("certificate revoke 0abc --yes", 3);
        assert!(said.contains("leafgate certificate list shows"), "{said}");
    }
}

#[test]
fn a_request_of_the_device_is_signed() {
    for desk in Desk::with_either() {
        desk.ok("device register 0001");
        desk.openssl("req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -keyout own.key -out own.csr");
        let chain = desk.ok("certificate issue 0001 --csr own.csr");
        assert!(chain.starts_with("-----BEGIN CERTIFICATE-----"), "{chain}");
        let again = desk.json("device sign 0001 --csr own.csr --out own.crt");
        assert_eq!(desk.read("own.crt"), chain, "one key, one certificate");
        assert_eq!(again["certificates"].as_array().unwrap().len(), 1);
        desk.write(
            "bad.csr",
            "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
        );
        let said = desk.fails("certificate issue 0001 --csr bad.csr --out bad.crt", 2);
        assert!(said.contains("the certificate request is"), "{said}");
        assert!(!desk.path("bad.crt").exists());
        let said = desk.fails("certificate issue 0001", 2);
        assert!(said.contains("--out"), "{said}");
    }
}

#[test]
fn nothing_is_issued_that_could_not_be_written() {
    for desk in Desk::with_either() {
        desk.ok("device register 0001");
        desk.write("file", "");
        desk.fails("certificate issue 0001 --out file", 2);
        desk.fails("device register 0002 --out file", 2);
        assert_eq!(desk.json("device show 0001")["certificates"], json!([]));
        desk.fails("device show 0002", 3);
        // A folder of another registry's devices is left alone.
        desk.write("ca.crt", "another root\n");
        let said = desk.fails("certificate issue 0001 --out .", 4);
        assert!(said.contains("not the root of this registry"), "{said}");
        assert_eq!(desk.json("device show 0001")["certificates"], json!([]));
    }
}
