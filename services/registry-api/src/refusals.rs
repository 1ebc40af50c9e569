use std::collections::BTreeMap;
use std::mem;
use std::sync::Mutex;
use std::time::Duration;

use leafgate_api::ProblemType;
use leafgate_registry::{Act, Actor};
use leafgate_runtime::Shutdown;

use crate::app::App;

/// How often what was refused enters the audit trail.
const EVERY: Duration = Duration::from_secs(60);
/// How many pairs of actor and reason are told apart between two events.
const PAIRS: usize = 1_024;
const SOMEBODY_ELSE: &str = "others";

/// What was refused since the last event about it, by actor and reason. One by one refusals are logged only: whoever
/// may not write the registry must not be able to fill it.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<BTreeMap<(String, String), u64>>);

impl Refusals {
    pub(crate) fn count(&self, actor: &str, reason: ProblemType) {
        let pair = (actor.to_owned(), reason.as_str().to_owned());
        add(&mut self.lock(), pair, 1);
    }

    fn take(&self) -> BTreeMap<(String, String), u64> {
        mem::take(&mut self.lock())
    }

    fn give_back(&self, counts: BTreeMap<(String, String), u64>) {
        let mut present = self.lock();
        for (pair, count) in counts {
            add(&mut present, pair, count);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<(String, String), u64>> {
        // Counts are whole after every step.
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn add(counts: &mut BTreeMap<(String, String), u64>, pair: (String, String), count: u64) {
    let is_further = counts.len() >= PAIRS && !counts.contains_key(&pair);
    let pair = match is_further {
        true => (SOMEBODY_ELSE.to_owned(), pair.1),
        false => pair,
    };
    *counts.entry(pair).or_default() += count;
}

/// Whom the audit trail names for what the service does on its own.
pub(crate) fn own_actor() -> Actor {
    Actor::parse("registry-api").expect("a plain name")
}

/// Whether a problem is about rights, so that it is counted.
pub(crate) fn is_refusal(problem: ProblemType) -> bool {
    matches!(
        problem,
        ProblemType::CredentialsInvalid
            | ProblemType::AttemptsTooMany
            | ProblemType::RoleInsufficient
            | ProblemType::ScopeExceeded
            | ProblemType::GrantExceeded
            | ProblemType::EnrolmentTokenInvalid
            | ProblemType::EnrolmentTokenEnded
            | ProblemType::EnrolmentRefused
            | ProblemType::CertificateRequired
            | ProblemType::RenewalRefused
            | ProblemType::ProxyUntrusted
    )
}

impl App {
    /// Brings refusals into the audit trail until `shutdown`, and then what is left.
    pub(crate) async fn record_refusals(&self, shutdown: Shutdown) {
        while shutdown
            .run_until_cancelled(tokio::time::sleep(EVERY))
            .await
            .is_some()
        {
            self.record_refusals_once().await;
        }
        self.record_refusals_once().await;
    }

    async fn record_refusals_once(&self) {
        let counts = self.refusals.take();
        let act = Act {
            actor: own_actor(),
            at: self.clock.now(),
        };
        if let Err(error) = self.registrar.record_refusals(&counts, &act).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "refused requests could not be recorded; they will be with the next"
            );
            self.refusals.give_back(counts);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As while the registry can't be written: what could not be recorded is counted on.
    #[test]
    fn counts_that_come_back_stay_bounded_and_none_is_lost() {
        let refusals = Refusals::default();
        let reason = ProblemType::CredentialsInvalid;
        for round in 0..3 {
            let unrecorded = refusals.take();
            for actor in 0..PAIRS + 10 {
                refusals.count(&format!("actor-{round}-{actor}"), reason);
            }
            refusals.give_back(unrecorded);
        }
        let counts = refusals.take();
        assert!(counts.len() <= PAIRS + 1, "{}", counts.len());
        let all: u64 = counts.values().sum();
        assert_eq!(all, 3 * (PAIRS as u64 + 10));
    }
}
