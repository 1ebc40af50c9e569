//! `leafgate events`, on both kinds of registry.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Stdio};

use serde_json::Value;

use crate::support::Desk;

/// `leafgate events tail` in the background.
struct Tail {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Tail {
    fn start(desk: &Desk, options: &str) -> Self {
        let line = format!("events tail --output json {options}");
        let mut command = desk.command(line.split_whitespace());
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next event, as number, kind and device.
    fn next(&mut self) -> (u64, String, String) {
        let line = self.lines.next().expect("an event").unwrap();
        let event: Value = serde_json::from_str(&line).unwrap();
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        (event["seq"].as_u64().unwrap(), text("kind"), text("device"))
    }

    fn ended(mut self) -> i32 {
        assert!(self.lines.next().is_none());
        self.child.wait().unwrap().code().unwrap()
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn newest(desk: &Desk) -> u64 {
    desk.json("events list --limit 1")["newest"]
        .as_u64()
        .unwrap()
}

#[test]
fn events_are_listed() {
    for desk in Desk::with_either() {
        let before = newest(&desk);
        for id in ["0001", "0002", "0003"] {
            desk.ok(&format!("device register {id}"));
        }
        let devices = |options: &str| -> Vec<Value> {
            let list = desk.json(&format!("events list {options}"));
            let events = list["events"].as_array().unwrap();
            events.iter().map(|event| event["device"].clone()).collect()
        };
        assert_eq!(devices("--limit 2"), ["0002", "0003"]);
        assert_eq!(
            devices(&format!("--after {before} --limit 2")),
            ["0001", "0002"]
        );
        assert_eq!(devices(&format!("--after {}", before + 2)), ["0003"]);
        assert_eq!(
            desk.ok(&format!("events list --after {}", before + 3)),
            "no events\n"
        );
        let table = desk.ok("events list");
        assert!(table.contains("   device-registered   0003"), "{table}");
        assert_eq!(desk.ok("audit list"), table);
        assert_eq!(desk.json("audit verify")["events"], before + 3);
    }
}

#[test]
fn events_are_followed() {
    for desk in Desk::with_either() {
        desk.ok("device register 0001");
        let begin = newest(&desk);
        let mut tail = Tail::start(&desk, &format!("--after {} --count 3", begin - 1));
        assert_eq!(
            tail.next(),
            (begin, "device-registered".into(), "0001".into())
        );
        desk.ok("device disable 0001");
        assert_eq!(
            tail.next(),
            (begin + 1, "device-disabled".into(), "0001".into())
        );
        desk.ok("device enable 0001");
        assert_eq!(tail.next().0, begin + 2);
        assert_eq!(tail.ended(), 0);
        let line = desk.ok(&format!("events tail --after {} --count 1", begin - 1));
        assert!(line.starts_with(&format!("{begin}   20")), "{line}");
        assert!(line.ends_with("   device-registered   0001\n"), "{line}");
    }
}

#[test]
fn a_stream_that_breaks_off_goes_on_where_it_was() {
    let mut desk = Desk::with_api();
    desk.ok("device register 0001");
    let begin = newest(&desk);
    let mut tail = Tail::start(&desk, &format!("--after {}", begin - 1));
    assert_eq!(tail.next().2, "0001");
    let mut seen = begin;
    let mut api = desk.api.take().unwrap();
    for id in ["0002", "0003"] {
        api.running.kill();
        api.start_again(&desk);
        desk.api = Some(api);
        desk.ok(&format!("device register {id}"));
        // A registry that starts may have events of its own. None is missed, none comes twice.
        loop {
            let (seq, _, device) = tail.next();
            seen += 1;
            assert_eq!(seq, seen);
            if device == id {
                break;
            }
        }
        api = desk.api.take().unwrap();
    }
}

#[test]
fn a_place_in_another_feed_is_refused() {
    let [folder, api] = Desk::with_either();
    for desk in [&folder, &api] {
        let said = desk.fails("events tail --after 100000", 4);
        assert!(said.contains("restored"), "{said}");
    }
}
