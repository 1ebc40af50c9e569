use std::path::PathBuf;
use std::sync::Arc;

use leafgate_nats_jwt::{AccountKey, CurvePublicKey, SigningKey, UserKey};
use secrecy::ExposeSecret;

use crate::conf::Conf;
use crate::error::RenderNatsConfigError;
use crate::file::{ConfigFile, all_different};
use crate::input::{Accounts, Name, ServerAddress, SubjectPrefix};
use crate::node::{Node, ServerLimits, check_limit};
use crate::user::UserKeys;

/// A site: the leaf cluster that its devices connect to, with the callout beside it.
#[derive(Clone, Debug)]
pub struct LeafConfig {
    /// Its name, under which the hub sees its devices.
    pub site: Name,
    /// What device subjects begin with.
    pub prefix: SubjectPrefix,
    /// What the accounts are called.
    pub accounts: Accounts,
    /// What each server takes at most.
    pub limits: ServerLimits,
    /// What each device takes at most, whatever its policy says.
    pub device_limits: DeviceLimits,
    /// PEM of the intermediate that issues the certificates of devices.
    pub devices_ca_file: PathBuf,
    /// PEM of the intermediate that issues the certificates of servers.
    pub servers_ca_file: PathBuf,
    /// Whether devices are asked about.
    pub callout: CalloutMode,
    /// The users of the callout replicas, as many as there may ever be: adding one later means a new configuration
    /// on every node.
    pub replicas: Vec<Replica>,
    /// The users of the registry's replicas, likewise. Without them the registry hears of no log-in, sees no session
    /// and renews nothing over NATS.
    pub registry_users: Vec<RegistryReplica>,
    /// The links to the hub. A site without them works by itself.
    pub uplink: Option<Uplink>,
    /// Manages streams in the telemetry account, where nodes run JetStream. Its clients take
    /// [`STREAM_INBOX_PREFIX`](crate::subjects::STREAM_INBOX_PREFIX) as inbox prefix.
    pub stream_manager: Option<UserKey>,
    /// A person's user of the system account, for emergencies: it logs in without the callout.
    pub administrator: Option<UserKey>,
    /// For tests and load tests only: a user of the system account that answers for servers that don't exist. Whoever
    /// holds its seed can vouch for forged log-in requests.
    pub tester: Option<UserKey>,
}

/// What nats-server enforces for each device connection, as the account's limits. (It ignores limits in the user JWTs
/// of a callout.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceLimits {
    /// Subscriptions of one connection.
    pub max_subscriptions: u32,
    /// Bytes of one message.
    pub max_payload_bytes: u32,
}

impl Default for DeviceLimits {
    fn default() -> Self {
        Self {
            max_subscriptions: 100,
            max_payload_bytes: 64 << 10,
        }
    }
}

impl DeviceLimits {
    fn check(&self) -> Result<(), RenderNatsConfigError> {
        // nats-server takes an account's limits as 32 bits with a sign (opts.go `parseAccountLimits`).
        let most = i32::MAX.unsigned_abs();
        check_limit("max_subscriptions", self.max_subscriptions, most)?;
        check_limit("max_payload_bytes", self.max_payload_bytes, most)
    }
}

/// Whether nats-server asks a callout about devices.
#[derive(Clone, Debug)]
pub enum CalloutMode {
    /// It does: nobody but the service users below logs in without being asked about.
    Enabled {
        /// The account key that signs the callout's answers. Whoever holds its seed is as strong as the server.
        issuer: AccountKey,
        /// Encrypts requests to the callout.
        xkey: Option<CurvePublicKey>,
    },
    /// For tests and load tests only. A nats-server with a callout lets nobody else publish requests, one without
    /// lets a [`StandIn`].
    AbsentForTesting(StandIn),
}

/// Who acts in place of nats-server and of the callout, for tests.
#[derive(Clone, Debug)]
pub struct StandIn {
    /// Publishes log-in requests in place of nats-server and awaits the answers.
    pub requester: UserKey,
    /// Devices that log in by nkey, with the rights of the plain device policy.
    pub devices: Vec<StaticDevice>,
    /// Whether the client port speaks TLS, as with a callout, or not, to measure the callout alone.
    pub tls: bool,
}

/// A device that is known by its nkey, for tests.
#[derive(Clone, Debug)]
pub struct StaticDevice {
    /// Its id.
    pub id: Name,
    /// Its key.
    pub key: UserKey,
}

/// The two users of one callout replica.
#[derive(Clone, Debug)]
pub struct Replica {
    /// Its name, in its inboxes and its signs of life.
    pub name: Name,
    /// Its key in the callout's account.
    pub auth: UserKey,
    /// Its key in the system account.
    pub system: UserKey,
}

impl Replica {
    /// `callout-<ordinal>`, as a Kubernetes StatefulSet numbers its pods.
    #[must_use]
    pub fn default_name(ordinal: u32) -> Name {
        Name::parse(&format!("callout-{ordinal}"))
            .expect("letters, a hyphen and digits are a token")
    }
}

