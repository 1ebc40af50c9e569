//! The prover against trying every device and every subject of a small universe.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use leafgate_identity::DeviceId;
use leafgate_policy::{
    ConnectionFacts, ConnectionType, Constants, DeviceFacts, Grant, PolicyDenial, PolicySet,
    PolicySource, SubjectRules,
};
use proptest::prelude::*;

/// Ids, sites, attributes and the tokens of subjects; `a` and `m` are literals of templates too.
const VALUES: [&str; 3] = ["a", "b", "m"];

type Tokens = Vec<&'static str>;

/// A concrete subject, and every subscription that a message on it would be delivered to.
struct Subject {
    tokens: Tokens,
    subscriptions: Vec<Tokens>,
}

/// Subjects `d.x`, `d.x.y`, … of up to four tokens after the first; as bits, a mask.
static SUBJECTS: LazyLock<Vec<Subject>> = LazyLock::new(|| {
    let mut all: Vec<Tokens> = vec![vec!["d"]];
    let mut start = 0;
    for _ in 0..4 {
        let end = all.len();
        for n in start..end {
            for value in VALUES {
                all.push(all[n].iter().copied().chain([value]).collect());
            }
        }
        start = end;
    }
    all.remove(0);
    assert!(all.len() <= 128);
    let subject = |tokens: Tokens| Subject {
        subscriptions: subscriptions(&tokens),
        tokens,
    };
    all.into_iter().map(subject).collect()
});

fn subscriptions(subject: &[&'static str]) -> Vec<Tokens> {
    let mut all = Vec::new();
    for stars in 0..1_u32 << subject.len() {
        let star =
            |(n, token): (usize, &&'static str)| if stars >> n & 1 == 1 { "*" } else { *token };
        let starred: Tokens = subject.iter().enumerate().map(star).collect();
        for keep in 0..subject.len() {
            let mut tail = starred[..keep].to_vec();
            tail.push(">");
            all.push(tail);
        }
        all.push(starred);
    }
    all
}

/// The allow and deny list of a grant, split into tokens.
struct Lists {
    allow: Vec<Vec<String>>,
    deny: Vec<Vec<String>>,
}

impl Lists {
    fn of(rules: &SubjectRules) -> Self {
        let split = |patterns: &[String]| {
            let words = |p: &String| p.split('.').map(str::to_owned).collect();
            patterns.iter().map(words).collect()
        };
        Self {
            allow: split(rules.allow()),
            deny: split(rules.deny()),
        }
    }

    fn admit(&self, tokens: &[&str]) -> bool {
        let any = |patterns: &[Vec<String>]| patterns.iter().any(|p| matches(p, tokens));
        any(&self.allow) && !any(&self.deny)
    }

    /// Whether some subscription that the server accepts delivers the subject.
    fn deliver(&self, subject: &Subject) -> bool {
        !self.deny.iter().any(|p| matches(p, &subject.tokens))
            && subject.subscriptions.iter().any(|s| self.admit(s))
    }
}

/// nats-server's matching of a token list, which may itself hold wildcards taken literally,
/// against a pattern (server/sublist.go, `matchLevel`).
fn matches(pattern: &[String], tokens: &[&str]) -> bool {
    for (n, token) in pattern.iter().enumerate() {
        match (token.as_str(), tokens.get(n)) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (token, Some(other)) if token == *other => {}
            _ => return false,
        }
    }
    pattern.len() == tokens.len()
}

fn mask(test: impl Fn(&Subject) -> bool) -> u128 {
    let bits = SUBJECTS.iter().enumerate();
    bits.filter(|(_, subject)| test(subject))
        .map(|(n, _)| 1 << n)
        .sum()
}

struct Device {
    id: &'static str,
    grant: Grant,
    publish: u128,
    subscribe: u128,
}

/// Every device of the universe that gets a grant.
fn devices(set: &PolicySet, types: &[&'static str]) -> Vec<Device> {
    let mut masks = BTreeMap::new();
    let mut devices = Vec::new();
    for (id, site, attribute) in triples() {
        for (device_type, quarantined) in types.iter().flat_map(|t| [(t, false), (t, true)]) {
            let Ok(grant) = decide(set, [id, site, attribute, device_type], quarantined) else {
                continue;
            };
            let key = format!("{:?}{:?}", grant.publish, grant.subscribe);
            let (publish, subscribe) = *masks.entry(key).or_insert_with(|| {
                let (publish, subscribe) = (Lists::of(&grant.publish), Lists::of(&grant.subscribe));
                (
                    mask(|subject| publish.admit(&subject.tokens)),
                    mask(|subject| subscribe.deliver(subject)),
                )
            });
            devices.push(Device {
                id,
                grant,
                publish,
                subscribe,
            });
        }
    }
    devices
}

fn triples() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    VALUES.into_iter().flat_map(|a| {
        VALUES
            .into_iter()
            .flat_map(move |b| VALUES.into_iter().map(move |c| (a, b, c)))
    })
}

fn decide(
    set: &PolicySet,
    [id, site, attribute, device_type]: [&str; 4],
    quarantined: bool,
) -> Result<Grant, PolicyDenial> {
    let facts = DeviceFacts {
        id: &DeviceId::parse(id).expect("ids of the universe are ids"),
        device_type,
        site,
        attributes: &[("k".to_owned(), attribute.to_owned())].into(),
        quarantined,
    };
    let connection = ConnectionFacts {
        connection_type: ConnectionType::Standard,
        source: None,
    };
    set.decide(&facts, &connection)
}

/// Whether some device reaches another's subjects, or may answer what a device sends it. That
/// device may be itself, in a session under another grant.
fn leaks(devices: &[Device]) -> bool {
    devices.iter().any(|one| {
        devices.iter().any(|other| {
            let (reach, others) = (one.publish | one.subscribe, other.publish | other.subscribe);
            let same_account = one.grant.account == other.grant.account;
            let answers = one.grant.responses.is_some() && one.subscribe & other.publish != 0;
            same_account && (one.id != other.id && reach & others != 0 || answers)
        })
    })
}

/// What policies to try.
#[derive(Clone, Copy)]
struct Shape {
    /// Weight of `{id}` against about 8 for all other tokens together.
    ids: u32,
    /// Most entries of a list.
    entries: usize,
    /// With deny lists and `{device_type}`, which the prover takes for more than they are.
    rough: bool,
    quarantine: f64,
}

/// Many policies that are isolated or nearly so.
const LARGE: Shape = Shape {
    ids: 14,
    entries: 2,
    rough: true,
    quarantine: 0.3,
};
/// Policies so small that one detail decides.
const SMALL: Shape = Shape {
    ids: 6,
    entries: 1,
    rough: true,
    quarantine: 0.05,
};

impl Shape {
    const fn exact(self) -> Self {
        Self {
            rough: false,
            ..self
        }
    }
}

fn subject(shape: Shape) -> impl Strategy<Value = String> {
    let token = prop_oneof![
        shape.ids => Just("{id}"),
        3 => Just("m"),
        1 => Just("a"),
        1 => Just("{site}"),
        1 => Just("{attr.k}"),
        u32::from(shape.rough) => Just("{device_type}"),
        2 => Just("*"),
    ];
    (
        prop::collection::vec(token, 0..=3),
        prop::bool::weighted(0.3),
    )
        .prop_map(|(tokens, tail)| {
            let mut words = vec!["d"];
            words.extend(tokens);
            if tail || words.len() == 1 {
                words.truncate(3);
                words.push(">");
            }
            words.join(".")
        })
}

fn rules(shape: Shape) -> impl Strategy<Value = String> {
    let list = |most| {
        prop::collection::btree_set(subject(shape), 0..=most)
            .prop_map(|subjects| subjects.into_iter().collect::<Vec<_>>())
    };
    (
        list(shape.entries),
        list(if shape.rough { shape.entries } else { 0 }),
    )
        .prop_map(|(allow, deny)| format!("{{ allow = {allow:?}, deny = {deny:?} }}"))
}

fn policy(
    name: &'static str,
    device_type: &'static str,
    shape: Shape,
) -> impl Strategy<Value = String> {
    (
        prop::sample::select(vec!["X", "Y"]),
        rules(shape),
        rules(shape),
        responses(),
        prop::option::weighted(shape.quarantine, (rules(shape), rules(shape), responses())),
    )
        .prop_map(move |(account, publish, subscribe, answers, quarantine)| {
            let mut text = format!(
                "[[policy]]\nname = \"{name}\"\naccount = \"{account}\"\n\
                 match = {{ device_type = \"{device_type}\" }}\n\
                 publish = {publish}\nsubscribe = {subscribe}\n{answers}\n"
            );
            if let Some((publish, subscribe, answers)) = quarantine {
                text += &format!(
                    "[policy.quarantine]\npublish = {publish}\nsubscribe = {subscribe}\n{answers}\n"
                );
            }
            text
        })
}

fn responses() -> impl Strategy<Value = &'static str> {
    prop::bool::weighted(0.3).prop_map(|yes| {
        if yes {
            "responses = { max = 1, ttl = \"1m\" }"
        } else {
            ""
        }
    })
}

