//! `leafgate agent`: certificates that stay fresh, a device's and a nats-server's.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use leafgate_processes::NatsServerBinary;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::{Desk, eventually, project};

const AGENT: &str = "agent --cert devices/0001.crt --key devices/0001.key";

/// A desk with an API and the files of device 0001.
fn desk() -> Desk {
    let desk = Desk::with_api();
    desk.ok("device register 0001 --out devices");
    desk
}

fn serial(desk: &Desk, certificate: &str) -> String {
    let said = desk.openssl(&format!("x509 -in {certificate} -noout -serial"));
    said.trim().split_once('=').unwrap().1.to_ascii_lowercase()
}

fn assert_fits(desk: &Desk, stem: &str) {
    assert_eq!(
        desk.openssl(&format!("pkey -in {stem}.key -pubout")),
        desk.openssl(&format!("x509 -in {stem}.crt -noout -pubkey"))
    );
}

/// The agent while it runs, and the lines that it writes.
struct Agent {
    child: Child,
    log: mpsc::Receiver<String>,
}

impl Agent {
    fn start(desk: &Desk, line: &str) -> Self {
        Self::run(desk.command(line.split_whitespace()))
    }

    fn run(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (sender, log) = mpsc::channel();
        thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .all(|line| sender.send(line).is_ok())
        });
        Self { child, log }
    }

    /// The next line with these words.
    fn says(&self, words: &str) -> String {
        loop {
            let line = self.log.recv_timeout(Duration::from_secs(30));
            let line = line.unwrap_or_else(|_| panic!("{words:?} was not said"));
            if line.contains(words) {
                return line;
            }
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), signal).unwrap();
}

#[test]
fn a_fresh_certificate_stays_and_a_due_one_is_renewed_with_a_new_key() {
    let desk = desk();
    let (chain, key) = (desk.read("devices/0001.crt"), desk.read("devices/0001.key"));
    let first = serial(&desk, "devices/0001.crt");
    let fresh = desk.json(&format!("{AGENT} --once"));
    assert_eq!(fresh["outcome"], "fresh", "{fresh}");
    assert_eq!(fresh["serial"], first);
    // In the care of the agent, and as they were.
    assert!(fs::read_link(desk.path("devices/0001.crt")).is_ok());
    assert_eq!(desk.read("devices/0001.crt"), chain);
    assert_eq!(desk.read("devices/0001.key"), key);

    let touch = "touch reloaded";
    let renew = [
        "--once",
        "--renew-now",
        "--status-file",
        "status.json",
        "--output",
        "json",
    ];
    let renew = |more: &[&str]| {
        let words = AGENT
            .split_whitespace()
            .chain(renew)
            .chain(more.iter().copied());
        desk.run_with(words)
    };
    let done = renew(&["--reload", touch]);
    assert_eq!(done.exit, 0, "{done:#?}");
    let renewed: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(renewed["outcome"], "renewed");
    assert_ne!(renewed["serial"], fresh["serial"]);
    assert!(renewed["renew_after"].as_str() < renewed["not_after"].as_str());
    assert!(desk.path("reloaded").exists());
    assert_ne!(desk.read("devices/0001.key"), key);
    assert_eq!(desk.mode("devices/0001.key"), 0o600);
    assert_fits(&desk, "devices/0001");
    desk.openssl(
        "verify -x509_strict -CAfile devices/ca.crt -untrusted devices/0001.crt devices/0001.crt",
    );
    let status = desk.json_file("status.json");
    assert_eq!(status["serial"], renewed["serial"]);
    assert_eq!(status["error"], Value::Null);

    // The time of the next renewal is the one that the registry said, and nothing is done before.
    fs::remove_file(desk.path("reloaded")).unwrap();
    let fresh = desk.json(&format!("{AGENT} --once"));
    assert_eq!(fresh["renew_after"], renewed["renew_after"]);
    assert!(!desk.path("reloaded").exists());

    // Whoever does not run needs no signal.
    let mut ended = Command::new("true").spawn().unwrap();
    ended.wait().unwrap();
    desk.write("ended.pid", &ended.id().to_string());
    let done = renew(&["--pid-file", "ended.pid", "--signal", "hup"]);
    assert!(done.stderr.contains("needs no signal"), "{done:#?}");
    // The same key has its certificate until that is due.
    let key = desk.read("devices/0001.key");
    let kept = renew(&["--keep-key"]);
    let outcome: Value = serde_json::from_str(&kept.stdout).unwrap();
    assert_eq!(outcome["outcome"], "kept");
    assert_eq!(kept.exit, 0, "{kept:#?}");
    assert_eq!(desk.read("devices/0001.key"), key);
    // Nothing of it stands in the way of renewing by hand later, which says so.
    let said = desk.fails("certificate renew 0001 --cert-dir devices", 2);
    assert!(said.contains("no regular file"), "{said}");
}

