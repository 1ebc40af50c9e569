//! Devices: registration and the way through their states.

use std::collections::BTreeMap;

use leafgate_identity::TrustDomainName;
use leafgate_registrar::{CertificateKey, ErrorKind, RegistrarError};
use leafgate_registry::{
    BuildChangeError, CertificateStatus, Change, Device, DeviceEdit, DeviceState, NewDevice,
    RevocationReason,
};

use crate::faulty_store::Fault;
use crate::support::{Bench, NOW, act, id, new_device};

over_every_store!(
    a_device_is_registered_active_or_pending,
    what_no_certificate_could_carry_is_not_registered,
    an_id_is_taken_once_in_any_case,
    a_deleted_id_starts_a_new_generation,
    a_device_goes_through_its_states,
    what_a_state_does_not_allow_is_refused,
    what_does_not_exist_is_not_found,
    revoking_and_deleting_revoke_every_certificate,
    attributes_are_replaced,
    an_edit_builds_on_what_others_changed_meanwhile,
    what_an_edit_refuses_is_not_done,
    conflicts_are_tried_again_for_a_while,
    what_is_no_longer_legal_is_not_tried_again,
    a_race_for_an_id_has_one_winner,
);

async fn a_device_is_registered_active_or_pending(bench: Bench) {
    let record = bench
        .registrar
        .register(new_device("0001"), &act())
        .await
        .unwrap();
    assert_eq!(record.device.state, DeviceState::Active);
    assert_eq!(record, bench.record(&id("0001")).await);

    let waiting = NewDevice {
        pending: true,
        ..new_device("0002")
    };
    let record = bench.registrar.register(waiting, &act()).await.unwrap();
    assert_eq!(record.device.state, DeviceState::Pending);
    let record = bench.registrar.approve(&id("0002"), &act()).await.unwrap();
    assert_eq!(record.device.state, DeviceState::Active);
}

async fn what_no_certificate_could_carry_is_not_registered(bench: Bench) {
    let elsewhere = TrustDomainName::parse("elsewhere").unwrap();
    let nowhere = TrustDomainName::parse("nowhere").unwrap();
    let longest = "a".repeat(36);
    let too_long = "a".repeat(37);
    for (new, expected) in [
        (new_device(&too_long), "no certificate can carry this name"),
        (
            NewDevice {
                trust_domain: nowhere,
                ..new_device("0001")
            },
            "there is no trust domain nowhere; there is default, elsewhere",
        ),
        (
            NewDevice {
                device_type: "a pump".into(),
                ..new_device("0001")
            },
            "device_type must be",
        ),
    ] {
        let refused = bench.registrar.register(new, &act()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Input, "{refused}");
        assert!(refused.to_string().starts_with(expected), "{refused}");
    }
    for new in [
        new_device(&longest),
        NewDevice {
            trust_domain: elsewhere,
            ..new_device(&too_long)
        },
    ] {
        bench.registrar.register(new, &act()).await.unwrap();
    }
}

async fn an_id_is_taken_once_in_any_case(bench: Bench) {
    bench.registered("pump-7").await;
    for taken in ["pump-7", "Pump-7"] {
        let refused = bench
            .registrar
            .register(new_device(taken), &act())
            .await
            .unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Conflict);
        assert!(refused.to_string().contains("pump-7"), "{refused}");
    }
}

async fn a_deleted_id_starts_a_new_generation(bench: Bench) {
    let id = bench.registered("0001").await;
    let first = bench.issued(&id).await;
    bench.registrar.delete(&id, &act()).await.unwrap();
    let again = bench
        .registrar
        .register(new_device("0001"), &act())
        .await
        .unwrap();
    assert_eq!(again.device.generation, 2);
    assert_eq!(again.device.state, DeviceState::Active);
    assert!(
        again
            .certificate_by_fingerprint(&first.issued.fingerprint)
            .is_none()
    );
    let second = bench.issued(&id).await;
    assert_eq!(second.device.current_certificates().count(), 1);
}

