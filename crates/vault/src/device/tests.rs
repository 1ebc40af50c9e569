use serde_json::json;

use super::*;

fn doc(version: u64, data: &Value) -> Doc {
    Doc {
        version,
        data: data.as_object().cloned(),
        written_at: Some(UnixMs::new(7)),
    }
}

fn domain() -> TrustDomainName {
    TrustDomainName::parse("seeded").unwrap()
}

fn state(documents: &Documents) -> DeviceState {
    let record = documents.record(&domain(), "x").unwrap();
    record.expect("a device").device.state
}

/// What a script wrote, as version 1.
fn foreign(data: &Value) -> Documents {
    Documents {
        id: DeviceId::parse("0001").unwrap(),
        public: doc(1, data),
        own: Doc::default(),
    }
}

/// The documents of a device that leafgate recorded in this state.
fn recorded(state: DeviceState) -> Documents {
    let seed = json!({ "status": "active", "device_type": "pump", "owner": "me" });
    let mut record = foreign(&seed).record(&domain(), "x").unwrap().unwrap();
    record.device.state = state;
    record.device.version = 2;
    let documents = carried_out(foreign(&json!({ "owner": "me" })), &record);
    assert_eq!(documents.record(&domain(), "x").unwrap().unwrap(), record);
    assert!(documents.agree());
    documents
}

fn carried_out(mut documents: Documents, after: &DeviceRecord) -> Documents {
    for write in documents.writes(after) {
        let doc = if write.path == "devices/0001" {
            &mut documents.public
        } else {
            assert_eq!(write.path, "leafgate/devices/0001");
            &mut documents.own
        };
        assert_eq!(doc.version, write.version);
        doc.version += 1;
        doc.data = write.data;
    }
    documents
}

/// Somebody sets `status`, or removes it.
fn by_hand(mut documents: Documents, status: Option<&str>) -> Documents {
    let data = documents.public.data.as_mut().unwrap();
    match status {
        Some(status) => data.insert("status".to_owned(), json!(status)),
        None => data.remove("status"),
    };
    documents.public.version += 1;
    documents
}

#[test]
fn only_the_exact_names_of_states_say_what_they_say() {
    for (status, expected) in [
        (json!("active"), DeviceState::Active),
        (json!("quarantined"), DeviceState::Quarantined),
        (json!("pending"), DeviceState::Pending),
        (json!("disabled"), DeviceState::Disabled),
        (json!("revoked"), DeviceState::Revoked),
        (json!("deleted"), DeviceState::Revoked),
        (json!("Active"), DeviceState::Disabled),
        (json!("active "), DeviceState::Disabled),
        (json!("enabled"), DeviceState::Disabled),
        (json!(""), DeviceState::Disabled),
        (json!(true), DeviceState::Disabled),
        (json!(["active"]), DeviceState::Disabled),
        (Value::Null, DeviceState::Disabled),
    ] {
        let documents = foreign(&json!({ "status": status, "device_type": "pump" }));
        assert_eq!(state(&documents), expected, "{status}");
    }
}

#[test]
fn a_foreign_document_without_a_usable_type_admits_nobody() {
    for device_type in [json!("a b"), json!(""), json!("a.>"), json!(7), Value::Null] {
        for (status, expected) in [
            ("active", DeviceState::Disabled),
            ("quarantined", DeviceState::Disabled),
            ("revoked", DeviceState::Revoked),
        ] {
            let documents = foreign(&json!({ "status": status, "device_type": device_type }));
            assert_eq!(state(&documents), expected, "{device_type} {status}");
        }
    }
}

#[test]
fn a_foreign_document_is_taken_with_what_it_says() {
    let documents = foreign(&json!({
        "registered_at": "2026-03-01T12:00:00Z",
        "status": "active",
        "device_type": "iot-sensor",
        "site": "is not leafgate's",
    }));
    let record = documents.record(&domain(), "x").unwrap().unwrap();
    let device = Device {
        id: DeviceId::parse("0001").unwrap(),
        trust_domain: domain(),
        generation: 1,
        version: 1,
        state: DeviceState::Active,
        device_type: "iot-sensor".to_owned(),
        site: None,
        attributes: BTreeMap::new(),
        registered_at_ms: "2026-03-01T12:00:00Z".parse().unwrap(),
        updated_at_ms: UnixMs::new(7),
    };
    assert_eq!(record, DeviceRecord::new(device, Vec::new()));
}

