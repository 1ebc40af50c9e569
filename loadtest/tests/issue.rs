//! Signing certificate requests by a real Vault.

use std::io;

use leafgate_loadtest::{IssueArgs, IssueContender, ScaleName, issue};

/// That each certificate is the one asked for is checked by the run itself.
#[tokio::test]
async fn vault_signs_every_request_rightly() {
    let mut args = IssueArgs::new(ScaleName::Small);
    args.only = Some(IssueContender::Vault);
    let report = issue(&args, &mut io::sink()).await.unwrap();
    let loads: Vec<_> = report
        .rows
        .iter()
        .map(|row| (row.connections, row.requests))
        .collect();
    assert_eq!(loads, [(16, 200)]);
    for row in &report.rows {
        let vault = row.vault.unwrap();
        assert!(vault.cpu_us > 0.0 && vault.rss_mib > 1.0, "{vault:?}");
        assert!(
            vault.p50_ms > 0.0 && vault.p50_ms <= vault.p99_ms,
            "{vault:?}"
        );
        assert!(row.leafgate.is_none() && row.ratio().is_none(), "{row:?}");
    }
}

#[tokio::test]
async fn a_registry_that_is_not_built_is_told() {
    let mut args = IssueArgs::new(ScaleName::Small);
    args.registry_bin = Some("/nowhere/leafgate-registry".into());
    let error = issue(&args, &mut io::sink()).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("no leafgate-registry at /nowhere"),
        "{error:#}"
    );
}
