use super::*;

fn pattern() -> CnPattern {
    CnPattern::default()
}

fn id(text: &str) -> DeviceId {
    DeviceId::parse(text).unwrap()
}

fn server(names: &[&str]) -> Result<Profile, BuildProfileError> {
    Profile::nats_server(names, &[], &[pattern()])
}

#[test]
fn a_device_has_a_dns_name_only_where_its_id_is_a_label() {
    let profile = Profile::device(&pattern(), &id("0001")).unwrap();
    assert_eq!(profile.common_name(), "device-0001.device.synadia.local");
    assert_eq!(
        profile.dns_names().collect::<Vec<_>>(),
        ["device-0001.device.synadia.local"]
    );
    assert_eq!(profile.lifetime(), Duration::from_secs(168 * 3600));

    let profile = Profile::device(&pattern(), &id("pump_7")).unwrap();
    assert_eq!(profile.common_name(), "device-pump_7.device.synadia.local");
    assert_eq!(profile.dns_names().len(), 0);
}

#[test]
fn a_common_name_that_is_no_dns_name_has_no_san() {
    for (text, id_text) in [
        ("urn:dev:{id}", "7"),
        ("{id}@site", "7"),
        ("device.{id}", "42"),
    ] {
        let pattern = CnPattern::parse(text).unwrap();
        let profile = Profile::device(&pattern, &id(id_text)).unwrap();
        assert_eq!(profile.dns_names().len(), 0, "{text}");
    }
}

#[test]
fn a_label_may_not_grow_beyond_63_characters_by_its_prefix() {
    let pattern = CnPattern::parse("d{id}").unwrap();
    let profile = Profile::device(&pattern, &id(&"a".repeat(63))).unwrap();
    assert_eq!(profile.dns_names().len(), 0);
    let profile = Profile::device(&pattern, &id(&"a".repeat(62))).unwrap();
    assert_eq!(profile.dns_names().len(), 1);
}

#[test]
fn an_id_too_long_for_its_pattern_is_refused() {
    assert!(Profile::device(&pattern(), &id(&"a".repeat(36))).is_ok());
    assert!(matches!(
        Profile::device(&pattern(), &id(&"a".repeat(37))),
        Err(BuildProfileError::DeviceName(_))
    ));
}

#[test]
fn a_server_is_named_after_its_first_name_or_address() {
    let addresses = ["10.0.0.1", "::1", "10.0.0.1"].map(|text| text.parse().unwrap());
    let profile = Profile::nats_server(
        &["leaf-1", "*.leaf.svc.cluster.local", "LEAF-1"],
        &addresses,
        &[pattern()],
    )
    .unwrap();
    assert_eq!(profile.common_name(), "leaf-1");
    assert_eq!(
        profile.dns_names().collect::<Vec<_>>(),
        ["leaf-1", "*.leaf.svc.cluster.local"]
    );
    assert_eq!(profile.ip_addresses(), &addresses[..2]);
    assert_eq!(profile.lifetime(), Duration::from_secs(720 * 3600));

    let by_address = Profile::nats_server(&[""; 0], &addresses, &[pattern()]).unwrap();
    assert_eq!(by_address.common_name(), "10.0.0.1");
}

#[test]
fn malformed_server_names_are_refused() {
    let long_label = format!("{}.local", "a".repeat(64));
    let long_name = ["a".repeat(60).as_str(); 5].join(".");
    for name in [
        "",
        ".",
        "a..b",
        "a.",
        ".a",
        "-a",
        "a-.b",
        "a_b",
        "a b",
        "a\0b",
        "a\nb",
        "ä.local",
        "10.0.0.1",
        "leaf.1",
        "*",
        "*.local",
        "a.*.local",
        "*a.b.local",
        "*.*.b.local",
        "a>",
        &long_label,
        &long_name,
    ] {
        assert!(
            matches!(server(&[name]), Err(BuildProfileError::DnsName(_))),
            "{name:?}"
        );
    }
}

