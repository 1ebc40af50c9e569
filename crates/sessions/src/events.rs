use async_nats::{Client, Subscriber};
use futures::stream::{SelectAll, Stream, select_all};
use futures::{StreamExt, future};
use serde::Deserialize;

use crate::{AskSystemError, SystemAccount};

/// A client has come or gone (`$SYS.ACCOUNT.<account>.CONNECT` and `.DISCONNECT`, nats-server
/// `events.go: ConnectEventMsg`, `DisconnectEventMsg`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionEvent {
    /// Whether it came or went, and if so why.
    pub kind: SessionEventKind,
    /// The server that holds it, `N…`.
    pub server_id: String,
    /// Its number on that server.
    pub client_id: u64,
    /// The name in its user JWT: the device id.
    pub user: String,
}

/// What happened to a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionEventKind {
    /// It began.
    Connected,
    /// It ended; the server's reason, such as "Kicked".
    Disconnected(String),
}

/// Sessions as they come and go.
#[derive(Debug)]
pub struct SessionEvents {
    subscribers: SelectAll<Subscriber>,
}

impl SystemAccount {
    /// Follows the sessions of the given accounts, on every server of the cluster.
    ///
    /// # Errors
    /// [`AskSystemError::Unreachable`] where the subscriptions can't be made.
    pub async fn session_events<'a>(
        &self,
        accounts: impl IntoIterator<Item = &'a str>,
    ) -> Result<SessionEvents, AskSystemError> {
        let mut subscribers = Vec::new();
        for account in accounts {
            for what in ["CONNECT", "DISCONNECT"] {
                let subject = format!("$SYS.ACCOUNT.{account}.{what}");
                subscribers.push(subscribe(&self.client, subject).await?);
            }
        }
        Ok(SessionEvents {
            subscribers: select_all(subscribers),
        })
    }
}

async fn subscribe(client: &Client, subject: String) -> Result<Subscriber, AskSystemError> {
    let subscribed = client.subscribe(subject).await;
    subscribed.map_err(|source| AskSystemError::Unreachable {
        source: Box::new(source),
    })
}

impl SessionEvents {
    /// The events, in each server's order. Messages that can't be read are left out.
    pub fn into_stream(self) -> impl Stream<Item = SessionEvent> {
        self.subscribers
            .filter_map(|message| future::ready(parse(message.subject.as_str(), &message.payload)))
    }
}

fn parse(subject: &str, payload: &[u8]) -> Option<SessionEvent> {
    #[derive(Deserialize)]
    struct Message {
        server: Server,
        client: ClientInfo,
        #[serde(default)]
        reason: String,
    }
    #[derive(Deserialize)]
    struct Server {
        id: String,
    }
    #[derive(Deserialize)]
    struct ClientInfo {
        id: u64,
        #[serde(default)]
        user: String,
    }
    let message: Message = serde_json::from_slice(payload)
        .inspect_err(|error| tracing::warn!(subject, %error, "session event can't be read"))
        .ok()?;
    let kind = if subject.ends_with(".CONNECT") {
        SessionEventKind::Connected
    } else {
        SessionEventKind::Disconnected(message.reason)
    };
    Some(SessionEvent {
        kind,
        server_id: message.server.id,
        client_id: message.client.id,
        user: message.client.user,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // The fields that nats-server 2.15.1 sends, others left out.
    const GONE: &str = r#"{"type":"io.nats.server.advisory.v1.client_disconnect",
        "server":{"name":"leaf-1","id":"NAB","ver":"2.15.1"},
        "client":{"acc":"DEVICES","id":14,"user":"0001","kind":"Client"},"reason":"Kicked"}"#;

    #[test]
    fn coming_and_going_are_told_apart_by_subject() {
        let gone = parse("$SYS.ACCOUNT.DEVICES.DISCONNECT", GONE.as_bytes()).unwrap();
        assert_eq!(gone.kind, SessionEventKind::Disconnected("Kicked".into()));
        assert_eq!((gone.client_id, gone.user.as_str()), (14, "0001"));
        let came = parse("$SYS.ACCOUNT.DEVICES.CONNECT", GONE.as_bytes()).unwrap();
        assert_eq!(came.kind, SessionEventKind::Connected);
        assert_eq!(parse("$SYS.ACCOUNT.DEVICES.CONNECT", b"{"), None);
    }
}
