use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use leafgate_identity::{
    Binding, CnPattern, DeviceId, SerialNumber, SpkiHash, TrustDomain, TrustDomainName,
    TrustDomains, UnixMs,
};
use leafgate_pki::{
    CaDirectory, Intermediate, Issuer, RootKey, StatusUrl, StatusUrls, init_with_root_crl_url,
};
use leafgate_registrar::{CertificateKey, Issuers, Registrar};
use leafgate_registry::{Act, Actor, DeviceStore, FeedPosition, NewDevice, RevocationReason};
use leafgate_runtime::{Clock, Shutdown, SystemClock};
use leafgate_store_sql::SqliteStore;
use leafgate_testkit::delaying_store::{DelayControl, DelayingStore};
use prometheus_client::registry::Registry;
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::super::{RevocationStatus, StatusParts, StatusSettings, router};
use super::openssl::openssl;
use super::signer::Signer;

/// How long a test waits for what must come.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// The machine's clocks, put forward.
pub(super) struct ShiftedClock {
    machine: SystemClock,
    ahead_ms: AtomicU64,
}

impl ShiftedClock {
    pub(super) fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_millis()).unwrap();
        self.ahead_ms.fetch_add(by, Ordering::SeqCst);
    }

    fn ahead(&self) -> Duration {
        Duration::from_millis(self.ahead_ms.load(Ordering::SeqCst))
    }
}

impl Clock for ShiftedClock {
    fn now(&self) -> UnixMs {
        self.machine.now().saturating_add(self.ahead())
    }

    fn monotonic(&self) -> Duration {
        self.machine.monotonic() + self.ahead()
    }
}

/// A registry that tells the status of its certificates.
pub(super) struct World {
    pub(super) folder: TempDir,
    pub(super) ca: CaDirectory,
    pub(super) store: SqliteStore,
    pub(super) registrar: Registrar,
    pub(super) devices: Arc<Signer>,
    pub(super) clock: Arc<ShiftedClock>,
    pub(super) first: Replica,
}

/// One process that tells the status of certificates.
pub(super) struct Replica {
    pub(super) status: Arc<RevocationStatus>,
    pub(super) devices: Arc<Signer>,
    /// What it reads the registry through.
    pub(super) control: DelayControl,
    /// Where it is served.
    pub(super) base: String,
    metrics: Mutex<Registry>,
    shutdown: Shutdown,
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// A device's certificate.
pub(super) struct Leaf {
    pub(super) device: DeviceId,
    pub(super) serial: SerialNumber,
    pub(super) path: PathBuf,
}

impl World {
    pub(super) async fn start() -> Self {
        Self::start_with(StatusSettings::default()).await
    }

    pub(super) async fn start_with(settings: StatusSettings) -> Self {
        // Some other test of this process may have been first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let base = StatusUrl::parse(&base).unwrap();
        let clock = Arc::new(ShiftedClock {
            machine: SystemClock::start(),
            ahead_ms: AtomicU64::new(0),
        });
        let folder = tempfile::tempdir().unwrap();
        let ca = init_with_root_crl_url(
            &folder.path().join("ca"),
            RootKey::DevPlain,
            Some(&base.root_crl()),
            clock.now(),
        )
        .unwrap();
        let store = SqliteStore::open(&folder.path().join("registry.db"))
            .await
            .unwrap();
        let devices = Arc::new(signer(&ca, Intermediate::Devices, &base));
        let issuers = Issuers::new(
            Arc::clone(&devices) as Arc<dyn Issuer>,
            Arc::new(ca.load(Intermediate::Servers).unwrap()),
        );
        let domains = TrustDomains::try_from(vec![TrustDomain {
            name: TrustDomainName::parse("default").unwrap(),
            issuers: vec![devices.spki()],
            cn_pattern: CnPattern::default(),
            binding: Binding::Issued,
        }]);
        let registrar = Registrar::new(
            Arc::new(store.clone()),
            issuers,
            Arc::new(domains.unwrap()),
            || 7,
        );
        let first = Replica::begin(
            listener,
            &ca,
            store.clone(),
            Arc::clone(&devices),
            Arc::clone(&clock),
            settings,
        );
        first.until_first_lists().await;
        Self {
            folder,
            ca,
            store,
            registrar,
            devices,
            clock,
            first,
        }
    }

