use std::time::Duration;

use leafgate_admission::{Denial, Reason};
use leafgate_identity::DeviceIdentity;
use leafgate_nats_jwt::AuthorizationRequest;
use leafgate_runtime::{Clock, LogLine, LogWriter};
use tracing::Level;

use crate::decider::{Allowed, Answer, Case};
use crate::metrics::Metrics;

/// Writes one line a decision, and counts it. Lines are collected and written together: see
/// [`flush`](Self::flush).
pub(crate) struct DecisionLog {
    writer: LogWriter,
    lines: String,
}

impl DecisionLog {
    pub(crate) fn new(writer: LogWriter) -> Self {
        Self {
            writer,
            lines: String::new(),
        }
    }

    /// A verified request was decided.
    pub(crate) fn decided(
        &mut self,
        case: &Case,
        answer: &Answer,
        metrics: &Metrics,
        clock: &dyn Clock,
    ) {
        let took = clock.monotonic().saturating_sub(case.received);
        match &answer.outcome {
            Ok(allowed) => {
                metrics.allowed(took);
                self.allowed(case, answer.identity.as_deref(), allowed, took, clock);
            }
            Err(denial) => {
                metrics.denied(denial.reason, took);
                self.denied(Some(&case.request), answer, denial, took, clock);
            }
        }
    }

    /// A message was dropped before it was known to be a request.
    pub(crate) fn dropped(
        &mut self,
        denial: Denial,
        received: Duration,
        metrics: &Metrics,
        clock: &dyn Clock,
    ) {
        let took = clock.monotonic().saturating_sub(received);
        metrics.denied(denial.reason, took);
        let answer = Answer::silent(denial);
        if let Err(denial) = &answer.outcome {
            self.denied(None, &answer, denial, took, clock);
        }
    }

    /// Hands the collected lines over.
    pub(crate) fn flush(&mut self) {
        if !self.lines.is_empty() {
            self.writer.write(&self.lines);
            self.lines.clear();
        }
    }

    fn allowed(
        &mut self,
        case: &Case,
        identity: Option<&DeviceIdentity>,
        allowed: &Allowed,
        took: Duration,
        clock: &dyn Clock,
    ) {
        let mut line = self.begin(Level::INFO, "decision allowed", clock);
        if let Some(identity) = identity {
            line.text("device", identity.id.as_str());
            line.text("policy", &allowed.policy);
        }
        add_place(&mut line, &case.request);
        if let Some(identity) = identity {
            line.text("serial", &identity.serial.to_string());
        }
        line.text("source", allowed.source.as_str());
        line.number("micros", micros(took));
        line.end();
    }

    fn denied(
        &mut self,
        request: Option<&AuthorizationRequest>,
        answer: &Answer,
        denial: &Denial,
        took: Duration,
        clock: &dyn Clock,
    ) {
        let mut line = self.begin(level_of(denial.reason), "decision denied", clock);
        line.text("reason", denial.reason.as_str());
        if let Some(identity) = &answer.identity {
            line.text("device", identity.id.as_str());
        }
        if let Some(request) = request {
            add_place(&mut line, request);
            line.text("client", &request.client.host);
        }
        if let Some(identity) = &answer.identity {
            line.text("serial", &identity.serial.to_string());
        }
        if !denial.detail.is_empty() {
            line.text("detail", &denial.detail);
        }
        line.number("micros", micros(took));
        line.end();
    }

    fn begin(&mut self, level: Level, message: &str, clock: &dyn Clock) -> LogLine<'_> {
        let format = self.writer.format();
        LogLine::begin(&mut self.lines, format, clock.now(), level, message)
    }
}

/// What the server says of itself and of the connection; its words, already verified as its own.
fn add_place(line: &mut LogLine<'_>, request: &AuthorizationRequest) {
    line.text("server", &request.server.name);
    line.number("cid", request.client.id);
}

fn level_of(reason: Reason) -> Level {
    match reason {
        Reason::RegistryUnavailable => Level::ERROR,
        _ => Level::WARN,
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
