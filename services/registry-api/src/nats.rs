//! What the registry does over NATS: it hears of log-ins, finds and ends sessions, and renews the certificates of
//! devices that reach nothing else.

mod log_ins;
mod renewals;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use async_nats::connection::State;
use leafgate_nats_config::{ParseInputError, SubjectPrefix};
use leafgate_runtime::{SetUpProblems, Shutdown};
use leafgate_sessions::{ConnectError, Login, LoginFiles, SystemAccount};
use serde::Deserialize;

use crate::app::App;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::random;

/// How long one question to the system account may take.
const SYSTEM_TIMEOUT: Duration = Duration::from_secs(3);

/// Messages that may wait on one connection.
const WAITING: usize = 1024;

/// `[nats]`: the leaf cluster whose devices this registry looks after.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NatsConfig {
    /// This replica's name, unique in the cluster; its private inbox is `_INBOX.<replica>.>`.
    #[serde(default = "default_replica")]
    pub replica: String,
    /// The cluster's servers, `tls://host:4222`.
    pub urls: Vec<String>,
    /// What verifies the servers' certificates; none for plain TCP.
    pub ca_file: Option<PathBuf>,
    /// The certificate (profile `nats-client`) that the device listener asks for.
    pub cert_file: Option<PathBuf>,
    /// Its key.
    pub key_file: Option<PathBuf>,
    /// The nkey seed (`SU…`) of this replica's user in the AUTH account.
    pub nkey_seed_file: PathBuf,
    /// The seed of its user in the DEVICES account; without it devices can't renew over NATS. Their subjects begin with
    /// `{prefix}` in policies.
    pub devices_nkey_seed_file: Option<PathBuf>,
}

fn default_replica() -> String {
    "registry-0".to_owned()
}

impl NatsConfig {
    pub(crate) fn resolve_paths(&mut self, folder: &Path) {
        let optional = [
            &mut self.ca_file,
            &mut self.cert_file,
            &mut self.key_file,
            &mut self.devices_nkey_seed_file,
        ];
        optional
            .into_iter()
            .flatten()
            .chain([&mut self.nkey_seed_file])
            .for_each(|path| *path = folder.join(&*path));
    }
}

/// How to log in as each of this replica's users.
#[derive(Debug)]
pub(crate) struct Logins {
    auth: Login,
    system: Option<Login>,
    devices: Option<(Login, SubjectPrefix)>,
}

impl Logins {
    /// Loads what `[nats]` and `[system]` name; `None` without the former.
    pub(crate) fn load(config: &Config, problems: &mut SetUpProblems) -> Option<Self> {
        let Some(nats) = &config.nats else {
            if config.system.is_some() {
                problems.add("[system]: needs [nats], which says where the servers are");
            }
            return None;
        };
        let files = LoginFiles {
            urls: &nats.urls,
            ca_file: nats.ca_file.as_deref(),
            cert_file: nats.cert_file.as_deref(),
            key_file: nats.key_file.as_deref(),
            nkey_seed_file: &nats.nkey_seed_file,
            replica: &nats.replica,
        };
        let auth = Login::load(files, "leafgate-registry", random::fraction, problems);
        let system = config.system.as_ref();
        let system = system.and_then(|system| system.login(auth.as_ref(), problems));
        let seed_file = nats.devices_nkey_seed_file.as_deref();
        let devices = seed_file.and_then(|path| {
            let place = "[nats] devices_nkey_seed_file";
            let login = Login::load_other(auth.as_ref(), place, path, problems);
            let prefix: Result<SubjectPrefix, _> = config.subject_prefix.parse();
            let prefix = prefix.map_err(|error: ParseInputError| error.into());
            login.zip(problems.note("[policy] subject_prefix", prefix))
        });
        Some(Self {
            auth: auth?,
            system,
            devices,
        })
    }

    /// Begins to connect; servers that don't answer yet are tried again and again.
    pub(crate) async fn connect(&self) -> Result<Links, ConnectError> {
        Ok(Links {
            auth: self.auth.connect("log-ins", WAITING).await?,
            system: match &self.system {
                Some(login) => Some(login.connect("system", WAITING).await?),
                None => None,
            },
            devices: match &self.devices {
                Some((login, prefix)) => {
                    let client = login.connect("renewals", WAITING).await?;
                    Some((client, prefix.clone()))
                }
                None => None,
            },
        })
    }
}

/// Whether the connections of this replica last: each by what it is for, and what there is without it.
#[derive(Debug, Clone, Default)]
pub(crate) struct LinkStates(Vec<(&'static str, &'static str, Client)>);

impl LinkStates {
    /// Those that are lost or not made yet.
    pub(crate) fn lost(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.0
            .iter()
            .filter(|(_, _, client)| client.connection_state() != State::Connected)
            .map(|(connection, without, _)| (*connection, *without))
    }

    /// Brings the metric up to date.
    pub(crate) fn count(&self, metrics: &Metrics) {
        for (connection, _, client) in &self.0 {
            metrics.nats_connected(connection, client.connection_state() == State::Connected);
        }
    }
}

/// The connections of this replica.
pub(crate) struct Links {
    auth: Client,
    system: Option<Client>,
    devices: Option<(Client, SubjectPrefix)>,
}

impl Links {
    /// What tells whether they last.
    pub(crate) fn states(&self) -> LinkStates {
        let system = self.system.as_ref();
        let system = system.map(|client| ("sessions", "none is found or ended", client.clone()));
        let devices = self.devices.as_ref().map(|(client, _)| {
            let without = "no device renews over NATS";
            ("renewals", without, client.clone())
        });
        let without = "older certificates go on counting beside newer ones";
        let auth = ("log-ins", without, self.auth.clone());
        LinkStates(
            [Some(auth), system, devices]
                .into_iter()
                .flatten()
                .collect(),
        )
    }

    pub(crate) fn system_account(&self) -> Option<SystemAccount> {
        let client = self.system.clone()?;
        Some(SystemAccount::new(client, SYSTEM_TIMEOUT))
    }

    /// Begins to do what is done over NATS, until `shutdown`.
    pub(crate) fn start(self, app: &Arc<App>, shutdown: &Shutdown) {
        tokio::spawn(log_ins::hear(Arc::clone(app), self.auth, shutdown.clone()));
        if let Some((client, prefix)) = self.devices {
            let app = Arc::clone(app);
            tokio::spawn(renewals::answer(app, client, prefix, shutdown.clone()));
        }
    }
}
