//! `leafgate agent`: keeps a certificate and its key fresh on the machine of whoever uses them.

mod announce;
mod files;
mod pair;
mod renewal;
mod schedule;

use std::path::{Path, PathBuf};
use std::time::Duration;

use leafgate_identity::{Fingerprint, SerialNumber, UnixMs};
use leafgate_runtime::{Clock, Environment, Shutdown, shutdown_on_signals};
use serde::Serialize;

use self::announce::{Announcement, SignalName};
use self::files::CertificateFiles;
use self::pair::Pair;
use self::renewal::renew;
use self::schedule::{Backoff, due};
use super::Context;
use super::error::{CliError, Exit};
use super::files::{load_roots, replace_private};
use super::moment::relative;
use super::registry::random;

/// How often the files and the wall clock are looked at: a clock that jumps is noticed within that time.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// The least time between two certificates, should the clocks disagree about when the next one is due.
const LEAST_LIFE: Duration = Duration::from_secs(600);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The certificate with its chain. It is renewed with itself: it must be there.
    #[arg(long, value_name = "FILE")]
    cert: PathBuf,
    /// Its key.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// What every new certificate must chain to [default: ca.crt beside the certificate].
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
    /// The registry API [env: LEAFGATE_URL].
    #[arg(long, value_name = "URL", help_heading = "Registry")]
    url: Option<String>,
    /// The file with the CA that certifies it [env: LEAFGATE_CA_FILE] [default: those that the
    /// system trusts].
    #[arg(long, value_name = "FILE", help_heading = "Registry")]
    ca_file: Option<PathBuf>,
    /// Keep the key; without it every certificate gets a new one.
    #[arg(long)]
    keep_key: bool,
    /// Renew if it is time, and end: for cron and systemd timers.
    #[arg(long)]
    once: bool,
    /// Renew at once, whether it is time or not.
    #[arg(long)]
    renew_now: bool,
    /// A command for /bin/sh, run whenever there are new files.
    #[arg(long, value_name = "COMMAND", help_heading = "Afterwards")]
    reload: Option<String>,
    /// The file with the id of a process that is sent a signal whenever there are new files.
    #[arg(
        long,
        value_name = "FILE",
        requires = "signal",
        help_heading = "Afterwards"
    )]
    pid_file: Option<PathBuf>,
    /// The signal: hup, usr1, usr2, term, or lame-duck, by which a nats-server sends its clients to
    /// its neighbours and ends, for its supervisor to start it again.
    #[arg(
        long,
        value_name = "SIGNAL",
        requires = "pid_file",
        hide_possible_values = true,
        help_heading = "Afterwards"
    )]
    signal: Option<SignalName>,
    /// A file for what the agent did last and when it renews next, in JSON.
    #[arg(long, value_name = "FILE", help_heading = "Afterwards")]
    status_file: Option<PathBuf>,
}

/// How a look at the files came out.
#[derive(Debug, Clone, Serialize)]
struct Turn {
    outcome: Outcome,
    name: String,
    serial: SerialNumber,
    fingerprint: Fingerprint,
    not_after: UnixMs,
    renew_after: UnixMs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    /// It is not time yet.
    Fresh,
    /// The registry gives the same certificate, as it does for the same key until it is time.
    Kept,
    /// There is a new certificate.
    Renewed,
}

/// What the status file holds.
#[derive(Serialize)]
struct Status<'a> {
    at: UnixMs,
    #[serde(flatten)]
    turn: Option<&'a Turn>,
    error: Option<&'a str>,
}

/// The certificate and key in care, and all that is needed for that.
struct Agent<'a> {
    context: &'a Context,
    files: CertificateFiles,
    root: PathBuf,
    url: String,
    ca_file: Option<PathBuf>,
    keep_key: bool,
    announcement: Announcement,
    status_file: Option<PathBuf>,
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> Result<Exit, CliError> {
    let agent = Agent::new(arguments, context)?;
    if !arguments.once {
        let shutdown = shutdown_on_signals()
            .map_err(|error| CliError::new(Exit::Wrong, format!("can't start: {error}")))?;
        agent.watch(arguments.renew_now, shutdown).await;
        return Ok(Exit::Done);
    }
    let mut renew_now = arguments.renew_now;
    let turn = agent.turn(&mut renew_now).await;
    agent.write_status(turn.as_ref());
    let turn = turn?;
    context.console.show(&turn, |_| {
        let now = context.clock.now();
        let what = match turn.outcome {
            Outcome::Fresh => "is fresh",
            Outcome::Kept => "keeps its certificate",
            Outcome::Renewed => "has a new certificate",
        };
        format!(
            "{} {what}, expires {}; renewed {}",
            turn.name,
            relative(turn.not_after, now),
            relative(turn.renew_after, now)
        )
    })?;
    Ok(Exit::Done)
}

