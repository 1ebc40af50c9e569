use std::fs;
use std::io::{Read, Write};
use std::process::Stdio;

use nix::pty::openpty;

use crate::support::{Desk, Done};

#[test]
fn a_device_is_registered_listed_and_shown() {
    for desk in Desk::with_either() {
        let said = desk.ok("device register 0001 --type thermostat --attr zone=north --attr rack=7 --site demo --out devices");
        assert!(
            said.starts_with("0001 is registered and active\n  devices/0001.crt   its certificate"),
            "{said}"
        );
        desk.ok("device register 0002 --type pump");

        let listed = desk.ok("device list");
        let lines: Vec<&str> = listed.lines().collect();
        assert_eq!(
            lines[0],
            "ID     STATE    TYPE         SITE   CERTIFICATE        EXPIRES"
        );
        assert!(
            lines[1].starts_with("0001   active   thermostat   demo   "),
            "{listed}"
        );
        assert!(lines[1].ends_with(" (issued)   in 6 days"), "{listed}");
        assert_eq!(
            lines[2],
            "0002   active   pump         –      none               –"
        );
        assert_eq!(lines[3..], ["2 devices"]);

        let shown = desk.ok("device show 0001");
        for part in [
            "0001   active\n",
            "rack=7   zone=north\n",
            "generation 1\n",
            "issued   in 6 days",
        ] {
            assert!(shown.contains(part), "{part:?} in {shown}");
        }
    }
}

#[test]
fn json_is_that_of_the_api() {
    for desk in Desk::with_either() {
        desk.ok("device register 0001 --type pump --attr zone=north --out devices");
        desk.ok("device register 0002");
        let listed = desk.json("device list --type pump");
        let devices = listed["devices"].as_array().unwrap();
        assert_eq!(devices.len(), 1);
        let device = &devices[0];
        assert_eq!(device["id"], "0001");
        assert_eq!(device["state"], "active");
        assert_eq!(device["device_type"], "pump");
        assert_eq!(device["site"], serde_json::Value::Null);
        assert_eq!(device["attributes"]["zone"], "north");
        assert_eq!(
            (&device["generation"], &device["version"]),
            (&1.into(), &3.into())
        );
        assert!(device["registered_at"].as_str().unwrap().ends_with('Z'));
        let certificate = &device["certificates"][0];
        assert_eq!(certificate["status"], "issued");
        for field in ["serial", "issuer", "not_before", "not_after", "fingerprint"] {
            assert!(certificate[field].is_string(), "{field} in {certificate}");
        }
        assert_eq!(desk.json("device show 0001"), *device);
    }
}

#[test]
fn what_is_listed_can_be_narrowed_and_paged() {
    for desk in Desk::with_either() {
        for (id, more) in [
            ("a-1", "--type pump"),
            ("a-2", "--pending"),
            ("b-1", "--attr zone=north"),
        ] {
            desk.ok(&format!("device register {id} {more}"));
        }
        let ids = |options: &str| -> Vec<String> {
            let listed = desk.json(&format!("device list {options}"));
            let devices = listed["devices"].as_array().unwrap().clone();
            let id = |device: &serde_json::Value| device["id"].as_str().unwrap().to_owned();
            devices.iter().map(id).collect()
        };
        assert_eq!(ids(""), ["a-1", "a-2", "b-1"]);
        assert_eq!(ids("--state pending"), ["a-2"]);
        assert_eq!(ids("--type pump"), ["a-1"]);
        assert_eq!(ids("--attr zone=north"), ["b-1"]);
        assert_eq!(ids("--prefix a-"), ["a-1", "a-2"]);
        for (common_name, expected) in [
            ("device-a", &["a-1", "a-2"][..]),
            ("dev", &["a-1", "a-2", "b-1"]),
            ("device-a-1.dev", &["a-1"]),
            ("device-a.dev", &[]),
            ("pump-", &[]),
        ] {
            let filter = format!("--common-name-prefix {common_name}");
            assert_eq!(ids(&filter), expected, "{common_name}");
            let exported = desk.ok(&format!("device export {filter}"));
            assert_eq!(exported.lines().count(), expected.len(), "{common_name}");
        }
        assert_eq!(ids("--common-name-prefix device-a --prefix a-2"), ["a-2"]);
        assert_eq!(ids("--common-name-prefix device-a --prefix b"), [""; 0]);
        assert_eq!(ids("--common-name-prefix device-a --limit 1"), ["a-1"]);
        assert_eq!(ids("--state deleted"), [""; 0]);
        assert_eq!(desk.ok("device list --state deleted"), "0 devices\n");

        let first = desk.json("device list --limit 2");
        let next = first["next_page_token"].as_str().unwrap();
        assert_eq!(ids(&format!("--after {next}")), ["b-1"]);
        assert!(
            desk.ok("device list --limit 2")
                .ends_with(&format!("2 devices; more follow: --after {next}\n"))
        );
        assert!(desk.fails("device list --after b-1", 2).contains("--after"));
        assert!(
            desk.fails("device list --state on", 2)
                .contains("\"on\" is not a device state")
        );
    }
}

