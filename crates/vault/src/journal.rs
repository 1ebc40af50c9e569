//! Several documents written as one.
//!
//! KV v2 compares the version of one document when it writes it, and knows no transaction over several. This is one.
//!
//! `leafgate/head` holds the newest position of the feed and the writes of the newest commit, each with the version that
//! its document had when the commit was judged. A commit is one write of the head, and by check-and-set only one writer
//! can make the next: **that write is the commit**. What came before it (parts of a large commit, below
//! `leafgate/commits`) nobody looks at without a head that names it. What comes after it can be done by anybody, any
//! number of times, in any order: a write of the commit is carried out by check-and-set on the version that it names, so
//! that it takes effect once, and never over anything newer, however late.
//!
//! - **Readers** read the head first, and take from it the writes that are not carried out yet: where a document still
//!   has the version that a write of the head names, its content is what that write says. So a commit is there for
//!   everybody at once, whether or not its writer lived to carry it out; readers need no right to write.
//! - **Writers** carry out what the head holds before they judge anything, and commit on the very head that they judged
//!   by. Whoever loses the race for the head judges anew.
//! - **Crashes**: before the write of the head nothing has happened; parts that nobody will name are swept. After it
//!   everything has: the next writer carries out the rest. An answer that was lost is looked up: a commit has a random
//!   name, which stands in the head and in each of its events.
//! - Whoever edits a document by hand while a write for it is under way wins over that write.
//! - **Removals** know no check-and-set in Vault, so only what has expired is removed: a writer that slept through one can
//!   bring back what has expired, or remove what somebody put in its place meanwhile, and nothing else.

mod commit;
mod head;
mod pending;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use leafgate_registry::{EventHash, FeedPosition};

pub(crate) use self::commit::{CommitName, Outcome};
use self::head::{Head, Pending as StoredPending};
pub(crate) use self::pending::{Pending, Write};
use crate::failure::Failure;
use crate::kv::{Doc, Kv};
use crate::layout;

/// How often a head is read anew because its parts are gone meanwhile.
const ATTEMPTS: u32 = 20;

/// Reads and writes the registry as a whole.
pub(crate) struct Journal {
    pub(crate) kv: Kv,
    /// The parts that were read last, with the name of their commit.
    parts: Mutex<Option<(String, Arc<Pending>)>>,
    /// The newest head whose writes are known to be carried out.
    settled: AtomicU64,
}

/// The registry as it was when a head was read.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    /// The version of the head; 0 where there is none yet.
    turn: u64,
    pub(crate) position: FeedPosition,
    /// The name of the newest commit.
    commit: String,
    /// In how many parts its writes are, if they don't stand in the head.
    parts: usize,
    pending: Arc<Pending>,
}

impl Journal {
    pub(crate) fn new(kv: Kv) -> Self {
        Self {
            kv,
            parts: Mutex::new(None),
            settled: AtomicU64::new(0),
        }
    }

    /// Reads the head.
    pub(crate) async fn snapshot(&self) -> Result<Snapshot, Failure> {
        for _ in 0..ATTEMPTS {
            let doc = self.kv.read(layout::HEAD).await?;
            let Some(head) = Head::of(&self.kv, &doc)? else {
                return self.before_the_first_head(&doc).await;
            };
            let (parts, pending) = match head.pending {
                StoredPending::None => (0, Arc::default()),
                StoredPending::Writes(writes) => (0, Arc::new(Pending::new(writes))),
                StoredPending::Parts(count) => match self.parts(&head.commit, count).await? {
                    Some(pending) => (count, pending),
                    // They were carried out and removed since the head was read.
                    None => continue,
                },
            };
            return Ok(Snapshot {
                turn: doc.version,
                position: head.position,
                commit: head.commit,
                parts,
                pending,
            });
        }
        Err(Failure::Record(format!(
            "{} names parts of a commit that are gone from {}",
            self.kv.name(layout::HEAD),
            self.kv.name(layout::COMMITS)
        )))
    }

    /// Reads a document as it is in a snapshot, or newer.
    pub(crate) async fn read(&self, snapshot: &Snapshot, path: &str) -> Result<Doc, Failure> {
        Ok(snapshot.pending.overlay(path, self.kv.read(path).await?))
    }

    /// The names in a folder as they are in a snapshot, or newer; names of documents that are gone may be among them.
    pub(crate) async fn list(
        &self,
        snapshot: &Snapshot,
        folder: &str,
    ) -> Result<Vec<String>, Failure> {
        let mut names = self.kv.list(folder).await?;
        names.extend(snapshot.pending.names_in(folder));
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// A registry that no leafgate has written to yet has no events.
    async fn before_the_first_head(&self, doc: &Doc) -> Result<Snapshot, Failure> {
        let head = self.kv.name(layout::HEAD);
        if doc.version > 0 {
            return Err(Failure::Record(format!(
                "{head} was deleted; bring it back: vault kv undelete -versions={} {head}",
                doc.version
            )));
        }
        if self.kv.read(&layout::event(1)).await?.version > 0 {
            return Err(Failure::Record(format!(
                "{head} is gone, but there are events: restore it from a backup of Vault"
            )));
        }
        Ok(Snapshot {
            turn: 0,
            position: FeedPosition {
                epoch: "0".repeat(32).parse().expect("32 hex digits"),
                seq: 0,
                hash: EventHash::ZERO,
            },
            commit: String::new(),
            parts: 0,
            pending: Arc::default(),
        })
    }

    /// The writes of a commit that are in parts; none if a part is gone.
    async fn parts(&self, commit: &str, count: usize) -> Result<Option<Arc<Pending>>, Failure> {
        if let Some(pending) = self.remembered(commit) {
            return Ok(Some(pending));
        }
        let Some(writes) = head::read_parts(&self.kv, commit, count).await? else {
            return Ok(None);
        };
        let pending = Arc::new(Pending::new(writes));
        self.remember(commit, &pending);
        Ok(Some(pending))
    }

    fn remembered(&self, commit: &str) -> Option<Arc<Pending>> {
        let known = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let of_commit = known.as_ref().filter(|(name, _)| name == commit);
        of_commit.map(|(_, pending)| Arc::clone(pending))
    }

    fn remember(&self, commit: &str, pending: &Arc<Pending>) {
        let mut known = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some((commit.to_owned(), Arc::clone(pending)));
    }

    fn is_settled(&self, snapshot: &Snapshot) -> bool {
        snapshot.pending.is_empty() || self.settled.load(Ordering::Acquire) >= snapshot.turn
    }

    fn settle(&self, turn: u64) {
        self.settled.fetch_max(turn, Ordering::AcqRel);
    }
}
