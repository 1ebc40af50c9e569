//! The load generator against the Go peer, through a real nats-server.

use std::io;
use std::path::Path;

use leafgate_loadtest::{Contender, DecideArgs, ScaleName, decide};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate lies in the repository")
}

#[tokio::test]
async fn the_peer_answers_every_request_rightly() {
    let mut args = DecideArgs::new(ScaleName::Small, root().to_owned());
    args.only = Some(Contender::Peer);
    let report = decide(&args, &mut io::sink()).await.unwrap();
    let loads: Vec<_> = report
        .rows
        .iter()
        .map(|row| (row.load.as_str(), row.xkey, row.leafgate.is_some()))
        .collect();
    assert_eq!(
        loads,
        [
            ("16 in flight", false, false),
            ("500/s", false, false),
            ("16 in flight", true, false),
            ("500/s", true, false),
        ]
    );
    for row in &report.rows {
        let peer = row.peer.unwrap();
        assert!(
            peer.cpu_us_per_decision > 0.0 && peer.rss_mib > 1.0,
            "{row:?}"
        );
        assert!(peer.p50_ms > 0.0 && peer.p50_ms <= peer.p99_ms, "{row:?}");
    }
}

/// A service that lets everybody in, say, must not get a figure.
#[tokio::test]
async fn a_peer_of_another_trust_domain_fails_the_run() {
    let mut args = DecideArgs::new(ScaleName::Small, root().to_owned());
    args.only = Some(Contender::Peer);
    args.peer_arg = vec![format!("-issuer-spki={}", "00".repeat(32))];
    let error = decide(&args, &mut io::sink()).await.unwrap_err();
    let text = format!("{error:#}");
    assert!(
        text.contains("wrong answers") && text.contains("issuer-unknown"),
        "{text}"
    );
}

#[tokio::test]
async fn a_service_that_can_not_start_is_told_with_its_log() {
    let mut args = DecideArgs::new(ScaleName::Small, root().to_owned());
    args.only = Some(Contender::Peer);
    args.peer_arg = vec!["-cn-pattern=nobody".to_owned()];
    let error = decide(&args, &mut io::sink()).await.unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains("-cn-pattern has no {id}"), "{text}");
}
