//! How a CA comes to disk, and what is refused when it is read.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use leafgate_pki::{
    CaDirectory, EmbeddedCa, InitCaError, Intermediate, Issuer, JoinAuthorityError, LoadCaError,
    ReadCaFileError, ReadRootError, RootAuthority, RootKey, WriteRootError, init,
};
use secrecy::SecretString;

use crate::support::{NOW, PASSPHRASE, TestCa, openssl, try_openssl};

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

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
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

#[test]
fn keys_that_others_may_use_are_refused() {
    let test = TestCa::create();
    let key = test.ca.key(Intermediate::Devices);
    for open in [0o604, 0o640, 0o620, 0o644, 0o666, 0o601] {
        chmod(&key, open);
        let refused = test.ca.load(Intermediate::Devices).unwrap_err();
        assert!(
            matches!(&refused, LoadCaError::File(ReadCaFileError::TooOpen { mode, .. }) if *mode == open),
            "{open:o}: {refused}"
        );
    }
    for closed in [0o600, 0o400] {
        chmod(&key, closed);
        test.ca.load(Intermediate::Devices).unwrap();
    }
    chmod(&test.root_key(), 0o644);
    let refused = RootAuthority::read_encrypted(
        &test.ca.root_certificate(),
        &test.root_key(),
        &PASSPHRASE.into(),
    );
    assert!(matches!(
        refused,
        Err(ReadRootError::File(ReadCaFileError::TooOpen { .. }))
    ));
}

/// Gives the file to another user, as a Kubernetes `fsGroup` volume has it.
#[test]
fn the_group_may_read_a_key_that_belongs_to_another_user() {
    let test = TestCa::create();
    let key = test.ca.key(Intermediate::Devices);
    chmod(&key, 0o640);
    let Ok(()) = std::os::unix::fs::chown(&key, Some(65_534), None) else {
        // Only root may give files away; elsewhere the refusal of one's own file is tested.
        assert!(test.ca.load(Intermediate::Devices).is_err());
        return;
    };
    test.ca.load(Intermediate::Devices).unwrap();
    for open in [0o644, 0o660, 0o642] {
        chmod(&key, open);
        assert!(test.ca.load(Intermediate::Devices).is_err(), "{open:o}");
    }
}

#[test]
fn files_that_do_not_make_a_ca_are_refused() {
    let test = TestCa::create();
    let devices = (
        test.ca.certificate(Intermediate::Devices),
        test.ca.key(Intermediate::Devices),
    );
    let swapped = EmbeddedCa::load(&devices.0, &test.ca.key(Intermediate::Servers)).unwrap_err();
    let LoadCaError::Join { source, .. } = swapped else {
        panic!("{swapped}");
    };
    assert_eq!(source, JoinAuthorityError::KeyMismatch);

    let junk = test.write("junk", "junk");
    chmod(&junk, 0o600);
    let huge = test.write("huge", "a".repeat(65 * 1024));
    for (certificate, key, expected) in [
        (&junk, &devices.1, "holds no certificate in PEM"),
        (&devices.1, &devices.1, "holds no certificate in PEM"),
        (&huge, &devices.1, "is longer than 65536 bytes"),
        (&devices.0, &junk, "holds no private key in PKCS #8 PEM"),
        (
            &devices.0,
            &test.root_key(),
            "holds no private key in PKCS #8 PEM",
        ),
        (&test.path("none"), &devices.1, "can't read"),
    ] {
        let refused = EmbeddedCa::load(certificate, key).unwrap_err().to_string();
        assert!(refused.contains(expected), "{refused}");
    }
}

