//! The command line against a registry API: what it has of its own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::support::{Desk, Done, eventually};

#[test]
fn the_request_is_named_that_failed() {
    let desk = Desk::with_api();
    let done = desk.run("device show 0001");
    assert_eq!(done.exit, 3, "{done:#?}");
    let lines: Vec<&str> = done.stderr.lines().collect();
    assert_eq!(lines[0], "error: there is no device 0001");
    let url = desk.api.as_ref().unwrap().url();
    assert!(
        lines[2].starts_with("  request ") && lines[2].ends_with(&format!(" to {url}")),
        "{done:#?}"
    );
}

#[test]
fn which_registry_is_meant_is_clear_or_asked_for() {
    let desk = Desk::with_registry();
    desk.write("token", "lgk_a_b\n");
    fs::set_permissions(desk.path("token"), fs::Permissions::from_mode(0o600)).unwrap();
    desk.write("open", "lgk_a_b\n");
    for (variables, line, words) in [
        (
            &[][..],
            "device list --url https://x --dir y",
            "cannot be used with",
        ),
        (
            &[("LEAFGATE_URL", "https://x"), ("LEAFGATE_DIR", ".leafgate")],
            "device list",
            "LEAFGATE_URL and LEAFGATE_DIR both name a registry",
        ),
        (
            &[("LEAFGATE_URL", "https://x")],
            "device list",
            "--token-file, or LEAFGATE_TOKEN_FILE",
        ),
        (
            &[],
            "device list --token-file token",
            "--token-file is for a registry API, and none is named",
        ),
        (
            &[],
            "device list --url http://x --token-file token",
            "must begin with https://",
        ),
        (
            &[],
            "device list --url https://me:secret@x --token-file token",
            "must hold no user",
        ),
        (
            &[],
            "device list --url x --token-file token",
            "write it like https://registry:8443",
        ),
        (
            &[],
            "device list --url https://x --token-file open",
            "chmod 600 open",
        ),
        (
            &[],
            "device list --url https://x --token-file none",
            "can't read the secret file none",
        ),
        (
            &[],
            "device list --url https://x --token-file token --ca-file open",
            "holds no certificate",
        ),
    ] {
        let mut command = desk.command(line.split_whitespace());
        let done: Done = command
            .envs(variables.iter().copied())
            .output()
            .unwrap()
            .into();
        assert_eq!(
            (done.exit, done.stdout.as_str()),
            (2, ""),
            "{line}: {done:#?}"
        );
        assert!(done.stderr.contains(words), "{line}: {done:#?}");
        assert!(
            !done.stderr.contains("secret@") && !done.stderr.contains("lgk_"),
            "{done:#?}"
        );
    }
    // What the command line says outweighs the environment.
    let mut command = desk.command(["device", "list", "--dir", ".leafgate"]);
    let done: Done = command
        .env("LEAFGATE_URL", "https://x")
        .output()
        .unwrap()
        .into();
    assert_eq!(done.exit, 0, "{done:#?}");
}

#[test]
fn who_may_not_is_refused() {
    let desk = Desk::with_api();
    desk.ok("device register 0001 --site plant-7");
    desk.ok("device register 0002 --site plant-8");
    desk.ok("api-key create viewer --role viewer --site plant-7 --out viewer.key");
    let as_viewer = |line: &str| desk.run(&format!("{line} --token-file viewer.key"));
    let listed = as_viewer("device list");
    assert!(
        listed.stdout.contains("0001") && !listed.stdout.contains("0002"),
        "{listed:#?}"
    );
    for (line, exit) in [
        ("device register 0003", 5),
        ("device disable 0001", 5),
        ("device edit 0001 --type pump", 5),
        ("certificate issue 0001 --csr x.csr", 2),
        ("device show 0002", 3),
        ("api-key list", 5),
        ("token list", 5),
        ("events list", 5),
        ("events tail", 5),
        ("audit verify", 5),
        ("device register 0003 --out devices", 5),
    ] {
        let done = as_viewer(line);
        assert_eq!(
            (done.exit, done.stdout.as_str()),
            (exit, ""),
            "{line}: {done:#?}"
        );
    }
    assert!(!desk.path("devices/0003.key").exists());
    desk.fails("device show 0003", 3);

    // A key that is revoked, one that has ended, and what is no key at all.
    let id = desk
        .read("viewer.key")
        .split('_')
        .nth(1)
        .unwrap()
        .to_owned();
    desk.ok(&format!("api-key revoke {id}"));
    let done = as_viewer("device list");
    assert_eq!(done.exit, 5, "{done:#?}");
    assert!(
        done.stderr.contains("this API key was revoked at"),
        "{done:#?}"
    );
    desk.ok("api-key create short --role viewer --expires-in 1s --out short.key");
    let done = eventually("the end of the key", || {
        let done = desk.run("device list --token-file short.key");
        (done.exit != 0).then_some(done)
    });
    assert_eq!(done.exit, 5, "{done:#?}");
    assert!(done.stderr.contains("this API key ended at"), "{done:#?}");
    fs::copy(desk.path("viewer.key"), desk.path("wrong.key")).unwrap();
    desk.write("wrong.key", "hello\n");
    assert_eq!(desk.run("device list --token-file wrong.key").exit, 5);
}

