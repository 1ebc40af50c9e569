//! The PostgreSQL server of the tests: started, stopped, killed, frozen, and gone with its owner.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use leafgate_testkit::postgres::{PostgresServer, PostgresSettings};

/// Makes the test binary the process that is killed.
const OWNER_VARIABLE: &str = "LEAFGATE_TEST_POSTGRES_OWNER";

#[test]
fn databases_are_separate_and_sort_as_people_do() {
    let server = PostgresServer::shared();
    let (one, other) = (server.create_database(), server.create_database());
    one.sql("CREATE TABLE names AS SELECT unnest(ARRAY['b', 'A', 'a', 'B']) AS name");
    assert_eq!(
        one.sql("SELECT string_agg(name, ' ' ORDER BY name) FROM names"),
        "a A b B"
    );
    assert_eq!(
        other.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"),
        "0"
    );
    let name = one.name().to_owned();
    drop(one);
    let count = format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'");
    assert_eq!(other.sql(&count), "0");
}

#[test]
fn what_is_committed_survives_a_restart_and_a_kill() {
    let server = PostgresServer::start(&PostgresSettings {
        durable: true,
        ..PostgresSettings::default()
    });
    let database = server.create_database();
    database.sql("CREATE TABLE numbers AS SELECT 1 AS number");
    server.restart();
    database.sql("INSERT INTO numbers VALUES (2)");
    server.kill9();
    server.start_again();
    assert_eq!(database.sql("SELECT sum(number) FROM numbers"), "3");
    drop(server.freeze());
    assert_eq!(database.sql("SHOW fsync"), "on");

    server.become_standby();
    assert_eq!(database.sql("SELECT pg_is_in_recovery()"), "t");
}

#[test]
fn it_ends_with_the_process_that_started_it() {
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "own_a_server", "--ignored", "--nocapture"])
        .env(OWNER_VARIABLE, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(owner.stdout.take().unwrap());
    let told = output
        .lines()
        .map(Result::unwrap)
        .find_map(|line| line.strip_prefix("owns ").map(str::to_owned))
        .expect("the owner tells of its server");
    let (process, socket) = told.split_once(' ').unwrap();
    let process = Path::new("/proc").join(process);
    assert!(process.exists() && Path::new(socket).exists());

    owner.kill().unwrap();
    owner.wait().unwrap();
    let gone = (0..3_000).any(|_| {
        thread::sleep(Duration::from_millis(20));
        !Path::new(socket).exists() && !is_alive(&process)
    });
    assert!(gone, "the server or its folder is still there");
}

#[test]
#[ignore = "the part of it_ends_with_the_process_that_started_it that is killed; does nothing by itself"]
#[expect(
    clippy::disallowed_methods,
    reason = "a test is configured by its environment alone"
)]
fn own_a_server() {
    if std::env::var(OWNER_VARIABLE).is_err() {
        return;
    }
    let server = PostgresServer::start(&PostgresSettings::default());
    let pid_file = server.socket_folder().join(".s.PGSQL.5432.lock");
    let pid_file = std::fs::read_to_string(pid_file).unwrap();
    let process = pid_file.lines().next().unwrap();
    println!("owns {process} {}", server.socket_folder().display());
    thread::sleep(Duration::from_secs(600));
}

fn is_alive(process: &Path) -> bool {
    let stat = std::fs::read_to_string(process.join("stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .is_some_and(|(_, fields)| fields.split_whitespace().next() != Some("Z"))
}
