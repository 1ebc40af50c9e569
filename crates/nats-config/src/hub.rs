use std::path::PathBuf;

use leafgate_nats_jwt::UserKey;

use crate::conf::Conf;
use crate::error::RenderNatsConfigError;
use crate::file::{ConfigFile, all_different};
use crate::input::{Accounts, Name, SubjectPrefix};
use crate::node::{Node, ServerLimits};
use crate::subjects;
use crate::user::{Connection, User, UserKeys, administrator, stream_manager, write_users};

/// The hub: the cluster that the sites' leaf clusters link to. Applications work here, devices never.
#[derive(Clone, Debug)]
pub struct HubConfig {
    /// What device subjects begin with; the same as on the sites.
    pub prefix: SubjectPrefix,
    /// What the accounts are called.
    pub accounts: Accounts,
    /// What each server takes at most.
    pub limits: ServerLimits,
    /// PEM of the intermediate that issues the certificates of servers.
    pub servers_ca_file: PathBuf,
    /// The sites that may link to it.
    pub sites: Vec<HubSite>,
    /// Applications that read the telemetry of every site.
    pub telemetry_applications: Vec<UserKey>,
    /// Applications that send commands to the devices of every site. Their clients take
    /// [`subjects::COMMAND_INBOX_PREFIX`] as inbox prefix.
    pub command_applications: Vec<UserKey>,
    /// Manages streams of telemetry, where nodes run JetStream. Its clients take
    /// [`subjects::STREAM_INBOX_PREFIX`] as inbox prefix.
    pub stream_manager: Option<UserKey>,
    /// A person's user of the system account, for emergencies.
    pub administrator: Option<UserKey>,
}

/// What the hub knows of a site: the public keys of its two leaf links.
#[derive(Clone, Debug)]
pub struct HubSite {
    /// Its name.
    pub name: Name,
    /// The key that its telemetry link logs in with.
    pub telemetry: UserKey,
    /// The key that its command link logs in with.
    pub commands: UserKey,
    /// Whether it runs nats-servers before 2.15.1. They check what their link may publish before the import renames
    /// it, so the hub has to allow the names that subjects have on the site, too.
    pub servers_before_2_15_1: bool,
}

impl HubConfig {
    /// The configuration of one server of the hub.
    ///
    /// # Errors
    /// The inputs don't fit together.
    pub fn render(&self, node: &Node) -> Result<ConfigFile, RenderNatsConfigError> {
        self.check()?;
        node.check()?;
        let users = self.users(node)?;
        let leafnode =
            node.leafnode
                .as_ref()
                .ok_or_else(|| RenderNatsConfigError::NoLeafnodeListener {
                    server: node.server_name.to_string(),
                })?;
        let mut conf = Conf::new();
        conf.comment(&format!(
            "The hub's server {}, for nats-server in config mode. Made by leafgate: make it anew rather than edit it.",
            node.server_name
        ));
        conf.comment("Applications connect here.");
        node.write_identity(&mut conf)?;
        conf.comment("Without client certificates: an nkey says who an application is.");
        conf.set("tls", node.client_tls(None, &self.limits)?);
        self.limits.write(&mut conf);
        node.write_cluster(&mut conf, &self.servers_ca_file)?;
        node.write_jetstream(&mut conf)?;

        let tls = node.tls(&self.servers_ca_file)?;
        conf.comment(
            "Sites link here. This listener trusts the issuer of servers alone: a device's certificate is refused, \
             and without the key of one of the site users below a server's certificate is, too.",
        );
        conf.block("leafnodes", |conf| {
            conf.set("host", leafnode.host());
            conf.set("port", leafnode.port());
            conf.set("no_advertise", true);
            conf.set("tls", tls);
        });

        conf.comment(
            "Telemetry and commands meet in no account: nats-server checks no permission on reply subjects, so in a \
             shared one an acknowledgement of telemetry could be steered to another device's command subject.",
        );
        conf.set("system_account", &self.accounts.system);
        conf.block("accounts", |accounts| {
            accounts.named_block(&self.accounts.telemetry, |account| {
                if node.jetstream.is_some() {
                    account.set("jetstream", "enabled");
                }
                write_users(account, &users.telemetry);
            });
            accounts.named_block(&self.accounts.commands, |account| {
                account.comment(
                    "Run no service here that answers to a subject it is told: only command subjects and the inboxes \
                     of those who command.",
                );
                write_users(account, &users.commands);
            });
            accounts.named_block(&self.accounts.system, |account| {
                write_users(account, users.system.as_slice());
            });
        });
        conf.comment("Seconds, as a bare number: older servers take \"3s\" for 1.");
        conf.block("authorization", |conf| {
            conf.set("timeout", self.limits.authorization_timeout_secs);
        });
        Ok(ConfigFile::new(node, conf.finish()))
    }

