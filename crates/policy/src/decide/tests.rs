use std::net::IpAddr;

use super::*;
use crate::grant::{Lifetime, Limits, ResponsePermission};
use crate::set::{Constants, PolicySource};

const POLICIES: &str = r#"
[[policy]]
name = "pumps"
account = "PUMPS"
match = { device_type = ["pump", "valve"], attr = { zone = "north" } }
publish.allow = ["{prefix}.{id}.{device_type}.{attr.zone}.{site}.>"]
publish.deny = ["{prefix}.{id}.{device_type}.*.*.private"]
session = { lifetime = "1h", jitter = "0%", connection_types = ["MQTT", "STANDARD"], sources = ["10.0.0.0/8"] }

[[policy]]
name = "rest"
account = "DEVICES"
match = { device_type = "*" }
publish.allow = ["{prefix}.{id}.status"]
subscribe.allow = ["{prefix}.{id}.cmd"]
responses = { max = 2, ttl = "30s" }
limits = { subscriptions = 10, payload = "1KiB" }

[policy.quarantine]
subscribe.allow = ["{prefix}.{id}.cmd"]
"#;

fn set() -> PolicySet {
    let source = PolicySource {
        name: "p.toml".into(),
        text: POLICIES.into(),
    };
    PolicySet::load(&[source], &Constants::default()).unwrap()
}

struct Device {
    id: DeviceId,
    device_type: &'static str,
    site: &'static str,
    attributes: BTreeMap<String, String>,
    quarantined: bool,
}

impl Device {
    fn pump(zone: &str) -> Self {
        Self {
            id: DeviceId::parse("0001").unwrap(),
            device_type: "pump",
            site: "cph1",
            attributes: [("zone".to_owned(), zone.to_owned())].into(),
            quarantined: false,
        }
    }

    fn decide(&self, kind: ConnectionType, source: Option<&str>) -> Result<Grant, PolicyDenial> {
        let connection = ConnectionFacts {
            connection_type: kind,
            source: source.map(|s| s.parse::<IpAddr>().unwrap()),
        };
        let facts = DeviceFacts {
            id: &self.id,
            device_type: self.device_type,
            site: self.site,
            attributes: &self.attributes,
            quarantined: self.quarantined,
        };
        set().decide(&facts, &connection)
    }
}

#[test]
fn the_first_match_is_rendered() {
    let grant = Device::pump("north")
        .decide(ConnectionType::Mqtt, Some("10.1.2.3"))
        .unwrap();
    assert_eq!(&*grant.policy, "pumps");
    assert_eq!(&*grant.account, "PUMPS");
    assert_eq!(grant.publish.allow(), ["device.0001.pump.north.cph1.>"]);
    assert_eq!(grant.publish.deny(), ["device.0001.pump.*.*.private"]);
    assert_eq!(grant.subscribe, SubjectRules::nothing(), "not everything");
    assert_eq!(grant.responses, None);
    assert_eq!(
        grant.lifetime,
        Lifetime {
            secs: 3600,
            jitter_percent: 0
        }
    );
}

#[test]
fn a_later_policy_takes_what_the_first_does_not() {
    let grant = Device::pump("south")
        .decide(ConnectionType::Standard, None)
        .unwrap();
    assert_eq!(&*grant.policy, "rest");
    let ttl = std::time::Duration::from_secs(30);
    assert_eq!(grant.responses, Some(ResponsePermission { max: 2, ttl }));
    assert_eq!(
        grant.lifetime,
        Lifetime {
            secs: 43_200,
            jitter_percent: 20
        }
    );
    assert_eq!(grant.connection_types, [ConnectionType::Standard]);
    let limits = Limits {
        subscriptions: Some(10),
        payload_bytes: Some(1024),
    };
    assert_eq!(grant.limits, limits);
}

#[test]
fn equal_facts_give_equal_grants() {
    let decide = || Device::pump("north").decide(ConnectionType::Standard, Some("10.0.0.1"));
    assert_eq!(decide(), decide());
}

#[test]
fn quarantine_gives_its_own_grant_or_none() {
    let mut device = Device::pump("south");
    device.quarantined = true;
    let grant = device.decide(ConnectionType::Standard, None).unwrap();
    assert!(grant.quarantined);
    assert_eq!(grant.publish, SubjectRules::nothing());
    assert_eq!(grant.subscribe.allow(), ["device.0001.cmd"]);
    assert_eq!(grant.responses, None);
    device.attributes.insert("zone".into(), "north".into());
    assert_eq!(
        device.decide(ConnectionType::Standard, Some("10.0.0.1")),
        Err(PolicyDenial::QuarantineNotGranted)
    );
}

