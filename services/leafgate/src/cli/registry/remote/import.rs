//! An import over one request, or as many as it takes: lines without a result are sent again.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use leafgate_api::{ImportResult, LineProblem, ProblemType};
use reqwest::Body;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};

use super::RemoteRegistry;
use super::access::Patience;
use super::bulk::Answer;
use super::failure::Failure;
use crate::cli::error::{CliError, Exit};
use crate::cli::registry::{Line, Results};

/// Lines that are sent together, where so many are there.
const TOGETHER: usize = 256;

/// Sends lines as they come, and gives their results as they come.
pub(super) fn import(
    registry: &RemoteRegistry,
    lines: BoxStream<'static, Line>,
) -> Results<ImportResult> {
    let importing = Importing {
        registry: registry.clone(),
        source: Arc::new(tokio::sync::Mutex::new(lines.fuse().boxed())),
        queue: Arc::default(),
        answer: None,
        begun: false,
        patience: Patience::default(),
    };
    let results = stream::unfold(Some(importing), |importing| async {
        let mut importing = importing?;
        match importing.next().await.transpose()? {
            Ok(result) => Some((Ok(result), Some(importing))),
            Err(error) => Some((Err(importing.told(error)), None)),
        }
    });
    results.boxed()
}

struct Importing {
    registry: RemoteRegistry,
    source: Arc<tokio::sync::Mutex<BoxStream<'static, Line>>>,
    queue: Arc<Mutex<Queue>>,
    answer: Option<Answer<ImportResult>>,
    /// Whether a request was ever answered.
    begun: bool,
    patience: Patience,
}

/// Lines that were taken from the source and have no result.
#[derive(Default)]
struct Queue {
    /// The number of the request that sends: an older one sends nothing more.
    request: u64,
    unanswered: VecDeque<Line>,
    /// How many of them the request has sent.
    sent: usize,
    /// Whether the source has ended.
    ended: bool,
}

impl Importing {
    async fn next(&mut self) -> Result<Option<ImportResult>, CliError> {
        loop {
            let Some(answer) = &mut self.answer else {
                if lock(&self.queue).is_done() {
                    return Ok(None);
                }
                if let Err(failure) = self.send().await {
                    // One that was there once comes back, such as after a restart.
                    if failure.wait.is_none() && !self.begun {
                        return Err(failure.error);
                    }
                    self.patience.wait(failure.error).await?;
                }
                continue;
            };
            match answer.next().await {
                Ok(Some(result)) => {
                    if let Some(result) = self.belonging(result) {
                        self.patience = Patience::default();
                        return Ok(Some(result));
                    }
                }
                Ok(None) => {
                    self.answer = None;
                    if !lock(&self.queue).is_done() {
                        let error = "the registry's answer ended before the lines did";
                        let error = CliError::new(Exit::Unreachable, error);
                        self.patience.wait(error).await?;
                    }
                }
                Err(error) => {
                    self.answer = None;
                    self.patience.wait(error).await?;
                }
            }
        }
    }

    async fn send(&mut self) -> Result<(), Failure> {
        let access = &self.registry.access;
        let body = self.body().ready_chunks(TOGETHER).map(|lines| {
            let lines = lines
                .into_iter()
                .flat_map(|line| [line.text, "\n".to_owned()]);
            Ok::<_, Infallible>(lines.collect::<String>())
        });
        let request = access
            .post(&["bulk", "import"])
            .header(AUTHORIZATION, self.registry.authorization.clone())
            .header(CONTENT_TYPE, "application/x-ndjson")
            .body(Body::wrap_stream(body));
        match request.send().await {
            Ok(response) if response.status().is_success() => {
                self.answer = Some(Answer::new(response));
                self.begun = true;
                Ok(())
            }
            Ok(response) => Err(Failure::answered(&access.name(), response).await),
            Err(error) => Err(Failure::unanswered(&access.name(), error)),
        }
    }

    /// The lines of a request: those that have no result, then the others.
    fn body(&self) -> impl Stream<Item = Line> + Send + 'static {
        let (source, queue) = (Arc::clone(&self.source), Arc::clone(&self.queue));
        let request = lock(&queue).begin();
        let state = (source, queue);
        stream::unfold(state, move |(source, queue)| async move {
            let resend = lock(&queue).resend(request);
            match resend {
                Resend::Line(line) => return Some((line, (source, queue))),
                Resend::Outdated => return None,
                Resend::Nothing => {}
            }
            let next = source.lock().await.next().await;
            // What was taken stays in the queue, whatever becomes of the request.
            let line = lock(&queue).take(request, next)?;
            Some((line, (source, queue)))
        })
    }

    /// The result of the first line that has none.
    fn belonging(&mut self, mut result: ImportResult) -> Option<ImportResult> {
        let problem = result.problem.as_ref().and_then(LineProblem::problem_type);
        if problem == Some(ProblemType::RequestTimeout) {
            // The service waits for lines no longer than its time allows; the source may take longer.
            self.patience = Patience::default();
            return None;
        }
        result.line = lock(&self.queue).answered()?.number;
        Some(result)
    }

    fn told(&self, error: CliError) -> CliError {
        let first = lock(&self.queue).unanswered.front().map(|line| line.number);
        match first {
            Some(line) => error.hint(format!(
                "from line {line} on nothing is known; import the same again: what is registered is left as it is"
            )),
            None => error,
        }
    }
}

enum Resend {
    Line(Line),
    Nothing,
    Outdated,
}

impl Queue {
    /// Begins another request, which sends everything that has no result.
    fn begin(&mut self) -> u64 {
        self.request += 1;
        self.sent = 0;
        self.request
    }

    fn resend(&mut self, request: u64) -> Resend {
        if self.request != request {
            return Resend::Outdated;
        }
        match self.unanswered.get(self.sent) {
            Some(line) => {
                self.sent += 1;
                Resend::Line(line.clone())
            }
            None => Resend::Nothing,
        }
    }

    /// Notes what came from the source, and gives it to the request if that still sends.
    fn take(&mut self, request: u64, next: Option<Line>) -> Option<Line> {
        let Some(line) = next else {
            self.ended = true;
            return None;
        };
        self.unanswered.push_back(line.clone());
        if self.request != request {
            return None;
        }
        self.sent += 1;
        Some(line)
    }

    fn answered(&mut self) -> Option<Line> {
        let line = self.unanswered.pop_front()?;
        self.sent = self.sent.saturating_sub(1);
        Some(line)
    }

    fn is_done(&self) -> bool {
        self.ended && self.unanswered.is_empty()
    }
}

fn lock(queue: &Mutex<Queue>) -> std::sync::MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}
