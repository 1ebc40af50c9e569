use std::path::PathBuf;

use leafgate_identity::Binding;
use leafgate_runtime::StoreConfig;
use serde::Serialize;

use super::TrustDomainOptions;

/// `[[trust_domain]]`, as the configurations of both services have it.
#[derive(Serialize)]
pub(super) struct TrustDomainSection<'a> {
    name: &'a str,
    issuers: Vec<&'a PathBuf>,
    cn_pattern: &'a str,
    binding: Binding,
    policies: &'a [PathBuf],
}

impl<'a> TrustDomainSection<'a> {
    /// One section for all domains of one name.
    pub(super) fn of(domains: &'a [TrustDomainOptions], policies: &'a [PathBuf]) -> Vec<Self> {
        let mut sections: Vec<Self> = Vec::new();
        for domain in domains {
            match sections.iter_mut().find(|known| known.name == domain.name) {
                Some(known) => known.issuers.push(&domain.issuer),
                None => sections.push(Self {
                    name: &domain.name,
                    issuers: vec![&domain.issuer],
                    cn_pattern: &domain.cn_pattern,
                    binding: domain.binding,
                    policies,
                }),
            }
        }
        sections
    }
}

/// `[store]`
#[derive(Serialize)]
pub(super) struct StoreSection<'a> {
    url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    password_file: Option<&'a PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_file: Option<&'a PathBuf>,
}

impl<'a> StoreSection<'a> {
    pub(super) fn of(config: &'a StoreConfig) -> Self {
        Self {
            url: &config.url,
            password_file: config.password_file.as_ref(),
            ca_file: config.ca_file.as_ref(),
        }
    }
}
