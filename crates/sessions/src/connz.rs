use std::time::Duration;

use async_nats::client::RequestErrorKind;
use futures::StreamExt;
use serde::{Deserialize, Serialize};

use crate::SystemAccount;
use crate::account::{Answer, AskSystemError, parse};

/// Connections a server puts into one answer at most.
const PAGE: usize = 1024;

/// How long after one server's answer another's may still come.
const QUIET: Duration = Duration::from_millis(300);

/// Which connections to list.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionFilter<'a> {
    /// The account that they are in.
    pub account: &'a str,
    /// The user name that they were authorised as; `None` for all.
    pub user: Option<&'a str>,
}

/// A live client connection (nats-server `monitor.go: ConnInfo`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// The server that holds it, `N…`.
    pub server_id: String,
    /// Its number on that server.
    pub client_id: u64,
    /// The name in its user JWT: the device id.
    pub user: String,
    /// When it was accepted, by its server's clock, RFC 3339.
    pub started_at: String,
    /// SHA-256 of the client's certificate, lower-case hex; `None` without TLS client
    /// authentication.
    pub certificate_sha256: Option<String>,
    /// That certificate's subject as Go writes it, such as `CN=device-1.example`.
    pub certificate_subject: Option<String>,
}

impl Connection {
    /// The common name of the client's certificate, if it stands alone among the subject's parts
    /// without escapes, as in every name that a device may have.
    pub fn common_name(&self) -> Option<&str> {
        let mut parts = self.certificate_subject.as_deref()?.split(',');
        parts.find_map(|part| part.strip_prefix("CN="))
    }
}

impl SystemAccount {
    /// Lists live connections on every server of the cluster. Servers are not known beforehand:
    /// the list is complete once none has answered for 300 ms.
    ///
    /// # Errors
    /// [`AskSystemError`] where the system account can't be reached, or a page is missing.
    pub async fn connections(
        &self,
        filter: ConnectionFilter<'_>,
    ) -> Result<Vec<Connection>, AskSystemError> {
        let mut found = Vec::new();
        for page in self.first_pages(filter).await? {
            let server_id = page.server_id.clone();
            let mut next = page.take_into(&mut found);
            while let Some(offset) = next {
                let page = self.page_of(&server_id, filter, offset).await?;
                next = page.take_into(&mut found);
            }
        }
        Ok(found)
    }

    async fn first_pages(
        &self,
        filter: ConnectionFilter<'_>,
    ) -> Result<Vec<Connz>, AskSystemError> {
        let inbox = self.client.new_inbox();
        let mut answers = self
            .client
            .subscribe(inbox.clone())
            .await
            .map_err(unreachable)?;
        self.client
            .publish_with_reply("$SYS.REQ.SERVER.PING.CONNZ", inbox, body(filter, 0))
            .await
            .map_err(unreachable)?;
        let mut pages = Vec::new();
        let mut patience = self.timeout;
        while let Ok(Some(message)) = tokio::time::timeout(patience, answers.next()).await {
            if message.payload.is_empty() {
                // "No responders": not even our own server has a system account.
                break;
            }
            pages.push(connz(&message.payload)?);
            patience = QUIET;
        }
        // Our own server at least has an answer, be it an empty one.
        if pages.is_empty() {
            return Err(AskSystemError::Unanswered {
                source: RequestErrorKind::TimedOut.into(),
            });
        }
        Ok(pages)
    }

    async fn page_of(
        &self,
        server_id: &str,
        filter: ConnectionFilter<'_>,
        offset: usize,
    ) -> Result<Connz, AskSystemError> {
        let subject = format!("$SYS.REQ.SERVER.{server_id}.CONNZ");
        let request = async_nats::Request::new()
            .payload(body(filter, offset))
            .timeout(Some(self.timeout));
        let answer = self.client.send_request(subject, request).await;
        let message = answer.map_err(|source| AskSystemError::Unanswered { source })?;
        connz(&message.payload)
    }
}

fn unreachable(source: impl std::error::Error + Send + Sync + 'static) -> AskSystemError {
    AskSystemError::Unreachable {
        source: Box::new(source),
    }
}

fn connz(payload: &[u8]) -> Result<Connz, AskSystemError> {
    let answer: Answer<Connz> = parse("CONNZ", payload)?;
    answer.data.ok_or(AskSystemError::Refused {
        what: "CONNZ",
        code: 0,
        description: answer
            .error
            .map_or_else(|| "no data".to_owned(), |error| format!("{error:?}")),
    })
}

fn body(filter: ConnectionFilter<'_>, offset: usize) -> bytes::Bytes {
    #[derive(Serialize)]
    struct Options<'a> {
        auth: bool,
        acc: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<&'a str>,
        offset: usize,
        limit: usize,
    }
    let options = Options {
        auth: true,
        acc: filter.account,
        user: filter.user,
        offset,
        limit: PAGE,
    };
    serde_json::to_vec(&options)
        .expect("strings and numbers always serialise")
        .into()
}

#[derive(Debug, Deserialize)]
struct Connz {
    server_id: String,
    #[serde(default)]
    offset: usize,
    #[serde(default)]
    total: usize,
    #[serde(default)]
    connections: Vec<ConnectionInfo>,
}

#[derive(Debug, Deserialize)]
struct ConnectionInfo {
    cid: u64,
    #[serde(default)]
    authorized_user: String,
    #[serde(default)]
    start: String,
    #[serde(default)]
    tls_peer_certs: Vec<PeerCertificate>,
}

#[derive(Debug, Deserialize)]
struct PeerCertificate {
    #[serde(default)]
    cert_sha256: String,
    #[serde(default)]
    subject: String,
}

impl Connz {
    /// Moves the page's connections over; the offset of the next page, if there is one.
    fn take_into(self, found: &mut Vec<Connection>) -> Option<usize> {
        let seen = self.offset + self.connections.len();
        let more = !self.connections.is_empty() && seen < self.total;
        found.extend(self.connections.into_iter().map(|info| {
            let certificate = info.tls_peer_certs.into_iter().next();
            let (subject, sha256) = certificate
                .map(|certificate| (certificate.subject, certificate.cert_sha256))
                .unzip();
            Connection {
                server_id: self.server_id.clone(),
                client_id: info.cid,
                user: info.authorized_user,
                started_at: info.start,
                certificate_sha256: sha256,
                certificate_subject: subject,
            }
        }));
        more.then_some(seen)
    }
}
