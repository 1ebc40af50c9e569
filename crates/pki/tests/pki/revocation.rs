//! What OpenSSL says of revocation lists.

use std::path::Path;
use std::time::Duration;

use leafgate_identity::{SerialNumber, UnixMs};
use leafgate_pki::{
    CrlReason, Intermediate, Issuer, KeyPairPem, ParseListError, Profile, RevokedEntry,
    RootAuthority, SignedList, crl_pem,
};

use crate::support::{
    CA_KEYS, NOW, PASSPHRASE, TestCa, device, foreign_ca, issue, openssl, text, try_openssl,
    verify, verify_at,
};

const HOUR: Duration = Duration::from_secs(3600);

fn crl_text(path: &Path) -> String {
    openssl(&["crl", "-in", path.to_str().unwrap(), "-noout", "-text"])
}

fn crl_verifies(list: &Path, issuer: &Path) -> bool {
    // `openssl crl` exits 0 whatever it finds.
    let output = try_openssl(&[
        "crl",
        "-in",
        list.to_str().unwrap(),
        "-noout",
        "-verify",
        "-CAfile",
        issuer.to_str().unwrap(),
    ]);
    String::from_utf8_lossy(&output.stderr).contains("verify OK")
}

#[tokio::test]
async fn revocation_lists_of_every_authority_are_checked_for_the_whole_chain() {
    whole_chain_is_checked(&TestCa::create()).await;
    whole_chain_is_checked(&TestCa::with_status("http://pki.example.org:8080")).await;
}

async fn whole_chain_is_checked(test: &TestCa) {
    for intermediate in [Intermediate::Devices, Intermediate::Servers] {
        let ca = test.load(intermediate);
        let profile = match intermediate {
            Intermediate::Devices => device("0001"),
            Intermediate::Servers => Profile::nats_server(&["leaf-1"], &[], &[]).unwrap(),
        };
        let good = issue(&ca, profile.clone(), KeyPairPem::generate().unwrap().public).await;
        let bad = issue(&ca, profile, KeyPairPem::generate().unwrap().public).await;
        let good = test.write("good.crt", &good.certificate_pem);
        let bad_path = test.write("bad.crt", &bad.certificate_pem);
        let revoked = [RevokedEntry {
            serial: bad.serial,
            revoked_at: NOW,
            reason: CrlReason::KeyCompromise,
        }];
        let root_crl = test.ca.root_crl();
        assert!(crl_verifies(&root_crl, &test.ca.root_certificate()));

        for (entries, number, bad_passes) in [(&[][..], 1, true), (&revoked[..], 2, false)] {
            let der = ca
                .sign_crl(entries, number, NOW, NOW.saturating_add(24 * HOUR))
                .await
                .unwrap();
            let list = test.write("list.crl", crl_pem(&der));
            assert!(crl_verifies(&list, &test.ca.certificate(intermediate)));
            let check = |leaf: &Path| {
                let lists = format!(
                    "{}{}",
                    std::fs::read_to_string(&list).unwrap(),
                    std::fs::read_to_string(&root_crl).unwrap()
                );
                let lists = test.write("lists.crl", lists);
                let lists = ["-crl_check_all", "-CRLfile", lists.to_str().unwrap()];
                verify(test, leaf, intermediate, &lists)
            };
            assert!(check(&good), "{intermediate}, list {number}");
            assert_eq!(
                check(&bad_path),
                bad_passes,
                "{intermediate}, list {number}"
            );
        }
    }
}

#[tokio::test]
async fn a_revocation_list_says_number_dates_and_reasons() {
    let test = TestCa::create();
    let ca = test.ca.load(Intermediate::Devices).unwrap();
    let reasons = [
        (CrlReason::Unspecified, None),
        (CrlReason::KeyCompromise, Some("Key Compromise")),
        (CrlReason::CaCompromise, Some("CA Compromise")),
        (CrlReason::AffiliationChanged, Some("Affiliation Changed")),
        (CrlReason::Superseded, Some("Superseded")),
        (
            CrlReason::CessationOfOperation,
            Some("Cessation Of Operation"),
        ),
        (CrlReason::PrivilegeWithdrawn, Some("Privilege Withdrawn")),
    ];
    let entries: Vec<RevokedEntry> = (0x80u8..)
        .zip(reasons)
        .map(|(first, (reason, _))| RevokedEntry {
            serial: SerialNumber::from_be_bytes(&[first, 1]).unwrap(),
            revoked_at: NOW.saturating_sub(HOUR),
            reason,
        })
        .collect();
    let number = u64::from(u32::MAX) + 1;
    let der = ca
        .sign_crl(&entries, number, NOW, NOW.saturating_add(24 * HOUR))
        .await
        .unwrap();
    let shown = crl_text(&test.write("list.crl", crl_pem(&der)));
    for part in [
        "Version 2 (0x1)",
        "Last Update: Mar  1 12:00:00 2026 GMT",
        "Next Update: Mar  2 12:00:00 2026 GMT",
        "X509v3 CRL Number: \n                4294967296\n",
        "Serial Number: 8001\n",
        "Revocation Date: Mar  1 11:00:00 2026 GMT",
        "X509v3 Authority Key Identifier",
    ] {
        assert!(shown.contains(part), "{part:?} missing in\n{shown}");
    }
    for (_, name) in reasons {
        if let Some(name) = name {
            assert_eq!(shown.matches(name).count(), 1, "{name} in\n{shown}");
        }
    }
    assert!(!shown.contains("Unspecified"), "RFC 5280 section 5.3.1");
    let aki = |text: &str| {
        let (_, rest) = text.split_once("Authority Key Identifier: \n").unwrap();
        rest.lines().next().unwrap().trim().to_owned()
    };
    let leaf = issue(&ca, device("1"), KeyPairPem::generate().unwrap().public).await;
    let leaf = test.write("leaf.crt", &leaf.certificate_pem);
    assert_eq!(aki(&shown), aki(&text(&leaf)));
}

