use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use leafgate_pki::write_new_file;

use super::{Checkpoint, CheckpointError, CheckpointPublicKey, SignedCheckpoint};

const ENDING: &str = "json";
/// The public key that signs the checkpoints of a folder, within it.
const PUBLIC_KEY: &str = "checkpoint.pub";

/// A folder of checkpoints, one in each file, none of which is ever changed.
#[derive(Clone, Debug)]
pub struct CheckpointFolder {
    path: PathBuf,
}

impl CheckpointFolder {
    /// The folder at `path`, which may not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where the public key is that came with the folder. Whoever does not trust the folder keeps a copy elsewhere.
    pub fn public_key_file(&self) -> PathBuf {
        self.path.join(PUBLIC_KEY)
    }

    /// Makes the folder, with the public key in it, where there is none.
    pub(crate) fn prepare(&self, key: &CheckpointPublicKey) -> Result<(), CheckpointError> {
        fs::create_dir_all(&self.path)
            .map_err(|source| CheckpointError::file("make", &self.path, source))?;
        let file = self.public_key_file();
        match CheckpointPublicKey::read(&file) {
            Err(CheckpointError::KeyMissing { .. }) => self.write(&file, &key.to_pem()),
            Ok(present) if present == *key => Ok(()),
            Ok(_) => Err(CheckpointError::FolderForeign { path: file }),
            Err(error) => Err(error),
        }
    }

    /// All checkpoints with their signatures verified, by the numbers of their events.
    ///
    /// # Errors
    /// [`CheckpointError`] at the first that can't be believed.
    pub fn read(
        &self,
        key: &CheckpointPublicKey,
    ) -> Result<Vec<(Checkpoint, SignedCheckpoint)>, CheckpointError> {
        let mut read = Vec::new();
        for file in self.files()? {
            let text = fs::read_to_string(&file)
                .map_err(|source| CheckpointError::file("read", &file, source))?;
            let signed: SignedCheckpoint = serde_json::from_str(&text)
                .map_err(|_| CheckpointError::Malformed { path: file.clone() })?;
            read.push((key.verify(&signed, &file)?, signed));
        }
        read.sort_by_key(|(checkpoint, _)| (checkpoint.head.seq, checkpoint.at));
        Ok(read)
    }

    fn files(&self) -> Result<Vec<PathBuf>, CheckpointError> {
        let unreadable = |source| CheckpointError::file("read", &self.path, source);
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(unreadable)?,
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.map_err(unreadable)?.path();
            if path.extension().is_some_and(|it| it == ENDING) {
                files.push(path);
            }
        }
        Ok(files)
    }

    /// Keeps a checkpoint. One of the same event that another replica made already stays.
    pub(crate) fn keep(&self, signed: &SignedCheckpoint) -> Result<(), CheckpointError> {
        let name = format!("{:020}-{}.{ENDING}", signed.seq, signed.epoch);
        let file = self.path.join(name);
        if matches!(file.try_exists(), Ok(true)) {
            return Ok(());
        }
        let text = serde_json::to_string(signed).expect("texts and numbers are JSON");
        self.write(&file, &format!("{text}\n"))
    }

    fn write(&self, file: &Path, text: &str) -> Result<(), CheckpointError> {
        match write_new_file(file, text, 0o644) {
            Ok(()) => Ok(()),
            // Another replica was faster.
            Err(_) if matches!(file.try_exists(), Ok(true)) => Ok(()),
            Err(error) => Err(CheckpointError::file(
                "write",
                file,
                std::io::Error::other(error),
            )),
        }
    }
}
