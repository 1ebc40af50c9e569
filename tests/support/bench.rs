//! A callout process on a nats-server that has no auth_callout, so that a test can ask in
//! nats-server's place, with whatever message it likes.

pub mod made_up_server;

mod processes;

use std::future::Future;

use async_nats::{Client, ConnectOptions, HeaderMap, Subscriber};
use futures::{FutureExt as _, StreamExt as _};
use leafgate::local::{LocalDir, ServiceProcess, new_device, open_registrar};
use leafgate_identity::{DeviceId, UnixMs};
use leafgate_nats_jwt::{
    AccountKey, CurvePublicKey, RequestClaims, ServerKey, SigningKey, UserKey, VerifiedResponse,
    VerifiedUser,
};
use leafgate_processes::NatsServer;
use leafgate_registrar::{CertificateKey, Registrar};
use leafgate_registry::{Act, NewDevice};
use secrecy::ExposeSecret as _;
use serde_json::json;
use tokio::time::timeout;

use self::processes::Keys;
use super::decisions::Witness;
use super::evictions::Evictions;
use super::wire::Wire;
use super::{PATIENCE, act};

pub use self::made_up_server::{MadeUpServer, Message, Reply};

/// Where the requester listens, as a nats-server would.
const INBOX: &str = "$SYS._INBOX.requester";

/// How long ago the registry was founded, in hours.
const AGE: i64 = 30 * 24;

/// How a bench differs from the plain one.
#[derive(Default)]
pub struct BenchOptions {
    /// Whether requests are sealed.
    pub xkey: bool,
    /// `[limits]` of the callout.
    pub limits: &'static str,
    /// Policies in place of the shipped ones.
    pub policy: Option<&'static str>,
    /// Variables of the callout's environment.
    pub environment: Vec<(String, String)>,
    /// Whether the callout reaches the nats-server over a wire that the test can hold.
    pub wire: bool,
}

/// Everything that runs.
pub struct Bench {
    pub callout: ServiceProcess,
    /// Between the callout and the nats-server, if asked for.
    pub wire: Option<Wire>,
    /// A server that the system account knows.
    pub server: MadeUpServer,
    /// What requests are addressed to.
    pub issuer: AccountKey,
    /// The callout's, if requests are sealed.
    pub xkey: Option<CurvePublicKey>,
    requester: Client,
    answers: Subscriber,
    sent: u64,
    tester: Client,
    /// What another replica hears beside its own answers.
    evictions: Evictions,
    /// The answers to another replica.
    foreign_answers: Subscriber,
    good_chain: Vec<String>,
    _nats_server: NatsServer,
    _folder: tempfile::TempDir,
}

impl Bench {
    /// Starts everything.
    pub async fn start(options: BenchOptions) -> Self {
        Self::start_prepared(options, async |_| {}).await.0
    }

    /// The same, after `prepare` has filled the registry, which was founded weeks ago.
    pub async fn start_prepared<T>(
        options: BenchOptions,
        prepare: impl AsyncFnOnce(&Registrar) -> T,
    ) -> (Self, T) {
        let folder = tempfile::tempdir().unwrap();
        let dir = LocalDir::create(&folder.path().join("site")).unwrap();
        let registrar = open_registrar(&dir, &act_at(-AGE)).await.unwrap();
        let good_chain = issue(&registrar, new_device(id("0001"), "pump"), &act()).await;
        let prepared = prepare(&registrar).await;

        let keys = Keys::in_folder(&dir);
        let nats_server = keys.start_nats_server(&dir).await;
        let address = nats_server.ports().client;
        let wire = match options.wire {
            true => Some(Wire::to(address).await),
            false => None,
        };
        let callout_address = wire.as_ref().map_or(address, Wire::address);
        let callout = keys
            .start_callout(&dir, &format!("nats://{callout_address}"), &options)
            .await;

        let connect = |key: SigningKey| async move {
            let options = ConnectOptions::with_nkey(key.seed().expose_secret().to_owned());
            options.connect(format!("nats://{address}")).await.unwrap()
        };
        let requester = connect(keys.user("requester")).await;
        let answers = requester.subscribe(format!("{INBOX}.*")).await.unwrap();
        let eavesdropper = connect(keys.user("callout-1-auth")).await;
        let foreign_answers = eavesdropper.subscribe("_INBOX.callout-1.>").await.unwrap();
        let bench = Self {
            callout,
            wire,
            server: MadeUpServer::new(),
            issuer: keys.issuer(),
            xkey: options.xkey.then(|| keys.xkey()),
            requester,
            answers,
            sent: 0,
            tester: connect(keys.user("tester")).await,
            evictions: Evictions::follow(eavesdropper).await,
            foreign_answers,
            good_chain,
            _nats_server: nats_server,
            _folder: folder,
        };
        bench.vouch_for(bench.server.id(), bench.server.id()).await;
        (bench, prepared)
    }