#[tokio::test]
async fn an_empty_list_has_no_list_of_entries() {
    let test = TestCa::create();
    let ca = test.ca.load(Intermediate::Devices).unwrap();
    let der = ca
        .sign_crl(&[], 1, NOW, NOW.saturating_add(HOUR))
        .await
        .unwrap();
    let list = test.write("list.crl", crl_pem(&der));
    assert!(crl_text(&list).contains("No Revoked Certificates."));
    let as_der = test.write("list.der", &der);
    let from_der = [
        "crl",
        "-inform",
        "DER",
        "-in",
        as_der.to_str().unwrap(),
        "-noout",
        "-text",
    ];
    assert_eq!(openssl(&from_der), crl_text(&list));
}

/// Lists come in both forms; other software has read those in DER as empty ones, or failed at lists
/// without entries.
#[tokio::test]
async fn lists_are_read_in_pem_and_der_with_entries_and_without() {
    let test = TestCa::create();
    let ca = test.ca.load(Intermediate::Devices).unwrap();
    let entry = RevokedEntry {
        serial: SerialNumber::from_be_bytes(&[1]).unwrap(),
        revoked_at: NOW,
        reason: CrlReason::KeyCompromise,
    };
    for entries in [&[][..], &[entry]] {
        let end = NOW.saturating_add(HOUR);
        let der = ca.sign_crl(entries, 1, NOW, end).await.unwrap();
        let whole = SignedList {
            der: der.clone(),
            this_update: UnixMs::from_secs(NOW.as_secs()),
            next_update: UnixMs::from_secs(end.as_secs()),
        };
        let pem = crl_pem(&der);
        assert_eq!(SignedList::parse(&der), Ok(whole.clone()));
        assert_eq!(SignedList::parse(pem.as_bytes()), Ok(whole));
        for broken in [
            &der[..der.len() - 1],
            &[&der[..], b"\n"].concat(),
            format!("{pem}{pem}").as_bytes(),
            pem.replace("X509 CRL", "CERTIFICATE").as_bytes(),
            &pem.as_bytes()[..pem.len() / 2],
            b"",
        ] {
            assert_eq!(SignedList::parse(broken), Err(ParseListError));
        }
    }
}

#[tokio::test]
async fn lists_of_every_kind_of_key_verify() {
    let test = TestCa::create();
    for (name, new_key) in CA_KEYS {
        let (certificate, ca) = foreign_ca(&test, new_key);
        let end = NOW.saturating_add(HOUR);
        let mut der = ca.sign_crl(&[], 1, NOW, end).await.unwrap();
        let list = test.write("list.crl", crl_pem(&der));
        assert!(crl_verifies(&list, &certificate), "{name}");
        // The last octet belongs to the signature.
        *der.last_mut().unwrap() ^= 1;
        let list = test.write("list.crl", crl_pem(&der));
        assert!(!crl_verifies(&list, &certificate), "{name}");
    }
}

#[tokio::test]
async fn a_long_list_has_each_entry() {
    let test = TestCa::create();
    let ca = test.ca.load(Intermediate::Devices).unwrap();
    let entries: Vec<RevokedEntry> = (1_u32..=3000)
        .map(|number| RevokedEntry {
            serial: SerialNumber::from_be_bytes(&number.to_be_bytes()).unwrap(),
            // Until 2050 a date has two digits of its year, then four.
            revoked_at: UnixMs::from_secs(2_524_606_600 + i64::from(number)),
            reason: CrlReason::Superseded,
        })
        .collect();
    let end = NOW.saturating_add(HOUR);
    let der = ca.sign_crl(&entries, 1, NOW, end).await.unwrap();
    let list = test.write("list.crl", crl_pem(&der));
    assert!(crl_verifies(
        &list,
        &test.ca.certificate(Intermediate::Devices)
    ));
    let shown = crl_text(&list);
    for entry in &entries {
        let serial = entry.serial.to_string().to_uppercase();
        assert_eq!(
            shown.matches(&format!("Serial Number: {serial}\n")).count(),
            1
        );
    }
    assert_eq!(shown.matches("Superseded").count(), entries.len());
    assert_eq!(shown.matches("Dec 31 23:59:59 2049 GMT").count(), 1);
    assert_eq!(shown.matches("Jan  1 00:00:00 2050 GMT").count(), 1);
}

#[tokio::test]
async fn a_root_key_out_of_the_safe_makes_intermediates_and_lists() {
    let test = TestCa::create();
    let root = RootAuthority::read_encrypted(
        &test.ca.root_certificate(),
        &test.root_key(),
        &PASSPHRASE.into(),
    )
    .unwrap();
    let later = NOW.saturating_add(300 * 24 * HOUR);
    let made = root
        .issue_intermediate("leafgate devices", None, later)
        .unwrap();
    let path = test.write("new.crt", &made.certificate_pem);
    assert!(verify_at(later, &test, &path, Intermediate::Devices, &[]));
    let list = root
        .sign_crl(&[], 2, later, later.saturating_add(HOUR))
        .unwrap();
    let list = test.write("root.crl", crl_pem(&list));
    assert!(crl_verifies(&list, &test.ca.root_certificate()));
}
