//! The Vault server of the tests: sealed, stopped, killed, and gone with its owner.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use leafgate_testkit::vault::{VaultServer, VaultSettings};
use serde_json::{Value, json};

/// Makes the test binary the process that is killed.
const OWNER_VARIABLE: &str = "LEAFGATE_TEST_VAULT_OWNER";

#[tokio::test]
async fn engines_are_separate() {
    let admin = VaultServer::shared().admin();
    let (one, other) = (admin.mount_kv().await, admin.mount_kv().await);
    admin.kv_put(&one, "a/b", json!({ "c": 1 })).await;
    assert_eq!(admin.kv_get(&one, "a/b").await, json!({ "c": 1 }));
    let path = format!("{other}/data/a/b");
    assert_eq!(admin.try_request("GET", &path, Value::Null).await.0, 404);
}

#[tokio::test]
async fn what_a_durable_one_holds_survives_a_seal_a_stop_and_a_kill() {
    let server = VaultServer::start(&VaultSettings {
        durable: true,
        ..VaultSettings::default()
    });
    let mount = server.admin().mount_kv().await;
    let document = json!({ "c": 1 });
    server.admin().kv_put(&mount, "a", document.clone()).await;
    server.admin().seal().await;
    let path = format!("{mount}/data/a");
    let (status, _) = server.admin().try_request("GET", &path, Value::Null).await;
    assert_eq!(status, 503);
    server.admin().unseal().await;
    for end in [VaultServer::stop, VaultServer::kill9] {
        assert_eq!(server.admin().kv_get(&mount, "a").await, document);
        end(&server);
        server.start_again();
    }
    assert_eq!(server.admin().kv_get(&mount, "a").await, document);
}

#[test]
fn it_ends_with_the_process_that_started_it_and_leaves_nothing_behind() {
    let folders = tempfile::tempdir().unwrap();
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "own_a_server", "--ignored", "--nocapture"])
        .env(OWNER_VARIABLE, "1")
        .env("TMPDIR", folders.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(owner.stdout.take().unwrap());
    let authority = stdout
        .lines()
        .find_map(|line| Some(line.unwrap().split_once("http://")?.1.to_owned()))
        .expect("an address");
    let is_gone = || {
        let folders = std::fs::read_dir(folders.path()).unwrap();
        TcpStream::connect(&authority).is_err() && folders.count() == 0
    };
    assert!(!is_gone());
    owner.kill().unwrap();
    owner.wait().unwrap();
    for _ in 0..3_000 {
        if is_gone() {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("the server or its folder is still there");
}

/// Not a test: what the one above runs and kills.
#[test]
#[ignore = "it never ends"]
#[expect(
    clippy::disallowed_methods,
    reason = "the way to tell the process that is killed from one that runs all tests"
)]
fn own_a_server() {
    if std::env::var(OWNER_VARIABLE).is_err() {
        return;
    }
    let server = VaultServer::start(&VaultSettings {
        durable: true,
        ..VaultSettings::default()
    });
    println!("{}", server.address());
    loop {
        thread::sleep(Duration::from_secs(60));
    }
}
