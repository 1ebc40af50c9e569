//! `leafgate doctor`, on a deployment that is well and with each thing that can be wrong with one.

use std::fs;
use std::path::Path;
use std::time::Duration;

use leafgate_processes::{NatsServer, NatsServerBinary};
use leafgate_runtime::{Clock, SystemClock};
use leafgate_testkit::scratch_ca::{ScratchCa, ScratchLeaf};
use serde_json::Value;

use crate::connect::Stage;
use crate::support::{Desk, project, runtime};

/// What it found, as `RESULT CHECK DETAIL`, and its exit status.
fn examine(desk: &Desk, line: &str) -> (i32, Vec<String>) {
    let done = desk.run(&format!("doctor {line} --output json"));
    let report: Value = serde_json::from_str(&done.stdout)
        .unwrap_or_else(|error| panic!("{error}: doctor {line}: {done:#?}"));
    let of = |finding: &Value, field: &str| finding[field].as_str().unwrap().to_owned();
    let checks = report["checks"].as_array().unwrap().iter();
    let found = checks.map(|finding| {
        if finding["result"] != "ok" {
            assert!(!of(finding, "remedy").is_empty(), "{finding}");
        }
        ["result", "check", "detail"]
            .map(|field| of(finding, field))
            .join(" ")
    });
    (done.exit, found.collect())
}

fn assert_found(found: &[String], words: &str) {
    let start = words.split_once('…').map_or((words, ""), |parts| parts);
    assert!(
        found
            .iter()
            .any(|line| line.starts_with(start.0) && line.contains(start.1)),
        "{words:?} is not among {found:#?}"
    );
}

#[test]
fn a_site_is_well_and_then_it_is_gone() {
    let mut stage = Stage::start_with_registry();
    let endpoints = stage.desk.json_file(".leafgate/endpoints.json");
    let of = |name: &str| endpoints[name].as_str().unwrap().to_owned();
    let registry = format!(
        "--url {} --token-file {} --ca-file {}",
        of("registry_url"),
        of("admin_token_file"),
        of("ca_file")
    );
    // Issued by the registry, which writes where its status is to be had.
    let made = stage
        .desk
        .run(&format!("device register 0002 --out devices {registry}"));
    assert_eq!(made.exit, 0, "{made:#?}");
    let health = of("health_url").replace("/health", "");
    let callout = fs::read_dir(stage.desk.path(".leafgate/callout")).unwrap();
    let callout = callout
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|it| it == "toml"))
        .unwrap();
    let line = format!(
        "{registry} --health {health} --nats {} --cert devices/0002.crt \
         --config .leafgate/registry.toml --config {} --audit",
        of("device_url"),
        callout.display(),
    );
    let (exit, found) = examine(&stage.desk, &line);
    assert!(found.iter().all(|it| it.starts_with("ok ")), "{found:#?}");
    assert_eq!(exit, 0);
    for words in [
        "ok configuration a registry's, complete",
        "ok configuration a callout replica's, complete",
        "ok certificate CN=device-0002.device.synadia.local expires in 6 days",
        "ok registry answers, and accepts the key",
        "ok clock its clock and this one are … s apart",
        "ok issuer …expires in",
        "ok audit the chain of … is whole",
        "ok health ready",
        "ok crl current, ends in",
        "ok ocsp CN=device-0002.device.synadia.local is good",
        "ok nats-server …is a nats-server 2.",
        "ok tls …expires in 29 days",
        "ok tls takes certificates of",
    ] {
        assert_found(&found, words);
    }
    let told = stage.desk.ok(&format!("doctor {line}"));
    assert!(told.lines().all(|line| line.starts_with("ok   ")), "{told}");
    assert!(!told.contains("lgk_"), "{told}");

    let revoked = stage
        .desk
        .run(&format!("device revoke 0002 --yes {registry}"));
    assert_eq!(revoked.exit, 0, "{revoked:#?}");
    let (exit, found) = examine(&stage.desk, "--cert devices/0002.crt");
    assert_eq!(exit, 1);
    assert_found(
        &found,
        "fail ocsp CN=device-0002.device.synadia.local is revoked",
    );
    assert_found(
        &found,
        "fail crl CN=device-0002.device.synadia.local is revoked",
    );
    // Another registry's certificates.
    let other = Desk::with_api();
    stage
        .desk
        .write("other.crt", &other.read("server/registry/ca/root.crt"));
    let nats = of("device_url");
    let (exit, found) = examine(
        &stage.desk,
        &format!("--nats {nats} --nats-ca-file other.crt"),
    );
    assert_eq!(exit, 1);
    assert_found(&found, "fail tls …UnknownIssuer");
    let (exit, found) = examine(
        &stage.desk,
        &format!(
            "--url {} --token-file {} --ca-file other.crt",
            of("registry_url"),
            of("admin_token_file")
        ),
    );
    assert_eq!(exit, 1);
    assert_found(
        &found,
        "fail registry …can't be reached: invalid peer certificate",
    );

    stage.stop();
    let (exit, found) = examine(&stage.desk, &line);
    assert_eq!(exit, 1);
    for words in [
        "fail registry …can't be reached",
        "fail health no answer",
        "fail crl no answer",
        "fail ocsp no answer",
        "fail nats-server no answer",
        "ok configuration a registry's, complete",
    ] {
        assert_found(&found, words);
    }
}

