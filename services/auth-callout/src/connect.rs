use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event};
use leafgate_nats_config::Name;
use leafgate_nats_config::subjects::replica_inbox_prefix;
use secrecy::{ExposeSecret, SecretString};

use crate::random;

/// The pause before reconnecting grows from this…
const RECONNECT_FIRST: Duration = Duration::from_millis(50);
/// …to this.
const RECONNECT_LONGEST: Duration = Duration::from_secs(4);

/// How a replica logs in to its leaf cluster.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    pub(crate) urls: Vec<String>,
    pub(crate) ca_file: Option<PathBuf>,
    /// The certificate that the device listener asks for, and its key.
    pub(crate) certificate: Option<(PathBuf, PathBuf)>,
    pub(crate) nkey_seed: SecretString,
    pub(crate) replica: Name,
}

/// Why a connection can't be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
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
    /// Begins to connect and goes on until it succeeds, now and after each loss, with back-off and
    /// jitter; `name` shows in CONNZ.
    pub(crate) async fn connect(
        &self,
        name: &str,
        waiting_messages: usize,
    ) -> Result<Client, ConnectError> {
        let mut options = ConnectOptions::with_nkey(self.nkey_seed.expose_secret().to_owned())
            .name(format!("leafgate-callout {} {name}", self.replica))
            .custom_inbox_prefix(replica_inbox_prefix(&self.replica))
            .subscription_capacity(waiting_messages)
            .retry_on_initial_connect()
            .reconnect_delay_callback(reconnect_delay)
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
fn reconnect_delay(attempts: usize) -> Duration {
    let doublings = u32::try_from(attempts.min(8)).unwrap_or(8);
    let longest = (RECONNECT_FIRST * 2_u32.pow(doublings)).min(RECONNECT_LONGEST);
    RECONNECT_FIRST.max(longest.mul_f64(random::fraction()))
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
