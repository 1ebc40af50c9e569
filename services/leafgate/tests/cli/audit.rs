use std::fs;
use std::sync::Arc;

use leafgate::local::LocalDir;
use leafgate_identity::UnixMs;
use leafgate_registrar::{CheckpointFolder, CheckpointKey, Checkpointer};
use leafgate_store_sql::SqliteStore;
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

/// A registry, and a service of it that has signed its audit trail.
fn with_checkpoints() -> (Desk, CheckpointFolder) {
    let desk = with_three_events();
    let key = CheckpointKey::create(&desk.path("checkpoint.key")).unwrap();
    let folder = CheckpointFolder::new(desk.path("kept"));
    let registry = LocalDir::open(&desk.path(".leafgate")).unwrap().registry();
    runtime().block_on(async {
        let store = Arc::new(SqliteStore::open(&registry).await.unwrap());
        let mut checkpointer = Checkpointer::open(store, key, folder.clone()).unwrap();
        checkpointer.advance(UnixMs::new(0)).await.unwrap().unwrap();
    });
    (desk, folder)
}

#[test]
fn a_chain_is_compared_with_checkpoints() {
    let (desk, folder) = with_checkpoints();
    desk.ok("device disable 0001");
    let said = desk.ok("audit verify --checkpoints kept");
    assert!(
        said.contains("passes through 1 signed checkpoint\n"),
        "{said}"
    );
    fs::copy(folder.public_key_file(), desk.path("kept.pub")).unwrap();
    let own = "audit verify --checkpoints kept --checkpoint-key kept.pub";
    assert_eq!(desk.json(own)["checkpoints"], 1);

    // Cut, and made to look as if it had ended there.
    tamper(&desk, "DELETE FROM events WHERE seq = 4");
    tamper(&desk, "DELETE FROM events WHERE seq = 3");
    tamper(
        &desk,
        "UPDATE feed_head SET seq = 2, hash = (SELECT hash FROM events WHERE seq = 2)",
    );
    desk.ok("audit verify");
    let said = desk.fails("audit verify --checkpoints kept", 1);
    assert!(
        said.starts_with(
            "error: the audit trail was cut: it ends at event 2, but event 3 was signed at"
        ),
        "{said}"
    );
    // A restore that somebody knows of.
    let begun = desk.json("registry new-epoch");
    assert_eq!(begun["seq"], 3);
    let said = desk.ok("audit verify --checkpoints kept");
    assert!(
        said.contains("restored from a backup at event 3")
            && said.contains("1 checkpoint lost by it"),
        "{said}"
    );
    assert!(said.contains(begun["epoch"].as_str().unwrap()));
}

#[test]
fn checkpoints_that_prove_nothing_are_refused() {
    let (desk, folder) = with_checkpoints();
    let other = CheckpointKey::create(&desk.path("other.key")).unwrap();
    desk.write("other.pub", &other.public_key().to_pem());
    let said = desk.fails(
        "audit verify --checkpoints kept --checkpoint-key other.pub",
        1,
    );
    assert!(said.contains("is signed by another key"), "{said}");
    let said = desk.fails(
        "audit verify --checkpoints kept --checkpoint-key none.pub",
        2,
    );
    assert!(
        said.contains("there is no checkpoint key at none.pub"),
        "{said}"
    );
    let said = desk.fails("audit verify --checkpoints nowhere", 2);
    assert!(
        said.contains("there is no checkpoint key at nowhere/checkpoint.pub"),
        "{said}"
    );
    fs::create_dir(desk.path("empty")).unwrap();
    fs::copy(folder.public_key_file(), desk.path("empty/checkpoint.pub")).unwrap();
    let said = desk.fails("audit verify --checkpoints empty", 2);
    assert!(said.contains("empty holds no checkpoint"), "{said}");
}
