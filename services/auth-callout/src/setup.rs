use std::collections::HashMap;
use std::path::Path;

use leafgate_identity::{TrustDomainName, TrustDomains, is_token};
use leafgate_nats_jwt::{CurveKey, KeyKind, SigningKey};
use leafgate_policy::{Constants, PolicySet, PolicySource, Sharing, prove};
use leafgate_runtime::{
    ReadSecretError, SetUpError, SetUpProblems, TrustDomainConfig, read_secret, read_text,
};
use leafgate_sessions::{Login, LoginFiles};

use crate::config::Config;
use crate::random;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// A configuration with everything it names loaded and checked: what `config check` proves, and
/// what a replica starts from.
#[derive(Debug)]
pub struct Setup {
    pub(crate) config: Config,
    pub(crate) login: Login,
    pub(crate) system_login: Option<Login>,
    pub(crate) issuer: SigningKey,
    pub(crate) curve_key: Option<CurveKey>,
    pub(crate) trust: Trust,
}

/// The trust domains and the policies of each.
#[derive(Debug)]
pub(crate) struct Trust {
    pub(crate) domains: TrustDomains,
    pub(crate) policies: HashMap<TrustDomainName, PolicySet>,
}

impl Setup {
    /// Loads all that `config` names.
    ///
    /// # Errors
    /// [`SetUpError`] with every problem.
    pub fn load(config: Config) -> Result<Self, SetUpError> {
        let mut problems = SetUpProblems::default();
        check_names(&config, &mut problems);
        let login = login(&config, &mut problems);
        let system = config.system.as_ref();
        let system_login = system.and_then(|system| system.login(login.as_ref(), &mut problems));
        let nats = &config.nats;
        let issuer = problems.note("[nats] issuer_seed_file", {
            load_key(&nats.issuer_seed_file, |seed| {
                SigningKey::from_seed_of(KeyKind::Account, seed)
            })
        });
        let curve_key = nats.xkey_seed_file.as_ref().and_then(|path| {
            problems.note("[nats] xkey_seed_file", load_key(path, CurveKey::from_seed))
        });
        let trust = load_trust(&config, &mut problems);
        let loaded = match (login, issuer, trust) {
            (Some(login), Some(issuer), Some(trust)) => Some(Self {
                config,
                login,
                system_login,
                issuer,
                curve_key,
                trust,
            }),
            _ => None,
        };
        problems.finish(loaded)
    }

    /// What works, but costs something that its operator should know.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.system_login.is_none() {
            warnings.push(
                "no [system] section: whoever may publish $SYS.REQ.USER.AUTH in the callout's \
                 account can pose as a server, and revoking a device does not end its live \
                 sessions"
                    .to_owned(),
            );
        }
        if self.curve_key.is_none() {
            warnings.push(
                "no xkey_seed_file: requests and answers cross the cluster in the clear".to_owned(),
            );
        }
        if self.config.nats.ca_file.is_none() {
            warnings.push(
                "[nats] has no ca_file: a connection to a nats:// URL is not encrypted, and for a \
                 tls:// URL every authority that this machine trusts may vouch"
                    .to_owned(),
            );
        }
        warnings.extend(undeclared_sharings(&self.trust));
        warnings
    }
}

/// What devices share that their policies don't declare, those of all trust domains proven together: domains may share
/// an account, and each set of policies alone says nothing of the others.
fn undeclared_sharings(trust: &Trust) -> Vec<String> {
    let domains = trust.domains.iter();
    let sets: Vec<&PolicySet> = domains
        .filter_map(|domain| trust.policies.get(&domain.name))
        .collect();
    let proof = prove(&sets);
    let undeclared = proof.sharings.iter().filter(|it| !it.is_declared());
    undeclared.map(undeclared_sharing).collect()
}

fn undeclared_sharing(sharing: &Sharing) -> String {
    let policies: Vec<String> = sharing
        .undeclared
        .iter()
        .map(|policy| format!("{:?} ({})", policy.name, policy.location))
        .collect();
    format!(
        "devices share {} in account {}, which the policies {} don't declare: `leafgate policy prove` says what one \
         can do to another; scope the policies, give trust domains accounts of their own, or declare it under `shared`",
        sharing.subject,
        sharing.account,
        policies.join(" and ")
    )
}

fn check_names(config: &Config, problems: &mut SetUpProblems) {
    if !is_token(&config.site) {
        problems.add(format!(
            "site: {:?} must be one subject token: A-Z a-z 0-9 _ -, with a letter or digit at \
             both ends",
            config.site
        ));
    }
    if config.trust_domains.is_empty() {
        problems.add("[[trust_domain]]: at least one is needed".to_owned());
    }
    if !(1..2_000).contains(&config.limits.deadline_ms) {
        problems.add(
            "[limits] deadline_ms: must be from 1 to 1999, such as 1200; nats-server's PING breaks \
             handshakes from 2000 ms on"
                .to_owned(),
        );
    }
    for (key, is_zero) in [
        ("waiting_requests", config.limits.waiting_requests == 0),
        ("concurrent_lookups", config.limits.concurrent_lookups == 0),
        ("cached_devices", config.limits.cached_devices == 0),
        ("sweep_secs", config.limits.sweep_secs == 0),
    ] {
        if is_zero {
            problems.add(format!("[limits] {key}: must be at least 1"));
        }
    }
}

fn login(config: &Config, problems: &mut SetUpProblems) -> Option<Login> {
    let nats = &config.nats;
    let files = LoginFiles {
        urls: &nats.urls,
        ca_file: nats.ca_file.as_deref(),
        cert_file: nats.cert_file.as_deref(),
        key_file: nats.key_file.as_deref(),
        nkey_seed_file: &nats.nkey_seed_file,
        replica: &config.replica,
    };
    Login::load(files, "leafgate-callout", random::fraction, problems)
}

fn load_key<K, E: Into<Source>>(
    path: &Path,
    parse: impl FnOnce(&secrecy::SecretString) -> Result<K, E>,
) -> Result<K, Source> {
    let seed = read_secret(path).map_err(|error: ReadSecretError| Source::from(error))?;
    parse(&seed).map_err(Into::into)
}

fn load_trust(config: &Config, problems: &mut SetUpProblems) -> Option<Trust> {
    let mut domains = Vec::new();
    let mut policies = HashMap::new();
    for domain in &config.trust_domains {
        let place = format!("[[trust_domain]] {}", domain.name);
        let loaded = problems.note(&place, domain.load());
        let set = load_policies(domain, config, &place, problems);
        if let (Some(loaded), Some(set)) = (loaded, set) {
            policies.insert(loaded.name.clone(), set);
            domains.push(loaded);
        }
    }
    if domains.len() < config.trust_domains.len() {
        return None;
    }
    let domains = TrustDomains::try_from(domains).map_err(Source::from);
    let domains = problems.note("[[trust_domain]]", domains)?;
    Some(Trust { domains, policies })
}

fn load_policies(
    domain: &TrustDomainConfig,
    config: &Config,
    place: &str,
    problems: &mut SetUpProblems,
) -> Option<PolicySet> {
    let mut sources = Vec::new();
    for path in &domain.policies {
        let text = problems.note(place, read_text(path).map_err(Source::from))?;
        sources.push(PolicySource {
            name: path.display().to_string(),
            text,
        });
    }
    let constants = Constants {
        prefix: config.subject_prefix.clone(),
        ..Constants::default()
    };
    let loaded = PolicySet::load(&sources, &constants).map_err(Source::from);
    problems.note(place, loaded)
}

#[cfg(test)]
mod tests;
