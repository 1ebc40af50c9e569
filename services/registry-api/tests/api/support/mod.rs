//! The real service on real sockets, and what tests do with it.

mod client;
mod log;
pub(crate) mod requests;
pub(crate) mod tools;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use leafgate_access::{ApiKey, Authority, NewApiKey, Role, Scope};
use leafgate_identity::{
    Binding, CnPattern, TrustDomain, TrustDomainName, TrustDomains, UnixMs,
    spki_hash_of_certificate_pem,
};
use leafgate_pki::{CaDirectory, CaStamp, Intermediate, Issuer, RootKey};
use leafgate_registrar::{IssuerKeys, Issuers, Registrar};
use leafgate_registry::{Act, Actor, DeviceStore};
use leafgate_registry_api::{
    Addresses, Authority as ServedAuthority, Config, IssuerSource, RegistryService, Setup,
};
use leafgate_runtime::{Clock, Environment, LogFormat, LogOutput, Shutdown, SystemClock};
use leafgate_store_sql::SqliteStore;
use leafgate_testkit::scratch_ca::{ExtendedKeyUsagePurpose, ScratchCa, ScratchLeaf};
use secrecy::ExposeSecret;
use tempfile::TempDir;
use tokio::task::JoinHandle;

pub(crate) use self::client::{Answer, Api, client, client_builder, connect, trusting};
use self::log::capture_log;
pub(crate) use self::log::captured_log;

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A registry API that runs in this process, and what tests do with it.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) store: SqliteStore,
    pub(crate) registrar: Registrar,
    pub(crate) server_ca: ScratchCa,
    pub(crate) address: SocketAddr,
    pub(crate) status: SocketAddr,
    pub(crate) health: SocketAddr,
    pub(crate) shutdown: Shutdown,
    pub(crate) serving: Option<JoinHandle<anyhow::Result<()>>>,
    /// Bears the first admin's key.
    pub(crate) admin: Api,
    _log: LogOutput,
}

pub(crate) fn now() -> UnixMs {
    SystemClock::start().now()
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with("").await
    }

    /// With further keys of the trust domain and further sections of configuration.
    pub(crate) async fn start_with(sections: &str) -> Self {
        Self::start_with_files(sections, &[]).await
    }

    /// The same, with files that they name.
    pub(crate) async fn start_with_files(sections: &str, files: &[(&str, &str)]) -> Self {
        let clock = Arc::new(SystemClock::start());
        let world = Self::start_by(clock, sections, files).await.0;
        world.wait_for_lists().await;
        world
    }

    /// Waits until the first revocation lists are served: no event tells of their numbers then, until something is
    /// revoked.
    pub(crate) async fn wait_for_lists(&self) {
        for issuer in ["devices", "servers"] {
            let path = self.folder.path().join(format!("ca/{issuer}.crt"));
            let pem = std::fs::read_to_string(path).unwrap();
            let spki = spki_hash_of_certificate_pem(&pem).unwrap();
            let url = format!("http://{}/crl/{spki}.crl", self.status);
            until(async || reqwest::get(&url).await.unwrap().status() == 200).await;
        }
    }

    /// The same by this clock. Gives the addresses as well.
    pub(crate) async fn start_by(
        clock: Arc<dyn Clock>,
        sections: &str,
        files: &[(&str, &str)],
    ) -> (Self, Addresses) {
        let store = |store| -> Arc<dyn DeviceStore> { Arc::new(store) };
        Self::start_over(clock, sections, files, store, None).await
    }

    /// The same, whose service sees store and issuers through something.
    pub(crate) async fn start_over(
        clock: Arc<dyn Clock>,
        sections: &str,
        files: &[(&str, &str)],
        seen_store: impl FnOnce(SqliteStore) -> Arc<dyn DeviceStore>,
        seen_issuers: Option<&dyn Fn(Issuers) -> Issuers>,
    ) -> (Self, Addresses) {
        // Some other test of this process may have been first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        capture_log();
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let server_ca = ScratchCa::root("test root");
        write_server_certificate(&folder, &server_ca);
        let ca = leafgate_pki::init(&folder.path().join("ca"), RootKey::DevPlain, now()).unwrap();
        let store = SqliteStore::open(&folder.path().join("registry.db"))
            .await
            .unwrap();
        let mut authority = authority(&ca);
        let registrar = registrar(&store, &authority.issuers);
        if let Some(seen_issuers) = seen_issuers {
            authority.issuers = seen_issuers(authority.issuers);
            authority.source = None;
        }
        let log = LogOutput::new(LogFormat::Text, std::io::sink());
        let setup = Setup::load(config(&folder, sections)).unwrap();
        let shutdown = Shutdown::new();
        let service = RegistryService::bind(
            setup,
            seen_store(store.clone()),
            authority,
            clock,
            log.writer(),
            shutdown.clone(),
        )
        .await
        .unwrap();
        let addresses = service.addresses().unwrap();
        let serving = tokio::spawn(service.serve());
        let (_, text) = registrar
            .create_first_admin_key("first", UnixMs::MAX, &act())
            .await
            .unwrap();
        let admin = Api {
            client: client(&server_ca),
            base: format!("https://localhost:{}", addresses.api.port()),
            key: Some(text.expose().expose_secret().to_owned()),
        };
        let world = Self {
            folder,
            store,
            registrar,
            server_ca,
            address: addresses.api,
            status: addresses.status,
            health: addresses.health,
            shutdown,
            serving: Some(serving),
            admin,
            _log: log,
        };
        (world, addresses)
    }

    /// A further key with these roles and this scope.
    pub(crate) async fn key(&self, roles: &[Role], scope: Scope) -> (ApiKey, Api) {
        self.key_until(roles, scope, now(), UnixMs::MAX).await
    }

    pub(crate) async fn key_until(
        &self,
        roles: &[Role],
        scope: Scope,
        at: UnixMs,
        expires_at: UnixMs,
    ) -> (ApiKey, Api) {
        let new = NewApiKey {
            name: "test".to_owned(),
            authority: Authority {
                roles: roles.iter().copied().collect(),
                scope,
            },
            created_by: "test".to_owned(),
            expires_at,
        };
        let act = Act { at, ..act() };
        let (key, text) = self.registrar.create_api_key(new, &act).await.unwrap();
        let api = self.admin.bearing(text.expose().expose_secret());
        (key, api)
    }

    /// The newest event's number.
    pub(crate) async fn newest_event(&self) -> u64 {
        self.store.position().await.unwrap().seq
    }

    /// Ends the service and gives what it ended with.
    pub(crate) async fn end(&mut self) -> anyhow::Result<()> {
        self.shutdown.cancel();
        let serving = self.serving.take().unwrap();
        tokio::time::timeout(PATIENCE, serving)
            .await
            .unwrap()
            .unwrap()
    }

    /// The text of the metrics.
    pub(crate) async fn metrics(&self) -> String {
        let url = format!("http://{}/metrics", self.health);
        reqwest::get(url).await.unwrap().text().await.unwrap()
    }
}

