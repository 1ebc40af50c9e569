//! What a callout says of its decisions, in its log and in its metrics.

use std::collections::BTreeMap;

use leafgate::local::ServiceProcess;
use leafgate_processes::LogMark;

use super::{PATIENCE, eventually, metric};

/// Decisions so far: `allowed`, or the reason of a refusal.
pub type Counts = BTreeMap<String, u64>;

/// The decisions that a callout has counted.
pub async fn counts(callout: &ServiceProcess) -> Counts {
    let metrics = callout.get("/metrics").await.unwrap();
    let decisions = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("leafgate_callout_decisions_total{"));
    decisions
        .map(|line| {
            let (labels, count) = line.split_once("} ").unwrap();
            let decision = match labels.strip_prefix("outcome=\"denied\",reason=\"") {
                Some(reason) => reason.trim_end_matches('"'),
                None => "allowed",
            };
            (decision.to_owned(), count.parse().unwrap())
        })
        .collect()
}

/// Sees all that a callout decides from a moment on.
pub struct Witness {
    mark: LogMark,
    counts: Counts,
}

impl Witness {
    /// From now on.
    pub async fn begin(callout: &mut ServiceProcess) -> Self {
        Self {
            counts: counts(callout).await,
            mark: callout.child_mut().log().mark().unwrap(),
        }
    }

    /// Waits for the log to tell of as many decisions, and asserts that it tells of these and no
    /// others, in any order, and that the metrics agree: each is `allowed` or the reason of a
    /// refusal. Returns the lines.
    pub async fn saw(
        self,
        callout: &mut ServiceProcess,
        row: &str,
        expected: &[&str],
    ) -> Vec<String> {
        let log = callout.child_mut().log().clone();
        let lines = || -> Vec<String> {
            let text = log.since(self.mark).unwrap();
            let whole = text.rfind('\n').map_or("", |end| &text[..end]);
            let decisions = whole.lines().filter(|line| line.contains(" decision "));
            decisions.map(str::to_owned).collect()
        };
        let enough = callout
            .child_mut()
            .wait_until("its decisions in its log", PATIENCE, async || {
                Ok((lines().len() >= expected.len()).then_some(()))
            })
            .await;
        enough.unwrap_or_else(|error| panic!("{row}: {error}"));
        let lines = lines();
        let mut logged: Vec<&str> = lines.iter().map(|line| decision_of(line)).collect();
        logged.sort_unstable();
        let mut sorted = expected.to_vec();
        sorted.sort_unstable();
        assert_eq!(logged, sorted, "{row}: the log says\n{}", lines.join("\n"));

        let mut counted = self.counts;
        for decision in expected {
            *counted
                .get_mut(*decision)
                .unwrap_or_else(|| panic!("no metric for {decision}")) += 1;
        }
        assert_eq!(
            counts(callout).await,
            counted,
            "{row}: the metrics after {expected:?}"
        );
        lines
    }
}

/// What a gauge of the callout stands at.
pub async fn gauge(callout: &ServiceProcess, name: &str) -> i64 {
    let metrics = callout.get("/metrics").await.unwrap();
    metric(&metrics, &format!("leafgate_callout_{name}"))
}

/// Waits until the callout remembers so many sessions.
pub async fn sessions(callout: &ServiceProcess, expected: i64) {
    eventually(&format!("{expected} sessions"), async || {
        (gauge(callout, "sessions").await == expected).then_some(())
    })
    .await;
}

/// `allowed`, or the reason.
fn decision_of(line: &str) -> &str {
    let (_, decision) = line.split_once(" decision ").unwrap();
    match decision.strip_prefix("denied reason=") {
        Some(rest) => rest.split(' ').next().unwrap(),
        None => decision.split(' ').next().unwrap(),
    }
}
