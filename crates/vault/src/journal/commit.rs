use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use data_encoding::HEXLOWER;
use leafgate_registry::{Epoch, EventHash, FeedPosition};
use tokio::time::{sleep, timeout};

use super::head::{self, Head, Pending as StoredPending};
use super::{Journal, Pending, Snapshot, Write};
use crate::failure::Failure;
use crate::kv::all;
use crate::layout;

/// For how long it is asked what became of a commit whose answer was lost, and how often.
const PATIENCE: Duration = Duration::from_secs(15);
const ASK_INTERVAL: Duration = Duration::from_millis(250);

/// The name of a commit: the version of the head that it would replace, and 128 random bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommitName(String);

impl CommitName {
    #[expect(
        clippy::disallowed_methods,
        reason = "the name of a commit is random by definition"
    )]
    pub(crate) fn generate(base: &Snapshot) -> Self {
        let mut bytes = [0; 16];
        rand::fill(&mut bytes).expect("aws-lc aborts rather than give no randomness");
        Self(format!("{:020}-{}", base.turn, HEXLOWER.encode(&bytes)))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The version of the head that a commit of this name would replace.
    fn turn(name: &str) -> Option<u64> {
        name.split_once('-')?.0.parse().ok()
    }
}

/// What became of an attempt to commit.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is committed; this is what it made.
    Done(Snapshot),
    /// Somebody else committed first.
    Lost,
}

impl Journal {
    /// Makes the registry's first head, where there is none.
    pub(crate) async fn initialize(&self) -> Result<(), Failure> {
        let snapshot = self.snapshot().await?;
        if snapshot.turn > 0 {
            return self.sweep(&snapshot).await;
        }
        let head = Head {
            position: FeedPosition {
                epoch: Epoch::generate(),
                seq: 0,
                hash: EventHash::ZERO,
            },
            commit: String::new(),
            pending: StoredPending::None,
        };
        // Where there is one by now, somebody else made it.
        self.kv.write(layout::HEAD, 0, &head.data()).await?;
        Ok(())
    }

    /// The registry with nothing pending, to judge changes by.
    pub(crate) async fn begin(&self) -> Result<Snapshot, Failure> {
        let snapshot = self.snapshot().await?;
        if !self.is_settled(&snapshot) {
            self.carry_out(&snapshot).await?;
        }
        Ok(snapshot)
    }

    /// Makes `writes` the next commit, if `base` is still what the registry is.
    ///
    /// After a passing failure it is unknown whether it is committed.
    pub(crate) async fn commit(
        &self,
        base: &Snapshot,
        name: &CommitName,
        position: FeedPosition,
        writes: Vec<Write>,
    ) -> Result<Outcome, Failure> {
        let cut = head::cut(&writes);
        let parts = cut.as_ref().map_or(0, Vec::len);
        if let Some(cut) = &cut {
            head::write_parts(&self.kv, name.as_str(), cut).await?;
        }
        let head = Head {
            position,
            commit: name.as_str().to_owned(),
            pending: match parts {
                0 => StoredPending::Writes(writes.clone()),
                parts => StoredPending::Parts(parts),
            },
        };
        let Ok(is_first) = timeout(PATIENCE, self.put_head(base, name, &head)).await else {
            return Err(Failure::NotNow(format!(
                "Vault at {} does not say whether it carried out a commit; read again what it was about",
                self.kv.address()
            )));
        };
        if !is_first? {
            if parts > 0 {
                self.remove_parts_of(name.as_str()).await;
            }
            return Ok(Outcome::Lost);
        }
        let pending = Arc::new(Pending::new(writes));
        if parts > 0 {
            self.remember(name.as_str(), &pending);
        }
        if base.parts > 0 {
            self.remove_parts_of(&base.commit).await;
        }
        Ok(Outcome::Done(Snapshot {
            turn: base.turn + 1,
            position,
            commit: head.commit,
            parts,
            pending,
        }))
    }

    /// Carries out the writes of a commit: all of them are once this returns.
    pub(crate) async fn carry_out(&self, snapshot: &Snapshot) -> Result<(), Failure> {
        let writes = snapshot.pending.writes().iter();
        let acts = writes.map(async |write| self.carry_out_one(write).await);
        all(acts.collect()).await?;
        self.settle(snapshot.turn);
        Ok(())
    }