#[test]
fn states_follow_the_rules() {
    for desk in Desk::with_either() {
        let state = |id: &str| desk.json(&format!("device show {id}"))["state"].clone();
        desk.ok("device register 0001 --pending");
        let said = desk.fails("device issue 0001 --out devices", 4);
        assert_eq!(
            said,
            "error: 0001 is pending: no certificate is issued to it\n  approve it first\n"
        );
        assert_eq!(desk.ok("device approve 0001"), "0001 is active\n");
        assert_eq!(
            desk.fails("device approve 0001", 4),
            "error: 0001 is active: approve does not apply\n"
        );
        desk.ok("device issue 0001 --out devices");
        desk.ok("device quarantine 0001");
        assert_eq!(state("0001"), "quarantined");
        desk.ok("device disable 0001");
        assert_eq!(state("0001"), "disabled");
        desk.ok("device enable 0001");
        assert_eq!(state("0001"), "active");
        desk.ok("device revoke 0001 --reason key-compromise --yes");
        assert_eq!(
            desk.fails("device enable 0001", 4),
            "error: 0001 is revoked: enable does not apply\n  a revocation is final: delete the device and register it again\n"
        );
        let certificate = desk.json("device show 0001")["certificates"][0].clone();
        assert_eq!(certificate["status"], "revoked");
        assert_eq!(certificate["revocation_reason"], "key-compromise");
        desk.ok("device delete 0001 --yes");
        assert_eq!(desk.json("device list")["devices"], serde_json::json!([]));
        desk.ok("device register 0001 --out devices");
        let again = desk.json("device show 0001");
        assert_eq!(
            (&again["state"], &again["generation"]),
            (&"active".into(), &2.into())
        );
        assert!(
            desk.ok("device show 0001")
                .contains("of an earlier registration")
        );
    }
}

#[test]
fn what_policies_see_can_be_changed() {
    for desk in Desk::with_either() {
        desk.ok("device register 0001 --type pump --site plant-7 --attr zone=north --attr rack=7");
        let said = desk.ok(
            "device edit 0001 --type valve --attr zone=south --attr level=2 --remove-attr rack",
        );
        assert!(
            said.starts_with("0001   active\n  type           valve\n"),
            "{said}"
        );
        let device = desk.json("device show 0001");
        assert_eq!(
            (&device["device_type"], &device["site"]),
            (&"valve".into(), &"plant-7".into())
        );
        assert_eq!(
            device["attributes"],
            serde_json::json!({"zone": "south", "level": "2"})
        );
        assert_eq!(
            desk.json("device edit 0001 --site plant-8")["site"],
            "plant-8"
        );
        let device = desk.json("device edit 0001 --no-site");
        assert_eq!(device["site"], serde_json::Value::Null);
        assert_eq!(device["attributes"]["zone"], "south");
        assert_eq!(device["version"], 4);

        for (options, exit, words) in [
            ("", 2, "required"),
            ("--site a --no-site", 2, "cannot be used with"),
            (
                "--attr zone=a --remove-attr zone",
                2,
                "the attribute zone is named twice",
            ),
            (
                "--attr zone=a --attr zone=b",
                2,
                "the attribute zone is named twice",
            ),
            ("--type a.b", 2, "device_type must be"),
            ("--remove-attr rack", 3, "0001 has no attribute rack"),
            ("--attr zone=south", 4, "0001"),
        ] {
            let said = desk.fails(&format!("device edit 0001 {options}"), exit);
            assert!(said.contains(words), "{options}: {said}");
        }
        desk.fails("device edit 0002 --type pump", 3);
        desk.fails("device edit 0002 --attr zone=a", 3);
        assert_eq!(desk.json("device show 0001")["version"], 4);
    }
}

#[test]
fn edits_side_by_side_are_all_kept() {
    const EDITS: usize = 8;
    for desk in Desk::with_either() {
        desk.ok("device register 0001 --attr zone=north");
        let edits: Vec<_> = (0..EDITS)
            .map(|number| {
                let attribute = format!("attr-{number}=set");
                desk.command(["device", "edit", "0001", "--attr", &attribute])
                    .stdout(Stdio::null())
                    .spawn()
                    .unwrap()
            })
            .collect();
        for mut edit in edits {
            assert!(edit.wait().unwrap().success());
        }
        let device = desk.json("device show 0001");
        let attributes = device["attributes"].as_object().unwrap();
        assert_eq!(attributes.len(), 1 + EDITS, "{attributes:?}");
    }
}

