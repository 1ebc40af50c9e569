use std::time::Duration;

use async_nats::client::{RequestError, RequestErrorKind};
use async_nats::{Client, Request};
use bytes::Bytes;
use serde::Deserialize;

/// A connection to a system account whose user may publish `$SYS.REQ.SERVER.*.IDZ`,
/// `$SYS.REQ.SERVER.PING.CONNZ`, `$SYS.REQ.SERVER.*.CONNZ` and `$SYS.REQ.SERVER.*.KICK`, and
/// subscribe `$SYS.ACCOUNT.*.CONNECT` and `.DISCONNECT`.
#[derive(Debug, Clone)]
pub struct SystemAccount {
    pub(crate) client: Client,
    pub(crate) timeout: Duration,
}

/// What a server says of itself (`$SYS.REQ.SERVER.<id>.IDZ`, nats-server `events.go: idzReq`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ServerStatus {
    /// Its configured name.
    pub name: String,
    /// Its public nkey, `N…`, new at each start.
    pub id: String,
}

/// What became of a request to end a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KickOutcome {
    /// The server closed it.
    Kicked,
    /// The server does not know it (any more).
    Gone,
}

impl SystemAccount {
    /// Uses `client`, which must be logged in to the system account; `timeout` bounds each request.
    pub fn new(client: Client, timeout: Duration) -> Self {
        Self { client, timeout }
    }

    /// Asks the server with this id who it is; `None` where no such server lives.
    ///
    /// # Errors
    /// [`AskSystemError`] where the question could not be asked or was not answered in time.
    pub async fn identify(&self, server_id: &str) -> Result<Option<ServerStatus>, AskSystemError> {
        let subject = format!("$SYS.REQ.SERVER.{server_id}.IDZ");
        match self.request(subject, Bytes::new()).await? {
            None => Ok(None),
            Some(payload) => {
                let status: ServerStatus = parse("IDZ", &payload)?;
                Ok(Some(status).filter(|status| status.id == server_id))
            }
        }
    }

    /// Ends the connection with this client id on this server. The client sees its connection
    /// close, without an error message (nats-server `server.go: DisconnectClientByID`).
    ///
    /// # Errors
    /// [`AskSystemError`] where the request could not be made, was not answered in time, or was
    /// answered with anything but success or "unknown client".
    pub async fn kick(
        &self,
        server_id: &str,
        client_id: u64,
    ) -> Result<KickOutcome, AskSystemError> {
        let subject = format!("$SYS.REQ.SERVER.{server_id}.KICK");
        let body = format!("{{\"cid\":{client_id}}}");
        let Some(payload) = self.request(subject, body.into()).await? else {
            return Ok(KickOutcome::Gone);
        };
        let answer: Answer<serde::de::IgnoredAny> = parse("KICK", &payload)?;
        match answer.error {
            None => Ok(KickOutcome::Kicked),
            // events.go: kickClient answers 500 with the text of DisconnectClientByID's error.
            Some(error) if error.description.contains("no such client") => Ok(KickOutcome::Gone),
            Some(error) => Err(error.refusal("KICK")),
        }
    }

    /// Sends one request; `None` where nobody listens.
    pub(crate) async fn request(
        &self,
        subject: String,
        payload: Bytes,
    ) -> Result<Option<Bytes>, AskSystemError> {
        let request = Request::new().payload(payload).timeout(Some(self.timeout));
        match self.client.send_request(subject, request).await {
            Ok(message) => Ok(Some(message.payload)),
            Err(error) if error.kind() == RequestErrorKind::NoResponders => Ok(None),
            Err(source) => Err(AskSystemError::Unanswered { source }),
        }
    }
}

pub(crate) fn parse<'a, T: Deserialize<'a>>(
    what: &'static str,
    payload: &'a [u8],
) -> Result<T, AskSystemError> {
    serde_json::from_slice(payload).map_err(|source| AskSystemError::Unreadable { what, source })
}

/// The envelope of system answers (nats-server `events.go: ServerAPIResponse`).
#[derive(Debug, Deserialize)]
pub(crate) struct Answer<T> {
    data: Option<T>,
    error: Option<AnswerError>,
}

impl<T> Answer<T> {
    pub(crate) fn into_data(self, what: &'static str) -> Result<T, AskSystemError> {
        self.data.ok_or_else(|| {
            let error = self.error.unwrap_or_else(|| AnswerError {
                code: 0,
                description: "neither data nor an error".to_owned(),
            });
            error.refusal(what)
        })
    }
}

#[derive(Debug, Deserialize)]
struct AnswerError {
    #[serde(default)]
    code: u16,
    #[serde(default)]
    description: String,
}

impl AnswerError {
    fn refusal(self, what: &'static str) -> AskSystemError {
        AskSystemError::Refused {
            what,
            code: self.code,
            description: self.description,
        }
    }
}

/// Why the system account could not answer.
#[derive(Debug, thiserror::Error)]
pub enum AskSystemError {
    /// Not connected, not permitted, or no answer in time.
    #[error("the system account gave no answer")]
    Unanswered {
        /// What the client library said.
        #[source]
        source: RequestError,
    },
    /// A subscription or publication failed.
    #[error("the system account can't be reached")]
    Unreachable {
        /// What the client library said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The answer is not what nats-server documents.
    #[error("the system account's answer to {what} can't be read")]
    Unreadable {
        /// The request.
        what: &'static str,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The server refused.
    #[error("the server refused {what}: {code} {description}")]
    Refused {
        /// The request.
        what: &'static str,
        /// The server's code.
        code: u16,
        /// The server's words.
        description: String,
    },
}
