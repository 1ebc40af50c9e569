//! How further intermediates come to a CA, and go.

use std::fs;
use std::os::unix::fs::MetadataExt;

use leafgate_identity::{SpkiHash, spki_hashes_of_certificates_pem};
use leafgate_pki::{
    CaDirectory, EmbeddedCa, Intermediate, Issuer, LoadCaError, PrepareNextError,
    RemoveIntermediateError, RootAuthority, StatusUrl, init_with_root_crl_url,
};
use leafgate_pki::{NextIntermediate, RootKey};

use crate::support::{NOW, PASSPHRASE, TestCa, openssl};

const DEVICES: Intermediate = Intermediate::Devices;

fn root(test: &TestCa) -> RootAuthority {
    RootAuthority::read_encrypted(
        &test.ca.root_certificate(),
        &test.root_key(),
        &PASSPHRASE.into(),
    )
    .unwrap()
}

fn prepare(test: &TestCa) -> NextIntermediate {
    let prepared = test.ca.prepare_next(DEVICES, &root(test), false, NOW);
    prepared.unwrap()
}

fn loaded(ca: &CaDirectory) -> Vec<SpkiHash> {
    let all = ca.load_all(DEVICES).unwrap();
    all.iter().map(EmbeddedCa::spki).collect()
}

fn trusted(ca: &CaDirectory) -> Vec<SpkiHash> {
    let text = fs::read_to_string(ca.certificate(DEVICES)).unwrap();
    spki_hashes_of_certificates_pem(&text).unwrap()
}

#[test]
fn the_next_intermediate_stands_behind_the_present_one_and_changes_nothing_else() {
    let test = TestCa::create();
    let [present] = loaded(&test.ca)[..] else {
        panic!("one intermediate")
    };
    let next = prepare(&test);
    assert_eq!(loaded(&test.ca), [present, next.issuer]);
    assert_eq!(trusted(&test.ca), [present, next.issuer]);
    assert_eq!(test.ca.load(DEVICES).unwrap().spki(), present);
    assert_eq!(fs::metadata(&next.key).unwrap().mode() & 0o777, 0o600);
    let bundle = fs::metadata(&next.certificates).unwrap();
    assert_eq!(bundle.mode() & 0o777, 0o644);
    CaDirectory::open(test.ca.path()).unwrap();
    assert_eq!(test.ca.load_all(Intermediate::Servers).unwrap().len(), 1);
    let at = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let (root, bundle) = (at(&test.ca.root_certificate()), at(&next.certificates));
    // The bundle's last certificate alone, as a listener would verify with it.
    let text = fs::read_to_string(&next.certificates).unwrap();
    let last = text.rfind("-----BEGIN").unwrap();
    let alone = at(&test.write("next.crt", &text[last..]));
    let now = NOW.as_secs().to_string();
    for certificate in [&bundle, &alone] {
        let strict = ["verify", "-x509_strict", "-attime", &now, "-CAfile", &root];
        openssl(&[&strict[..], &[certificate]].concat());
    }
}

#[test]
fn a_second_rotation_waits_for_the_first_unless_told() {
    let test = TestCa::create();
    prepare(&test);
    let refused = test
        .ca
        .prepare_next(DEVICES, &root(&test), false, NOW)
        .unwrap_err();
    assert!(
        matches!(
            refused,
            PrepareNextError::RotationUnfinished { count: 2, .. }
        ),
        "{refused}"
    );
    test.ca
        .prepare_next(DEVICES, &root(&test), true, NOW)
        .unwrap();
    assert_eq!(loaded(&test.ca).len(), 3);
}

#[test]
fn a_bundle_that_could_not_be_read_again_is_not_written() {
    let test = TestCa::create();
    let file = test.ca.certificate(DEVICES);
    let one = fs::read_to_string(&file).unwrap();
    let full = one.repeat(64 * 1024 / one.len());
    fs::write(&file, &full).unwrap();
    let refused = test.ca.prepare_next(DEVICES, &root(&test), true, NOW);
    assert!(
        matches!(refused, Err(PrepareNextError::Write(_))),
        "{refused:?}"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), full);
    assert_eq!(loaded(&test.ca).len(), 1);
}

/// The writes are: the key, then the certificates' file. Whatever a run left, nothing is taken for an intermediate
/// before the second, and the next run goes on from there.
#[test]
fn a_run_that_dies_between_its_writes_is_completed_by_the_next() {
    let test = TestCa::create();
    let before = fs::read(test.ca.certificate(DEVICES)).unwrap();
    let present = loaded(&test.ca);
    let next = prepare(&test);
    fs::write(test.ca.certificate(DEVICES), &before).unwrap();
    assert_eq!(loaded(&test.ca), present);
    CaDirectory::open(test.ca.path()).unwrap();
    let again = prepare(&test);
    assert_eq!(again, next);
    assert_eq!(loaded(&test.ca), [present[0], next.issuer]);
    assert_eq!(test.ca.path().read_dir().unwrap().count(), 7);
}