async fn a_device_goes_through_its_states(bench: Bench) {
    use DeviceState::{Active, Deleted, Disabled, Quarantined, Revoked};
    let registrar = &bench.registrar;
    let id = bench.registered("0001").await;
    let unspecified = RevocationReason::Unspecified;
    for (outcome, expected) in [
        (registrar.disable(&id, &act()).await, Disabled),
        (registrar.enable(&id, &act()).await, Active),
        (registrar.quarantine(&id, &act()).await, Quarantined),
        (registrar.enable(&id, &act()).await, Active),
        (registrar.quarantine(&id, &act()).await, Quarantined),
        (registrar.disable(&id, &act()).await, Disabled),
        (registrar.revoke(&id, unspecified, &act()).await, Revoked),
        (registrar.delete(&id, &act()).await, Deleted),
    ] {
        assert_eq!(outcome.unwrap().device.state, expected);
    }
    assert_eq!(bench.record(&id).await.device.state, Deleted);
}

async fn what_a_state_does_not_allow_is_refused(bench: Bench) {
    let registrar = &bench.registrar;
    let id = bench.registered("0001").await;
    let unspecified = RevocationReason::Unspecified;
    registrar.revoke(&id, unspecified, &act()).await.unwrap();
    for refused in [
        registrar.enable(&id, &act()).await,
        registrar.approve(&id, &act()).await,
        registrar.disable(&id, &act()).await,
        registrar.quarantine(&id, &act()).await,
        registrar.revoke(&id, unspecified, &act()).await,
        registrar.set_attributes(&id, BTreeMap::new(), &act()).await,
    ] {
        let refused = refused.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused}");
        assert!(refused.to_string().contains("0001 is revoked"), "{refused}");
    }
    assert_eq!(bench.record(&id).await.device.state, DeviceState::Revoked);
}

async fn what_does_not_exist_is_not_found(bench: Bench) {
    let registrar = &bench.registrar;
    bench.registered("pump-7").await;
    for missing in [id("0001"), id("PUMP-7")] {
        for refused in [
            registrar.approve(&missing, &act()).await,
            registrar.delete(&missing, &act()).await,
            registrar
                .edit(&missing, DeviceEdit::default(), &act())
                .await,
            registrar
                .issue_with_new_key(&missing, &act())
                .await
                .map(|credentials| credentials.device),
        ] {
            let refused = refused.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::NotFound);
            assert_eq!(refused.to_string(), format!("there is no device {missing}"));
        }
    }
}

async fn revoking_and_deleting_revoke_every_certificate(bench: Bench) {
    let reason = RevocationReason::KeyCompromise;
    let (revoked, deleted) = (
        bench.registered("revoked").await,
        bench.registered("deleted").await,
    );
    for id in [&revoked, &deleted] {
        for _ in 0..2 {
            bench.issued(id).await;
        }
    }
    bench
        .registrar
        .revoke(&revoked, reason, &act())
        .await
        .unwrap();
    bench.registrar.delete(&deleted, &act()).await.unwrap();
    for (id, reason) in [
        (revoked, reason),
        (deleted, RevocationReason::CessationOfOperation),
    ] {
        let record = bench.record(&id).await;
        assert_eq!(record.certificates.len(), 2);
        for certificate in record.certificates {
            assert_eq!(
                certificate.status,
                CertificateStatus::Revoked { at: NOW, reason }
            );
        }
    }
}

async fn attributes_are_replaced(bench: Bench) {
    let id = bench.registered("0001").await;
    let of = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect()
    };
    for attributes in [of(&[("line", "3"), ("hall", "b")]), of(&[("line", "4")])] {
        let record = bench
            .registrar
            .set_attributes(&id, attributes.clone(), &act())
            .await
            .unwrap();
        assert_eq!(record.device.attributes, attributes);
    }
    let unchanged = bench
        .registrar
        .set_attributes(&id, of(&[("line", "4")]), &act())
        .await;
    assert!(matches!(
        unchanged,
        Err(RegistrarError::Change(BuildChangeError::Unchanged { .. }))
    ));
    let record = bench
        .registrar
        .edit(
            &id,
            DeviceEdit {
                device_type: Some("valve".into()),
                site: Some(Some("north".into())),
                attributes: None,
            },
            &act(),
        )
        .await
        .unwrap();
    assert_eq!(record.device.device_type, "valve");
    assert_eq!(record.device.site.as_deref(), Some("north"));
}

fn with_attribute(device: &Device, name: &str, value: &str) -> DeviceEdit {
    let mut attributes = device.attributes.clone();
    attributes.insert(name.into(), value.into());
    DeviceEdit {
        attributes: Some(attributes),
        ..DeviceEdit::default()
    }
}