/// Polls until `probe` finds something.
pub(crate) async fn eventually<T>(mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let polling = async {
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, polling).await;
    found.expect("what is waited for comes")
}

/// Polls until something holds.
pub(crate) async fn until(mut holds: impl AsyncFnMut() -> bool) {
    eventually(async || holds().await.then_some(())).await;
}

pub(crate) fn act() -> Act {
    Act {
        actor: Actor::parse("test").unwrap(),
        at: now(),
    }
}

/// All devices of one site.
pub(crate) fn at_site(site: &str) -> Scope {
    Scope {
        sites: [site].into_iter().collect(),
        ..Scope::everything()
    }
}

pub(crate) fn config(folder: &TempDir, sections: &str) -> Config {
    let path = folder.path().join("registry.toml");
    let text = format!(
        r#"
        [http]
        listen = "127.0.0.1:0"
        cert_file = "server.crt"
        key_file = "server.key"
        [status]
        listen = "127.0.0.1:0"
        [health]
        listen = "127.0.0.1:0"
        [store]
        url = "sqlite:registry.db"
        [ca]
        dir = "ca"
        [[trust_domain]]
        name = "default"
        issuers = ["ca/devices.crt"]
        {sections}
        "#
    );
    std::fs::write(&path, text).unwrap();
    Config::load(&path, &Environment::default()).unwrap()
}

/// A certificate for localhost that is written where the configuration says.
pub(crate) fn write_server_certificate(folder: &TempDir, ca: &ScratchCa) -> String {
    let leaf = ScratchLeaf::device("localhost", now())
        .with_dns_name("localhost")
        .with_ip_address(IpAddr::V4(Ipv4Addr::LOCALHOST))
        .with_extended_usages(&[ExtendedKeyUsagePurpose::ServerAuth]);
    let made = ca.sign(&leaf);
    write_secret(&folder.path().join("server.key"), &made.private_key_pem);
    std::fs::write(folder.path().join("server.crt"), &made.chain_pem).unwrap();
    made.certificate_pem
}

pub(crate) fn write_secret(path: &PathBuf, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// A CA's folder as the program follows it.
struct Folder {
    ca: CaDirectory,
    read: Mutex<Option<CaStamp>>,
}

impl IssuerSource for Folder {
    fn read(&self) -> anyhow::Result<Option<IssuerKeys>> {
        let stamp = self.ca.stamp()?;
        let mut read = self.read.lock().unwrap();
        if read.as_ref() == Some(&stamp) {
            return Ok(None);
        }
        let load = |intermediate| -> anyhow::Result<Vec<Arc<dyn Issuer>>> {
            let all = self.ca.load_all(intermediate)?.into_iter();
            Ok(all.map(|it| Arc::new(it) as _).collect())
        };
        let keys = IssuerKeys {
            devices: load(Intermediate::Devices)?,
            servers: load(Intermediate::Servers)?,
        };
        *read = Some(stamp);
        Ok(Some(keys))
    }
}

pub(crate) fn authority(ca: &CaDirectory) -> ServedAuthority {
    let folder = Folder {
        ca: ca.clone(),
        read: Mutex::default(),
    };
    ServedAuthority {
        root_certificate_pem: std::fs::read_to_string(ca.root_certificate()).unwrap(),
        root_crl: Some(ca.root_crl()),
        issuers: folder.read().unwrap().unwrap().into(),
        source: Some(Arc::new(folder)),
    }
}

fn registrar(store: &SqliteStore, issuers: &Issuers) -> Registrar {
    let domains = TrustDomains::try_from(vec![TrustDomain {
        name: TrustDomainName::parse("default").unwrap(),
        issuers: vec![issuers.of(Intermediate::Devices)[0].spki()],
        cn_pattern: CnPattern::default(),
        binding: Binding::Issued,
    }]);
    let domains = Arc::new(domains.unwrap());
    Registrar::new(Arc::new(store.clone()), issuers.clone(), domains, || 7)
}
