//! What is read of a CA on disk, and what is refused.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use leafgate_pki::{
    EmbeddedCa, Intermediate, Issuer, JoinAuthorityError, LoadCaError, ReadCaFileError,
    ReadRootError, RootAuthority, WriteRootError,
};

use crate::support::{CA_KEYS, PASSPHRASE, TestCa, foreign_ca, openssl, try_openssl};

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
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
    for (name, new_key) in CA_KEYS {
        let (certificate, ca) = foreign_ca(&test, new_key);
        assert_eq!(
            ca.certificate_pem(),
            fs::read_to_string(&certificate).unwrap(),
            "{name}"
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