impl<'a> Agent<'a> {
    fn new(arguments: &Arguments, context: &'a Context) -> Result<Self, CliError> {
        let environment = &context.environment;
        let url = arguments
            .url
            .clone()
            .or_else(|| named(environment, "LEAFGATE_URL"))
            .ok_or_else(|| {
                CliError::usage("no registry API is named")
                    .hint("name it with --url, or LEAFGATE_URL")
            })?;
        let ca_file = arguments.ca_file.clone();
        let root = arguments.root.clone();
        let root = root.unwrap_or_else(|| arguments.cert.with_file_name("ca.crt"));
        load_roots(&root).map_err(|problem| {
            CliError::usage(problem).hint("name what new certificates must chain to with --root")
        })?;
        let signal = arguments.pid_file.clone().zip(arguments.signal);
        Ok(Self {
            context,
            files: CertificateFiles::open(&arguments.cert, &arguments.key)?,
            root,
            url,
            ca_file: ca_file.or_else(|| named(environment, "LEAFGATE_CA_FILE").map(PathBuf::from)),
            keep_key: arguments.keep_key,
            announcement: Announcement {
                command: arguments.reload.clone(),
                signal,
            },
            status_file: arguments.status_file.clone(),
        })
    }

    /// Looks at the files until it is told to end.
    async fn watch(&self, mut renew_now: bool, shutdown: Shutdown) {
        let mut backoff = Backoff::default();
        let mut told = None;
        loop {
            // Nothing is half done at any point where a look can end: the next one goes on from there.
            let turn = shutdown.run_until_cancelled(self.turn(&mut renew_now));
            let Some(turn) = turn.await else {
                return;
            };
            self.write_status(turn.as_ref());
            let pause = match &turn {
                Ok(turn) => {
                    backoff.reset();
                    if turn.outcome == Outcome::Renewed || told != Some(turn.renew_after) {
                        told = Some(turn.renew_after);
                        self.log("INFO ", &turn.describe());
                    }
                    match turn.outcome {
                        Outcome::Fresh => LOOK_EVERY,
                        Outcome::Kept | Outcome::Renewed => LEAST_LIFE,
                    }
                }
                Err(error) => {
                    let wait = backoff.next(error.retry_after(), random());
                    let hints = error.hints().join("; ");
                    self.log(
                        "WARN ",
                        &format!(
                            "not renewed, trying again in {} s: {}: {hints}",
                            wait.as_secs(),
                            error.message()
                        ),
                    );
                    wait
                }
            };
            if shutdown
                .run_until_cancelled(tokio::time::sleep(pause))
                .await
                .is_none()
            {
                return;
            }
        }
    }

    /// One look: renews if it is time, and tells the user of the files whatever it does not know yet.
    async fn turn(&self, renew_now: &mut bool) -> Result<Turn, CliError> {
        let present = self.files.present()?;
        self.files.adopt(&present)?;
        self.announce(&present).await?;
        let due = due(&present, self.files.renew_after(&present));
        if !*renew_now && self.context.clock.now() < due {
            return Ok(Turn::of(Outcome::Fresh, &present, due));
        }
        let (new, renew_after) = renew(self, &present).await?;
        self.files.swap_in(&new, renew_after)?;
        *renew_now = false;
        self.announce(&new).await?;
        let outcome = match new.fingerprint == present.fingerprint {
            true => Outcome::Kept,
            false => Outcome::Renewed,
        };
        Ok(Turn::of(outcome, &new, renew_after))
    }

    async fn announce(&self, pair: &Pair) -> Result<(), CliError> {
        match self.files.is_announced(pair) {
            Some(true) => return Ok(()),
            Some(false) => {
                for done in self.announcement.make().await? {
                    self.log("INFO ", &done);
                }
            }
            // These are the files that their user has already.
            None => {}
        }
        self.files.note_announced(pair)
    }

    fn log(&self, level: &str, text: &str) {
        let now = self.context.clock.now();
        self.context
            .console
            .remark(&format!("{now} {level} {text}"));
    }

    /// That nobody can read how it went is no reason to let a certificate expire.
    fn write_status(&self, turn: Result<&Turn, &CliError>) {
        let Some(path) = &self.status_file else {
            return;
        };
        let status = Status {
            at: self.context.clock.now(),
            turn: turn.ok(),
            error: turn.err().map(CliError::message),
        };
        let text = serde_json::to_string(&status).unwrap_or_default();
        if let Err(error) = replace_private(path, &format!("{text}\n")) {
            self.log("WARN ", error.message());
        }
    }

    fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }
}

impl Turn {
    fn of(outcome: Outcome, pair: &Pair, renew_after: UnixMs) -> Self {
        Self {
            outcome,
            name: pair.common_name.clone(),
            serial: pair.serial,
            fingerprint: pair.fingerprint,
            not_after: pair.validity.not_after,
            renew_after,
        }
    }

    fn describe(&self) -> String {
        let Self {
            name,
            serial,
            not_after,
            renew_after,
            ..
        } = self;
        let what = match self.outcome {
            Outcome::Fresh => "certificate is fresh",
            Outcome::Kept => "certificate kept",
            Outcome::Renewed => "certificate renewed",
        };
        format!(
            "{what} name={name} serial={serial} not_after={not_after} renew_after={renew_after}"
        )
    }
}

fn named(environment: &Environment, name: &str) -> Option<String> {
    environment.get(name).filter(|it| !it.is_empty()).cloned()
}
