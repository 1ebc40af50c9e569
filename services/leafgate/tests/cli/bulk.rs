//! Many devices at a time, on both kinds of registry.

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::io::{Read, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use nix::pty::openpty;
use serde_json::{Value, json};

use crate::support::{Desk, Done, eventually};

/// The lines of an output, each as JSON.
fn lines(output: &str) -> Vec<Value> {
    let lines = output.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn device(id: &str) -> String {
    json!({ "id": id, "device_type": "pump", "attributes": { "zone": "north" } }).to_string()
}

fn fleet(from: u32, to: u32) -> String {
    let mut text = String::new();
    for number in from..to {
        writeln!(text, "{}", device(&format!("pump-{number:05}"))).unwrap();
    }
    text
}

fn ids(output: &str) -> Vec<String> {
    let id = |line: &Value| line["id"].as_str().unwrap().to_owned();
    lines(output).iter().map(id).collect()
}

#[test]
fn every_line_has_its_result() {
    for desk in Desk::with_either() {
        desk.ok("device register other --type valve");
        let text = [
            device("0001"),
            String::new(),
            "{\"id\": 7}".to_owned(),
            device("a.b"),
            device("other"),
            json!({ "id": "0002", "device_type": "pump", "pending": true, "site": "plant-7" })
                .to_string(),
            device("0001"),
        ]
        .join("\n");
        desk.write("fleet.ndjson", &text);
        let done = desk.run("device import fleet.ndjson --output json");
        assert_eq!(done.exit, 1, "{done:#?}");
        let results = lines(&done.stdout);
        let shown: Vec<String> = results
            .iter()
            .map(|result| format!("{} {} {}", result["line"], result["id"], result["outcome"]))
            .collect();
        assert_eq!(
            shown,
            [
                "1 \"0001\" \"registered\"",
                "3 null \"failed\"",
                "4 null \"failed\"",
                "5 \"other\" \"failed\"",
                "6 \"0002\" \"registered\"",
                "7 \"0001\" \"unchanged\"",
            ]
        );
        assert_eq!(results[1]["problem"]["type"], "/problems/request-malformed");
        assert_eq!(results[3]["problem"]["type"], "/problems/device-exists");
        assert_eq!(desk.json("device show 0002")["state"], "pending");

        let again = desk.run("device import fleet.ndjson");
        assert_eq!((again.exit, again.stderr.as_str()), (1, ""), "{again:#?}");
        let said: Vec<&str> = again.stdout.lines().collect();
        assert!(said[0].starts_with("line 3 failed: "), "{again:#?}");
        assert!(said[2].starts_with("line 5 (other) failed: "), "{again:#?}");
        assert_eq!(said[3], "0 devices registered, 3 unchanged, 3 failed");
        desk.fails("device import none.ndjson", 2);
        desk.write("binary", &"x".repeat((1 << 20) + 1));
        let said = desk.fails("device import binary", 2);
        assert!(
            said.contains("binary:1: the line is longer than 1 MiB"),
            "{said}"
        );
    }
}

#[test]
fn a_fleet_goes_in_and_comes_out() {
    for desk in Desk::with_either() {
        desk.write("fleet.ndjson", &fleet(0, 2_500));
        assert_eq!(
            desk.ok("device import fleet.ndjson"),
            "2500 devices registered, 0 unchanged, 0 failed\n"
        );
        desk.ok("device register other --type valve");
        let all = desk.ok("device export");
        assert_eq!(all.lines().count(), 2_501);
        assert!(ids(&all).is_sorted());
        assert_eq!(ids(&desk.ok("device export --type valve")), ["other"]);
        assert_eq!(
            lines(&desk.ok("device export --type valve"))[0],
            desk.json("device show other")
        );
        let said = desk.ok("device export --prefix pump-0000 --out part.ndjson");
        assert_eq!(said, "10 devices in part.ndjson\n");
        let part = desk.read("part.ndjson");
        assert_eq!(part.lines().next(), all.lines().nth(1));
        assert_eq!(ids(&part)[9], "pump-00009");
        // More than one page of the API in one list.
        let listed = desk.json("device list --limit 1500 --type pump");
        assert_eq!(listed["devices"].as_array().unwrap().len(), 1_500);
        let next = listed["next_page_token"].as_str().unwrap();
        let rest = desk.json(&format!(
            "device list --limit 1500 --type pump --after {next}"
        ));
        assert_eq!(rest["devices"].as_array().unwrap().len(), 1_000);
        assert_eq!(rest["next_page_token"], Value::Null);
    }
}

#[test]
fn an_import_goes_on_when_the_service_comes_back() {
    const FIRST: u32 = 300;
    const ALL: u32 = 900;
    let mut desk = Desk::with_api();
    let mut command = desk.command(["device", "import", "-", "--output", "json"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(fleet(0, FIRST).as_bytes()).unwrap();
    input.flush().unwrap();
    eventually("the first devices", || {
        let listed = desk.json("device list --limit 1000");
        (listed["devices"].as_array().unwrap().len() == FIRST as usize).then_some(())
    });
    let mut api = desk.api.take().unwrap();
    api.running.kill();
    input.write_all(fleet(FIRST, 600).as_bytes()).unwrap();
    input.flush().unwrap();
    // Longer than the first pause, so that it is asked for while it is not there.
    thread::sleep(Duration::from_secs(2));
    api.start_again(&desk);
    desk.api = Some(api);
    input.write_all(fleet(600, ALL).as_bytes()).unwrap();
    drop(input);
    let done: Done = child.wait_with_output().unwrap().into();
    assert_eq!(done.exit, 0, "{}", done.stderr);
    let results = lines(&done.stdout);
    assert_eq!(results.len(), ALL as usize);
    for (number, result) in (1..).zip(&results) {
        assert_eq!(result["line"], number);
        assert_ne!(result["outcome"], "failed", "{result}");
    }
    let listed = desk.json("device list --limit 2000");
    assert_eq!(listed["devices"].as_array().unwrap().len(), ALL as usize);
}

#[test]
fn an_import_that_is_given_up_says_where_it_was() {
    let mut desk = Desk::with_api();
    desk.ok("api-key create short --role provisioner --out short.key");
    let id = desk.read("short.key").split('_').nth(1).unwrap().to_owned();
    let mut command = desk.command(["device", "import", "-", "--token-file", "short.key"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(fleet(0, 10).as_bytes()).unwrap();
    input.flush().unwrap();
    eventually("the first devices", || {
        let listed = desk.json("device list");
        (listed["devices"].as_array().unwrap().len() == 10).then_some(())
    });
    desk.ok(&format!("api-key revoke {id}"));
    input.write_all(fleet(10, 20).as_bytes()).unwrap();
    drop(input);
    let done: Done = child.wait_with_output().unwrap().into();
    assert_eq!(done.exit, 5, "{done:#?}");
    assert!(
        done.stderr.contains("this API key was revoked at"),
        "{done:#?}"
    );
    assert!(
        done.stderr.contains("from line 11 on nothing is known"),
        "{done:#?}"
    );
    // The same as a whole, by who may.
    desk.write("fleet.ndjson", &fleet(0, 20));
    desk.ok("device import fleet.ndjson");
    assert_eq!(
        desk.json("device list")["devices"]
            .as_array()
            .unwrap()
            .len(),
        20
    );
    desk.api.take();
}

#[test]
fn many_are_changed_once_their_number_is_confirmed() {
    for desk in Desk::with_either() {
        desk.write("fleet.ndjson", &fleet(0, 20));
        desk.ok("device import fleet.ndjson");
        desk.ok("device register other --type valve");
        let states = |filter: &str| {
            let listed = desk.json(&format!("device list {filter}"));
            listed["devices"].as_array().unwrap().len()
        };
        assert_eq!(
            desk.ok("device bulk disable --type pump --dry-run"),
            "this would disable 20 devices\n"
        );
        assert_eq!(
            desk.json("device bulk disable --all --dry-run"),
            json!({ "devices": 21 })
        );
        for (line, exit, words) in [
            (
                "device bulk disable --type pump",
                2,
                "to disable many devices needs a confirmation",
            ),
            (
                "device bulk disable --yes",
                2,
                "no condition says which devices are meant",
            ),
            (
                "device bulk disable --all --type pump --yes",
                2,
                "--all is for no other condition",
            ),
            (
                "device bulk disable --type pump --reason superseded --yes",
                2,
                "--reason is for revoke alone",
            ),
            (
                "device bulk disable --type pump --expect 19 --yes",
                4,
                "this would disable 20 devices, not 19",
            ),
        ] {
            let said = desk.fails(line, exit);
            assert!(said.contains(words), "{line}: {said}");
        }
        assert_eq!(states("--state disabled"), 0);
        let done = desk.run(
            "device bulk disable --prefix pump-0000 --expect 10 --rate 1000 --yes --output json",
        );
        assert_eq!(done.exit, 0, "{done:#?}");
        let results = lines(&done.stdout);
        assert_eq!(results.len(), 10);
        assert_eq!(
            (&results[9]["done"], &results[9]["of"]),
            (&json!(10), &json!(10))
        );
        assert!(
            results
                .iter()
                .all(|it| it["outcome"] == "changed" && it["state"] == "disabled")
        );
        assert_eq!(states("--state disabled"), 10);
        let said = desk.ok("device bulk revoke --type pump --reason superseded --yes");
        assert!(said.starts_with("20 devices changed, 0 "), "{said}");
        assert_eq!(
            (states("--state revoked"), states("--state active")),
            (20, 1)
        );
        assert_eq!(
            desk.ok("device bulk approve --type pump --yes"),
            "there is no device to approve\n"
        );
    }
}

#[test]
fn who_watches_sees_how_far_it_has_come() {
    let desk = Desk::with_registry();
    desk.write("fleet.ndjson", &fleet(0, 2_000));
    let terminal = openpty(None, None).unwrap();
    let mut command = desk.command(["device", "import", "fleet.ndjson"]);
    command
        .env("TERM", "xterm")
        .stderr(terminal.slave)
        .stdout(Stdio::piped());
    let child = command.spawn().unwrap();
    drop(command);
    let watching = std::thread::spawn(move || {
        let mut heard = Vec::new();
        // Reading from a terminal that nobody holds any more ends with an error.
        let _ = fs::File::from(terminal.master).read_to_end(&mut heard);
        String::from_utf8_lossy(&heard).into_owned()
    });
    let done = child.wait_with_output().unwrap();
    let output = String::from_utf8(done.stdout).unwrap();
    assert_eq!(output, "2000 devices registered, 0 unchanged, 0 failed\n");
    let heard = watching.join().unwrap();
    assert!(
        heard.contains(" %  ") && heard.contains(" registered, "),
        "{heard:?}"
    );
}

#[test]
fn a_source_may_take_longer_than_the_service_waits() {
    let desk = Desk::with_api_of("[limits]\nbody_timeout_secs = 1\n");
    let mut command = desk.command(["device", "import", "-", "--output", "json"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    for from in [0, 10, 20] {
        input.write_all(fleet(from, from + 10).as_bytes()).unwrap();
        input.flush().unwrap();
        // Longer than it waits.
        std::thread::sleep(std::time::Duration::from_millis(2_500));
    }
    drop(input);
    let done: Done = child.wait_with_output().unwrap().into();
    assert_eq!((done.exit, done.stderr.as_str()), (0, ""), "{done:#?}");
    let results = lines(&done.stdout);
    assert_eq!(results.len(), 30);
    for (number, result) in (1..).zip(&results) {
        assert_eq!(
            (&result["line"], &result["outcome"]),
            (&json!(number), &json!("registered"))
        );
    }
}

#[test]
fn an_import_that_fails_ends_though_its_source_does_not() {
    let desk = Desk::with_api();
    let mut command = desk.command(["device", "import", "-", "--token-file", "wrong.key"]);
    desk.write("wrong.key", "lgk_a_b\n");
    fs::set_permissions(desk.path("wrong.key"), Permissions::from_mode(0o600)).unwrap();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(fleet(0, 1).as_bytes()).unwrap();
    input.flush().unwrap();
    let status = eventually("the end of the import", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(5));
}

#[test]
fn an_import_whose_results_nobody_reads_is_not_done() {
    for desk in Desk::with_either() {
        desk.write("fleet.ndjson", &fleet(0, 3));
        let mut command = desk.command(["device", "import", "fleet.ndjson", "--output", "json"]);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let done: Done = command.stdout(writer).output().unwrap().into();
        assert_eq!(done.exit, 1, "{done:#?}");
        assert!(done.stderr.contains("given up half-way"), "{done:#?}");
    }
}
