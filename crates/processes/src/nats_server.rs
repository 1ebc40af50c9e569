use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::binary::NatsServerBinary;
use crate::child::{AwaitChildError, Child, StartChildError};

/// nats-server waits up to 5 s for its own listeners (server.go `logPorts`); a loaded machine needs some more to
/// get there.
const READY_LIMIT: Duration = Duration::from_secs(20);

/// A running nats-server whose listeners are open.
#[derive(Debug)]
pub struct NatsServer {
    child: Child,
    ports: Ports,
}

/// Where a nats-server listens, with the ports it took for `port: -1`. Where it listens on every address, the
/// loopback one is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Clients: devices, applications, the callout.
    pub client: SocketAddr,
    /// Leaf nodes.
    pub leafnode: Option<SocketAddr>,
    /// Routes.
    pub cluster: Option<SocketAddr>,
    /// HTTP monitoring.
    pub monitoring: Option<SocketAddr>,
    /// WebSocket clients.
    pub websocket: Option<SocketAddr>,
}

/// Why a nats-server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartNatsServerError {
    /// The folder for ports files can't be prepared.
    #[error("the folder for ports files {} can't be prepared", path.display())]
    PortsFolder {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The program can't be run.
    #[error(transparent)]
    Start(#[from] StartChildError),
    /// It ended, most often because of its configuration, or never got ready; the message holds the end of its log.
    #[error(transparent)]
    NotReady(#[from] AwaitChildError),
}

impl NatsServer {
    /// Starts `binary` with the configuration at `config` and waits until its listeners are open. `name` is for
    /// messages. `ports_dir` takes the ports file; servers may share it.
    ///
    /// # Errors
    /// It can't be run, ends (the message shows the end of its log), or is not ready within 20 s.
    pub async fn start(
        name: &str,
        binary: &NatsServerBinary,
        config: &Path,
        log_path: &Path,
        ports_dir: &Path,
    ) -> Result<Self, StartNatsServerError> {
        clear_ports_of_the_dead(ports_dir).map_err(|source| StartNatsServerError::PortsFolder {
            path: ports_dir.to_owned(),
            source,
        })?;
        let mut command = Command::new(binary.path());
        command
            .arg("--config")
            .arg(config)
            .arg("--ports_file_dir")
            .arg(ports_dir);
        let mut child = Child::start(name, command, log_path)?;

        let suffix = ports_suffix(child.pid());
        let log = child.log().clone();
        let ports = child
            .wait_until("its ports file", READY_LIMIT, async || {
                let Some(file) = find_ports_file(ports_dir, &suffix)? else {
                    return Ok(None);
                };
                // The file is written in place: until it parses, it is not yet whole.
                let Ok(listed) = serde_json::from_slice::<ListedUrls>(&fs::read(file)?) else {
                    return Ok(None);
                };
                Ports::assemble(&listed, &log.since(log.start())?).map(Some)
            })
            .await?;
        Ok(Self { child, ports })
    }

    /// Where it listens.
    #[must_use]
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// The process.
    #[must_use]
    pub fn child(&self) -> &Child {
        &self.child
    }

    /// The process, to signal it or wait for it.
    #[must_use]
    pub fn child_mut(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Waits for a line of its log that contains `pattern`, and returns it.
    ///
    /// # Errors
    /// It ended or `limit` passed without it.
    pub async fn wait_for_log(
        &mut self,
        pattern: &str,
        limit: Duration,
    ) -> Result<String, AwaitChildError> {
        self.child.wait_for_log(pattern, limit).await
    }

    /// Ends it in order, and by SIGKILL when it has not ended after `grace`.
    ///
    /// # Errors
    /// The operating system refuses.
    pub async fn stop(&mut self, grace: Duration) -> io::Result<ExitStatus> {
        self.child.stop(grace).await
    }

    /// Ends it as a crash would.
    ///
    /// # Errors
    /// The operating system refuses.
    pub async fn kill9(&mut self) -> io::Result<ExitStatus> {
        self.child.kill9().await
    }
}

/// What nats-server lists in its ports file (server.go `Ports`): URLs. The leaf node listener is missing there.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct ListedUrls {
    nats: Vec<String>,
    cluster: Vec<String>,
    monitoring: Vec<String>,
    websocket: Vec<String>,
}

impl Ports {
    fn assemble(listed: &ListedUrls, log: &str) -> io::Result<Self> {
        Ok(Self {
            client: nearest(&listed.nats)?.ok_or_else(|| invalid("it lists no client port"))?,
            leafnode: leafnode_address(log)?,
            cluster: nearest(&listed.cluster)?,
            monitoring: nearest(&listed.monitoring)?,
            websocket: nearest(&listed.websocket)?,
        })
    }
}

/// The loopback address among `urls`, else the first.
fn nearest(urls: &[String]) -> io::Result<Option<SocketAddr>> {
    let addresses: Vec<SocketAddr> = urls
        .iter()
        .map(|url| {
            let (_, authority) = url.split_once("://").ok_or_else(|| invalid(url))?;
            authority.parse().map_err(|_| invalid(url))
        })
        .collect::<io::Result<_>>()?;
    let loopback = addresses.iter().find(|address| address.ip().is_loopback());
    Ok(loopback.or(addresses.first()).copied())
}

/// The address in the line that nats-server writes when it opens the leaf node listener (leafnode.go
/// `leafNodeAcceptLoop`), before it opens the client listener and so before the ports file.
fn leafnode_address(log: &str) -> io::Result<Option<SocketAddr>> {
    const OPENED: &str = "Listening for leafnode connections on ";
    log.lines()
        .find_map(|line| line.split_once(OPENED))
        .map(|(_, address)| {
            let mut address: SocketAddr = address.trim().parse().map_err(|_| invalid(address))?;
            if address.ip().is_unspecified() {
                address.set_ip([127, 0, 0, 1].into());
            }
            Ok(address)
        })
        .transpose()
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("no listener can be read from nats-server's ports: {what}"),
    )
}

/// The file is named `<executable>_<pid>.ports` (server.go `portFile`).
fn ports_suffix(pid: u32) -> String {
    format!("_{pid}.ports")
}

fn find_ports_file(folder: &Path, suffix: &str) -> io::Result<Option<PathBuf>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(suffix) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// A server that was killed leaves its file behind, and its process id may come again.
fn clear_ports_of_the_dead(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let pid = name
            .strip_suffix(".ports")
            .and_then(|name| name.rsplit_once('_'))
            .and_then(|(_, pid)| pid.parse().ok());
        let Some(pid) = pid.filter(|pid: &i32| *pid > 0) else {
            continue;
        };
        if kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH)
            && let Err(error) = fs::remove_file(&path)
            // Another parent may be clearing the same folder.
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(urls: &[&str]) -> Vec<String> {
        urls.iter().map(|&url| url.to_owned()).collect()
    }

    #[test]
    fn the_loopback_address_is_preferred() {
        let listed = ListedUrls {
            nats: urls(&["tls://10.0.0.7:4222", "tls://127.0.0.1:4222"]),
            cluster: urls(&["nats://[::1]:6222"]),
            monitoring: urls(&["http://10.0.0.7:8222"]),
            websocket: Vec::new(),
        };
        let log = "[7] [INF] Listening for leafnode connections on 0.0.0.0:7422\n[7] [INF] Server is ready\n";
        let ports = Ports::assemble(&listed, log).unwrap();
        assert_eq!(ports.client, "127.0.0.1:4222".parse().unwrap());
        assert_eq!(ports.leafnode, Some("127.0.0.1:7422".parse().unwrap()));
        assert_eq!(ports.cluster, Some("[::1]:6222".parse().unwrap()));
        assert_eq!(ports.monitoring, Some("10.0.0.7:8222".parse().unwrap()));
        assert_eq!(ports.websocket, None);
    }

    #[test]
    fn a_ports_file_without_readable_addresses_is_an_error() {
        for nats in [&[][..], &["127.0.0.1:4222"], &["nats://hub:4222"]] {
            let listed = ListedUrls {
                nats: urls(nats),
                ..ListedUrls::default()
            };
            assert!(Ports::assemble(&listed, "").is_err(), "{nats:?}");
        }
    }

    #[test]
    fn only_files_of_dead_processes_are_cleared() {
        let folder = tempfile::tempdir().unwrap();
        let alive = format!("nats-server{}", ports_suffix(std::process::id()));
        // Above the largest process id that Linux gives out (2^22).
        let dead = "nats-server_4194305.ports";
        for name in [&alive, dead, "notes_1.txt"] {
            fs::write(folder.path().join(name), "{}").unwrap();
        }
        clear_ports_of_the_dead(folder.path()).unwrap();
        assert!(folder.path().join(&alive).exists());
        assert!(folder.path().join("notes_1.txt").exists());
        assert!(!folder.path().join(dead).exists());
    }
}
