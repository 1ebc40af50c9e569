use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use crate::support::Desk;

/// Processes that register devices, and how many of them at once.
const REGISTRATIONS: usize = 96;
const AT_ONCE: usize = 8;

/// Every third process is killed, in each batch a little later in its life.
const KILL_STEP: Duration = Duration::from_millis(1);

#[test]
fn what_was_acknowledged_outlives_killed_processes_and_the_chain_is_whole() {
    let desk = Desk::with_registry();
    let mut acknowledged = BTreeSet::new();
    let mut killed = 0;
    for first in (0..REGISTRATIONS).step_by(AT_ONCE) {
        let started = (first..first + AT_ONCE).map(|number| {
            let id = format!("crash-{number:03}");
            let child = desk
                .command(["device", "register", &id])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            (id, child)
        });
        let mut started: Vec<_> = started.collect();
        for (_, child) in started.iter_mut().step_by(3) {
            std::thread::sleep(KILL_STEP * u32::try_from(first / AT_ONCE).unwrap());
            child.kill().unwrap();
        }
        for (id, mut child) in started {
            if child.wait().unwrap().success() {
                acknowledged.insert(id);
            } else {
                killed += 1;
            }
        }
    }
    assert!(killed > 0, "no process was killed in time");
    assert!(acknowledged.len() >= REGISTRATIONS / 2);
    let listed = desk.json(&format!("device list --limit {}", REGISTRATIONS * 2));
    let devices = listed["devices"].as_array().unwrap().iter();
    let registered: BTreeSet<String> = devices
        .map(|device| device["id"].as_str().unwrap().to_owned())
        .collect();
    assert!(
        acknowledged.is_subset(&registered),
        "{acknowledged:?} {registered:?}"
    );
    assert_eq!(desk.json("audit verify")["events"], registered.len());
}
