//! What is said of certificates and lists that somebody else signed.

use std::sync::Arc;
use std::time::Duration;

use leafgate_identity::SerialNumber;
use leafgate_pki::{
    CrlReason, DrawSerialError, EmbeddedCa, Intermediate, Issued, Issuer, KeyPairPem, Prepared,
    Profile, PublicKeyInfo, RevokedEntry, SerialSource, StatusUrl, StatusUrls, check_signed,
    check_signed_list,
};

use crate::support::{NOW, TestCa, device, issue};

const HOUR: Duration = Duration::from_secs(3600);

struct Short;

impl SerialSource for Short {
    fn draw(&self) -> Result<SerialNumber, DrawSerialError> {
        SerialNumber::from_be_bytes(&[1; 7]).map_err(|_| DrawSerialError)
    }
}

fn der(issued: &Issued) -> Vec<u8> {
    let block = pem::parse(&issued.certificate_pem).unwrap();
    block.into_contents()
}

fn key() -> PublicKeyInfo {
    KeyPairPem::generate().unwrap().public
}

fn client(name: &str) -> Profile {
    Profile::nats_client(name, &[]).unwrap()
}

#[tokio::test]
async fn what_was_asked_for_is_taken() {
    let test = TestCa::with_status("http://pki.example.org:8080");
    let addresses = ["127.0.0.1", "::1"].map(|text| text.parse().unwrap());
    let server = Profile::nats_server(&["leaf-1", "*.leaf.example.org"], &addresses, &[]).unwrap();
    for profile in [
        device("0001"),
        device("pump_7"),
        client("callout-0"),
        server,
    ] {
        let ca = test.load(profile.kind().intermediate());
        let urls = StatusUrls::under(
            &StatusUrl::parse("http://pki.example.org:8080").unwrap(),
            ca.spki(),
        );
        let key = key();
        let asked = ca.prepare(profile.clone(), key.clone(), NOW).unwrap();
        let issued = issue(&ca, profile, key).await;
        let checked = check_signed(&asked, &der(&issued), ca.certificate_pem(), Some(&urls));
        assert_eq!(checked, Ok(issued));
    }
}

#[tokio::test]
async fn whatever_else_was_signed_is_refused() {
    let test = TestCa::create();
    let (ca, servers) = (
        test.load(Intermediate::Devices),
        test.load(Intermediate::Servers),
    );
    let key = key();
    let asked = |profile| ca.prepare(profile, key.clone(), NOW).unwrap();
    let signed = async |ca: &EmbeddedCa, profile| der(&issue(ca, profile, key.clone()).await);
    let device_der = signed(&ca, device("0001")).await;
    let refused = |asked: &Prepared, der: &[u8], status: Option<&StatusUrls>| {
        let checked = check_signed(asked, der, ca.certificate_pem(), status);
        checked.expect_err("must be refused").to_string()
    };
    let wanted = asked(device("0001"));
    let longer = device("0001").with_lifetime(200 * HOUR).unwrap();
    let of_server = Profile::nats_server(&["device-0001.device.synadia.local"], &[], &[]).unwrap();
    let server = ca.prepare(of_server.clone(), key.clone(), NOW).unwrap();
    let short = test
        .load(Intermediate::Devices)
        .with_serials(Arc::new(Short));
    let of_other_key = der(&issue(&ca, device("0001"), self::key()).await);
    let trailing = [&device_der[..], &[0]].concat();
    for (asked, der, complaint) in [
        (&wanted, &b"junk"[..], "it is no certificate"),
        (&wanted, &trailing, "it is no certificate"),
        (&wanted, &of_other_key, "its key is another one"),
        (
            &wanted,
            &signed(&ca, device("0002")).await,
            "its subject is",
        ),
        (
            &wanted,
            &signed(&servers, device("0001")).await,
            "another issuer signed it",
        ),
        (&wanted, &signed(&ca, longer).await, "it ends at"),
        (
            &wanted,
            &signed(&short, device("0001")).await,
            "shorter than 64 bits",
        ),
        (&wanted, &signed(&ca, of_server).await, "wrong side of TLS"),
        (&server, &device_der, "wrong side of TLS"),
        (
            &wanted,
            &signed(&ca, client("device-0001.device.synadia.local")).await,
            "its alternative names are []",
        ),
        (
            &asked(client("device-0001.device.synadia.local")),
            &device_der,
            "not []",
        ),
    ] {
        let said = refused(asked, der, None);
        assert!(said.contains(complaint), "{complaint}: {said}");
    }
    let base = StatusUrl::parse("http://pki.example.org").unwrap();
    let urls = StatusUrls::under(&base, ca.spki());
    let said = refused(&wanted, &device_der, Some(&urls));
    assert!(said.contains("crl_distribution_points="), "{said}");

    let later = NOW.saturating_add(HOUR);
    let asked = ca.prepare(device("0001"), key.clone(), later).unwrap();
    let said = refused(&asked, &device_der, None);
    assert!(said.contains("it begins at"), "{said}");
}

#[tokio::test]
async fn a_list_has_its_number_its_certificates_and_its_time() {
    let test = TestCa::create();
    let (ca, other) = (
        test.load(Intermediate::Devices),
        test.load(Intermediate::Servers),
    );
    let entry = |first| RevokedEntry {
        serial: SerialNumber::from_be_bytes(&[first, 1]).unwrap(),
        revoked_at: NOW,
        reason: CrlReason::Superseded,
    };
    let (entries, end) = ([entry(0x90), entry(0x10)], NOW.saturating_add(HOUR));
    let check = |der: &[u8], entries: &[RevokedEntry]| {
        let checked = check_signed_list(der, ca.certificate_pem(), entries, 7, end);
        checked.map_err(|unfit| unfit.to_string())
    };
    let list = ca.sign_crl(&entries, 7, NOW, end).await.unwrap();
    assert_eq!(check(&list, &entries), Ok(()));
    assert_eq!(check(&list, &[entry(0x10), entry(0x90)]), Ok(()));
    // Its signer's clock is a little behind, or it gives more time.
    for end in [end.saturating_sub(HOUR / 60), end.saturating_add(HOUR)] {
        let list = ca.sign_crl(&entries, 7, NOW, end).await.unwrap();
        assert_eq!(check(&list, &entries), Ok(()));
    }

    let mut altered = list.clone();
    *altered.last_mut().unwrap() ^= 1;
    let early = end.saturating_sub(HOUR / 2);
    for (der, complaint) in [
        (b"junk".to_vec(), "it is no revocation list"),
        (altered, "another issuer signed it"),
        (
            other.sign_crl(&entries, 7, NOW, end).await.unwrap(),
            "another issuer signed it",
        ),
        (
            ca.sign_crl(&entries, 8, NOW, end).await.unwrap(),
            "another number",
        ),
        (
            ca.sign_crl(&entries[..1], 7, NOW, end).await.unwrap(),
            "other certificates",
        ),
        (
            ca.sign_crl(&[], 7, NOW, end).await.unwrap(),
            "other certificates",
        ),
        (
            ca.sign_crl(&entries, 7, NOW, early).await.unwrap(),
            "it ends at",
        ),
    ] {
        let said = check(&der, &entries).unwrap_err();
        assert!(said.contains(complaint), "{complaint}: {said}");
    }
}
