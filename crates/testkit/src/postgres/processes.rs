use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A server that doesn't answer, until this is dropped.
#[derive(Debug)]
pub struct Frozen {
    pub(super) processes: Vec<u32>,
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for process in &self.processes {
            signal(*process, Signal::SIGCONT);
        }
    }
}

/// The processes that this one started, by what Linux tells of all processes (proc(5), `stat`).
pub(super) fn children_of(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("a Linux system");
    let ids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    ids.filter(|id| stat(*id).is_some_and(|(_, its_parent)| its_parent == parent))
        .collect()
}

/// Whether there is a process of this id that has not ended.
pub(super) fn is_running(id: u32) -> bool {
    stat(id).is_some_and(|(state, _)| state != "Z")
}

/// The state and the parent of a process.
fn stat(id: u32) -> Option<(String, u32)> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

/// Signals a process of the server; one that has ended is fine.
pub(super) fn signal(id: u32, signal: Signal) {
    let id = i32::try_from(id).expect("process ids are positive i32");
    let _ = kill(Pid::from_raw(id), signal);
}
