use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, Message, Subject, Subscriber};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use leafgate_admission::{Denial, Reason};
use leafgate_nats_config::subjects::{AUTH_REPLY, AUTH_REQUEST, CALLOUT_QUEUE};
use leafgate_nats_jwt::{
    AuthorizationRequest, CurvePublicKey, OpenRequestError, UnverifiedRequest, verify_batch,
};
use leafgate_runtime::{LogWriter, Shutdown};
use rand_core::OsRng;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use crate::backlog::{Backlog, Waiting};
use crate::connect::{ConnectError, Login};
use crate::decider::{Answer, Case, Decider, Step};
use crate::decision_log::DecisionLog;
use crate::metrics::Metrics;
use crate::refusal::denial;
use crate::servers::Peer;

/// The header that names the xkey of a sealed request (nats-server `auth_callout.go`).
const XKEY_HEADER: &str = "Nats-Server-Xkey";

/// Requests that are verified together at most.
const BATCH: usize = 32;

/// Messages moved to the backlog before the next batch is served.
const READ_AHEAD: usize = 1024;

/// How long a worker holds its thread still while it leaves the queue group: see `leave`.
const LEAVE_PAUSE: Duration = Duration::from_millis(50);

/// How long a worker that leaves waits for a server that may be gone.
const LEAVE_LIMIT: Duration = Duration::from_secs(1);

/// What the workers of a replica share.
pub(crate) struct Shared {
    pub(crate) decider: Decider,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) waiting_requests: usize,
    pub(crate) concurrent_lookups: usize,
}

/// One worker: a connection and a thread of its own, so that a decision from memory needs no
/// other thread and no task.
pub(crate) struct Worker {
    shared: Arc<Shared>,
    client: Client,
    log: DecisionLog,
    backlog: Backlog<Message>,
    lookups: JoinSet<(Case, Answer)>,
    /// Cases that wait for one of the concurrent look-ups to end.
    parked: Backlog<(Case, Subject)>,
}

