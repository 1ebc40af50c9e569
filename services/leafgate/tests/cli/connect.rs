//! `leafgate connect` against real servers.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::time::Duration;

use async_nats::ConnectOptions;
use leafgate::local::{Endpoints, LocalDir, LocalSite, ServiceOptions, SiteOptions};
use leafgate_processes::NatsServerBinary;
use leafgate_registry::{Act, Actor};
use leafgate_runtime::{Clock, SystemClock, read_secret};
use secrecy::ExposeSecret;

use crate::support::{Desk, project, runtime};

/// A desk at which a site runs, with device 0001 registered.
pub(crate) struct Stage {
    pub(crate) desk: Desk,
    /// Until it is stopped.
    site: Option<LocalSite>,
    runtime: tokio::runtime::Runtime,
}

impl Stage {
    fn start() -> Self {
        Self::start_with(None)
    }

    /// With a registry API beside the servers.
    pub(crate) fn start_with_registry() -> Self {
        let program = env!("CARGO_BIN_EXE_leafgate-registry").into();
        Self::start_with(Some(ServiceOptions::new(program)))
    }

    fn start_with(registry: Option<ServiceOptions>) -> Self {
        let desk = Desk::empty();
        let runtime = runtime();
        let nats_server = NatsServerBinary::pinned(NatsServerBinary::DEFAULT_VERSION, &project());
        let callout = env!("CARGO_BIN_EXE_leafgate-callout").into();
        let options = SiteOptions {
            registry,
            ..SiteOptions::new("demo", nats_server.unwrap(), callout)
        };
        let act = Act {
            actor: Actor::parse("test").unwrap(),
            at: SystemClock::start().now(),
        };
        let dir = LocalDir::create(&desk.path(".leafgate")).unwrap();
        let site = runtime.block_on(LocalSite::start(dir, &options, &act));
        let site = site.unwrap_or_else(|error| panic!("the site did not start: {error:#}"));
        desk.ok("device register 0001 --out devices");
        Self {
            desk,
            site: Some(site),
            runtime,
        }
    }

    /// Ends all servers.
    pub(crate) fn stop(&mut self) {
        let site = self.site.take().unwrap();
        self.runtime.block_on(site.stop()).unwrap();
    }

    /// A client in the background that has logged in.
    pub(crate) fn connected(&self, line: &str) -> Visitor {
        let mut command = self.desk.command(line.split_whitespace());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut first = String::new();
        errors.read_line(&mut first).unwrap();
        assert!(
            first.starts_with("0001 is logged in at tls://127.0.0.1:"),
            "{first}"
        );
        Visitor { child, errors }
    }

    /// Sends a command from the hub until 0001 answers.
    fn command(&self, payload: &str) -> String {
        self.runtime.block_on(async {
            let endpoints: Endpoints = self.site.as_ref().unwrap().endpoints();
            let seed = read_secret(&endpoints.hub_command_nkey_file).unwrap();
            let hub = ConnectOptions::with_nkey(seed.expose_secret().to_owned())
                .add_root_certificates(endpoints.ca_file)
                .require_tls(true)
                .custom_inbox_prefix(endpoints.hub_command_inbox_prefix)
                .connect(&endpoints.hub_url)
                .await
                .unwrap();
            let mut tries = 0;
            loop {
                tries += 1;
                let request = async_nats::Request::new()
                    .payload(payload.to_owned().into())
                    .timeout(Some(Duration::from_millis(500)));
                // The leaf's interest travels to the hub on its own time.
                match hub.send_request("site.demo.device.0001.cmd", request).await {
                    Ok(answer) => return String::from_utf8(answer.payload.to_vec()).unwrap(),
                    Err(error) => assert!(tries < 100, "{error}"),
                }
            }
        })
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(site) = self.site.take() {
            let stopped = self.runtime.block_on(site.stop());
            assert!(stopped.is_ok() || std::thread::panicking(), "{stopped:?}");
        }
    }
}

pub(crate) struct Visitor {
    child: Child,
    errors: BufReader<std::process::ChildStderr>,
}

impl Visitor {
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Exit status, output, and what it said after the log-in.
    fn leave(mut self) -> (i32, String, String) {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.errors.read_to_string(&mut stderr).unwrap();
        self.child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut stdout)
            .unwrap();
        (self.child.wait().unwrap().code().unwrap(), stdout, stderr)
    }
}