#[test]
fn a_server_needs_a_name_that_fits() {
    assert!(matches!(server(&[]), Err(BuildProfileError::NoName)));
    let long = format!("{}.b.local", "a".repeat(60));
    assert!(matches!(
        server(&[&long]),
        Err(BuildProfileError::CommonNameTooLong { .. })
    ));
    assert!(server(&["leaf-1", &long]).is_ok());
    for address in ["0.0.0.0", "::", "224.0.0.1", "ff02::1"] {
        let address = address.parse().unwrap();
        assert!(matches!(
            Profile::nats_server(&["leaf-1"], &[address], &[]),
            Err(BuildProfileError::Address(_))
        ));
    }
}

#[test]
fn services_never_bear_a_devices_name() {
    let patterns = [pattern(), CnPattern::parse("dev.{id}.example.org").unwrap()];
    for name in [
        "device-0001.device.synadia.local",
        "DEVICE-0001.Device.synadia.LOCAL",
        "dev.leaf-1.example.org",
    ] {
        assert!(
            matches!(
                Profile::nats_server(&["leaf-1", name], &[], &patterns),
                Err(BuildProfileError::NameOfDevice { .. })
            ),
            "server {name}"
        );
        assert!(
            matches!(
                Profile::nats_client(name, &patterns),
                Err(BuildProfileError::NameOfDevice { .. })
            ),
            "client {name}"
        );
    }
    for name in [
        "*.device.synadia.local",
        "*.Device.Synadia.local",
        "*.x.example.org",
    ] {
        assert!(
            matches!(
                Profile::nats_server(&[name], &[], &patterns),
                Err(BuildProfileError::NameOfDevice { .. })
            ),
            "{name}"
        );
    }
    for name in [
        "device.synadia.local",
        "leaf.device.synadia.local",
        "*.x.example.net",
    ] {
        Profile::nats_server(&[name], &[], &patterns).expect(name);
    }
}

#[test]
fn no_server_is_named_after_an_address_that_could_be_a_device() {
    let patterns = [
        CnPattern::parse("10.0.0.{id}").unwrap(),
        CnPattern::parse("2001:db8::{id}").unwrap(),
    ];
    for address in ["10.0.0.7", "2001:db8::7"] {
        let address = address.parse().unwrap();
        assert!(
            matches!(
                Profile::nats_server(&[""; 0], &[address], &patterns),
                Err(BuildProfileError::NameOfDevice { .. })
            ),
            "{address}"
        );
        let named = Profile::nats_server(&["leaf-1"], &[address], &patterns).unwrap();
        assert_eq!(named.common_name(), "leaf-1");
    }
}

#[test]
fn with_a_bare_pattern_no_service_can_be_named_like_a_token() {
    let bare = [CnPattern::parse("{id}").unwrap()];
    assert!(Profile::nats_client("callout-0", &bare).is_err());
    assert!(Profile::nats_server(&["leaf-1"], &[], &bare).is_err());
    assert!(Profile::nats_client("callout-0.leafgate", &bare).is_ok());
}

#[test]
fn client_names_have_no_room_for_tricks() {
    let long = "a".repeat(65);
    for name in [
        "", "a*", "a>", "a b", "-a", "a.", "a\nb", "a,CN=b", "a/b", &long,
    ] {
        assert!(
            matches!(
                Profile::nats_client(name, &[]),
                Err(BuildProfileError::ClientName { .. })
            ),
            "{name:?}"
        );
    }
    let profile = Profile::nats_client("leafgate-callout_0.leafgate", &[pattern()]).unwrap();
    assert_eq!(profile.dns_names().len(), 0);
    assert_eq!(profile.kind().intermediate(), Intermediate::Devices);
}

#[test]
fn a_lifetime_has_at_least_a_second() {
    let profile = server(&["leaf-1"]).unwrap();
    assert!(
        profile
            .clone()
            .with_lifetime(Duration::from_millis(999))
            .is_err()
    );
    let short = profile.with_lifetime(Duration::from_secs(1)).unwrap();
    assert_eq!(short.lifetime(), Duration::from_secs(1));
}
