//! How a CA comes to disk.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use leafgate_pki::{
    CaDirectory, InitCaError, Intermediate, RootAuthority, RootKey, WriteRootError, init,
};
use secrecy::SecretString;

use crate::support::{NOW, PASSPHRASE, TestCa, openssl};

fn names_in(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

fn encrypted<'a>(out: &'a Path, passphrase: &'a SecretString) -> RootKey<'a> {
    RootKey::Encrypted { out, passphrase }
}

#[test]
fn a_new_ca_has_its_files_with_their_modes_and_nothing_else() {
    let test = TestCa::create();
    let dir = test.ca.path();
    assert_eq!(
        names_in(dir),
        [
            "devices.crt",
            "devices.key",
            "root.crl",
            "root.crt",
            "servers.crt",
            "servers.key"
        ]
    );
    assert_eq!(names_in(test.dir.path()), ["ca", "root.key"]);
    for name in names_in(dir) {
        let expected = if name.ends_with(".key") { 0o600 } else { 0o644 };
        assert_eq!(mode(&dir.join(&name)), expected, "{name}");
    }
    assert_eq!(mode(&test.root_key()), 0o600);
    assert_eq!(CaDirectory::open(dir).unwrap(), test.ca);
}

#[test]
fn only_a_development_ca_holds_its_root_key() {
    let dir = tempfile::tempdir().unwrap();
    let ca = init(&dir.path().join("ca"), RootKey::DevPlain, NOW).unwrap();
    let key = ca.path().join("root.key");
    assert_eq!(mode(&key), 0o600);
    let public = openssl(&["pkey", "-in", key.to_str().unwrap(), "-pubout"]);
    let root = ca.root_certificate();
    assert_eq!(
        public,
        openssl(&["x509", "-in", root.to_str().unwrap(), "-noout", "-pubkey"])
    );
}

#[test]
fn an_empty_folder_and_missing_parents_are_fine() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    init(&empty, RootKey::DevPlain, NOW).unwrap();
    init(&dir.path().join("a/b/c"), RootKey::DevPlain, NOW).unwrap();
}

#[test]
fn a_ca_is_never_overwritten() {
    let test = TestCa::create();
    let before = fs::read(test.ca.root_certificate()).unwrap();
    let passphrase = SecretString::from(PASSPHRASE);
    let other = test.path("other.key");
    for root_key in [RootKey::DevPlain, encrypted(&other, &passphrase)] {
        let refused = init(test.ca.path(), root_key, NOW).unwrap_err();
        assert!(matches!(refused, InitCaError::Exists { .. }), "{refused}");
    }
    assert_eq!(fs::read(test.ca.root_certificate()).unwrap(), before);
    assert_eq!(names_in(test.dir.path()), ["ca", "root.key"]);
}

#[test]
fn other_peoples_folders_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.tex"), "").unwrap();
    let refused = init(dir.path(), RootKey::DevPlain, NOW).unwrap_err();
    assert!(matches!(refused, InitCaError::NotEmpty { .. }), "{refused}");
    assert_eq!(names_in(dir.path()), ["thesis.tex"]);
}

#[test]
fn an_existing_root_key_is_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let (ca, out) = (dir.path().join("ca"), dir.path().join("root.key"));
    fs::write(&out, "precious").unwrap();
    let refused = init(&ca, encrypted(&out, &PASSPHRASE.into()), NOW).unwrap_err();
    assert!(
        matches!(refused, InitCaError::RootKeyExists { .. }),
        "{refused}"
    );
    assert_eq!(fs::read_to_string(&out).unwrap(), "precious");
    assert_eq!(names_in(dir.path()), ["root.key"]);
}

#[test]
fn the_root_key_is_not_kept_with_the_services() {
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca");
    let refused = init(
        &ca,
        encrypted(&ca.join("root.key"), &PASSPHRASE.into()),
        NOW,
    );
    assert!(matches!(refused, Err(InitCaError::RootKeyInside { .. })));
    assert_eq!(names_in(dir.path()), [""; 0]);
}

#[test]
fn a_poor_passphrase_is_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("root.key");
    for (passphrase, of_many_lines) in [
        ("", false),
        ("elevenchars", false),
        ("a line and\nanother", true),
    ] {
        let passphrase = SecretString::from(passphrase);
        let refused = init(&dir.path().join("ca"), encrypted(&out, &passphrase), NOW);
        match refused.unwrap_err() {
            InitCaError::RootKey(WriteRootError::PassphraseTooShort) => assert!(!of_many_lines),
            InitCaError::RootKey(WriteRootError::PassphraseOfManyLines) => assert!(of_many_lines),
            other => panic!("{other}"),
        }
        assert_eq!(names_in(dir.path()), [""; 0]);
    }
}

#[test]
fn an_init_that_fails_half_way_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca");
    let out = dir.path().join("no-such-folder/root.key");
    let refused = init(&ca, encrypted(&out, &PASSPHRASE.into()), NOW).unwrap_err();
    assert!(
        matches!(refused, InitCaError::RootKey(WriteRootError::File(_))),
        "{refused}"
    );
    assert_eq!(names_in(dir.path()), [""; 0]);
}

#[test]
fn of_many_inits_at_once_one_makes_the_ca() {
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca");
    let made: Vec<bool> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..8)
            .map(|run| {
                let out = dir.path().join(format!("root-{run}.key"));
                let ca = &ca;
                scope.spawn(move || init(ca, encrypted(&out, &PASSPHRASE.into()), NOW).is_ok())
            })
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    assert_eq!(made.iter().filter(|made| **made).count(), 1);
    let winner = made.iter().position(|made| *made).unwrap();
    let key = format!("root-{winner}.key");
    assert_eq!(names_in(dir.path()), ["ca", &key]);
    RootAuthority::read_encrypted(
        &ca.join("root.crt"),
        &dir.path().join(key),
        &PASSPHRASE.into(),
    )
    .unwrap();
    let ca = CaDirectory::open(&ca).unwrap();
    ca.load(Intermediate::Devices).unwrap();
    ca.load(Intermediate::Servers).unwrap();
}

#[test]
fn a_folder_that_lacks_a_file_is_no_ca() {
    let test = TestCa::create();
    for name in names_in(test.ca.path()) {
        let (path, aside) = (test.ca.path().join(&name), test.path("aside"));
        fs::rename(&path, &aside).unwrap();
        let refused = CaDirectory::open(test.ca.path()).unwrap_err();
        assert_eq!(refused.missing, path);
        fs::rename(&aside, &path).unwrap();
    }
    assert!(CaDirectory::open(&test.path("nothing")).is_err());
}