#[test]
fn connections_are_checked() {
    let pump = Device::pump("north");
    assert_eq!(
        pump.decide(ConnectionType::Leafnode, Some("10.0.0.1")),
        Err(PolicyDenial::ConnectionTypeNotAllowed)
    );
    for source in [None, Some("192.0.2.1"), Some("2001:db8::1")] {
        assert_eq!(
            pump.decide(ConnectionType::Standard, source),
            Err(PolicyDenial::SourceNotAllowed)
        );
    }
}

#[test]
fn values_that_are_no_token_deny() {
    let standard = |device: &Device| device.decide(ConnectionType::Standard, Some("10.0.0.1"));
    for bad in [
        "a.b",
        "*",
        ">",
        "a b",
        "-a",
        "a_",
        "ü",
        "a\0",
        &"a".repeat(65),
    ] {
        let mut device = Device::pump("north");
        device.site = bad.to_owned().leak();
        let variable = Variable::Site;
        assert_eq!(
            standard(&device),
            Err(PolicyDenial::VariableNotToken { variable }),
            "{bad}"
        );
    }
    let mut device = Device::pump("north");
    device.site = "";
    let variable = Variable::Site;
    assert_eq!(
        standard(&device),
        Err(PolicyDenial::VariableMissing { variable })
    );
}

#[test]
fn no_match_denies() {
    let only = POLICIES
        .split("[[policy]]\nname = \"rest\"")
        .next()
        .unwrap();
    let source = PolicySource {
        name: "p.toml".into(),
        text: only.into(),
    };
    let set = PolicySet::load(&[source], &Constants::default()).unwrap();
    let facts = DeviceFacts {
        id: &DeviceId::parse("0001").unwrap(),
        device_type: "pump",
        site: "cph1",
        attributes: &BTreeMap::new(),
        quarantined: false,
    };
    let connection = ConnectionFacts {
        connection_type: ConnectionType::Standard,
        source: None,
    };
    assert_eq!(set.decide(&facts, &connection), Err(PolicyDenial::NoPolicy));
    let explanation = set.explain(&facts, None);
    assert_eq!(
        explanation.to_string(),
        "no policy matches 0001\n  \
         denied (policy-none): no policy matches the device: add one, or correct the device's type or attributes\n  \
         not policy \"pumps\" (p.toml:2): attribute zone is not set"
    );
}

#[test]
fn an_explanation_says_why_and_what() {
    let device = Device::pump("south");
    let facts = DeviceFacts {
        id: &device.id,
        device_type: device.device_type,
        site: device.site,
        attributes: &device.attributes,
        quarantined: false,
    };
    assert_eq!(
        set().explain(&facts, None).to_string(),
        "policy \"rest\" (p.toml:10), because device_type \"pump\" matches \"*\"\n  \
         publish    device.0001.status\n  \
         subscribe  device.0001.cmd\n  \
         answers    2 within 30 s to each message\n  \
         limits     10 subscriptions, messages up to 1 KiB\n  \
         account DEVICES, up to 12 h ± 20 %, over STANDARD\n  \
         not policy \"pumps\" (p.toml:2): attribute zone \"south\" is not \"north\""
    );
    let leaf = ConnectionFacts {
        connection_type: ConnectionType::Leafnode,
        source: None,
    };
    let json = serde_json::to_value(set().explain(&facts, Some(&leaf))).unwrap();
    assert_eq!(
        json["outcome"]["denial"]["reason"],
        "connection-type-not-allowed"
    );
}

#[test]
fn reasons_and_their_json_agree() {
    let variable = Variable::Id;
    for denial in [
        PolicyDenial::NoPolicy,
        PolicyDenial::QuarantineNotGranted,
        PolicyDenial::ConnectionTypeNotAllowed,
        PolicyDenial::SourceNotAllowed,
        PolicyDenial::VariableMissing {
            variable: variable.clone(),
        },
        PolicyDenial::VariableNotToken { variable },
    ] {
        let json = serde_json::to_value(&denial).unwrap();
        assert_eq!(json["reason"], denial.reason());
    }
}
