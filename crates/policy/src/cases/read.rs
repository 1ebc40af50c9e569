//! Case files out of TOML.

use std::collections::BTreeMap;

use leafgate_identity::DeviceId;

use super::compare::{Expected, ExpectedGrant};
use crate::connection::{ConnectionFacts, ConnectionType};
use crate::decide::{DeviceFacts, PolicyDenial};
use crate::document::{Document, Fields, Node, collect_all};
use crate::grant::{Grant, SubjectRules};
use crate::problem::{Fault, LoadPolicyErrors, Location, Problems, suggest};
use crate::read::{RULES_KEYS, read_limits, read_responses, read_session};
use crate::set::{PolicySet, PolicySource};

pub(super) struct CaseFile {
    pub(super) policy: String,
    pub(super) policy_location: Location,
    pub(super) cases: Vec<Case>,
}

pub(super) struct Case {
    pub(super) name: String,
    pub(super) location: Location,
    device: CaseDevice,
    connection: ConnectionFacts,
    pub(super) expected: Expected,
}

struct CaseDevice {
    id: DeviceId,
    device_type: String,
    site: String,
    attributes: BTreeMap<String, String>,
    quarantined: bool,
}

impl Case {
    pub(super) fn decide(&self, set: &PolicySet) -> Result<Grant, PolicyDenial> {
        let facts = DeviceFacts {
            id: &self.device.id,
            device_type: &self.device.device_type,
            site: &self.device.site,
            attributes: &self.device.attributes,
            quarantined: self.device.quarantined,
        };
        set.decide(&facts, &self.connection)
    }
}

pub(super) fn read_case_file(source: &PolicySource) -> Result<CaseFile, LoadPolicyErrors> {
    let problems = Problems::default();
    let document = Document::new(&source.name, &source.text, &problems);
    let file = document.parse(&source.text).and_then(|table| {
        let root = document.root(&table, &["policy", "case"]);
        let policy = root
            .require(
                "policy",
                "name the policy file: policy = \"../device.toml\"",
            )
            .and_then(|node| Some((node.string()?.to_owned(), node.location())));
        let cases = root
            .get("case")
            .and_then(|node| node.list())
            .unwrap_or_default();
        if cases.is_empty() {
            root.report(Fault::new(
                "there is no case",
                "begin a case with the line [[case]]",
            ));
        }
        let cases = cases.iter().filter_map(read_case).collect();
        let (policy, policy_location) = policy?;
        Some(CaseFile {
            policy,
            policy_location,
            cases,
        })
    });
    // A file that was read in vain has its problems reported.
    Ok(problems
        .into_result(file)?
        .expect("a file without problems was read"))
}

fn read_case(node: &Node<'_>) -> Option<Case> {
    let fields = node.table("a case", &["name", "device", "connection", "expect"])?;
    let name = fields
        .require("name", "say what the case shows: name = \"…\"")
        .and_then(|n| n.string());
    let device = fields
        .require(
            "device",
            "describe it: device = { id = \"0001\", type = \"pump\" }",
        )
        .and_then(|n| read_device(&n));
    let connection = match fields.get("connection") {
        Some(node) => read_connection(&node),
        None => Some(ConnectionFacts {
            connection_type: ConnectionType::Standard,
            source: None,
        }),
    };
    let expected = fields
        .require(
            "expect",
            "say what comes out: expect.grant = { … } or expect.denial = \"…\"",
        )
        .and_then(|n| read_expected(&n));
    Some(Case {
        name: name?.to_owned(),
        location: fields.location(),
        device: device?,
        connection: connection?,
        expected: expected?,
    })
}

fn read_device(node: &Node<'_>) -> Option<CaseDevice> {
    let known = ["id", "type", "site", "attributes", "quarantined"];
    let fields = node.table("device", &known)?;
    let id = fields.require("id", "id = \"0001\"").and_then(|n| {
        let text = n.string()?;
        n.accept(DeviceId::parse(text).map_err(|_| {
            Fault::new(
                format!("\"{}\" can't be a device id", text.escape_debug()),
                DeviceId::ALPHABET,
            )
        }))
    });
    let text = |key| match fields.get(key) {
        Some(node) => node.string().map(str::to_owned),
        None => Some(String::new()),
    };
    let (device_type, site) = (text("type"), text("site"));
    let attributes = match fields.get("attributes") {
        Some(node) => collect_all(
            node.map()?
                .entries()
                .map(|(name, value)| Some((name.to_owned(), value.string()?.to_owned()))),
        ),
        None => Some(BTreeMap::new()),
    };
    let quarantined = match fields.get("quarantined") {
        Some(node) => node.boolean(),
        None => Some(false),
    };
    Some(CaseDevice {
        id: id?,
        device_type: device_type?,
        site: site?,
        attributes: attributes?,
        quarantined: quarantined?,
    })
}

