use std::collections::HashMap;
use std::path::Path;

use leafgate_identity::{TrustDomainName, TrustDomains, is_token};
use leafgate_pki::StatusUrl;
use leafgate_policy::{Constants, PolicySet, PolicySource};
use leafgate_runtime::{SetUpError, SetUpProblems, TrustDomainConfig, read_text};

use crate::checkpoints::CheckpointSetup;
use crate::clients::ClientCertificates;
use crate::config::{
    CertificatesConfig, Config, LimitsConfig, PolicyConfig, ProxiedConfig, StatusConfig,
};
use crate::listener::TlsFiles;
use crate::nats::Logins;
use crate::oidc::OidcVerifier;
use crate::renewal::DeviceIssuers;

/// The most connections, requests and streams that a limit may let in at a time.
const MOST_AT_A_TIME: usize = 1_000_000;

/// A configuration with everything it names loaded and checked, but for the store and the issuers.
#[derive(Debug)]
pub struct Setup {
    pub(crate) config: Config,
    pub(crate) domains: TrustDomains,
    pub(crate) device_issuers: DeviceIssuers,
    pub(crate) policies: Option<Policies>,
    pub(crate) tls: TlsFiles,
    pub(crate) nats: Option<Logins>,
    pub(crate) oidc: Option<OidcVerifier>,
    pub(crate) checkpoints: Option<CheckpointSetup>,
    pub(crate) clients: Option<ClientCertificates>,
}

/// What the callout decides by.
#[derive(Debug)]
pub(crate) struct Policies {
    pub(crate) site: String,
    pub(crate) of_domain: HashMap<TrustDomainName, PolicySet>,
}

impl Setup {
    /// Loads all that `config` names.
    ///
    /// # Errors
    /// [`SetUpError`] with every problem.
    pub fn load(config: Config) -> Result<Self, SetUpError> {
        let mut problems = SetUpProblems::default();
        check_limits(&config.limits, &mut problems);
        check_certificates(&config.certificates, &mut problems);
        check_status(&config.status, &mut problems);
        check_proxied(config.http.proxied.as_ref(), &mut problems);
        let domains = load_domains(&config, &mut problems);
        let issuers = domains.as_ref().and_then(|_| {
            let issuers = DeviceIssuers::load(&config.trust_domains).map_err(Into::into);
            problems.note("[[trust_domain]] issuers", issuers)
        });
        let policies = config
            .policy
            .as_ref()
            .map(|policy| load_policies(policy, &config, &mut problems));
        let nats = Logins::load(&config, &mut problems);
        let oidc = config.oidc.as_ref();
        let oidc = oidc.and_then(|oidc| OidcVerifier::load(oidc, &mut problems));
        let clients = domains
            .as_ref()
            .and_then(|domains| ClientCertificates::load(&config, domains, &mut problems));
        let audit = config.audit.as_ref();
        let checkpoints = audit.and_then(|audit| CheckpointSetup::load(audit, &mut problems));
        let tls = TlsFiles::open(&config.http.cert_file, &config.http.key_file);
        let tls = problems.note("[http] cert_file and key_file", tls.map_err(Into::into));
        let loaded = domains
            .zip(issuers)
            .zip(tls)
            .map(|((domains, device_issuers), tls)| Self {
                config,
                domains,
                device_issuers,
                policies,
                tls,
                nats,
                oidc,
                checkpoints,
                clients,
            });
        problems.finish(loaded)
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }
}

fn check_limits(limits: &LimitsConfig, problems: &mut SetUpProblems) {
    for (key, number) in [
        ("connections", limits.connections),
        ("requests", limits.requests),
        ("event_streams", limits.event_streams),
        ("bulk_requests", limits.bulk_requests),
    ] {
        if !(1..=MOST_AT_A_TIME).contains(&number) {
            problems.add(format!(
                "[limits] {key}: must be at least 1 and at most {MOST_AT_A_TIME}"
            ));
        }
    }
    for (key, secs) in [
        ("header_timeout_secs", limits.header_timeout_secs),
        ("body_timeout_secs", limits.body_timeout_secs),
    ] {
        if secs == 0 {
            problems.add(format!("[limits] {key}: must be at least 1"));
        }
    }
}

fn check_certificates(certificates: &CertificatesConfig, problems: &mut SetUpProblems) {
    for (key, number) in [
        ("max_in_use", certificates.max_in_use),
        ("max_per_day", certificates.max_per_day),
    ] {
        if number == 0 {
            problems.add(format!("[certificates] {key}: must be at least 1"));
        }
    }
}

fn check_status(status: &StatusConfig, problems: &mut SetUpProblems) {
    for (key, secs) in [
        ("crl_lifetime_secs", status.crl_lifetime_secs),
        ("ocsp_lifetime_secs", status.ocsp_lifetime_secs),
    ] {
        if secs < 60 {
            problems.add(format!("[status] {key}: must be at least 60"));
        }
    }
    if let Some(url) = &status.url {
        problems.note("[status] url", StatusUrl::parse(url).map_err(Into::into));
    }
}

fn check_proxied(proxied: Option<&ProxiedConfig>, problems: &mut SetUpProblems) {
    if proxied.is_some_and(|proxied| proxied.trusted_proxies.is_empty()) {
        problems
            .add("[http.proxied] trusted_proxies: name the networks that the proxies connect from");
    }
}

fn load_domains(config: &Config, problems: &mut SetUpProblems) -> Option<TrustDomains> {
    let mut domains = Vec::new();
    for domain in &config.trust_domains {
        domains.extend(problems.note(&place_of(domain), domain.load()));
    }
    if domains.len() < config.trust_domains.len() {
        return None;
    }
    let domains = TrustDomains::try_from(domains).map_err(Into::into);
    problems.note("[[trust_domain]]", domains)
}

fn load_policies(policy: &PolicyConfig, config: &Config, problems: &mut SetUpProblems) -> Policies {
    if !is_token(&policy.site) {
        problems.add(format!(
            "[policy] site: {:?} must be one subject token: A-Z a-z 0-9 _ -, with a letter or digit at both ends",
            policy.site
        ));
    }
    let constants = Constants {
        prefix: config.subject_prefix.clone(),
        ..Constants::default()
    };
    let mut of_domain = HashMap::new();
    for domain in &config.trust_domains {
        let place = place_of(domain);
        let sources = domain.policies.iter().map(|path| source(path));
        let loaded = sources
            .collect::<Result<Vec<_>, _>>()
            .and_then(|sources| Ok(PolicySet::load(&sources, &constants)?));
        let set = problems.note(&place, loaded);
        // A name that is none is told of where the domains are loaded.
        of_domain.extend(TrustDomainName::parse(&domain.name).ok().zip(set));
    }
    Policies {
        site: policy.site.clone(),
        of_domain,
    }
}

fn source(path: &Path) -> Result<PolicySource, Box<dyn std::error::Error + Send + Sync>> {
    Ok(PolicySource::new(path, read_text(path)?))
}

fn place_of(domain: &TrustDomainConfig) -> String {
    format!("[[trust_domain]] {}", domain.name)
}
