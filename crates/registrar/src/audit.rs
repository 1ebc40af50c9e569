use leafgate_identity::UnixMs;
use leafgate_registry::{
    Act, ChainError, Change, CommitError, DeviceStore, Epoch, Event, EventKind, FeedPosition, Head,
    StoreError,
};

use crate::checkpoints::Checkpoint;
use crate::error::RegistrarError;

const PAGE: usize = 1000;

/// A chain of events that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditReport {
    /// Which life of the feed this is.
    pub epoch: Epoch,
    /// The newest event that was checked. Whoever keeps it elsewhere can tell later whether the
    /// chain still passes through it.
    pub head: Head,
    /// How many signed checkpoints the chain passes through.
    pub checkpoints: usize,
    /// When an epoch was started, each with what was lost then.
    pub restores: Vec<Restore>,
}

/// A new epoch: somebody said that the registry was restored from a backup. Whoever doesn't know of it should ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restore {
    /// The event that started it.
    pub seq: u64,
    /// When.
    pub at: UnixMs,
    /// How many signed checkpoints of former epochs are of events that are gone.
    pub lost_checkpoints: usize,
}

/// Walks the chain of events from the first to the one that was newest at the start, and checks
/// every link. It only reads.
///
/// # Errors
/// A link does not hold, events are missing at the end, or the store can't be read.
pub async fn verify_audit(store: &dyn DeviceStore) -> Result<AuditReport, VerifyAuditError> {
    verify_audit_against(store, Vec::new()).await
}

/// The same, and that the chain passes through all of these checkpoints, whose signatures were verified. Those of a
/// former epoch may be missing from where a later one started.
///
/// # Errors
/// As [`verify_audit`]; and the chain does not pass through a checkpoint.
pub async fn verify_audit_against(
    store: &dyn DeviceStore,
    mut checkpoints: Vec<Checkpoint>,
) -> Result<AuditReport, VerifyAuditError> {
    let newest = store.position().await?;
    checkpoints.sort_by_key(|checkpoint| checkpoint.head.seq);
    let mut passing = Passing {
        newest,
        passed: 0,
        restores: Vec::new(),
        epochs: Vec::new(),
    };
    let mut rest = checkpoints.into_iter().peekable();
    let head = follow(store, Head::GENESIS, &newest, |event, head| {
        passing.note(event);
        while let Some(checkpoint) = rest.next_if(|checkpoint| checkpoint.head.seq <= event.seq) {
            passing.pass(&checkpoint, head)?;
        }
        Ok(())
    })
    .await?;
    for checkpoint in rest {
        passing.pass(&checkpoint, &head)?;
    }
    Ok(AuditReport {
        epoch: newest.epoch,
        head,
        checkpoints: passing.passed,
        restores: passing.restores,
    })
}

struct Passing {
    newest: FeedPosition,
    passed: usize,
    restores: Vec<Restore>,
    /// The epoch of each restore.
    epochs: Vec<String>,
}

impl Passing {
    fn note(&mut self, event: &Event) {
        if event.kind == EventKind::EpochStarted {
            let epoch = event.detail["epoch"].as_str().unwrap_or_default();
            self.epochs.push(epoch.to_owned());
            self.restores.push(Restore {
                seq: event.seq,
                at: event.at,
                lost_checkpoints: 0,
            });
        }
    }

    /// That a checkpoint is the chain's head as it was at its number, or at the end.
    fn pass(&mut self, checkpoint: &Checkpoint, head: &Head) -> Result<(), VerifyAuditError> {
        if checkpoint.head == *head {
            self.passed += 1;
            return Ok(());
        }
        let own = checkpoint.epoch.to_string();
        let later = self.epochs.iter().rposition(|epoch| *epoch != own);
        if let Some(restored) = later.filter(|_| checkpoint.epoch != self.newest.epoch) {
            self.restores[restored].lost_checkpoints += 1;
            return Ok(());
        }
        let Checkpoint {
            head: Head { seq, .. },
            at,
            ..
        } = *checkpoint;
        Err(if seq > head.seq {
            let newest = head.seq;
            VerifyAuditError::CutShort { newest, seq, at }
        } else {
            VerifyAuditError::CheckpointDiffers { seq, at }
        })
    }
}

/// Walks the chain from one head to a position, each event shown with the head that it makes.
pub(crate) async fn follow(
    store: &dyn DeviceStore,
    begin: Head,
    end: &FeedPosition,
    mut shown: impl FnMut(&Event, &Head) -> Result<(), VerifyAuditError> + Send,
) -> Result<Head, VerifyAuditError> {
    let mut head = begin;
    while head.seq < end.seq {
        let page = store.events_after(head.seq, PAGE).await?;
        if page.is_empty() {
            return Err(VerifyAuditError::Truncated {
                newest: head.seq,
                expected: end.seq,
            });
        }
        for event in &page {
            head = head.follow(event)?;
            shown(event, &head)?;
            if head.seq == end.seq {
                break;
            }
        }
    }
    if head.hash != end.hash {
        return Err(VerifyAuditError::HeadDiffers { seq: end.seq });
    }
    Ok(head)
}

/// Begins a new life of the feed, after the registry was restored from a backup: whoever followed the one before reads
/// everything anew.
///
/// # Errors
/// The store fails.
pub async fn start_epoch(
    store: &dyn DeviceStore,
    epoch: Epoch,
    act: &Act,
) -> Result<FeedPosition, RegistrarError> {
    let started = store.commit(&[Change::start_epoch(epoch, act)]).await;
    started.map_err(|error| match error {
        CommitError::Store(source) => RegistrarError::of_commit(source),
        refused => RegistrarError::Busy {
            what: refused.to_string(),
        },
    })
}

/// What is wrong with the chain of events.
#[derive(Debug, thiserror::Error)]
pub enum VerifyAuditError {
    /// A link does not hold.
    #[error("the audit trail is broken at event {}", .0.seq())]
    Chain(#[source] ChainError),
    /// Events are missing at the end.
    #[error("the audit trail ends at event {newest}, but {expected} events were recorded")]
    Truncated {
        /// The newest event that there is.
        newest: u64,
        /// The number of the newest event that was recorded.
        expected: u64,
    },
    /// The chain is sound in itself, but not the one that was recorded.
    #[error("the audit trail was rewritten: event {seq} is not the one recorded as the newest")]
    HeadDiffers {
        /// The number of that event.
        seq: u64,
    },
    /// The chain is sound in itself, but not the one that was signed.
    #[error(
        "the audit trail was rewritten: event {seq} is not the one that was signed as the newest at {at}"
    )]
    CheckpointDiffers {
        /// The number of that event.
        seq: u64,
        /// When it was signed.
        at: UnixMs,
    },
    /// The chain is sound in itself, but once had more events.
    #[error(
        "the audit trail was cut: it ends at event {newest}, but event {seq} was signed at {at}; after a restore from a backup `leafgate registry new-epoch` says so"
    )]
    CutShort {
        /// The newest event that there is.
        newest: u64,
        /// The number of the event that was signed.
        seq: u64,
        /// When it was signed.
        at: UnixMs,
    },
    /// The store can't be read.
    #[error("the audit trail can't be read")]
    Store(#[from] StoreError),
}

impl From<ChainError> for VerifyAuditError {
    fn from(source: ChainError) -> Self {
        Self::Chain(source)
    }
}
