//! Serial numbers, dates and the way from prepared to issued.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use leafgate_identity::{
    Binding, CnPattern, DeviceIdentity, ParsedChain, SerialNumber, TrustDomain, TrustDomainName,
    TrustDomains, UnixMs, Validity,
};
use leafgate_pki::{
    DrawSerialError, INTERMEDIATE_LIFETIME, Intermediate, IssueError, Issuer, KeyPairPem,
    PrepareError, RandomSerials, RevokedEntry, SerialSource, SignCrlError,
};
use secrecy::ExposeSecret;

use crate::support::{NOW, TestCa, device};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3600);

struct Given(Mutex<Vec<&'static [u8]>>);

impl SerialSource for Given {
    fn draw(&self) -> Result<SerialNumber, DrawSerialError> {
        let bytes = self.0.lock().unwrap().pop().ok_or(DrawSerialError)?;
        SerialNumber::from_be_bytes(bytes).map_err(|_| DrawSerialError)
    }
}

#[tokio::test]
async fn serial_numbers_come_from_the_given_source() {
    let test = TestCa::create();
    let serials: Vec<&'static [u8]> = vec![&[0xff; 20], &[0x80; 16], &[0x7f]];
    let ca = test
        .ca
        .load(Intermediate::Devices)
        .unwrap()
        .with_serials(Arc::new(Given(Mutex::new(serials.clone()))));
    let key = KeyPairPem::generate().unwrap().public;
    for bytes in serials.into_iter().rev() {
        let expected = SerialNumber::from_be_bytes(bytes).unwrap();
        let prepared = ca.prepare(device("1"), key.clone(), NOW).unwrap();
        assert_eq!(prepared.serial(), Some(expected));
        let issued = ca.issue(prepared).await.unwrap();
        let chain = ParsedChain::parse(&pems(&issued.chain_pem)).unwrap();
        assert_eq!(chain.leaf.serial(), expected);
    }
    assert!(matches!(
        ca.prepare(device("1"), key, NOW),
        Err(PrepareError::Serial(_))
    ));
}

#[test]
fn random_serial_numbers_have_128_bits() {
    let drawn: HashSet<SerialNumber> = (0..1000).map(|_| RandomSerials.draw().unwrap()).collect();
    assert_eq!(drawn.len(), 1000);
    assert!(drawn.iter().all(|serial| serial.as_be_bytes().len() <= 16));
    // Each of the 128 bits is set in some and clear in others; by chance alone this fails once
    // in 2^990 runs.
    for at in 0..16 {
        let of = |serial: &SerialNumber| {
            let bytes = serial.as_be_bytes();
            (at + bytes.len()).checked_sub(16).map_or(0, |at| bytes[at])
        };
        let (any, all) = drawn
            .iter()
            .map(of)
            .fold((0, 0xff), |(any, all), byte| (any | byte, all & byte));
        assert_eq!((any, all), (0xff, 0), "byte {at}");
    }
}

#[tokio::test]
async fn a_device_certificate_identifies_its_device() {
    let test = TestCa::create();
    let ca = test.ca.load(Intermediate::Devices).unwrap();
    let domains = TrustDomains::try_from(vec![TrustDomain {
        name: TrustDomainName::parse("default").unwrap(),
        issuers: vec![ca.spki()],
        cn_pattern: CnPattern::default(),
        binding: Binding::Issued,
    }])
    .unwrap();
    for id in ["0001", "pump_7", "A-b"] {
        let key = KeyPairPem::generate().unwrap().public;
        let hash = key.spki_hash();
        let issued = ca
            .issue(ca.prepare(device(id), key, NOW).unwrap())
            .await
            .unwrap();
        let chain = ParsedChain::parse(&pems(&issued.chain_pem)).unwrap();
        assert_eq!(chain.leaf.public_key(), hash);
        let identity = DeviceIdentity::resolve(&chain, &domains).unwrap();
        assert_eq!(identity.id.as_str(), id);
        assert_eq!(identity.serial, issued.serial);
        assert_eq!(identity.fingerprint, issued.fingerprint);
        assert_eq!(identity.issuer, issued.issuer);
        assert_eq!(identity.validity, issued.validity);
    }
}

#[test]
fn dates_are_whole_seconds_within_those_of_the_issuer() {
    let test = TestCa::create();
    let ca = test.ca.load(Intermediate::Devices).unwrap();
    let key = KeyPairPem::generate().unwrap().public;
    let made = UnixMs::from_secs(NOW.as_secs());
    let of_issuer = Validity {
        not_before: made.saturating_sub(300 * SECOND),
        not_after: made.saturating_add(INTERMEDIATE_LIFETIME),
    };
    let prepare = |now| {
        ca.prepare(device("1"), key.clone(), now)
            .map(|prepared| prepared.validity())
    };

    let usual = prepare(NOW.saturating_add(DAY)).unwrap();
    assert_eq!(
        usual.not_before,
        made.saturating_add(DAY).saturating_sub(300 * SECOND)
    );
    assert_eq!(usual.not_after, made.saturating_add(8 * DAY));

    // On a machine whose clock is a little behind, a certificate still does not begin before
    // its issuer's.
    let early = prepare(made.saturating_sub(60 * SECOND)).unwrap();
    assert_eq!(early.not_before, of_issuer.not_before);
    let late = prepare(of_issuer.not_after.saturating_sub(SECOND)).unwrap();
    assert_eq!(late.not_after, of_issuer.not_after);

    for now in [
        of_issuer.not_after,
        of_issuer.not_after.saturating_add(DAY),
        UnixMs::MAX,
    ] {
        match prepare(now) {
            Err(PrepareError::IssuerExpired { not_after }) => {
                assert_eq!(not_after, of_issuer.not_after);
            }
            other => panic!("{other:?}"),
        }
    }
    for now in [of_issuer.not_before.saturating_sub(SECOND), UnixMs::MIN] {
        match prepare(now) {
            Err(PrepareError::IssuerNotYetValid { not_before }) => {
                assert_eq!(not_before, of_issuer.not_before);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_longest_lifetime_ends_with_the_issuer() {
    let test = TestCa::create();
    let ca = test.ca.load(Intermediate::Devices).unwrap();
    let key = KeyPairPem::generate().unwrap().public;
    let forever = device("1").with_lifetime(Duration::MAX).unwrap();
    let prepared = ca.prepare(forever, key, NOW).unwrap();
    assert_eq!(
        prepared.validity().not_after,
        UnixMs::from_secs(NOW.as_secs()).saturating_add(INTERMEDIATE_LIFETIME)
    );
}

#[tokio::test]
async fn what_another_issuer_prepared_is_not_signed() {
    let test = TestCa::create();
    let devices = test.ca.load(Intermediate::Devices).unwrap();
    let servers = test.ca.load(Intermediate::Servers).unwrap();
    let key = KeyPairPem::generate().unwrap().public;
    let prepared = devices.prepare(device("1"), key, NOW).unwrap();
    match servers.issue(prepared).await {
        Err(IssueError::Foreign { prepared_by }) => assert_eq!(prepared_by, devices.spki()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_list_must_end_after_it_begins() {
    let test = TestCa::create();
    let ca = test.ca.load(Intermediate::Devices).unwrap();
    for next_update in [
        NOW,
        NOW.saturating_sub(DAY),
        UnixMs::from_secs(NOW.as_secs()),
    ] {
        assert!(matches!(
            ca.sign_crl(&[] as &[RevokedEntry], 1, NOW, next_update)
                .await,
            Err(SignCrlError::NextUpdateNotAfterNow { .. })
        ));
    }
}

#[test]
fn nothing_prints_a_key() {
    let test = TestCa::create();
    let pair = KeyPairPem::generate().unwrap();
    let body = pair.private_key_pem.expose_secret();
    let body = body.lines().nth(1).unwrap();
    let ca = test.ca.load(Intermediate::Devices).unwrap();
    let stored = std::fs::read_to_string(test.ca.key(Intermediate::Devices)).unwrap();
    let stored = stored.lines().nth(1).unwrap();
    let shown = format!("{pair:?} {ca:?}");
    assert!(
        !shown.contains(&body[..16]) && !shown.contains(&stored[..16]),
        "{shown}"
    );
    assert!(shown.contains("REDACTED"), "{shown}");
}

fn pems(chain: &str) -> Vec<String> {
    pem::parse_many(chain)
        .unwrap()
        .iter()
        .map(pem::encode)
        .collect()
}
