use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use leafgate_identity::{
    CnPattern, SpkiHash, TrustDomain, TrustDomainName, TrustDomains, is_token,
    spki_hash_of_certificate_pem,
};
use leafgate_nats_config::Name;
use leafgate_nats_jwt::{CurveKey, KeyKind, SigningKey};
use leafgate_policy::{Constants, PolicySet, PolicySource};
use leafgate_runtime::{ReadSecretError, read_secret};

use crate::config::{Config, TrustDomainConfig};
use crate::connect::Login;

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

/// What is wrong with a configuration: everything that was found, not only the first.
#[derive(Debug, thiserror::Error)]
#[error("{}", list(.problems))]
pub struct SetUpError {
    problems: Vec<String>,
}

fn list(problems: &[String]) -> String {
    problems.join("\n")
}

impl SetUpError {
    /// The problems, each with its place and how to mend it.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

impl Setup {
    /// Loads all that `config` names.
    ///
    /// # Errors
    /// [`SetUpError`] with every problem.
    pub fn load(config: Config) -> Result<Self, SetUpError> {
        let mut problems = Problems::default();
        check_names(&config, &mut problems);
        let login = login(&config, &mut problems);
        let system_login = system_login(&config, login.as_ref(), &mut problems);
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
        match (login, issuer, trust) {
            (Some(login), Some(issuer), Some(trust)) if problems.0.is_empty() => Ok(Self {
                config,
                login,
                system_login,
                issuer,
                curve_key,
                trust,
            }),
            _ => Err(SetUpError {
                problems: problems.0,
            }),
        }
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
        warnings
    }
}

#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    /// Keeps the value, or the problem with its causes.
    fn note<T>(&mut self, place: &str, result: Result<T, Source>) -> Option<T> {
        result
            .map_err(|error| {
                let mut text = format!("{place}: {error}");
                let mut cause = error.source();
                while let Some(error) = cause {
                    text.push_str(&format!(": {error}"));
                    cause = error.source();
                }
                self.0.push(text);
            })
            .ok()
    }

    fn add(&mut self, problem: String) {
        self.0.push(problem);
    }
}

fn check_names(config: &Config, problems: &mut Problems) {
    if !is_token(&config.site) {
        problems.add(format!(
            "site: {:?} must be one subject token: A-Z a-z 0-9 _ -, with a letter or digit at \
             both ends",
            config.site
        ));
    }
    if config.nats.urls.is_empty() {
        problems.add("[nats] urls: at least one server is needed".to_owned());
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

fn login(config: &Config, problems: &mut Problems) -> Option<Login> {
    let nats = &config.nats;
    let certificate = match (&nats.cert_file, &nats.key_file) {
        (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
        (None, None) => None,
        _ => {
            problems.add("[nats] cert_file and key_file: give both or none".to_owned());
            None
        }
    };
    let replica = problems.note(
        "replica",
        Name::parse(&config.replica).map_err(Source::from),
    );
    let seed = problems.note("[nats] nkey_seed_file", user_seed(&nats.nkey_seed_file));
    let (replica, seed) = (replica?, seed?);
    Some(Login {
        urls: nats.urls.clone(),
        ca_file: nats.ca_file.clone(),
        certificate,
        nkey_seed: seed,
        replica,
    })
}

fn system_login(config: &Config, login: Option<&Login>, problems: &mut Problems) -> Option<Login> {
    let system = config.system.as_ref()?;
    let seed = problems.note("[system] nkey_seed_file", user_seed(&system.nkey_seed_file))?;
    let login = login?.clone();
    Some(Login {
        urls: system.urls.clone().unwrap_or(login.urls),
        nkey_seed: seed,
        ..login
    })
}

fn user_seed(path: &Path) -> Result<secrecy::SecretString, Source> {
    let seed = read_secret(path)?;
    SigningKey::from_seed_of(KeyKind::User, &seed)?;
    Ok(seed)
}

fn load_key<K, E: Into<Source>>(
    path: &Path,
    parse: impl FnOnce(&secrecy::SecretString) -> Result<K, E>,
) -> Result<K, Source> {
    let seed = read_secret(path).map_err(|error: ReadSecretError| Source::from(error))?;
    parse(&seed).map_err(Into::into)
}

fn load_trust(config: &Config, problems: &mut Problems) -> Option<Trust> {
    let mut domains = Vec::new();
    let mut policies = HashMap::new();
    for domain in &config.trust_domains {
        let place = format!("[[trust_domain]] {}", domain.name);
        let loaded = problems.note(&place, load_domain(domain));
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

fn load_domain(domain: &TrustDomainConfig) -> Result<TrustDomain, Source> {
    let issuers = domain.issuers.iter().map(|path| load_issuer(path));
    Ok(TrustDomain {
        name: TrustDomainName::parse(&domain.name)?,
        issuers: issuers.collect::<Result<_, _>>()?,
        cn_pattern: CnPattern::parse(&domain.cn_pattern)?,
        binding: domain.binding,
    })
}

fn load_issuer(path: &Path) -> Result<SpkiHash, Source> {
    let pem = read_text(path)?;
    spki_hash_of_certificate_pem(&pem)
        .map_err(|error| format!("issuer {}: {error}", path.display()).into())
}

fn load_policies(
    domain: &TrustDomainConfig,
    config: &Config,
    place: &str,
    problems: &mut Problems,
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

fn read_text(path: &Path) -> Result<String, ReadFileError> {
    fs::read_to_string(path).map_err(|source| ReadFileError {
        path: path.to_owned(),
        source,
    })
}

#[derive(Debug, thiserror::Error)]
#[error("can't read {}", path.display())]
struct ReadFileError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

#[cfg(test)]
mod tests;
