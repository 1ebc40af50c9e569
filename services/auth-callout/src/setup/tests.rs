use std::fs;

use leafgate_identity::{Binding, CnPattern, SpkiHash, TrustDomain};
use leafgate_runtime::Environment;

use super::*;

/// The problems with names and bounds in a configuration that is right but for `change`.
fn problems(change: impl FnOnce(&mut Config)) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("callout.toml");
    let text = r#"
        site = "cph1"
        replica = "callout-0"
        trust_domain = [{ name = "default", issuers = [], policies = [] }]
        [nats]
        urls = ["tls://leaf-0:4222"]
        nkey_seed_file = "auth.seed"
        issuer_seed_file = "issuer.seed"
        [store]
        url = "sqlite:registry.db"
    "#;
    fs::write(&file, text).unwrap();
    let mut config = Config::load(&file, &Environment::default()).unwrap();
    change(&mut config);
    let mut problems = SetUpProblems::default();
    check_names(&config, &mut problems);
    let found = problems.finish(Some(()));
    found.map_or_else(|error| error.problems().to_vec(), |()| Vec::new())
}

#[test]
fn a_subject_prefix_may_have_several_tokens() {
    assert_eq!(problems(|_| {}), [""; 0]);
    let found = problems(|config| config.subject_prefix = "acme.device".to_owned());
    assert_eq!(found, [""; 0]);
}

#[test]
fn the_subject_prefix_comes_from_the_file_or_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("callout.toml");
    let prefix = |line: &str, variable: &str| {
        let text = format!(
            "site = \"cph1\"\nreplica = \"callout-0\"\n{line}\ntrust_domain = []\n[nats]\nurls = []\n\
             nkey_seed_file = \"a\"\nissuer_seed_file = \"b\"\n[store]\nurl = \"vault:secret\"\n"
        );
        fs::write(&file, text).unwrap();
        let environment = [("DEVICE_SUBJECT_PREFIX".to_owned(), variable.to_owned())];
        let config = Config::load(&file, &Environment::from(environment));
        config.unwrap().subject_prefix
    };
    assert_eq!(prefix("", ""), "device");
    assert_eq!(prefix("", "acme.device"), "acme.device");
    assert_eq!(prefix("subject_prefix = \"plant\"", "acme.device"), "plant");
}

#[test]
fn each_bound_must_leave_something() {
    type Change = fn(&mut Config);
    let cases: [(&str, Change); 7] = [
        ("site", |config| config.site = "a.b".to_owned()),
        ("deadline_ms", |config| config.limits.deadline_ms = 0),
        ("deadline_ms", |config| config.limits.deadline_ms = 2_000),
        ("waiting_requests", |config| {
            config.limits.waiting_requests = 0;
        }),
        ("concurrent_lookups", |config| {
            config.limits.concurrent_lookups = 0;
        }),
        ("cached_devices", |config| config.limits.cached_devices = 0),
        ("sweep_secs", |config| config.limits.sweep_secs = 0),
    ];
    for (key, change) in cases {
        let found = problems(change);
        assert!(
            found.len() == 1 && found[0].contains(key),
            "{key}: {found:?}"
        );
    }
}

/// Two trust domains with a policy each, both isolated in themselves.
fn trust(accounts: [&str; 2]) -> Trust {
    let policies = [
        ("one", accounts[0], "t.{id}.x.y"),
        ("two", accounts[1], "t.a.{id}.y"),
    ];
    let sets = policies.map(|(name, account, subject)| {
        let text = format!(
            "[[policy]]\nname = \"{name}\"\naccount = \"{account}\"\nmatch = {{ device_type = \"*\" }}\n\
             publish.allow = [\"{subject}\"]\n"
        );
        let source = PolicySource {
            name: format!("{name}.toml"),
            text,
        };
        let set = PolicySet::load(&[source], &Constants::default()).unwrap();
        assert!(set.prove().is_isolated(), "{name} alone");
        (TrustDomainName::parse(name).unwrap(), set)
    });
    let domain = |(name, issuer): (&str, u8)| TrustDomain {
        name: TrustDomainName::parse(name).unwrap(),
        issuers: vec![SpkiHash::from_bytes([issuer; 32])],
        cn_pattern: CnPattern::parse(&format!("{{id}}.{name}.example")).unwrap(),
        binding: Binding::Issued,
    };
    Trust {
        domains: vec![domain(("one", 1)), domain(("two", 2))]
            .try_into()
            .unwrap(),
        policies: sets.into(),
    }
}

#[test]
fn trust_domains_that_share_an_account_are_proven_together() {
    assert_eq!(undeclared_sharings(&trust(["ONE", "TWO"])), [""; 0]);
    let found = undeclared_sharings(&trust(["DEVICES", "DEVICES"]));
    let [warning] = &found[..] else {
        panic!("{found:?}")
    };
    for part in [
        "t.a.x.y",
        "DEVICES",
        "\"one\" (one.toml",
        "\"two\" (two.toml",
    ] {
        assert!(warning.contains(part), "{warning}");
    }
}
