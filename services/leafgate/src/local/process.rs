use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::Context;
use leafgate_processes::Child;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long a service may take until it serves.
const READY_LIMIT: Duration = Duration::from_secs(20);
/// How the line begins its health address that says that a service has started.
const HEALTH: &str = " health=";

/// A running `leafgate-callout` or `leafgate-registry`.
#[derive(Debug)]
pub struct ServiceProcess {
    child: Child,
    started: String,
    health: SocketAddr,
}

impl ServiceProcess {
    /// Starts `command`, the program with its arguments, and waits until it serves.
    /// `name` is for messages.
    ///
    /// # Errors
    /// It can't be run, ends or does not get ready; the message shows the end of its log.
    pub async fn start(name: &str, command: Command, log: &Path) -> anyhow::Result<Self> {
        let mut child = Child::start(name, command, log)?;
        let started = child.wait_for_log(HEALTH, READY_LIMIT).await?;
        let health = address(&started, HEALTH)?;
        child
            .wait_until("/readyz", READY_LIMIT, async || {
                Ok(http_get(health, "/readyz")
                    .await
                    .ok()
                    .filter(|answer| answer.starts_with("HTTP/1.0 200")))
            })
            .await?;
        Ok(Self {
            child,
            started,
            health,
        })
    }

    /// Where its probes and metrics are.
    pub fn health(&self) -> SocketAddr {
        self.health
    }

    /// An address that its log names, such as ` api=`.
    ///
    /// # Errors
    /// The log names none.
    pub fn address(&self, name: &str) -> anyhow::Result<SocketAddr> {
        address(&self.started, name)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Its process.
    pub fn child_mut(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Lets it drain and end.
    ///
    /// # Errors
    /// The system refuses.
    pub async fn stop(&mut self, grace: Duration) -> io::Result<ExitStatus> {
        self.child.stop(grace).await
    }

    /// What it answers to a GET of `path`, status line and headers included.
    ///
    /// # Errors
    /// It can't be reached.
    pub async fn get(&self, path: &str) -> io::Result<String> {
        http_get(self.health, path).await
    }
}

/// One plain HTTP/1.0 request, answered with status line and headers: the health listener speaks
/// nothing that would need a client library.
///
/// # Errors
/// The address can't be reached.
pub async fn http_get(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

fn address(line: &str, name: &str) -> anyhow::Result<SocketAddr> {
    let rest = line.split_once(name).map(|(_, rest)| rest);
    rest.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .with_context(|| format!("no {name} in {line:?}"))
}
