//! For how long an older certificate counts beside a newer one.

use std::time::Duration;

use leafgate_identity::{DeviceId, Fingerprint, UnixMs};
use leafgate_registry::{CertificateStatus, CertificateStatusKind, EventKind};

use crate::faulty_store::Fault;
use crate::support::{Bench, NOW, act, act_at, id};

over_every_store!(
    older_certificates_count_until_the_newer_one_was_used,
    a_log_in_with_nothing_to_note_writes_nothing,
    without_overlap_older_certificates_end_at_once,
    many_first_log_ins_at_once_begin_one_overlap,
    a_log_in_noted_while_the_device_changes_is_noted_after_all,
);

const HOUR: Duration = Duration::from_secs(3600);

/// Issues a certificate so many hours after [`NOW`].
async fn issued(bench: &Bench, id: &DeviceId, hours: u32) -> Fingerprint {
    let act = act_at(hours_later(hours));
    let made = bench.registrar.issue_with_new_key(id, &act).await.unwrap();
    made.issued.fingerprint
}

fn hours_later(hours: u32) -> UnixMs {
    NOW.saturating_add(hours * HOUR)
}

async fn status(bench: &Bench, id: &DeviceId, fingerprint: &Fingerprint) -> CertificateStatus {
    let record = bench.record(id).await;
    record
        .certificate_by_fingerprint(fingerprint)
        .unwrap()
        .status
}

async fn older_certificates_count_until_the_newer_one_was_used(bench: Bench) {
    let id = bench.registered("0001").await;
    let registrar = &bench.registrar;
    let first = issued(&bench, &id, 0).await;
    let second = issued(&bench, &id, 1).await;
    let third = issued(&bench, &id, 2).await;
    for certificate in [&first, &second, &third] {
        assert_eq!(
            status(&bench, &id, certificate).await,
            CertificateStatus::Issued
        );
    }

    let noted = registrar
        .note_log_in(&id, &second, &act_at(hours_later(3)))
        .await
        .unwrap();
    assert_eq!(noted, Some(bench.record(&id).await));
    let until = |hours| CertificateStatus::Superseded {
        at: hours_later(hours),
    };
    assert_eq!(status(&bench, &id, &first).await, until(3 + 24));
    assert_eq!(
        status(&bench, &id, &second).await,
        CertificateStatus::Issued
    );
    assert_eq!(
        status(&bench, &id, &third).await,
        CertificateStatus::Issued,
        "not used yet"
    );
    let event = bench.events().await.pop().unwrap();
    assert_eq!(event.kind, EventKind::CertificateSuperseded);
    assert_eq!(event.detail["overlap_ends"], hours_later(27).to_string());

    registrar
        .note_log_in(&id, &third, &act_at(hours_later(4)))
        .await
        .unwrap();
    assert_eq!(
        status(&bench, &id, &first).await,
        until(3 + 24),
        "the first log-in counts"
    );
    assert_eq!(status(&bench, &id, &second).await, until(4 + 24));
}

async fn a_log_in_with_nothing_to_note_writes_nothing(bench: Bench) {
    let device = bench.registered("0001").await;
    let first = issued(&bench, &device, 0).await;
    let note = async |id: &DeviceId, fingerprint: &Fingerprint| {
        let noted = bench.registrar.note_log_in(id, fingerprint, &act()).await;
        noted.unwrap()
    };
    assert_eq!(note(&device, &first).await, None, "the only one");
    let second = issued(&bench, &device, 1).await;
    assert!(note(&device, &second).await.is_some());

    let before = bench.store.inner().position().await.unwrap();
    assert_eq!(note(&device, &second).await, None, "noted");
    assert_eq!(note(&device, &first).await, None, "the older one");
    let unknown = Fingerprint::from_bytes([9; 32]);
    assert_eq!(note(&device, &unknown).await, None);
    assert_eq!(note(&id("0002"), &second).await, None, "no such device");
    assert_eq!(bench.store.inner().position().await.unwrap(), before);
}

async fn without_overlap_older_certificates_end_at_once(bench: Bench) {
    let id = bench.registered("0001").await;
    let registrar = bench.registrar.clone().with_overlap(Duration::ZERO);
    let first = issued(&bench, &id, 0).await;
    let second = issued(&bench, &id, 1).await;
    let at = hours_later(1);
    registrar
        .note_log_in(&id, &second, &act_at(at))
        .await
        .unwrap();
    assert!(!status(&bench, &id, &first).await.admits(at));
    assert!(status(&bench, &id, &second).await.admits(at));
}

async fn many_first_log_ins_at_once_begin_one_overlap(bench: Bench) {
    let id = bench.registered("0001").await;
    let first = issued(&bench, &id, 0).await;
    let second = issued(&bench, &id, 1).await;
    let tasks: Vec<_> = (0..10)
        .map(|hours| {
            let (registrar, id) = (bench.restarted(), id.clone());
            let act = act_at(hours_later(hours));
            tokio::spawn(async move { registrar.note_log_in(&id, &second, &act).await })
        })
        .collect();
    let mut noted = 0;
    for task in tasks {
        noted += usize::from(task.await.unwrap().unwrap().is_some());
    }
    assert_eq!(noted, 1);
    assert_eq!(
        status(&bench, &id, &first).await.kind(),
        CertificateStatusKind::Superseded
    );
    let kinds = bench.event_kinds().await;
    let superseded = kinds
        .iter()
        .filter(|kind| *kind == "certificate-superseded");
    assert_eq!(superseded.count(), 1);
}

async fn a_log_in_noted_while_the_device_changes_is_noted_after_all(bench: Bench) {
    let id = bench.registered("0001").await;
    let first = issued(&bench, &id, 0).await;
    let second = issued(&bench, &id, 1).await;
    let (other, same) = (bench.restarted(), id.clone());
    bench.store.plan([Fault::preceded(move |_| async move {
        other.quarantine(&same, &act()).await.unwrap();
    })]);
    let noted = bench.registrar.note_log_in(&id, &second, &act()).await;
    assert_eq!(noted.unwrap(), Some(bench.record(&id).await));
    assert_eq!(
        status(&bench, &id, &first).await.kind(),
        CertificateStatusKind::Superseded
    );
}
