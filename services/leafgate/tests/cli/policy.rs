use crate::support::{Desk, project};

/// The program where the shipped policies are.
fn at_home(line: &str) -> (i32, String, String) {
    let mut command = Desk::empty().command(line.split_whitespace());
    let output = command.current_dir(project()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

const LEAK: &str = r#"
[[policy]]
name = "leaky"
account = "DEVICES"
match = { device_type = "*" }
publish.allow = ["device.{id}.status"]
subscribe.allow = ["device.*.status"]
"#;

#[test]
fn the_shipped_policies_pass() {
    let (exit, said, _) = at_home("policy check");
    assert_eq!(exit, 0);
    assert!(
        said.starts_with("ok   policy \"device\" (policies/device.toml:"),
        "{said}"
    );
    let (exit, said, _) = at_home("policy test");
    assert_eq!(exit, 0, "{said}");
    assert!(
        said.contains("policies/cases/device.toml: ") && said.contains("all as expected"),
        "{said}"
    );
    let (exit, said, _) = at_home("policy prove");
    assert_eq!(exit, 0, "{said}");
    assert!(said.contains("isolated: no device of \"device\""), "{said}");
    assert!(
        said.contains("shared:   _INBOX.> between all devices of \"seed-compatible\""),
        "{said}"
    );
}

#[test]
fn a_grant_is_explained() {
    let (exit, said, _) = at_home("policy explain 0001 --type pump");
    assert_eq!(exit, 0);
    assert!(
        said.starts_with("policy \"device\" (policies/device.toml:"),
        "{said}"
    );
    assert!(said.contains(", because device_type \"pump\" matches \"*\"\n  publish    device.0001.metrics.>   device.0001.status   device.0001.renew\n"), "{said}");
    let (_, said, _) = at_home("policy explain 0001 --quarantined --subject-prefix iot");
    assert!(
        said.contains("\n  publish    iot.0001.status\n  subscribe  iot.0001.cmd\n"),
        "{said}"
    );
    let (exit, said, _) = at_home("policy explain 0001 --connection MQTT --source 192.0.2.7");
    assert_eq!(exit, 0);
    assert!(
        said.contains("denied (connection-type-not-allowed)"),
        "{said}"
    );
    let (exit, _, said) = at_home("policy explain 0001 --attr zone=a --attr zone=b");
    assert_eq!(
        (exit, said.as_str()),
        (2, "error: --attr zone is given twice\n")
    );
    let (_, json, _) = at_home("policy explain 0001 --output json");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["policy"]["name"], "device");
    assert_eq!(json["outcome"]["grant"]["account"], "DEVICES");
}

#[test]
fn a_leak_is_found() {
    let desk = Desk::empty();
    desk.write("leaky.toml", LEAK);
    let done = desk.run("policy prove leaky.toml");
    assert_eq!(done.exit, 1);
    assert!(
        done.stdout.starts_with(
            "leak:     device.*.status between all devices of \"leaky\"   leaky.toml:"
        ),
        "{done:#?}"
    );
    let json: serde_json::Value =
        serde_json::from_str(&desk.run("policy prove leaky.toml --output json").stdout).unwrap();
    assert_eq!(
        json["proofs"][0]["sharings"][0]["subject"],
        "device.*.status"
    );
    desk.ok("policy check leaky.toml");
}

#[test]
fn without_files_each_of_the_folder_is_proven_by_itself() {
    let desk = Desk::empty();
    std::fs::create_dir(desk.path("policies")).unwrap();
    // Loaded together, nobody could reach the second.
    desk.write("policies/a.toml", LEAK);
    desk.write("policies/b.toml", &LEAK.replace("leaky", "other"));
    let done = desk.run("policy prove");
    assert_eq!(done.exit, 1, "{done:#?}");
    assert!(
        done.stdout.contains("\"leaky\"") && done.stdout.contains("\"other\""),
        "{done:#?}"
    );
    let said = desk.fails("policy check policies/a.toml policies/b.toml", 1);
    assert!(
        said.contains("no device can reach policy \"other\""),
        "{said}"
    );
}

#[test]
fn a_case_that_fails_is_shown() {
    let desk = Desk::empty();
    desk.write("leaky.toml", LEAK);
    desk.write(
        "cases.toml",
        r#"
policy = "leaky.toml"
[[case]]
name = "nothing is refused"
device = { id = "0001", type = "pump" }
expect.denial = "policy-none"
"#,
    );
    let done = desk.run("policy test cases.toml");
    assert_eq!(done.exit, 1);
    assert!(
        done.stdout
            .starts_with("FAIL  nothing is refused   cases.toml:3\n"),
        "{done:#?}"
    );
}

#[test]
fn what_is_wrong_with_a_policy_comes_with_its_line() {
    let desk = Desk::empty();
    desk.write("one.toml", &LEAK.replace("account", "acount"));
    let said = desk.fails("policy check one.toml", 1);
    assert!(
        said.starts_with("error: 2 problems:\n  one.toml:2: \"account\" is missing\n"),
        "{said}"
    );
    assert!(
        said.contains("  one.toml:4: unknown key \"acount\""),
        "{said}"
    );
    desk.fails("policy explain 0001 --policy one.toml", 2);
    desk.write("two.toml", &LEAK.replace("DEVICES", "AUTH"));
    let said = desk.fails("policy prove two.toml", 1);
    assert!(said.starts_with("error: two.toml:4: account \"AUTH\" can't be granted to devices\n  it belongs to leafgate"), "{said}");
}

#[test]
fn a_missing_policy_is_wrong_input() {
    let desk = Desk::empty();
    let hint = "call this where the folder policies/ is\n";
    for line in [
        "policy check",
        "policy explain 0001",
        "policy test",
        "policy prove",
        "policy check nowhere.toml",
    ] {
        let said = desk.fails(line, 2);
        assert!(
            said.starts_with("error: can't read ") && said.ends_with(hint),
            "{said}"
        );
    }
    std::fs::create_dir(desk.path("policies")).unwrap();
    assert!(
        desk.fails("policy prove", 2)
            .contains("policies holds no .toml file")
    );
}
