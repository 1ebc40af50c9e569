//! New devices with a token in their hands.

use std::collections::BTreeMap;
use std::time::Duration;

use leafgate_access::{Admits, EnrolmentToken, EnrolmentTokenText, NewEnrolmentToken};
use leafgate_identity::TrustDomainName;
use leafgate_registrar::{
    DeviceCredentials, EnrolError, EnrolmentBar, ErrorKind, RegistrarError, TokenEnd,
};
use leafgate_registry::{
    Act, CertificateStatusKind, DeviceEdit, DeviceState, EventKind, NewDevice, RevocationReason,
};

use crate::support::{Bench, NOW, act, id, key_of, new_device, openssl_csr};

over_every_store!(
    a_listed_device_enrols_once,
    a_registered_device_enrols_if_it_is_as_the_token_says,
    a_device_that_had_a_certificate_does_not_enrol,
    a_manifest_admits_each_device_with_its_key,
    unnamed_devices_wait_for_approval_and_are_counted,
    a_token_that_names_nobody_does_not_tell_who_exists,
    a_listed_id_in_other_letters_is_taken,
    a_lost_answer_is_given_again,
    an_enrolment_that_died_can_be_made_again_with_another_key,
    anothers_key_enrols_nobody,
);

const DAY: Duration = Duration::from_secs(24 * 3600);

pub(crate) fn ids(names: &[&str]) -> Admits {
    Admits::Ids(names.iter().copied().map(id).collect())
}

pub(crate) fn new_token(admits: Admits) -> NewEnrolmentToken {
    NewEnrolmentToken {
        name: "line 4".into(),
        admits,
        trust_domain: TrustDomainName::parse("default").unwrap(),
        device_type: "pump".into(),
        site: None,
        attributes: BTreeMap::from([("line".to_owned(), "4".to_owned())]),
        created_by: "cli:test".into(),
        expires_at: NOW.saturating_add(DAY),
    }
}

pub(crate) async fn token(bench: &Bench, admits: Admits) -> (EnrolmentToken, EnrolmentTokenText) {
    let new = new_token(admits);
    bench
        .registrar
        .create_enrolment_token(new, &act())
        .await
        .unwrap()
}

pub(crate) async fn enrol(
    bench: &Bench,
    text: &EnrolmentTokenText,
    name: &str,
    csr: &str,
) -> Result<DeviceCredentials, RegistrarError> {
    bench.registrar.enrol(text, &id(name), csr, &act()).await
}

pub(crate) fn refusal(outcome: Result<DeviceCredentials, RegistrarError>) -> EnrolError {
    match outcome.unwrap_err() {
        RegistrarError::Enrol(why) => why,
        other => panic!("{other}"),
    }
}

fn illegal(name: &str, bar: EnrolmentBar) -> EnrolError {
    EnrolError::Illegal { id: id(name), bar }
}

fn not_covered(name: &str) -> EnrolError {
    EnrolError::NotCovered { id: id(name) }
}

async fn uses(bench: &Bench, token: &EnrolmentToken) -> u32 {
    let found = bench.registrar.enrolment_token(&token.id).await.unwrap();
    found.unwrap().uses
}

async fn a_listed_device_enrols_once(bench: Bench) {
    let (token, text) = token(&bench, ids(&["0001", "0002"])).await;
    let actor = token.id.actor_name();
    let by_token = Act {
        actor: leafgate_registry::Actor::parse(&actor).unwrap(),
        at: NOW,
    };
    let csr = openssl_csr();
    let made = bench
        .registrar
        .enrol(&text, &id("0001"), &csr, &by_token)
        .await
        .unwrap();
    assert!(made.newly_issued && made.private_key_pem.is_none());
    assert_eq!(bench.identity(&made.issued).id, id("0001"));
    let device = &made.device.device;
    assert_eq!(
        device.state,
        DeviceState::Active,
        "whoever names it vouches for it"
    );
    assert_eq!((device.device_type.as_str(), &device.site), ("pump", &None));
    assert_eq!(device.attributes["line"], "4");
    assert_eq!(made.device, bench.record(&id("0001")).await);
    assert_eq!(uses(&bench, &token).await, 1, "one device was let in");
    let events = bench.events().await;
    let kinds: Vec<_> = events[1..].iter().map(|event| &event.kind).collect();
    assert_eq!(
        kinds,
        [
            &EventKind::DeviceRegistered,
            &EventKind::CertificatePrepared,
            &EventKind::CertificateIssued
        ]
    );
    assert!(events[1..].iter().all(|event| event.actor == actor));

    let again = refusal(enrol(&bench, &text, "0001", &openssl_csr()).await);
    assert_eq!(again, illegal("0001", EnrolmentBar::HasHadCertificate));
    let stranger = refusal(enrol(&bench, &text, "0003", &openssl_csr()).await);
    assert_eq!(stranger, not_covered("0003"));
    assert_eq!(uses(&bench, &token).await, 1);
    enrol(&bench, &text, "0002", &openssl_csr()).await.unwrap();
    assert_eq!(uses(&bench, &token).await, 2);
}

