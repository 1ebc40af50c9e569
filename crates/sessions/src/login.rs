//! How a service logs in to the NATS of its leaf cluster.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event};
use leafgate_nats_config::Name;
use leafgate_nats_config::subjects::replica_inbox_prefix;
use leafgate_nats_jwt::{KeyKind, SigningKey};
use leafgate_runtime::{SetUpProblems, read_secret};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

/// The pause before reconnecting grows from this…
const RECONNECT_FIRST: Duration = Duration::from_millis(50);
/// …to this.
const RECONNECT_LONGEST: Duration = Duration::from_secs(4);

/// `[system]`: the connection to the system account, which shares certificates and authority with
/// `[nats]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SystemConfig {
    /// The nkey seed (`SU…`) of this replica's user in the system account.
    pub nkey_seed_file: PathBuf,
    /// Other servers than `[nats]` names, in the same cluster.
    pub urls: Option<Vec<String>>,
}

impl SystemConfig {
    /// Takes relative paths from this folder.
    pub fn resolve_paths(&mut self, folder: &Path) {
        self.nkey_seed_file = folder.join(&self.nkey_seed_file);
    }

    /// Logs in as `[nats]` does, but as the user of the system account.
    pub fn login(&self, nats: Option<&Login>, problems: &mut SetUpProblems) -> Option<Login> {
        let place = "[system] nkey_seed_file";
        let login = Login::load_other(nats, place, &self.nkey_seed_file, problems)?;
        Some(Login {
            urls: self.urls.clone().unwrap_or(login.urls),
            ..login
        })
    }
}

/// What `[nats]` says of logging in, as it is written.
#[derive(Debug, Clone, Copy)]
pub struct LoginFiles<'a> {
    /// The cluster's servers.
    pub urls: &'a [String],
    /// What verifies them.
    pub ca_file: Option<&'a Path>,
    /// The certificate that their listener asks for.
    pub cert_file: Option<&'a Path>,
    /// Its key.
    pub key_file: Option<&'a Path>,
    /// The user's nkey seed.
    pub nkey_seed_file: &'a Path,
    /// The replica's name.
    pub replica: &'a str,
}

/// How a replica logs in to its leaf cluster.
#[derive(Debug, Clone)]
pub struct Login {
    /// The cluster's servers.
    pub urls: Vec<String>,
    /// What verifies them; what the machine trusts if not given.
    pub ca_file: Option<PathBuf>,
    /// The certificate that the device listener asks for, and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// The seed of its user.
    pub nkey_seed: SecretString,
    /// Its name; its inboxes are `_INBOX.<replica>.>`.
    pub replica: Name,
    /// What it is, for CONNZ.
    pub program: &'static str,
    /// Random numbers, uniform in 0.0..1.0, that spread reconnects.
    pub random: fn() -> f64,
}

/// Why a connection can't be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A TLS file is missing or not readable; the client library would not say which.
    #[error("can't read the TLS file {}", path.display())]
    TlsFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The client library refused.
    #[error("can't connect to NATS at {urls}")]
    Refused {
        /// Where.
        urls: String,
        /// Why.
        #[source]
        source: async_nats::ConnectError,
    },
}

impl Login {
    /// Reads and checks what `[nats]` names; `None` with what is wrong among the problems.
    pub fn load(
        files: LoginFiles<'_>,
        program: &'static str,
        random: fn() -> f64,
        problems: &mut SetUpProblems,
    ) -> Option<Self> {
        if files.urls.is_empty() {
            problems.add("[nats] urls: at least one server is needed".to_owned());
        }
        let certificate = match (files.cert_file, files.key_file) {
            (Some(certificate), Some(key)) => Some((certificate.to_owned(), key.to_owned())),
            (None, None) => None,
            _ => {
                problems.add("[nats] cert_file and key_file: give both or none".to_owned());
                None
            }
        };
        let replica = Name::parse(files.replica).map_err(Into::into);
        let replica = problems.note("replica", replica);
        let seed = problems.note("[nats] nkey_seed_file", user_seed(files.nkey_seed_file));
        let (replica, nkey_seed) = (replica?, seed?);
        Some(Self {
            urls: files.urls.to_owned(),
            ca_file: files.ca_file.map(Path::to_owned),
            certificate,
            nkey_seed,
            replica,
            program,
            random,
        })
    }

