//! How the root's list is renewed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use leafgate_identity::{SerialNumber, UnixMs};
use leafgate_pki::{
    CrlReason, RenewRootListError, RevokedEntry, RootAuthority, SignedList, crl_pem,
};

use crate::support::{NOW, PASSPHRASE, TestCa, openssl};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn root(test: &TestCa) -> RootAuthority {
    let (certificate, key) = (test.ca.root_certificate(), test.root_key());
    RootAuthority::read_encrypted(&certificate, &key, &PASSPHRASE.into()).unwrap()
}

/// What of a list is signed. Signatures differ from one to the next.
fn signed(der: &[u8]) -> Vec<u8> {
    let (_, list) = x509_parser::parse_x509_crl(der).unwrap();
    list.tbs_cert_list.as_ref().to_vec()
}

fn shown(test: &TestCa) -> String {
    let (list, root) = (test.ca.root_crl(), test.ca.root_certificate());
    let [list, root] = [&list, &root].map(|path| path.to_str().unwrap());
    openssl(&["crl", "-in", list, "-CAfile", root, "-noout", "-text"])
}

#[test]
fn a_renewed_list_has_the_next_number_and_a_year_more() {
    let test = TestCa::create();
    assert!(shown(&test).contains("X509v3 CRL Number: \n                1\n"));
    let later = NOW.saturating_add(300 * DAY);
    let renewed = test.ca.renew_root_list(&root(&test), later).unwrap();
    let text = fs::read(test.ca.root_crl()).unwrap();
    assert_eq!(SignedList::parse(&text), Ok(renewed.clone()));
    let ends = UnixMs::from_secs(later.saturating_add(365 * DAY).as_secs());
    assert_eq!(renewed.next_update, ends);
    assert!(shown(&test).contains("X509v3 CRL Number: \n                2\n"));
    let mode = fs::metadata(test.ca.root_crl()).unwrap().mode();
    assert_eq!(mode & 0o777, 0o644);
    assert_eq!(test.ca.path().read_dir().unwrap().count(), 6);
}

#[test]
fn a_renewed_list_has_what_was_revoked_before() {
    let test = TestCa::create();
    let root = root(&test);
    let reasons = [
        CrlReason::Unspecified,
        CrlReason::KeyCompromise,
        CrlReason::CaCompromise,
        CrlReason::AffiliationChanged,
        CrlReason::Superseded,
        CrlReason::CessationOfOperation,
        CrlReason::PrivilegeWithdrawn,
    ];
    let entries: Vec<_> = (1_u8..)
        .zip(reasons)
        .map(|(number, reason)| RevokedEntry {
            serial: SerialNumber::from_be_bytes(&[0xf0, number]).unwrap(),
            revoked_at: UnixMs::from_secs(NOW.as_secs()),
            reason,
        })
        .collect();
    let end = NOW.saturating_add(DAY);
    let list = root.sign_crl(&entries, 41, NOW, end).unwrap();
    fs::write(test.ca.root_crl(), crl_pem(&list)).unwrap();
    let renewed = test.ca.renew_root_list(&root, end).unwrap();
    let year = end.saturating_add(365 * DAY);
    let expected = root.sign_crl(&entries, 42, end, year).unwrap();
    assert_eq!(signed(&renewed.der), signed(&expected));
}

#[test]
fn the_root_and_its_list_must_be_those_of_the_folder() {
    let (test, other) = (TestCa::create(), TestCa::create());
    let refused = test.ca.renew_root_list(&root(&other), NOW).unwrap_err();
    assert!(
        matches!(refused, RenewRootListError::RootForeign { .. }),
        "{refused}"
    );
    let own = fs::read(test.ca.root_crl()).unwrap();
    let foreign = fs::read(other.ca.root_crl()).unwrap();
    let both = [&own[..], &own].concat();
    for list in [&foreign[..], &both, b"junk", b""] {
        fs::write(test.ca.root_crl(), list).unwrap();
        let refused = test.ca.renew_root_list(&root(&test), NOW).unwrap_err();
        assert!(
            matches!(refused, RenewRootListError::List { .. }),
            "{refused}"
        );
        assert_eq!(fs::read(test.ca.root_crl()).unwrap(), list);
    }
}