    fn check(&self) -> Result<(), RenderNatsConfigError> {
        self.limits.check()?;
        all_different("accounts", self.accounts.all().into_iter())?;
        all_different("sites", self.sites.iter().map(|site| &site.name))?;
        let mut keys = UserKeys::default();
        for site in &self.sites {
            keys.claim(
                site.telemetry,
                format!("the telemetry link of {}", site.name),
            )?;
            keys.claim(site.commands, format!("the command link of {}", site.name))?;
        }
        for key in &self.telemetry_applications {
            keys.claim(*key, "a telemetry application")?;
        }
        for key in &self.command_applications {
            keys.claim(*key, "a command application")?;
        }
        if let Some(key) = self.stream_manager {
            keys.claim(key, "the stream manager")?;
        }
        if let Some(key) = self.administrator {
            keys.claim(key, "the administrator")?;
        }
        Ok(())
    }

    fn users(&self, node: &Node) -> Result<Users, RenderNatsConfigError> {
        let users = Users {
            telemetry: self.telemetry_users(node),
            commands: self.command_users(),
            system: self.administrator.map(administrator),
        };
        if users.telemetry.is_empty() && users.commands.is_empty() && users.system.is_none() {
            return Err(RenderNatsConfigError::NoUser);
        }
        Ok(users)
    }

    fn telemetry_users(&self, node: &Node) -> Vec<User> {
        let links = self.sites.iter().map(|site| User {
            about: format!(
                "Site {}: may publish its own telemetry and take nothing. nats-server stops a link whose user may \
                 subscribe to nothing at all, so it names a subject of the site that nobody uses.{}",
                site.name,
                if site.servers_before_2_15_1 {
                    " Servers before 2.15.1 check subjects by their names on the site; no application reads those here."
                } else {
                    ""
                }
            ),
            key: site.telemetry,
            connection: Connection::Leafnode,
            publish: self.telemetry_of(site),
            subscribe: vec![subjects::on_hub(&site.name, "nothing")],
            answers: false,
        });
        let applications = self.telemetry_applications.iter().map(|key| User {
            about: "An application that reads telemetry.".to_owned(),
            key: *key,
            connection: Connection::Client,
            publish: Vec::new(),
            subscribe: self.on_every_site(|_| vec![">".to_owned()]),
            answers: false,
        });
        let streams = self
            .stream_manager
            .filter(|_| node.jetstream.is_some())
            .map(stream_manager);
        links.chain(applications).chain(streams).collect()
    }

    fn telemetry_of(&self, site: &HubSite) -> Vec<String> {
        let mut subjects = vec![subjects::on_hub(&site.name, ">")];
        if site.servers_before_2_15_1 {
            subjects.extend(subjects::telemetry(&self.prefix).map(|subject| subject.of_all()));
        }
        subjects
    }

    fn command_users(&self) -> Vec<User> {
        let inbox = format!("{}.>", subjects::COMMAND_INBOX_PREFIX);
        let commands = |_: &HubSite| {
            subjects::commands(&self.prefix)
                .map(|command| command.of_all())
                .to_vec()
        };
        let links = self.sites.iter().map(|site| User {
            about: format!(
                "Site {}: takes commands for its own devices and brings their answers to those who command, no more.",
                site.name
            ),
            key: site.commands,
            connection: Connection::Leafnode,
            publish: vec![inbox.clone()],
            subscribe: commands(site)
                .iter()
                .map(|subject| subjects::on_hub(&site.name, subject))
                .collect(),
            answers: false,
        });
        let applications = self.command_applications.iter().map(|key| User {
            about: format!(
                "An application that sends commands and takes answers. Its client needs the inbox prefix {}: no \
                 other inbox is bridged to sites.",
                subjects::COMMAND_INBOX_PREFIX
            ),
            key: *key,
            connection: Connection::Client,
            publish: self.on_every_site(commands),
            subscribe: vec![inbox.clone()],
            answers: false,
        });
        links.chain(applications).collect()
    }

    fn on_every_site(&self, subjects_of: impl Fn(&HubSite) -> Vec<String>) -> Vec<String> {
        let of_site = |site: &HubSite| {
            subjects_of(site)
                .into_iter()
                .map(|subject| subjects::on_hub(&site.name, &subject))
                .collect::<Vec<_>>()
        };
        self.sites.iter().flat_map(of_site).collect()
    }
}

/// The users of one server, by account.
struct Users {
    telemetry: Vec<User>,
    commands: Vec<User>,
    system: Option<User>,
}
