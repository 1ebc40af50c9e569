//! A real Vault server for tests: that of `tests/servers/vault`, which `scripts/build-vault-server.sh` builds.
//!
//! It ends with the process that started it, whatever happens to that: a watchdog shell waits for the end of its input,
//! ends the server and removes its folder. Starting and stopping block, and panic with what to do about it when they
//! can't be done.

mod admin;
mod commands;

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

pub use self::admin::VaultAdmin;
use crate::scratch_ca::ScratchCertificate;
use crate::watchdog::Watchdog;

/// The version that `tests/servers/vault/go.mod` names.
pub const VERSION: &str = "1.21.0";

/// How a [`VaultServer`] is run.
#[derive(Debug, Default)]
pub struct VaultSettings {
    /// Keeps its data in files, so that they survive [`VaultServer::stop`] and [`VaultServer::kill9`].
    pub durable: bool,
    /// Speaks HTTPS with this certificate, whose chain ends at the certificate that clients trust.
    pub tls: Option<ScratchCertificate>,
}

/// A running, unsealed server.
#[derive(Debug)]
pub struct VaultServer {
    arguments: Vec<String>,
    ready: Ready,
    /// What clients trust, in PEM.
    ca_pem: Option<String>,
    watchdog: Mutex<Watchdog>,
    running: Mutex<Option<Child>>,
}

/// What it says when it is ready.
#[derive(Debug)]
struct Ready {
    address: String,
    root_token: String,
    unseal_key: String,
}

impl VaultServer {
    /// The one server of this process, for tests that leave it running and unsealed.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<VaultServer> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&VaultSettings::default()))
    }

    /// A server of one's own, to be sealed, stopped and killed.
    pub fn start(settings: &VaultSettings) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("leafgate-vault-")
            .tempdir()
            .expect("a scratch folder")
            .keep();
        let mut watchdog = Watchdog::start(&folder);
        let arguments = arguments(&folder, settings);
        let (child, ready) = spawn(&arguments, &mut watchdog);
        Self {
            arguments,
            ready,
            ca_pem: settings.tls.as_ref().map(|tls| tls.chain_pem.clone()),
            watchdog: Mutex::new(watchdog),
            running: Mutex::new(Some(child)),
        }
    }

    /// Its URL; the same after it was started again.
    pub fn address(&self) -> &str {
        &self.ready.address
    }

    /// The token that may do anything.
    pub fn root_token(&self) -> &str {
        &self.ready.root_token
    }

    /// Its process, whose CPU time is what it costs.
    pub fn process_id(&self) -> u32 {
        self.running().as_ref().expect("a running server").id()
    }

    /// A client with the root token. It belongs to the tokio runtime that it is used on.
    pub fn admin(&self) -> VaultAdmin {
        VaultAdmin::new(
            &self.ready.address,
            &self.ready.root_token,
            &self.ready.unseal_key,
            self.ca_pem.as_deref(),
        )
    }

    /// Stops it in order.
    pub fn stop(&self) {
        self.end(Signal::SIGTERM);
    }

    /// Ends it by SIGKILL, as a crash would.
    pub fn kill9(&self) {
        self.end(Signal::SIGKILL);
    }

    /// Starts it where it is stopped, at the same address. What it holds then is empty unless it is durable.
    pub fn start_again(&self) {
        let mut running = self.running();
        assert!(running.is_none(), "the server is running");
        let (_, authority) = self.ready.address.split_once("://").expect("a URL");
        let mut arguments = self.arguments.clone();
        arguments.push(format!("-listen={authority}"));
        let (child, ready) = spawn(&arguments, &mut self.watchdog());
        assert_eq!(ready.address, self.ready.address);
        *running = Some(child);
    }

    fn end(&self, signal: Signal) {
        let mut child = self.running().take().expect("a running server");
        let id = i32::try_from(child.id()).expect("process ids are positive i32");
        kill(Pid::from_raw(id), signal).expect("our own child");
        child.wait().expect("our own child");
        self.watchdog().watch(None);
    }

    fn running(&self) -> MutexGuard<'_, Option<Child>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watchdog(&self) -> MutexGuard<'_, Watchdog> {
        self.watchdog.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for VaultServer {
    fn drop(&mut self) {
        self.watchdog().release();
        // The watchdog ends it, and sees that it is gone once it was awaited here.
        if let Some(mut child) = self.running().take() {
            let _ = child.wait();
        }
    }
}

/// The commands of `docs/vault.md`, in their order, by which a server is set up as the document says.
pub fn documented_commands() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/vault.md");
    let text = std::fs::read_to_string(path).expect("the project is whole");
    let blocks = text.split("```sh vault\n").skip(1);
    blocks
        .filter_map(|block| block.split("```").next())
        .collect()
}

/// What it is started with, after the files that this names were written into its folder.
fn arguments(folder: &Path, settings: &VaultSettings) -> Vec<String> {
    let mut arguments = Vec::new();
    if settings.durable {
        arguments.push(format!("-data={}", folder.display()));
    }
    if let Some(tls) = &settings.tls {
        for (option, name, text) in [
            ("tls-cert", "server.crt", &tls.chain_pem),
            ("tls-key", "server.key", &tls.private_key_pem),
        ] {
            let path = folder.join(name);
            std::fs::write(&path, text).expect("our own folder");
            arguments.push(format!("-{option}={}", path.display()));
        }
    }
    arguments
}

fn program() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../.tools/vault-server")
        .join(VERSION)
        .join("vault-server")
}

fn spawn(arguments: &[String], watchdog: &mut Watchdog) -> (Child, Ready) {
    let program = program();
    assert!(
        program.is_file(),
        "these tests run a real Vault, which is not at {}: run scripts/build-vault-server.sh",
        program.display()
    );
    let mut log = tempfile::tempfile().expect("a scratch file");
    let mut child = Command::new(program)
        .args(arguments)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log.try_clone().expect("a file"))
        .spawn()
        .expect("the server runs");
    watchdog.watch(Some(child.id()));
    let mut line = String::new();
    let stdout = child.stdout.take().expect("a pipe");
    let read = BufReader::new(stdout).read_line(&mut line);
    read.expect("what the server says is text");
    let Some(ready) = Ready::read(&line) else {
        let _ = child.kill();
        let _ = child.wait();
        panic!(
            "the server did not get ready; its log:\n{}",
            text_of(&mut log)
        );
    };
    (child, ready)
}

impl Ready {
    fn read(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        let text = |name: &str| Some(value.get(name)?.as_str()?.to_owned());
        Some(Self {
            address: text("address")?,
            root_token: text("root_token")?,
            unseal_key: text("unseal_key")?,
        })
    }
}

fn text_of(log: &mut File) -> String {
    let mut bytes = Vec::new();
    let read = log
        .seek(SeekFrom::Start(0))
        .and_then(|_| log.read_to_end(&mut bytes));
    match read {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => format!("(it can't be read: {error})"),
    }
}