    /// The same as another user, whose seed `place` of the configuration names. Its seed is checked
    /// even if there is nothing to be the same as.
    pub fn load_other(
        like: Option<&Self>,
        place: &str,
        nkey_seed_file: &Path,
        problems: &mut SetUpProblems,
    ) -> Option<Self> {
        let nkey_seed = problems.note(place, user_seed(nkey_seed_file))?;
        Some(Self {
            nkey_seed,
            ..like?.clone()
        })
    }

    /// Begins to connect and goes on until it succeeds, now and after each loss, with back-off and
    /// jitter; `name` shows in CONNZ.
    ///
    /// # Errors
    /// A file or an address that can't be used; that nobody answers is none.
    pub async fn connect(
        &self,
        name: &str,
        waiting_messages: usize,
    ) -> Result<Client, ConnectError> {
        let random = self.random;
        let mut options = ConnectOptions::with_nkey(self.nkey_seed.expose_secret().to_owned())
            .name(format!("{} {} {name}", self.program, self.replica))
            .custom_inbox_prefix(replica_inbox_prefix(&self.replica))
            .subscription_capacity(waiting_messages)
            .retry_on_initial_connect()
            .reconnect_delay_callback(move |attempts| reconnect_delay(attempts, random()))
            .event_callback({
                let connection = name.to_owned();
                move |event| log_event(connection.clone(), event)
            });
        if let Some(ca_file) = &self.ca_file {
            check_readable(ca_file)?;
            options = options
                .add_root_certificates(ca_file.clone())
                .require_tls(true);
        }
        if let Some((certificate, key)) = &self.certificate {
            check_readable(certificate)?;
            check_readable(key)?;
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
        let connected = options.connect(&self.urls).await;
        connected.map_err(|source| ConnectError::Refused {
            urls: self.urls.join(", "),
            source,
        })
    }
}

fn user_seed(path: &Path) -> Result<SecretString, Box<dyn std::error::Error + Send + Sync>> {
    let seed = read_secret(path)?;
    SigningKey::from_seed_of(KeyKind::User, &seed)?;
    Ok(seed)
}

fn check_readable(path: &Path) -> Result<(), ConnectError> {
    std::fs::File::open(path)
        .map(drop)
        .map_err(|source| ConnectError::TlsFile {
            path: path.to_owned(),
            source,
        })
}

/// Exponential, with full jitter above the first step: a restarted server is not met by all
/// replicas at once.
fn reconnect_delay(attempts: usize, fraction: f64) -> Duration {
    let doublings = u32::try_from(attempts.min(8)).unwrap_or(8);
    let longest = (RECONNECT_FIRST * 2_u32.pow(doublings)).min(RECONNECT_LONGEST);
    RECONNECT_FIRST.max(longest.mul_f64(fraction))
}

async fn log_event(connection: String, event: Event) {
    match event {
        Event::Connected => tracing::info!(connection, "connected to NATS"),
        Event::Disconnected => tracing::warn!(connection, "disconnected from NATS"),
        Event::SlowConsumer(_) => tracing::warn!(
            connection,
            "messages arrive faster than they are read; some are lost"
        ),
        Event::ServerError(error) => tracing::error!(connection, %error, "NATS server error"),
        Event::ClientError(error) => tracing::error!(connection, %error, "NATS client error"),
        other => tracing::debug!(connection, event = %other, "NATS connection"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_are_spread_but_never_vanish() {
        assert_eq!(reconnect_delay(0, 0.5), RECONNECT_FIRST);
        assert_eq!(reconnect_delay(3, 0.0), RECONNECT_FIRST);
        assert_eq!(reconnect_delay(3, 0.5), RECONNECT_FIRST * 4);
        assert_eq!(reconnect_delay(usize::MAX, 1.0), RECONNECT_LONGEST);
    }
}
