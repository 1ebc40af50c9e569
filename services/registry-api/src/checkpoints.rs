//! `[audit]`: signed checkpoints of the audit trail, kept outside of the store.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use leafgate_registrar::{
    Checkpoint, CheckpointError, CheckpointFolder, CheckpointKey, CheckpointPublicKey,
    Checkpointer, SignedCheckpoint,
};
use leafgate_registry::DeviceStore;
use leafgate_runtime::{SetUpProblems, Shutdown};
use serde::Deserialize;
use tokio::task::spawn_blocking;

use crate::app::App;
use crate::problem::{Problem, chain};

/// How soon it is tried again where a checkpoint could not be made.
const RETRY: Duration = Duration::from_secs(60);

/// `[audit]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditConfig {
    /// The Ed25519 key that signs checkpoints, as `leafgate registry init` makes it (PKCS #8, PEM).
    pub checkpoint_key_file: PathBuf,
    /// The folder that they are kept in: on another disk than the registry, or copied away from time to time.
    pub checkpoint_dir: PathBuf,
    /// How often one is made, in seconds, as long as there are new events.
    #[serde(default = "default_interval")]
    pub checkpoint_interval_secs: u64,
}

fn default_interval() -> u64 {
    3600
}

impl AuditConfig {
    pub(crate) fn resolve_paths(&mut self, folder: &Path) {
        for path in [&mut self.checkpoint_key_file, &mut self.checkpoint_dir] {
            *path = folder.join(&*path);
        }
    }
}

/// Where checkpoints are kept, and what signs them.
#[derive(Debug)]
pub(crate) struct CheckpointSetup {
    key: CheckpointKey,
    folder: CheckpointFolder,
    every: Duration,
}

impl CheckpointSetup {
    pub(crate) fn load(config: &AuditConfig, problems: &mut SetUpProblems) -> Option<Self> {
        if config.checkpoint_interval_secs == 0 {
            problems.add("[audit] checkpoint_interval_secs: must be at least 1");
        }
        let key = CheckpointKey::read(&config.checkpoint_key_file).map_err(Into::into);
        Some(Self {
            key: problems.note("[audit] checkpoint_key_file", key)?,
            folder: CheckpointFolder::new(&config.checkpoint_dir),
            every: Duration::from_secs(config.checkpoint_interval_secs),
        })
    }

    /// What answers requests, and what makes checkpoints.
    pub(crate) fn open(
        self,
        store: &Arc<dyn DeviceStore>,
    ) -> Result<(Checkpoints, CheckpointKeeper), CheckpointError> {
        let checkpoints = Checkpoints {
            folder: self.folder.clone(),
            key: self.key.public_key().clone(),
            fails: AtomicBool::new(false),
        };
        let checkpointer = Checkpointer::open(Arc::clone(store), self.key, self.folder)?;
        let keeper = CheckpointKeeper {
            checkpointer,
            every: self.every,
        };
        Ok((checkpoints, keeper))
    }
}

/// The checkpoints that there are.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    folder: CheckpointFolder,
    key: CheckpointPublicKey,
    fails: AtomicBool,
}

impl Checkpoints {
    /// All of them, by the numbers of their events.
    pub(crate) async fn read(
        &self,
    ) -> Result<Result<Vec<(Checkpoint, SignedCheckpoint)>, CheckpointError>, Problem> {
        let (folder, key) = (self.folder.clone(), self.key.clone());
        let reading = spawn_blocking(move || folder.read(&key)).await;
        reading.map_err(Problem::internal)
    }

    /// Whether the last one could not be made.
    pub(crate) fn fail(&self) -> bool {
        self.fails.load(Ordering::Relaxed)
    }
}

/// Makes checkpoints.
#[derive(Debug)]
pub(crate) struct CheckpointKeeper {
    checkpointer: Checkpointer,
    every: Duration,
}

impl CheckpointKeeper {
    /// Makes one now, then every so often, and at the end a last one.
    pub(crate) async fn keep(mut self, app: Arc<App>, shutdown: Shutdown) {
        loop {
            let pause = match self.advance(&app).await {
                true => self.every,
                false => self.every.min(RETRY),
            };
            let pause = tokio::time::sleep(pause);
            if shutdown.run_until_cancelled(pause).await.is_none() {
                self.advance(&app).await;
                return;
            }
        }
    }

    async fn advance(&mut self, app: &App) -> bool {
        let advanced = self.checkpointer.advance(app.clock.now()).await;
        let fails = advanced.is_err();
        match advanced {
            Ok(None) => {}
            Ok(Some(signed)) => {
                let seq = i64::try_from(signed.seq).unwrap_or(i64::MAX);
                app.metrics.checkpoint_sequence.set(seq);
                tracing::info!(seq = signed.seq, "audit trail signed");
            }
            Err(error) => {
                app.metrics.checkpoint_failures.inc();
                tracing::error!(error = chain(&error), "no checkpoint could be made");
            }
        }
        if let Some(checkpoints) = &app.checkpoints {
            checkpoints.fails.store(fails, Ordering::Relaxed);
        }
        !fails
    }
}
