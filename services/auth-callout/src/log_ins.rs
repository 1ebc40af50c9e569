use std::time::Duration;

use async_nats::Client;
use leafgate_identity::DeviceIdentity;
use leafgate_nats_config::subjects::LOG_IN;
use leafgate_runtime::Shutdown;
use leafgate_sessions::LogIn;
use quick_cache::sync::Cache;
use tokio::sync::mpsc;

/// Log-ins that may wait to be told of; more are not told of, and repeated by the next log-in.
const WAITING: usize = 1024;

/// Log-ins that are remembered as told of.
const REMEMBERED: usize = 10_000;

/// A log-in that was told of is not told of again for this long. The registry answers by an event
/// that changes the device's record, and then there is nothing left to tell.
const REPEAT_AFTER: Duration = Duration::from_secs(30);

/// Tells the registry of log-ins with a certificate that takes the place of older ones.
pub(crate) struct LogIns {
    waiting: mpsc::Sender<LogIn>,
    /// When each was told of last, by the monotonic clock.
    told: Cache<LogIn, Duration>,
}

impl LogIns {
    pub(crate) fn new() -> (Self, mpsc::Receiver<LogIn>) {
        let (waiting, queue) = mpsc::channel(WAITING);
        let told = Cache::new(REMEMBERED);
        (Self { waiting, told }, queue)
    }

    /// Has the registry told, without waiting for anything. `now` is of the monotonic clock.
    pub(crate) fn tell(&self, identity: &DeviceIdentity, now: Duration) {
        let log_in = LogIn {
            device_id: identity.id.clone(),
            fingerprint: identity.fingerprint,
        };
        let told = self.told.get(&log_in);
        if told.is_some_and(|told| now.saturating_sub(told) < REPEAT_AFTER) {
            return;
        }
        if self.waiting.try_send(log_in.clone()).is_ok() {
            self.told.insert(log_in, now);
        }
    }
}

/// Sends what is to be told.
pub(crate) async fn send_log_ins(
    mut queue: mpsc::Receiver<LogIn>,
    client: Client,
    shutdown: Shutdown,
) {
    loop {
        let log_in = tokio::select! {
            () = shutdown.cancelled() => return,
            log_in = queue.recv() => log_in,
        };
        let Some(log_in) = log_in else { return };
        let body = serde_json::to_vec(&log_in).expect("strings always serialise");
        if let Err(error) = client.publish(LOG_IN, body.into()).await {
            tracing::warn!(%error, "the registry could not be told of a log-in");
        }
    }
}

#[cfg(test)]
mod tests {
    use leafgate_identity::{DeviceId, Fingerprint, SpkiHash, TrustDomainName, UnixMs, Validity};

    use super::*;

    fn identity(id: &str, certificate: u8) -> DeviceIdentity {
        DeviceIdentity {
            domain: TrustDomainName::parse("default").unwrap(),
            id: DeviceId::parse(id).unwrap(),
            serial: "01".parse().unwrap(),
            fingerprint: Fingerprint::of_certificate_der(&[certificate]),
            issuer: SpkiHash::of_spki_der(b"issuer"),
            validity: Validity {
                not_before: UnixMs::from_secs(0),
                not_after: UnixMs::from_secs(1),
            },
        }
    }

    #[test]
    fn each_certificate_of_a_device_is_told_of_once_in_a_while() {
        let (log_ins, mut queue) = LogIns::new();
        let mut told = |id: &str, certificate, secs| {
            log_ins.tell(&identity(id, certificate), Duration::from_secs(secs));
            queue.try_recv().is_ok()
        };
        assert!(told("1", 1, 0));
        assert!(!told("1", 1, 29));
        assert!(told("1", 2, 29) && told("2", 1, 29));
        assert!(told("1", 1, 30));
    }

    #[test]
    fn what_finds_no_room_is_told_of_by_the_next_log_in() {
        let (log_ins, mut queue) = LogIns::new();
        let tell = |number: usize| log_ins.tell(&identity(&number.to_string(), 1), Duration::ZERO);
        (0..=WAITING).for_each(tell);
        let told = std::iter::from_fn(|| queue.try_recv().ok()).count();
        assert_eq!(told, WAITING);
        tell(WAITING);
        assert!(queue.try_recv().is_ok());
    }
}
