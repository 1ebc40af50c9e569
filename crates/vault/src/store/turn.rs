use std::time::Duration;

use aws_lc_rs::rand;
use leafgate_identity::UnixMs;
use leafgate_registry::{Change, CommitError, DocumentKind, DocumentName, FeedPosition};
use serde::Deserialize;

use super::draft::Draft;
use super::registry::Registry;
use crate::failure::Failure;
use crate::journal::{CommitName, Outcome, Snapshot, Write};
use crate::kv::all;
use crate::layout;
use crate::records;

pub(super) type CommitResult = Result<FeedPosition, CommitError>;

/// How often changes are judged anew because somebody else committed meanwhile.
const ATTEMPTS: u32 = 200;

/// The longest time to stand back, so that others get done.
const MAX_PAUSE_MS: u64 = 64;

/// What became of some commits.
pub(super) struct Turn {
    /// Of each commit, in their order.
    pub(super) results: Vec<CommitResult>,
    /// The number of the newest event.
    pub(super) seq: u64,
}

/// A document that ends, as [`layout::EXPIRING`] lists it.
#[derive(Deserialize)]
struct Expiring {
    kind: DocumentKind,
    name: String,
}

impl Registry {
    /// Writes some commits as one. An error is that of all of them.
    pub(super) async fn turn(&self, commits: &[Vec<Change>]) -> Result<Turn, Failure> {
        for attempt in 0..ATTEMPTS {
            let base = self.journal.begin().await?;
            let changes: Vec<_> = commits.iter().flatten().collect();
            let draft = Draft::read(self, &base, &changes).await?;
            let mut ledger = draft.ledger(self, base.position)?;
            let results = commits.iter().map(|commit| ledger.commit(commit)).collect();
            let turn = Turn {
                results,
                seq: ledger.position().seq,
            };
            if ledger.events().is_empty() {
                return Ok(turn);
            }
            let name = CommitName::generate(&base);
            let writes = draft.writes(self, &ledger, &name)?;
            if self.commit(&base, &name, ledger.position(), writes).await? {
                return Ok(turn);
            }
            stand_back(attempt).await;
        }
        Err(crowded())
    }

    /// Removes documents that ended by `now`, and says how many.
    pub(super) async fn forget_expired(&self, now: UnixMs, limit: usize) -> Result<usize, Failure> {
        for attempt in 0..ATTEMPTS {
            let base = self.journal.begin().await?;
            let (writes, count) = self.expired(&base, now, limit).await?;
            if writes.is_empty() {
                return Ok(0);
            }
            let name = CommitName::generate(&base);
            if self.commit(&base, &name, base.position, writes).await? {
                return Ok(count);
            }
            stand_back(attempt).await;
        }
        Err(crowded())
    }

    /// Commits and carries out; says whether it was the first.
    async fn commit(
        &self,
        base: &Snapshot,
        name: &CommitName,
        position: FeedPosition,
        writes: Vec<Write>,
    ) -> Result<bool, Failure> {
        let Outcome::Done(made) = self.journal.commit(base, name, position, writes).await? else {
            return Ok(false);
        };
        if let Err(failure) = self.journal.carry_out(&made).await {
            // It is committed: whoever writes next carries it out, and readers read it from the head.
            tracing::warn!(error = %failure, "a commit was not carried out to the end; trying again");
        }
        Ok(true)
    }

    /// The removals of up to `limit` documents, and how many those are.
    async fn expired(
        &self,
        base: &Snapshot,
        now: UnixMs,
        limit: usize,
    ) -> Result<(Vec<Write>, usize), Failure> {
        let names = self.journal.list(base, layout::EXPIRING).await?;
        let due = |name: &String| {
            layout::parse_expiring(name).is_some_and(|at| at <= layout::clamped(now))
        };
        let names: Vec<_> = names.into_iter().filter(due).collect();
        let (mut writes, mut count) = (Vec::new(), 0);
        let mut rest = names.as_slice();
        while count < limit && !rest.is_empty() {
            let (some, others) = rest.split_at(rest.len().min(limit - count));
            let removals = some
                .iter()
                .map(async |name| self.removals(base, name, now).await);
            for removals in all(removals.collect()).await? {
                count += usize::from(removals.len() > 1);
                writes.extend(removals);
            }
            rest = others;
        }
        Ok((writes, count))
    }

    /// The removal of an entry of [`layout::EXPIRING`], and of its document, unless that was given another end.
    async fn removals(
        &self,
        base: &Snapshot,
        entry: &str,
        now: UnixMs,
    ) -> Result<Vec<Write>, Failure> {
        let path = format!("{}/{entry}", layout::EXPIRING);
        let doc = self.journal.read(base, &path).await?;
        let Some(data) = &doc.data else {
            return Ok(Vec::new());
        };
        let place = self.name(&path);
        let expiring: Expiring = records::parse(data, &place)?;
        let name = DocumentName::parse(&expiring.name)
            .map_err(|error| Failure::Record(format!("{place}: {error}")))?;
        let removal = |path: String, version| Write {
            path,
            version,
            data: None,
        };
        let mut removals = vec![removal(path, doc.version)];
        let path = layout::document(expiring.kind, &name);
        let doc = self.journal.read(base, &path).await?;
        if let Some(data) = &doc.data {
            let document = records::document(data, &self.name(&path))?;
            if document.expires_at.is_some_and(|at| at <= now) {
                removals.push(removal(path, doc.version));
            }
        }
        Ok(removals)
    }
}

/// Waits for a random time, the longer the more often somebody else was first.
#[expect(
    clippy::disallowed_methods,
    reason = "who stands back how long must differ between processes"
)]
async fn stand_back(attempt: u32) {
    let mut random = [0; 8];
    rand::fill(&mut random).expect("aws-lc aborts rather than give no randomness");
    let most = MAX_PAUSE_MS.min(2 << attempt.min(10));
    let pause = u64::from_le_bytes(random) % most;
    tokio::time::sleep(Duration::from_millis(pause)).await;
}

fn crowded() -> Failure {
    Failure::NotNow(format!(
        "others write to the registry so often that this process lost its turn {ATTEMPTS} times; try again"
    ))
}
