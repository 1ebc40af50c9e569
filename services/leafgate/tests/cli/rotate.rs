//! Issuers that follow one another, from the command line.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Desk, eventually};

/// The next issuer of devices, prepared in the registry's folder.
fn prepare(desk: &Desk) -> String {
    text(&desk.json("ca rotate prepare devices"), "issuer")
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap().to_owned()
}

fn devices(desk: &Desk) -> Vec<Value> {
    let all = desk.json("ca rotate status")["issuers"].clone();
    let all = all.as_array().unwrap().clone().into_iter();
    all.filter(|it| it["name"] == "devices").collect()
}

fn states(desk: &Desk) -> Vec<String> {
    devices(desk).iter().map(|it| text(it, "state")).collect()
}

#[test]
fn an_issuer_is_prepared_activated_undone_and_retired() {
    let desk = Desk::with_registry();
    desk.ok("device register 0001 --out old");
    assert_eq!(states(&desk), ["active"]);
    let old = text(&devices(&desk)[0], "issuer");

    let said = desk.ok("ca rotate prepare devices");
    let new = text(&devices(&desk)[1], "issuer");
    let (old8, new8) = (&old[..8], &new[..8]);
    for part in [
        format!("devices has a next intermediate, {new8}, which signs nothing yet"),
        format!(".leafgate/ca/devices-{new8}.key"),
        "[[trust_domain]]".to_owned(),
        "lame-duck mode".to_owned(),
        format!("leafgate ca rotate activate {new8}"),
    ] {
        assert!(said.contains(&part), "{part}: {said}");
    }
    assert_eq!(states(&desk), ["active", "prepared"]);
    let again = desk.fails("ca rotate prepare devices", 4);
    assert!(again.contains("--another"), "{again}");

    let early = desk.fails(&format!("ca rotate activate {new8}"), 4);
    assert!(early.contains("--now"), "{early}");
    assert!(early.contains("would keep its devices out"), "{early}");
    let said = desk.ok(&format!("ca rotate activate {new8} --now"));
    assert!(said.contains("can be activated again"), "{said}");
    assert_eq!(states(&desk), ["superseded", "active"]);
    desk.ok("device register 0002 --out new");
    let verify = "verify -x509_strict -CAfile .leafgate/ca/root.crt -untrusted";
    desk.openssl(&format!(
        "{verify} .leafgate/ca/devices.crt old/0001.crt new/0002.crt"
    ));
    let subject = |file| desk.openssl(&format!("x509 -in {file} -noout -issuer"));
    assert!(subject("old/0001.crt").contains(old8));
    assert!(subject("new/0002.crt").contains(new8));
    // Each file has the chain of its own issuer.
    for file in ["old/0001.crt", "new/0002.crt"] {
        desk.openssl(&format!("{verify} {file} {file}"));
    }

    desk.ok(&format!("ca rotate activate {old8}"));
    assert_eq!(states(&desk), ["active", "superseded"]);
    let refused = desk.fails(&format!("ca rotate retire {old8}"), 4);
    assert!(refused.contains("activate another one first"), "{refused}");
    desk.ok(&format!("ca rotate activate {new8} --now"));
    let said = desk.ok(&format!("ca rotate retire {old8}"));
    assert!(
        said.contains("1 devices and services hold 1 certificates of it"),
        "{said}"
    );
    assert!(
        said.contains("Its revocation list is signed until"),
        "{said}"
    );
    assert_eq!(states(&desk), ["retired", "active"]);
    let refused = desk.fails(&format!("ca rotate activate {old8} --now"), 4);
    assert!(refused.contains("retired, which is final"), "{refused}");
    let refused = desk.fails(&format!("ca rotate remove {old8}"), 4);
    assert!(refused.contains("has certificates until"), "{refused}");

    // A list of each issuer, in one file for each kind.
    desk.ok("device revoke 0001 --yes");
    let lists = desk.json("ca crl --out lists")["crls"].clone();
    let revoked: Vec<_> = lists
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["issuer"].clone(), it["revoked"].clone()))
        .collect();
    let expected = [("root", 0), ("devices", 1), ("devices", 0), ("servers", 0)];
    assert_eq!(
        revoked,
        expected.map(|(name, count)| (json!(name), json!(count)))
    );
    let all = ["root", "devices"].map(|name| desk.read(format!("lists/{name}.crl")));
    desk.write("all.crl", &all.concat());
    let verify = "verify -x509_strict -crl_check_all -CRLfile all.crl -CAfile .leafgate/ca/root.crt \
                  -untrusted .leafgate/ca/devices.crt";
    desk.openssl(&format!("{verify} new/0002.crt"));
    let refused = desk.run_openssl(&format!("{verify} old/0001.crt"));
    assert!(
        refused.stderr.contains("certificate revoked"),
        "{refused:?}"
    );
}

#[test]
fn an_issuer_without_certificates_is_removed_with_its_key() {
    let desk = Desk::with_registry();
    let old = text(&devices(&desk)[0], "issuer");
    let new = prepare(&desk);
    let refused = desk.fails(&format!("ca rotate remove {new}"), 4);
    assert!(refused.contains("is prepared, not retired"), "{refused}");
    desk.ok(&format!("ca rotate activate {new} --now"));
    let said = desk.ok(&format!("ca rotate retire {old}"));
    assert!(said.contains("Nobody holds a certificate of it"), "{said}");
    desk.ok(&format!("ca rotate remove {old}"));
    assert!(!desk.path(".leafgate/ca/devices.key").exists());
    assert_eq!(states(&desk), ["active"]);
    desk.ok("device register 0001 --out devices");
    let shown = desk.json("ca show .leafgate/ca")["certificates"].clone();
    assert_eq!(shown.as_array().unwrap().len(), 3);
    let third = prepare(&desk);
    assert_ne!(third, new);
}

