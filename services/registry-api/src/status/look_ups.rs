use std::collections::HashMap;
use std::time::Duration;

use leafgate_identity::{SerialNumber, SpkiHash};
use leafgate_pki::CertStatus;
use leafgate_registrar::crl_reason;
use leafgate_registry::{CertificateStatus, DeviceStore, StoreError};
use tokio::sync::{mpsc, oneshot};

use super::within;

/// How long reading may take before whoever asks is told to try later.
pub(super) const LOOK_UP_LIMIT: Duration = Duration::from_secs(2);
/// How many certificates are read at once.
const TOGETHER: usize = 256;
/// How many may wait to be read; who asks for more waits before.
const WAITING: usize = 1_024;

/// Where the states of one issuer's certificates are asked for. Those that are asked for while others are read are read
/// together: a store takes hardly longer for many than for one.
pub(super) struct LookUps(mpsc::Sender<LookUp>);

/// What answers [`LookUps`].
pub(super) struct Reader(mpsc::Receiver<LookUp>);

struct LookUp {
    serial: SerialNumber,
    answer: oneshot::Sender<Result<CertStatus, StoreError>>,
}

impl LookUps {
    pub(super) fn new() -> (Self, Reader) {
        let (asking, asked) = mpsc::channel(WAITING);
        (Self(asking), Reader(asked))
    }

    /// The state of a certificate; `None` when nobody reads any more.
    pub(super) async fn status(
        &self,
        serial: SerialNumber,
    ) -> Option<Result<CertStatus, StoreError>> {
        let (answer, answered) = oneshot::channel();
        self.0.send(LookUp { serial, answer }).await.ok()?;
        answered.await.ok()
    }
}

impl Reader {
    /// Reads until nobody can ask any more.
    pub(super) async fn read(mut self, store: &dyn DeviceStore, issuer: &SpkiHash) {
        let mut asked = Vec::with_capacity(TOGETHER);
        while self.0.recv_many(&mut asked, TOGETHER).await > 0 {
            asked.retain(|it| !it.answer.is_closed());
            let mut serials: Vec<_> = asked.iter().map(|it| it.serial).collect();
            serials.sort_unstable();
            serials.dedup();
            let read = match &serials[..] {
                [] => continue,
                serials => states(store, issuer, serials).await,
            };
            for LookUp { serial, answer } in asked.drain(..) {
                let status = read.as_ref().map(|states| {
                    let known = states.get(&serial);
                    known.copied().unwrap_or(CertStatus::Unknown)
                });
                // Who asked may have given up.
                let _ = answer.send(status.map_err(Clone::clone));
            }
        }
    }
}

async fn states(
    store: &dyn DeviceStore,
    issuer: &SpkiHash,
    serials: &[SerialNumber],
) -> Result<HashMap<SerialNumber, CertStatus>, StoreError> {
    let certificates = within(LOOK_UP_LIMIT, store.certificates(issuer, serials)).await?;
    let states = certificates
        .iter()
        .map(|certificate| (certificate.serial, state(certificate.status)));
    Ok(states.collect())
}

fn state(status: CertificateStatus) -> CertStatus {
    match status {
        // One that is only prepared was handed to nobody.
        CertificateStatus::Prepared => CertStatus::Unknown,
        CertificateStatus::Issued | CertificateStatus::Superseded { .. } => CertStatus::Good,
        CertificateStatus::Revoked { at, reason } => CertStatus::Revoked {
            at,
            reason: crl_reason(reason),
        },
    }
}
