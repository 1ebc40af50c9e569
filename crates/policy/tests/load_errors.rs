//! What is wrong with a policy file comes out all at once, with line and hint.

use leafgate_policy::{Constants, PolicySet, PolicySource};

fn load(text: &str) -> Result<PolicySet, String> {
    let source = PolicySource {
        name: "p.toml".into(),
        text: text.into(),
    };
    PolicySet::load(&[source], &Constants::default()).map_err(|e| e.to_string())
}

/// The errors of a policy that is right but for `body`, which begins at line 5.
fn errors_of(body: &str) -> String {
    let text = format!(
        "[[policy]]\nname = \"a\"\naccount = \"DEVICES\"\nmatch = {{ device_type = \"*\" }}\n{body}"
    );
    load(&text).expect_err(body)
}

#[test]
fn one_run_reports_everything() {
    let errors = load(
        r#"[[policy]]
name = "a b"
account = "SYS"
match = { device_typ = "pump" }
publsh.allow = ["x"]
publish.allow = [
  "{id}.x",
  "device.{idd}.x",
  "$SYS.>",
]
session = { lifetime = "12 h", connections = 1 }
limits = { bytes_per_second = "1MiB", payload = "64kb" }

[[policy]]
name = "b"
"#,
    )
    .unwrap_err();
    for expected in [
        "p.toml:2: \"a b\" can't be a policy's name",
        "p.toml:3: account \"SYS\" can't be granted to devices\n  it belongs to leafgate",
        "p.toml:4: unknown key \"device_typ\" in match\n  did you mean \"device_type\"?",
        "p.toml:5: unknown key \"publsh\" in a policy\n  did you mean \"publish\"?",
        "p.toml:7: \"{id}.x\": a subject can't start with {id}",
        "p.toml:8: \"device.{idd}.x\": unknown variable {idd}\n  did you mean {id}?",
        "p.toml:9: \"$SYS.>\": $SYS belongs to nats-server",
        "p.toml:11: \"12 h\" is not a duration",
        "p.toml:11: \"connections\" is not enforced yet\n  leave it out",
        "p.toml:12: \"bytes_per_second\" is not enforced yet\n  leave it out",
        "p.toml:12: \"64kb\" is not a size in bytes",
        "p.toml:14: \"account\" is missing",
        "p.toml:14: \"match\" is missing\n  to match every device, write match = { device_type = \"*\" }",
    ] {
        assert!(errors.contains(expected), "{expected}\n---\n{errors}");
    }
}

#[test]
fn each_mistake_has_its_message() {
    for (body, expected) in [
        ("publish = [\"a.b\"]", "5: \"publish\" must be a table"),
        (
            "publish.allow = [1]",
            "5: \"allow\" must be a string, but is 1",
        ),
        ("publish.deny = [\"a.b\"]", "5: \"allow\" is missing"),
        (
            "publish.allow = [\"a.b\",\n\"a.b\"]",
            "6: \"a.b\" is listed twice",
        ),
        (
            "publish.allow = [\">\"]",
            "5: \">\": a grant can't start with a wildcard",
        ),
        (
            "subscribe.allow = [\"_R_.>\"]",
            "5: \"_R_.>\": reply subjects of the server",
        ),
        (
            "subscribe.allow = [\"device.{id}.cmd workers\"]",
            "a subject has no blanks",
        ),
        (
            "publish.allow = [\"device.x-{id}\"]",
            "mixes a variable with text",
        ),
        (
            "responses = { max = 0, ttl = \"1m\" }",
            "\"max\" must be a whole number from 1 to 2147483647, but is 0",
        ),
        ("responses = { max = -1, ttl = \"1m\" }", "but is -1"),
        ("responses = { max = 1 }", "\"ttl\" is missing"),
        ("responses = { max = 1, ttl = \"2d\" }", "out of range"),
        (
            "session.lifetime = \"30s\"",
            "the lifetime is out of range\n  from 1m to 366d",
        ),
        ("session.jitter = \"60%\"", "the jitter is out of range"),
        ("session.connection_types = []", "the list admits nothing"),
        (
            "session.connection_types = [\"MQT\"]",
            "did you mean \"MQTT\"?",
        ),
        (
            "session.connection_types = [\"MQTT\", \"MQTT\"]",
            "MQTT is listed twice",
        ),
        ("session.sources = []", "the list admits nothing"),
        (
            "session.sources = [\"10.1.0.0/8\"]",
            "did you mean \"10.0.0.0/8\"?",
        ),
        (
            "limits.subscriptions = \"100\"",
            "must be a whole number from 1 to",
        ),
        (
            "limits.payload = 65536",
            "\"payload\" must be a string, but is 65536",
        ),
        ("limits.payload = \"65MiB\"", "the payload is out of range"),
        (
            "lifetime = \"12h\"",
            "unknown key \"lifetime\" in a policy\n  \"lifetime\" belongs under session",
        ),
        ("shared = [\"_INBOX.>\"]", "must be a table"),
        (
            "shared = [{ subject = \"_INBOX.>\" }]",
            "\"reason\" is missing",
        ),
        (
            "shared = [{ subject = \"_INBOX.>\", reason = \" \" }]",
            "the reason is no line of text",
        ),
        (
            "shared = [{ subject = \"d.{id}\", reason = \"x\" }]",
            "a shared subject can't have {id}",
        ),
        (
            "shared = [{ subject = \"*.x\", reason = \"x\" }]",
            "a shared subject can't start with *",
        ),
        (
            "[policy.quarantine]\naccount = \"X\"",
            "6: unknown key \"account\" in quarantine",
        ),
        ("nonsense", "5: not TOML"),
    ] {
        let errors = errors_of(body);
        assert!(
            errors.contains(expected),
            "{body}: {expected}\n---\n{errors}"
        );
    }
}