async fn a_registered_device_enrols_if_it_is_as_the_token_says(bench: Bench) {
    let registrar = &bench.registrar;
    let names = [
        "active", "pending", "disabled", "revoked", "deleted", "valve", "north",
    ];
    let (_, text) = token(&bench, ids(&names)).await;
    for name in names {
        let new = NewDevice {
            pending: name == "pending",
            ..new_device(name)
        };
        registrar.register(new, &act()).await.unwrap();
    }
    registrar.disable(&id("disabled"), &act()).await.unwrap();
    let reason = RevocationReason::Unspecified;
    registrar
        .revoke(&id("revoked"), reason, &act())
        .await
        .unwrap();
    registrar.delete(&id("deleted"), &act()).await.unwrap();
    let edit = async |name, edit| registrar.edit(&id(name), edit, &act()).await.unwrap();
    let valve = DeviceEdit {
        device_type: Some("valve".into()),
        ..DeviceEdit::default()
    };
    edit("valve", valve).await;
    let north = DeviceEdit {
        site: Some(Some("north".into())),
        ..DeviceEdit::default()
    };
    edit("north", north).await;

    for (name, bar) in [
        ("disabled", EnrolmentBar::State(DeviceState::Disabled)),
        ("revoked", EnrolmentBar::State(DeviceState::Revoked)),
        ("deleted", EnrolmentBar::State(DeviceState::Deleted)),
        ("valve", EnrolmentBar::Differs("type")),
        ("north", EnrolmentBar::Differs("site")),
    ] {
        let before = bench.record(&id(name)).await;
        let refused = refusal(enrol(&bench, &text, name, &openssl_csr()).await);
        assert_eq!(refused, illegal(name, bar));
        assert_eq!(bench.record(&id(name)).await, before);
    }
    let active = enrol(&bench, &text, "active", &openssl_csr())
        .await
        .unwrap();
    assert_eq!(
        active.device.device.attributes,
        BTreeMap::new(),
        "as it was registered"
    );
    let pending = enrol(&bench, &text, "pending", &openssl_csr())
        .await
        .unwrap();
    assert_eq!(pending.device.device.state, DeviceState::Pending);
    assert_eq!(
        bench.statuses(&id("pending")).await,
        [CertificateStatusKind::Issued]
    );
    // Nobody else gets one for it before its approval, and it does not renew.
    let refused = bench.not_issued(&id("pending")).await;
    assert!(
        matches!(refused, RegistrarError::NotIssuable { .. }),
        "{refused}"
    );
    let presented = pending.issued.fingerprint;
    let renewed = registrar
        .renew(&id("pending"), &presented, &openssl_csr(), &act())
        .await;
    assert!(matches!(renewed, Err(RegistrarError::NotIssuable { .. })));
}

async fn a_device_that_had_a_certificate_does_not_enrol(bench: Bench) {
    let registrar = &bench.registrar;
    let device = bench.registered("0001").await;
    let made = bench.issued(&device).await;
    let (_, text) = token(&bench, ids(&["0001"])).await;
    let expected = illegal("0001", EnrolmentBar::HasHadCertificate);
    let attempt = async || refusal(enrol(&bench, &text, "0001", &openssl_csr()).await);
    assert_eq!(attempt().await, expected, "it is in use");
    let serial = made.issued.serial;
    let reason = RevocationReason::Superseded;
    registrar
        .revoke_certificate(serial, None, reason, &act())
        .await
        .unwrap();
    assert_eq!(attempt().await, expected, "it is revoked");
    registrar.delete(&device, &act()).await.unwrap();
    bench.registered("0001").await;
    assert_eq!(
        attempt().await,
        expected,
        "it was of an earlier registration"
    );
    assert_eq!(
        bench.record(&device).await.current_certificates().count(),
        0
    );
}

async fn a_manifest_admits_each_device_with_its_key(bench: Bench) {
    let (first, second) = (openssl_csr(), openssl_csr());
    let manifest = [(id("0001"), key_of(&first)), (id("0002"), key_of(&second))];
    let (_, text) = token(&bench, Admits::Manifest(manifest.into())).await;
    for csr in [&second, &openssl_csr()] {
        let refused = enrol(&bench, &text, "0001", csr).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Forbidden, "{refused}");
        let refused = refusal(Err(refused));
        assert_eq!(refused, EnrolError::KeyForeign { id: id("0001") });
    }
    let stranger = refusal(enrol(&bench, &text, "0003", &first).await);
    assert_eq!(stranger, not_covered("0003"));
    enrol(&bench, &text, "0001", &first).await.unwrap();
    enrol(&bench, &text, "0002", &second).await.unwrap();
}