async fn an_edit_builds_on_what_others_changed_meanwhile(bench: Bench) {
    let id = bench.registered("0001").await;
    let (other, same) = (bench.restarted(), id.clone());
    bench.store.plan([Fault::preceded(move |_| async move {
        let attributes = BTreeMap::from([("line".to_owned(), "3".to_owned())]);
        other
            .set_attributes(&same, attributes, &act())
            .await
            .unwrap();
    })]);
    let edit = |device: &Device| Ok::<_, RegistrarError>(with_attribute(device, "hall", "b"));
    let record = bench.registrar.edit_with(&id, edit, &act()).await.unwrap();
    assert_eq!(record, bench.record(&id).await);
    let attributes: Vec<_> = record.device.attributes.into_iter().collect();
    let expected = [("hall", "b"), ("line", "3")];
    assert_eq!(
        attributes,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
}

async fn what_an_edit_refuses_is_not_done(bench: Bench) {
    /// An error of whoever asks for the edit.
    #[derive(Debug)]
    enum Refusal {
        Version(u64),
        Registrar(RegistrarError),
    }
    impl From<RegistrarError> for Refusal {
        fn from(error: RegistrarError) -> Self {
            Self::Registrar(error)
        }
    }
    let edit_first_version = |device: &Device| match device.version {
        1 => Ok(with_attribute(device, "line", "4")),
        other => Err(Refusal::Version(other)),
    };
    let device = bench.registered("0001").await;
    let (other, same) = (bench.restarted(), device.clone());
    bench.store.plan([Fault::preceded(move |_| async move {
        other.disable(&same, &act()).await.unwrap();
    })]);
    let edited = bench
        .registrar
        .edit_with(&device, edit_first_version, &act())
        .await;
    let refused = edited.unwrap_err();
    assert!(matches!(refused, Refusal::Version(2)), "{refused:?}");
    assert!(bench.record(&device).await.device.attributes.is_empty());

    let edited = bench
        .registrar
        .edit_with(&id("0002"), edit_first_version, &act())
        .await;
    let refused = edited.unwrap_err();
    assert!(
        matches!(
            refused,
            Refusal::Registrar(RegistrarError::DeviceUnknown { .. })
        ),
        "{refused:?}"
    );
}

async fn conflicts_are_tried_again_for_a_while(bench: Bench) {
    let id = bench.registered("0001").await;
    let registrar = bench.hasty();
    bench.store.plan((0..47).map(|_| Fault::Conflict));
    registrar.disable(&id, &act()).await.unwrap();
    bench.store.plan((0..48).map(|_| Fault::Conflict));
    let busy = registrar.enable(&id, &act()).await.unwrap_err();
    assert_eq!(busy.to_string(), "others keep changing 0001; try again");
    assert_eq!(busy.kind(), ErrorKind::Conflict);
    assert_eq!(bench.record(&id).await.device.state, DeviceState::Disabled);
}

async fn what_is_no_longer_legal_is_not_tried_again(bench: Bench) {
    let id = bench.registered("0001").await;
    let reason = RevocationReason::KeyCompromise;
    let other = id.clone();
    bench.store.plan([Fault::preceded(move |store| async move {
        let record = store.load(&other).await.unwrap().unwrap();
        let change = Change::revoke(&record, reason, &act()).unwrap();
        store.commit(&[change]).await.unwrap();
    })]);
    let refused = bench.registrar.disable(&id, &act()).await.unwrap_err();
    assert!(
        matches!(
            refused,
            RegistrarError::Change(BuildChangeError::TransitionIllegal {
                state: DeviceState::Revoked,
                ..
            })
        ),
        "{refused}"
    );
    assert_eq!(bench.record(&id).await.device.state, DeviceState::Revoked);
}

async fn a_race_for_an_id_has_one_winner(bench: Bench) {
    for (mine, theirs) in [("pump-7", "pump-7"), ("valve-7", "VALVE-7")] {
        bench.store.plan([Fault::preceded(move |store| async move {
            let change = Change::register(None, new_device(theirs), &act()).unwrap();
            store.commit(&[change]).await.unwrap();
        })]);
        let refused = bench
            .registrar
            .register_with_certificate(new_device(mine), CertificateKey::New, &act())
            .await
            .unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused}");
        assert!(refused.to_string().contains(theirs), "{refused}");
        assert_eq!(bench.record(&id(theirs)).await.certificates, []);
    }
}
