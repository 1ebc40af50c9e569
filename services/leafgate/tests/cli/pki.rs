//! Certificates of services, revocation of single certificates, and revocation lists, as OpenSSL
//! sees them.

use std::fs;

use crate::support::Desk;

const CSR: &str = "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout own.key -out own.csr -subj /CN=x";

#[test]
fn a_nats_server_gets_a_certificate_for_its_names() {
    let desk = Desk::with_registry();
    let said = desk.ok(
        "service issue hub-1.example.com --profile nats-server --dns *.hub.example.com --ip 192.0.2.7 --out tls",
    );
    let lines: Vec<&str> = said.lines().collect();
    assert!(
        lines[0].starts_with("hub-1.example.com has a new certificate, serial number "),
        "{said}"
    );
    assert_eq!(
        lines[1..],
        [
            "  tls/hub-1.example.com.crt   its certificate with the chain, expires in 29 days",
            "  tls/hub-1.example.com.key   its key, for it alone",
        ]
    );
    assert_eq!(desk.mode("tls/hub-1.example.com.key"), 0o600);
    desk.openssl("pkey -in tls/hub-1.example.com.key -check -noout");
    let san = desk.openssl("x509 -in tls/hub-1.example.com.crt -noout -ext subjectAltName");
    assert!(
        san.contains("DNS:hub-1.example.com, DNS:*.hub.example.com, IP Address:192.0.2.7"),
        "{san}"
    );
    desk.openssl(
        "verify -x509_strict -purpose sslserver -verify_hostname a.hub.example.com -CAfile .leafgate/ca/root.crt \
         -untrusted .leafgate/ca/servers.crt tls/hub-1.example.com.crt",
    );
}

