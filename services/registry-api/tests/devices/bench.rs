//! A registry API by a clock that tests advance, and devices.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use leafgate_identity::{DeviceId, Fingerprint, UnixMs};
use leafgate_registry_api::Addresses;
use leafgate_runtime::{Clock, SystemClock};
use rcgen::KeyPair;
use reqwest::{Client, Identity};
use serde_json::{Value, json};

use crate::support::requests::{csr_named, csr_of};
use crate::support::{Answer, Api, World, client_builder};

pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

/// The machine's clock, some time ahead.
pub(crate) struct AheadClock {
    machine: SystemClock,
    ahead_ms: AtomicI64,
}

impl AheadClock {
    pub(crate) fn advance(&self, time: Duration) {
        let ms = i64::try_from(time.as_millis()).unwrap();
        self.ahead_ms.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for AheadClock {
    fn now(&self) -> UnixMs {
        let ahead = self.ahead_ms.load(Ordering::SeqCst);
        let ahead = Duration::from_millis(ahead.try_into().unwrap());
        self.machine.now().saturating_add(ahead)
    }

    fn monotonic(&self) -> Duration {
        self.machine.monotonic()
    }
}

pub(crate) struct Bench {
    pub(crate) world: World,
    pub(crate) addresses: Addresses,
    pub(crate) clock: Arc<AheadClock>,
}

impl Bench {
    pub(crate) async fn start() -> Self {
        Self::start_with("").await
    }

    pub(crate) async fn start_with(sections: &str) -> Self {
        Self::start_with_files(sections, &[]).await
    }

    pub(crate) async fn start_with_files(sections: &str, files: &[(&str, &str)]) -> Self {
        let clock = Arc::new(AheadClock {
            machine: SystemClock::start(),
            ahead_ms: AtomicI64::new(0),
        });
        let (world, addresses) = World::start_by(clock.clone(), sections, files).await;
        world.wait_for_lists().await;
        Self {
            world,
            addresses,
            clock,
        }
    }

    /// Makes a token that lets these in, and gives its public part and its bearer.
    pub(crate) async fn token(&self, admits: Value) -> (String, Api) {
        let body = json!({ "name": "test", "admits": admits, "device_type": "pump" });
        let made = self.world.admin.post("/v1/enrolment-tokens", body).await;
        let made = made.expect(201);
        let id = made["enrolment_token"]["id"].as_str().unwrap().to_owned();
        let bearer = self.world.admin.bearing(made["token"].as_str().unwrap());
        (id, bearer)
    }

    /// A device that has enrolled.
    pub(crate) async fn enrolled(&self, id: &str) -> Device {
        let (_, bearer) = self.token(json!({ "ids": [id] })).await;
        let mut device = Device::new(id);
        let enrolled = device.enrol(&bearer).await.expect(201);
        device.hold(&enrolled);
        device
    }

    /// Somebody without an API key who presents these certificates (PEM).
    pub(crate) fn presenting(&self, chain: &str, key: &str) -> Api {
        let client = self.client(chain, key);
        self.world.admin.anonymous().through(client)
    }

    pub(crate) fn client(&self, chain: &str, key: &str) -> Client {
        let identity = Identity::from_pem(format!("{chain}{key}").as_bytes()).unwrap();
        let builder = client_builder(&self.world.server_ca).identity(identity);
        builder.build().unwrap()
    }

    pub(crate) async fn device(&self, id: &str) -> Value {
        let path = format!("/v1/devices/{id}");
        self.world.admin.get(&path).await.expect(200)
    }

    /// Who did what became of a device, from the first on.
    pub(crate) async fn actors(&self, id: &str) -> Vec<String> {
        let events = self
            .world
            .admin
            .get("/v1/events?page_size=1000")
            .await
            .expect(200);
        let events = events["events"].as_array().unwrap().iter();
        let about = events.filter(|event| event["device"] == id);
        about
            .map(|event| event["actor"].as_str().unwrap().to_owned())
            .collect()
    }

    /// How many events there are about devices.
    pub(crate) async fn device_events(&self) -> usize {
        let events = self
            .world
            .admin
            .get("/v1/events?page_size=1000")
            .await
            .expect(200);
        let events = events["events"].as_array().unwrap().iter();
        events.filter(|event| event["device"].is_string()).count()
    }

    pub(crate) async fn change(&self, id: &str, action: &str) {
        let path = format!("/v1/devices/{id}/{action}");
        self.world.admin.post(&path, json!({})).await.expect(200);
    }
}

/// A device: its key, and its certificate once it has one.
pub(crate) struct Device {
    pub(crate) id: DeviceId,
    pub(crate) key: KeyPair,
    pub(crate) chain: String,
    pub(crate) fingerprint: Option<Fingerprint>,
}

impl Device {
    pub(crate) fn new(id: &str) -> Self {
        Self {
            id: DeviceId::parse(id).unwrap(),
            key: KeyPair::generate().unwrap(),
            chain: String::new(),
            fingerprint: None,
        }
    }

    pub(crate) fn common_name(&self) -> String {
        format!("device-{}.device.synadia.local", self.id)
    }

    /// A certificate request with the names of the device's certificate.
    pub(crate) fn csr(&self) -> String {
        csr_named(&self.key, &self.common_name(), Some(&self.common_name()))
    }

    pub(crate) async fn enrol(&self, bearer: &Api) -> Answer {
        let body = json!({ "id": self.id, "csr": self.csr() });
        bearer.post("/v1/enrol", body).await
    }

    /// Asks for a certificate with the one that it has, for the present key.
    pub(crate) async fn renew(&self, bench: &Bench) -> Answer {
        self.renew_to(bench, &self.key).await
    }

    /// The same for another key.
    pub(crate) async fn renew_to(&self, bench: &Bench, key: &KeyPair) -> Answer {
        let body = json!({ "csr": csr_of(key) });
        self.api(bench).post("/v1/renew", body).await
    }

    /// Takes an answer's certificate as its own.
    pub(crate) fn hold(&mut self, issued: &Value) {
        self.chain = issued["chain"].as_str().unwrap().to_owned();
        let fingerprint = issued["fingerprint"].as_str().unwrap();
        self.fingerprint = Some(fingerprint.parse().unwrap());
    }

    /// The device as a client.
    pub(crate) fn api(&self, bench: &Bench) -> Api {
        bench.presenting(&self.chain, &self.key.serialize_pem())
    }

    /// Its certificate alone (DER).
    pub(crate) fn certificate(&self) -> Vec<u8> {
        let blocks = pem::parse_many(&self.chain).unwrap();
        blocks[0].contents().to_vec()
    }
}
