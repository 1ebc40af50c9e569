//! The load scenarios at a small scale: every answer must be right; nothing is timed.

use leafgate_loadtest::{Contender, DecideArgs, ScaleName, decide};

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