#[test]
fn a_client_of_the_devices_listener_gets_one_for_its_own_key() {
    let desk = Desk::with_registry();
    desk.openssl(CSR);
    let json = desk.json("service issue callout-0 --profile nats-client --csr own.csr --out tls");
    assert_eq!(
        (&json["service"], &json["profile"], &json["status"]),
        (&"callout-0".into(), &"nats-client".into(), &"issued".into())
    );
    assert_eq!(
        json["files"],
        serde_json::json!({"certificate": "tls/callout-0.crt"})
    );
    assert_eq!(
        desk.openssl("x509 -in tls/callout-0.crt -noout -pubkey"),
        desk.openssl("pkey -in own.key -pubout")
    );
    desk.openssl(
        "verify -x509_strict -purpose sslclient -CAfile .leafgate/ca/root.crt -untrusted .leafgate/ca/devices.crt \
         tls/callout-0.crt",
    );
    desk.ok("service issue callout-0 --profile nats-client --out tls");
    desk.ok("service issue leaf-1 --profile nats-server --out tls");
    let listed = desk.json("certificate list --service callout-0");
    let mut statuses: Vec<&str> = listed["certificates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["status"].as_str().unwrap())
        .collect();
    statuses.sort_unstable();
    assert_eq!(statuses, ["issued", "superseded"]);
}

#[test]
fn names_that_no_service_can_have_are_refused_before_anything_is_done() {
    let desk = Desk::with_registry();
    fs::create_dir_all(desk.path("occupied/leaf-1.key")).unwrap();
    for (line, words) in [
        (
            "device-0001.device.synadia.local --profile nats-client --out tls",
            "no certificate can carry this name",
        ),
        (
            "device-0001.device.synadia.local --profile nats-server --out tls",
            "no certificate can carry this name",
        ),
        (
            "leaf-1 --profile nats-server --dns *.device.synadia.local --out tls",
            "no certificate can carry this name",
        ),
        (
            "../leaf-1 --profile nats-server --out tls",
            "no certificate can carry this name",
        ),
        (
            "../callout --profile nats-client --out tls",
            "no certificate can carry this name",
        ),
        (
            "*.hub --profile nats-server --out tls",
            "can't be called after a wildcard",
        ),
        (
            "callout --profile nats-client --dns callout --out tls",
            "--dns and --ip are for a nats-server",
        ),
        ("leaf-1 --profile device --out tls", "'device'"),
        (
            "leaf-1 --profile nats-server --csr none.csr --out tls",
            "can't read none.csr",
        ),
        (
            "leaf-1 --profile nats-server --out occupied",
            "can't write occupied/leaf-1.key: is a directory",
        ),
    ] {
        let said = desk.fails(&format!("service issue {line}"), 2);
        assert!(
            said.contains(words),
            "leafgate service issue {line}: {said}"
        );
    }
    assert!(!desk.path("tls").exists());
    assert_eq!(desk.json("audit verify")["events"], 0);
}

/// The serial number of a certificate, as OpenSSL writes it.
fn serial(desk: &Desk, certificate: &str) -> String {
    let line = desk.openssl(&format!("x509 -in {certificate} -noout -serial"));
    line.trim().strip_prefix("serial=").unwrap().to_owned()
}

#[test]
fn one_certificate_is_revoked_and_the_others_stay() {
    let desk = Desk::with_registry();
    desk.ok("device register 0001 --out old");
    desk.ok("device issue 0001 --out new");
    let serial = serial(&desk, "old/0001.crt");
    let lower = serial.to_ascii_lowercase();

    let said = desk.fails(&format!("certificate revoke {serial}"), 2);
    assert!(
        said.starts_with(&format!(
            "error: to revoke certificate {lower} needs a confirmation"
        )),
        "{said}"
    );
    let line = format!("certificate revoke {serial} --reason key-compromise");
    let said = desk.ok(&format!("{line} --yes"));
    assert!(
        said.starts_with(&format!("certificate {lower} of device 0001 is revoked\n")),
        "{said}"
    );
    assert!(
        desk.fails(&format!("{line} --yes"), 4).contains("revoked"),
        "again"
    );

    let device = desk.json("device show 0001");
    assert_eq!(device["state"], "active");
    let certificates = device["certificates"].as_array().unwrap();
    assert_eq!(certificates[0]["status"], "issued");
    assert_eq!(certificates[1]["serial"], lower.as_str());
    assert_eq!(certificates[1]["revocation_reason"], "key-compromise");
    let listed = desk.json("certificate list --status revoked")["certificates"].clone();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(
        (&listed[0]["device"], &listed[0]["serial"]),
        (&"0001".into(), &lower.as_str().into())
    );
}

#[test]
fn a_certificate_that_is_not_there_is_not_revoked() {
    let desk = Desk::with_registry();
    desk.ok("device register 0001 --out devices");
    let said = desk.fails("certificate revoke 0a0b --yes", 3);
    assert_eq!(
        said,
        "error: there is no certificate with serial number 0a0b\n  \
         leafgate certificate list shows those that there are\n"
    );
    let serial = serial(&desk, "devices/0001.crt");
    let of_servers = desk.json("ca show .leafgate/ca")["certificates"][2]["public_key"].clone();
    let issuer = of_servers.as_str().unwrap();
    desk.fails(
        &format!("certificate revoke {serial} --issuer {issuer} --yes"),
        3,
    );
    assert!(
        desk.fails("certificate revoke xyz --yes", 2)
            .contains("xyz")
    );
    assert_eq!(
        desk.json("device show 0001")["certificates"][0]["status"],
        "issued"
    );
}

#[test]
fn certificates_are_listed_page_by_page() {
    let desk = Desk::with_registry();
    assert_eq!(desk.ok("certificate list"), "0 certificates\n");
    desk.ok("device register 0001 --out tls");
    desk.ok("service issue leaf-1 --profile nats-server --out tls");
    let listed = desk.ok("certificate list");
    let lines: Vec<&str> = listed.lines().collect();
    assert!(
        lines[0].starts_with("CERTIFICATE ")
            && lines[0].ends_with("HOLDER   PROFILE       STATUS   EXPIRES"),
        "{listed}"
    );
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[3], "2 certificates");
    assert!(
        listed.contains("leaf-1   nats-server   issued   in 29 days"),
        "{listed}"
    );

    let first = desk.json("certificate list --limit 1");
    let next = first["next_page_token"].as_str().unwrap();
    let second = desk.json(&format!("certificate list --limit 1 --after {next}"));
    assert_ne!(first["certificates"], second["certificates"]);
    assert_eq!(second["certificates"].as_array().unwrap().len(), 1);
}

