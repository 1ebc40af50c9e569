//! What holds of a device before and after it is changed on somebody's behalf.

use std::collections::BTreeMap;

use leafgate_access::{Authority, Permission, Principal, RefuseError, Role, Scope};
use leafgate_registrar::{CertificateKey, ErrorKind, Registrar, RegistrarError, Service};
use leafgate_registry::{DeviceEdit, DeviceState, NewDevice, RevocationReason};

use crate::faulty_store::Fault;
use crate::support::{Bench, act, id, new_device, openssl_csr};

over_every_store!(
    nobody_changes_what_is_out_of_their_scope,
    nobody_moves_a_device_into_or_out_of_their_scope,
    a_device_that_leaves_the_scope_meanwhile_is_left_alone,
    services_take_the_whole_registry,
    a_key_in_scope_names_its_holder,
    another_version_than_the_one_that_was_meant_is_left_alone,
);

const PROVISION: Permission = Permission::ProvisionDevices;

fn of_north(registrar: &Registrar, permission: Permission) -> Registrar {
    let principal = Principal {
        name: "api-key:north".into(),
        authority: Authority {
            roles: [Role::Operator, Role::Provisioner, Role::Admin]
                .into_iter()
                .collect(),
            scope: Scope {
                sites: ["north"].into_iter().collect(),
                ..Scope::everything()
            },
        },
    };
    registrar.on_behalf_of(&principal, permission)
}

fn at(name: &str, site: &str) -> NewDevice {
    NewDevice {
        site: Some(site.into()),
        ..new_device(name)
    }
}

fn moved(site: &str) -> DeviceEdit {
    DeviceEdit {
        site: Some(Some(site.into())),
        ..DeviceEdit::default()
    }
}

fn assert_out_of_scope<T: std::fmt::Debug>(outcome: Result<T, RegistrarError>) {
    let refused = outcome.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Forbidden, "{refused}");
    let scope = matches!(refused, RegistrarError::Refused(RefuseError::Scope { .. }));
    assert!(scope, "{refused}");
}

async fn nobody_changes_what_is_out_of_their_scope(bench: Bench) {
    let north = of_north(&bench.registrar, PROVISION);
    bench
        .registrar
        .register(at("south", "south"), &act())
        .await
        .unwrap();
    let south = id("south");
    let made = bench.issued(&south).await;
    let before = bench.record(&south).await;
    assert_out_of_scope(north.register(at("0001", "south"), &act()).await);
    assert_out_of_scope(north.register(new_device("0001"), &act()).await);
    let key = CertificateKey::New;
    assert_out_of_scope(
        north
            .register_with_certificate(at("0001", "south"), key, &act())
            .await,
    );
    assert_out_of_scope(north.issue_with_new_key(&south, &act()).await);
    assert_out_of_scope(north.sign_csr(&south, &openssl_csr(), &act()).await);
    assert_out_of_scope(north.disable(&south, &act()).await);
    assert_out_of_scope(north.delete(&south, &act()).await);
    assert_out_of_scope(north.set_attributes(&south, BTreeMap::new(), &act()).await);
    let (serial, reason) = (made.issued.serial, RevocationReason::Unspecified);
    assert_out_of_scope(north.revoke_certificate(serial, None, reason, &act()).await);
    assert_eq!(bench.record(&south).await, before);
    assert_eq!(bench.store.inner().load(&id("0001")).await.unwrap(), None);

    north.register(at("north", "north"), &act()).await.unwrap();
    north
        .issue_with_new_key(&id("north"), &act())
        .await
        .unwrap();

    // A deleted device of elsewhere is not brought back.
    bench.registrar.delete(&south, &act()).await.unwrap();
    assert_out_of_scope(north.register(at("south", "north"), &act()).await);

    // One who may see but not change.
    let reader = Principal {
        name: "api-key:reader".into(),
        authority: Authority {
            roles: [Role::Viewer].into_iter().collect(),
            scope: Scope::everything(),
        },
    };
    let reader = bench
        .registrar
        .on_behalf_of(&reader, Permission::OperateDevices);
    let refused = reader.disable(&id("north"), &act()).await.unwrap_err();
    let role = matches!(refused, RegistrarError::Refused(RefuseError::Role { .. }));
    assert!(role, "{refused}");
}

