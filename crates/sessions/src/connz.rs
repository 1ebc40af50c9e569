use std::net::IpAddr;
use std::time::Duration;

use async_nats::client::RequestErrorKind;
use bytes::Bytes;
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
    /// The server's name.
    pub server_name: String,
    /// Where the client connects from.
    pub source: Option<IpAddr>,
    /// How long the server's last PING took to be answered.
    pub round_trip: Option<Duration>,
    /// Messages that the client has published.
    pub messages_in: u64,
    /// Messages that it was sent.
    pub messages_out: u64,
    /// SHA-256 of the client's certificate, lower-case hex; `None` without TLS client
    /// authentication.
    pub certificate_sha256: Option<String>,
    /// That certificate's subject as Go writes it, such as `CN=device-1.example`.
    pub certificate_subject: Option<String>,
}

impl Connection {
    /// The common name of the client's certificate. Escapes are left in it; the names of devices
    /// need none.
    pub fn common_name(&self) -> Option<&str> {
        let mut parts = parts(self.certificate_subject.as_deref()?);
        parts.find_map(|part| part.strip_prefix("CN="))
    }
}

/// The parts of a subject as Go writes it: between commas without a backslash before them.
fn parts(subject: &str) -> impl Iterator<Item = &str> {
    let mut escaped = false;
    subject.split(move |character| {
        let separates = character == ',' && !escaped;
        escaped = character == '\\' && !escaped;
        separates
    })
}

impl SystemAccount {
    /// Lists live connections on every server of the cluster. Servers are not known beforehand:
    /// the list is complete once none has answered for 300 ms. Where a server needs several pages
    /// and connections end between them, as many others can be missing.
    ///
    /// # Errors
    /// [`AskSystemError`] where the system account can't be reached, or a page is missing.
    pub async fn connections(
        &self,
        filter: ConnectionFilter<'_>,
    ) -> Result<Vec<Connection>, AskSystemError> {
        self.connections_by(filter, PAGE).await
    }

    /// The same, with at most `limit` connections in an answer.
    pub(crate) async fn connections_by(
        &self,
        filter: ConnectionFilter<'_>,
        limit: usize,
    ) -> Result<Vec<Connection>, AskSystemError> {
        let mut found = Vec::new();
        for page in self.first_pages(body(filter, 0, limit)).await? {
            let server_id = page.server_id.clone();
            let mut next = page.take_into(&mut found);
            while let Some(offset) = next {
                let body = body(filter, offset, limit);
                let page = self.page_of(&server_id, body).await?;
                next = page.and_then(|page| page.take_into(&mut found));
            }
        }
        Ok(found)
    }

    async fn first_pages(&self, body: Bytes) -> Result<Vec<Connz>, AskSystemError> {
        let inbox = self.client.new_inbox();
        let mut answers = self
            .client
            .subscribe(inbox.clone())
            .await
            .map_err(unreachable)?;
        self.client
            .publish_with_reply("$SYS.REQ.SERVER.PING.CONNZ", inbox, body)
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

    /// A later page; `None` where the server has ended meanwhile, and its connections with it.
    async fn page_of(&self, server_id: &str, body: Bytes) -> Result<Option<Connz>, AskSystemError> {
        let subject = format!("$SYS.REQ.SERVER.{server_id}.CONNZ");
        let payload = self.request(subject, body).await?;
        payload.map(|payload| connz(&payload)).transpose()
    }
}

fn unreachable(source: impl std::error::Error + Send + Sync + 'static) -> AskSystemError {
    AskSystemError::Unreachable {
        source: Box::new(source),
    }
}

fn connz(payload: &[u8]) -> Result<Connz, AskSystemError> {
    #[derive(Deserialize)]
    struct From {
        #[serde(default)]
        server: Server,
    }
    #[derive(Default, Deserialize)]
    struct Server {
        #[serde(default)]
        name: String,
    }
    let from: From = parse("CONNZ", payload)?;
    let mut page = parse::<Answer<Connz>>("CONNZ", payload)?.into_data("CONNZ")?;
    page.server_name = from.server.name;
    Ok(page)
}

fn body(filter: ConnectionFilter<'_>, offset: usize, limit: usize) -> Bytes {
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
        limit,
    };
    serde_json::to_vec(&options)
        .expect("strings and numbers always serialise")
        .into()
}

