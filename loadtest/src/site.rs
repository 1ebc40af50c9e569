use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, stream};
use hyper::Request;
use leafgate_access::{Authority, NewApiKey, Role, Scope};
use leafgate_identity::{
    Binding, CnPattern, DeviceId, TrustDomain, TrustDomainName, TrustDomains, UnixMs,
};
use leafgate_pki::{CaDirectory, EmbeddedCa, Intermediate, Issuer as _, RootKey};
use leafgate_processes::Child;
use leafgate_registrar::{Imported, Issuers, Registrar, RegistrarError};
use leafgate_registry::{Act, Actor, DeviceStore, NewDevice};
use leafgate_runtime::{Clock as _, SystemClock};
use leafgate_store_sql::PostgresOptions;
use leafgate_testkit::scratch_ca::{
    ExtendedKeyUsagePurpose, ScratchCa, ScratchCertificate, ScratchLeaf,
};
use nix::unistd::Pid;
#[expect(
    clippy::disallowed_types,
    reason = "the program is an edge: it draws random numbers"
)]
use rand_core::{OsRng, RngCore as _};
use secrecy::SecretString;

use crate::http::{HttpServer, Whole};

/// How long a registry may take to read what it holds and to serve.
const START_LIMIT: Duration = Duration::from_secs(120);
const STOP_LIMIT: Duration = Duration::from_secs(30);

const TRUST_DOMAIN: &str = "default";

/// The authorities of an installation, and where it keeps its files.
pub(crate) struct Site {
    pub(crate) clock: SystemClock,
    dir: PathBuf,
    ca: CaDirectory,
    servers: ScratchCa,
}

/// A running `leafgate-registry`.
pub(crate) struct RegistryProcess {
    child: Child,
    /// The API, over TLS.
    pub(crate) api: HttpServer,
    /// Revocation lists and OCSP.
    pub(crate) status: HttpServer,
}

impl Site {
    /// Makes authorities below `dir`.
    pub(crate) fn create(dir: &Path, clock: &SystemClock) -> Result<Self> {
        let ca = leafgate_pki::init(&dir.join("ca"), RootKey::DevPlain, clock.now())?;
        Ok(Self {
            clock: clock.clone(),
            dir: dir.to_owned(),
            ca,
            servers: ScratchCa::root("load test servers"),
        })
    }

    pub(crate) fn act(&self) -> Act {
        act_at(self.clock.now())
    }

    pub(crate) fn devices_ca(&self) -> Result<EmbeddedCa> {
        Ok(self.ca.load(Intermediate::Devices)?)
    }

    /// The product's use cases on a store.
    pub(crate) fn registrar(&self, store: Arc<dyn DeviceStore>) -> Result<Registrar> {
        let devices = self.devices_ca()?;
        let domains = TrustDomains::try_from(vec![TrustDomain {
            name: TrustDomainName::parse(TRUST_DOMAIN)?,
            issuers: vec![devices.spki()],
            cn_pattern: CnPattern::default(),
            binding: Binding::Issued,
        }])?;
        let issuers = Issuers::new(
            Arc::new(devices),
            Arc::new(self.ca.load(Intermediate::Servers)?),
        );
        let random = || OsRng.next_u32();
        Ok(Registrar::new(store, issuers, Arc::new(domains), random))
    }

    /// Registers devices by the product's import; all of them must be new.
    pub(crate) async fn import(&self, registrar: &Registrar, new: Vec<NewDevice>) -> Result<()> {
        let count = new.len();
        let lines = new.into_iter().map(Ok::<_, RegistrarError>).enumerate();
        let clock = self.clock.clone();
        let mut results = registrar.import(stream::iter(lines), move || act_at(clock.now()));
        let mut registered = 0;
        while let Some((_, result)) = results.next().await {
            if let Imported::Registered(_) = result? {
                registered += 1;
            }
        }
        ensure!(
            registered == count,
            "{registered} of {count} devices were registered"
        );
        Ok(())
    }

    /// A key for the API that has this role.
    pub(crate) async fn api_key(&self, registrar: &Registrar, role: Role) -> Result<SecretString> {
        let act = self.act();
        let new = NewApiKey {
            name: "loadtest".to_owned(),
            authority: Authority {
                roles: [role].into_iter().collect(),
                scope: Scope::everything(),
            },
            created_by: act.actor.to_string(),
            expires_at: act.at.saturating_add(Duration::from_secs(24 * 3600)),
        };
        let (_, text) = registrar.create_api_key(new, &act).await?;
        Ok(text.expose())
    }

    /// A certificate for a server at localhost.
    pub(crate) fn server_certificate(&self) -> ScratchCertificate {
        let leaf = ScratchLeaf::device("localhost", self.clock.now())
            .with_dns_name("localhost")
            .with_ip_address(IpAddr::V4(Ipv4Addr::LOCALHOST))
            .with_validity(
                self.clock.now().saturating_sub(Duration::from_secs(300)),
                self.clock
                    .now()
                    .saturating_add(Duration::from_secs(24 * 3600)),
            )
            .with_extended_usages(&[ExtendedKeyUsagePurpose::ServerAuth]);
        self.servers.sign(&leaf)
    }