#[test]
fn accounts_are_fixed_and_never_reserved() {
    let with = |account: &str| {
        format!(
            "[[policy]]\nname = \"a\"\naccount = \"{account}\"\nmatch = {{ device_type = \"*\" }}\n"
        )
    };
    for account in [
        "AUTH",
        "SYS",
        "TELEMETRY",
        "COMMANDS",
        "$SYS",
        "$G",
        "",
        "D{site}",
        "{attr.x}",
    ] {
        assert!(load(&with(account)).is_err(), "{account}");
    }
    assert!(load(&with("DEVICES")).is_ok());
    let constants = Constants {
        reserved_accounts: vec!["MINE".into()],
        ..Constants::default()
    };
    let source = |account| PolicySource {
        name: "p.toml".into(),
        text: with(account),
    };
    assert!(PolicySet::load(&[source("MINE")], &constants).is_err());
    assert!(PolicySet::load(&[source("SYS")], &constants).is_ok());
}

#[test]
fn a_match_says_something() {
    for (selector, expected) in [
        ("{}", "\"match\" is empty"),
        ("{ device_type = [] }", "an empty list matches nothing"),
        (
            "{ device_type = \"pump-*\" }",
            "\"pump-*\" can't be a value to match",
        ),
        (
            "{ device_type = [\"*\", \"a\"] }",
            "\"*\" can't be a value to match",
        ),
        (
            "{ device_type = 1 }",
            "must be a string or a list of strings",
        ),
        (
            "{ attr = { \"a.b\" = \"x\" } }",
            "can't be the name of an attribute",
        ),
        ("{ site = \"x\" }", "unknown key \"site\" in match"),
    ] {
        let text = format!("[[policy]]\nname = \"a\"\naccount = \"D\"\nmatch = {selector}\n");
        let errors = load(&text).expect_err(selector);
        assert!(
            errors.contains(expected),
            "{selector}: {expected}\n---\n{errors}"
        );
    }
}

#[test]
fn policies_that_nothing_reaches_are_errors() {
    let policy = |name: &str, selector: &str| {
        format!("[[policy]]\nname = \"{name}\"\naccount = \"D\"\nmatch = {selector}\n\n")
    };
    let all = policy("all", "{ device_type = \"*\" }");
    let errors = load(&format!(
        "{all}{}",
        policy("pump", "{ device_type = \"pump\" }")
    ))
    .unwrap_err();
    assert_eq!(
        errors,
        "p.toml:6: no device can reach policy \"pump\": policy \"all\" at p.toml:1 takes every device\n  \
         the first match decides: put the narrower policy first"
    );
    let together = policy("a", "{ device_type = \"a\" }")
        + &policy("b", "{ device_type = \"b\" }")
        + &policy("c", "{ device_type = [\"a\", \"b\"] }");
    assert!(
        load(&together).unwrap_err().contains(
            "p.toml:11: no device can reach policy \"c\": the policies before it together"
        )
    );
    let twice = policy("a", "{ device_type = \"a\" }") + &policy("a", "{ device_type = \"b\" }");
    assert!(
        load(&twice)
            .unwrap_err()
            .contains("p.toml:6: policy \"a\" is already at p.toml:1")
    );
}

#[test]
fn nothing_to_load_is_an_error() {
    assert!(
        PolicySet::load(&[], &Constants::default())
            .unwrap_err()
            .to_string()
            .contains("no policy file")
    );
    assert!(
        load("")
            .unwrap_err()
            .starts_with("p.toml:1: \"policy\" is missing")
    );
    assert!(load("policy = []").is_err());
    let constants = Constants {
        prefix: "a.*".into(),
        ..Constants::default()
    };
    let error = PolicySet::load(&[], &constants).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("\"a.*\" can't be the subject prefix")
    );
}

#[test]
fn the_prefix_is_a_constant() {
    let source = PolicySource {
        name: "p.toml".into(),
        text: "[[policy]]\nname = \"a\"\naccount = \"D\"\nmatch = { device_type = \"*\" }\n\
               publish.allow = [\"{prefix}.{id}.x\"]\n"
            .into(),
    };
    let constants = Constants {
        prefix: "acme.iot".into(),
        ..Constants::default()
    };
    let set = PolicySet::load(&[source], &constants).unwrap();
    assert_eq!(set.policies().count(), 1);
    let proof = set.prove();
    assert!(proof.is_isolated(), "{proof}");
}
