//! `leafgate dev` and `leafgate demo` as programs; what they run is tested elsewhere.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use leafgate_runtime::{Clock, SystemClock};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Desk, Done, project};

const PATIENCE: Duration = Duration::from_secs(30);

/// `leafgate` with its folder at this desk, and the pinned nats-server at hand.
fn command(desk: &Desk, line: &str) -> Command {
    let mut command = desk.command(line.split_whitespace());
    command
        .arg("--dir")
        .arg(desk.path(".leafgate"))
        .current_dir(project());
    command
}

fn run(mut command: Command) -> Done {
    command.output().unwrap().into()
}

#[test]
fn a_registry_is_not_emptied_for_the_demo() {
    let desk = Desk::with_registry();
    desk.ok("device register 0001");
    let done = run(command(&desk, "demo"));
    assert_eq!(done.exit, 4, "{done:#?}");
    assert!(
        done.stderr
            .contains("holds a registry that is not the demo's"),
        "{done:#?}"
    );
    desk.ok("device show 0001");
}

#[test]
fn the_demo_goes_on_unheard_and_leaves_no_readable_key() {
    let desk = Desk::empty();
    let mut command = command(&desk, "demo");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command.stdout(writer);
    let done = run(command);
    assert_eq!((done.exit, done.stderr.as_str()), (0, ""));
    let mut keys = 0;
    each_file(&desk.path(".leafgate"), &mut |path| {
        let extension = path.extension().and_then(|it| it.to_str());
        if matches!(extension, Some("key" | "seed")) {
            keys += 1;
            let mode = fs::metadata(path).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{}", path.display());
        }
    });
    assert!(keys > 20, "{keys} keys");
}

fn each_file(folder: &Path, see: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            each_file(&path, see);
        } else {
            see(&path);
        }
    }
}

#[test]
fn one_site_at_a_time_runs_in_a_folder() {
    let desk = Desk::empty();
    let dev = || command(&desk, "dev --device-port 0");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut running = dev().stdout(writer).spawn().unwrap();
    let clock = SystemClock::start();
    while !desk.path(".leafgate/endpoints.json").exists() {
        assert!(running.try_wait().unwrap().is_none(), "it ended");
        assert!(clock.monotonic() < PATIENCE, "it does not get ready");
        std::thread::sleep(Duration::from_millis(10));
    }
    let done = run(dev());
    assert_eq!(done.exit, 4, "{done:#?}");
    assert!(done.stderr.contains("a site is running in "), "{done:#?}");
    desk.ok("device register 0001");

    let pid = Pid::from_raw(running.id().try_into().unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    assert_eq!(running.wait().unwrap().code(), Some(0));
    assert!(!desk.path(".leafgate/endpoints.json").exists());
}

#[test]
fn bad_input_is_refused_before_anything_is_made() {
    let desk = Desk::empty();
    let done = run(command(&desk, "dev --site a.b"));
    assert_eq!(done.exit, 2, "{done:#?}");
    assert!(done.stderr.contains("can't be a name"), "{done:#?}");
    assert!(!desk.path(".leafgate").exists());

    fs::create_dir(desk.path(".leafgate")).unwrap();
    desk.write(".leafgate/thesis.txt", "years of work");
    for line in ["dev", "demo"] {
        let done = run(command(&desk, line));
        assert_eq!(done.exit, 4, "{line}: {done:#?}");
        assert!(
            done.stderr
                .contains("holds files that leafgate did not make"),
            "{done:#?}"
        );
    }
    assert_eq!(fs::read_dir(desk.path(".leafgate")).unwrap().count(), 1);
}