#[test]
fn the_root_comes_out_of_the_safe_for_the_next_intermediate() {
    let desk = Desk::empty();
    desk.write("passphrase", "correct horse battery staple\n");
    let chmod = |file: &str| {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(desk.path(file), fs::Permissions::from_mode(0o600)).unwrap();
    };
    chmod("passphrase");
    desk.ok("ca init --out ca --root-out safe.key --passphrase-file passphrase");
    let refused = desk.fails("ca rotate prepare servers --ca ca", 2);
    assert!(refused.contains("--root-key FILE"), "{refused}");
    desk.write("wrong", "wrong horse battery staple\n");
    chmod("wrong");
    let with = |passphrase| {
        format!(
            "ca rotate prepare servers --ca ca --root-key safe.key --passphrase-file {passphrase}"
        )
    };
    let refused = desk.fails(&with("wrong"), 2);
    assert!(refused.contains("passphrase does not open"), "{refused}");
    let renewed = desk.json("ca root-crl --ca ca --root-key safe.key --passphrase-file passphrase");
    assert_eq!(renewed["file"], "ca/root.crl");
    let list = desk.openssl("crl -in ca/root.crl -CAfile ca/root.crt -noout -crlnumber");
    assert_eq!(list.trim(), "crlNumber=0x02");
    let next = desk.json(&with("passphrase"));
    desk.openssl("verify -x509_strict -CAfile ca/root.crt ca/servers.crt");
    let key = text(&next, "key");
    assert_eq!(desk.mode(&key), 0o600);
    let shown = desk.json("ca show ca")["certificates"].clone();
    let servers: Vec<_> = shown
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| it["name"] == "servers")
        .map(|it| text(it, "public_key"))
        .collect();
    assert_eq!((servers.len(), &servers[1]), (2, &text(&next, "issuer")));
}

#[test]
fn issuers_are_named_by_digits_that_tell_them_apart() {
    let desk = Desk::with_registry();
    for wrong in ["device", "3fa1", "3FA1B2C4", "3fa1b2c4z"] {
        let refused = desk.fails(&format!("ca rotate activate {wrong}"), 2);
        assert!(
            refused.contains("8 lower-case hexadecimal digits"),
            "{refused}"
        );
    }
    for act in ["activate", "retire", "remove"] {
        let refused = desk.fails(&format!("ca rotate {act} 00000000"), 3);
        assert!(refused.contains("there is no issuer 00000000"), "{refused}");
    }
    for (act, state) in [
        ("activate", "prepared"),
        ("retire", "superseded"),
        ("remove", "retired"),
    ] {
        let refused = desk.fails(&format!("ca rotate {act} servers"), 3);
        let expected = format!("there is no {state} issuer of servers");
        assert!(refused.contains(&expected), "{refused}");
    }
    desk.ok("ca rotate prepare devices");
    desk.ok("ca rotate prepare devices --another");
    let refused = desk.fails("ca rotate activate devices --now", 2);
    assert!(
        refused.contains("more than one prepared issuer of devices"),
        "{refused}"
    );
}

#[test]
fn an_issuer_is_rotated_over_the_api() {
    let desk = Desk::with_api();
    desk.ok("device register 0001 --out old");
    assert_eq!(states(&desk), ["active"]);
    let said = desk.fails("ca rotate prepare devices", 2);
    assert!(said.contains("with --ca"), "{said}");
    let ca = "--ca server/registry/ca";
    let prepared = desk.json(&format!("ca rotate prepare devices {ca}"));
    let new = text(&prepared, "issuer");
    eventually("the issuer that was prepared", || {
        (states(&desk) == ["active", "prepared"]).then_some(())
    });
    let early = desk.fails(&format!("ca rotate activate {}", &new[..8]), 4);
    assert!(early.contains("--now"), "{early}");
    let said = eventually("the trust in the issuer", || {
        let done = desk.run("ca rotate activate devices --now");
        (done.exit == 0).then_some(done.stdout)
    });
    assert!(said.contains("can be activated again"), "{said}");
    assert_eq!(states(&desk), ["superseded", "active"]);
    desk.ok("device register 0002 --out new");
    let issuer = desk.openssl("x509 -in new/0002.crt -noout -issuer");
    assert!(issuer.contains(&new[..8]), "{issuer}");
    // What listeners must know first is the issuer that signs.
    let signs = devices(&desk).remove(1);
    desk.write("active.crt", &text(&signs, "certificate"));
    desk.write("nats.conf", "tls { verify: true, ca_file: active.crt }\n");
    let found = desk.run("doctor --nats-config nats.conf").stdout;
    let knows = "active.crt holds the registry's issuer of devices";
    assert!(found.contains(knows), "{found}");
    let retired = desk.json("ca rotate retire devices");
    assert_eq!(retired["issuers"][0]["state"], "retired");
    let old = text(&retired["issuers"][0], "issuer");
    let refused = desk.fails(&format!("ca rotate activate {old}"), 4);
    assert!(refused.contains("retired, which is final"), "{refused}");
    assert!(!refused.contains("--now"), "{refused}");
    let refused = desk.fails("ca rotate remove devices", 2);
    assert!(refused.contains("with --ca"), "{refused}");
    let refused = desk.fails(&format!("ca rotate remove devices {ca}"), 4);
    assert!(refused.contains("has certificates until"), "{refused}");
}
