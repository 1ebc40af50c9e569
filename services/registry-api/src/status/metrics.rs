use std::fmt;
use std::sync::{Arc, PoisonError};

use leafgate_runtime::Clock;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::IssuerList;

/// What is counted of lists and answers. Labels are bounded: issuers and kinds of answers.
#[derive(Debug)]
pub(super) struct Metrics {
    lists: Family<List, Counter>,
    entries: Family<OfIssuer, Gauge>,
    answers: Family<Answer, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfIssuer {
    issuer: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct List {
    issuer: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    /// Empty where no answer was signed.
    issuer: String,
    status: &'static str,
}

impl Metrics {
    pub(super) fn register(
        registry: &mut Registry,
        issuers: IssuerList,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let registry = registry.sub_registry_with_prefix("leafgate_registry");
        let lists = Family::default();
        registry.register(
            "crl_builds",
            "Revocation lists made, by issuer and outcome",
            lists.clone(),
        );
        let entries = Family::default();
        registry.register(
            "crl_entries",
            "Certificates on the newest revocation list, by issuer",
            entries.clone(),
        );
        let answers = Family::default();
        registry.register(
            "ocsp_answers",
            "Certificates answered for by OCSP, and requests refused, by issuer and status",
            answers.clone(),
        );
        registry.register_collector(Box::new(Ages { issuers, clock }));
        Self {
            lists,
            entries,
            answers,
        }
    }

    pub(super) fn list_built(&self, issuer: &str, outcome: &'static str) {
        let issuer = issuer.to_owned();
        self.lists.get_or_create(&List { issuer, outcome }).inc();
    }

    pub(super) fn list_signed(&self, issuer: &str, entries: usize) {
        let issuer = issuer.to_owned();
        let entries = i64::try_from(entries).unwrap_or(i64::MAX);
        self.entries
            .get_or_create(&OfIssuer { issuer })
            .set(entries);
    }

    pub(super) fn answered(&self, issuer: &str, status: &'static str) {
        let issuer = issuer.to_owned();
        self.answers.get_or_create(&Answer { issuer, status }).inc();
    }
}

/// Tells the age of the lists that are served, at the moment it is asked.
struct Ages {
    issuers: IssuerList,
    clock: Arc<dyn Clock>,
}

impl Collector for Ages {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(
            "crl_age_seconds",
            "Time since the revocation list that is served was made, by issuer",
            None,
            MetricType::Gauge,
        )?;
        let now = self.clock.now();
        let issuers = self.issuers.read().unwrap_or_else(PoisonError::into_inner);
        for issuer in issuers.iter() {
            if let Some(list) = issuer.list() {
                let labels = OfIssuer {
                    issuer: issuer.label.clone(),
                };
                let age = now.since(list.this_update).as_secs_f64();
                metric.encode_family(&labels)?.encode_gauge(&age)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Ages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ages").finish_non_exhaustive()
    }
}
