//! A real PostgreSQL server for tests, on Unix sockets of its own.
//!
//! Its cluster sorts texts as people do (ICU), not byte by byte, so that a test notices who relies
//! on the latter. It ends with the process that started it, whatever happens to that: a watchdog
//! shell waits for the end of its input, ends the server and removes its folder.
//!
//! Everything here blocks, and panics with what to do about it when it can't be done.

mod database;
mod installed;
mod processes;

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

pub use self::database::{PASSWORD, PostgresDatabase, ROLE};
use self::installed::{Installed, ServerUser};
pub use self::processes::Frozen;
use self::processes::{children_of, is_running, signal};
use crate::watchdog::Watchdog;

/// How often what is awaited is looked for, and how many times at most: for two minutes.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
const POLLS: u32 = 6_000;

const SUPERUSER: &str = "postgres";

/// How a [`PostgresServer`] is run.
#[derive(Debug, Clone, Default)]
pub struct PostgresSettings {
    /// Whether it writes to the disk what it acknowledges (`fsync`, `full_page_writes`): for tests
    /// that kill it.
    pub durable: bool,
    /// Listens on 127.0.0.1 too, with this certificate.
    pub tls: Option<PostgresTls>,
}

/// The certificate of a server.
#[derive(Debug, Clone)]
pub struct PostgresTls {
    /// The certificate, with those of intermediate CAs.
    pub chain_pem: String,
    /// Its key.
    pub private_key_pem: String,
}

/// A running server.
#[derive(Debug)]
pub struct PostgresServer {
    installed: Installed,
    user: Option<ServerUser>,
    folder: PathBuf,
    arguments: Vec<String>,
    port: u16,
    databases: AtomicU32,
    watchdog: Mutex<Watchdog>,
    running: Mutex<Option<Child>>,
}