#[test]
fn a_device_logs_in_publishes_and_answers() {
    let stage = Stage::start();
    let done = stage
        .desk
        .run("connect 0001 --cert-dir devices --pub device.0001.metrics.temperature 21.5");
    assert_eq!((done.exit, done.stdout.as_str()), (0, ""), "{done:#?}");
    assert!(
        done.stderr
            .ends_with("published to device.0001.metrics.temperature\n"),
        "{done:#?}"
    );

    let line =
        "connect 0001 --cert-dir devices --sub device.0001.cmd --count 1 --reply done --timeout 1m";
    let visitor = stage.connected(line);
    assert_eq!(stage.command("set 21\x1b[2J"), "done");
    assert_eq!(
        visitor.leave(),
        (
            0,
            "device.0001.cmd   set 21\\u{1b}[2J\n".to_owned(),
            String::new()
        )
    );

    let visitor = stage.connected(&format!("{line} --output json"));
    stage.command("set 22");
    let (exit, stdout, _) = visitor.leave();
    let message: serde_json::Value = serde_json::from_str(stdout.trim_end()).unwrap();
    assert_eq!((exit, &message["payload"]), (0, &"set 22".into()));
    assert!(message["reply"].is_string());

    let done = stage
        .desk
        .run("connect 0001 --cert-dir devices --sub device.0001.cmd --count 1 --timeout 2s");
    assert_eq!(done.exit, 1);
    assert!(
        done.stderr
            .ends_with("error: 0 of 1 message came within 2s\n"),
        "{done:#?}"
    );
}

#[test]
fn what_nats_server_refuses_is_told() {
    let stage = Stage::start();
    for (arguments, words) in [
        (
            "--pub device.0002.status on",
            "error: Permissions Violation for Publish to \"device.0002.status\"\n",
        ),
        (
            "--sub device.0002.cmd",
            "error: Permissions Violation for Subscription to \"device.0002.cmd\"\n",
        ),
    ] {
        let done = stage
            .desk
            .run(&format!("connect 0001 --cert-dir devices {arguments}"));
        assert_eq!(done.exit, 5, "{done:#?}");
        assert!(done.stderr.contains(words), "{done:#?}");
        assert!(done.stderr.ends_with(
            "leafgate policy explain 0001 tells what the device may publish and subscribe to\n"
        ));
    }
}

#[test]
fn a_session_that_is_ended_and_a_log_in_that_is_refused_are_told() {
    let stage = Stage::start();
    let visitor = stage.connected("connect 0001 --cert-dir devices --sub device.0001.cmd");
    stage.desk.ok("device revoke 0001 --yes");
    let (exit, stdout, stderr) = visitor.leave();
    assert_eq!((exit, stdout.as_str()), (5, ""));
    assert!(
        stderr.starts_with("error: the server ended the session and refuses another"),
        "{stderr}"
    );

    let said = stage.desk.fails("connect 0001 --cert-dir devices", 5);
    assert_eq!(
        said,
        "error: Authorization Violation: the reason is in leafgate's log\n"
    );
}

#[test]
fn what_is_missing_is_told() {
    let desk = Desk::with_registry();
    let said = desk.fails("connect 0001", 2);
    assert!(
        said.starts_with("error: can't read ./0001.crt: No such file"),
        "{said}"
    );
    assert!(
        said.contains("leafgate device register ID --out . writes"),
        "{said}"
    );
    desk.ok("device register 0001 --out devices");
    let said = desk.fails("connect 0001 --cert-dir devices", 6);
    assert!(
        said.starts_with("error: no site runs here (.leafgate/endpoints.json is missing)"),
        "{said}"
    );
    assert!(said.ends_with("or name the server with --url\n"), "{said}");
    let said = desk.fails("connect 0001 --cert-dir devices --url tls://127.0.0.1:1", 6);
    assert!(
        said.contains("is a server running at tls://127.0.0.1:1?"),
        "{said}"
    );
    desk.fails("connect 0001 --cert-dir devices --url a:b:c", 2);
    desk.fails("connect a.b", 2);
    assert!(
        desk.fails("connect 0001 --timeout 5", 2)
            .contains("is no duration")
    );
}
