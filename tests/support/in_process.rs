//! A callout replica inside the test's own process, whose store the test delays or cuts off.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use leafgate::local::http_get;
use leafgate::wiring::open_store_read_only;
use leafgate_auth_callout::{Config, Setup, run};
use leafgate_registry::DeviceStore;
use leafgate_runtime::{Environment, LogFormat, LogOutput, Shutdown, SystemClock};
use leafgate_testkit::delaying_store::{DelayControl, DelayingStore};
use tokio::runtime::Builder;

use super::{TestSite, eventually, metric};

/// A running replica, on a thread of its own. Dropped, it ends in order, so it should be dropped
/// before its site: without NATS that takes some seconds.
pub struct InProcess {
    /// What the replica's store does.
    pub store: DelayControl,
    registry: Arc<dyn DeviceStore>,
    health: SocketAddr,
    log: SharedLog,
    shutdown: Shutdown,
    /// Until its end is awaited.
    running: Option<JoinHandle<anyhow::Result<()>>>,
}

impl InProcess {
    /// Starts the replica with this ordinal and waits until it serves.
    pub async fn start(site: &TestSite, ordinal: usize) -> Self {
        Self::start_with(site, ordinal, |_| {}).await
    }

    /// The same with another configuration.
    pub async fn start_with(
        site: &TestSite,
        ordinal: usize,
        adjust: impl FnOnce(&mut Config),
    ) -> Self {
        let replica = Self::spawn(site, ordinal, adjust).await;
        replica.answers("/readyz", "HTTP/1.0 200").await;
        replica
    }

    /// Starts the replica with this ordinal, ready or not.
    pub async fn spawn(site: &TestSite, ordinal: usize, adjust: impl FnOnce(&mut Config)) -> Self {
        let file = site.site.write_callout_config(ordinal).unwrap();
        let mut config = Config::load(&file, &Environment::default()).unwrap();
        let health = free_address();
        config.http.listen = health;
        adjust(&mut config);
        let store = DelayControl::default();
        let registry = open_store_read_only(&config, &Environment::new())
            .await
            .unwrap();
        let delaying = Arc::new(DelayingStore::new(registry.clone(), store.clone()));
        let log = SharedLog::default();
        let shutdown = Shutdown::new();
        let running = thread::spawn({
            let (log, shutdown) = (log.clone(), shutdown.clone());
            let setup = Setup::load(config).unwrap();
            move || {
                let runtime = Builder::new_current_thread().enable_all().build().unwrap();
                let output = LogOutput::new(LogFormat::Text, log);
                let clock = Arc::new(SystemClock::start());
                runtime.block_on(run(setup, delaying, clock, &output, shutdown))
            }
        });
        Self {
            store,
            registry,
            health,
            log,
            shutdown,
            running: Some(running),
        }
    }

    /// Where its probes and metrics are.
    pub fn health(&self) -> SocketAddr {
        self.health
    }

    /// What it answers to a GET of `path`, status line and headers included.
    pub async fn get(&self, path: &str) -> io::Result<String> {
        http_get(self.health, path).await
    }

    /// Waits for an answer with these words, and returns it.
    pub async fn answers(&self, path: &str, words: &str) -> String {
        eventually(&format!("{words:?} from {path}"), async || {
            self.get(path)
                .await
                .ok()
                .filter(|answer| answer.contains(words))
        })
        .await
    }

    /// The value of a metric without labels.
    pub async fn metric(&self, name: &str) -> i64 {
        metric(&self.get("/metrics").await.unwrap(), name)
    }

    /// Waits until it has applied every change that the registry holds now; the newest's number.
    pub async fn applied(&self) -> u64 {
        let newest = self.registry.position().await.unwrap().seq;
        eventually("the newest change", async || {
            let applied = self.metric("leafgate_callout_feed_sequence").await;
            (applied >= i64::try_from(newest).unwrap()).then_some(newest)
        })
        .await
    }

    /// How many decisions it has logged with these words.
    pub fn decisions(&self, words: &str) -> usize {
        let log = self.log.text();
        log.lines().filter(|line| line.contains(words)).count()
    }

    /// Waits until it has logged a decision with these words.
    pub async fn decided(&self, words: &str) {
        eventually(&format!("the decision {words:?}"), async || {
            (self.decisions(words) > 0).then_some(())
        })
        .await;
    }

    /// Tells it to end, as SIGTERM would.
    pub fn terminate(&self) {
        self.shutdown.cancel();
    }

    /// Waits for its end, after it was told.
    pub async fn ended(mut self) -> anyhow::Result<()> {
        let running = self.running.take().unwrap();
        let ended = tokio::task::spawn_blocking(move || running.join().unwrap());
        let ended = tokio::time::timeout(super::PATIENCE, ended).await;
        ended.expect("the replica does not end").unwrap()
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        self.shutdown.cancel();
        if let Some(running) = self.running.take() {
            // What went wrong in it is for the test to notice.
            let _ = running.join();
        }
    }
}

/// An address that was free just now.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

#[derive(Clone, Default)]
struct SharedLog(Arc<Mutex<Vec<u8>>>);

impl SharedLog {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for SharedLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
