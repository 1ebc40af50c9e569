use std::collections::HashMap;
use std::time::Duration;

use leafgate_identity::{SerialNumber, SpkiHash};
use leafgate_pki::CertStatus;
use leafgate_registrar::crl_reason;
use leafgate_registry::{CertificateStatus, DeviceStore, StoreError};
use tokio::sync::{mpsc, oneshot};

use super::within;

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
    /// Reads until nobody can ask any more, for so long at a time.
    pub(super) async fn read(
        mut self,
        store: &dyn DeviceStore,
        issuer: &SpkiHash,
        limit: Duration,
    ) {
        let mut asked = Vec::with_capacity(TOGETHER);
        while self.0.recv_many(&mut asked, TOGETHER).await > 0 {
            asked.retain(|it| !it.answer.is_closed());
            let mut serials: Vec<_> = asked.iter().map(|it| it.serial).collect();
            serials.sort_unstable();
            serials.dedup();
            let read = states(store, issuer, &serials, limit).await;
            for LookUp { serial, answer } in asked.drain(..) {
                let Some(status) = read.get(&serial) else {
                    continue;
                };
                // Who asked may have given up.
                let _ = answer.send(status.clone());
            }
        }
    }
}

type States = HashMap<SerialNumber, Result<CertStatus, StoreError>>;

async fn states(
    store: &dyn DeviceStore,
    issuer: &SpkiHash,
    serials: &[SerialNumber],
    limit: Duration,
) -> States {
    let mut states = read(store, issuer, serials, limit).await;
    // One that can't be read takes nothing from the others.
    if serials.len() > 1
        && let Some(Err(StoreError::Corrupt { .. })) = states.values().next()
    {
        for serial in serials {
            states.extend(read(store, issuer, &[*serial], limit).await);
        }
    }
    states
}

async fn read(
    store: &dyn DeviceStore,
    issuer: &SpkiHash,
    serials: &[SerialNumber],
    limit: Duration,
) -> States {
    if serials.is_empty() {
        return States::new();
    }
    let found = within(limit, store.certificates(issuer, serials)).await;
    let found = found.map(|certificates| -> HashMap<_, _> {
        let states = certificates.iter().map(|it| (it.serial, state(it.status)));
        states.collect()
    });
    let state = |serial| match &found {
        Ok(states) => Ok(states.get(serial).copied().unwrap_or(CertStatus::Unknown)),
        Err(error) => Err(error.clone()),
    };
    serials.iter().map(|it| (*it, state(it))).collect()
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
