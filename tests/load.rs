//! The load scenarios at a small scale: every answer must be right; nothing is timed.

use leafgate_loadtest::{
    Contender, DecideArgs, IssueArgs, IssueContender, RegistryArgs, ScaleName, StoreName, decide,
    issue, registry,
};

use crate::support::{machine, project};

#[tokio::test(flavor = "multi_thread")]
async fn every_decision_under_load_is_right() {
    let _machine = machine().await;
    let mut arguments = DecideArgs::new(ScaleName::Small, project());
    arguments.callout_bin = Some(env!("CARGO_BIN_EXE_leafgate-callout").into());
    arguments.only = Some(Contender::Leafgate);
    let report = decide(&arguments, &mut std::io::sink()).await.unwrap();
    assert!(!report.rows.is_empty());
}

/// That the certificates are those asked for, and in the registry, is checked by the run itself.
#[tokio::test(flavor = "multi_thread")]
async fn every_certificate_under_load_is_right() {
    let _machine = machine().await;
    let mut arguments = IssueArgs::new(ScaleName::Small);
    arguments.registry_bin = Some(env!("CARGO_BIN_EXE_leafgate-registry").into());
    arguments.only = Some(IssueContender::Leafgate);
    let report = issue(&arguments, &mut std::io::sink()).await.unwrap();
    for row in &report.rows {
        let figures = row.leafgate.unwrap();
        assert!(
            figures.database_cpu_us > 0.0 && figures.cpu_us > 0.0,
            "{figures:?}"
        );
        assert!(
            figures.p50_ms > 0.0 && figures.p50_ms <= figures.p99_ms,
            "{figures:?}"
        );
        assert!(row.vault.is_none() && row.ratio().is_none(), "{row:?}");
    }
    assert!(!report.rows.is_empty());
}

/// That everything is found, listed and told as it is recorded is checked by the run itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_registry_answers_rightly() {
    let _machine = machine().await;
    let mut arguments = RegistryArgs::new(ScaleName::Small);
    arguments.registry_bin = Some(env!("CARGO_BIN_EXE_leafgate-registry").into());
    let report = registry(&arguments, &mut std::io::sink()).await.unwrap();
    for store in StoreName::ALL {
        let of_store: Vec<_> = report
            .rows
            .iter()
            .filter(|row| row.store == Some(store))
            .collect();
        for subject in ["import", "log-in", "prefix", "OCSP", "revocation"] {
            assert!(
                of_store.iter().any(|row| row.what.contains(subject)),
                "{store}: nothing about {subject}: {of_store:?}"
            );
        }
        assert!(
            of_store.iter().all(|row| row.leafgate >= 0.0),
            "{of_store:?}"
        );
    }
}