async fn unnamed_devices_wait_for_approval_and_are_counted(bench: Bench) {
    let (token, text) = token(&bench, Admits::Unnamed { max_uses: 2 }).await;
    for name in ["0001", "0002"] {
        let made = enrol(&bench, &text, name, &openssl_csr()).await.unwrap();
        assert_eq!(made.device.device.state, DeviceState::Pending);
        assert!(!made.device.device.state.admits());
    }
    let refused = refusal(enrol(&bench, &text, "0003", &openssl_csr()).await);
    assert_eq!(
        refused,
        EnrolError::TokenEnded {
            end: TokenEnd::UsedUp
        }
    );
    assert_eq!(uses(&bench, &token).await, 2);
    assert_eq!(bench.store.inner().load(&id("0003")).await.unwrap(), None);

    let approved = bench.registrar.approve(&id("0001"), &act()).await.unwrap();
    assert!(approved.device.state.admits());
    assert_eq!(
        bench.statuses(&id("0001")).await,
        [CertificateStatusKind::Issued]
    );
}

async fn a_token_that_names_nobody_does_not_tell_who_exists(bench: Bench) {
    let (token, text) = token(&bench, Admits::Unnamed { max_uses: 5 }).await;
    bench.registered("0001").await;
    bench.registered("Pump-7").await;
    let deleted = bench.registered("0002").await;
    bench.registrar.delete(&deleted, &act()).await.unwrap();
    for name in ["0001", "pump-7", "0002"] {
        let refused = enrol(&bench, &text, name, &openssl_csr())
            .await
            .unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!("this enrolment token does not let {name} in")
        );
        assert_eq!(refusal(Err(refused)), not_covered(name));
    }
    assert_eq!(uses(&bench, &token).await, 0);
}

async fn a_listed_id_in_other_letters_is_taken(bench: Bench) {
    let (_, text) = token(&bench, ids(&["pump-7"])).await;
    bench.registered("Pump-7").await;
    let refused = refusal(enrol(&bench, &text, "pump-7", &openssl_csr()).await);
    assert_eq!(refused, illegal("pump-7", EnrolmentBar::IdTaken));
    let other_letters = refusal(enrol(&bench, &text, "PUMP-7", &openssl_csr()).await);
    assert_eq!(other_letters, not_covered("PUMP-7"));
}

async fn a_lost_answer_is_given_again(bench: Bench) {
    for (name, admits) in [
        ("0001", ids(&["0001"])),
        ("0002", Admits::Unnamed { max_uses: 1 }),
    ] {
        let (token, text) = token(&bench, admits).await;
        let csr = openssl_csr();
        let first = enrol(&bench, &text, name, &csr).await.unwrap();
        let before = bench.store.inner().position().await.unwrap();
        let again = enrol(&bench, &text, name, &csr).await.unwrap();
        assert_eq!(again.issued, first.issued);
        assert!(!again.newly_issued);
        assert_eq!(bench.store.inner().position().await.unwrap(), before);
        assert_eq!(uses(&bench, &token).await, 1);
        let other = enrol(&bench, &text, name, &openssl_csr()).await;
        assert!(other.is_err(), "another key is another device");
    }
}

async fn an_enrolment_that_died_can_be_made_again_with_another_key(bench: Bench) {
    let (listed, text) = token(&bench, ids(&["0001"])).await;
    bench.devices.fail(true);
    let lost = openssl_csr();
    let error = enrol(&bench, &text, "0001", &lost).await.unwrap_err();
    assert!(matches!(error, RegistrarError::NotSigned { .. }), "{error}");
    bench.devices.fail(false);
    let made = enrol(&bench, &text, "0001", &openssl_csr()).await.unwrap();
    use CertificateStatusKind::{Issued, Revoked};
    assert_eq!(bench.statuses(&id("0001")).await, [Issued, Revoked]);
    assert_eq!(made.device, bench.record(&id("0001")).await);

    // With a token for one unnamed device, only the key that was counted can come again.
    let (_, text) = token(&bench, Admits::Unnamed { max_uses: 1 }).await;
    bench.devices.fail(true);
    let csr = openssl_csr();
    assert!(enrol(&bench, &text, "0002", &csr).await.is_err());
    bench.devices.fail(false);
    let other = refusal(enrol(&bench, &text, "0002", &openssl_csr()).await);
    assert_eq!(other, not_covered("0002"));
    let other = refusal(enrol(&bench, &text, "0003", &openssl_csr()).await);
    assert_eq!(
        other,
        EnrolError::TokenEnded {
            end: TokenEnd::UsedUp
        }
    );
    enrol(&bench, &text, "0002", &csr).await.unwrap();
    assert_eq!(uses(&bench, &listed).await, 1);
}

async fn anothers_key_enrols_nobody(bench: Bench) {
    let owner = bench.registered("owner").await;
    let csr = openssl_csr();
    bench
        .registrar
        .sign_csr(&owner, &csr, &act())
        .await
        .unwrap();
    let (token, text) = token(&bench, ids(&["0001"])).await;
    let refused = enrol(&bench, &text, "0001", &csr).await.unwrap_err();
    assert!(
        matches!(refused, RegistrarError::KeyHeld { holder: None }),
        "{refused}"
    );
    assert_eq!(uses(&bench, &token).await, 0);
    assert_eq!(bench.store.inner().load(&id("0001")).await.unwrap(), None);
}