    /// Another process on the same registry, with a signer of its own for the same key.
    pub(super) async fn another_replica(&self) -> Replica {
        let replica = self.begin_replica(self.another_signer()).await;
        replica.until_first_lists().await;
        replica
    }

    pub(super) fn another_signer(&self) -> Arc<Signer> {
        let base = StatusUrl::parse(&self.first.base).unwrap();
        Arc::new(signer(&self.ca, Intermediate::Devices, &base))
    }

    /// Another process, which has no lists yet.
    pub(super) async fn begin_replica(&self, devices: Arc<Signer>) -> Replica {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let store = SqliteStore::open(&self.path("registry.db")).await.unwrap();
        let (clock, settings) = (Arc::clone(&self.clock), StatusSettings::default());
        Replica::begin(listener, &self.ca, store, devices, clock, settings)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn devices_spki(&self) -> SpkiHash {
        self.devices.spki()
    }

    pub(super) fn issuer(&self) -> PathBuf {
        self.ca.certificate(Intermediate::Devices)
    }

    pub(super) fn act(&self) -> Act {
        Act {
            actor: Actor::parse("test").unwrap(),
            at: self.clock.now(),
        }
    }

    /// Registers a device and issues its first certificate.
    pub(super) async fn enrol(&self, id: &str) -> Leaf {
        let new = NewDevice {
            id: DeviceId::parse(id).unwrap(),
            trust_domain: TrustDomainName::parse("default").unwrap(),
            pending: false,
            device_type: "pump".to_owned(),
            site: None,
            attributes: BTreeMap::new(),
        };
        let device = new.id.clone();
        let made = self
            .registrar
            .register_with_certificate(new, CertificateKey::New, &self.act())
            .await
            .unwrap();
        let path = self.path(&format!("{id}.crt"));
        std::fs::write(&path, &made.issued.certificate_pem).unwrap();
        Leaf {
            device,
            serial: made.issued.serial,
            path,
        }
    }

    /// Revokes a device and gives the place of that in the feed.
    pub(super) async fn revoke(&self, leaf: &Leaf) -> FeedPosition {
        let reason = RevocationReason::KeyCompromise;
        let act = self.act();
        let revoking = self.registrar.revoke(&leaf.device, reason, &act);
        revoking.await.unwrap();
        self.store.position().await.unwrap()
    }

    /// Revokes a device and waits until it is told.
    pub(super) async fn revoke_and_wait(&self, leaf: &Leaf) {
        let position = self.revoke(leaf).await;
        self.first.served_after(&position).await;
    }

    /// What `openssl ocsp` asks of these certificates.
    pub(super) fn request(&self, leaves: &[&Leaf], more: &[&str]) -> Vec<u8> {
        let out = self.path("request.der");
        let (issuer, out_text) = (self.issuer(), out.to_str().unwrap());
        let mut args = vec!["ocsp", "-reqout", out_text];
        args.extend(more);
        args.extend(["-issuer", issuer.to_str().unwrap()]);
        for leaf in leaves {
            args.extend(["-cert", leaf.path.to_str().unwrap()]);
        }
        openssl(&args);
        std::fs::read(out).unwrap()
    }
}

impl Replica {
    fn begin(
        listener: TcpListener,
        ca: &CaDirectory,
        store: SqliteStore,
        devices: Arc<Signer>,
        clock: Arc<ShiftedClock>,
        settings: StatusSettings,
    ) -> Self {
        let base = format!("http://{}", listener.local_addr().unwrap());
        let control = DelayControl::default();
        let delaying = |store: SqliteStore| {
            Arc::new(DelayingStore::new(Arc::new(store), control.clone())) as Arc<dyn DeviceStore>
        };
        let shutdown = Shutdown::new();
        let mut metrics = Registry::default();
        let parts = StatusParts {
            store: delaying(store.clone()),
            clock,
            actor: Actor::parse("registry").unwrap(),
            root_list: Some(ca.root_crl()),
            settings: StatusSettings {
                look_up_limit: PATIENCE,
                ..settings
            },
            shutdown: shutdown.clone(),
        };
        let status = RevocationStatus::new(parts, &mut metrics);
        let servers = Arc::new(ca.load(Intermediate::Servers).unwrap());
        for issuer in [Arc::clone(&devices) as Arc<dyn Issuer>, servers] {
            status.add_issuer(issuer).unwrap();
        }
        let sink = Arc::clone(&status) as Arc<dyn leafgate_feed::FeedSink>;
        tokio::spawn(leafgate_feed::follow(
            delaying(store),
            sink,
            shutdown.clone(),
        ));
        let ended = shutdown.clone().cancelled_owned();
        let serving = axum::serve(listener, router(Arc::clone(&status)));
        tokio::spawn(serving.with_graceful_shutdown(ended).into_future());
        Self {
            status,
            devices,
            control,
            base,
            metrics: Mutex::new(metrics),
            shutdown,
        }
    }

