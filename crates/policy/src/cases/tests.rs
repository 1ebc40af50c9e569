use std::path::Path;

use super::*;

const POLICY: &str = r#"
[[policy]]
name = "device"
account = "DEVICES"
match = { device_type = "*" }
publish.allow = ["{prefix}.{id}.status"]
session = { sources = ["10.0.0.0/8"] }
"#;

fn run(cases: &str) -> Result<CaseResults, LoadPolicyErrors> {
    let source = PolicySource {
        name: "policies/cases/c.toml".into(),
        text: format!("policy = \"../device.toml\"\n{cases}"),
    };
    run_cases(&source, &Constants::default(), |path| {
        assert_eq!(path, Path::new("policies/device.toml"));
        Ok(POLICY.to_owned())
    })
}

#[test]
fn a_case_that_holds_passes() {
    let results = run("[[case]]\nname = \"status only\"\n\
         device = { id = \"0001\" }\nconnection.source = \"10.0.0.1\"\n\
         expect.grant.publish.allow = [\"device.0001.status\"]\n\
         expect.grant.subscribe.allow = []\n\
         [[case]]\nname = \"elsewhere\"\ndevice.id = \"0001\"\n\
         expect.denial = \"source-not-allowed\"\n")
    .unwrap();
    assert!(results.passed(), "{results}");
    assert_eq!(
        results.to_string(),
        "ok    status only\nok    elsewhere\n\
         policies/cases/c.toml: 2 cases against policies/device.toml, all as expected"
    );
}

#[test]
fn a_case_that_fails_shows_the_difference() {
    let results = run("[[case]]\nname = \"more than it gets\"\n\
         device = { id = \"0001\" }\nconnection.source = \"10.0.0.1\"\n\
         [case.expect.grant]\naccount = \"OTHERS\"\n\
         publish.allow = [\"device.0001.metrics.>\"]\nsubscribe.allow = []\n\
         responses = { max = 1, ttl = \"1m\" }\nlimits.payload = \"1KiB\"\n\
         [[case]]\nname = \"denied\"\ndevice.id = \"0001\"\n\
         expect.denial = \"policy-none\"\n")
    .unwrap();
    assert!(!results.passed());
    assert_eq!(
        results.to_string(),
        "FAIL  more than it gets   policies/cases/c.toml:2
        account
          - OTHERS   expected, missing
          + DEVICES   not expected
        publish.allow
          - device.0001.metrics.>   expected, missing
          + device.0001.status   not expected
        responses
          - 1 within 1 m   expected, missing
          + none   not expected
        limits.payload
          - 1 KiB   expected, missing
          + none   not expected
FAIL  denied   policies/cases/c.toml:12
        decision
          - denial policy-none   expected, missing
          + denial source-not-allowed   not expected
policies/cases/c.toml: 2 cases against policies/device.toml, 2 failed"
    );
}

#[test]
fn a_case_file_is_checked_like_a_policy() {
    let errors = run(
        "[[case]]\nname = \"a\"\ndevice = { id = \"a.b\", typ = \"x\" }\n\
         connection.type = \"standard\"\nexpect.denial = \"policy-non\"\n\
         [[case]]\nname = \"b\"\ndevice.id = \"b\"\nconnection.source = \"here\"\n\
         expect.grant.publish.allow = [\"device.{id}.x\"]\n\
         [[case]]\nname = \"c\"\ndevice.id = \"c\"\nexpect = {}\n",
    )
    .unwrap_err()
    .to_string();
    for line in [
        "c.toml:4: unknown key \"typ\" in device\n  did you mean \"type\"?",
        "c.toml:4: \"a.b\" can't be a device id",
        "c.toml:5: unknown connection type \"standard\"\n  did you mean \"STANDARD\"?",
        "c.toml:6: no policy denies with \"policy-non\"\n  did you mean \"policy-none\"?",
        "c.toml:10: \"here\" is not an IP address",
        "c.toml:11: \"device.{id}.x\": a case has no variables",
        "c.toml:11: \"subscribe\" is missing",
        "c.toml:15: a case expects either a grant or a denial",
    ] {
        assert!(errors.contains(line), "{line}\n---\n{errors}");
    }
}

#[test]
fn a_missing_policy_is_an_error_of_the_case_file() {
    let source = PolicySource {
        name: "cases/c.toml".into(),
        text: "policy = \"none.toml\"\n[[case]]\nname = \"a\"\ndevice.id = \"a\"\nexpect.denial = \"policy-none\"".into(),
    };
    let error = run_cases(&source, &Constants::default(), |_| {
        Err(io::Error::from(io::ErrorKind::NotFound))
    })
    .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("cases/c.toml:1: can't read cases/none.toml"),
        "{error}"
    );
}

#[test]
fn paths_are_relative_to_the_case_file() {
    for (file, path, expected) in [
        (
            "policies/cases/c.toml",
            "../device.toml",
            "policies/device.toml",
        ),
        ("c.toml", "device.toml", "device.toml"),
        ("c.toml", "../device.toml", "../device.toml"),
        ("/a/b/c.toml", "./../../d.toml", "/d.toml"),
        ("a/c.toml", "/etc/d.toml", "/etc/d.toml"),
    ] {
        assert_eq!(resolve(file, path), Path::new(expected), "{file} {path}");
    }
}
