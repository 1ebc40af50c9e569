use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::stream;
use leafgate_api::{LineProblem, ProblemType};
use serde::Serialize;
use tokio::sync::mpsc;

use super::NDJSON;
use crate::app::App;
use crate::authenticate::Caller;
use crate::problem::{Problem, chain};

/// How many pieces of an answer may wait to be sent.
const WAITING: usize = 2;
/// After which time a store is asked again that could not be reached.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// The lines of an answer, written while they are sent. Without an explicit end the connection breaks off: whoever reads
/// must be able to tell a whole answer from a part of one.
pub(super) struct Answer {
    app: Arc<App>,
    caller: Caller,
    pieces: mpsc::Sender<Piece>,
    patience: Duration,
}

enum Piece {
    Lines(Bytes),
    End,
}

/// The answer can't go on: its reader is gone or too slow, lost the right to it, or the service ends.
#[derive(Debug, thiserror::Error)]
#[error("the answer broke off")]
pub(super) struct BrokenOff;

/// Answers with the lines that `write` writes. Nothing is written faster than it is read.
pub(super) fn answer<F>(app: Arc<App>, caller: Caller, write: impl FnOnce(Answer) -> F) -> Response
where
    F: Future<Output = Result<(), BrokenOff>> + Send + 'static,
{
    let (pieces, reading) = mpsc::channel(WAITING);
    let shutdown = app.shutdown.clone();
    let writing = write(Answer {
        patience: app.limits.body_timeout(),
        app,
        caller,
        pieces,
    });
    tokio::spawn(async move {
        if !matches!(shutdown.run_until_cancelled(writing).await, Some(Ok(()))) {
            tracing::info!("an answer about many devices broke off");
        }
    });
    let body = stream::unfold(reading, |mut reading| async {
        match reading.recv().await {
            Some(Piece::Lines(bytes)) => Some((Ok(bytes), reading)),
            Some(Piece::End) => None,
            None => Some((Err(BrokenOff), reading)),
        }
    });
    let headers = [
        (header::CONTENT_TYPE, NDJSON),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, Body::from_stream(body)).into_response()
}

impl Answer {
    /// Sends a line for each of these; asks before whether the caller's key still counts.
    pub(super) async fn send<T: Serialize>(
        &self,
        lines: impl IntoIterator<Item = T>,
    ) -> Result<(), BrokenOff> {
        let mut bytes = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut bytes, &line).map_err(|_| BrokenOff)?;
            bytes.push(b'\n');
        }
        if self.pieces.is_closed() {
            return Err(BrokenOff);
        }
        self.check_caller().await?;
        if bytes.is_empty() {
            return Ok(());
        }
        self.pass(Piece::Lines(bytes.into())).await
    }

    /// Says that nothing more comes.
    pub(super) async fn end(self) -> Result<(), BrokenOff> {
        self.pass(Piece::End).await
    }

    /// That the caller's key still counts. A store that can't tell is asked again for as long as a slow reader is waited
    /// for: meanwhile nothing is answered, and no more is begun than waits.
    async fn check_caller(&self) -> Result<(), BrokenOff> {
        let asking = async {
            loop {
                match self.app.still_counts(&self.caller).await {
                    Ok(()) => return Ok(()),
                    Err(problem) if problem.kind == ProblemType::RegistryUnavailable => {
                        tokio::time::sleep(ASK_AGAIN).await;
                    }
                    Err(_) => return Err(BrokenOff),
                }
            }
        };
        let asked = tokio::time::timeout(self.patience, asking).await;
        asked.unwrap_or(Err(BrokenOff))
    }

    async fn pass(&self, piece: Piece) -> Result<(), BrokenOff> {
        match tokio::time::timeout(self.patience, self.pieces.send(piece)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(BrokenOff),
        }
    }
}

/// A problem as a line tells it. What lies behind it is logged.
pub(super) fn line_problem(problem: Problem) -> LineProblem {
    if let Some(source) = &problem.source {
        tracing::error!(
            error = chain(&**source),
            problem = problem.kind.as_str(),
            "one of many failed"
        );
    }
    LineProblem::new(problem.kind, problem.detail)
}
