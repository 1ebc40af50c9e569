use std::sync::Arc;

use leafgate_registry::{Change, CommitError, FeedPosition, StoreError};
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{mpsc, oneshot};

use super::connect::{Access, Database};
use super::error::{Failure, is_busy};
use super::watch::Watch;
use super::write;
use crate::ledger::Needs;

/// How many commits may wait.
const MAX_WAITING: usize = 4096;

/// How many changes one transaction takes before the next begins; a larger commit gets one of its own.
const MAX_GROUP: usize = 4096;

/// How often a transaction is tried when another process keeps the lock, each time for as long as the busy timeout.
const ATTEMPTS: u32 = 3;

/// The one writer of a process: a task with a connection of its own. Commits that wait while it writes share the next
/// transaction, and with it the price of making it durable.
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
}

type CommitResult = Result<FeedPosition, CommitError>;

struct Job {
    changes: Vec<Change>,
    reply: oneshot::Sender<CommitResult>,
}

impl Writer {
    pub(super) fn start(
        database: Database,
        connection: SqliteConnection,
        watch: Arc<Watch>,
    ) -> Self {
        let (jobs, waiting) = mpsc::channel(MAX_WAITING);
        tokio::spawn(
            Task {
                database,
                connection: Some(connection),
                watch,
            }
            .run(waiting),
        );
        Self { jobs }
    }

    pub(super) async fn commit(&self, changes: Vec<Change>) -> CommitResult {
        let stopped = || StoreError::Unavailable {
            what: "the registry's writer has stopped".to_owned(),
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

struct Task {
    database: Database,
    /// None after a failure, until the next transaction.
    connection: Option<SqliteConnection>,
    watch: Arc<Watch>,
}

impl Task {
    async fn run(mut self, mut waiting: mpsc::Receiver<Job>) {
        while let Some(first) = waiting.recv().await {
            let mut size = first.changes.len();
            let mut jobs = vec![first];
            while size < MAX_GROUP
                && let Ok(job) = waiting.try_recv()
            {
                size += job.changes.len();
                jobs.push(job);
            }
            self.write(jobs).await;
        }
    }

    async fn write(&mut self, jobs: Vec<Job>) {
        let results = match self.transact(&jobs).await {
            Ok(results) => results,
            // A record that can't be read is the business of those alone who need it.
            Err(StoreError::Corrupt { .. }) if jobs.len() > 1 => self.write_each(&jobs).await,
            Err(error) => jobs.iter().map(|_| Err(error.clone().into())).collect(),
        };
        for (job, result) in jobs.into_iter().zip(results) {
            // A caller that no longer waits doesn't want the answer.
            let _ = job.reply.send(result);
        }
    }

    async fn write_each(&mut self, jobs: &[Job]) -> Vec<CommitResult> {
        let mut results = Vec::with_capacity(jobs.len());
        for job in jobs {
            match self.transact(std::slice::from_ref(job)).await {
                Ok(result) => results.extend(result),
                Err(error) => results.push(Err(error.into())),
            }
        }
        results
    }

    /// The result of each job, or the failure of all of them.
    async fn transact(&mut self, jobs: &[Job]) -> Result<Vec<CommitResult>, StoreError> {
        self.database.check_present()?;
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.database.connect(Access::Write).await?,
        };
        let mut attempt = 1;
        let results = loop {
            match group(&mut connection, jobs).await {
                // Nothing was written then.
                Err(Failure::Sql(error)) if is_busy(&error) && attempt < ATTEMPTS => attempt += 1,
                result => break result.map_err(|failure| self.database.failed(failure))?,
            }
        };
        // What was written to a file that is gone by now is not durable.
        self.database.check_present()?;
        self.connection = Some(connection);
        self.watch.notice();
        Ok(results)
    }
}

/// Writes a group of commits in one transaction.
async fn group(
    connection: &mut SqliteConnection,
    jobs: &[Job],
) -> Result<Vec<CommitResult>, Failure> {
    // Takes the write lock at once: a transaction that began by reading could lose what it read to another writer.
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let needs = Needs::of(jobs.iter().flat_map(|job| &job.changes));
    let mut ledger = write::read_ledger(&mut transaction, &needs).await?;
    let results = jobs.iter().map(|job| ledger.commit(&job.changes)).collect();
    if ledger.events().is_empty() {
        transaction.rollback().await?;
    } else {
        write::write_ledger(&mut transaction, &ledger).await?;
        transaction.commit().await?;
    }
    Ok(results)
}