impl Worker {
    /// Connects; must be called on the runtime that will run the worker.
    pub(crate) async fn connect(
        shared: Arc<Shared>,
        login: &Login,
        number: usize,
        log: LogWriter,
    ) -> Result<Self, ConnectError> {
        let client = login
            .connect(&format!("worker {number}"), shared.waiting_requests)
            .await?;
        Ok(Self {
            client,
            log: DecisionLog::new(log),
            backlog: Backlog::new(shared.waiting_requests),
            lookups: JoinSet::new(),
            parked: Backlog::new(shared.waiting_requests),
            shared,
        })
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Serves requests while `serving` says so, until `shutdown`; then answers what is in hand.
    pub(crate) async fn run(
        mut self,
        mut serving: watch::Receiver<bool>,
        subscribed: watch::Sender<bool>,
        shutdown: Shutdown,
    ) {
        while !shutdown.is_cancelled() {
            tokio::select! {
                () = shutdown.cancelled() => break,
                changed = serving.wait_for(|serving| *serving) => {
                    if changed.is_err() {
                        break;
                    }
                }
            }
            match self
                .client
                .queue_subscribe(AUTH_REQUEST, CALLOUT_QUEUE.into())
                .await
            {
                Ok(mut requests) => {
                    // Without a connection the subscription waits for one.
                    tokio::select! {
                        () = shutdown.cancelled() => break,
                        _ = self.client.flush() => {}
                    }
                    subscribed.send_replace(true);
                    self.serve(&mut requests, &mut serving, &shutdown).await;
                    subscribed.send_replace(false);
                    self.finish(requests).await;
                }
                Err(error) => {
                    tracing::error!(%error, "can't subscribe to requests");
                    return;
                }
            }
        }
        if !within(LEAVE_LIMIT, self.client.flush()).await {
            tracing::warn!("the last answers may not have left");
        }
    }

    /// Serves one subscription until it is to be given up.
    async fn serve(
        &mut self,
        requests: &mut Subscriber,
        serving: &mut watch::Receiver<bool>,
        shutdown: &Shutdown,
    ) {
        loop {
            if self.backlog.is_empty() {
                tokio::select! {
                    biased;
                    () = shutdown.cancelled() => break,
                    _ = serving.wait_for(|serving| !*serving) => break,
                    Some(done) = self.lookups.join_next() => self.looked_up(done),
                    message = requests.next() => match message {
                        Some(message) => self.receive(message),
                        None => break,
                    },
                }
            } else if shutdown.is_cancelled() || !*serving.borrow() {
                break;
            }
            self.read_ahead(requests);
            self.serve_batch().await;
            while let Some(done) = self.lookups.try_join_next() {
                self.looked_up(done);
            }
            self.log.flush();
            // Lets the connection send the answers and read on.
            tokio::task::yield_now().await;
        }
    }

    /// Gives a subscription up, leaving nothing of it unanswered.
    async fn finish(&mut self, mut requests: Subscriber) {
        self.leave(&mut requests).await;
        while let Ok(Some(message)) = timeout(LEAVE_LIMIT, requests.next()).await {
            self.receive(message);
        }
        while !self.backlog.is_empty() {
            self.serve_batch().await;
        }
        while let Some(done) = self.lookups.join_next().await {
            self.looked_up(done);
        }
        self.log.flush();
    }

    /// Leaves the queue group without losing what the server has already sent.
    ///
    /// The client library gives a draining subscription up as soon as it has read once more after
    /// sending UNSUB, so whatever the server sent before it saw UNSUB must have arrived by then.
    /// The connection lives on this thread: while the thread stands still, nothing is read.
    async fn leave(&mut self, requests: &mut Subscriber) {
        self.log.flush();
        if requests.drain().await.is_ok() && within(LEAVE_LIMIT, self.client.flush()).await {
            std::thread::sleep(LEAVE_PAUSE);
        }
    }

    fn read_ahead(&mut self, requests: &mut Subscriber) {
        for _ in 0..READ_AHEAD {
            match requests.next().now_or_never() {
                Some(Some(message)) => self.receive(message),
                _ => return,
            }
        }
    }

    fn receive(&mut self, message: Message) {
        let received = self.shared.decider.clock.monotonic();
        if let Some(displaced) = self.backlog.push(message, received) {
            self.drop_message(Reason::Overloaded.into(), displaced.received);
        }
    }

    async fn serve_batch(&mut self) {
        let waiting = self.backlog.take(BATCH);
        if waiting.is_empty() {
            return;
        }
        self.shared
            .metrics
            .batch_requests
            .observe(waiting.len() as f64);
        for (case, reply) in self.verified(waiting) {
            match self.shared.decider.try_decide(&case) {
                Step::Done(answer) => self.answer(&case, answer, reply).await,
                Step::AskServer | Step::LookUp(_) => self.look_up(case, reply),
            }
        }
    }

    /// The authentic requests among what was received; the rest is dropped and logged.
    fn verified(&mut self, waiting: Vec<Waiting<Message>>) -> Vec<(Case, Subject)> {
        let mut verified = Vec::with_capacity(waiting.len());
        let mut unverified = Vec::with_capacity(waiting.len());
        let mut places = Vec::with_capacity(waiting.len());
        for Waiting { item, received } in waiting {
            match self.open(item, received) {
                Ok(Opened { request, place }) => match place.trust(request) {
                    Ok(request) => verified.push(place.into_case(request)),
                    Err(request) => {
                        unverified.push(request);
                        places.push(place);
                    }
                },
                Err(denial) => self.drop_message(denial, received),
            }
        }
        for (result, place) in verify_batch(unverified, &mut OsRng).into_iter().zip(places) {
            match result {
                Ok(request) => verified.push(place.into_case(request)),
                Err(error) => {
                    self.drop_message(denial(Reason::RequestForged, &error), place.received);
                }
            }
        }
        verified
    }

    /// Reads a message as a request, without believing it. The deadline comes before any
    /// cryptography.
    fn open(&self, message: Message, received: Duration) -> Result<Opened, Denial> {
        let shared = &self.shared;
        if shared.decider.is_late(received) {
            return Err(Reason::DeadlinePassed.into());
        }
        let reply = message
            .reply
            .filter(|reply| reply.starts_with(AUTH_REPLY.trim_end_matches('>')))
            .ok_or(Reason::ReplySubjectForeign)?;
        let xkey = message
            .headers
            .as_ref()
            .and_then(|headers| headers.get(XKEY_HEADER));
        let (request, peer) = match xkey {
            Some(xkey) => {
                let (request, peer) = self.unseal(&message.payload, xkey.as_str())?;
                (request, Some(peer))
            }
            None if shared.decider.servers.requires_sealing() => {
                return Err(Reason::RequestUnsealed.into());
            }
            None => {
                let request = UnverifiedRequest::decode(&message.payload)
                    .map_err(|error| denial(Reason::RequestMalformed, &error))?;
                (request, None)
            }
        };
        let place = RequestPlace {
            peer,
            received,
            reply,
        };
        Ok(Opened { request, place })
    }

    fn unseal(
        &self,
        payload: &Bytes,
        xkey: &str,
    ) -> Result<(UnverifiedRequest, Arc<Peer>), Denial> {
        let broken = |error: &dyn std::error::Error| denial(Reason::RequestSealBroken, error);
        let xkey = CurvePublicKey::parse(xkey).map_err(|error| broken(&error))?;
        let peer = self
            .shared
            .decider
            .servers
            .peer(&xkey)
            .map_err(|error| broken(&error))?
            .ok_or_else(|| Denial {
                reason: Reason::RequestSealBroken,
                detail: "the request is sealed, but no xkey_seed_file is configured".to_owned(),
            })?;
        let request =
            UnverifiedRequest::open(payload, &peer.shared).map_err(|error| match error {
                OpenRequestError::Box(error) => broken(&error),
                OpenRequestError::Decode(error) => denial(Reason::RequestMalformed, &error),
            })?;
        Ok((request, peer))
    }

    /// Decides in a task of its own, since something must be asked for first; later, if too much
    /// is being asked for already.
    fn look_up(&mut self, case: Case, reply: Subject) {
        if self.lookups.len() < self.shared.concurrent_lookups {
            let (shared, client) = (self.shared.clone(), self.client.clone());
            self.lookups.spawn(async move {
                let mut answer = shared.decider.decide_fully(&case).await;
                send(&client, &mut answer, reply).await;
                (case, answer)
            });
            return;
        }
        let received = case.received;
        if let Some(displaced) = self.parked.push((case, reply), received) {
            let (case, _) = displaced.item;
            self.shared.decider.forget(&case);
            self.note(&case, &Answer::silent(Reason::Overloaded.into()));
        }
    }

    fn looked_up(&mut self, done: Result<(Case, Answer), JoinError>) {
        match done {
            Ok((case, answer)) => self.note(&case, &answer),
            Err(error) => tracing::error!(%error, "a decision was lost"),
        }
        for parked in self.parked.take(1) {
            let (case, reply) = parked.item;
            self.look_up(case, reply);
        }
    }

    async fn answer(&mut self, case: &Case, mut answer: Answer, reply: Subject) {
        send(&self.client, &mut answer, reply).await;
        self.note(case, &answer);
    }

    fn note(&mut self, case: &Case, answer: &Answer) {
        let skew = case
            .request
            .skew_secs(self.shared.decider.clock.now().as_secs());
        self.shared.metrics.clock_skew_seconds.set(skew);
        let clock = self.shared.decider.clock.clone();
        self.log
            .decided(case, answer, &self.shared.metrics, &*clock);
    }

    fn drop_message(&mut self, denial: Denial, received: Duration) {
        let clock = self.shared.decider.clock.clone();
        self.log
            .dropped(denial, received, &self.shared.metrics, &*clock);
    }
}

/// Whether it succeeded in time.
async fn within<T, E>(limit: Duration, attempt: impl Future<Output = Result<T, E>>) -> bool {
    matches!(timeout(limit, attempt).await, Ok(Ok(_)))
}

async fn send(client: &Client, answer: &mut Answer, reply: Subject) {
    if let Some(payload) = answer.payload.take()
        && let Err(error) = client.publish(reply, payload).await
    {
        tracing::error!(%error, "an answer could not be sent");
    }
}

struct Opened {
    request: UnverifiedRequest,
    place: RequestPlace,
}

/// Where a request came from, and where its answer goes.
struct RequestPlace {
    peer: Option<Arc<Peer>>,
    received: Duration,
    reply: Subject,
}

impl RequestPlace {
    /// Takes the opened box as proof of origin where its xkey is bound to the server.
    fn trust(&self, request: UnverifiedRequest) -> Result<AuthorizationRequest, UnverifiedRequest> {
        match self.peer.as_ref().and_then(|peer| peer.binding()) {
            Some(binding) => request.trust_opened_box(binding),
            None => Err(request),
        }
    }

    fn into_case(self, request: AuthorizationRequest) -> (Case, Subject) {
        let case = Case {
            request,
            peer: self.peer,
            received: self.received,
        };
        (case, self.reply)
    }
}
