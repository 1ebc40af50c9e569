//! Real nats-servers: ports, early ends, restarts, and the death of the parent.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use leafgate_processes::{NatsServer, NatsServerBinary, StartNatsServerError};

const LIMIT: Duration = Duration::from_secs(10);
const EVERY_LISTENER: &str = r#"
server_name: every
host: 127.0.0.1, port: -1, http: "127.0.0.1:-1"
cluster { name: one, host: 127.0.0.1, port: -1 }
leafnodes { host: 127.0.0.1, port: -1 }
websocket { host: 127.0.0.1, port: -1, no_tls: true }
"#;

fn binary() -> NatsServerBinary {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    NatsServerBinary::pinned(NatsServerBinary::DEFAULT_VERSION, root)
        .unwrap_or_else(|error| panic!("{error}"))
}

async fn start(folder: &Path, config: &str) -> Result<NatsServer, StartNatsServerError> {
    let path = folder.join("nats.conf");
    fs::write(&path, config).unwrap();
    let (log, ports) = (folder.join("nats.log"), folder.join("ports"));
    NatsServer::start("nats-server", &binary(), &path, &log, &ports).await
}

#[tokio::test]
async fn every_listener_is_found_and_open() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = start(folder.path(), EVERY_LISTENER).await.unwrap();
    let ports = server.ports().clone();
    let others = [
        ports.leafnode,
        ports.cluster,
        ports.monitoring,
        ports.websocket,
    ];
    for address in others.into_iter().flatten().chain([ports.client]) {
        TcpStream::connect(address).unwrap();
    }
    assert_eq!(others.iter().flatten().count(), 4);

    let status = server.stop(LIMIT).await.unwrap();
    assert!(server.child().log().tail(1).contains("Server Exiting"));
    assert!(status.code().is_some(), "{status}");
    TcpStream::connect(ports.client).unwrap_err();
}

#[tokio::test]
async fn a_bad_configuration_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let error = start(folder.path(), "port: -1\nno_such_key: 1\n")
        .await
        .unwrap_err();
    let message = error.to_string();
    assert!(
        matches!(error, StartNatsServerError::NotReady(_)),
        "{message}"
    );
    assert!(message.contains("no_such_key"), "{message}");
    assert!(message.contains("nats.log"), "{message}");
}

#[tokio::test]
async fn after_a_crash_the_same_folder_serves_again() {
    let folder = tempfile::tempdir().unwrap();
    let config = "host: 127.0.0.1, port: -1";
    let mut first = start(folder.path(), config).await.unwrap();
    let crashed = first.ports().client;
    first.kill9().await.unwrap();
    TcpStream::connect(crashed).unwrap_err();
    assert_eq!(
        fs::read_dir(folder.path().join("ports")).unwrap().count(),
        1
    );

    let second = start(folder.path(), config).await.unwrap();
    assert_ne!(second.pid(), first.pid());
    TcpStream::connect(second.ports().client).unwrap();
    assert_eq!(
        fs::read_dir(folder.path().join("ports")).unwrap().count(),
        1
    );
}

/// This test runs itself a second time as the parent that is killed.
#[tokio::test]
async fn a_server_ends_when_its_parent_is_killed() {
    const FOLDER: &str = "LEAFGATE_TEST_PARENT_FOLDER";
    if let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) {
        let server = start(&folder, "host: 127.0.0.1, port: -1").await.unwrap();
        let unfinished = folder.join("address.new");
        fs::write(&unfinished, server.ports().client.to_string()).unwrap();
        fs::rename(unfinished, folder.join("address")).unwrap();
        return std::future::pending().await;
    }

    let folder = tempfile::tempdir().unwrap();
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_server_ends_when_its_parent_is_killed"])
        .env(FOLDER, folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let address = eventually(|| fs::read_to_string(folder.path().join("address")).ok()).await;
    TcpStream::connect(&address).unwrap();
    parent.kill().unwrap();
    parent.wait().unwrap();
    eventually(|| TcpStream::connect(&address).err()).await;
}

async fn eventually<T>(mut probe: impl FnMut() -> Option<T>) -> T {
    let polling = async {
        loop {
            if let Some(found) = probe() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, polling)
        .await
        .expect("it did not happen in time")
}
