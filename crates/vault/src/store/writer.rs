use std::sync::Arc;
use std::time::Duration;

use leafgate_identity::UnixMs;
use leafgate_registry::{Change, StoreError};
use tokio::sync::{mpsc, oneshot, watch};

use super::registry::Registry;
use super::turn::{CommitResult, Turn};
use crate::failure::Failure;

/// How many commits may wait.
const MAX_WAITING: usize = 4096;

/// A turn that has this many changes takes no further commit.
const ENOUGH_CHANGES: usize = 1024;

/// After how long without work what could not be carried out is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The one writer of a process. Commits that wait while it writes share the next turn.
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
}

enum Job {
    Commit {
        changes: Vec<Change>,
        reply: oneshot::Sender<CommitResult>,
    },
    Forget {
        now: UnixMs,
        limit: usize,
        reply: oneshot::Sender<Result<usize, StoreError>>,
    },
}

impl Writer {
    pub(super) fn start(registry: Arc<Registry>, newest: watch::Sender<u64>) -> Self {
        let (jobs, waiting) = mpsc::channel(MAX_WAITING);
        tokio::spawn(run(registry, newest, waiting));
        Self { jobs }
    }

    pub(super) async fn commit(&self, changes: Vec<Change>) -> CommitResult {
        let (reply, result) = oneshot::channel();
        self.send(Job::Commit { changes, reply }).await?;
        result.await.map_err(|_| stopped())?
    }

    pub(super) async fn forget_expired(
        &self,
        now: UnixMs,
        limit: usize,
    ) -> Result<usize, StoreError> {
        let (reply, result) = oneshot::channel();
        self.send(Job::Forget { now, limit, reply }).await?;
        result.await.map_err(|_| stopped())?
    }

    async fn send(&self, job: Job) -> Result<(), StoreError> {
        self.jobs.send(job).await.map_err(|_| stopped())
    }
}

async fn run(
    registry: Arc<Registry>,
    newest: watch::Sender<u64>,
    mut waiting: mpsc::Receiver<Job>,
) {
    let mut tidy = true;
    let mut next = None;
    loop {
        let job = match next.take() {
            Some(job) => Some(job),
            None if tidy => waiting.recv().await,
            None => match tokio::time::timeout(RETRY_INTERVAL, waiting.recv()).await {
                Ok(job) => job,
                Err(_) => {
                    tidy = registry.journal.tidy().await.is_ok();
                    continue;
                }
            },
        };
        match job {
            None => return,
            Some(Job::Forget { now, limit, reply }) => {
                let result = registry.forget_expired(now, limit).await;
                // A caller that stopped waiting doesn't want the answer.
                let _ = reply.send(result.map_err(StoreError::from));
            }
            Some(Job::Commit { changes, reply }) => {
                let mut size = changes.len();
                let (mut commits, mut replies) = (vec![changes], vec![reply]);
                while size < ENOUGH_CHANGES {
                    match waiting.try_recv() {
                        Ok(Job::Commit { changes, reply }) => {
                            size += changes.len();
                            commits.push(changes);
                            replies.push(reply);
                        }
                        Ok(other) => {
                            next = Some(other);
                            break;
                        }
                        Err(_) => break,
                    }
                }
                let results = write(&registry, &newest, &commits).await;
                for (reply, result) in replies.into_iter().zip(results) {
                    let _ = reply.send(result);
                }
            }
        }
        tidy = true;
        if next.is_none() && waiting.is_empty() {
            tidy = registry.journal.tidy().await.is_ok();
        }
    }
}

async fn write(
    registry: &Registry,
    newest: &watch::Sender<u64>,
    commits: &[Vec<Change>],
) -> Vec<CommitResult> {
    match registry.turn(commits).await {
        Ok(turn) => told(newest, turn),
        // A record that can't be read is the business of those alone who need it.
        Err(Failure::Record(_)) if commits.len() > 1 => {
            let mut results = Vec::with_capacity(commits.len());
            for commit in commits.chunks(1) {
                match registry.turn(commit).await {
                    Ok(turn) => results.extend(told(newest, turn)),
                    Err(failure) => results.push(Err(StoreError::from(failure).into())),
                }
            }
            results
        }
        Err(failure) => {
            let error = StoreError::from(failure);
            commits.iter().map(|_| Err(error.clone().into())).collect()
        }
    }
}

/// Wakes those who wait for events.
fn told(newest: &watch::Sender<u64>, turn: Turn) -> Vec<CommitResult> {
    newest.send_if_modified(|newest| {
        let is_new = turn.seq > *newest;
        *newest = turn.seq.max(*newest);
        is_new
    });
    turn.results
}

fn stopped() -> StoreError {
    StoreError::Unavailable {
        what: "the registry's writer has stopped; restart this process".to_owned(),
        source: None,
    }
}
