//! A `leafgate-registry` for the command line to work against.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::Desk;

const CONFIG: &str = r#"
[http]
listen = "127.0.0.1:PORT"
cert_file = "tls/localhost.crt"
key_file = "tls/localhost.key"
[status]
listen = "127.0.0.1:0"
[health]
listen = "127.0.0.1:0"
[store]
url = "sqlite:STORE"
[ca]
dir = "registry/ca"
[[trust_domain]]
name = "default"
issuers = ["registry/ca/devices.crt"]
"#;

/// The program while it runs, killed at the end if it has not ended.
pub(crate) struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Starts what `command` says, and reads its log until it serves; where, the second tells.
    pub(crate) fn start(command: &mut Command) -> (Self, SocketAddr) {
        let mut running = Self(command.stdout(Stdio::piped()).spawn().unwrap());
        let mut log = BufReader::new(running.0.stdout.take().unwrap()).lines();
        let address = serving(&mut log);
        // A pipe that nobody reads would stop it some day.
        thread::spawn(move || log.for_each(drop));
        (running, address)
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn kill(&mut self) {
        kill(
            Pid::from_raw(i32::try_from(self.0.id()).unwrap()),
            Signal::SIGKILL,
        )
        .unwrap();
        self.0.wait().unwrap();
    }
}

/// Reads the log until the program serves, and gives the address of the API.
pub(crate) fn serving(log: &mut impl Iterator<Item = std::io::Result<String>>) -> SocketAddr {
    let line = log
        .find_map(|line| {
            line.ok()
                .filter(|line| line.contains("registry API started"))
        })
        .expect("the program says that it serves");
    let address = line.split(" api=").nth(1).unwrap();
    address.split(' ').next().unwrap().parse().unwrap()
}

/// A registry API whose commands are those of a desk.
pub(crate) struct Api {
    pub(crate) running: Running,
    pub(crate) address: SocketAddr,
}

impl Api {
    /// Makes a registry in `server/` and serves it, with these further sections of configuration.
    pub(crate) fn start_with(desk: &Desk, sections: &str) -> Self {
        desk.ok("registry init --dir server/registry");
        desk.ok("service issue localhost --profile nats-server --ip 127.0.0.1 --out server/tls --dir server/registry");
        desk.write(
            "server/registry.toml",
            &(CONFIG.replace("PORT", "0") + sections),
        );
        desk.ok("registry init --config server/registry.toml --admin-key-out admin.key");
        let (running, address) = Running::start(&mut program(desk));
        Self { running, address }
    }

    /// Serves the same registry at the same address again.
    pub(crate) fn start_again(&mut self, desk: &Desk) {
        let config = desk.read("server/registry.toml");
        let listen = |address: &str| format!("[http]\nlisten = \"{address}\"");
        let config = config.replace(&listen("127.0.0.1:0"), &listen(&self.address.to_string()));
        desk.write("server/registry.toml", &config);
        self.running = Running::start(&mut program(desk)).0;
    }

    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }
}

fn program(desk: &Desk) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leafgate-registry"));
    command
        .args(["--config", "server/registry.toml"])
        .current_dir(desk.path(""))
        .env_clear()
        .stdin(Stdio::null());
    command
}
