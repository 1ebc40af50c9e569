//! Signed checkpoints of the audit trail: what its newest event was at some time, kept outside of the store. The chain of
//! hashes shows whatever was changed within it; checkpoints show that all of it was written anew, or that its end is gone.

mod folder;
mod key;

use std::fmt::Write as _;
use std::path::PathBuf;

use leafgate_identity::UnixMs;
use leafgate_registry::{Epoch, EventHash, FeedPosition, Head};
use serde::{Deserialize, Serialize};

pub use self::folder::CheckpointFolder;
pub use self::key::{CheckpointKey, CheckpointPublicKey};

/// The newest event at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which life of the feed it is of.
    pub epoch: Epoch,
    /// The newest event.
    pub head: Head,
    /// When it was, by the clock of whoever signed.
    pub at: UnixMs,
}

impl Checkpoint {
    pub(crate) fn position(&self) -> FeedPosition {
        FeedPosition {
            epoch: self.epoch,
            seq: self.head.seq,
            hash: self.head.hash,
        }
    }

    /// What is signed: five lines, the first of which nothing else begins with that is signed anywhere.
    fn signed_text(&self) -> String {
        let Self { epoch, head, at } = self;
        let mut text = "leafgate audit checkpoint 1\n".to_owned();
        let Head { seq, hash } = head;
        let _ = write!(text, "epoch {epoch}\nseq {seq}\nhash {hash}\nat {at}\n");
        text
    }
}

/// A checkpoint with its signature, as it is kept and handed out (JSON).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedCheckpoint {
    /// Which life of the feed it is of.
    pub epoch: String,
    /// The number of the newest event.
    pub seq: u64,
    /// Its hash.
    pub hash: EventHash,
    /// When it was the newest.
    pub at: UnixMs,
    /// The SHA-256 of the signer's public key (SubjectPublicKeyInfo, DER), in lower-case hex.
    pub key: String,
    /// The Ed25519 signature (RFC 8032) in base64.
    pub signature: String,
}

/// Why checkpoints can't be made or believed.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// There is no key.
    #[error(
        "there is no checkpoint key at {}: `leafgate registry init` makes one; whoever verifies needs the public key that it left beside the checkpoints",
        path.display()
    )]
    KeyMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The file is no key.
    #[error("{} holds no Ed25519 {kind} key in PEM", path.display())]
    NotAKey {
        /// The file.
        path: PathBuf,
        /// Which of the two is needed.
        kind: &'static str,
    },
    /// Others can read the private key.
    #[error(transparent)]
    Secret(#[from] leafgate_pki::ReadCaFileError),
    /// A file or folder can't be read or written.
    #[error("can't {what} {}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file is no checkpoint.
    #[error("{} is no checkpoint", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// The folder is that of another key's checkpoints.
    #[error(
        "{} is not the public key of this registry's checkpoints: give it a folder of its own, or the key that belongs to this one",
        path.display()
    )]
    FolderForeign {
        /// The public key in the folder.
        path: PathBuf,
    },
    /// Somebody else signed it.
    #[error("checkpoint {} is signed by another key ({key})", path.display())]
    KeyForeign {
        /// The file.
        path: PathBuf,
        /// The key that it names.
        key: String,
    },
    /// The signature does not hold.
    #[error("checkpoint {} is forged: its signature does not hold", path.display())]
    Forged {
        /// The file.
        path: PathBuf,
    },
}

impl CheckpointError {
    fn file(what: &'static str, path: &std::path::Path, source: std::io::Error) -> Self {
        Self::File {
            what,
            path: path.to_owned(),
            source,
        }
    }
}