fn read_connection(node: &Node<'_>) -> Option<ConnectionFacts> {
    let fields = node.table("connection", &["type", "source"])?;
    let connection_type = match fields.get("type") {
        Some(node) => {
            let name = node.string()?;
            node.accept(ConnectionType::from_name(name).ok_or_else(|| {
                Fault::new(
                    format!("unknown connection type \"{}\"", name.escape_debug()),
                    suggest(name, &ConnectionType::ALL.map(ConnectionType::as_str)),
                )
            }))
        }
        None => Some(ConnectionType::Standard),
    };
    let source = match fields.get("source") {
        Some(node) => {
            let text = node.string()?;
            let address = node.accept(text.parse().map_err(|_| {
                let message = format!("\"{}\" is not an IP address", text.escape_debug());
                Fault::new(message, "write 10.20.0.7 or 2001:db8::7")
            }));
            Some(address?)
        }
        None => None,
    };
    Some(ConnectionFacts {
        connection_type: connection_type?,
        source,
    })
}

fn read_expected(node: &Node<'_>) -> Option<Expected> {
    let fields = node.table("expect", &["grant", "denial"])?;
    match (fields.get("grant"), fields.get("denial")) {
        (Some(grant), None) => read_grant(&grant).map(|g| Expected::Grant(Box::new(g))),
        (None, Some(denial)) => {
            let reason = denial.string()?;
            let known = PolicyDenial::REASONS;
            denial
                .accept(known.into_iter().find(|r| *r == reason).ok_or_else(|| {
                    let message = format!("no policy denies with \"{}\"", reason.escape_debug());
                    Fault::new(message, suggest(reason, &known))
                }))
                .map(Expected::Denial)
        }
        _ => {
            node.report(Fault::new(
                "a case expects either a grant or a denial",
                "write expect.grant = { … } or expect.denial = \"policy-none\"",
            ));
            None
        }
    }
}

fn read_grant(node: &Node<'_>) -> Option<ExpectedGrant> {
    let known = [
        "policy",
        "account",
        "publish",
        "subscribe",
        "responses",
        "session",
        "limits",
    ];
    let fields = node.table("expect.grant", &known)?;
    let name = |key| fields.get(key).and_then(|n| n.string()).map(str::to_owned);
    let rules = |key| {
        let hint =
            "a case names all that may be published and subscribed: { allow = [] } for nothing";
        fields.require(key, hint).and_then(|n| read_rules(&n))
    };
    let (publish, subscribe) = (rules("publish"), rules("subscribe"));
    Some(ExpectedGrant {
        policy: name("policy"),
        account: name("account"),
        publish: publish?,
        subscribe: subscribe?,
        responses: fields.get("responses").and_then(|n| read_responses(&n)),
        session: fields
            .get("session")
            .and_then(|n| read_session(&n))
            .unwrap_or_default(),
        limits: fields
            .get("limits")
            .and_then(|n| read_limits(&n))
            .unwrap_or_default(),
    })
}

fn read_rules(node: &Node<'_>) -> Option<SubjectRules> {
    let fields: Fields<'_> = node.table("publish or subscribe", &RULES_KEYS)?;
    let subjects = |key| -> Option<Vec<String>> {
        let Some(node) = fields.get(key) else {
            return Some(Vec::new());
        };
        let mut subjects = Vec::new();
        for (node, text) in node.strings()? {
            if text.contains(['{', '}']) {
                node.report(Fault::new(
                    format!("\"{text}\": a case has no variables"),
                    "write the subject that this device gets",
                ));
            }
            subjects.push(text.to_owned());
        }
        Some(subjects)
    };
    Some(SubjectRules::new(subjects("allow")?, subjects("deny")?))
}
