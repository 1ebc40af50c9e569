//! A NATS client that remembers what the server complained about.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_nats::{ConnectError, ConnectOptions, Event, Message, Subscriber};
use futures::StreamExt as _;
use leafgate_nats_jwt::SigningKey;
use leafgate_processes::NatsServer;
use secrecy::ExposeSecret as _;
use tokio::sync::mpsc;
use tokio::time;

use crate::world::{LIMIT, World};

/// How long a message is awaited that must not come, where no later message can show that it won't.
pub(crate) const SILENCE: Duration = Duration::from_millis(250);

pub(crate) struct Client {
    pub(crate) nats: async_nats::Client,
    complaints: mpsc::UnboundedReceiver<String>,
}

/// Who connects, and how.
#[derive(Clone, Copy)]
pub(crate) struct Login<'a> {
    pub(crate) certificate: Option<&'a str>,
    pub(crate) nkey: Option<&'a SigningKey>,
    pub(crate) inbox_prefix: &'a str,
}

impl World {
    /// An application of the hub.
    pub(crate) async fn application(
        &self,
        hub: &NatsServer,
        nkey: &SigningKey,
        inbox_prefix: &str,
    ) -> Client {
        let login = Login {
            certificate: None,
            nkey: Some(nkey),
            inbox_prefix,
        };
        self.connect(hub, login).await.unwrap()
    }

    /// A device of [`World::start_hub_and_site`], counted from 1.
    pub(crate) async fn device(&self, site: &NatsServer, number: usize) -> Client {
        let login = Login {
            certificate: Some(&format!("device-{number:04}")),
            nkey: Some(&self.keys.devices[number - 1]),
            inbox_prefix: &format!("_INBOX.{number:04}"),
        };
        self.connect(site, login).await.unwrap()
    }

    pub(crate) async fn connect(
        &self,
        server: &NatsServer,
        login: Login<'_>,
    ) -> Result<Client, ConnectError> {
        let (sender, complaints) = mpsc::unbounded_channel();
        let mut options = ConnectOptions::new()
            .add_root_certificates(self.file("ca.crt"))
            .require_tls(true)
            .custom_inbox_prefix(login.inbox_prefix)
            .max_reconnects(1)
            .event_callback(move |event| {
                if let Event::ServerError(error) = event {
                    // The test may be over.
                    let _ = sender.send(error.to_string());
                }
                async {}
            });
        if let Some(name) = login.certificate {
            let file = |extension| self.file(&format!("{name}.{extension}"));
            options = options.add_client_certificate(file("crt"), file("key"));
        }
        if let Some(key) = login.nkey {
            options = options.nkey(key.seed().expose_secret().to_owned());
        }
        let address = format!("tls://{}", server.ports().client);
        let nats = options.connect(address).await?;
        Ok(Client { nats, complaints })
    }
}

impl Client {
    pub(crate) async fn subscribe(&self, subject: &str) -> Subscriber {
        self.nats.subscribe(subject.to_owned()).await.unwrap()
    }

    pub(crate) async fn publish(&self, subject: &str, payload: &str) {
        let payload = payload.to_owned().into();
        self.nats
            .publish(subject.to_owned(), payload)
            .await
            .unwrap();
    }

    pub(crate) async fn publish_with_reply(&self, subject: &str, reply: &str, payload: &str) {
        self.nats
            .publish_with_reply(
                subject.to_owned(),
                reply.to_owned(),
                payload.to_owned().into(),
            )
            .await
            .unwrap();
    }

    /// What the server complained about since the last call. It answers in order, so a publish that is refused to
    /// everyone shows that all before it was handled.
    pub(crate) async fn complaints(&mut self) -> Vec<String> {
        static MARKERS: AtomicU32 = AtomicU32::new(0);
        let marker = format!("refused.{}", MARKERS.fetch_add(1, Ordering::Relaxed));
        self.publish(&marker, "").await;
        let mut complaints = Vec::new();
        loop {
            let complaint = self.next_complaint().await;
            if complaint.contains(&marker) {
                return complaints;
            }
            complaints.push(complaint);
        }
    }

    pub(crate) async fn next_complaint(&mut self) -> String {
        let complaint = time::timeout(LIMIT, self.complaints.recv()).await;
        complaint
            .expect("no complaint came")
            .expect("the client keeps its callback")
    }

    /// The subjects of `subjects` that may not be subscribed.
    pub(crate) async fn refused_subscriptions<'a>(&mut self, subjects: &[&'a str]) -> Vec<&'a str> {
        let mut refused = Vec::new();
        for subject in subjects {
            let subscriber = match subject.split_once(' ') {
                Some((subject, queue)) => self
                    .nats
                    .queue_subscribe(subject.to_owned(), queue.to_owned())
                    .await
                    .unwrap(),
                None => self.subscribe(subject).await,
            };
            if self
                .complaints()
                .await
                .iter()
                .any(|text| text.contains("Subscription"))
            {
                refused.push(*subject);
            }
            drop(subscriber);
        }
        refused
    }

    /// The subjects of `subjects` that may not be published to.
    pub(crate) async fn refused_publishes<'a>(&mut self, subjects: &[&'a str]) -> Vec<&'a str> {
        let mut refused = Vec::new();
        for subject in subjects {
            self.publish(subject, "").await;
            if self
                .complaints()
                .await
                .iter()
                .any(|text| text.contains("Publish"))
            {
                refused.push(*subject);
            }
        }
        refused
    }

    /// The answer to a request, sent again while nobody listens yet.
    pub(crate) async fn request(&self, subject: &str, payload: &str) -> Message {
        let requesting = async {
            loop {
                let payload = payload.to_owned().into();
                if let Ok(answer) = self.nats.request(subject.to_owned(), payload).await {
                    return answer;
                }
                time::sleep(Duration::from_millis(10)).await;
            }
        };
        time::timeout(LIMIT, requesting)
            .await
            .unwrap_or_else(|_| panic!("no answer on {subject}"))
    }
}

/// The next message.
pub(crate) async fn next(subscriber: &mut Subscriber) -> Message {
    time::timeout(LIMIT, subscriber.next())
        .await
        .expect("no message came")
        .expect("the subscription ended")
}

/// No message comes.
pub(crate) async fn silence(subscriber: &mut Subscriber) {
    if let Ok(Some(message)) = time::timeout(SILENCE, subscriber.next()).await {
        panic!("{} came: {:?}", message.subject, message.payload);
    }
}

/// Publishes again and again until the subscriber has it, because interest takes a moment to cross a link; then
/// drops what came twice.
pub(crate) async fn publish_until_received(
    publisher: &Client,
    subject: &str,
    subscriber: &mut Subscriber,
) -> Message {
    let publishing = async {
        loop {
            publisher.publish(subject, "are you there?").await;
            let wait = time::timeout(Duration::from_millis(20), subscriber.next());
            if let Ok(Some(message)) = wait.await {
                return message;
            }
        }
    };
    let message = time::timeout(LIMIT, publishing)
        .await
        .unwrap_or_else(|_| panic!("{subject} never arrived"));
    publisher.publish(subject, "last").await;
    while next(subscriber).await.payload != "last" {}
    message
}

/// Polls until `probe` finds something.
pub(crate) async fn eventually<T>(mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let polling = async {
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            time::sleep(Duration::from_millis(10)).await;
        }
    };
    time::timeout(LIMIT, polling)
        .await
        .expect("it did not happen in time")
}