#[test]
fn a_failing_write_leaves_the_present_intermediate_as_it_is() {
    let test = TestCa::create();
    let present = loaded(&test.ca);
    let aside = test.path("aside");
    fs::rename(test.ca.certificate(DEVICES), &aside).unwrap();
    fs::create_dir(test.ca.certificate(DEVICES)).unwrap();
    let refused = test.ca.prepare_next(DEVICES, &root(&test), false, NOW);
    assert!(refused.is_err());
    fs::remove_dir(test.ca.certificate(DEVICES)).unwrap();
    fs::rename(&aside, test.ca.certificate(DEVICES)).unwrap();
    assert_eq!(loaded(&test.ca), present);
    assert_eq!(trusted(&test.ca), present);
}

#[test]
fn of_many_runs_at_once_none_is_lost() {
    let test = TestCa::create();
    let made: Vec<SpkiHash> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4)
            .map(|_| {
                let (ca, root) = (&test.ca, root(&test));
                scope.spawn(move || ca.prepare_next(DEVICES, &root, true, NOW).unwrap().issuer)
            })
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    let there = loaded(&test.ca);
    assert_eq!(there.len(), 5);
    assert_eq!(trusted(&test.ca), there);
    assert!(made.iter().all(|issuer| there.contains(issuer)));
}

#[test]
fn the_root_must_be_that_of_the_folder() {
    let (test, other) = (TestCa::create(), TestCa::create());
    let refused = test
        .ca
        .prepare_next(DEVICES, &root(&other), false, NOW)
        .unwrap_err();
    assert!(
        matches!(refused, PrepareNextError::RootForeign { .. }),
        "{refused}"
    );
    assert_eq!(test.ca.path().read_dir().unwrap().count(), 6);
}

#[test]
fn the_address_of_the_roots_list_is_taken_over() {
    address_is_taken_over("http://pki.example.org:8080");
    // The longest that a registry may be reached under.
    let host = "http://pki.example.org/";
    address_is_taken_over(&format!("{host}{}", "a".repeat(512 - host.len())));
}

fn address_is_taken_over(base: &str) {
    let dir = tempfile::tempdir().unwrap();
    let url = StatusUrl::parse(base).unwrap().root_crl();
    let ca = init_with_root_crl_url(&dir.path().join("ca"), RootKey::DevPlain, Some(&url), NOW);
    let ca = ca.unwrap();
    let root =
        RootAuthority::read_plain(&ca.root_certificate(), &ca.path().join("root.key")).unwrap();
    ca.prepare_next(DEVICES, &root, false, NOW).unwrap();
    let text = fs::read_to_string(ca.certificate(DEVICES)).unwrap();
    let next = dir.path().join("next.crt");
    fs::write(&next, &text[text.rfind("-----BEGIN").unwrap()..]).unwrap();
    let shown = openssl(&["x509", "-in", next.to_str().unwrap(), "-noout", "-text"]);
    assert!(shown.contains(url.as_str()), "{shown}");
}

#[test]
fn a_registry_without_the_next_key_has_the_present_one() {
    let test = TestCa::create();
    let present = loaded(&test.ca);
    let next = prepare(&test);
    fs::remove_file(&next.key).unwrap();
    assert_eq!(loaded(&test.ca), present);
    fs::remove_file(test.ca.key(DEVICES)).unwrap();
    let refused = test.ca.load_all(DEVICES).unwrap_err();
    assert!(
        matches!(refused, LoadCaError::KeyMissing { .. }),
        "{refused}"
    );
}

#[test]
fn what_is_over_is_removed_with_its_key_and_never_the_last() {
    let test = TestCa::create();
    let [old] = loaded(&test.ca)[..] else {
        panic!("one intermediate")
    };
    let refused = test.ca.remove(DEVICES, &old).unwrap_err();
    assert!(
        matches!(refused, RemoveIntermediateError::Last { .. }),
        "{refused}"
    );
    let next = prepare(&test);
    test.ca.remove(DEVICES, &old).unwrap();
    assert!(!test.ca.key(DEVICES).exists());
    assert_eq!(
        (loaded(&test.ca), trusted(&test.ca)),
        (vec![next.issuer], vec![next.issuer])
    );
    let ca = CaDirectory::open(test.ca.path()).unwrap();
    assert_eq!(ca.load(DEVICES).unwrap().spki(), next.issuer);
    let refused = ca.remove(DEVICES, &old).unwrap_err();
    assert!(
        matches!(refused, RemoveIntermediateError::Unknown { .. }),
        "{refused}"
    );
    let third = prepare(&test);
    assert_eq!(loaded(&test.ca), [next.issuer, third.issuer]);
}

#[test]
fn a_stamp_is_taken_while_drafts_come_and_go() {
    let test = TestCa::create();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                drop(tempfile::NamedTempFile::new_in(test.ca.path()).unwrap());
            }
        });
        let failed = (0..5_000).find_map(|_| test.ca.stamp().err());
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(failed.is_none(), "{failed:?}");
    });
}

#[test]
fn the_stamp_changes_with_the_files() {
    let test = TestCa::create();
    let before = test.ca.stamp().unwrap();
    assert_eq!(test.ca.stamp().unwrap(), before);
    prepare(&test);
    assert_ne!(test.ca.stamp().unwrap(), before);
}