#[test]
fn openssl_trusts_the_revocation_lists_and_refuses_what_is_on_them() {
    let desk = Desk::with_registry();
    desk.ok("device register 0001 --out devices");
    desk.ok("device register 0002 --out devices");
    desk.ok("service issue leaf-1 --profile nats-server --out tls");
    desk.ok("ca crl --out crls");
    let verify = |certificate: &str, issuer: &str| {
        let arguments = format!(
            "verify -crl_check_all -CAfile .leafgate/ca/root.crt -untrusted .leafgate/ca/{issuer}.crt \
             -CRLfile crls/root.crl -CRLfile crls/{issuer}.crl {certificate}"
        );
        desk.run_openssl(&arguments)
    };
    for (certificate, issuer) in [
        ("devices/0001.crt", "devices"),
        ("devices/0002.crt", "devices"),
        ("tls/leaf-1.crt", "servers"),
    ] {
        let done = verify(certificate, issuer);
        assert_eq!(done.exit, 0, "{done:#?}");
    }

    desk.ok("device revoke 0001 --yes");
    let serial = serial(&desk, "tls/leaf-1.crt");
    desk.ok(&format!("certificate revoke {serial} --yes"));
    let said = desk.ok("ca crl --out crls");
    let rows: Vec<Vec<&str>> = said
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows[0], ["FILE", "NUMBER", "REVOKED", "NEXT"]);
    assert_eq!(rows[1], ["crls/root.crl", "1", "0", "in", "11", "months"]);
    assert_eq!(rows[2][..3], ["crls/devices.crl", "2", "1"]);
    assert_eq!(rows[3][..3], ["crls/servers.crl", "2", "1"]);

    for (name, signer) in [
        ("root", "root"),
        ("devices", "devices"),
        ("servers", "servers"),
    ] {
        let done = desk.run_openssl(&format!(
            "crl -in crls/{name}.crl -verify -CAfile .leafgate/ca/{signer}.crt -noout"
        ));
        assert_eq!((done.exit, done.stderr.trim()), (0, "verify OK"), "{name}");
    }
    let forged = desk
        .run_openssl("crl -in crls/devices.crl -verify -CAfile .leafgate/ca/servers.crt -noout");
    assert!(!forged.stderr.contains("verify OK"), "{forged:#?}");
    for (certificate, issuer) in [
        ("devices/0001.crt", "devices"),
        ("tls/leaf-1.crt", "servers"),
    ] {
        let done = verify(certificate, issuer);
        assert_ne!(done.exit, 0, "{certificate}");
        assert!(done.stderr.contains("certificate revoked"), "{done:#?}");
    }
    assert_eq!(verify("devices/0002.crt", "devices").exit, 0);
    assert_eq!(
        desk.read("crls/root.crl"),
        desk.read(".leafgate/ca/root.crl")
    );
}

#[test]
fn no_number_is_taken_for_a_list_that_can_not_be_written() {
    let desk = Desk::with_registry();
    fs::create_dir_all(desk.path("crls/servers.crl")).unwrap();
    let said = desk.fails("ca crl --out crls", 2);
    assert!(
        said.contains("can't write crls/servers.crl: is a directory"),
        "{said}"
    );
    assert_eq!(fs::read_dir(desk.path("crls")).unwrap().count(), 1);
    assert_eq!(desk.json("audit verify")["events"], 0);
    let crls = desk.json("ca crl --out other")["crls"].clone();
    assert_eq!(
        (&crls[1]["issuer"], &crls[1]["number"], &crls[1]["revoked"]),
        (&"devices".into(), &1.into(), &0.into())
    );
}

#[test]
fn certificates_say_where_their_status_is_if_the_folders_registry_api_serves_it() {
    const CONFIG: &str = r#"
        [http]
        listen = "127.0.0.1:0"
        cert_file = "x.crt"
        key_file = "x.key"
        [status]
        listen = "127.0.0.1:0"
        url = "http://status.example:8080"
        [health]
        listen = "127.0.0.1:0"
        [store]
        url = "sqlite:registry.db"
        [ca]
        dir = "ca"
        [[trust_domain]]
        name = "default"
        issuers = ["ca/devices.crt"]
    "#;
    let desk = Desk::with_registry();
    let urls = |file: &str| {
        let text = desk.openssl(&format!("x509 -in {file} -noout -text"));
        let urls = text.split("URI:").skip(1);
        let urls: Vec<String> = urls
            .map(|rest| rest.split_whitespace().next().unwrap().to_owned())
            .collect();
        urls
    };
    desk.ok("device register 0001 --out before");
    assert_eq!(urls("before/0001.crt"), [""; 0]);
    desk.write(".leafgate/registry.toml", CONFIG);
    desk.ok("device register 0002 --out after");
    desk.ok("service issue leaf-1 --profile nats-server --out after");
    for (file, intermediate) in [
        ("after/0002.crt", "devices"),
        ("after/leaf-1.crt", "servers"),
    ] {
        let listed = desk.json("ca show .leafgate/ca");
        let certificates = listed["certificates"].as_array().unwrap();
        let of = certificates.iter().find(|it| it["name"] == intermediate);
        let issuer = of.unwrap()["public_key"].as_str().unwrap();
        let urls = urls(file);
        assert_eq!(urls.len(), 2, "{urls:?}");
        for url in &urls {
            assert!(url.starts_with("http://status.example:8080/"), "{url}");
            assert!(url.contains(issuer) || url.contains("ocsp"), "{url}");
        }
    }
    // The API serves the status of what another CA signs.
    desk.ok("registry init --dir other");
    let elsewhere = CONFIG.replace("dir = \"ca\"", "dir = \"../other/ca\"");
    desk.write(".leafgate/registry.toml", &elsewhere);
    desk.ok("device register 0003 --out elsewhere");
    assert_eq!(urls("elsewhere/0003.crt"), [""; 0]);
    // What can't be read is not passed over.
    desk.write(".leafgate/registry.toml", "[status]\nurl = 1\n");
    let said = desk.fails("device register 0004 --out wrong", 2);
    assert!(said.contains("registry.toml"), "{said}");
}