fn policies(shape: Shape) -> impl Strategy<Value = PolicySet> {
    let one = policy("first", "m", shape);
    let two = (policy("first", "m", shape), policy("second", "*", shape))
        .prop_map(|(first, second)| first + &second);
    prop_oneof![one, two].prop_map(load)
}

fn load(text: String) -> PolicySet {
    let name = "generated.toml".to_owned();
    PolicySet::load(&[PolicySource { name, text }], &Constants::default())
        .unwrap_or_else(|e| panic!("{e}"))
}

fn check_sound(set: &PolicySet) -> Result<(), TestCaseError> {
    let leak = leaks(&devices(set, &VALUES));
    let proof = set.prove();
    prop_assert!(
        !leak || !proof.is_isolated(),
        "proven, but leaks: {}\n{:#?}",
        proof,
        set
    );
    Ok(())
}

fn check_exact(set: &PolicySet) -> Result<(), TestCaseError> {
    let leak = leaks(&devices(set, &["m", "b"]));
    let proof = set.prove();
    prop_assert_eq!(leak, !proof.is_isolated(), "{}\n{:#?}", proof, set);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn whatever_leaks_is_found(set in policies(LARGE)) {
        check_sound(&set)?;
    }

    #[test]
    fn whatever_leaks_by_one_entry_is_found(set in policies(SMALL)) {
        check_sound(&set)?;
    }

    #[test]
    fn without_deny_lists_nothing_else_is_found(set in policies(LARGE.exact())) {
        check_exact(&set)?;
    }

    #[test]
    fn without_deny_lists_nothing_else_is_found_of_one_entry(set in policies(SMALL.exact())) {
        check_exact(&set)?;
    }
}
