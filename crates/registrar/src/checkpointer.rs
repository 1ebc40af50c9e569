use std::fmt;
use std::sync::Arc;

use leafgate_identity::UnixMs;
use leafgate_registry::{DeviceStore, Head};
use tokio::task::spawn_blocking;

use crate::audit::{VerifyAuditError, follow};
use crate::checkpoints::{
    Checkpoint, CheckpointError, CheckpointFolder, CheckpointKey, SignedCheckpoint,
};

/// Signs what the newest event is, as long as it continues what was signed before.
pub struct Checkpointer {
    store: Arc<dyn DeviceStore>,
    key: Arc<CheckpointKey>,
    folder: CheckpointFolder,
    last: Option<Checkpoint>,
}

/// Why there is no newer checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum AdvanceError {
    /// The audit trail does not continue the last one, or can't be read.
    #[error("the audit trail is not signed")]
    Trail(#[from] VerifyAuditError),
    /// It can't be kept.
    #[error("the audit trail is not signed")]
    Keep(#[from] CheckpointError),
}

impl fmt::Debug for Checkpointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpointer")
            .field("folder", &self.folder)
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}

impl Checkpointer {
    /// Goes on from the newest checkpoint of the folder, which is made where there is none.
    ///
    /// # Errors
    /// [`CheckpointError`]; among them a folder that holds what this key did not sign.
    pub fn open(
        store: Arc<dyn DeviceStore>,
        key: CheckpointKey,
        folder: CheckpointFolder,
    ) -> Result<Self, CheckpointError> {
        folder.prepare(key.public_key())?;
        let checkpoints = folder.read(key.public_key())?;
        let newest = checkpoints
            .into_iter()
            .map(|(checkpoint, _)| checkpoint)
            .max_by_key(|checkpoint| checkpoint.at);
        Ok(Self {
            store,
            key: Arc::new(key),
            folder,
            last: newest,
        })
    }

    /// Signs and keeps what the newest event is, if it is another one than last time. What was written since then is
    /// checked first, in a new epoch all of it: a chain that was rewritten is not signed.
    ///
    /// # Errors
    /// [`AdvanceError`]
    pub async fn advance(&mut self, at: UnixMs) -> Result<Option<SignedCheckpoint>, AdvanceError> {
        let newest = self
            .store
            .position()
            .await
            .map_err(VerifyAuditError::from)?;
        if newest.seq == 0 || self.last.is_some_and(|last| last.position() == newest) {
            return Ok(None);
        }
        let of_epoch = self.last.filter(|last| last.epoch == newest.epoch);
        let begin = of_epoch.map_or(Head::GENESIS, |last| last.head);
        if begin.seq > newest.seq {
            return Err(VerifyAuditError::Truncated {
                newest: newest.seq,
                expected: begin.seq,
            }
            .into());
        }
        let head = follow(&*self.store, begin, &newest, |_, _| Ok(())).await?;
        let checkpoint = Checkpoint {
            epoch: newest.epoch,
            head,
            at,
        };
        let (key, folder) = (Arc::clone(&self.key), self.folder.clone());
        let kept = spawn_blocking(move || {
            let signed = key.sign(&checkpoint);
            folder.keep(&signed).map(|()| signed)
        });
        let signed = kept.await.expect("signing does not panic")?;
        self.last = Some(checkpoint);
        Ok(Some(signed))
    }
}