    async fn until_first_lists(&self) {
        let issuers = self.status.issuers();
        let both = self
            .status
            .following
            .until(|_| issuers.iter().all(|issuer| issuer.list().is_some()));
        tokio::time::timeout(PATIENCE, both).await.unwrap();
    }

    pub(super) async fn served_after(&self, position: &FeedPosition) {
        let served = self.status.served_after(position);
        tokio::time::timeout(PATIENCE, served).await.unwrap();
    }

    /// Where the devices' list is served.
    pub(super) fn list_url(&self) -> String {
        let base = StatusUrl::parse(&self.base).unwrap();
        StatusUrls::under(&base, self.devices.spki())
            .crl
            .to_string()
    }

    pub(super) async fn get_list(&self) -> Answer {
        self.get(&self.list_url()).await
    }

    pub(super) async fn get(&self, url: &str) -> Answer {
        Answer::of(client().get(url)).await
    }

    /// Asks by POST.
    pub(super) async fn ask(&self, request: Vec<u8>) -> Answer {
        let url = format!("{}/ocsp", self.base);
        let kind = ("content-type", "application/ocsp-request");
        Answer::of(client().post(url).header(kind.0, kind.1).body(request)).await
    }

    /// Asks by GET.
    pub(super) async fn ask_in_path(&self, request: &[u8]) -> Answer {
        let text = data_encoding::BASE64.encode(request);
        let text = text
            .replace('+', "%2B")
            .replace('/', "%2F")
            .replace('=', "%3D");
        self.get(&format!("{}/ocsp/{text}", self.base)).await
    }

    pub(super) fn metrics(&self) -> String {
        let mut text = String::new();
        let metrics = self.metrics.lock().unwrap();
        prometheus_client::encoding::text::encode(&mut text, &metrics).unwrap();
        text
    }
}

pub(super) fn client() -> reqwest::Client {
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
    client.build().unwrap()
}

/// An HTTP answer, read.
pub(super) struct Answer {
    pub(super) status: u16,
    headers: reqwest::header::HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.bytes().await.unwrap().to_vec(),
        }
    }

    pub(super) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn write(&self, path: &Path) {
        std::fs::write(path, &self.body).unwrap();
    }
}

fn signer(ca: &CaDirectory, intermediate: Intermediate, base: &StatusUrl) -> Signer {
    let ca = ca.load(intermediate).unwrap();
    let urls = StatusUrls::under(base, ca.spki());
    Signer::new(ca.with_status_urls(urls))
}

pub(super) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let came = tokio::time::timeout(PATIENCE, waiting).await;
    came.unwrap_or_else(|_| panic!("it never came: {what}"));
}
