//! Subjects, inboxes and the queue group that the rendered permissions and the programs behind them agree on.

use crate::input::{Name, SubjectPrefix};

/// Where nats-server asks who a connecting client is (auth_callout.go `AuthCalloutSubject`).
pub const AUTH_REQUEST: &str = "$SYS.REQ.USER.AUTH";
/// The inboxes in which nats-server awaits the answers.
pub const AUTH_REPLY: &str = "$SYS._INBOX.>";
/// The queue group of the callout replicas; no replica may subscribe outside it.
pub const CALLOUT_QUEUE: &str = "leafgate-callout";
/// What a replica evicted, for the others.
pub const EVICT: &str = "leafgate.v1.evict";
/// Signs of life of every replica.
pub const ALIVE_ALL: &str = "leafgate.v1.alive.*";
/// The log-ins that begin an overlap of certificates, from the callout to the registry.
pub const LOG_IN: &str = "leafgate.v1.log-in";
/// The queue group of the registry's replicas; none may subscribe outside it.
pub const REGISTRY_QUEUE: &str = "leafgate-registry";
/// Prefix of the inboxes of applications that send commands, for their clients' inbox prefix option.
pub const COMMAND_INBOX_PREFIX: &str = "_INBOX.commands";
/// Prefix of the inboxes of applications that manage streams of telemetry.
pub const STREAM_INBOX_PREFIX: &str = "_INBOX.streams";

/// The inboxes of all devices, each `_INBOX.<device id>.>`.
pub(crate) const DEVICE_INBOXES: &str = "_INBOX.*.>";
/// Connections of every server, by user name.
pub(crate) const CONNZ_ALL: &str = "$SYS.REQ.SERVER.PING.CONNZ";
/// Connections of one server: the second page and those after it.
pub(crate) const CONNZ_ONE: &str = "$SYS.REQ.SERVER.*.CONNZ";
pub(crate) const IDZ: &str = "$SYS.REQ.SERVER.*.IDZ";
pub(crate) const KICK: &str = "$SYS.REQ.SERVER.*.KICK";
pub(crate) const CONNECT_EVENTS: &str = "$SYS.ACCOUNT.*.CONNECT";
pub(crate) const DISCONNECT_EVENTS: &str = "$SYS.ACCOUNT.*.DISCONNECT";

/// Signs of life of one replica.
#[must_use]
pub fn alive(replica: &Name) -> String {
    format!("leafgate.v1.alive.{replica}")
}

/// Where devices ask for a new certificate: `<prefix>.<device id>.renew`.
#[must_use]
pub fn renewals(prefix: &SubjectPrefix) -> String {
    DeviceSubject::new(prefix, "renew").of_all()
}

/// The same of one device.
pub(crate) fn renewal(prefix: &SubjectPrefix, id: &Name) -> String {
    DeviceSubject::new(prefix, "renew").of(id)
}

/// Prefix of a replica's inboxes, for its clients' inbox prefix option.
#[must_use]
pub fn replica_inbox_prefix(replica: &Name) -> String {
    format!("_INBOX.{replica}")
}

/// `site.<site>.<subject>`: how a subject of the site is called on the hub.
pub(crate) fn on_hub(site: &Name, subject: &str) -> String {
    format!("site.{site}.{subject}")
}

/// What devices publish that the hub may have.
pub(crate) fn telemetry(prefix: &SubjectPrefix) -> [DeviceSubject; 2] {
    [
        DeviceSubject::new(prefix, "metrics.>"),
        DeviceSubject::new(prefix, "status"),
    ]
}

/// What devices listen to.
pub(crate) fn commands(prefix: &SubjectPrefix) -> [DeviceSubject; 2] {
    [
        DeviceSubject::new(prefix, "cmd"),
        DeviceSubject::new(prefix, "cmd.>"),
    ]
}

/// A subject of devices, `<prefix>.<device id>.<rest>`.
pub(crate) struct DeviceSubject {
    prefix: String,
    rest: &'static str,
}

impl DeviceSubject {
    fn new(prefix: &SubjectPrefix, rest: &'static str) -> Self {
        Self {
            prefix: prefix.to_string(),
            rest,
        }
    }

    /// For every device.
    pub(crate) fn of_all(&self) -> String {
        self.with_id("*")
    }

    /// For one device.
    pub(crate) fn of(&self, id: &Name) -> String {
        self.with_id(id.as_str())
    }

    /// As the target of a mapping from [`Self::of_all`]: `$1` is its first wildcard.
    pub(crate) fn mapped(&self) -> String {
        self.with_id("$1")
    }

    fn with_id(&self, id: &str) -> String {
        format!("{}.{id}.{}", self.prefix, self.rest)
    }
}
