use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::{Desk, Done};

#[test]
fn seeds_go_into_private_files_and_nowhere_else() {
    let desk = Desk::empty();
    for (kind, seed_prefix, public_prefix) in [
        ("account", "SA", 'A'),
        ("user", "SU", 'U'),
        ("server", "SN", 'N'),
        ("curve", "SX", 'X'),
    ] {
        let done = desk.run(&format!("keys generate {kind} --out {kind}.seed"));
        assert_eq!((done.exit, done.stderr.as_str()), (0, ""));
        let public = done.stdout.trim();
        assert!(
            public.len() == 56 && public.starts_with(public_prefix),
            "{public}"
        );
        let seed = desk.read(format!("{kind}.seed"));
        assert!(seed.len() == 59 && seed.starts_with(seed_prefix));
        assert!(!done.stdout.contains(seed.trim()));
        assert_eq!(desk.mode(format!("{kind}.seed")), 0o600);
    }
    let json = desk.json("keys generate user --out other.seed");
    assert_eq!(
        (&json["kind"], &json["seed_file"]),
        (&"user".into(), &"other.seed".into())
    );
    assert!(!json.to_string().contains(desk.read("other.seed").trim()));
}

#[test]
fn a_seed_is_never_overwritten() {
    let desk = Desk::empty();
    desk.ok("keys generate user --out own.seed");
    let seed = desk.read("own.seed");
    let said = desk.fails("keys generate user --out own.seed", 4);
    assert!(
        said.starts_with("error: own.seed exists, and a secret is never overwritten\n"),
        "{said}"
    );
    assert_eq!(desk.read("own.seed"), seed);
    assert!(
        desk.fails("keys generate user --out none/own.seed", 2)
            .contains("can't write none/own.seed")
    );
}

fn passphrase(desk: &Desk, text: &str, mode: u32) {
    let path = desk.write("passphrase", text);
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

const INIT: &str = "ca init --out ca --root-out root.key --passphrase-file passphrase";

#[test]
fn a_ca_is_made_with_its_root_key_apart() {
    let desk = Desk::empty();
    passphrase(&desk, "correct horse battery staple\n", 0o600);
    let said = desk.ok(INIT);
    assert!(
        said.lines().count() == 5 && said.contains("CN=leafgate devices"),
        "{said}"
    );
    assert!(
        said.contains("in 9 years") && said.contains("The root's key is in root.key"),
        "{said}"
    );
    assert!(
        desk.read("root.key")
            .starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----")
    );
    assert!(!desk.path("ca/root.key").exists());
    for file in ["root.key", "ca/devices.key", "ca/servers.key"] {
        assert_eq!(desk.mode(file), 0o600, "{file}");
    }
    desk.openssl("verify -CAfile ca/root.crt ca/devices.crt ca/servers.crt");
    desk.openssl("pkey -in root.key -passin file:passphrase -noout");

    let shown = desk.json("ca show ca");
    let names: Vec<_> = shown["certificates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["name"])
        .collect();
    assert_eq!(names, ["root", "devices", "servers"]);
    assert_eq!(
        shown["certificates"][1]["public_key"]
            .as_str()
            .unwrap()
            .len(),
        64
    );

    let said = desk.fails(INIT, 4);
    assert!(said.contains("ca holds a CA already"), "{said}");
}

#[test]
fn no_ca_is_made_from_bad_input() {
    let desk = Desk::empty();
    passphrase(&desk, "correct horse battery staple", 0o644);
    let said = desk.fails(INIT, 2);
    assert!(
        said.contains("others may read or change it") && !said.contains("horse"),
        "{said}"
    );
    passphrase(&desk, "short", 0o600);
    assert!(
        desk.fails(INIT, 2)
            .contains("the passphrase must have at least")
    );
    passphrase(&desk, "correct horse battery staple", 0o600);
    assert!(
        desk.fails(&INIT.replace("root.key", "ca/root.key"), 2)
            .contains("keep the root's key elsewhere")
    );
    assert!(!desk.path("ca").exists() && !desk.path("root.key").exists());
    assert!(desk.fails("ca show ca", 3).contains("run leafgate ca init"));
}

#[test]
fn every_shell_has_completions() {
    let desk = Desk::empty();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = desk.ok(&format!("completions {shell}"));
        assert!(
            script.contains("nats-config") && script.contains("quarantine"),
            "{shell}: {script}"
        );
    }
    desk.write("leafgate.bash", &desk.ok("completions bash"));
    let mut bash = std::process::Command::new("bash");
    bash.args(["-n", "leafgate.bash"])
        .current_dir(desk.path(""));
    let checked: Done = bash.output().unwrap().into();
    assert_eq!((checked.exit, checked.stderr.as_str()), (0, ""));
}