/// The three users of one replica of the registry.
#[derive(Clone, Debug)]
pub struct RegistryReplica {
    /// Its name, in its inboxes.
    pub name: Name,
    /// Its key in the callout's account, where it hears of log-ins.
    pub auth: UserKey,
    /// Its key in the system account, where it finds and ends sessions.
    pub system: UserKey,
    /// Its key in the devices' account, where it answers those that renew their certificate.
    pub devices: UserKey,
}

impl RegistryReplica {
    /// `registry-<ordinal>`, as a Kubernetes StatefulSet numbers its pods.
    #[must_use]
    pub fn default_name(ordinal: u32) -> Name {
        Name::parse(&format!("registry-{ordinal}"))
            .expect("letters, a hyphen and digits are a token")
    }
}

/// How the site's servers link to the hub.
#[derive(Clone, Debug)]
pub struct Uplink {
    /// Addresses of the hub's leaf node listeners, as their certificates name them.
    pub hub: Vec<ServerAddress>,
    /// Seed of the telemetry link. It stands in the configuration itself, because nats-server reads it there.
    pub telemetry: Arc<SigningKey>,
    /// Seed of the command link.
    pub commands: Arc<SigningKey>,
}

impl LeafConfig {
    /// The configuration of one server of the site.
    ///
    /// # Errors
    /// The inputs don't fit together.
    pub fn render(&self, node: &Node) -> Result<ConfigFile, RenderNatsConfigError> {
        self.check()?;
        node.check()?;
        let mut conf = Conf::new();
        conf.comment(&format!(
            "Server {} of site {}, for nats-server in config mode. Made by leafgate: make it anew rather than edit it.{}",
            node.server_name,
            self.site,
            if self.uplink.is_some() {
                " Keep it to its owner (0600): the leaf links' seeds are in it."
            } else {
                ""
            }
        ));
        conf.comment("Devices connect here, and the callout.");
        node.write_identity(&mut conf)?;
        self.write_client_tls(&mut conf, node)?;
        node.write_ocsp_cache(&mut conf)?;
        self.limits.write(&mut conf);
        node.write_cluster(&mut conf, &self.servers_ca_file)?;
        node.write_jetstream(&mut conf)?;
        self.write_leafnodes(&mut conf, node)?;
        conf.comment("What one account does not export and another import stays where it is.");
        conf.set("system_account", &self.accounts.system);
        conf.block("accounts", |accounts| {
            self.write_auth_account(accounts);
            self.write_device_account(accounts);
            if self.uplink.is_some() {
                self.write_uplink_accounts(accounts, node);
            }
            self.write_system_account(accounts);
        });
        self.write_authorization(&mut conf, node);
        Ok(ConfigFile::new(node, conf.finish()))
    }

    fn check(&self) -> Result<(), RenderNatsConfigError> {
        self.limits.check()?;
        self.device_limits.check()?;
        all_different("accounts", self.accounts.all().into_iter())?;
        all_different("replicas", self.replica_names())?;
        if self.replicas.is_empty() {
            return Err(RenderNatsConfigError::NoReplica);
        }
        if self
            .uplink
            .as_ref()
            .is_some_and(|uplink| uplink.hub.is_empty())
        {
            return Err(RenderNatsConfigError::NoHubAddress);
        }
        if let Some(uplink) = &self.uplink {
            self.link_keys(uplink)?;
        }
        self.check_keys()
    }

    /// Of callout and registry alike: their inboxes bear them.
    fn replica_names(&self) -> impl Iterator<Item = &Name> {
        let callouts = self.replicas.iter().map(|replica| &replica.name);
        let registries = self.registry_users.iter().map(|replica| &replica.name);
        callouts.chain(registries)
    }

    /// The public keys by which the hub knows the telemetry and the command link.
    pub(crate) fn link_keys(&self, uplink: &Uplink) -> Result<[UserKey; 2], RenderNatsConfigError> {
        let public = |link, key: &SigningKey| {
            UserKey::try_from(*key.public()).map_err(|_| RenderNatsConfigError::NotUserSeed {
                link,
                site: self.site.to_string(),
            })
        };
        Ok([
            public("telemetry", &uplink.telemetry)?,
            public("command", &uplink.commands)?,
        ])
    }

