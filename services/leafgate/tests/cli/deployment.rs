//! From a CA to checked configurations of servers and replicas.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;

use crate::support::{Desk, Done, project};

/// A folder with a CA and a registry, and the flags that name them.
fn desk() -> (Desk, String) {
    let desk = Desk::with_registry();
    let passphrase = desk.write("passphrase", "correct horse battery staple");
    fs::set_permissions(passphrase, fs::Permissions::from_mode(0o600)).unwrap();
    desk.ok("ca init --out ca --root-out root.key --passphrase-file passphrase");
    fs::copy(
        project().join("policies/device.toml"),
        desk.path("device.toml"),
    )
    .unwrap();
    let flags = "--ca-file ca/root.crt --devices-ca-file ca/devices.crt --servers-ca-file ca/servers.crt \
                 --policy device.toml --store-url sqlite:.leafgate/registry.db --replicas-max 2";
    (desk, flags.to_owned())
}

#[test]
fn configurations_are_private_and_fit_together() {
    let (desk, flags) = desk();
    let said = desk.ok(&format!("nats-config --out deploy --site plant-7 {flags}"));
    let files = [
        "hub-1.conf",
        "leaf-1.conf",
        "callout-0.toml",
        "callout-1.toml",
    ];
    for file in files {
        assert!(said.contains(&format!("deploy/{file}")), "{said}");
        assert_eq!(desk.mode(format!("deploy/{file}")), 0o600, "{file}");
    }
    assert_eq!(desk.mode("deploy/keys"), 0o700);
    let seeds: Vec<String> = fs::read_dir(desk.path("deploy/keys"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| desk.read(path).trim().to_owned())
        .collect();
    assert_eq!(seeds.len(), 18);
    for seed in &seeds {
        assert!(!said.contains(seed.as_str()), "a seed is printed");
    }
    assert!(said.contains("4 files, readable by you alone"), "{said}");

    for seed in ["registry-0-auth", "registry-0-devices", "registry-0-system"] {
        assert!(said.contains(&format!("keys/{seed}.seed")), "{said}");
    }

    let leaf = desk.read("deploy/leaf-1.conf");
    assert!(leaf.contains("tls://hub-1:7422"), "{leaf}");
    assert!(
        leaf.contains("leafgate.v1.log-in leafgate-registry"),
        "{leaf}"
    );
    for replica in ["callout-0", "callout-1"] {
        let checked = desk.ok(&format!("config check --config deploy/{replica}.toml"));
        assert!(
            checked.starts_with(&format!(
                "ok   deploy/{replica}.toml\n  site           plant-7\n"
            )),
            "{checked}"
        );
        assert!(!checked.contains("warning"), "{checked}");
    }
}

#[test]
fn rendering_again_keeps_the_keys() {
    let (desk, flags) = desk();
    let render =
        || desk.json(&format!("nats-config --out deploy --site demo {flags}"))["site"].clone();
    let first = render();
    let files = || {
        (
            desk.read("deploy/leaf-1.conf"),
            desk.read("deploy/callout-1.toml"),
        )
    };
    let before = files();
    assert_eq!(render(), first);
    assert_eq!(files(), before);

    let other = Desk::empty();
    let (telemetry, commands) = (
        first["telemetry_key"].as_str().unwrap(),
        first["command_key"].as_str().unwrap(),
    );
    other.ok(&format!(
        "nats-config --out deploy --site other --further-site demo={telemetry},{commands}"
    ));
    let hub = other.read("deploy/hub-1.conf");
    assert!(
        hub.contains(telemetry) && hub.contains(commands) && hub.contains("site.demo.>"),
        "{hub}"
    );
}

#[test]
fn clusters_have_routes_with_secrets_of_their_own() {
    let desk = Desk::empty();
    desk.ok("nats-config --out deploy --site demo --leaf-node leaf-1=10.0.0.1 --leaf-node leaf-2=10.0.0.2 --hub-node a --hub-node b --keys-dir keys");
    let secret = |name: &str| {
        desk.read(format!("keys/{name}-routes.secret"))
            .trim()
            .to_owned()
    };
    for node in ["leaf-1", "leaf-2"] {
        let conf = desk.read(format!("deploy/{node}.conf"));
        assert!(
            conf.contains(&secret("leaf")) && conf.contains("@10.0.0.2:6222"),
            "{conf}"
        );
        assert!(
            conf.contains("tls://a:7422") && conf.contains("tls://b:7422"),
            "{conf}"
        );
    }
    let hub = desk.read("deploy/a.conf");
    assert!(hub.contains(&secret("hub")) && !hub.contains(&secret("leaf")));
    assert!(
        desk.read("deploy/callout-7.toml")
            .contains("\"tls://10.0.0.1:4222\", \"tls://10.0.0.2:4222\"")
    );
}

#[test]
fn a_site_can_be_alone() {
    let desk = Desk::empty();
    desk.ok("nats-config --out deploy --site demo --without-hub");
    assert!(!desk.path("deploy/hub-1.conf").exists());
    assert!(!desk.read("deploy/leaf-1.conf").contains("remotes"));
}

#[test]
fn hostile_and_impossible_names_are_refused() {
    let desk = Desk::empty();
    for (arguments, words) in [
        ("--site a.b", "can't be a name"),
        ("--site demo --leaf-node x{", "can't be a name"),
        ("--site demo --hub-address hub", "is no address"),
        (
            "--site demo --leaf-node x --hub-node x",
            "two servers are called \"x\"",
        ),
        (
            "--site demo --leaf-node x --leaf-node x",
            "two servers are called \"x\"",
        ),
        (
            "--site demo --connection-rate-limit 0",
            "connection_rate_limit is 0",
        ),
        ("--site demo --replicas-max 0", "--replicas-max"),
        (
            "--site demo --device-port 0",
            "on port 0: give another port",
        ),
        ("--site demo --hub-address hub:0", "hub:0"),
        ("--site demo --further-site demo", "write NAME=KEY,KEY"),
        (
            "--site demo --without-hub --hub-address hub:7422",
            "cannot be used with",
        ),
    ] {
        let said = desk.fails(&format!("nats-config --out deploy {arguments}"), 2);
        assert!(said.contains(words), "{arguments}: {said}");
        assert!(!desk.path("deploy/leaf-1.conf").exists(), "{arguments}");
    }
}

#[test]
fn a_path_that_no_configuration_can_name_is_refused() {
    let desk = Desk::empty();
    for option in ["--policy", "--cert-file", "--callout-key-file"] {
        let mut command = desk.command(["nats-config", "--out", "deploy", "--site", "demo"]);
        command
            .arg(option)
            .arg(OsStr::from_bytes(b"/etc/\xff.file"));
        let done: Done = command.output().unwrap().into();
        assert_eq!(done.exit, 2, "{done:#?}");
        assert!(done.stderr.contains("is not UTF-8: rename it"), "{done:#?}");
        assert!(!desk.path("deploy/leaf-1.conf").exists());
    }
}

#[test]
fn every_problem_of_a_configuration_is_told() {
    let (desk, flags) = desk();
    desk.ok(&format!("nats-config --out deploy --site demo {flags}"));
    let text = desk.read("deploy/callout-0.toml");
    let broken = text
        .replace("callout-issuer.seed", "callout-xkey.seed")
        .replace("ca/devices.crt", "ca/none.crt");
    desk.write("deploy/callout-0.toml", &broken);
    let done = desk.run("config check --config deploy/callout-0.toml");
    assert_eq!(
        (done.exit, done.stderr.as_str()),
        (2, "error: deploy/callout-0.toml: 2 problems\n")
    );
    let problems: Vec<&str> = done
        .stdout
        .lines()
        .filter(|line| line.starts_with("problem: "))
        .collect();
    assert!(
        problems[0].contains("[nats] issuer_seed_file") && problems[1].contains("ca/none.crt"),
        "{done:#?}"
    );

    desk.write("deploy/callout-0.toml", &format!("{text}\nlsten = 1\n"));
    let said = desk.fails("config check --config deploy/callout-0.toml", 2);
    assert!(
        said.starts_with("error: deploy/callout-0.toml:") && said.contains("lsten"),
        "{said}"
    );
    assert!(
        desk.fails("config check --config none.toml", 2)
            .contains("can't read the configuration file none.toml")
    );
}

#[test]
fn what_a_configuration_costs_is_told() {
    let (desk, flags) = desk();
    desk.ok(&format!("nats-config --out deploy --site demo {flags}"));
    let text = desk.read("deploy/callout-0.toml");
    let without: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("xkey_seed_file"))
        .collect();
    desk.write("deploy/callout-0.toml", &without.join("\n"));
    let said = desk.ok("config check --config deploy/callout-0.toml");
    assert!(said.contains("\nwarning: no xkey_seed_file: "), "{said}");
    let json = desk.json("config check --config deploy/callout-0.toml");
    assert_eq!(json["warnings"].as_array().unwrap().len(), 1);
    assert_eq!(json["problems"], serde_json::json!([]));
}
