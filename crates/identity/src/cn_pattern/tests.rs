use super::*;
use proptest::prelude::*;

fn pattern(text: &str) -> CnPattern {
    CnPattern::parse(text).expect("a pattern")
}

fn id(text: &str) -> DeviceId {
    DeviceId::parse(text).expect("a device id")
}

#[test]
fn renders_and_matches_the_default() {
    let default = CnPattern::default();
    assert_eq!(default.as_str(), CnPattern::DEFAULT);
    assert_eq!(default.max_id_len(), 36);

    let name = default.render(&id("0001")).expect("short");
    assert_eq!(name, "device-0001.device.synadia.local");
    assert_eq!(default.matches(&name), Ok(id("0001")));

    let longest = id(&"a".repeat(36));
    let name = default.render(&longest).expect("fits");
    assert_eq!((name.len(), default.matches(&name)), (64, Ok(longest)));
    let error = default.render(&id(&"a".repeat(37))).expect_err("too long");
    assert!(error.to_string().contains("leaves 36"), "{error}");
}

#[test]
fn refuses_patterns_that_cannot_work() {
    let fills = format!("{}{{id}}", "a".repeat(64));
    for (text, message) in [
        ("", "has no {id}"),
        ("device-{ID}.local", "has no {id}"),
        ("{id}-{id}", "has more than one {id}"),
        ("{{id}}", "has \"{\""),
        ("*.{id}.local", "has \"*\""),
        ("device {id}", "has \" \""),
        ("gerät-{id}", "has \"\\u{e4}\""),
        ("{id}\n", "has \"\\n\""),
        (&fills, "64 characters around {id}"),
    ] {
        let error = CnPattern::parse(text).expect_err(text).to_string();
        assert!(error.contains(message), "{text}: {error}");
    }
    assert_eq!(pattern(&fills[1..]).max_id_len(), 1);
}

#[test]
fn refuses_foreign_names_and_names_without_an_id() {
    let default = CnPattern::default();
    let too_long = format!("device-{}.device.synadia.local", "a".repeat(37));
    for name in [
        "",
        "device-.device.synadia",
        "Device-0001.device.synadia.local",
        "device-0001.device.synadia.local.",
        "xdevice-0001.device.synadia.local",
        "device-0001",
        "device-.local",
        &too_long,
    ] {
        let error = default.matches(name).expect_err(name);
        assert!(
            matches!(error, MatchCnError::Foreign { .. }),
            "{name}: {error}"
        );
    }
    for hole in [
        "",
        "*",
        ">",
        "a.b",
        "a b",
        "-a",
        "a\0",
        "é",
        "a.device.synadia.local-b",
    ] {
        let name = format!("device-{hole}.device.synadia.local");
        let error = default.matches(&name).expect_err(&name);
        assert!(matches!(error, MatchCnError::Id { .. }), "{name}: {error}");
    }
}

#[test]
fn fixed_text_never_overlaps() {
    let overlapping = pattern("ab{id}ba");
    for name in ["aba", "abba", "ab"] {
        assert!(overlapping.matches(name).is_err(), "{name}");
        assert!(!overlapping.covers(name), "{name}");
    }
    assert_eq!(overlapping.matches("abxba"), Ok(id("x")));
}

#[test]
fn covers_what_a_device_could_be_called() {
    let default = CnPattern::default();
    for name in [
        "device-0001.device.synadia.local",
        "DEVICE-0001.Device.Synadia.Local",
    ] {
        assert!(default.covers(name), "{name}");
    }
    for name in [
        "",
        "localhost",
        "nats.device.synadia.local",
        "device-.device.synadia.local",
        "device-a.b.device.synadia.local",
        "device-é.device.synadia.local",
        "é-0001.device.synadia.local",
    ] {
        assert!(!default.covers(name), "{name}");
    }
    assert!(pattern("{id}").covers("nats"));
    assert!(!pattern("{id}").covers("nats.local"));
}

#[test]
fn is_text_in_json() {
    let json = r#""{id}.site""#;
    let pattern: CnPattern = serde_json::from_str(json).expect("a pattern");
    assert_eq!(serde_json::to_string(&pattern).expect("JSON"), json);
    assert!(serde_json::from_str::<CnPattern>(r#""site""#).is_err());
}

fn patterns() -> impl Strategy<Value = CnPattern> {
    ("[A-Za-z0-9.:@/_-]{0,31}", "[A-Za-z0-9.:@/_-]{0,31}")
        .prop_map(|(prefix, suffix)| pattern(&format!("{prefix}{{id}}{suffix}")))
}

fn ids() -> impl Strategy<Value = DeviceId> {
    "[A-Za-z0-9]([A-Za-z0-9_-]{0,62}[A-Za-z0-9])?".prop_map(|text| id(&text))
}

#[test]
fn ids_begin_as_names_do() {
    let default = CnPattern::default();
    for (text, expected) in [
        ("", Some("")),
        ("dev", Some("")),
        ("device-", Some("")),
        ("device-00", Some("00")),
        ("device-0007.dev", Some("0007")),
        ("device-0007.device.synadia.local", Some("0007")),
        ("device-0007.device.synadia.local.", None),
        ("device-0007.x", None),
        ("pump", None),
        ("device-é", None),
    ] {
        assert_eq!(default.id_prefix(text), expected, "{text}");
    }
    assert_eq!(pattern("{id}-dev").id_prefix("7-d"), Some("7"));
}

proptest! {
    #[test]
    fn no_id_is_missed_by_the_prefix_of_its_name(pattern in patterns(), id in ids(), len in 0usize..70) {
        if let Ok(name) = pattern.render(&id) {
            let text = &name[..len.min(name.len())];
            let prefix = pattern.id_prefix(text).expect("a name begins so");
            prop_assert!(id.as_str().starts_with(prefix), "{} {}", prefix, text);
        }
    }

    #[test]
    fn matching_gives_back_what_was_rendered(pattern in patterns(), id in ids()) {
        match pattern.render(&id) {
            Ok(name) => {
                prop_assert!(name.len() <= MAX_COMMON_NAME_LEN);
                prop_assert!(name.chars().all(is_common_name_character));
                prop_assert!(pattern.covers(&name));
                prop_assert_eq!(pattern.matches(&name), Ok(id));
            }
            Err(error) => prop_assert!(error.len > error.max),
        }
    }

    #[test]
    fn rendering_gives_back_what_was_matched(
        pattern in patterns(),
        hole in "[A-Za-z0-9_.*> -]{0,8}|\\PC{0,8}",
    ) {
        let name = pattern.as_str().replace(PLACEHOLDER, &hole);
        match pattern.matches(&name) {
            Ok(id) => {
                prop_assert!(is_token(id.as_str()));
                prop_assert_eq!(pattern.render(&id), Ok(name));
            }
            Err(_) => prop_assert!(!is_token(&hole) || name.len() > MAX_COMMON_NAME_LEN),
        }
    }

    #[test]
    fn any_name_is_matched_or_refused(pattern in patterns(), name: String) {
        prop_assert!(pattern.matches(&name).is_err() || pattern.covers(&name));
    }

    #[test]
    fn any_text_parses_or_is_refused(text in "\\PC{0,80}|[a-z{}id*]{0,80}") {
        if let Ok(pattern) = CnPattern::parse(&text) {
            prop_assert!((1..=MAX_COMMON_NAME_LEN).contains(&pattern.max_id_len()));
        }
    }
}
