use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::Context;
use leafgate_processes::Child;
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::keys::{ISSUER, XKEY, auth_seed, system_seed};
use super::{LocalDir, LocalKeys, TrustDomainOptions};

/// How long a replica may take until it serves.
const READY_LIMIT: Duration = Duration::from_secs(20);

/// What every callout replica of a site is configured with.
#[derive(Debug, Clone)]
pub(super) struct CalloutFiles {
    pub(super) program: PathBuf,
    pub(super) site: String,
    pub(super) urls: Vec<String>,
    pub(super) ca_file: PathBuf,
    pub(super) client_certificate: PathBuf,
    pub(super) client_key: PathBuf,
    pub(super) keys: LocalKeys,
    pub(super) xkey: bool,
    pub(super) store: PathBuf,
    pub(super) trust_domains: Vec<TrustDomainOptions>,
    pub(super) policies: Vec<PathBuf>,
    pub(super) environment: Vec<(String, String)>,
}

/// A running callout replica.
#[derive(Debug)]
pub struct Callout {
    child: Child,
    health: SocketAddr,
}

impl Callout {
    /// Starts `command`, a `leafgate-callout` with its arguments, and waits until it serves.
    /// `name` is for messages.
    ///
    /// # Errors
    /// It can't be run, ends or does not get ready; the message shows the end of its log.
    pub async fn start(name: &str, command: Command, log: &Path) -> anyhow::Result<Self> {
        let mut child = Child::start(name, command, log)?;
        let started = child.wait_for_log("callout started", READY_LIMIT).await?;
        let health = health_address(&started)
            .with_context(|| format!("no health address in {started:?}"))?;
        child
            .wait_until("/readyz", READY_LIMIT, async || {
                Ok(http_get(health, "/readyz")
                    .await
                    .ok()
                    .filter(|answer| answer.starts_with("HTTP/1.0 200")))
            })
            .await?;
        Ok(Self { child, health })
    }

    /// Where its probes and metrics are.
    pub fn health(&self) -> SocketAddr {
        self.health
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

fn health_address(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("health=")?;
    rest.split_whitespace().next()?.parse().ok()
}

impl CalloutFiles {
    /// Starts the replica with this ordinal.
    pub(super) async fn start(&self, dir: &LocalDir, ordinal: usize) -> anyhow::Result<Callout> {
        let name = format!("callout-{ordinal}");
        let mut command = Command::new(&self.program);
        command
            .arg("--config")
            .arg(self.write(dir, ordinal)?)
            .envs(self.environment.iter().cloned());
        Callout::start(&name, command, &dir.logs().join(format!("{name}.log"))).await
    }

    pub(super) fn write(&self, dir: &LocalDir, ordinal: usize) -> anyhow::Result<PathBuf> {
        let name = format!("callout-{ordinal}");
        let path = dir.callout().join(format!("{name}.toml"));
        fs::write(&path, self.render(&name)?)
            .with_context(|| format!("can't write {}", path.display()))?;
        Ok(path)
    }

    fn render(&self, name: &str) -> anyhow::Result<String> {
        #[derive(Serialize)]
        struct File<'a> {
            site: &'a str,
            replica: &'a str,
            nats: Nats<'a>,
            system: System,
            store: Store,
            trust_domain: Vec<TrustDomain<'a>>,
            http: Http,
        }
        #[derive(Serialize)]
        struct Nats<'a> {
            urls: &'a [String],
            ca_file: &'a PathBuf,
            cert_file: &'a PathBuf,
            key_file: &'a PathBuf,
            nkey_seed_file: PathBuf,
            issuer_seed_file: PathBuf,
            #[serde(skip_serializing_if = "Option::is_none")]
            xkey_seed_file: Option<PathBuf>,
        }
        #[derive(Serialize)]
        struct System {
            nkey_seed_file: PathBuf,
        }
        #[derive(Serialize)]
        struct Store {
            url: String,
        }
        #[derive(Serialize)]
        struct TrustDomain<'a> {
            name: &'a str,
            issuers: Vec<&'a PathBuf>,
            cn_pattern: &'a str,
            policies: &'a [PathBuf],
        }
        #[derive(Serialize)]
        struct Http {
            listen: &'static str,
        }
        let mut trust_domain: Vec<TrustDomain<'_>> = Vec::new();
        for domain in &self.trust_domains {
            match trust_domain
                .iter_mut()
                .find(|known| known.name == domain.name)
            {
                Some(known) => known.issuers.push(&domain.issuer),
                None => trust_domain.push(TrustDomain {
                    name: &domain.name,
                    issuers: vec![&domain.issuer],
                    cn_pattern: &domain.cn_pattern,
                    policies: &self.policies,
                }),
            }
        }
        let file = File {
            site: &self.site,
            replica: name,
            nats: Nats {
                urls: &self.urls,
                ca_file: &self.ca_file,
                cert_file: &self.client_certificate,
                key_file: &self.client_key,
                nkey_seed_file: self.keys.path(&auth_seed(name)),
                issuer_seed_file: self.keys.path(ISSUER),
                xkey_seed_file: self.xkey.then(|| self.keys.path(XKEY)),
            },
            system: System {
                nkey_seed_file: self.keys.path(&system_seed(name)),
            },
            store: Store {
                url: format!("sqlite:{}", self.store.display()),
            },
            trust_domain,
            http: Http {
                listen: "127.0.0.1:0",
            },
        };
        Ok(toml::to_string(&file)?)
    }
}
