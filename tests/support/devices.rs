//! Devices by the dozen, and what they try.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_nats::{Client, ConnectOptions};
use futures::{StreamExt, stream};
use leafgate::local::{Credentials, Device, LocalKeys, LogInError};
use leafgate_runtime::read_secret;
use secrecy::ExposeSecret;

use super::{PATIENCE, TestSite};

/// Registrations under way at once: the registry groups what waits into one transaction.
const REGISTRATIONS: usize = 16;

/// Revocations under way at once.
const REVOCATIONS: usize = 20;

/// Where devices log in and with which files, apart from the site, so that tests can act on the
/// site meanwhile.
#[derive(Debug, Clone)]
pub struct Door {
    url: String,
    devices: PathBuf,
}

impl Door {
    pub async fn log_in(&self, id: &str) -> Result<Device, LogInError> {
        Device::log_in(&self.url, id, &Credentials::in_folder(&self.devices, id)).await
    }
}

impl TestSite {
    /// The first server of the leaf cluster.
    pub fn door(&self) -> Door {
        Door {
            url: self.url.clone(),
            devices: self.devices.clone(),
        }
    }

    /// Any server of the leaf cluster.
    pub fn door_of(&mut self, ordinal: usize) -> Door {
        Door {
            url: format!("tls://{}", self.site.leaves()[ordinal].ports().client),
            ..self.door()
        }
    }

    /// Registers `count` active devices, `PREFIX-0000` and so on.
    pub async fn register_many(&self, prefix: &str, count: usize) -> Vec<String> {
        let ids: Vec<String> = (0..count).map(|n| format!("{prefix}-{n:04}")).collect();
        let registering = stream::iter(&ids).map(|id| self.register(id));
        registering
            .buffer_unordered(REGISTRATIONS)
            .collect::<Vec<_>>()
            .await;
        ids
    }

    /// Revokes these devices, `REVOCATIONS` at once.
    pub async fn revoke_many(&self, ids: &[String]) {
        let revocations = stream::iter(ids).map(|id| self.revoke(id));
        revocations
            .buffer_unordered(REVOCATIONS)
            .collect::<Vec<()>>()
            .await;
    }

    /// An application of the hub.
    pub async fn application(&self, seed: &str, inbox_prefix: &str) -> Client {
        let keys = LocalKeys::in_folder(&self.site.dir().keys());
        let endpoints = self.site.endpoints();
        let seed = read_secret(&keys.path(seed)).unwrap();
        ConnectOptions::with_nkey(seed.expose_secret().to_owned())
            .add_root_certificates(endpoints.ca_file)
            .require_tls(true)
            .custom_inbox_prefix(inbox_prefix)
            .connect(&endpoints.hub_url)
            .await
            .unwrap()
    }
}

/// Waits until the server answers this device as one that is logged in: it refuses a subject that
/// no device may publish on. nats-server's first PING comes after 2 s even to a client whose log-in
/// is still undecided, and the client then believes that it is in.
pub async fn confirm(device: &mut Device) {
    let started = Instant::now();
    loop {
        device
            .client
            .publish("nobody.may", "".into())
            .await
            .unwrap();
        device.client.flush().await.unwrap();
        if device.refusal(Duration::from_millis(300)).await.is_ok() {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "a device is not answered");
    }
}

/// How often the device has been connected, its first log-in included.
pub fn connects(device: &Device) -> u64 {
    device.client.statistics().connects.load(Ordering::Relaxed)
}

/// Logs in once and again if that fails, as a device's client would.
pub async fn log_in_with_retry(door: &Door, id: &str) -> Device {
    let mut device = match door.log_in(id).await {
        Ok(device) => device,
        Err(first) => match door.log_in(id).await {
            Ok(device) => device,
            Err(second) => panic!("{id} stays out: {first:?}, then {second:?}"),
        },
    };
    confirm(&mut device).await;
    device
}