async fn nobody_moves_a_device_into_or_out_of_their_scope(bench: Bench) {
    let north = of_north(&bench.registrar, PROVISION);
    bench
        .registrar
        .register(at("mine", "north"), &act())
        .await
        .unwrap();
    bench
        .registrar
        .register(at("theirs", "south"), &act())
        .await
        .unwrap();
    assert_out_of_scope(north.edit(&id("mine"), moved("south"), &act()).await);
    assert_out_of_scope(north.edit(&id("theirs"), moved("north"), &act()).await);
    let nowhere = DeviceEdit {
        site: Some(None),
        ..DeviceEdit::default()
    };
    assert_out_of_scope(north.edit(&id("mine"), nowhere, &act()).await);
    for name in ["mine", "theirs"] {
        assert_eq!(bench.record(&id(name)).await.device.version, 1);
    }
}

async fn a_device_that_leaves_the_scope_meanwhile_is_left_alone(bench: Bench) {
    let north = of_north(&bench.registrar, PROVISION);
    bench
        .registrar
        .register(at("0001", "north"), &act())
        .await
        .unwrap();
    let other = bench.restarted();
    bench.store.plan([Fault::preceded(move |_| async move {
        other
            .edit(&id("0001"), moved("south"), &act())
            .await
            .unwrap();
    })]);
    assert_out_of_scope(north.disable(&id("0001"), &act()).await);
    let record = bench.record(&id("0001")).await;
    assert_eq!(record.device.state, DeviceState::Active);
}

async fn services_take_the_whole_registry(bench: Bench) {
    let north = of_north(&bench.registrar, Permission::ManageIssuers);
    let service = Service::NatsClient {
        name: "callout-0".into(),
    };
    let issue = async |registrar: &Registrar| {
        let key = CertificateKey::New;
        registrar
            .issue_service_certificate(&service, key, &act())
            .await
    };
    assert_out_of_scope(issue(&north).await);
    let made = issue(&bench.registrar).await.unwrap();
    let (serial, reason) = (made.issued.serial, RevocationReason::Unspecified);
    assert_out_of_scope(north.revoke_certificate(serial, None, reason, &act()).await);
}

async fn a_key_in_scope_names_its_holder(bench: Bench) {
    let north = of_north(&bench.registrar, PROVISION);
    for (name, site) in [("a", "north"), ("b", "north"), ("c", "south")] {
        bench
            .registrar
            .register(at(name, site), &act())
            .await
            .unwrap();
    }
    let (near, far) = (openssl_csr(), openssl_csr());
    bench
        .registrar
        .sign_csr(&id("b"), &near, &act())
        .await
        .unwrap();
    bench
        .registrar
        .sign_csr(&id("c"), &far, &act())
        .await
        .unwrap();
    let holder = async |registrar: &Registrar, csr| match registrar
        .sign_csr(&id("a"), csr, &act())
        .await
        .unwrap_err()
    {
        RegistrarError::KeyHeld { holder } => holder,
        other => panic!("{other}"),
    };
    assert_eq!(holder(&north, &near).await, Some(id("b")));
    assert_eq!(holder(&north, &far).await, None);
    assert_eq!(
        holder(&bench.registrar, &near).await,
        None,
        "whoever that is"
    );
}

async fn another_version_than_the_one_that_was_meant_is_left_alone(bench: Bench) {
    let device = bench.registered("0001").await;
    let registrar = &bench.registrar;
    let refused = registrar
        .if_version(2)
        .disable(&device, &act())
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    assert_eq!(
        refused.to_string(),
        "0001 is in version 1, not 2; read it again"
    );
    registrar
        .if_version(1)
        .disable(&device, &act())
        .await
        .unwrap();

    let other = bench.restarted();
    bench.store.plan([Fault::preceded(move |_| async move {
        other
            .set_attributes(
                &id("0001"),
                BTreeMap::from([("a".into(), "b".into())]),
                &act(),
            )
            .await
            .unwrap();
    })]);
    let refused = registrar
        .if_version(2)
        .enable(&device, &act())
        .await
        .unwrap_err();
    let differs = matches!(
        refused,
        RegistrarError::VersionDiffers {
            expected: 2,
            found: 3,
            ..
        }
    );
    assert!(differs, "{refused}");

    // An act of several commits is about the version that it began with.
    registrar.enable(&device, &act()).await.unwrap();
    let made = registrar
        .if_version(4)
        .issue_with_new_key(&device, &act())
        .await
        .unwrap();
    assert_eq!(made.device.device.version, 6);
}