#[test]
fn certificates_of_no_ca_are_refused() {
    let test = TestCa::create();
    let key = test.path("key");
    let certificate = test.path("certificate");
    for (subject, extensions, expected) in [
        (
            "/CN=leaf",
            &[
                "basicConstraints=critical,CA:FALSE",
                "keyUsage=keyCertSign,cRLSign",
            ][..],
            JoinAuthorityError::NotCa,
        ),
        (
            "/CN=no list",
            &["basicConstraints=critical,CA:TRUE", "keyUsage=keyCertSign"],
            JoinAuthorityError::NotCa,
        ),
        (
            "/CN=no identifier",
            &[
                "basicConstraints=critical,CA:TRUE",
                "keyUsage=keyCertSign,cRLSign",
                "subjectKeyIdentifier=none",
            ],
            JoinAuthorityError::NotCa,
        ),
        (
            "/DC=org/DC=example/CN=repeated",
            &[
                "basicConstraints=critical,CA:TRUE",
                "keyUsage=keyCertSign,cRLSign",
            ],
            JoinAuthorityError::Name,
        ),
    ] {
        let mut args = vec![
            "req",
            "-x509",
            "-nodes",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-subj",
            subject,
            "-keyout",
            key.to_str().unwrap(),
            "-out",
            certificate.to_str().unwrap(),
        ];
        args.extend(
            extensions
                .iter()
                .flat_map(|extension| ["-addext", extension]),
        );
        openssl(&args);
        chmod(&key, 0o600);
        match EmbeddedCa::load(&certificate, &key) {
            Err(LoadCaError::Join { source, .. }) => assert_eq!(source, expected, "{subject}"),
            other => panic!("{subject}: {other:?}"),
        }
    }
}

#[test]
fn an_intermediate_of_another_root_and_kind_of_key_serves_as_well() {
    let test = TestCa::create();
    let (key, certificate) = (test.path("key"), test.path("certificate"));
    for new_key in [
        &["-newkey", "rsa:2048"][..],
        &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"],
        &["-newkey", "ed25519"],
    ] {
        let mut args = vec![
            "req",
            "-x509",
            "-nodes",
            "-subj",
            "/O=Example/CN=own",
            "-addext",
            "basicConstraints=critical,CA:TRUE,pathlen:0",
            "-addext",
            "keyUsage=critical,keyCertSign,cRLSign",
            "-keyout",
            key.to_str().unwrap(),
            "-out",
            certificate.to_str().unwrap(),
        ];
        args.extend(new_key);
        openssl(&args);
        chmod(&key, 0o600);
        let ca = EmbeddedCa::load(&certificate, &key).unwrap();
        assert_eq!(
            ca.certificate_pem(),
            fs::read_to_string(&certificate).unwrap()
        );
    }
}

#[test]
fn a_root_is_opened_by_its_passphrase_alone() {
    let test = TestCa::create();
    let open = |key: &Path, passphrase: &str| {
        RootAuthority::read_encrypted(&test.ca.root_certificate(), key, &passphrase.into())
    };
    let key = test.root_key();
    let root = open(&key, PASSPHRASE).unwrap();
    assert_eq!(
        root.certificate_pem(),
        fs::read_to_string(test.ca.root_certificate()).unwrap()
    );
    assert!(matches!(
        open(&key, "another passphrase").unwrap_err(),
        ReadRootError::Passphrase { .. }
    ));
    assert!(matches!(
        open(&test.ca.key(Intermediate::Devices), PASSPHRASE).unwrap_err(),
        ReadRootError::NotAnEncryptedKey { .. }
    ));
    let other = TestCa::create();
    assert!(matches!(
        open(&other.root_key(), PASSPHRASE).unwrap_err(),
        ReadRootError::Join(JoinAuthorityError::KeyMismatch)
    ));
    assert!(matches!(
        root.write_encrypted(&key, &PASSPHRASE.into()).unwrap_err(),
        WriteRootError::File(_)
    ));
}

#[test]
fn openssl_opens_the_root_key_with_its_passphrase() {
    let test = TestCa::create();
    let key = test.root_key();
    let passphrase = test.write("passphrase", format!("{PASSPHRASE}\n"));
    let from_file = format!("file:{}", passphrase.display());
    let public = openssl(&[
        "pkey",
        "-in",
        key.to_str().unwrap(),
        "-passin",
        &from_file,
        "-pubout",
    ]);
    let root = test.ca.root_certificate();
    assert_eq!(
        public,
        openssl(&["x509", "-in", root.to_str().unwrap(), "-noout", "-pubkey"])
    );
    let wrong = [
        "pkey",
        "-in",
        key.to_str().unwrap(),
        "-passin",
        "pass:wrong passphrase",
        "-noout",
    ];
    assert!(!try_openssl(&wrong).status.success());
    let shown = openssl(&["asn1parse", "-in", key.to_str().unwrap()]);
    for part in ["PBES2", ":scrypt", "aes-256-cbc"] {
        assert!(shown.contains(part), "{part} missing in\n{shown}");
    }
}
