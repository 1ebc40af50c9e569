//! `leafgate registry init`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::support::Desk;

#[test]
fn a_registry_is_made_empty_and_usable() {
    let desk = Desk::empty();
    let said = desk.ok("registry init");
    assert_eq!(
        said,
        ".leafgate is ready\n  \
         .leafgate/registry.db   the registry, empty\n  \
         .leafgate/ca            the certificate authority\n  \
         .leafgate/ca/root.key   the root's key, unencrypted: for development only\n\
         Next: leafgate device register 0001 --out devices --dir .leafgate\n"
    );
    assert_eq!(desk.mode(".leafgate/ca/root.key"), 0o600);
    assert_eq!(desk.ok("device list"), "0 devices\n");
    assert_eq!(desk.json("audit verify")["events"], 0);
    desk.ok("device register 0001 --out devices");
    desk.openssl(
        "verify -CAfile .leafgate/ca/root.crt -untrusted devices/0001.crt devices/0001.crt",
    );
}

#[test]
fn its_root_key_can_be_kept_apart() {
    let desk = Desk::empty();
    private(desk.write("passphrase", "correct horse battery staple"));
    let apart = "--root-out root.key --passphrase-file passphrase";
    let json = desk.json(&format!("registry init --dir site {apart}"));
    assert_eq!(
        json,
        serde_json::json!({
            "dir": "site",
            "registry": "site/registry.db",
            "ca": "site/ca",
            "root_key": "root.key",
        })
    );
    assert!(!desk.path("site/ca/root.key").exists());
    assert_eq!(desk.mode("root.key"), 0o600);
    desk.openssl("pkey -in root.key -passin file:passphrase -noout");
    desk.ok("device register 0001 --out devices --dir site");
    desk.ok("ca show site/ca");

    let said = desk.fails(&format!("registry init --dir other {apart}"), 4);
    assert!(said.contains("root.key exists"), "{said}");
    assert!(!desk.path("other/registry.db").exists());
    for half in ["--root-out other.key", "--passphrase-file passphrase"] {
        desk.fails(&format!("registry init --dir other {half}"), 2);
    }
}

#[test]
fn nothing_that_is_there_is_replaced() {
    let desk = Desk::with_registry();
    desk.ok("device register 0001 --out devices");
    let root = desk.read(".leafgate/ca/root.crt");
    let said = desk.fails("registry init", 4);
    assert!(
        said.contains("registry.db is a registry already, never overwritten"),
        "{said}"
    );
    let said = desk.fails("registry init --dir devices", 4);
    assert!(
        said.contains("holds files that leafgate did not make"),
        "{said}"
    );
    desk.write("file", "");
    desk.fails("registry init --dir file", 2);
    assert_eq!(desk.read(".leafgate/ca/root.crt"), root);
    desk.ok("device show 0001");
}

#[test]
fn a_lost_registry_is_begun_anew_under_the_same_ca() {
    let desk = Desk::with_registry();
    let root = desk.read(".leafgate/ca/root.crt");
    fs::remove_file(desk.path(".leafgate/registry.db")).unwrap();
    private(desk.write("passphrase", "correct horse battery staple"));
    let said = desk.fails(
        "registry init --root-out root.key --passphrase-file passphrase",
        4,
    );
    assert!(said.contains(".leafgate/ca is a CA already"), "{said}");
    assert!(!desk.path("root.key").exists() && !desk.path(".leafgate/registry.db").exists());
    let said = desk.ok("registry init");
    assert!(said.contains("which was there"), "{said}");
    assert_eq!(desk.ok("device list"), "0 devices\n");
    assert_eq!(desk.read(".leafgate/ca/root.crt"), root);
}

fn private(path: PathBuf) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn the_first_api_key_of_a_served_registry_is_made_once() {
    let desk = Desk::with_registry();
    desk.ok("service issue registry --profile nats-server --out tls");
    desk.write(
        "registry.toml",
        r#"
        [http]
        cert_file = "tls/registry.crt"
        key_file = "tls/registry.key"
        [store]
        url = "sqlite:served.db"
        [ca]
        dir = ".leafgate/ca"
        [[trust_domain]]
        name = "default"
        issuers = [".leafgate/ca/devices.crt"]
        [audit]
        checkpoint_key_file = "checkpoint.key"
        checkpoint_dir = "checkpoints"
        "#,
    );
    let init = "registry init --config registry.toml --admin-key-out admin.key";
    let made = desk.json(init);
    let key = desk.read("admin.key");
    let start = format!("lgk_{}_", made["id"].as_str().unwrap());
    assert!(key.starts_with(&start) && key.ends_with('\n'));
    assert_eq!(desk.mode("admin.key"), 0o600);
    assert!(desk.path("served.db").exists());
    assert_eq!(desk.mode("checkpoint.key"), 0o600);
    desk.openssl("pkey -in checkpoint.key -noout");
    let begun = desk.json("registry new-epoch --config registry.toml");
    assert_eq!(begun["seq"], 2, "after the key's own event");

    let said = desk.fails(init, 4);
    assert!(said.contains("a secret is never overwritten"), "{said}");
    assert_eq!(desk.read("admin.key"), key);
    fs::remove_file(desk.path("admin.key")).unwrap();
    let said = desk.fails(init, 4);
    assert!(said.contains("API key"), "{said}");
    assert!(!desk.path("admin.key").exists());
    for half in [
        "--config registry.toml",
        "--admin-key-out other.key",
        "--config registry.toml --admin-key-out k --root-out r --passphrase-file p",
    ] {
        desk.fails(&format!("registry init {half}"), 2);
    }
}
