use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use leafgate_runtime::{Clock, SystemClock};
use leafgate_testkit::scratch_ca::{ScratchCa, ScratchLeaf};

use super::*;

/// Two pairs of one holder.
fn pairs() -> [Pair; 2] {
    let ca = ScratchCa::root("test");
    let leaf = ScratchLeaf::device("device-0001", SystemClock::start().now());
    [(), ()].map(|()| {
        let made = ca.sign(&leaf);
        Pair::parse(made.chain_pem, made.private_key_pem.into()).unwrap()
    })
}

fn lay_out(folder: &Path, pair: &Pair) -> [PathBuf; 2] {
    let [certificate, key] = ["0001.crt", "0001.key"].map(|name| folder.join(name));
    fs::write(&certificate, &pair.chain_pem).unwrap();
    fs::write(&key, pair.key_pem.expose_secret()).unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    [certificate, key]
}

fn renew_by(files: &CertificateFiles, new: &Pair) -> Result<(), CliError> {
    let present = files.present()?;
    files.adopt(&present)?;
    if files.is_announced(&present) != Some(true) {
        files.note_announced(&present)?;
    }
    if present.fingerprint == new.fingerprint {
        return Ok(());
    }
    files.keep_pending_key(&new.key_pem)?;
    files.swap_in(new, UnixMs::from_secs(1_800_000_000))?;
    assert_eq!(files.is_announced(new), Some(false));
    files.note_announced(new)
}

#[test]
fn whoever_dies_at_any_step_leaves_a_pair_that_fits() {
    let [old, new] = pairs();
    let mut steps = 0;
    loop {
        let folder = tempfile::tempdir().unwrap();
        let [certificate, key] = lay_out(folder.path(), &old);
        let passed = Arc::new(AtomicUsize::new(0));
        let (counter, paths) = (passed.clone(), [certificate.clone(), key.clone()]);
        let dying = CertificateFiles::open_with(
            &certificate,
            &key,
            Box::new(move |_| {
                // What a reader finds at this moment.
                let [chain, key] = paths.clone().map(|path| fs::read_to_string(path).unwrap());
                Pair::parse(chain, key.into()).unwrap();
                match counter.fetch_add(1, Ordering::SeqCst) == steps {
                    true => Err(io::Error::other("the process dies here")),
                    false => Ok(()),
                }
            }),
        )
        .unwrap();
        let died = renew_by(&dying, &new).is_err();
        drop(dying);

        let files = CertificateFiles::open(&certificate, &key).unwrap();
        let left = files.present().unwrap();
        assert!([old.fingerprint, new.fingerprint].contains(&left.fingerprint));
        renew_by(&files, &new).unwrap();
        let present = files.present().unwrap();
        assert_eq!(present.fingerprint, new.fingerprint, "step {steps}");
        assert_eq!(files.is_announced(&present), Some(true));
        let due = files.renew_after(&present).map(|at| at.as_secs());
        assert_eq!(due, Some(1_800_000_000), "step {steps}");
        assert!(files.pending_key().is_none(), "step {steps}");
        assert_eq!(fs::metadata(&key).unwrap().mode() & 0o777, 0o600);
        let entries = fs::read_dir(&files.home).unwrap();
        let folders = entries.filter(|it| it.as_ref().unwrap().file_type().unwrap().is_dir());
        assert_eq!(folders.count(), 1, "step {steps}");
        if !died {
            break;
        }
        steps += 1;
    }
    assert!(steps > 12, "only {steps} steps");
}

#[test]
fn files_that_somebody_puts_in_place_of_ours_are_adopted() {
    let [old, new] = pairs();
    let folder = tempfile::tempdir().unwrap();
    let [certificate, key] = lay_out(folder.path(), &old);
    let files = CertificateFiles::open(&certificate, &key).unwrap();
    files.adopt(&old).unwrap();
    files.note_announced(&old).unwrap();
    // Written through the links, as cp does.
    lay_out(folder.path(), &new);
    let present = files.present().unwrap();
    assert_eq!(present.fingerprint, new.fingerprint);
    assert_eq!(files.is_announced(&present), Some(false));
    files.adopt(&present).unwrap();
    files.note_announced(&present).unwrap();
    assert_eq!(files.present().unwrap().fingerprint, new.fingerprint);
    // In place of the links, as mv does.
    for path in [&certificate, &key] {
        fs::remove_file(path).unwrap();
    }
    lay_out(folder.path(), &old);
    let present = files.present().unwrap();
    files.adopt(&present).unwrap();
    files.note_announced(&present).unwrap();
    assert_eq!(files.present().unwrap().fingerprint, old.fingerprint);
    assert!(fs::read_link(&certificate).is_ok() && fs::read_link(&key).is_ok());
}

#[test]
fn one_agent_at_a_time_has_them_in_care() {
    let [old, _] = pairs();
    let folder = tempfile::tempdir().unwrap();
    let [certificate, key] = lay_out(folder.path(), &old);
    let first = CertificateFiles::open(&certificate, &key).unwrap();
    let second = CertificateFiles::open(&certificate, &key).map(drop);
    assert_eq!(second.unwrap_err().exit(), Exit::Conflict);
    drop(first);
    CertificateFiles::open(&certificate, &key).unwrap();
}

#[test]
fn a_folder_may_be_moved_with_its_links() {
    let [old, new] = pairs();
    let folder = tempfile::tempdir().unwrap();
    let before = folder.path().join("before");
    fs::create_dir(&before).unwrap();
    let [certificate, key] = lay_out(&before, &old);
    renew_by(&CertificateFiles::open(&certificate, &key).unwrap(), &new).unwrap();
    let after = folder.path().join("after");
    fs::rename(&before, &after).unwrap();
    let [certificate, key] = ["0001.crt", "0001.key"].map(|name| after.join(name));
    let files = CertificateFiles::open(&certificate, &key).unwrap();
    assert_eq!(files.present().unwrap().fingerprint, new.fingerprint);
}