    /// Answers those who ask the system account for `id` that `answered` is there.
    pub async fn vouch_for(&self, id: ServerKey, answered: ServerKey) {
        self.vouch_when(id, answered, std::future::ready(())).await;
    }

    /// The same, but the first answer waits for `when`.
    pub async fn vouch_when(
        &self,
        id: ServerKey,
        answered: ServerKey,
        when: impl Future<Output = ()> + Send + 'static,
    ) {
        let subject = format!("$SYS.REQ.SERVER.{id}.IDZ");
        let mut questions = self.tester.subscribe(subject).await.unwrap();
        self.tester.flush().await.unwrap();
        let tester = self.tester.clone();
        let status = json!({"name": "made-up", "host": "127.0.0.1", "id": answered}).to_string();
        tokio::spawn(async move {
            let mut when = Some(when);
            while let Some(question) = questions.next().await {
                if let Some(when) = when.take() {
                    when.await;
                }
                // Whoever asked may have given up: the bench may have ended.
                let _ = tester
                    .publish(question.reply.unwrap(), status.clone().into())
                    .await;
            }
        });
    }

    /// What the known server says of an active device that connects.
    pub fn good_claims(&self) -> RequestClaims {
        self.claims_of(&self.good_chain)
    }

    /// What the known server says of a client that connects with this chain.
    pub fn claims_of(&self, chain: &[String]) -> RequestClaims {
        let mut claims = self
            .server
            .claims(self.issuer.as_str(), chain, act().at.as_secs());
        if self.xkey.is_none() {
            claims.server.xkey = None;
        }
        claims
    }

    /// The message that the known server would make of these claims.
    pub fn message(&self, claims: &RequestClaims) -> Message {
        let token = claims.encode(self.server.key()).unwrap();
        self.message_with(&token, claims.user_nkey)
    }

    /// The message that the known server would make of this token, for this user.
    pub fn message_with(&self, token: &str, user: UserKey) -> Message {
        self.message_from(&self.server, token, user)
    }

    /// A good message, but of this server.
    pub fn good_message_of(&self, server: &MadeUpServer) -> Message {
        self.message_of(server, self.good_claims())
    }

    /// The message that this server would make if these were its claims.
    pub fn message_of(&self, server: &MadeUpServer, mut claims: RequestClaims) -> Message {
        claims.server.id = server.id();
        claims.server.xkey = self.xkey.map(|_| *server.xkey());
        let token = claims.encode(server.key()).unwrap();
        self.message_from(server, &token, claims.user_nkey)
    }

    fn message_from(&self, server: &MadeUpServer, token: &str, user: UserKey) -> Message {
        match &self.xkey {
            None => Message::plain(token, user),
            Some(xkey) => {
                let shared = server.shared(xkey);
                Message::sealed(token.as_bytes(), &shared, server.xkey().as_str(), user)
            }
        }
    }