/// The documentation's table, and more of its kind.
#[test]
fn the_narrower_of_what_is_recorded_and_what_is_set_by_hand_holds() {
    use DeviceState::{Active, Deleted, Disabled, Pending, Quarantined, Revoked};
    for (recorded_state, expected) in [
        (
            Active,
            [
                Active,
                Quarantined,
                Active,
                Disabled,
                Pending,
                Revoked,
                Revoked,
                Disabled,
            ],
        ),
        (
            Quarantined,
            [
                Quarantined,
                Quarantined,
                Quarantined,
                Disabled,
                Pending,
                Revoked,
                Revoked,
                Disabled,
            ],
        ),
        (
            Disabled,
            [
                Disabled, Disabled, Disabled, Disabled, Disabled, Revoked, Revoked, Disabled,
            ],
        ),
        (
            Pending,
            [
                Pending, Pending, Pending, Pending, Pending, Revoked, Revoked, Pending,
            ],
        ),
        (Revoked, [Revoked; 8]),
        (Deleted, [Deleted; 8]),
    ] {
        let by_hands = [
            Some("active"),
            Some("quarantined"),
            Some("active"),
            Some("disabled"),
            Some("pending"),
            Some("revoked"),
            Some("deleted"),
            Some("Active"),
        ];
        // One after the other: what is set by hand can be unset by hand.
        let mut documents = recorded(recorded_state);
        for (status, expected) in by_hands.into_iter().zip(expected) {
            documents = by_hand(documents, status);
            assert_eq!(
                state(&documents),
                expected,
                "{recorded_state}, then {status:?}"
            );
        }
        let silent = state(&by_hand(documents, None));
        assert_eq!(
            silent,
            narrower(recorded_state, Disabled),
            "{recorded_state}"
        );
    }
}

#[test]
fn a_document_that_is_put_anew_does_not_lift_what_is_recorded() {
    let mut documents = recorded(DeviceState::Revoked);
    documents.public = doc(
        documents.public.version + 1,
        &json!({ "registered_at": "2027-01-01T00:00:00Z", "status": "active", "device_type": "iot-sensor" }),
    );
    assert_eq!(state(&documents), DeviceState::Revoked);
    // Nor one that was removed with all of its versions before.
    documents.public.version = 1;
    assert_eq!(state(&documents), DeviceState::Revoked);
    documents.public = Doc::default();
    assert_eq!(state(&documents), DeviceState::Revoked);
}

#[test]
fn a_removed_document_locks_out() {
    let mut documents = recorded(DeviceState::Active);
    documents.public.data = None;
    assert_eq!(state(&documents), DeviceState::Disabled);
    documents.public = Doc::default();
    assert_eq!(state(&documents), DeviceState::Disabled);
}

#[test]
fn every_edit_by_hand_is_another_version() {
    let documents = recorded(DeviceState::Active);
    let version = |documents: &Documents| documents.version("x").unwrap().unwrap();
    assert_eq!(version(&documents), 2);
    let once = by_hand(documents, Some("disabled"));
    let twice = by_hand(once.clone(), Some("active"));
    let mut removed = twice.clone();
    removed.public.data = None;
    assert_eq!([&once, &twice, &removed].map(version), [3, 4, 5]);

    let record = twice.record(&domain(), "x").unwrap().unwrap();
    let mut after = record;
    after.device.version += 1;
    let documents = carried_out(twice, &after);
    assert_eq!(documents.record(&domain(), "x").unwrap().unwrap(), after);
}

#[test]
fn what_leafgate_writes_keeps_what_it_does_not_know() {
    let documents = recorded(DeviceState::Active);
    let mut after = documents.record(&domain(), "x").unwrap().unwrap();
    after.device.state = DeviceState::Quarantined;
    after.device.version += 1;
    let mut documents = carried_out(documents, &after);
    let public = documents.public.data.clone().unwrap();
    assert_eq!(public["owner"], "me");
    assert_eq!(public["status"], "quarantined");

    // A newer version's field of the record, too.
    let own = documents.own.data.as_mut().unwrap();
    own.insert("colour".to_owned(), json!("red"));
    after.device.version += 1;
    let documents = carried_out(documents, &after);
    assert_eq!(documents.own.data.unwrap()["colour"], "red");
}

#[test]
fn a_document_that_says_so_already_is_left_alone() {
    let seed = json!({
        "registered_at": "2026-03-01T12:00:00Z",
        "status": "decommissioned",
        "device_type": "iot-sensor",
    });
    let documents = foreign(&seed);
    let mut after = documents.record(&domain(), "x").unwrap().unwrap();
    assert_eq!(after.device.state, DeviceState::Disabled);
    after.device.version += 1;
    after.device.site = Some("north".to_owned());
    let writes = documents.writes(&after);
    assert_eq!(writes.len(), 1, "{writes:?}");
    let documents = carried_out(documents, &after);
    assert_eq!(documents.record(&domain(), "x").unwrap().unwrap(), after);
}
