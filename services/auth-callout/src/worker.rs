use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, Message, PublishError, Subject, Subscriber};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use leafgate_admission::{Denial, Reason};
use leafgate_nats_config::subjects::{AUTH_REQUEST, CALLOUT_QUEUE};
use leafgate_runtime::{LogWriter, Shutdown};
use leafgate_sessions::{ConnectError, Login};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use crate::backlog::Backlog;
use crate::decider::{Answer, Case, Decider, Step};
use crate::decision_log::DecisionLog;
use crate::intake::{TakenIn, take_in};
use crate::log_ins::LogIns;
use crate::metrics::Metrics;
use crate::refusal::denial;

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
    pub(crate) log_ins: LogIns,
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
            let subscribing = self
                .client
                .queue_subscribe(AUTH_REQUEST, CALLOUT_QUEUE.into());
            let subscribing = tokio::select! {
                () = shutdown.cancelled() => break,
                subscribing = subscribing => subscribing,
            };
            match subscribing {
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
        if self.leave(&mut requests).await {
            while let Ok(Some(message)) = timeout(LEAVE_LIMIT, requests.next()).await {
                self.receive(message);
            }
        } else {
            self.read_ahead(&mut requests);
        }
        drop(requests);
        while !self.backlog.is_empty() {
            self.serve_batch().await;
        }
        while let Some(done) = self.lookups.join_next().await {
            self.looked_up(done);
        }
        self.log.flush();
    }

    /// Leaves the queue group without losing what the server has already sent. False where that
    /// can't be told the server: then requests may go on coming without end.
    ///
    /// The client library gives a draining subscription up as soon as it has read once more after
    /// sending UNSUB, so whatever the server sent before it saw UNSUB must have arrived by then.
    /// The connection lives on this thread: while the thread stands still, nothing is read.
    async fn leave(&mut self, requests: &mut Subscriber) -> bool {
        self.log.flush();
        if !within(LEAVE_LIMIT, requests.drain()).await {
            return false;
        }
        if within(LEAVE_LIMIT, self.client.flush()).await {
            std::thread::sleep(LEAVE_PAUSE);
        }
        true
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
        let TakenIn { authentic, dropped } = take_in(&self.shared.decider, waiting);
        for (denial, received) in dropped {
            self.drop_message(denial, received);
        }
        for (case, reply) in authentic {
            match self.shared.decider.try_decide(&case) {
                Step::Done(answer) => self.answer(&case, answer, reply).await,
                Step::AskServer | Step::LookUp(_) => self.look_up(case, reply),
            }
        }
    }

    /// Decides in a task of its own, since something must be asked for first; later, if too much
    /// is being asked for already.
    fn look_up(&mut self, case: Case, reply: Subject) {
        if self.lookups.len() < self.shared.concurrent_lookups {
            let (shared, client) = (self.shared.clone(), self.client.clone());
            self.lookups.spawn(async move {
                let mut answer = shared.decider.decide_fully(&case).await;
                send(&shared.decider, &client, &case, &mut answer, reply).await;
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
        send(&self.shared.decider, &self.client, case, &mut answer, reply).await;
        self.note(case, &answer);
    }

    fn note(&mut self, case: &Case, answer: &Answer) {
        let skew = case
            .request
            .skew_secs(self.shared.decider.clock.now().as_secs());
        self.shared.metrics.clock_skew_seconds.set(skew);
        if let (Ok(allowed), Some(identity)) = (&answer.outcome, &answer.identity)
            && allowed.begins_overlap
        {
            let now = self.shared.decider.clock.monotonic();
            self.shared.log_ins.tell(identity, now);
        }
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

/// Sends the answer while it is in time; else the case ends without one.
async fn send(
    decider: &Decider,
    client: &Client,
    case: &Case,
    answer: &mut Answer,
    reply: Subject,
) {
    let Some(payload) = answer.payload.take() else {
        return;
    };
    let time_left = decider.time_left(case.received).unwrap_or_default();
    match hand_over(client, reply, payload, time_left).await {
        Ok(()) => return,
        Err(Unsent::Late) => answer.outcome = Err(denial(Reason::DeadlinePassed, &Unsent::Late)),
        Err(error) => tracing::error!(
            error = &error as &dyn std::error::Error,
            "an answer could not be sent"
        ),
    }
    decider.forget(case);
}

#[derive(Debug, thiserror::Error)]
enum Unsent {
    #[error("the connection to NATS did not take the answer in time")]
    Late,
    #[error("the client library refused the answer")]
    Refused(#[source] PublishError),
}

/// Gives a message to the connection. While there is none, the client takes so many messages and
/// then lets the next one wait.
async fn hand_over(
    client: &Client,
    subject: Subject,
    payload: Bytes,
    limit: Duration,
) -> Result<(), Unsent> {
    let published = timeout(limit, client.publish(subject, payload)).await;
    published
        .map_err(|_elapsed| Unsent::Late)?
        .map_err(Unsent::Refused)
}

#[cfg(test)]
mod tests {
    use async_nats::ConnectOptions;

    use super::*;

    #[tokio::test]
    async fn an_answer_that_no_connection_takes_is_given_up() {
        // Nobody listens on port 1, and the client has room for one message until somebody does.
        let client = ConnectOptions::new()
            .client_capacity(1)
            .retry_on_initial_connect()
            .connect("127.0.0.1:1")
            .await
            .unwrap();
        let answer = async || {
            let limit = Duration::from_millis(10);
            let payload = Bytes::from_static(b"answer");
            hand_over(&client, Subject::from_static("reply"), payload, limit).await
        };
        let answers = async { [answer().await, answer().await] };
        let [first, second] = timeout(Duration::from_secs(10), answers).await.unwrap();
        assert!(first.is_ok(), "{first:?}");
        assert!(matches!(second, Err(Unsent::Late)), "{second:?}");
    }
}