    /// What clients of servers with these certificates trust.
    pub(crate) fn server_ca_pem(&self) -> &str {
        self.servers.certificate_pem()
    }

    /// Starts a registry, with everything as shipped, on the store at this URL, and waits until it serves
    /// the API and devices' revocation list.
    pub(crate) async fn start_registry(
        &self,
        binary: &Path,
        store_url: &str,
    ) -> Result<RegistryProcess> {
        let dir = tempfile::Builder::new()
            .prefix("registry-")
            .disable_cleanup(true)
            .tempdir_in(&self.dir)
            .context("can't make a folder for a registry")?
            .keep();
        let tls = self.server_certificate();
        write(&dir.join("server.crt"), &tls.chain_pem)?;
        write(&dir.join("server.key"), &tls.private_key_pem)?;
        write(&dir.join("registry.toml"), &self.configuration(store_url))?;
        let mut command = Command::new(binary);
        command.arg("--config").arg(dir.join("registry.toml"));
        let name = "leafgate-registry";
        let mut child = Child::start(name, command, &dir.join("registry.log"))?;
        let started = child.wait_for_log(" health=", START_LIMIT).await?;
        let health = HttpServer::plain(address(&started, " health=")?);
        child
            .wait_until("/readyz", START_LIMIT, async || {
                let request = Request::get("/readyz").header("host", "localhost");
                let request = request.body(Whole::empty());
                let answer = health.ask(request.map_err(std::io::Error::other)?).await;
                Ok(answer.ok().filter(|answer| answer.status == 200))
            })
            .await?;
        let status = HttpServer::plain(address(&started, " status=")?);
        let spki = self.devices_ca()?.spki();
        child
            .wait_until("a revocation list", START_LIMIT, async || {
                let path = format!("/crl/{spki}.crl");
                let request = Request::get(path).header("host", "localhost");
                let request = request.body(Whole::empty());
                let answer = status.ask(request.map_err(std::io::Error::other)?).await;
                Ok(answer.ok().filter(|answer| answer.status == 200))
            })
            .await?;
        Ok(RegistryProcess {
            status,
            api: HttpServer::with_tls(address(&started, " api=")?, self.server_ca_pem())?,
            child,
        })
    }

    fn configuration(&self, store_url: &str) -> String {
        let ca = self.ca.path();
        format!(
            r#"[http]
listen = "127.0.0.1:0"
cert_file = "server.crt"
key_file = "server.key"

[status]
listen = "127.0.0.1:0"
url = "http://pki.example.org:8080"

[health]
listen = "127.0.0.1:0"

[store]
url = {store_url:?}

[ca]
dir = {ca:?}

[[trust_domain]]
name = "{TRUST_DOMAIN}"
issuers = [{:?}]
"#,
            self.ca.certificate(Intermediate::Devices)
        )
    }
}

impl RegistryProcess {
    pub(crate) fn process(&self) -> Result<Pid> {
        Ok(Pid::from_raw(i32::try_from(self.child.pid())?))
    }

    /// The end of its log, for errors.
    pub(crate) fn log_tail(&self) -> String {
        let log = self.child.log();
        format!("log: {}\n{}", log.path().display(), log.tail(12))
    }

    pub(crate) async fn stop(mut self) -> Result<()> {
        let stopped = self.child.stop(STOP_LIMIT).await;
        stopped.context("can't stop leafgate-registry")?;
        Ok(())
    }
}

/// The registry program: the one that was named, or else the one beside this program.
pub(crate) fn registry_binary(named: Option<&PathBuf>) -> Result<PathBuf> {
    let binary = match named {
        Some(binary) => binary.clone(),
        None => std::env::current_exe()
            .context("can't tell where this program is")?
            .with_file_name("leafgate-registry"),
    };
    ensure!(
        binary.is_file(),
        "no leafgate-registry at {}: build it (cargo build --release) or name it with --registry-bin",
        binary.display()
    );
    Ok(binary)
}

/// How the database at this URL, which holds the password, is reached.
pub(crate) fn postgres_options(url: &str) -> PostgresOptions {
    PostgresOptions {
        url: url.to_owned(),
        password_file: None,
        ca_file: None,
    }
}

/// Devices with nothing special.
pub(crate) fn new_devices(ids: &[DeviceId]) -> Vec<NewDevice> {
    ids.iter().cloned().map(new_device).collect()
}

fn new_device(id: DeviceId) -> NewDevice {
    let attributes = [("firmware", "2.7.1"), ("batch", "2026-10")];
    NewDevice {
        id,
        trust_domain: TrustDomainName::parse(TRUST_DOMAIN).expect("the name is one token"),
        pending: false,
        device_type: "pump".to_owned(),
        site: Some("cph1".to_owned()),
        attributes: attributes
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect::<BTreeMap<_, _>>(),
    }
}

fn act_at(at: UnixMs) -> Act {
    Act {
        actor: Actor::parse("loadtest").expect("the name is one token"),
        at,
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    let written = std::fs::write(path, text)
        .and_then(|()| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)));
    written.with_context(|| format!("can't write {}", path.display()))
}

fn address(line: &str, name: &str) -> Result<SocketAddr> {
    line.split_once(name)
        .and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok())
        .with_context(|| format!("no {name} in {line:?}"))
}