#[test]
fn a_server_that_is_not_there_or_not_the_right_one_is_told() {
    let mut desk = Desk::with_api();
    desk.ok("registry init --dir other");
    let said = desk.fails("device list --ca-file other/ca/root.crt", 6);
    assert!(said.contains("invalid peer certificate"), "{said}");
    assert!(
        said.contains("name the CA that certifies it with --ca-file"),
        "{said}"
    );
    let api = desk.api.as_mut().unwrap();
    let health = api.url().replace("localhost", "127.0.0.1");
    api.running.kill();
    let said = desk.fails("device list", 6);
    assert!(said.contains(" can't be reached: "), "{said}");
    let said = desk.fails(&format!("device list --url {health}"), 6);
    assert!(said.contains(&health), "{said}");
}

#[test]
fn who_is_told_to_wait_tries_again() {
    let desk = Desk::with_api_of("[limits]\nevent_streams = 1\n");
    let tail = |options: &str| {
        let line = format!("events tail {options}");
        let mut command = desk.command(line.split_whitespace());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let mut first = tail("--after 0");
    let mut events = BufReader::new(first.stdout.take().unwrap()).lines();
    events.next().unwrap().unwrap();
    let mut second = tail("--after 0 --count 1");
    let mut said = BufReader::new(second.stderr.take().unwrap()).lines();
    let line = said.next().unwrap().unwrap();
    assert!(
        line.contains("as many streams of events are open as there may be; trying again in"),
        "{line}"
    );
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(second.wait_with_output().unwrap().status.success());
}

#[test]
fn a_service_under_load_is_waited_for() {
    let desk = Desk::with_api_of("[limits]\nrequests = 1\n");
    let registering: Vec<_> = (0..4)
        .map(|number| {
            let id = format!("000{number}");
            let mut command = desk.command(["device", "register", &id]);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().unwrap()
        })
        .collect();
    for mut child in registering {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(
        desk.json("device list")["devices"]
            .as_array()
            .unwrap()
            .len(),
        4
    );
}

#[test]
fn no_secret_is_ever_printed() {
    let desk = Desk::with_api();
    desk.ok("api-key create other --role viewer --out other.key");
    desk.ok("token create line --unnamed 1 --out line.token");
    desk.ok("device register 0001 --out devices");
    let secrets: Vec<String> = ["admin.key", "other.key", "line.token"]
        .iter()
        .map(|name| {
            desk.read(name)
                .trim()
                .rsplit('_')
                .next()
                .unwrap()
                .to_owned()
        })
        .collect();
    for line in [
        "--help",
        "device --help",
        "device list --help",
        "device list",
        "device show 0001 --output json",
        "device show 0009",
        "api-key list --output json",
        "token list --output json",
        "events list --output json --limit 100",
        "certificate renew 0001 --cert-dir devices --output json",
        "device list --url https://127.0.0.1:1",
        "device register 0001",
        "device list --token-file devices/0001.key",
    ] {
        let mut command = desk.command(line.split_whitespace());
        let done: Done = command.env("RUST_LOG", "trace").output().unwrap().into();
        for text in [&done.stdout, &done.stderr] {
            assert!(!text.contains("PRIVATE KEY"), "{line}: {text}");
            for secret in &secrets {
                assert!(!text.contains(secret.as_str()), "{line}: {text}");
            }
        }
    }
}

#[test]
fn services_get_their_first_certificates_over_the_api() {
    let desk = Desk::with_api();
    let said = desk.ok(
        "service issue leaf-1.example.org --profile nats-server --dns *.leaf.example.org --ip 192.0.2.7 --out tls",
    );
    assert!(
        said.starts_with("leaf-1.example.org has a new certificate, serial number "),
        "{said}"
    );
    assert_eq!(desk.mode("tls/leaf-1.example.org.key"), 0o600);
    desk.openssl(
        "verify -x509_strict -purpose sslserver -verify_hostname a.leaf.example.org \
         -CAfile server/registry/ca/root.crt -untrusted server/registry/ca/servers.crt \
         tls/leaf-1.example.org.crt",
    );
    assert_eq!(
        desk.openssl("pkey -in tls/leaf-1.example.org.key -pubout"),
        desk.openssl("x509 -in tls/leaf-1.example.org.crt -noout -pubkey")
    );
    let json = desk.json("service issue callout-0 --profile nats-client --out tls");
    assert_eq!(
        (&json["service"], &json["profile"], &json["status"]),
        (&"callout-0".into(), &"nats-client".into(), &"issued".into())
    );
    let listed = desk.json("certificate list --service callout-0");
    assert_eq!(listed["certificates"][0]["serial"], json["serial"]);

    desk.ok("api-key create line --role provisioner --out line.key");
    let line = "service issue callout-1 --profile nats-client --out refused";
    let done = desk.run(&format!("{line} --token-file line.key"));
    assert_eq!(done.exit, 5, "{done:#?}");
    let device =
        "service issue device-0001.device.synadia.local --profile nats-client --out refused";
    let said = desk.fails(device, 2);
    assert!(
        said.contains("no certificate can carry this name"),
        "{said}"
    );
    assert_eq!(fs::read_dir(desk.path("refused")).unwrap().count(), 0);
}
