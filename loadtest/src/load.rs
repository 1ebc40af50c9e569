use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use async_nats::{Client, Message, Subscriber};
use bytes::Bytes;
use futures::StreamExt as _;
use hdrhistogram::Histogram;
use leafgate_runtime::{Clock, SystemClock};

use crate::request::{Expected, Request};

/// Where nats-server publishes authorization requests (nats-server `auth_callout.go`).
const AUTH_SUBJECT: &str = "$SYS.REQ.USER.AUTH";

/// Without any answer for this long the service counts as hung; nats-server itself gives up
/// after 2 s.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest latency that is told apart: no request can be older when the run is given up.
const LATENCY_LIMIT_US: u64 = 600_000_000;

/// How often an open loop looks whether requests are due.
const TICK: Duration = Duration::from_millis(1);

/// How requests arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// As many as this are always waiting for their answer: the next is sent when one is back.
    InFlight(usize),
    /// At this constant rate, whether or not answers come. Latency counts from the moment at
    /// which a request was due, so that a stalled service does not hide its own delay.
    PerSecond(u32),
}

impl std::fmt::Display for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InFlight(requests) => write!(f, "{requests} in flight"),
            Self::PerSecond(rate) => write!(f, "{rate}/s"),
        }
    }
}

/// What came back.
pub(crate) struct Outcome {
    /// One for each request, `None` where no answer came.
    pub(crate) answers: Vec<Option<Bytes>>,
    /// From the first request to the last answer.
    pub(crate) elapsed: Duration,
    /// Latencies in microseconds.
    pub(crate) latencies_us: Histogram<u64>,
}

/// A connection on which a made-up server asks.
pub(crate) struct Generator {
    pub(crate) client: Client,
    pub(crate) clock: SystemClock,
}

impl Generator {
    /// Sends every request once and waits for every answer that is expected.
    pub(crate) async fn run(&self, requests: &[Request], load: Load) -> Result<Outcome> {
        let inbox = format!("$SYS.{}", self.client.new_inbox());
        let mut answers = self.client.subscribe(format!("{inbox}.*")).await?;
        self.client.flush().await?;
        let mut run = Run {
            generator: self,
            requests,
            inbox,
            sent: 0,
            due: vec![Duration::ZERO; requests.len()],
            pending: requests
                .iter()
                .filter(|request| request.expected != Expected::Silence)
                .count(),
            answers: vec![None; requests.len()],
            latencies_us: Histogram::new_with_max(LATENCY_LIMIT_US, 3)
                .context("can't make a histogram")?,
        };
        let started = self.clock.monotonic();
        match load {
            Load::InFlight(limit) => run.closed_loop(&mut answers, limit).await?,
            Load::PerSecond(rate) => run.open_loop(&mut answers, rate).await?,
        }
        let elapsed = self.clock.monotonic() - started;
        answers.unsubscribe().await?;
        Ok(Outcome {
            answers: run.answers,
            elapsed,
            latencies_us: run.latencies_us,
        })
    }
}

struct Run<'a> {
    generator: &'a Generator,
    requests: &'a [Request],
    inbox: String,
    sent: usize,
    /// When each request was sent, or should have been.
    due: Vec<Duration>,
    /// Answers that must still come.
    pending: usize,
    answers: Vec<Option<Bytes>>,
    latencies_us: Histogram<u64>,
}

impl Run<'_> {
    async fn closed_loop(&mut self, answers: &mut Subscriber, limit: usize) -> Result<()> {
        let mut in_flight = 0;
        loop {
            while in_flight < limit && self.sent < self.requests.len() {
                if self.requests[self.sent].expected != Expected::Silence {
                    in_flight += 1;
                }
                self.send(self.generator.clock.monotonic()).await?;
            }
            if self.pending == 0 {
                return Ok(());
            }
            if self.receive(answers).await? {
                in_flight -= 1;
            }
        }
    }

    async fn open_loop(&mut self, answers: &mut Subscriber, rate: u32) -> Result<()> {
        let interval = Duration::from_secs(1) / rate;
        let started = self.generator.clock.monotonic();
        let mut ticks = tokio::time::interval(TICK);
        while self.sent < self.requests.len() {
            tokio::select! {
                _ = ticks.tick() => {
                    let elapsed = self.generator.clock.monotonic() - started;
                    let mut due = interval * u32::try_from(self.sent)?;
                    while due <= elapsed && self.sent < self.requests.len() {
                        self.send(started + due).await?;
                        due += interval;
                    }
                }
                answer = answers.next() => {
                    let answer = answer.context("the connection to nats-server is closed")?;
                    self.take(&answer)?;
                }
            }
        }
        while self.pending > 0 {
            self.receive(answers).await?;
        }
        Ok(())
    }

    async fn send(&mut self, due: Duration) -> Result<()> {
        let request = &self.requests[self.sent];
        let client = &self.generator.client;
        let reply = format!("{}.{}", self.inbox, self.sent);
        let payload = request.payload.clone();
        self.due[self.sent] = due;
        self.sent += 1;
        match request.headers.clone() {
            None => {
                client
                    .publish_with_reply(AUTH_SUBJECT, reply, payload)
                    .await?;
            }
            Some(headers) => {
                client
                    .publish_with_reply_and_headers(AUTH_SUBJECT, reply, headers, payload)
                    .await?;
            }
        }
        Ok(())
    }

    /// Waits for an answer; true where it was an expected one.
    async fn receive(&mut self, answers: &mut Subscriber) -> Result<bool> {
        match tokio::time::timeout(PATIENCE, answers.next()).await {
            Ok(Some(message)) => self.take(&message),
            Ok(None) => bail!("the connection to nats-server is closed"),
            Err(_) => bail!(
                "no answer for {} s, {} of {} requests are unanswered",
                PATIENCE.as_secs(),
                self.pending,
                self.requests.len()
            ),
        }
    }

    fn take(&mut self, message: &Message) -> Result<bool> {
        let received = self.generator.clock.monotonic();
        // nats-server answers by itself, with a status, where nobody subscribes.
        ensure!(
            message.status.is_none(),
            "no service is subscribed to {AUTH_SUBJECT}"
        );
        let index = message
            .subject
            .rsplit('.')
            .next()
            .and_then(|index| index.parse::<usize>().ok())
            .filter(|index| *index < self.sent)
            .with_context(|| format!("an answer on {} belongs to no request", message.subject))?;
        let slot = &mut self.answers[index];
        ensure!(slot.is_none(), "request {index} was answered twice");
        // A copy: the message is a slice of a read buffer that many answers share.
        *slot = Some(Bytes::copy_from_slice(&message.payload));
        if self.requests[index].expected == Expected::Silence {
            return Ok(false);
        }
        self.pending -= 1;
        let latency = received.saturating_sub(self.due[index]);
        self.latencies_us
            .saturating_record(u64::try_from(latency.as_micros())?);
        Ok(true)
    }
}