#[test]
fn a_failed_reload_is_made_up_for() {
    let desk = desk();
    desk.ok(&format!("{AGENT} --once"));
    desk.write("reload.sh", "test -e ready && touch reloaded\n");
    let done = desk.run(&format!("{AGENT} --once --renew-now --reload ./reload.sh"));
    assert_eq!(done.exit, 1, "{done:#?}");
    let renewed = serial(&desk, "devices/0001.crt");
    let words = AGENT
        .split_whitespace()
        .chain(["--once", "--reload", "sh reload.sh"]);
    let done = desk.run_with(words.clone());
    assert_eq!(done.exit, 1, "{done:#?}");
    assert!(
        done.stderr.contains("the reload command failed"),
        "{done:#?}"
    );
    desk.write("ready", "");
    assert_eq!(desk.run_with(words).exit, 0);
    assert!(desk.path("reloaded").exists());
    assert_eq!(serial(&desk, "devices/0001.crt"), renewed);
}

#[test]
fn an_agent_ends_when_it_is_told_though_its_reload_hangs() {
    let desk = desk();
    desk.ok(&format!("{AGENT} --once"));
    desk.write("reload.sh", "touch begun\nexec sleep 1000\n");
    let mut command = desk.command(AGENT.split_whitespace());
    command.args(["--renew-now", "--reload", "exec sh reload.sh"]);
    let mut agent = Agent::run(command);
    eventually("the reload", || desk.path("begun").exists().then_some(()));
    send(agent.child.id(), Signal::SIGTERM);
    let status = eventually("the end of the agent", || agent.child.try_wait().unwrap());
    assert!(status.success());
    // The next run makes up for it.
    let words = AGENT.split_whitespace();
    let done = desk.run_with(words.chain(["--once", "--reload", "touch reloaded"]));
    assert_eq!(done.exit, 0, "{done:#?}");
    assert!(desk.path("reloaded").exists());
}

#[test]
fn who_is_refused_keeps_what_it_has() {
    let desk = desk();
    let before = desk.read("devices/0001.crt");
    desk.ok("device disable 0001");
    let said = desk.run(&format!(
        "{AGENT} --once --renew-now --status-file status.json"
    ));
    assert_eq!(said.exit, 4, "{said:#?}");
    assert!(said.stderr.contains("disabled"), "{said:#?}");
    let status = desk.json_file("status.json");
    assert!(
        status["error"].as_str().unwrap().contains("disabled"),
        "{status}"
    );
    desk.ok("device revoke 0001 --yes");
    assert_eq!(desk.run(&format!("{AGENT} --once --renew-now")).exit, 4);
    assert_eq!(desk.read("devices/0001.crt"), before);
    assert_fits(&desk, "devices/0001");
    // A certificate that does not lead to the root is not put in place, whoever signed it.
    desk.ok("device register 0002 --out devices");
    let other = Desk::with_api();
    desk.write("other.crt", &other.read("server/registry/ca/root.crt"));
    let before = desk.read("devices/0002.crt");
    let second = "agent --cert devices/0002.crt --key devices/0002.key --root other.crt";
    let said = desk.run(&format!("{second} --once --renew-now"));
    assert_eq!(said.exit, 1, "{said:#?}");
    assert!(
        said.stderr.contains("the new certificate is not used"),
        "{said:#?}"
    );
    assert_eq!(desk.read("devices/0002.crt"), before);
}

#[test]
fn wrong_arguments_are_told() {
    let desk = desk();
    for (line, words) in [
        (
            "agent --cert none.crt --key devices/0001.key --root devices/ca.crt --once",
            "none.crt",
        ),
        (
            "agent --cert devices/0001.crt --key devices/0001.key --root none.crt --once",
            "none.crt",
        ),
        (
            "agent --cert devices/0001.crt --key server/tls/localhost.key --once",
            "the key is not that of the certificate",
        ),
        (
            "agent --cert devices/0001.crt --key devices/0001.key --pid-file x --once",
            "--signal",
        ),
    ] {
        let said = desk.fails(line, 2);
        assert!(said.contains(words), "{line}: {said}");
    }
}

#[test]
fn an_agent_outlives_a_registry_that_is_gone_for_a_while() {
    let mut desk = desk();
    let first = serial(&desk, "devices/0001.crt");
    let mut api = desk.api.take().unwrap();
    api.running.kill();
    let (url, root) = (api.url(), "server/registry/ca/root.crt");
    let agent = Agent::start(
        &desk,
        &format!("{AGENT} --renew-now --url {url} --ca-file {root}"),
    );
    let said = agent.says("not renewed, trying again in");
    assert!(said.contains("can't be reached"), "{said}");
    let second = desk.run(&format!("{AGENT} --once --url {url} --ca-file {root}"));
    assert_eq!(second.exit, 4, "{second:#?}");
    assert!(
        second.stderr.contains("another agent takes care"),
        "{second:#?}"
    );
    api.start_again(&desk);
    agent.says("certificate renewed name=device-0001.device.synadia.local");
    assert_ne!(serial(&desk, "devices/0001.crt"), first);
    assert_fits(&desk, "devices/0001");
    send(agent.child.id(), Signal::SIGTERM);
    let mut agent = agent;
    assert!(agent.child.wait().unwrap().success());
}

