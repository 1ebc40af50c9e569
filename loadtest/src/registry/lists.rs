use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use leafgate_pki::{CrlReason, EmbeddedCa, Issuer as _, RevokedEntry};
use leafgate_runtime::{Clock as _, SystemClock};
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

use super::fill::serial_of;
use super::report::{Goal, RegistryRow};
use crate::figures::median;

/// How long a list of a million entries may take; a shorter one its part.
const MS_PER_MILLION: f64 = 1_000.0;

/// Builds and signs revocation lists of these lengths.
pub(super) async fn measure(
    clock: &SystemClock,
    issuer: &EmbeddedCa,
    lengths: &[usize],
    runs: usize,
) -> Result<Vec<RegistryRow>> {
    let mut rows = Vec::new();
    for length in lengths {
        let now = clock.now();
        let entries = (0..*length).map(|number| {
            Ok(RevokedEntry {
                serial: serial_of(&format!("unit-{number:07}"))?,
                revoked_at: now.saturating_sub(Duration::from_secs(number as u64 % 86_400)),
                reason: CrlReason::CessationOfOperation,
            })
        });
        let entries = entries.collect::<Result<Vec<_>>>()?;
        let next_update = now.saturating_add(Duration::from_secs(24 * 3600));
        let mut took_ms = Vec::new();
        for run in 0..=runs {
            let started = clock.monotonic();
            let list = issuer.sign_crl(&entries, 7, now, next_update).await?;
            let took = clock.monotonic() - started;
            ensure!(
                entries_of(&list)? == *length,
                "the list of {length} certificates has another number of entries"
            );
            // The first run makes room.
            if run > 0 {
                took_ms.push(took.as_secs_f64() * 1e3);
            }
        }
        rows.push(RegistryRow {
            store: None,
            what: format!("list of {length} revoked certificates, ms"),
            leafgate: median(took_ms.into_iter()).context("there is a run")?,
            beside: None,
            digits: 1,
            goal: Goal::AtMost(MS_PER_MILLION * *length as f64 / 1e6),
        });
    }
    Ok(rows)
}

/// How many certificates a list (DER) tells of.
pub(super) fn entries_of(list: &[u8]) -> Result<usize> {
    let (_, list) = CertificateRevocationList::from_der(list).context("a list can't be read")?;
    Ok(list.iter_revoked_certificates().count())
}
