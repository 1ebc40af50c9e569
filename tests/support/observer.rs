//! What the leaf cluster's system account sees of devices: which sessions live, and which lived
//! from when to when.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::{Client, ConnectOptions};
use futures::StreamExt;
use leafgate::local::LocalKeys;
use leafgate_identity::UnixMs;
use leafgate_runtime::read_secret;
use leafgate_sessions::{Connection, ConnectionFilter, SystemAccount};
use secrecy::ExposeSecret;
use serde_json::Value;

use super::{TestSite, eventually};

/// The service user that no replica of a test takes.
const SPARE_REPLICA: &str = "callout-7";

/// A user of the leaf cluster's system account.
pub struct Observer {
    client: Client,
    system: SystemAccount,
}

/// Every session since the observer began to follow, by server and client id.
#[derive(Clone, Default)]
pub struct History(Arc<Mutex<HashMap<(String, u64), Span>>>);

/// A device's session as its server tells it.
#[derive(Debug, Clone)]
pub struct Span {
    pub device: String,
    pub began: Option<UnixMs>,
    pub ended: Option<UnixMs>,
}

impl Observer {
    pub async fn connect(site: &TestSite) -> Self {
        let client = connect(site, "system").await;
        let system = SystemAccount::new(client.clone(), Duration::from_secs(5));
        Self { client, system }
    }

    /// The live sessions of a device, or of all.
    pub async fn sessions(&self, user: Option<&str>) -> Vec<Connection> {
        let account = "DEVICES";
        let filter = ConnectionFilter { account, user };
        self.system.connections(filter).await.unwrap()
    }

    /// Follows sessions from now on.
    pub async fn follow(&self) -> History {
        let history = History::default();
        for what in ["CONNECT", "DISCONNECT"] {
            let subject = format!("$SYS.ACCOUNT.DEVICES.{what}");
            let mut events = self.client.subscribe(subject).await.unwrap();
            let history = history.clone();
            tokio::spawn(async move {
                while let Some(message) = events.next().await {
                    history.note(what, &serde_json::from_slice(&message.payload).unwrap());
                }
            });
        }
        // Answered after the subscriptions, which went the same way, have taken effect.
        self.sessions(Some("nobody")).await;
        history
    }
}

/// Logs in as the spare replica, with its key for this account: `system` or `auth`.
pub async fn connect(site: &TestSite, account: &str) -> Client {
    let folder = site.site.dir().keys();
    let keys = LocalKeys::in_folder(&folder);
    let seed = read_secret(&keys.path(&format!("{SPARE_REPLICA}-{account}"))).unwrap();
    ConnectOptions::with_nkey(seed.expose_secret().to_owned())
        .add_root_certificates(site.site.endpoints().ca_file)
        .add_client_certificate(folder.join("callout.crt"), folder.join("callout.key"))
        .require_tls(true)
        .custom_inbox_prefix(format!("_INBOX.{SPARE_REPLICA}"))
        .connect(&site.url)
        .await
        .unwrap()
}

impl History {
    /// All sessions of a device.
    pub fn of(&self, device: &str) -> Vec<Span> {
        let spans = self.0.lock().unwrap();
        spans
            .values()
            .filter(|span| span.device == device)
            .cloned()
            .collect()
    }

    /// Waits for the end of every session.
    pub async fn all_ended(&self) {
        eventually("the end of every session", async || {
            let spans = self.0.lock().unwrap();
            spans
                .values()
                .all(|span| span.ended.is_some())
                .then_some(())
        })
        .await;
    }

    fn note(&self, what: &str, event: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let place = (
            text(&event["server"]["id"]),
            event["client"]["id"].as_u64().unwrap(),
        );
        let at: UnixMs = text(&event["timestamp"]).parse().unwrap();
        let mut spans = self.0.lock().unwrap();
        let span = spans.entry(place).or_insert(Span {
            device: text(&event["client"]["user"]),
            began: None,
            ended: None,
        });
        match what {
            "CONNECT" => span.began = Some(at),
            _ => span.ended = Some(at),
        }
    }
}
