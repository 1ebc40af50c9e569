//! Checkpoints: what the chain of events alone can't show.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use leafgate_registrar::{
    AdvanceError, Checkpoint, CheckpointError, CheckpointFolder, CheckpointKey,
    CheckpointPublicKey, Checkpointer, VerifyAuditError, start_epoch, verify_audit,
    verify_audit_against,
};
use leafgate_registry::{Change, DeviceStore, Epoch, EventKind};
use leafgate_store_sql::SqliteStore;
use serde_json::json;
use tempfile::TempDir;

use crate::support::{NOW, act};

/// A registry in a file, of which backups are made and restored, and a folder of checkpoints elsewhere.
struct Site {
    dir: TempDir,
    name: String,
    store: Arc<SqliteStore>,
}

impl Site {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let name = "registry.db".to_owned();
        let store = open(&dir.path().join(&name)).await;
        CheckpointKey::create(&dir.path().join("checkpoint.key")).unwrap();
        Self { dir, name, store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn folder(&self) -> CheckpointFolder {
        CheckpointFolder::new(self.path("checkpoints"))
    }

    fn key(&self) -> CheckpointKey {
        CheckpointKey::read(&self.path("checkpoint.key")).unwrap()
    }

    fn checkpointer(&self) -> Checkpointer {
        let store = Arc::clone(&self.store) as Arc<dyn DeviceStore>;
        Checkpointer::open(store, self.key(), self.folder()).unwrap()
    }

    /// Writes this many events.
    async fn write(&self, word: &str, count: usize) {
        let change = |n| Change::note(EventKind::RequestsRefused, json!({ word: n }), &act());
        let changes: Vec<Change> = (0..count).map(change).collect();
        self.store.commit(&changes).await.unwrap();
    }

    /// Makes a checkpoint, and says of which event.
    async fn sign(&self) -> Option<u64> {
        let signed = self.checkpointer().advance(NOW).await.unwrap();
        signed.map(|signed| signed.seq)
    }

    /// Nobody writes meanwhile, so that the file and its log are of one moment.
    fn back_up(&self) {
        self.copy(&self.name, "backup.db");
    }

    async fn restore(&mut self) {
        self.name = format!("restored-{}.db", Epoch::generate());
        self.copy("backup.db", &self.name);
        self.store = open(&self.path(&self.name)).await;
    }

    fn copy(&self, from: &str, to: &str) {
        for part in ["", "-wal"] {
            let (from, to) = (format!("{from}{part}"), format!("{to}{part}"));
            if self.path(&from).exists() {
                fs::copy(self.path(&from), self.path(&to)).unwrap();
            }
        }
    }

    fn checkpoints(&self) -> Result<Vec<Checkpoint>, CheckpointError> {
        let key = CheckpointPublicKey::read(&self.folder().public_key_file())?;
        let read = self.folder().read(&key)?;
        Ok(read.into_iter().map(|(checkpoint, _)| checkpoint).collect())
    }

    async fn verify(&self) -> Result<(usize, Vec<(u64, usize)>), VerifyAuditError> {
        let checkpoints = self.checkpoints().unwrap();
        let report = verify_audit_against(&*self.store, checkpoints).await?;
        let restores = report.restores.iter();
        let restores = restores.map(|it| (it.seq, it.lost_checkpoints)).collect();
        Ok((report.checkpoints, restores))
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path("checkpoints")).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = paths
            .filter(|path| path.extension().unwrap() == "json")
            .collect();
        files.sort();
        files
    }
}

async fn open(path: &Path) -> Arc<SqliteStore> {
    Arc::new(SqliteStore::open(path).await.unwrap())
}

#[tokio::test]
async fn a_chain_passes_through_what_was_signed() {
    let site = Site::new().await;
    assert_eq!(site.sign().await, None, "nothing happened yet");
    site.write("a", 3).await;
    assert_eq!(site.sign().await, Some(3));
    assert_eq!(site.sign().await, None, "nothing happened since");
    site.write("a", 1500).await;
    assert_eq!(site.sign().await, Some(1503));
    site.write("a", 1).await;
    assert_eq!(site.verify().await.unwrap(), (2, vec![]));
    assert_eq!(site.files().len(), 2);
}

#[tokio::test]
async fn a_chain_that_is_written_anew_with_good_hashes_is_not_the_signed_one() {
    let mut site = Site::new().await;
    site.write("a", 3).await;
    site.back_up();
    site.write("a", 2).await;
    let mut checkpointer = site.checkpointer();
    checkpointer.advance(NOW).await.unwrap().unwrap();
    site.restore().await;
    site.write("b", 4).await;
    verify_audit(&*site.store).await.expect("sound in itself");
    let error = site.verify().await.unwrap_err();
    let VerifyAuditError::CheckpointDiffers { seq: 5, at: NOW } = error else {
        panic!("{error:?}");
    };
    // And nobody signs it.
    let refused = site.checkpointer().advance(NOW).await.unwrap_err();
    assert!(
        matches!(&refused, AdvanceError::Trail(VerifyAuditError::Chain(_))),
        "{refused:?}"
    );
    assert_eq!(site.files().len(), 1);
}

