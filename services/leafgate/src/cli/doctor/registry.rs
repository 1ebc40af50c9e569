use leafgate_identity::UnixMs;
use leafgate_registrar::IssuerState;
use leafgate_runtime::Clock;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::report::Report;
use super::{Doctor, Issuers};
use crate::cli::registry::{Registry, RegistryApi};
use crate::cli::table::count;

/// Clocks that are further apart make new certificates invalid and log-ins fail by turns, in seconds.
const FAR_APART_SECS: u64 = 60;
/// The header Date has whole seconds, and an answer takes its time.
const APART_SECS: u64 = 5;

impl Doctor<'_> {
    /// Asks a registry for its issuers, by which it shows that it can be reached, accepts the key, and reads its store.
    pub(super) async fn check_registry(&mut self, registry: &RegistryApi, audit: bool) {
        let target = registry.name();
        let (list, date) = match registry.issuers_and_time().await {
            Ok(answer) => answer,
            Err(error) => {
                let remedy = error.hints().first().cloned();
                let remedy = remedy.unwrap_or_else(|| "its log says why".to_owned());
                return self
                    .report
                    .fail("registry", &target, error.message(), remedy);
            }
        };
        self.report
            .ok("registry", &target, "answers, and accepts the key");
        match date {
            None => {
                let remedy = "ask it without a proxy between";
                let detail = "it does not say what time it is";
                self.report.warn("clock", &target, detail, remedy);
            }
            Some(theirs) => {
                judge_clock(&mut self.report, &target, theirs, self.context.clock.now());
            }
        }
        let active = IssuerState::Active.as_str();
        let mut issuers = list.issuers.iter();
        let devices = issuers.find(|it| it.name == "devices" && it.state == active);
        self.issuers = devices.map(|devices| Issuers {
            root: list.root_certificate.clone(),
            devices: devices.certificate.clone(),
        });
        let named = list.issuers.iter().map(|it| it.certificate.as_str());
        for pem in [list.root_certificate.as_str()].into_iter().chain(named) {
            match CertificateDer::from_pem_slice(pem.as_bytes()) {
                Ok(der) => self.check_end("issuer", &target, &der),
                Err(error) => self.report.fail(
                    "issuer",
                    &target,
                    error.to_string(),
                    "is it a leafgate-registry?",
                ),
            }
        }
        if audit {
            match registry.verify_audit(Vec::new()).await {
                Ok(report) => {
                    let events = usize::try_from(report.events).unwrap_or(usize::MAX);
                    self.report.ok(
                        "audit",
                        &target,
                        format!("the chain of {} is whole", count(events, "event")),
                    );
                }
                Err(error) => {
                    let remedy = "keep a copy of the store, and see docs/registry.md";
                    self.report.fail("audit", &target, error.message(), remedy);
                }
            }
        }
    }
}

fn judge_clock(report: &mut Report, target: &str, theirs: UnixMs, now: UnixMs) {
    let apart = now.since(theirs).max(theirs.since(now)).as_secs();
    let detail = format!("its clock and this one are {apart} s apart");
    let remedy = "let both machines take their time from the network (NTP)";
    match apart {
        FAR_APART_SECS.. => report.fail("clock", target, detail, remedy),
        APART_SECS.. => report.warn("clock", target, detail, remedy),
        _ => report.ok("clock", target, detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::console::Style;

    #[test]
    fn clocks_are_compared_both_ways() {
        for (secs, word) in [
            (0, "ok"),
            (4, "ok"),
            (-4, "ok"),
            (5, "warn"),
            (-59, "warn"),
            (60, "fail"),
            (-86_400, "fail"),
        ] {
            let mut report = Report::default();
            let now = UnixMs::from_secs(1_800_000_000);
            let theirs = UnixMs::from_secs(1_800_000_000 + secs);
            judge_clock(&mut report, "https://r", theirs, now);
            let said = report.describe(Style::PLAIN);
            assert!(said.starts_with(word), "{secs}: {said}");
            let apart = format!("{} s apart", secs.abs());
            assert!(said.contains(&apart), "{said}");
        }
    }
}