#[derive(Debug, Deserialize)]
struct Connz {
    server_id: String,
    /// From the envelope of the answer.
    #[serde(skip)]
    server_name: String,
    #[serde(default)]
    offset: usize,
    #[serde(default)]
    total: usize,
    /// `null` where the server does not have the account.
    connections: Option<Vec<ConnectionInfo>>,
}

#[derive(Debug, Deserialize)]
struct ConnectionInfo {
    cid: u64,
    #[serde(default)]
    authorized_user: String,
    #[serde(default)]
    start: String,
    ip: Option<String>,
    rtt: Option<String>,
    #[serde(default)]
    in_msgs: u64,
    #[serde(default)]
    out_msgs: u64,
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
        let connections = self.connections.unwrap_or_default();
        let seen = self.offset + connections.len();
        let more = !connections.is_empty() && seen < self.total;
        found.extend(connections.into_iter().map(|info| {
            let certificate = info.tls_peer_certs.into_iter().next();
            let (subject, sha256) = certificate
                .map(|certificate| (certificate.subject, certificate.cert_sha256))
                .unzip();
            Connection {
                server_id: self.server_id.clone(),
                client_id: info.cid,
                user: info.authorized_user,
                started_at: info.start,
                server_name: self.server_name.clone(),
                source: info.ip.and_then(|ip| ip.parse().ok()),
                round_trip: info.rtt.as_deref().and_then(go_duration),
                messages_in: info.in_msgs,
                messages_out: info.out_msgs,
                certificate_sha256: sha256,
                certificate_subject: subject,
            }
        }));
        more.then_some(seen)
    }
}

/// A length of time as Go writes it (`time.Duration.String`): numbers with units, largest first.
fn go_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|character: char| !character.is_ascii_digit() && character != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        let unit = &rest[end..];
        let end = unit
            .find(|character: char| character.is_ascii_digit())
            .unwrap_or(unit.len());
        let secs = match &unit[..end] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        sum += number * secs;
        rest = &unit[end..];
    }
    Duration::try_from_secs_f64(sum)
        .ok()
        .filter(|_| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_go_writes_them() {
        for (text, micros) in [
            ("1h2m3.5s", Some(3_723_500_000)),
            ("1.25s", Some(1_250_000)),
            ("310.5µs", Some(310)),
            ("42ms", Some(42_000)),
            ("900ns", Some(0)),
            ("0s", Some(0)),
            ("", None),
            ("5", None),
            ("ms", None),
            ("5 parsecs", None),
            ("-1s", None),
        ] {
            let read = go_duration(text).map(|read| read.as_micros());
            assert_eq!(read, micros, "{text}");
        }
    }

    /// Subjects as Go writes them (`crypto/x509/pkix: Name.String`).
    #[test]
    fn the_common_name_is_found_among_the_parts_of_a_subject() {
        for (subject, common_name) in [
            ("CN=device-1.example", Some("device-1.example")),
            ("CN=device-1,OU=pumps,O=Acme", Some("device-1")),
            ("SERIALNUMBER=7,CN=device-1,C=DK", Some("device-1")),
            (r"SERIALNUMBER=7\,CN=device-2,CN=device-1", Some("device-1")),
            (r"SERIALNUMBER=7\\,CN=device-1", Some("device-1")),
            (r"SERIALNUMBER=7\+CN=device-2,CN=device-1", Some("device-1")),
            ("O=Acme", None),
            (r"O=x\,CN=device-2+O=y", None),
            ("", None),
        ] {
            let connection = Connection {
                server_id: "N".to_owned(),
                client_id: 1,
                user: "1".to_owned(),
                started_at: String::new(),
                server_name: String::new(),
                source: None,
                round_trip: None,
                messages_in: 0,
                messages_out: 0,
                certificate_sha256: None,
                certificate_subject: Some(subject.to_owned()),
            };
            assert_eq!(connection.common_name(), common_name, "{subject}");
        }
    }
}