#[tokio::test]
async fn a_chain_whose_end_is_gone_is_not_the_signed_one() {
    let mut site = Site::new().await;
    site.write("a", 3).await;
    site.sign().await;
    site.back_up();
    site.write("a", 2).await;
    site.sign().await;
    site.restore().await;
    verify_audit(&*site.store).await.expect("sound in itself");
    let error = site.verify().await.unwrap_err();
    let VerifyAuditError::CutShort {
        newest: 3,
        seq: 5,
        at: NOW,
    } = error
    else {
        panic!("{error:?}");
    };
    let refused = site.checkpointer().advance(NOW).await.unwrap_err();
    assert!(
        matches!(
            refused,
            AdvanceError::Trail(VerifyAuditError::Truncated { .. })
        ),
        "{refused:?}"
    );
    // An epoch in place of what was cut does not hide it: the report tells when it was started, and of what is missing.
    start_epoch(&*site.store, Epoch::generate(), &act())
        .await
        .unwrap();
    assert_eq!(site.verify().await.unwrap(), (1, vec![(4, 1)]));
    // After a restore that somebody knows of, it goes on.
    site.write("b", 4).await;
    assert_eq!(site.sign().await, Some(8));
    assert_eq!(site.verify().await.unwrap(), (2, vec![(4, 1)]));
    // What is signed in the present epoch can't be lost by an older restore.
    site.back_up();
    site.write("b", 1).await;
    site.sign().await;
    site.restore().await;
    assert!(site.verify().await.is_err());
}

#[tokio::test]
async fn what_another_key_signed_or_nobody_is_not_believed() {
    let site = Site::new().await;
    site.write("a", 3).await;
    site.sign().await;
    let [file] = &site.files()[..] else { panic!() };
    let good = fs::read_to_string(file).unwrap();
    let edit = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut json = serde_json::from_str(&good).unwrap();
        change(&mut json);
        fs::write(file, json.to_string()).unwrap();
        site.checkpoints().unwrap_err()
    };
    for field in ["epoch", "hash"] {
        let error = edit(&|json| {
            let text = json[field].as_str().unwrap();
            let other = if text.starts_with('0') { "1" } else { "0" };
            json[field] = format!("{other}{}", &text[1..]).into();
        });
        assert!(
            matches!(error, CheckpointError::Forged { .. }),
            "{field} {error:?}"
        );
    }
    let error = edit(&|json| json["seq"] = 2.into());
    assert!(matches!(error, CheckpointError::Forged { .. }), "{error:?}");
    let error = edit(&|json| json["at"] = "2027-01-15T08:00:00.000Z".into());
    assert!(matches!(error, CheckpointError::Forged { .. }), "{error:?}");
    let error = edit(&|json| json["signature"] = "AAAA".into());
    assert!(matches!(error, CheckpointError::Forged { .. }), "{error:?}");
    let error = edit(&|json| json["more"] = 1.into());
    assert!(
        matches!(error, CheckpointError::Malformed { .. }),
        "{error:?}"
    );

    // Whoever forges with a key of their own needs the public key to be exchanged too: that is why there are copies.
    fs::write(file, &good).unwrap();
    let kept = site.folder().public_key_file();
    let other = CheckpointKey::create(&site.path("other.key")).unwrap();
    fs::remove_file(&kept).unwrap();
    fs::write(&kept, other.public_key().to_pem()).unwrap();
    let error = site.checkpoints().unwrap_err();
    assert!(
        matches!(error, CheckpointError::KeyForeign { .. }),
        "{error:?}"
    );
    let store = Arc::clone(&site.store) as Arc<dyn DeviceStore>;
    let error = Checkpointer::open(store, site.key(), site.folder()).unwrap_err();
    assert!(
        matches!(error, CheckpointError::FolderForeign { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_key_that_is_missing_or_open_to_others_is_told() {
    let site = Site::new().await;
    let missing = CheckpointKey::read(&site.path("none.key")).unwrap_err();
    let said = missing.to_string();
    assert!(
        said.contains("there is no checkpoint key at") && said.contains("none.key"),
        "{said}"
    );
    let missing = CheckpointPublicKey::read(&site.path("none.pub")).unwrap_err();
    assert!(
        matches!(missing, CheckpointError::KeyMissing { .. }),
        "{missing:?}"
    );
    let file = site.path("checkpoint.key");
    let mode = fs::metadata(&file).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let open = CheckpointKey::read(&file).unwrap_err().to_string();
    assert!(open.contains("chmod 600"), "{open}");
    fs::write(site.path("text"), "no key").unwrap();
    fs::set_permissions(site.path("text"), fs::Permissions::from_mode(0o600)).unwrap();
    for error in [
        CheckpointKey::read(&site.path("text")).unwrap_err(),
        CheckpointPublicKey::read(&site.path("text")).unwrap_err(),
    ] {
        assert!(
            matches!(error, CheckpointError::NotAKey { .. }),
            "{error:?}"
        );
    }
    // A key is never written over.
    CheckpointKey::create(&site.path("text")).unwrap_err();
}

/// Somebody who has nothing of ours can verify a checkpoint, as it is documented.
#[tokio::test]
async fn openssl_verifies_a_checkpoint() {
    let site = Site::new().await;
    site.write("a", 1).await;
    site.sign().await;
    let [file] = &site.files()[..] else { panic!() };
    let json: serde_json::Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let text = |name: &str| json[name].as_str().unwrap();
    let signed = format!(
        "leafgate audit checkpoint 1\nepoch {}\nseq {}\nhash {}\nat {}\n",
        text("epoch"),
        json["seq"],
        text("hash"),
        text("at")
    );
    fs::write(site.path("signed"), signed).unwrap();
    let signature = data_encoding::BASE64
        .decode(text("signature").as_bytes())
        .unwrap();
    fs::write(site.path("signature"), signature).unwrap();
    let verified = std::process::Command::new("openssl")
        .args(["pkeyutl", "-verify", "-rawin", "-pubin"])
        .args(["-inkey", "checkpoints/checkpoint.pub"])
        .args(["-sigfile", "signature", "-in", "signed"])
        .current_dir(site.dir.path())
        .output()
        .unwrap();
    assert!(verified.status.success(), "{verified:?}");
}