#[test]
fn kill_9_at_any_moment_leaves_files_that_fit() {
    let desk = desk();
    desk.ok(&format!("{AGENT} --once"));
    let line = format!("{AGENT} --once --renew-now");
    for n in 0..12 {
        let mut child = desk
            .command(line.split_whitespace())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_millis(8 * n));
        // It may have ended before.
        let _ = child.kill();
        child.wait().unwrap();
        assert_fits(&desk, "devices/0001");
    }
    desk.ok(&line);
    assert_fits(&desk, "devices/0001");
    // What was issued to a run that was killed is what the next run got: no key asks twice.
    let listed = desk.json("certificate list --device 0001");
    let issued = listed["certificates"].as_array().unwrap().len();
    assert!((2..=14).contains(&issued), "{listed}");
}

const NATS_SERVER: &str = r#"
host: "127.0.0.1"
port: PORT
pid_file: "nats.pid"
lame_duck_duration: "30s"
lame_duck_grace_period: "1s"
tls {
  cert_file: "tls/leaf-1.crt"
  key_file: "tls/leaf-1.key"
  ca_file: "server/registry/ca/root.crt"
  handshake_first: true
}
"#;

/// Starts a nats-server again whenever it has ended, as systemd with `Restart=always`.
struct Supervisor {
    told: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Supervisor {
    fn start(desk: &Desk) -> Self {
        let binary = NatsServerBinary::pinned(NatsServerBinary::DEFAULT_VERSION, &project());
        let program = binary.unwrap().path().to_owned();
        let folder = desk.path("");
        let told = Arc::new(AtomicBool::new(false));
        let end = told.clone();
        let supervise = move || {
            while !end.load(Ordering::SeqCst) {
                let mut server = Command::new(&program);
                server.args(["--config", "nats.conf", "--log", "nats.log"]);
                let mut server = server.current_dir(&folder).spawn().unwrap();
                while server.try_wait().unwrap().is_none() {
                    if end.load(Ordering::SeqCst) {
                        server.kill().unwrap();
                    }
                    thread::sleep(Duration::from_millis(20));
                }
            }
        };
        Self {
            told,
            thread: Some(thread::spawn(supervise)),
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.told.store(true, Ordering::SeqCst);
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

#[test]
fn a_nats_server_serves_its_new_certificate_after_a_restart_as_a_lame_duck_or_a_reload() {
    let desk = Desk::with_api();
    desk.ok("service issue leaf-1 --profile nats-server --dns localhost --ip 127.0.0.1 --out tls");
    let port = {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().port()
    };
    desk.write("nats.conf", &NATS_SERVER.replace("PORT", &port.to_string()));
    let _supervisor = Supervisor::start(&desk);
    let served = || {
        let asked = desk.run_openssl(&format!(
            "s_client -connect 127.0.0.1:{port} -CAfile server/registry/ca/root.crt -verify_return_error"
        ));
        desk.write("served.pem", &asked.stdout);
        let read = desk.run_openssl("x509 -in served.pem -noout -serial");
        (asked.exit == 0 && read.exit == 0).then_some(read.stdout)
    };
    let first = eventually("a nats-server", served);
    let agent = "agent --cert tls/leaf-1.crt --key tls/leaf-1.key --root server/registry/ca/root.crt --once";
    let reload = "--pid-file nats.pid --signal";
    desk.ok(&format!("{agent} {reload} hup"));
    assert_eq!(
        served().unwrap(),
        first,
        "the same certificate, nothing to tell"
    );

    let pid = desk.read("nats.pid");
    let done = desk.run(&format!("{agent} --renew-now {reload} lame-duck"));
    assert_eq!(done.exit, 0, "{done:#?}");
    assert!(
        done.stderr.contains("has ended as a lame duck"),
        "{done:#?}"
    );
    assert_ne!(desk.read("nats.pid"), pid);
    let of_file = || desk.openssl("x509 -in tls/leaf-1.crt -noout -serial");
    assert_ne!(of_file(), first);
    eventually("the new certificate", || {
        (served()? == of_file()).then_some(())
    });

    let pid = desk.read("nats.pid");
    let second = of_file();
    desk.ok(&format!("{agent} --renew-now {reload} hup"));
    assert_ne!(of_file(), second);
    eventually("the third certificate", || {
        (served()? == of_file()).then_some(())
    });
    assert_eq!(desk.read("nats.pid"), pid);
    let listed = desk.json("certificate list --service leaf-1");
    assert_eq!(
        listed["certificates"].as_array().unwrap().len(),
        3,
        "{listed}"
    );
}
