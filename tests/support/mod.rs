//! A whole local site for a test, and devices that act on it.

pub mod bench;
pub mod decisions;
pub mod devices;
pub mod evictions;
pub mod figures;
pub mod in_process;
pub mod observer;
pub mod raw_device;
pub mod registry_client;
pub mod vault;
pub mod wire;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use leafgate::local::{
    Credentials, Device, LocalDir, LocalSite, LogInError, SiteOptions, new_device, open_registrar,
    write_credentials,
};
use leafgate_identity::{DeviceId, SerialNumber, UnixMs};
use leafgate_processes::{LogMark, NatsServerBinary, ServerVersion};
use leafgate_registrar::{CertificateKey, Registrar};
use leafgate_registry::{Act, Actor, RevocationReason};

/// How long a test waits for what must happen.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The folder of the whole project.
pub fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap()
        .to_owned()
}

/// A nats-server of this version from `.tools/`; its absence fails the test.
pub fn nats_server(version: &str) -> NatsServerBinary {
    let version: ServerVersion = version.parse().unwrap();
    NatsServerBinary::pinned(version, &project()).unwrap_or_else(|error| panic!("{error}"))
}

/// Options for the newest nats-server and the freshly built callout.
pub fn options() -> SiteOptions {
    let newest = NatsServerBinary::DEFAULT_VERSION.to_string();
    let callout = PathBuf::from(env!("CARGO_BIN_EXE_leafgate-callout"));
    SiteOptions::new("demo", nats_server(&newest), callout)
}

/// The same without replicas: the test starts its own.
pub fn without_replicas() -> SiteOptions {
    SiteOptions {
        replicas: 0,
        ..options()
    }
}

/// Who acts in tests, now.
pub fn act() -> Act {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    Act {
        actor: Actor::parse("test:e2e").unwrap(),
        at: UnixMs::new(i64::try_from(now.as_millis()).unwrap()),
    }
}

/// Waits until `probe` finds something.
pub async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(
            started.elapsed() < PATIENCE,
            "{what} did not come within {PATIENCE:?}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Held by tests that load the machine or measure time, so that they don't disturb each other.
pub async fn machine() -> tokio::sync::MutexGuard<'static, ()> {
    static MACHINE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    MACHINE.lock().await
}

/// How many times larger than in `make test` a scenario is to be.
pub fn scale() -> usize {
    let scale = std::env::var("LEAFGATE_TEST_SCALE").ok();
    scale.map_or(1, |scale| scale.parse().unwrap())
}

/// A running site in a folder of its own.
pub struct TestSite {
    pub site: LocalSite,
    pub registrar: Registrar,
    pub devices: PathBuf,
    pub url: String,
    _folder: tempfile::TempDir,
}

impl TestSite {
    /// Starts what `options` say.
    pub async fn start(options: &SiteOptions) -> Self {
        Self::start_prepared(options, |_| {}).await
    }

    /// The same, after `prepare` has put files into the folder.
    pub async fn start_prepared(options: &SiteOptions, prepare: impl FnOnce(&LocalDir)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = LocalDir::create(&folder.path().join("site")).unwrap();
        let registrar = open_registrar(&dir, &act()).await.unwrap();
        prepare(&dir);
        let site = LocalSite::start(dir, options, &act())
            .await
            .unwrap_or_else(|error| panic!("the site did not start: {error:#}"));
        let devices = site.dir().root().join("devices");
        fs::create_dir_all(&devices).unwrap();
        fs::copy(site.endpoints().ca_file, devices.join("ca.crt")).unwrap();
        Self {
            url: site.endpoints().device_url,
            site,
            registrar,
            devices,
            _folder: folder,
        }
    }

    /// Registers an active device and puts its files into `devices`; the certificate's serial.
    pub async fn register(&self, id: &str) -> SerialNumber {
        let id = DeviceId::parse(id).unwrap();
        let made = self
            .registrar
            .register_with_certificate(new_device(id.clone(), "pump"), CertificateKey::New, &act())
            .await
            .unwrap();
        let stem = self.devices.join(id.as_str());
        write_credentials(
            &stem,
            &made.issued.chain_pem,
            &made.private_key_pem.unwrap(),
        )
        .unwrap();
        made.issued.serial
    }

    /// Revokes a device and all its certificates.
    pub async fn revoke(&self, id: &str) {
        let id = DeviceId::parse(id).unwrap();
        let reason = RevocationReason::KeyCompromise;
        self.registrar.revoke(&id, reason, &act()).await.unwrap();
    }

    /// Logs in with the files of this name.
    pub async fn log_in(&self, name: &str) -> Result<Device, LogInError> {
        Device::log_in(
            &self.url,
            name,
            &Credentials::in_folder(&self.devices, name),
        )
        .await
    }

    /// A place in the first callout's log.
    pub fn mark(&mut self) -> LogMark {
        self.site.callouts()[0].child_mut().log().mark().unwrap()
    }

    /// The first callout's log line after `mark` with these words.
    pub async fn logged(&mut self, mark: LogMark, words: &str) -> String {
        self.site.callouts()[0]
            .child_mut()
            .wait_for_log_since(mark, words, PATIENCE)
            .await
            .unwrap_or_else(|error| panic!("{error}"))
    }
}

/// The value of a metric without labels, in what /metrics answers.
pub fn metric(metrics: &str, name: &str) -> i64 {
    let start = format!("{name} ");
    let value = metrics.lines().find_map(|line| line.strip_prefix(&start));
    value
        .unwrap_or_else(|| panic!("no metric {name}"))
        .parse()
        .unwrap()
}
