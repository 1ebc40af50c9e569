//! `leafgate-registry`, the program.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::api::serving;
use crate::support::Desk;

const CONFIG: &str = r#"
[http]
listen = "127.0.0.1:0"
cert_file = "tls/localhost.crt"
key_file = "tls/localhost.key"
[status]
listen = "127.0.0.1:0"
[health]
listen = "127.0.0.1:0"
[store]
url = "sqlite:.leafgate/registry.db"
[ca]
dir = ".leafgate/ca"
[[trust_domain]]
name = "default"
issuers = [".leafgate/ca/devices.crt"]
"#;

fn desk() -> Desk {
    let desk = Desk::empty();
    desk.ok("registry init");
    desk.ok("service issue localhost --profile nats-server --ip 127.0.0.1 --out tls");
    desk.write("registry.toml", CONFIG);
    desk
}

fn program(desk: &Desk) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leafgate-registry"));
    command
        .args(["--config", "registry.toml"])
        .current_dir(desk.path(""))
        .env_clear()
        .stdin(Stdio::null());
    command
}

#[test]
fn what_contradicts_itself_about_vault_is_told_with_the_remedy() {
    let desk = desk();
    let store = "url = \"sqlite:.leafgate/registry.db\"";
    for (place, instead, told) in [
        (
            store,
            "url = \"vault:\"".to_owned(),
            "such as \"vault:secret\"",
        ),
        (
            store,
            "url = \"vault:secret\"\npassword_file = \"p\"".to_owned(),
            "set log_in and ca_file in [vault]",
        ),
        (store, "url = \"vault:secret\"".to_owned(), "VAULT_ADDR"),
        (
            store,
            format!("{store}\n[vault]\naddress = \"http://127.0.0.1:1\""),
            "[vault] is of no use",
        ),
        (
            "dir = \".leafgate/ca\"",
            "[ca.vault]".to_owned(),
            "VAULT_ADDR",
        ),
    ] {
        desk.write("registry.toml", &CONFIG.replace(place, &instead));
        let output = program(&desk).output().unwrap();
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(told), "{instead}: {said}");
    }
}

#[test]
fn it_serves_until_it_is_told_to_end() {
    let desk = desk();
    desk.ok("registry init --config registry.toml --admin-key-out admin.key");
    let mut running = program(&desk).stdout(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(running.stdout.take().unwrap()).lines();
    let port = serving(&mut log).port();
    let register = json!({ "id": "0001", "device_type": "pump" }).to_string();
    let asked = Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--fail-with-body",
            "--cacert",
            ".leafgate/ca/root.crt",
        ])
        .args(["--oauth2-bearer", desk.read("admin.key").trim()])
        .args([
            "--header",
            "Content-Type: application/json",
            "--data",
            &register,
        ])
        .arg(format!("https://localhost:{port}/v1/devices"))
        .current_dir(desk.path(""))
        .output()
        .unwrap();
    assert!(asked.status.success(), "{asked:?}");
    let device: Value = serde_json::from_slice(&asked.stdout).unwrap();
    // What the API answers is what the command line shows.
    assert_eq!(desk.json("device show 0001"), device);

    kill(
        Pid::from_raw(i32::try_from(running.id()).unwrap()),
        Signal::SIGTERM,
    )
    .unwrap();
    let rest: Vec<String> = log.map(Result::unwrap).collect();
    assert!(running.wait().unwrap().success(), "{rest:#?}");
    assert!(
        rest.iter()
            .any(|line| line.contains("route=/v1/devices status=201")),
        "{rest:#?}"
    );
    assert!(
        rest.last().unwrap().contains("registry API ended"),
        "{rest:#?}"
    );
}

#[test]
fn what_is_wrong_with_its_configuration_is_told() {
    let desk = desk();
    let text = format!("{CONFIG}[limits]\nconections = 1\n");
    desk.write("registry.toml", &text);
    let ended = program(&desk).output().unwrap();
    assert_eq!(ended.status.code(), Some(2));
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(
        said.contains("registry.toml:18:") && said.contains("conections"),
        "{said}"
    );
}
