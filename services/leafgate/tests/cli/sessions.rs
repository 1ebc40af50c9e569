//! What a device does on real servers, as the command line tells of it through the registry API.

use serde_json::json;

use crate::connect::Stage;
use crate::support::{Desk, eventually};

#[test]
fn sessions_are_listed_and_ended() {
    let stage = Stage::start_with_registry();
    let desk = &stage.desk;
    desk.ok("device register 0002 --type pump");
    assert_eq!(desk.ok("device sessions 0001"), "no sessions\n");
    let mut visitor = stage.connected("connect 0001 --cert-dir devices --sub device.0001.cmd");

    let sessions = eventually("a session", || {
        let sessions = desk.json("device sessions 0001")["sessions"].clone();
        (sessions != json!([])).then_some(sessions)
    });
    assert_eq!(sessions[0]["account"], "DEVICES", "{sessions}");
    let (server, cid) = (&sessions[0]["server_name"], &sessions[0]["cid"]);
    let place = format!("{} (cid {cid})", server.as_str().unwrap());
    let table = desk.ok("device sessions 0001");
    assert!(
        table.contains("127.0.0.1") && table.ends_with("\n1 session\n"),
        "{table}"
    );

    // Both through the folder and by the address of the API.
    let endpoints = desk.json_file(".leafgate/endpoints.json");
    let text = |name: &str| endpoints[name].as_str().unwrap().to_owned();
    let by_url = format!(
        "--url {} --token-file {} --ca-file {}",
        text("registry_url"),
        text("admin_token_file"),
        text("ca_file")
    );
    for address in ["", &by_url] {
        let listed = desk.ok(&format!("device list --sessions {address}"));
        let lines: Vec<&str> = listed.lines().collect();
        assert!(lines[0].ends_with("   SESSIONS"), "{listed}");
        assert!(lines[1].ends_with(&place), "{listed}");
        assert!(lines[2].ends_with("   –"), "{listed}");
        let devices = desk.json(&format!("device list --sessions {address}"))["devices"].clone();
        assert_eq!(devices[0]["sessions"][0]["cid"], *cid);
        assert_eq!(devices[1]["sessions"], json!([]));
    }

    let said = desk.ok("device explain 0001");
    assert!(
        said.starts_with("0001 would be let in, certificate "),
        "{said}"
    );
    assert!(
        said.contains("device.0001.metrics.>") && said.contains("account DEVICES"),
        "{said}"
    );
    let done = desk.run("device explain 0002");
    assert_eq!(done.exit, 1, "{done:#?}");
    assert_eq!(
        done.stdout,
        "0002 would be refused, no certificate\n  certificate-missing\n"
    );
    assert_eq!(desk.run("device explain 0009").exit, 3);

    let said = desk.ok("device disconnect 0001");
    assert!(said.starts_with("1 session of 0001 ended"), "{said}");
    // It may have come back at once.
    let sessions = desk.json("device sessions 0001")["sessions"].clone();
    let mut left = sessions.as_array().unwrap().iter();
    assert!(left.all(|session| session["cid"] != *cid), "{sessions}");
    visitor.kill();
    eventually("the end of the session", || {
        let sessions = desk.json("device sessions 0001")["sessions"].clone();
        (sessions == json!([])).then_some(())
    });
    assert_eq!(desk.json("device disconnect 0001"), json!({ "ended": 0 }));
    assert_eq!(desk.ok("device disconnect 0001"), "0001 has no session\n");
}

#[test]
fn a_registry_that_knows_no_servers_says_so() {
    let [folder, api] = Desk::with_either();
    for desk in [&folder, &api] {
        desk.ok("device register 0001");
    }
    for verb in ["sessions", "disconnect", "explain"] {
        let said = folder.fails(&format!("device {verb} 0001"), 6);
        assert!(
            said.starts_with(
                "error: no registry API runs on .leafgate that could ask the servers\n"
            ),
            "{said}"
        );
        let said = api.fails(&format!("device {verb} 0001"), 6);
        assert!(said.contains("give it ["), "{said}");
    }
}