#[test]
fn errors_say_what_to_do() {
    for desk in Desk::with_either() {
        desk.ok("device register 0001");
        for (line, exit, text) in [
            (
                "device register pump.7",
                2,
                "error: \"pump.7\" can't be a device id: '.' separates NATS subject tokens\n  \
             a device id has 1 to 36 of A–Z a–z 0–9 _ -, and begins and ends with a letter or digit\n  \
             did you mean \"pump-7\"?\n",
            ),
            (
                "device show 0002",
                3,
                "error: there is no device 0002\n  \
             leafgate device list shows those that there are; ids are exact, case included\n",
            ),
            (
                "device register 0002 --attr zone=a --attr zone=b",
                2,
                "error: --attr zone is given twice\n",
            ),
            (
                "device register 0002 --type a.b",
                2,
                "error: device_type must be 1 to 64 of A-Z a-z 0-9 _ - and begin and end with a letter or digit\n",
            ),
        ] {
            assert_eq!(desk.fails(line, exit), text, "leafgate {line}");
        }
        let long = "a".repeat(37);
        assert!(
            desk.fails(&format!("device register {long}"), 2)
                .contains("use a shorter id")
        );
        assert!(
            desk.fails("device register 0002 --pending --out x", 2)
                .contains("cannot be used with")
        );
        assert!(
            desk.fails("device register 0002 --attr zone", 2)
                .contains("write NAME=VALUE")
        );
        assert!(!desk.path("x").exists());
    }
}

#[test]
fn without_a_registry_the_way_to_one_is_told() {
    let (nothing, emptied) = (Desk::empty(), Desk::with_registry());
    fs::remove_file(emptied.path(".leafgate/registry.db")).unwrap();
    let expected = "error: .leafgate holds no registry\n  \
                    run `leafgate dev --dir .leafgate` for one with servers to play with, or \
                    `leafgate registry init --dir .leafgate`; or name another folder with --dir\n  \
                    or name a running registry API with --url\n";
    for line in [
        "device register 0001",
        "device register 0001 --out devices",
        "device list",
        "device disable 0001",
        "audit verify",
        "audit list",
    ] {
        for desk in [&nothing, &emptied] {
            assert_eq!(desk.fails(line, 6), expected, "leafgate {line}");
        }
    }
    assert!(!nothing.path(".leafgate").exists());
    assert!(!emptied.path(".leafgate/registry.db").exists());
}

#[test]
fn the_registry_can_be_elsewhere() {
    let (desk, other) = (Desk::with_registry(), Desk::empty());
    desk.ok("device register 0001");
    let dir = desk.path(".leafgate");
    let by_flag = other.ok(&format!("device list --dir {}", dir.display()));
    let mut by_variable = other.command(["device", "list"]);
    by_variable.env("LEAFGATE_DIR", &dir);
    let by_variable: Done = by_variable.output().unwrap().into();
    assert_eq!(by_variable.stdout, by_flag);
    assert!(by_flag.contains("0001   active"), "{by_flag}");
}

#[test]
fn nobody_is_revoked_without_being_asked_about() {
    for desk in Desk::with_either() {
        desk.ok("device register 0001");
        for verb in ["revoke", "delete"] {
            let said = desk.fails(&format!("device {verb} 0001"), 2);
            assert_eq!(
                said,
                format!(
                    "error: to {verb} 0001 needs a confirmation, and there is no terminal to ask on\n  \
                 give --yes to go ahead without being asked\n"
                )
            );
        }
        assert_eq!(desk.json("device show 0001")["version"], 1);
    }
}

#[test]
fn a_person_is_asked_on_the_terminal() {
    for desk in Desk::with_either() {
        desk.ok("device register 0001 --out devices");
        let answer = |line: &str, answer: &str| {
            let terminal = openpty(None, None).unwrap();
            let mut command = desk.command(line.split_whitespace());
            command
                .env("NO_COLOR", "1")
                .stdin(terminal.slave.try_clone().unwrap())
                .stderr(terminal.slave)
                .stdout(Stdio::piped());
            let mut child = command.spawn().unwrap();
            drop(command);
            let mut person = fs::File::from(terminal.master);
            person.write_all(answer.as_bytes()).unwrap();
            let status = child.wait().unwrap();
            let mut heard = Vec::new();
            // Reading from a terminal that nobody holds any more ends with an error.
            let _ = person.read_to_end(&mut heard);
            (status.code().unwrap(), String::from_utf8(heard).unwrap())
        };
        let (exit, heard) = answer("device revoke 0001", "n\n");
        assert!(
            heard.contains("Lock 0001 out for good and revoke 1 certificate? [y/N]"),
            "{heard}"
        );
        assert!(heard.contains("not confirmed: nothing was done"), "{heard}");
        assert_eq!(
            (exit, desk.json("device show 0001")["state"].as_str()),
            (1, Some("active"))
        );

        let (exit, heard) = answer("device revoke 0001", "y\n");
        assert_eq!(exit, 0, "{heard}");
        assert_eq!(desk.json("device show 0001")["state"], "revoked");
        let (exit, _) = answer("device revoke 0009", "y\n");
        assert_eq!(exit, 3);
    }
}

#[test]
fn a_reader_who_leaves_early_is_no_error() {
    let desk = Desk::with_registry();
    desk.ok("device register 0001");
    let mut command = desk.command(["device", "list"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command.stdout(writer);
    let done: Done = command.output().unwrap().into();
    assert_eq!((done.exit, done.stderr.as_str()), (0, ""));
}
