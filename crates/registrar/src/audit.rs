use leafgate_registry::{ChainError, DeviceStore, Epoch, FeedPosition, Head, StoreError};

const PAGE: usize = 1000;

/// A chain of events that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditReport {
    /// Which life of the feed this is.
    pub epoch: Epoch,
    /// The newest event that was checked. Whoever keeps it elsewhere can tell later whether the
    /// chain still passes through it.
    pub head: Head,
}

/// Walks the chain of events from the first to the one that was newest at the start, and checks
/// every link. It only reads.
///
/// # Errors
/// A link does not hold, events are missing at the end, or the store can't be read.
pub async fn verify_audit(store: &dyn DeviceStore) -> Result<AuditReport, VerifyAuditError> {
    let FeedPosition { epoch, seq, hash } = store.position().await?;
    let mut head = Head::GENESIS;
    while head.seq < seq {
        let page = store.events_after(head.seq, PAGE).await?;
        if page.is_empty() {
            return Err(VerifyAuditError::Truncated {
                newest: head.seq,
                expected: seq,
            });
        }
        for event in &page {
            head = head.follow(event)?;
            if head.seq == seq {
                break;
            }
        }
    }
    if head.hash != hash {
        return Err(VerifyAuditError::HeadDiffers { seq });
    }
    Ok(AuditReport { epoch, head })
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
    /// The store can't be read.
    #[error("the audit trail can't be read")]
    Store(#[from] StoreError),
}

impl From<ChainError> for VerifyAuditError {
    fn from(source: ChainError) -> Self {
        Self::Chain(source)
    }
}
