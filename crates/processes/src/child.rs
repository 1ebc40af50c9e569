use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Command;
use tokio::time;

use crate::log::{Log, LogMark};

const POLL_INTERVAL: Duration = Duration::from_millis(10);
const LOG_LINES_IN_ERRORS: usize = 12;

/// Waits for the end of its input, which comes when the parent closes it or dies, then ends the group in `$1`.
const WATCHDOG: &str = r#"trap '' HUP INT TERM; read -r _; kill -s KILL -- "-$1""#;

/// A child process, leader of a process group of its own, that never outlives its owner.
///
/// - Dropped: its group gets SIGKILL. Prefer [`Child::stop`], which lets it end in order.
/// - The owner killed, even by SIGKILL: a watchdog ends the group. The kernel's own means, `PR_SET_PDEATHSIG`, would
///   have to be set between fork and exec, which needs `unsafe`; the watchdog is a shell in a third process group
///   that reads from a pipe whose only writer is the owner.
///
/// Only what the child started and left running in its group after its own orderly end is left alone.
pub struct Child {
    name: String,
    group: Pid,
    process: tokio::process::Child,
    /// Killed when dropped, so that it acts on the owner's death alone; `None` once the end of the process was seen,
    /// because then its id may belong to another.
    watchdog: Option<tokio::process::Child>,
    log: Log,
}

