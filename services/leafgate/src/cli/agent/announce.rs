use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use clap::ValueEnum;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Command;

use crate::cli::error::{CliError, Exit};

/// How often a process is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Longer than any `lame_duck_duration` that makes sense.
const LAME_DUCK_LIMIT: Duration = Duration::from_secs(3600);
/// Longer than any reload takes. One that hangs must not keep the next certificate from being asked for.
const COMMAND_LIMIT: Duration = Duration::from_secs(3600);
/// How long a supervisor may take to start a nats-server again.
const RESTART_LIMIT: Duration = Duration::from_secs(120);

/// What the user of the files is told by once there are new ones.
#[derive(Debug, Clone, Default)]
pub(crate) struct Announcement {
    pub(crate) command: Option<String>,
    pub(crate) signal: Option<(PathBuf, SignalName)>,
}

/// What a process is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SignalName {
    Hup,
    Usr1,
    Usr2,
    Term,
    /// nats-server's `ldm` (SIGUSR2, signal_unix.go): it takes no further clients, sends those that it has to its
    /// neighbours one by one, and ends.
    LameDuck,
}

impl SignalName {
    fn signal(self) -> Signal {
        match self {
            Self::Hup => Signal::SIGHUP,
            Self::Usr1 => Signal::SIGUSR1,
            Self::Usr2 | Self::LameDuck => Signal::SIGUSR2,
            Self::Term => Signal::SIGTERM,
        }
    }
}

impl Announcement {
    /// Tells whoever is to be told. What was done, in words.
    pub(crate) async fn make(&self) -> Result<Vec<String>, CliError> {
        let mut done = Vec::new();
        if let Some(command) = &self.command {
            run(command).await?;
            done.push("the reload command succeeded".to_owned());
        }
        if let Some((pid_file, name)) = &self.signal {
            let pid = read_pid(pid_file)?;
            done.push(match kill(pid, name.signal()) {
                // Whoever starts later reads the new files.
                Err(Errno::ESRCH) => format!("process {pid} does not run, and needs no signal"),
                Err(error) => return Err(unsignalled(pid_file, pid, error)),
                Ok(()) if *name == SignalName::LameDuck => restarted(pid_file, pid).await?,
                Ok(()) => format!("process {pid} was sent {}", name.signal()),
            });
        }
        Ok(done)
    }
}

async fn run(command: &str) -> Result<(), CliError> {
    let failed = |what: String| {
        CliError::new(Exit::Wrong, format!("the reload command {what}"))
            .hint("the new files are in place; it is run again at the next look")
    };
    let running = Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .status();
    let status = tokio::time::timeout(COMMAND_LIMIT, running)
        .await
        .map_err(|_| failed("did not end within an hour".to_owned()))?
        .map_err(|error| failed(format!("can't be run: {error}")))?;
    match status.success() {
        true => Ok(()),
        false => Err(failed(format!("failed: {status}"))),
    }
}

fn read_pid(path: &Path) -> Result<Pid, CliError> {
    let text = fs::read_to_string(path).map_err(|error| CliError::file("read", path, &error))?;
    let pid: Option<i32> = text.trim().parse().ok().filter(|pid| *pid > 1);
    pid.map(Pid::from_raw).ok_or_else(|| {
        let error = format!("{} holds no process id", path.display());
        CliError::usage(error).hint("name the pid_file of the nats-server")
    })
}

fn unsignalled(path: &Path, pid: Pid, error: Errno) -> CliError {
    let what = format!(
        "process {pid} of {} can't be signalled: {error}",
        path.display()
    );
    CliError::new(Exit::Wrong, what).hint("may the agent's user signal it?")
}

/// Waits for the end of a process that was told to, and for its successor.
async fn restarted(pid_file: &Path, pid: Pid) -> Result<String, CliError> {
    // A process that nobody has waited for yet counts as ended once another one has written the file.
    let successor = || {
        let other = read_pid(pid_file).ok().filter(|it| *it != pid)?;
        is_alive(other).then_some(other)
    };
    let ended = async || !is_alive(pid) || successor().is_some();
    if !within(LAME_DUCK_LIMIT, ended).await {
        let error = format!("nats-server {pid} is still running after an hour as a lame duck");
        return Err(CliError::new(Exit::Wrong, error));
    }
    if !within(RESTART_LIMIT, async || successor().is_some()).await {
        let error = format!("nats-server {pid} has ended, and nobody has started it again");
        return Err(CliError::new(Exit::Wrong, error)
            .hint("it needs a supervisor that restarts it, as systemd with Restart=always"));
    }
    Ok(match successor() {
        Some(other) => format!("nats-server {pid} has ended as a lame duck, {other} serves"),
        None => format!("nats-server {pid} has ended as a lame duck"),
    })
}

fn is_alive(pid: Pid) -> bool {
    !matches!(kill(pid, None), Err(Errno::ESRCH))
}

async fn within(limit: Duration, mut holds: impl AsyncFnMut() -> bool) -> bool {
    let until = async {
        while !holds().await {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(limit, until).await.is_ok()
}
