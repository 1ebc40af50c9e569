//! Records for the cases, and the steps that they share.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use leafgate_identity::{
    DeviceId, Fingerprint, SerialNumber, SpkiHash, TrustDomainName, UnixMs, Validity,
};
use leafgate_registry::{
    Act, Actor, Certificate, CertificateId, Change, Crl, DeviceRecord, DeviceStore, Event,
    EventHash, FeedPosition, NewCertificate, NewCrl, NewDevice, StoreError,
};

/// A device id.
pub fn id(text: &str) -> DeviceId {
    DeviceId::parse(text).expect("a device id")
}

/// An act at this time, in milliseconds.
pub fn act(at_ms: i64) -> Act {
    Act {
        actor: Actor::parse("test:suite").expect("an actor"),
        at: UnixMs::new(at_ms),
    }
}

/// A device of type `sensor`, with two attributes.
pub fn new_device(text: &str) -> NewDevice {
    NewDevice {
        id: id(text),
        trust_domain: TrustDomainName::parse("factory").expect("a trust domain"),
        pending: false,
        device_type: "sensor".to_owned(),
        site: Some("north".to_owned()),
        attributes: BTreeMap::from([
            ("line".to_owned(), "3".to_owned()),
            ("name".to_owned(), "\"Pump\" 'x' – %_\\".to_owned()),
        ]),
    }
}

/// The key of issuer number `number`.
pub fn issuer(number: u8) -> SpkiHash {
    SpkiHash::from_bytes([number; 32])
}

/// The certificate of issuer 1 with this serial number.
pub fn certificate_id(serial: u32) -> CertificateId {
    certificate_id_of(1, serial)
}

/// The certificate of this issuer with this serial number.
pub fn certificate_id_of(issuer_number: u8, serial: u32) -> CertificateId {
    let octets = [&[1], serial.to_be_bytes().as_slice()].concat();
    let serial = SerialNumber::from_be_bytes(&octets).expect("five octets, the first of them 1");
    CertificateId {
        issuer: issuer(issuer_number),
        serial,
    }
}

/// A certificate that is valid from 1 s to 1,000 s.
pub fn new_certificate(id: CertificateId) -> NewCertificate {
    let validity = Validity {
        not_before: UnixMs::from_secs(1),
        not_after: UnixMs::from_secs(1_000),
    };
    NewCertificate {
        id,
        profile: "device".to_owned(),
        public_key: SpkiHash::from_bytes([0xee; 32]),
        validity,
    }
}

/// A fingerprint.
pub fn fingerprint(number: u8) -> Fingerprint {
    Fingerprint::from_bytes([number; 32])
}

/// The change that takes an issuer's CRL number after `previous`, for a list from 1 s to 2 s.
pub fn number_crl(previous: Option<&Crl>, issuer_number: u8) -> Change {
    let new = NewCrl {
        issuer: issuer(issuer_number),
        this_update: UnixMs::new(1_000),
        next_update: UnixMs::new(2_000),
    };
    Change::record_crl(previous, new, &act(1_000)).expect("a good list")
}

/// Commits a change of a device, and gives the device afterwards.
pub async fn apply(store: &dyn DeviceStore, change: Change) -> DeviceRecord {
    store
        .commit(std::slice::from_ref(&change))
        .await
        .expect("the change fits");
    change.device_after().expect("a change of a device").clone()
}

/// Commits a change of a service certificate, and gives it afterwards.
pub async fn apply_service(store: &dyn DeviceStore, change: Change) -> Certificate {
    store
        .commit(std::slice::from_ref(&change))
        .await
        .expect("the change fits");
    change
        .service_certificate_after()
        .expect("a change of a service certificate")
        .clone()
}

/// Registers an active device.
pub async fn register(store: &dyn DeviceStore, text: &str) -> DeviceRecord {
    apply(
        store,
        Change::register(None, new_device(text), &act(1_000)).expect("a good device"),
    )
    .await
}

/// Registers an active device with an issued certificate.
pub async fn register_with_certificate(
    store: &dyn DeviceStore,
    text: &str,
    id: CertificateId,
) -> DeviceRecord {
    let record = register(store, text).await;
    let prepare = Change::prepare_certificate(&record, new_certificate(id), &act(2_000));
    let record = apply(store, prepare.expect("an active device")).await;
    let issue = Change::record_issued(&record, &id, fingerprint(1), &act(3_000));
    apply(store, issue.expect("a prepared certificate")).await
}

/// The device as the store has it.
pub async fn load(store: &dyn DeviceStore, text: &str) -> DeviceRecord {
    store
        .load(&id(text))
        .await
        .expect("a readable device")
        .expect("a registered device")
}

/// Every event of the feed.
pub async fn all_events(store: &dyn DeviceStore) -> Vec<Event> {
    store
        .events_after(0, usize::MAX)
        .await
        .expect("a readable feed")
}

/// Ends a case that waits for something that doesn't come.
pub async fn within<T>(duration: Duration, what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(duration, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {duration:?}"),
    }
}

/// Whether a store's feed passes through this position: same epoch, and the event with this number has this hash.
///
/// # Errors
/// If the store can't be read.
pub async fn knows(store: &dyn DeviceStore, position: &FeedPosition) -> Result<bool, StoreError> {
    let hash = match position.seq.checked_sub(1) {
        None => Some(EventHash::ZERO),
        Some(before) => {
            let events = store.events_after(before, 1).await?;
            events
                .first()
                .filter(|event| event.seq == position.seq)
                .map(|event| event.hash)
        }
    };
    // The epoch is read last: it is then still that of the event just read.
    Ok(hash == Some(position.hash) && store.position().await?.epoch == position.epoch)
}