#[test]
fn certificates_near_and_after_their_end_are_found() {
    let desk = Desk::empty();
    let ca = ScratchCa::root("test");
    let now = SystemClock::start().now();
    let hour = Duration::from_secs(3600);
    for (name, begin, end) in [
        (
            "fresh",
            now.saturating_sub(hour),
            now.saturating_add(hour * 9),
        ),
        (
            "late",
            now.saturating_sub(hour * 9),
            now.saturating_add(hour),
        ),
        (
            "ended",
            now.saturating_sub(hour * 9),
            now.saturating_sub(hour),
        ),
        (
            "early",
            now.saturating_add(hour),
            now.saturating_add(hour * 9),
        ),
    ] {
        let made = ca.sign(&ScratchLeaf::device(name, now).with_validity(begin, end));
        desk.write(&format!("{name}.crt"), &made.certificate_pem);
    }
    desk.write("empty.crt", "");
    let line = ["fresh", "late", "ended", "early", "empty", "none"]
        .map(|name| format!("--cert {name}.crt"))
        .join(" ");
    let (exit, found) = examine(&desk, &line);
    assert_eq!(exit, 1);
    assert_eq!(
        found[..5],
        [
            "ok certificate CN=fresh expires in 8 h",
            "warn certificate CN=late expires in 59 min, and should have been renewed",
            "fail certificate CN=ended expired 60 min ago",
            "fail certificate CN=early is not valid yet: it begins in 59 min",
            "fail certificate it holds no certificate in PEM",
        ]
    );
    assert!(found[5].starts_with("fail certificate "), "{found:#?}");
    let (exit, _) = examine(&desk, "--cert late.crt");
    assert_eq!(exit, 0, "a warning is no failure");
    let said = desk.fails("doctor", 2);
    assert!(said.contains("there is nothing to look at"), "{said}");
}

#[test]
fn configurations_that_would_not_start_are_found() {
    let desk = Desk::with_api();
    let config = desk.read("server/registry.toml");
    let examined = |text: &str| {
        desk.write("server/changed.toml", text);
        examine(&desk, "--config server/changed.toml")
    };
    assert_found(
        &examined(&config).1,
        "ok configuration a registry's, complete",
    );
    let (exit, found) = examined(&config.replace("[status]\n", "[status]\nlistn = 1\n"));
    assert_eq!(exit, 1);
    assert_found(&found, "fail configuration …listn");
    let (_, found) = examined(&config.replace("localhost.key", "none.key"));
    assert_found(&found, "fail configuration …none.key");
    fs::write(desk.path("server/registry/ca/root.crl"), "nothing").unwrap();
    assert_found(&examined(&config).1, "fail crl ");
    // Of an authority of openssl's own: only its times are looked at here.
    desk.openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -keyout x.key -out x.crt");
    desk.write("index.txt", "");
    desk.write(
        "x.cnf",
        "[ca]\ndefault_ca = own\n[own]\ndatabase = index.txt\ndefault_md = sha256\n",
    );
    let times = "-crl_lastupdate 20250101000000Z -crl_nextupdate 20250201000000Z";
    desk.openssl(&format!(
        "ca -config x.cnf -gencrl -cert x.crt -keyfile x.key {times} -out ended.crl"
    ));
    fs::copy(
        desk.path("ended.crl"),
        desk.path("server/registry/ca/root.crl"),
    )
    .unwrap();
    assert_found(
        &examined(&config).1,
        "fail crl it ended …ago, and whoever checks it",
    );
    let (exit, found) = examine(&desk, "--config none.toml");
    assert_eq!((exit, found.len()), (1, 6), "{found:#?}");
}

