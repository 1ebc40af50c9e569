use std::fs;

use leafgate::local::LocalDir;
use nix::unistd::{User, geteuid};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use crate::support::{Desk, runtime};

/// Changes the registry behind its back.
fn tamper(desk: &Desk, statement: &str) {
    let path = LocalDir::open(&desk.path(".leafgate")).unwrap().registry();
    runtime().block_on(async {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
        let mut connection = options.connect().await.unwrap();
        let done = sqlx::query(AssertSqlSafe(statement))
            .execute(&mut connection)
            .await
            .unwrap();
        assert_eq!(done.rows_affected(), 1, "{statement}");
        connection.close().await.unwrap();
    });
}

fn with_three_events() -> Desk {
    let desk = Desk::with_registry();
    desk.ok("device register 0001");
    desk.ok("device disable 0001");
    desk.ok("device enable 0001");
    desk
}

#[test]
fn an_unbroken_chain_shows_its_head() {
    let desk = with_three_events();
    let said = desk.ok("audit verify");
    assert!(said.starts_with("3 events, unbroken\n  head    "), "{said}");
    let json = desk.json("audit verify");
    assert_eq!(json["events"], 3);
    assert!(said.contains(json["head"].as_str().unwrap()));
    let newest = desk.json("audit list --limit 1")["events"][0]["hash"].clone();
    assert_eq!(json["head"], newest);
}

#[test]
fn an_auditor_needs_no_keys() {
    let desk = with_three_events();
    for key in ["root", "devices", "servers"] {
        fs::remove_file(desk.path(format!(".leafgate/ca/{key}.key"))).unwrap();
    }
    assert_eq!(desk.json("audit verify")["events"], 3);
    assert_eq!(
        desk.json("audit list")["events"].as_array().unwrap().len(),
        3
    );
}

#[test]
fn a_broken_chain_shows_the_place() {
    for (statement, words) in [
        (
            "UPDATE events SET actor = 'cli:nobody' WHERE seq = 2",
            "error: the audit trail is broken at event 2: event 2 was altered after it was written",
        ),
        (
            "DELETE FROM events WHERE seq = 2",
            "error: the audit trail is broken at event 2: event 2 is missing from the chain",
        ),
        (
            "DELETE FROM events WHERE seq = 3",
            "error: the audit trail ends at event 2, but 3 events were recorded",
        ),
        (
            "UPDATE feed_head SET hash = (SELECT hash FROM events WHERE seq = 2)",
            "error: the audit trail was rewritten: event 3 is not the one recorded as the newest",
        ),
        (
            "UPDATE events SET detail = '{' WHERE seq = 1",
            "error: the audit trail can't be read: the registry holds a record that it can't read",
        ),
    ] {
        let desk = with_three_events();
        tamper(&desk, statement);
        let said = desk.fails("audit verify", 1);
        assert!(said.starts_with(words), "{statement}: {said}");
    }
}

#[test]
fn events_name_who_did_what_and_when() {
    let desk = with_three_events();
    let listed = desk.ok("audit list");
    let lines: Vec<Vec<&str>> = listed
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(lines[0], ["SEQ", "TIME", "ACTOR", "EVENT", "DEVICE"]);
    let row = |index: usize| {
        [
            lines[index][0],
            lines[index][2],
            lines[index][3],
            lines[index][4],
        ]
    };
    // The environment says "tester", which anybody can set.
    let user = User::from_uid(geteuid()).unwrap();
    let user = user.map_or_else(|| format!("uid-{}", geteuid()), |user| user.name);
    let actor = format!("cli:{user}");
    assert_eq!(row(1), ["1", &actor, "device-registered", "0001"]);
    assert_eq!(row(3), ["3", &actor, "device-enabled", "0001"]);
    let at: leafgate_identity::UnixMs = lines[1][1].parse().unwrap();
    assert!(at.as_secs() > 1_700_000_000);

    let seqs = |options: &str| -> Vec<u64> {
        let events = desk.json(&format!("audit list {options}"))["events"].clone();
        events
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["seq"].as_u64().unwrap())
            .collect()
    };
    assert_eq!(seqs("--limit 2"), [2, 3]);
    assert_eq!(seqs("--after 1 --limit 1"), [2]);
    assert_eq!(seqs("--after 3"), [0; 0]);
    assert_eq!(desk.ok("audit list --after 3"), "no events\n");
}