    fn check_keys(&self) -> Result<(), RenderNatsConfigError> {
        let mut keys = UserKeys::default();
        for replica in &self.replicas {
            keys.claim(replica.auth, format!("replica {}", replica.name))?;
            keys.claim(
                replica.system,
                format!("replica {} in the system account", replica.name),
            )?;
        }
        for replica in &self.registry_users {
            for (key, account) in [
                (replica.auth, "the callout's"),
                (replica.system, "the system"),
                (replica.devices, "the devices'"),
            ] {
                let user = format!("replica {} in {account} account", replica.name);
                keys.claim(key, user)?;
            }
        }
        for (key, user) in [
            (self.stream_manager, "the stream manager"),
            (self.administrator, "the administrator"),
            (self.tester, "the tester"),
        ] {
            if let Some(key) = key {
                keys.claim(key, user)?;
            }
        }
        if let CalloutMode::AbsentForTesting(stand_in) = &self.callout {
            all_different("devices", stand_in.devices.iter().map(|device| &device.id))?;
            keys.claim(stand_in.requester, "the requester")?;
            for device in &stand_in.devices {
                keys.claim(device.key, format!("device {}", device.id))?;
            }
        }
        Ok(())
    }

    /// The stream manager, where there are streams to manage.
    pub(crate) fn stream_manager(&self, node: &Node) -> Option<UserKey> {
        self.stream_manager
            .filter(|_| self.uplink.is_some() && node.jetstream.is_some())
    }

    fn write_client_tls(&self, conf: &mut Conf, node: &Node) -> Result<(), RenderNatsConfigError> {
        if let CalloutMode::AbsentForTesting(StandIn { tls: false, .. }) = self.callout {
            conf.comment("FOR TESTS ONLY: no TLS, to measure the callout without it.");
            return Ok(());
        }
        conf.comment(
            "The device listener trusts the issuer of devices alone, neither the root nor the issuer of servers, so \
             a verified chain has two links. Handshakes beyond the rate limit are refused before any cryptography: \
             after an outage devices then come back as fast as server and callout can finish log-ins, instead of \
             all at once and again.",
        );
        conf.set(
            "tls",
            node.client_tls(Some(&self.devices_ca_file), &self.limits)?,
        );
        Ok(())
    }

    fn write_leafnodes(&self, conf: &mut Conf, node: &Node) -> Result<(), RenderNatsConfigError> {
        if self.uplink.is_none() && node.leafnode.is_none() {
            return Ok(());
        }
        let device_tls = node.device_tls(&self.devices_ca_file)?;
        let uplink_tls = node.tls(&self.servers_ca_file)?;
        conf.block("leafnodes", |conf| {
            if let Some(listen) = &node.leafnode {
                conf.comment(
                    "Devices that run a leaf node of their own. The callout decides about them as about any other.",
                );
                conf.set("host", listen.host());
                conf.set("port", listen.port());
                conf.set("no_advertise", true);
                conf.set("tls", device_tls);
            }
            if let Some(uplink) = &self.uplink {
                conf.comment(
                    "Two links to the hub, into two accounts there: what acknowledges telemetry can't reach a command \
                     subject.",
                );
                conf.set("reconnect", "5s");
                let urls: Vec<String> = uplink.hub.iter().map(|hub| format!("tls://{hub}")).collect();
                conf.list("remotes", |remotes| {
                    for (account, key) in [
                        (&self.accounts.telemetry, &uplink.telemetry),
                        (&self.accounts.commands, &uplink.commands),
                    ] {
                        remotes.item_block(|remote| {
                            remote.set("urls", urls.clone());
                            remote.set("account", account);
                            remote.set("nkey", key.seed().expose_secret());
                            remote.set("tls", uplink_tls.clone());
                        });
                    }
                });
            }
        });
        Ok(())
    }

    fn write_authorization(&self, conf: &mut Conf, node: &Node) {
        conf.comment(
            "How long a log-in may take, in seconds, as a bare number: older servers take \"3s\" for 1.",
        );
        conf.block("authorization", |conf| {
            conf.set("timeout", self.limits.authorization_timeout_secs);
            let CalloutMode::Enabled { issuer, xkey } = &self.callout else {
                conf.comment("FOR TESTS ONLY: no auth_callout. Users log in by nkey alone.");
                return;
            };
            conf.comment(
                "Who logs in is asked about, save auth_users. The callout's own account is among the allowed ones on \
                 purpose: left out, a user of it could publish forged requests.",
            );
            conf.block("auth_callout", |conf| {
                conf.set("issuer", issuer);
                conf.set("account", &self.accounts.auth);
                conf.set(
                    "allowed_accounts",
                    vec![&self.accounts.auth, &self.accounts.devices],
                );
                if let Some(xkey) = xkey {
                    conf.set("xkey", xkey);
                }
                let replicas = self.replicas.iter().flat_map(|replica| [replica.auth, replica.system]);
                let registry_users = self
                    .registry_users
                    .iter()
                    .flat_map(|replica| [replica.auth, replica.system, replica.devices]);
                let others = [
                    self.administrator,
                    self.tester,
                    self.stream_manager(node),
                ];
                let users: Vec<String> = replicas
                    .chain(registry_users)
                    .chain(others.into_iter().flatten())
                    .map(|key| key.to_string())
                    .collect();
                conf.set("auth_users", users);
            });
        });
    }
}
