use std::future::Future;

use leafgate_registry::{Change, CommitError, FeedPosition, StoreError};
use tokio::sync::{mpsc, oneshot};

/// How many commits may wait.
const MAX_WAITING: usize = 4096;

/// A transaction that has this many changes takes no further commit.
const ENOUGH_CHANGES: usize = 8192;

pub(crate) type CommitResult = Result<FeedPosition, CommitError>;

/// A connection for writing.
pub(crate) trait Transact: Send + 'static {
    /// Writes commits in one transaction, and gives the result of each, in their order; an error is that of all of them.
    fn transact(
        &mut self,
        commits: &[Vec<Change>],
    ) -> impl Future<Output = Result<Vec<CommitResult>, StoreError>> + Send;
}

/// The one writer of a process: a task with a connection of its own. Commits that wait while it writes share the next
/// transaction, and with it the price of making it durable.
pub(crate) struct Writer {
    jobs: mpsc::Sender<Job>,
}

struct Job {
    changes: Vec<Change>,
    reply: oneshot::Sender<CommitResult>,
}

impl Writer {
    pub(crate) fn start(connection: impl Transact) -> Self {
        let (jobs, waiting) = mpsc::channel(MAX_WAITING);
        tokio::spawn(run(connection, waiting));
        Self { jobs }
    }

    pub(crate) async fn commit(&self, changes: Vec<Change>) -> CommitResult {
        let stopped = || StoreError::Unavailable {
            what: "the registry's writer has stopped; restart this process".to_owned(),
            source: None,
        };
        let (reply, result) = oneshot::channel();
        self.jobs
            .send(Job { changes, reply })
            .await
            .map_err(|_| stopped())?;
        result.await.map_err(|_| stopped())?
    }
}

async fn run(mut connection: impl Transact, mut waiting: mpsc::Receiver<Job>) {
    while let Some(Job { changes, reply }) = waiting.recv().await {
        let mut size = changes.len();
        let (mut commits, mut replies) = (vec![changes], vec![reply]);
        while size < ENOUGH_CHANGES
            && let Ok(Job { changes, reply }) = waiting.try_recv()
        {
            size += changes.len();
            commits.push(changes);
            replies.push(reply);
        }
        let results = write(&mut connection, &commits).await;
        // Before their results are known, so that callers hold their changes alone.
        drop(commits);
        for (reply, result) in replies.into_iter().zip(results) {
            // A caller that stopped waiting doesn't want the answer.
            let _ = reply.send(result);
        }
    }
}

async fn write(connection: &mut impl Transact, commits: &[Vec<Change>]) -> Vec<CommitResult> {
    match connection.transact(commits).await {
        Ok(results) => results,
        // A record that can't be read is the business of those alone who need it.
        Err(StoreError::Corrupt { .. }) if commits.len() > 1 => {
            let mut results = Vec::with_capacity(commits.len());
            for commit in commits.chunks(1) {
                match connection.transact(commit).await {
                    Ok(result) => results.extend(result),
                    Err(error) => results.push(Err(error.into())),
                }
            }
            results
        }
        Err(error) => commits.iter().map(|_| Err(error.clone().into())).collect(),
    }
}
