//! Clocks that disagree: the callout runs under Debian's faketime with its wall clock shifted and
//! its monotonic clock left alone.

use std::fs;
use std::path::PathBuf;

use leafgate_identity::UnixMs;

use crate::support::bench::{Bench, BenchOptions};
use crate::support::decisions::{Witness, gauge};
use crate::support::{TestSite, act, options};

/// Where Debian's package libfaketime puts what `faketime` preloads, for programs with threads.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// What `faketime -f` sets, for a process whose wall clock is so many seconds ahead.
fn wall_clock(ahead_secs: i64) -> Vec<(String, String)> {
    let library = find_library();
    [
        ("LD_PRELOAD", library.to_str().unwrap()),
        ("FAKETIME", &format!("{ahead_secs:+}s")),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

fn find_library() -> PathBuf {
    let architectures = fs::read_dir("/usr/lib").unwrap();
    architectures
        .map(|entry| entry.unwrap().path().join(LIBRARY))
        .find(|library| library.is_file())
        .unwrap_or_else(|| {
            panic!("no /usr/lib/*/{LIBRARY}; install faketime: scripts/install-test-tools.sh")
        })
}

#[tokio::test]
async fn a_callout_45_s_ahead_of_its_servers_lets_devices_in() {
    logs_in(45).await;
}

#[tokio::test]
async fn a_callout_45_s_behind_its_servers_lets_devices_in() {
    logs_in(-45).await;
}

async fn logs_in(ahead_secs: i64) {
    let mut options = options();
    options.callout.environment = wall_clock(ahead_secs);
    let mut site = TestSite::start(&options).await;
    site.register("0001").await;
    let witness = Witness::begin(&mut site.site.callouts()[0]).await;
    site.log_in("0001").await.unwrap();
    let callout = &mut site.site.callouts()[0];
    let lines = witness.saw(callout, "a good device", &["allowed"]).await;
    assert!(lines[0].contains("device=0001"), "{}", lines[0]);
    assert_ahead(&lines[0], ahead_secs);
    let skew_secs = gauge(callout, "clock_skew_seconds").await;
    assert!(
        (skew_secs - ahead_secs).abs() < 10,
        "{skew_secs} s instead of {ahead_secs} s"
    );
}

#[tokio::test]
async fn to_a_callout_10_min_ahead_requests_have_expired() {
    refuses(600, "request-expired").await;
}

#[tokio::test]
async fn a_callout_10_min_behind_takes_requests_for_made_in_the_future() {
    refuses(-600, "clock-skew").await;
}

/// On a server without TLS: the certificates of servers are not valid everywhere in such times.
async fn refuses(ahead_secs: i64, reason: &str) {
    let options = BenchOptions {
        environment: wall_clock(ahead_secs),
        ..BenchOptions::default()
    };
    let mut bench = Bench::start(options).await;
    let witness = Witness::begin(&mut bench.callout).await;
    bench.send(&bench.message(&bench.good_claims())).await;
    let lines = witness
        .saw(&mut bench.callout, "a good request", &[reason])
        .await;
    assert_ahead(&lines[0], ahead_secs);
}

/// The line's own time shows that faketime was at work.
fn assert_ahead(line: &str, ahead_secs: i64) {
    let (time, _) = line.split_once(' ').unwrap();
    let time: UnixMs = time.parse().unwrap();
    let off_ms = time.as_i64() - act().at.as_i64() - ahead_secs * 1_000;
    assert!(
        off_ms.abs() < 10_000,
        "{off_ms} ms beside {ahead_secs} s: {line}"
    );
}