    /// Takes the writes that were carried out out of the head, which every look-up reads.
    pub(crate) async fn tidy(&self) -> Result<(), Failure> {
        let snapshot = self.begin().await?;
        if snapshot.pending.is_empty() {
            return Ok(());
        }
        let head = Head {
            position: snapshot.position,
            commit: snapshot.commit.clone(),
            pending: StoredPending::None,
        };
        let alone = self
            .kv
            .write(layout::HEAD, snapshot.turn, &head.data())
            .await?;
        if alone && snapshot.parts > 0 {
            head::remove_parts(&self.kv, &snapshot.commit).await?;
        }
        Ok(())
    }

    /// Writes the head of a commit, and says whether it is committed. It takes until that is known, or Vault is sealed.
    async fn put_head(
        &self,
        base: &Snapshot,
        name: &CommitName,
        head: &Head,
    ) -> Result<bool, Failure> {
        let data = head.data();
        let mut doubtful = false;
        loop {
            let failure = match self.kv.write(layout::HEAD, base.turn, &data).await {
                Ok(true) => return Ok(true),
                Ok(false) if !doubtful => return Ok(false),
                Ok(false) => match self.holds(base, name).await {
                    Ok(committed) => return Ok(committed),
                    Err(failure) => failure,
                },
                Err(failure) => failure,
            };
            // The write may have taken effect, or may yet: trying again tells, since it can do so once only.
            doubtful = true;
            // A sealed Vault tells nothing until somebody unseals it, and everybody else's commits wait behind this one.
            if !failure.is_passing() || matches!(failure, Failure::Sealed { .. }) {
                return Err(failure);
            }
            sleep(ASK_INTERVAL).await;
        }
    }

    /// Whether the head that followed `base` was that of this commit. Later ones may have followed.
    async fn holds(&self, base: &Snapshot, name: &CommitName) -> Result<bool, Failure> {
        let newest = self.snapshot().await?;
        if newest.commit == name.as_str() {
            return Ok(true);
        }
        let first_event = layout::event(base.position.seq + 1);
        let doc = self.read(&newest, &first_event).await?;
        let commit = doc.data.as_ref().and_then(|data| data.get("commit"));
        Ok(commit.and_then(|commit| commit.as_str()) == Some(name.as_str()))
    }

    async fn carry_out_one(&self, write: &Write) -> Result<(), Failure> {
        let Write {
            path,
            version,
            data,
        } = write;
        let Some(data) = data else {
            return match self.kv.read(path).await?.version {
                found if found == *version => self.kv.purge(path).await,
                _ => Ok(()),
            };
        };
        let taken = match self.kv.write(path, *version, data).await {
            Ok(true) => return Ok(()),
            Ok(false) => None,
            // Whoever may only create is denied what is there already.
            Err(failure @ Failure::Denied { .. }) if *version == 0 => Some(failure),
            Err(failure) => return Err(failure),
        };
        if taken.is_none() && !layout::is_event(path) {
            return Ok(());
        }
        let there = self.kv.read(path).await?;
        match taken {
            Some(failure) if there.version == 0 => Err(failure),
            _ if layout::is_event(path) && there.data.as_ref() != Some(data) => {
                let name = self.kv.name(path);
                Err(Failure::Record(format!(
                    "{name} is not the event that was committed; keep a copy of it as evidence, then remove it, and the \
                     committed one takes its place: vault kv metadata delete {name}"
                )))
            }
            _ => Ok(()),
        }
    }

    /// Removes parts that no head names any more, and none will.
    async fn sweep(&self, snapshot: &Snapshot) -> Result<(), Failure> {
        for folder in self.kv.list(layout::COMMITS).await? {
            let name = folder.trim_end_matches('/');
            let is_past = CommitName::turn(name).is_some_and(|turn| turn < snapshot.turn);
            if is_past && name != snapshot.commit {
                head::remove_parts(&self.kv, name).await?;
            }
        }
        Ok(())
    }

    async fn remove_parts_of(&self, commit: &str) {
        if let Err(failure) = head::remove_parts(&self.kv, commit).await {
            tracing::warn!(error = %failure, "parts of a commit were left behind; the next start removes them");
        }
    }
}
