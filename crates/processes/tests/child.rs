//! Children made of shell scripts: how they are awaited, stopped and ended.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use leafgate_processes::{AwaitChildError, Child, Signal, StartChildError};

const LIMIT: Duration = Duration::from_secs(10);

fn shell(script: &str, folder: &Path) -> Child {
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(script).current_dir(folder);
    Child::start("script", command, &folder.join("script.log")).unwrap()
}

#[tokio::test]
async fn output_is_awaited_and_the_child_leads_its_own_group() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = shell(
        "echo booting; echo ready on 4222 >&2; read -r _; echo input was empty; sleep 600",
        folder.path(),
    );
    let line = child.wait_for_log("ready", LIMIT).await.unwrap();
    assert_eq!(line, "ready on 4222");
    child.wait_for_log("input was empty", LIMIT).await.unwrap();
    let pid = i32::try_from(child.pid()).unwrap();
    let group = nix::unistd::getpgid(Some(nix::unistd::Pid::from_raw(pid))).unwrap();
    assert_eq!(group.as_raw(), pid);
}

#[tokio::test]
async fn an_early_end_shows_status_and_log() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = shell("echo no such port >&2; exit 3", folder.path());
    let error = child.wait_for_log("ready", LIMIT).await.unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, AwaitChildError::Exited { .. }), "{message}");
    for part in ["script", "exit status: 3", "script.log", "| no such port"] {
        assert!(message.contains(part), "{part:?} is missing: {message}");
    }
}

#[tokio::test]
async fn an_event_that_does_not_come_is_an_error_and_the_child_runs_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = shell("echo waiting; sleep 600", folder.path());
    child.wait_for_log("waiting", LIMIT).await.unwrap();
    let error = child
        .wait_for_log("ready", Duration::from_millis(50))
        .await
        .unwrap_err();
    assert!(matches!(error, AwaitChildError::TimedOut { .. }), "{error}");
    assert_eq!(child.exit_status().unwrap(), None);
}

#[tokio::test]
async fn the_last_words_of_a_child_count() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = shell("echo done", folder.path());
    child.wait().await.unwrap();
    child.wait_for_log("done", LIMIT).await.unwrap();
}

#[tokio::test]
async fn stop_is_orderly_where_the_child_listens() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = shell(
        "trap 'echo in order; exit 7' TERM; echo ready; while :; do sleep 0.01; done",
        folder.path(),
    );
    child.wait_for_log("ready", LIMIT).await.unwrap();
    let status = child.stop(LIMIT).await.unwrap();
    assert_eq!(status.code(), Some(7));
    assert!(child.log().tail(1).contains("in order"));
    assert_eq!(child.stop(LIMIT).await.unwrap(), status);
    assert_eq!(child.kill9().await.unwrap(), status);
    assert!(child.signal(Signal::SIGTERM).is_err());
}

#[tokio::test]
async fn stop_ends_by_force_a_child_that_does_not_listen() {
    use std::os::unix::process::ExitStatusExt as _;
    let folder = tempfile::tempdir().unwrap();
    let mut child = shell("trap '' TERM; echo ready; sleep 600", folder.path());
    child.wait_for_log("ready", LIMIT).await.unwrap();
    let status = child.stop(Duration::from_millis(50)).await.unwrap();
    assert_eq!(status.signal(), Some(Signal::SIGKILL as i32));
}

#[tokio::test]
async fn a_frozen_child_says_nothing_until_it_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let script = "echo ready; while ! [ -e go ]; do sleep 0.01; done; echo went on; sleep 600";
    let mut child = shell(script, folder.path());
    child.wait_for_log("ready", LIMIT).await.unwrap();
    child.signal(Signal::SIGSTOP).unwrap();
    let mark = child.log().mark().unwrap();
    std::fs::write(folder.path().join("go"), "").unwrap();
    let frozen = child
        .wait_for_log_since(mark, "went on", Duration::from_millis(100))
        .await;
    assert!(matches!(frozen, Err(AwaitChildError::TimedOut { .. })));
    child.signal(Signal::SIGCONT).unwrap();
    child
        .wait_for_log_since(mark, "went on", LIMIT)
        .await
        .unwrap();
}

#[tokio::test]
async fn dropping_ends_the_whole_group() {
    let folder = tempfile::tempdir().unwrap();
    // Its reader sees the end of this pipe once no process of the group holds the writing side.
    let fifo = folder.path().join("alive");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut child = shell(
        "exec 3>alive; (sleep 600) & echo ready; wait",
        folder.path(),
    );
    let reader = tokio::net::unix::pipe::OpenOptions::new()
        .open_receiver(&fifo)
        .unwrap();
    child.wait_for_log("ready", LIMIT).await.unwrap();
    drop(child);
    tokio::time::timeout(LIMIT, closed(&reader))
        .await
        .expect("the grandchild outlived its group");
}

async fn closed(reader: &tokio::net::unix::pipe::Receiver) {
    loop {
        reader.readable().await.unwrap();
        match reader.try_read(&mut [0; 16]) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
        }
    }
}

#[tokio::test]
async fn what_cannot_start_says_which_program_or_log() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("missing.log");
    let error = Child::start("thing", Command::new("/no/such/program"), &log).unwrap_err();
    assert!(matches!(error, StartChildError::Spawn { .. }));
    assert!(error.to_string().contains("/no/such/program"), "{error}");

    let error = Child::start("thing", Command::new("/bin/true"), folder.path()).unwrap_err();
    assert!(matches!(error, StartChildError::OpenLog { .. }), "{error}");
}
