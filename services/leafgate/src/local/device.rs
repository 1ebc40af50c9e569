use std::time::Duration;

use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerError, Subscriber};
use futures::StreamExt;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

use super::Credentials;

/// A device that is logged in, with what has happened to its connection.
#[derive(Debug)]
pub struct Device {
    /// Its connection.
    pub client: Client,
    events: UnboundedReceiver<Event>,
}

/// How a log-in failed.
#[derive(Debug, thiserror::Error)]
pub enum LogInError {
    /// nats-server said "Authorization Violation"; only leafgate's log tells the reason.
    #[error("Authorization Violation")]
    Refused,
    /// The connection ended in the TLS handshake.
    #[error("refused in the TLS handshake")]
    Handshake(#[source] async_nats::ConnectError),
    /// Anything else.
    #[error("can't connect")]
    Unreachable(#[source] async_nats::ConnectError),
}

impl Device {
    /// Logs in with a certificate and nothing else. A connection that ends is made again once.
    ///
    /// # Errors
    /// [`LogInError`] says how it failed.
    pub async fn log_in(
        url: &str,
        id: &str,
        credentials: &Credentials,
    ) -> Result<Self, LogInError> {
        let (sender, events) = unbounded_channel();
        let options = ConnectOptions::new()
            .name(id)
            .custom_inbox_prefix(format!("_INBOX.{id}"))
            .add_root_certificates(credentials.ca.clone())
            .add_client_certificate(credentials.certificate.clone(), credentials.key.clone())
            .require_tls(true)
            .max_reconnects(1)
            .event_callback(move |event| {
                // Whoever no longer listens has dropped the device.
                let _ = sender.send(event);
                async {}
            });
        match options.connect(url).await {
            Ok(client) => Ok(Self { client, events }),
            Err(error) => Err(match error.kind() {
                ConnectErrorKind::AuthorizationViolation => LogInError::Refused,
                _ if is_tls_alert(&error) => LogInError::Handshake(error),
                _ => LogInError::Unreachable(error),
            }),
        }
    }

    /// Waits until the server ends the connection.
    ///
    /// # Errors
    /// It still lives after `limit`.
    pub async fn ended(&mut self, limit: Duration) -> Result<(), NotSeenError> {
        self.wait_for(limit, "the end of the connection", |event| {
            matches!(event, Event::Disconnected)
        })
        .await
        .map(drop)
    }

    /// Waits until the server refuses something that was asked of it, and returns its words.
    ///
    /// # Errors
    /// It refuses nothing within `limit`.
    pub async fn refusal(&mut self, limit: Duration) -> Result<String, NotSeenError> {
        let event = self
            .wait_for(limit, "a Permissions Violation", |event| {
                matches!(event, Event::ServerError(ServerError::Other(_)))
            })
            .await?;
        Ok(event.to_string())
    }

    async fn wait_for(
        &mut self,
        limit: Duration,
        awaited: &'static str,
        is_awaited: impl Fn(&Event) -> bool,
    ) -> Result<Event, NotSeenError> {
        let wait = async {
            while let Some(event) = self.events.recv().await {
                if is_awaited(&event) {
                    return Some(event);
                }
            }
            None
        };
        let seen = timeout(limit, wait).await.ok().flatten();
        seen.ok_or(NotSeenError { awaited, limit })
    }
}

/// Something did not happen in time.
#[derive(Debug, thiserror::Error)]
#[error("{awaited} was not seen within {limit:?}")]
pub struct NotSeenError {
    awaited: &'static str,
    limit: Duration,
}

/// The next message of a subscription, if one comes within `limit`.
///
/// # Errors
/// None came.
pub async fn next_message(
    subscriber: &mut Subscriber,
    limit: Duration,
) -> Result<async_nats::Message, NotSeenError> {
    let message = timeout(limit, subscriber.next()).await.ok().flatten();
    message.ok_or(NotSeenError {
        awaited: "a message",
        limit,
    })
}

/// With TLS 1.3 a server's refusal of the client's certificate arrives only after the handshake,
/// as an alert to the first read.
fn is_tls_alert(error: &async_nats::ConnectError) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.to_string().contains("received fatal alert") {
            return true;
        }
        cause = error.source();
    }
    false
}