    /// Sends a message; returns where its answer would come.
    pub async fn send(&mut self, message: &Message) -> String {
        self.sent += 1;
        let inbox = format!("{INBOX}.{}", self.sent);
        let mut headers = HeaderMap::new();
        if let Some(xkey) = &message.xkey {
            headers.insert("Nats-Server-Xkey", xkey.as_str());
        }
        let (subject, payload) = ("$SYS.REQ.USER.AUTH", message.payload.clone().into());
        let reply = match message.reply {
            Reply::Inbox => Some(inbox.clone()),
            Reply::To(subject) => Some(subject.to_owned()),
            Reply::Nowhere => None,
        };
        let published = match (reply, headers.is_empty()) {
            (Some(reply), true) => {
                self.requester
                    .publish_with_reply(subject, reply, payload)
                    .await
            }
            (Some(reply), false) => {
                self.requester
                    .publish_with_reply_and_headers(subject, reply, headers, payload)
                    .await
            }
            (None, true) => self.requester.publish(subject, payload).await,
            (None, false) => {
                self.requester
                    .publish_with_headers(subject, headers, payload)
                    .await
            }
        };
        published.unwrap();
        self.requester.flush().await.unwrap();
        inbox
    }

    /// The next answer, which must be to `message`, sent with this inbox, and signed by the
    /// callout, and sealed as the message was.
    pub async fn answer(&mut self, message: &Message, inbox: &str, row: &str) -> VerifiedResponse {
        let answer = timeout(PATIENCE, self.answers.next()).await;
        let answer = answer
            .unwrap_or_else(|_| panic!("{row}: no answer"))
            .unwrap();
        assert_eq!(
            answer.subject.as_str(),
            inbox,
            "{row}: an answer to another request"
        );
        let token = match (&message.xkey, &self.xkey) {
            (Some(_), Some(xkey)) => self.server.shared(xkey).open(&answer.payload).unwrap(),
            _ => answer.payload.to_vec(),
        };
        let response = VerifiedResponse::decode(&token).unwrap();
        assert_eq!(response.issuer, self.issuer, "{row}");
        assert_eq!(response.subject, message.user, "{row}");
        assert_eq!(response.audience, self.server.id(), "{row}");
        response
    }

    /// Asserts that a valid request is granted, and that its answer is the next one: those that
    /// went before have none.
    pub async fn assert_goes_on(&mut self, row: &str) {
        let witness = Witness::begin(&mut self.callout).await;
        let message = self.message(&self.good_claims());
        let inbox = self.send(&message).await;
        let user = self.answer(&message, &inbox, row).await.outcome.unwrap();
        let user = VerifiedUser::decode(user.as_bytes()).unwrap();
        assert_eq!(user.subject, message.user, "{row}");
        assert_eq!((&*user.name, &*user.audience), ("0001", "DEVICES"), "{row}");
        witness.saw(&mut self.callout, row, &["allowed"]).await;

        let strayed = self.evictions.so_far().await;
        assert!(strayed.is_empty(), "{row}: messages strayed: {strayed:?}");
        // The same connection brings both.
        let strayed = self.foreign_answers.next().now_or_never();
        assert!(strayed.is_none(), "{row}: a message strayed: {strayed:?}");
    }
}

/// Who acts in tests, this many hours from now, or ago.
pub fn act_at(hours: i64) -> Act {
    let now = act();
    Act {
        at: UnixMs::new(now.at.as_i64() + hours * 3_600_000),
        ..now
    }
}

/// Registers a device and issues its certificate; its chain, as nats-server verifies it.
pub async fn issue(registrar: &Registrar, device: NewDevice, act: &Act) -> Vec<String> {
    let issued = registrar
        .register_with_certificate(device, CertificateKey::New, act)
        .await;
    chain(&issued.unwrap().issued.chain_pem)
}

/// The certificates of a PEM file, one a text.
pub fn chain(pem: &str) -> Vec<String> {
    let end = "-----END CERTIFICATE-----\n";
    pem.split_inclusive(end).map(str::to_owned).collect()
}

pub fn id(text: &str) -> DeviceId {
    DeviceId::parse(text).unwrap()
}