#[test]
fn keys_and_health_listeners_that_are_refused_or_wrong_are_found() {
    let desk = Desk::with_api();
    desk.ok("api-key create reader --role operator --out reader.key");
    let (exit, found) = examine(&desk, "--token-file reader.key --audit");
    assert_eq!(exit, 1);
    assert_found(&found, "ok registry answers, and accepts the key");
    assert_found(&found, "fail audit ");
    let id = desk.json("api-key list");
    let keys = id["api_keys"].as_array().unwrap();
    let reader = keys.iter().find(|key| key["name"] == "reader").unwrap();
    desk.ok(&format!(
        "api-key revoke {} --yes",
        reader["id"].as_str().unwrap()
    ));
    let (exit, found) = examine(&desk, "--token-file reader.key");
    assert_eq!((exit, found.len()), (1, 1), "{found:#?}");
    assert_found(&found, "fail registry ");
    // Something else answers there.
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let answering = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut connection, _) = server.accept().unwrap();
        let _ = connection.read(&mut [0; 4096]).unwrap();
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi";
        connection.write_all(answer.as_bytes()).unwrap();
    });
    let (_, found) = examine(&desk, &format!("--health http://{address}"));
    answering.join().unwrap();
    assert_found(
        &found,
        "fail health it does not answer as a health listener",
    );
}

/// A nats-server with this TLS block, in the desk's folder.
async fn nats_server(desk: &Desk, name: &str, tls: &str) -> NatsServer {
    let config = format!("host: \"127.0.0.1\"\nport: -1\n{tls}");
    let config = desk.write(&format!("{name}.conf"), &config);
    let binary = NatsServerBinary::pinned(NatsServerBinary::DEFAULT_VERSION, &project()).unwrap();
    let log = desk.path(format!("{name}.log"));
    NatsServer::start(name, &binary, &config, &log, &desk.path(""))
        .await
        .unwrap()
}

#[test]
fn nats_servers_that_keep_devices_out_or_let_anybody_in_are_found() {
    let desk = Desk::with_api();
    let (runtime, path) = (runtime(), |name: &str| {
        desk.path(name).display().to_string()
    });
    let tls = |more: &str| {
        let (cert, key) = (
            path("server/tls/localhost.crt"),
            path("server/tls/localhost.key"),
        );
        format!("tls {{ cert_file: \"{cert}\", key_file: \"{key}\", {more} }}\n")
    };
    let verifying = |ca: &Path| tls(&format!("verify: true, ca_file: \"{}\"", ca.display()));
    let other = Desk::with_api();
    let foreign = other.path("server/registry/ca/devices.crt");
    let ca = |desk: &Desk| desk.path("server/registry/ca/devices.crt");
    for (name, config, words) in [
        (
            "right",
            verifying(&ca(&desk)),
            "ok tls takes certificates of",
        ),
        (
            "other",
            verifying(&foreign),
            "fail tls it takes no certificates of",
        ),
        (
            "open",
            tls(""),
            "fail tls it asks clients for no certificate",
        ),
        (
            "plain",
            String::new(),
            "fail nats-server it takes connections without TLS",
        ),
        (
            "first",
            verifying(&ca(&desk)).replace("verify:", "handshake_first: true, verify:"),
            "ok tls takes certificates of",
        ),
    ] {
        let mut server = runtime.block_on(nats_server(&desk, name, &config));
        let port = server.ports().client.port();
        let (exit, found) = examine(&desk, &format!("--nats tls://localhost:{port}"));
        assert_found(&found, words);
        let fails = words.starts_with("fail");
        assert_eq!(exit, i32::from(fails), "{name}: {found:#?}");
        runtime
            .block_on(server.stop(Duration::from_secs(10)))
            .unwrap();
    }
    let shipped = format!(
        "verify: true, ca_file: \"{}\", ocsp_peer: {{ verify: true, allow_when_ca_unreachable: true }}",
        ca(&desk).display()
    );
    for (config, words, exit) in [
        (
            tls(&shipped),
            "ok nats-config …holds the registry's issuer of devices",
            0,
        ),
        (
            tls(&shipped),
            "ok nats-config revoked certificates are refused at the handshake",
            0,
        ),
        (
            tls(&shipped.replace("unreachable: true", "unreachable: false")),
            "warn nats-config every device stays out",
            0,
        ),
        (verifying(&ca(&desk)), "warn nats-config …no ocsp_peer", 0),
        (
            verifying(&foreign),
            "fail nats-config …does not hold the registry's issuer",
            1,
        ),
        (tls(""), "fail nats-config clients need no certificate", 1),
        (String::new(), "fail nats-config it has no tls block", 1),
    ] {
        desk.write("examined.conf", &config);
        let (found_exit, found) = examine(&desk, "--nats-config examined.conf");
        assert_found(&found, words);
        assert_eq!(found_exit, exit, "{found:#?}");
    }
    let (exit, found) = examine(&desk, "--nats http://localhost");
    assert_eq!(exit, 1);
    assert_found(&found, "fail nats-server it is no URL of a nats-server");
}