impl PostgresServer {
    /// The one server of this process, for tests that leave it running.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<PostgresServer> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&PostgresSettings::default()))
    }

    /// A server of one's own, to be stopped and killed.
    pub fn start(settings: &PostgresSettings) -> Self {
        let installed = Installed::find();
        let user = ServerUser::find();
        let folder = tempfile::Builder::new()
            .prefix("leafgate-postgres-")
            .tempdir()
            .expect("a scratch folder")
            .keep();
        let watchdog = Mutex::new(Watchdog::start(&folder));
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("our own folder");
        let port = match settings.tls {
            Some(_) => free_port(),
            None => 5432,
        };
        let server = Self {
            arguments: arguments(&folder, port, settings),
            installed,
            user,
            folder,
            port,
            databases: AtomicU32::new(0),
            watchdog,
            running: Mutex::new(None),
        };
        server.make_cluster();
        if let Some(tls) = &settings.tls {
            server.private_file("data/server.crt", &tls.chain_pem);
            server.private_file("data/server.key", &tls.private_key_pem);
        }
        server.start_again();
        let password = PASSWORD.replace('\'', "''");
        server.sql(
            SUPERUSER,
            &format!("CREATE ROLE {ROLE} LOGIN PASSWORD '{password}'"),
        );
        server
    }

    /// A new empty database, which goes when this is dropped.
    pub fn create_database(&self) -> PostgresDatabase<'_> {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("registry_{number}");
        self.sql(SUPERUSER, &format!("CREATE DATABASE {name} OWNER {ROLE}"));
        PostgresDatabase { server: self, name }
    }

    /// Runs SQL in a database as superuser, and gives the result: a line for each row.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        match self.try_sql(database, sql) {
            Ok(result) => result,
            Err(problem) => panic!("{sql}: {problem}"),
        }
    }

    fn try_sql(&self, database: &str, sql: &str) -> Result<String, String> {
        let output = Command::new(self.installed.program("psql"))
            .args([
                "--no-psqlrc",
                "--quiet",
                "--no-align",
                "--tuples-only",
                "--set=ON_ERROR_STOP=1",
            ])
            .arg(format!("--host={}", self.socket_folder().display()))
            .arg(format!("--port={}", self.port))
            .arg(format!("--username={SUPERUSER}"))
            .arg(format!("--dbname={database}"))
            .arg(format!("--command={sql}"))
            .env("PGPASSWORD", PASSWORD)
            .output()
            .expect("psql runs");
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// Where its Unix socket is.
    pub fn socket_folder(&self) -> PathBuf {
        self.folder.join("socket")
    }

    /// The port of its socket, and of 127.0.0.1 if it listens there.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its processes, whose CPU time is what it costs.
    pub fn process_ids(&self) -> Vec<u32> {
        let running = self.running();
        let postmaster = running.as_ref().expect("a running server").id();
        let mut ids = children_of(postmaster);
        ids.push(postmaster);
        ids
    }

    /// Stops it in order: connections are cut, what was committed is kept. Fine if it is stopped.
    pub fn stop(&self) {
        let mut running = self.running();
        if let Some(mut postmaster) = running.take() {
            signal(postmaster.id(), Signal::SIGINT);
            postmaster.wait().expect("our own child");
            self.watchdog().watch(None);
        }
    }

    /// Starts it where it is stopped, and waits until it takes connections.
    pub fn start_again(&self) {
        let mut running = self.running();
        assert!(running.is_none(), "the server is running");
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.log_path());
        let log = log.expect("our own folder");
        let mut command = self.command("postgres");
        command
            .args(&self.arguments)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log);
        let mut postmaster = command.spawn().expect("postgres runs");
        self.watchdog().watch(Some(postmaster.id()));
        self.await_ready(&mut postmaster);
        *running = Some(postmaster);
    }

    /// [`stop`](Self::stop) and [`start_again`](Self::start_again).
    pub fn restart(&self) {
        self.stop();
        self.start_again();
    }

    /// Ends all of its processes by SIGKILL, as a crash would, and waits until they are gone.
    pub fn kill9(&self) {
        let mut running = self.running();
        let mut postmaster = running.take().expect("a running server");
        let children = children_of(postmaster.id());
        signal(postmaster.id(), Signal::SIGKILL);
        for child in &children {
            signal(*child, Signal::SIGKILL);
        }
        postmaster.wait().expect("our own child");
        self.watchdog().watch(None);
        let gone = || children.iter().all(|child| !is_running(*child));
        assert!(
            poll(|| gone().then_some(())).is_some(),
            "killed processes go"
        );
    }

    /// Stops the clock for all of its processes: connections stay, and nobody answers. Until the
    /// guard is dropped.
    pub fn freeze(&self) -> Frozen {
        let running = self.running();
        let postmaster = running.as_ref().expect("a running server").id();
        signal(postmaster, Signal::SIGSTOP);
        let mut processes = children_of(postmaster);
        processes
            .iter()
            .for_each(|process| signal(*process, Signal::SIGSTOP));
        processes.push(postmaster);
        Frozen { processes }
    }

    /// Restarts it as a standby, which can be read and not written, and which no primary feeds.
    pub fn become_standby(&self) {
        self.stop();
        self.private_file("data/standby.signal", "");
        self.start_again();
    }

    fn make_cluster(&self) {
        for name in ["data", "socket"] {
            let path = self.folder.join(name);
            fs::create_dir(&path).expect("our own folder");
            self.give(&path);
        }
        self.private_file("password", PASSWORD);
        let mut initdb = self.command("initdb");
        initdb
            .arg(format!("--pgdata={}", self.folder.join("data").display()))
            .arg(format!("--username={SUPERUSER}"))
            .arg(format!(
                "--pwfile={}",
                self.folder.join("password").display()
            ))
            .args(["--auth=scram-sha-256", "--encoding=UTF8", "--no-sync"])
            .args([
                "--locale=C.UTF-8",
                "--locale-provider=icu",
                "--icu-locale=en-US",
            ]);
        let output = initdb.output().expect("initdb runs");
        assert!(
            output.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn await_ready(&self, postmaster: &mut Child) {
        let state = self.folder.join("data/postmaster.pid");
        let own = postmaster.id().to_string();
        // Its eighth line: https://www.postgresql.org/docs/15/storage-file-layout.html, miscadmin.h.
        let ready = || {
            let text = fs::read_to_string(&state).ok()?;
            let mut lines = text.lines();
            let of_this_run = lines.next() == Some(&own);
            (of_this_run && lines.nth(6).map(str::trim) == Some("ready")).then_some(true)
        };
        let mut ended = || postmaster.try_wait().expect("our own child").map(|_| false);
        let answer = poll(|| ready().or_else(&mut ended));
        assert_eq!(
            answer,
            Some(true),
            "PostgreSQL did not start; its log:\n{}",
            fs::read_to_string(self.log_path()).unwrap_or_default()
        );
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.installed.program(program));
        command.current_dir(&self.folder);
        if let Some(user) = &self.user {
            command.uid(user.uid).gid(user.gid);
        }
        command
    }

    fn private_file(&self, name: &str, content: &str) {
        let path = self.folder.join(name);
        fs::write(&path, content).expect("our own folder");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("our own file");
        self.give(&path);
    }

    /// Makes the server's user the owner.
    fn give(&self, path: &Path) {
        if let Some(user) = &self.user {
            chown(path, Some(user.uid), Some(user.gid)).expect("we are root");
        }
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn running(&self) -> MutexGuard<'_, Option<Child>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watchdog(&self) -> MutexGuard<'_, Watchdog> {
        self.watchdog.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.watchdog().release();
        // The watchdog ends it, and sees that it is gone once it was awaited here.
        if let Some(mut postmaster) = self.running().take() {
            let _ = postmaster.wait();
        }
    }
}

fn arguments(folder: &Path, port: u16, settings: &PostgresSettings) -> Vec<String> {
    let durable = if settings.durable { "on" } else { "off" };
    let mut parameters = vec![
        format!("fsync={durable}"),
        format!("full_page_writes={durable}"),
        format!("port={port}"),
        format!(
            "unix_socket_directories={}",
            folder.join("socket").display()
        ),
        "max_connections=300".to_owned(),
        // Shared memory that a killed server leaves behind then goes with its folder.
        "dynamic_shared_memory_type=mmap".to_owned(),
    ];
    let listen = match settings.tls {
        Some(_) => {
            parameters.push("ssl=on".to_owned());
            "127.0.0.1"
        }
        None => "",
    };
    parameters.push(format!("listen_addresses={listen}"));
    let parameters = parameters
        .into_iter()
        .flat_map(|parameter| ["-c".to_owned(), parameter]);
    ["-D".to_owned(), folder.join("data").display().to_string()]
        .into_iter()
        .chain(parameters)
        .collect()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound socket").port()
}

fn poll<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    (0..POLLS).find_map(|_| {
        let found = look();
        if found.is_none() {
            thread::sleep(POLL_INTERVAL);
        }
        found
    })
}
