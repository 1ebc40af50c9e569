//! What ends a test's server, and removes its folder, with the process that started it, whatever happens to that.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Each line of input names the server's process, or none. At the end of input, which comes when
/// whoever started this releases it or dies, it ends that process and removes the folder `$1`.
/// SIGQUIT is PostgreSQL's immediate shutdown, and ends a Go program too; it does not reach a frozen
/// server before SIGCONT.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
server=
while read -r line; do server=$line; done
if [ -n "$server" ]; then
  kill -s CONT "$server"; kill -s QUIT "$server"
  tries=0
  while kill -s 0 "$server" && [ $tries -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
  kill -s KILL "$server"
fi 2>/dev/null
rm -rf "$1"
"#;

/// A shell that outlives this process just long enough to end the server and to clean up.
#[derive(Debug)]
pub(crate) struct Watchdog {
    shell: Child,
}

impl Watchdog {
    pub(crate) fn start(folder: &Path) -> Self {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", SCRIPT, "leafgate-watchdog"])
            .arg(folder)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self {
            shell: command.spawn().expect("a shell"),
        }
    }

    /// Tells which process to end.
    pub(crate) fn watch(&mut self, server: Option<u32>) {
        let line = server.map(|id| id.to_string()).unwrap_or_default();
        let input = self.shell.stdin.as_mut().expect("a pipe until released");
        writeln!(input, "{line}").expect("a shell that reads");
    }

    /// Lets it end the server and clean up now.
    pub(crate) fn release(&mut self) {
        self.shell.stdin = None;
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.release();
        let _ = self.shell.wait();
    }
}
