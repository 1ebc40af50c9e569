use leafgate_api::{AuditReport, Restore};
use leafgate_registrar::{Checkpoint, VerifyAuditError, verify_audit_against};
use leafgate_registry::{DeviceStore, FeedPosition};

/// What the chain of events is found to be.
pub(super) async fn verify(
    store: &dyn DeviceStore,
    checkpoints: Vec<Checkpoint>,
) -> Result<AuditReport, VerifyAuditError> {
    let report = verify_audit_against(store, checkpoints).await?;
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let position = FeedPosition {
        epoch: report.epoch,
        seq: report.head.seq,
        hash: report.head.hash,
    };
    let restores = report.restores.iter().map(|restore| Restore {
        seq: restore.seq,
        at: restore.at,
        lost_checkpoints: number(restore.lost_checkpoints),
    });
    Ok(AuditReport {
        checkpoints: number(report.checkpoints),
        restores: restores.collect(),
        ..AuditReport::intact(&position)
    })
}
