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
use reqwest::{Certificate, Client, Method, RequestBuilder, Response};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

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

/// Everything that was logged in this process since the first world began.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Captured;

impl std::io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Captures all that our own crates log, down to the finest.
fn capture_log() {
    let filter = "off,leafgate_access=trace,leafgate_registrar=trace,leafgate_registry_api=trace,leafgate_store_sql=trace";
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(|| Captured)
        .try_init();
}

pub(crate) fn captured_log() -> String {
    String::from_utf8(LOG.lock().unwrap().clone()).unwrap()
}

/// Somebody who calls the API.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) client: Client,
    pub(crate) base: String,
    pub(crate) key: Option<String>,
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

    /// Waits until it is ready, and so the first revocation lists are served: no event tells of their numbers then, until
    /// something is revoked.
    pub(crate) async fn wait_for_lists(&self) {
        let ready = format!("http://{}/readyz", self.health);
        let mut waited = Duration::ZERO;
        while reqwest::get(&ready).await.unwrap().status() != 200 {
            assert!(waited < PATIENCE, "it does not get ready");
            tokio::time::sleep(Duration::from_millis(10)).await;
            waited += Duration::from_millis(10);
        }
        for issuer in ["devices", "servers"] {
            let path = self.folder.path().join(format!("ca/{issuer}.crt"));
            let pem = std::fs::read_to_string(path).unwrap();
            let spki = spki_hash_of_certificate_pem(&pem).unwrap();
            let url = format!("http://{}/crl/{spki}.crl", self.status);
            assert_eq!(reqwest::get(&url).await.unwrap().status(), 200, "{issuer}");
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

pub(crate) fn client(ca: &ScratchCa) -> Client {
    client_builder(ca).build().unwrap()
}

pub(crate) fn client_builder(ca: &ScratchCa) -> reqwest::ClientBuilder {
    let root = Certificate::from_pem(ca.certificate_pem().as_bytes()).unwrap();
    Client::builder()
        .tls_certs_only([root])
        .timeout(PATIENCE)
        .no_proxy()
}

impl Api {
    /// Somebody else, by their key.
    pub(crate) fn bearing(&self, key: &str) -> Self {
        Self {
            key: Some(key.to_owned()),
            ..self.clone()
        }
    }

    /// Somebody without a key.
    pub(crate) fn anonymous(&self) -> Self {
        Self {
            key: None,
            ..self.clone()
        }
    }

    /// The same with another client.
    pub(crate) fn through(&self, client: Client) -> Self {
        Self {
            client,
            ..self.clone()
        }
    }

    pub(crate) fn key(&self) -> &str {
        self.key.as_deref().unwrap()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, self.url(path));
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        Answer::of(self.request(Method::POST, path).json(&body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        Answer::of(self.request(Method::PUT, path).json(&body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        Answer::of(self.request(Method::PATCH, path).json(&body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::DELETE, path)).await
    }

    /// Registers a device, which must succeed.
    pub(crate) async fn register(&self, id: &str, device_type: &str, site: Option<&str>) -> Value {
        let body = json!({ "id": id, "device_type": device_type, "site": site });
        self.post("/v1/devices", body).await.expect(201)
    }
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) async fn of(request: RequestBuilder) -> Self {
        Self::read(request.send().await.unwrap()).await
    }

    async fn read(response: Response) -> Self {
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .unwrap_or_else(|| panic!("no {name} in {self:?}"))
            .to_str()
            .unwrap()
    }

    /// The JSON of an answer with this status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        serde_json::from_str(&self.text).unwrap()
    }

    /// The detail of a problem of this type, whose document must be whole.
    #[track_caller]
    pub(crate) fn problem(&self, name: &str) -> String {
        let document: leafgate_api::ProblemDocument =
            serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        assert_eq!(document.type_uri, format!("/problems/{name}"), "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        let kind = document.problem_type().unwrap();
        assert_eq!(document.title, kind.title());
        assert_eq!(
            (document.status, self.status),
            (kind.status(), kind.status())
        );
        assert_eq!(document.request_id, self.header("x-request-id"));
        assert!(!document.detail.is_empty() && document.instance.starts_with('/'));
        if matches!(self.status, 429 | 503) {
            let secs: u64 = self.header("retry-after").parse().unwrap();
            assert!(secs > 0);
        }
        document.detail
    }
}