/// Why a [`Child`] could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartChildError {
    /// The log can't be written.
    #[error("the log {} of {name} can't be written", path.display())]
    OpenLog {
        /// What was to be started.
        name: String,
        /// The log.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The program can't be run.
    #[error("{name} can't be started from {}", program.display())]
    Spawn {
        /// What was to be started.
        name: String,
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Why an event of a [`Child`] did not come.
#[derive(Debug, thiserror::Error)]
pub enum AwaitChildError {
    /// The child ended first.
    #[error("{name} ended ({status}) before {awaited}{log}")]
    Exited {
        /// Which child.
        name: String,
        /// What was waited for.
        awaited: String,
        /// How it ended.
        status: ExitStatus,
        /// Where its log is, and the last lines of it.
        log: LogExcerpt,
    },
    /// The time ran out.
    #[error("{name} is running, but {awaited} did not come within {limit:?}{log}")]
    TimedOut {
        /// Which child.
        name: String,
        /// What was waited for.
        awaited: String,
        /// For how long.
        limit: Duration,
        /// Where its log is, and the last lines of it.
        log: LogExcerpt,
    },
    /// Looking for the event failed.
    #[error("looking for {awaited} of {name} failed")]
    Probe {
        /// Which child.
        name: String,
        /// What was waited for.
        awaited: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The end of a log, as error messages show it.
#[derive(Debug)]
pub struct LogExcerpt {
    path: PathBuf,
    tail: String,
}

impl fmt::Display for LogExcerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n  log: {}", self.path.display())?;
        self.tail
            .lines()
            .try_for_each(|line| write!(f, "\n  | {line}"))
    }
}

impl Child {
    /// Starts `command` with empty input and its output appended to `log_path`, whose folder is made if need be.
    /// `name` is for messages.
    ///
    /// # Errors
    /// The log can't be opened or the program can't be run.
    pub fn start(
        name: &str,
        command: std::process::Command,
        log_path: &Path,
    ) -> Result<Self, StartChildError> {
        let open_log = |source| StartChildError::OpenLog {
            name: name.to_owned(),
            path: log_path.to_owned(),
            source,
        };
        let (log, stdout) = Log::open(log_path).map_err(open_log)?;
        let stderr = stdout.try_clone().map_err(open_log)?;
        let program = PathBuf::from(command.get_program());
        let spawn = |program: PathBuf| {
            move |source| StartChildError::Spawn {
                name: name.to_owned(),
                program,
                source,
            }
        };

        let process = Command::from(command)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(spawn(program))?;
        let id = process
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .expect("a process that was not awaited yet has an id, and ids are positive i32");
        let watchdog = Command::new("/bin/sh")
            .args(["-c", WATCHDOG, "leafgate-watchdog", &id.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(spawn(PathBuf::from("/bin/sh")))?;
        tracing::debug!(name, pid = id, log = %log_path.display(), "child started");
        Ok(Self {
            name: name.to_owned(),
            group: Pid::from_raw(id),
            process,
            watchdog: Some(watchdog),
            log,
        })
    }

    /// The name given at the start.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id, which is also the id of its group.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.group.as_raw().unsigned_abs()
    }

    /// What it writes.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// How it ended, or `None` while it runs.
    ///
    /// # Errors
    /// The operating system refuses to say.
    pub fn exit_status(&mut self) -> io::Result<Option<ExitStatus>> {
        let status = self.process.try_wait()?;
        if status.is_some() {
            self.watchdog = None;
        }
        Ok(status)
    }

    /// Waits for its end. Safe to cancel and to call again.
    ///
    /// # Errors
    /// The operating system refuses to say.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.process.wait().await?;
        self.watchdog = None;
        Ok(status)
    }

    /// Sends `signal` to its process group: SIGSTOP freezes it, SIGHUP reloads a nats-server.
    ///
    /// # Errors
    /// It is known to have ended, or the operating system refuses.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        // Once its end was awaited the id may belong to another process.
        if self.process.id().is_none() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("{} has ended", self.name),
            ));
        }
        killpg(self.group, signal).map_err(io::Error::from)
    }

    /// Asks it to end by SIGTERM, and ends it by SIGKILL when it has not after `grace`. A child that has ended
    /// already is fine.
    ///
    /// # Errors
    /// The operating system refuses.
    pub async fn stop(&mut self, grace: Duration) -> io::Result<ExitStatus> {
        if let Some(status) = self.exit_status()? {
            return Ok(status);
        }
        self.signal(Signal::SIGTERM)?;
        if let Ok(ended) = time::timeout(grace, self.wait()).await {
            return ended;
        }
        tracing::warn!(
            name = self.name,
            ?grace,
            "child did not stop in time: killed"
        );
        self.kill9().await
    }

    /// Ends it by SIGKILL, as a crash would, and waits until it is gone.
    ///
    /// # Errors
    /// The operating system refuses.
    pub async fn kill9(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.exit_status()? {
            return Ok(status);
        }
        self.signal(Signal::SIGKILL)?;
        self.wait().await
    }

    /// Waits for a line of this run that contains `pattern`, and returns it.
    ///
    /// # Errors
    /// The child ended or `limit` passed without it.
    pub async fn wait_for_log(
        &mut self,
        pattern: &str,
        limit: Duration,
    ) -> Result<String, AwaitChildError> {
        self.wait_for_log_since(self.log.start(), pattern, limit)
            .await
    }

    /// Waits for a line after `mark` that contains `pattern`, and returns it.
    ///
    /// # Errors
    /// The child ended or `limit` passed without it.
    pub async fn wait_for_log_since(
        &mut self,
        mark: LogMark,
        pattern: &str,
        limit: Duration,
    ) -> Result<String, AwaitChildError> {
        let log = self.log.clone();
        let awaited = format!("\"{pattern}\" in its log");
        self.wait_until(&awaited, limit, async || log.find_since(mark, pattern))
            .await
    }

    /// Calls `probe` every 10 ms until it finds something, the child ends, or `limit` passes. `awaited` says in
    /// errors what was looked for.
    ///
    /// # Errors
    /// The child ended or `limit` passed first, or `probe` failed.
    pub async fn wait_until<T>(
        &mut self,
        awaited: &str,
        limit: Duration,
        mut probe: impl AsyncFnMut() -> io::Result<Option<T>>,
    ) -> Result<T, AwaitChildError> {
        let failed = |name: &str, source| AwaitChildError::Probe {
            name: name.to_owned(),
            awaited: awaited.to_owned(),
            source,
        };
        let polling = async {
            loop {
                match probe().await {
                    Ok(Some(found)) => break Ok(found),
                    Ok(None) => time::sleep(POLL_INTERVAL).await,
                    Err(error) => break Err(error),
                }
            }
        };
        let status = tokio::select! {
            found = time::timeout(limit, polling) => {
                return match found {
                    Ok(found) => found.map_err(|source| failed(&self.name, source)),
                    Err(_) => Err(AwaitChildError::TimedOut {
                        name: self.name.clone(),
                        awaited: awaited.to_owned(),
                        limit,
                        log: self.log_excerpt(),
                    }),
                };
            }
            status = self.process.wait() => status.map_err(|source| failed(&self.name, source))?,
        };
        self.watchdog = None;
        // What was waited for may have been its last act.
        match probe().await {
            Ok(Some(found)) => Ok(found),
            _ => Err(AwaitChildError::Exited {
                name: self.name.clone(),
                awaited: awaited.to_owned(),
                status,
                log: self.log_excerpt(),
            }),
        }
    }

    fn log_excerpt(&self) -> LogExcerpt {
        LogExcerpt {
            path: self.log.path().to_owned(),
            tail: self.log.tail(LOG_LINES_IN_ERRORS),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // An error means that it has just ended.
        let _ = self.signal(Signal::SIGKILL);
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child")
            .field("name", &self.name)
            .field("pid", &self.pid())
            .field("log", &self.log.path())
            .finish_non_exhaustive()
    }
}
