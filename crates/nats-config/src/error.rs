use std::path::PathBuf;

use leafgate_identity::Excerpt;

/// A text is not what it should stand for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseInputError {
    /// A name of a site, account, server, cluster or replica.
    #[error(
        "{text} can't be a name: it takes 1 to 64 of A-Z a-z 0-9 _ -, and begins and ends with a letter or digit"
    )]
    Name {
        /// The text.
        text: Excerpt,
    },
    /// The prefix of device subjects.
    #[error(
        "{text} can't prefix subjects: it takes tokens of A-Z a-z 0-9 _ - joined by '.', the first other than \"site\""
    )]
    SubjectPrefix {
        /// The text.
        text: Excerpt,
    },
    /// A host.
    #[error("{text} is no host name and no IP address")]
    Host {
        /// The text.
        text: Excerpt,
    },
    /// A host with a port.
    #[error("{text} is no address such as hub.example.com:7422 or [::1]:7422")]
    Address {
        /// The text.
        text: Excerpt,
    },
    /// A secret of routes, which is not shown.
    #[error("a route secret takes 22 to 128 letters and digits")]
    RouteSecret,
}

/// The inputs are fine each by itself but not together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderNatsConfigError {
    /// nats-server finds a user by its key: two users can't share one.
    #[error("the key {key} stands for two users, {first} and {second}: make a key for each")]
    KeyTwice {
        /// The public key.
        key: String,
        /// One of its users.
        first: String,
        /// The other.
        second: String,
    },
    /// Two things of one kind have the same name.
    #[error("two {what} are called {name:?}: give each a name of its own")]
    NameTwice {
        /// Plural of what has the name.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// nats-server refuses a leaf link between clusters of one name.
    #[error(
        "hub and leaf cluster are both called {name:?}, and nats-server refuses their link: rename one"
    )]
    SameClusterName {
        /// The name.
        name: String,
    },
    /// Nobody could answer nats-server.
    #[error("the callout has no replica: no device could log in")]
    NoReplica,
    /// nats-server lets anybody in where no user is configured.
    #[error(
        "the hub has no user, and nats-server would let anybody in: name a site, an application or an administrator"
    )]
    NoUser,
    /// nats-server logs leaf links in as users.
    #[error("the seed of the {link} link of {site} is no user seed (SU…)")]
    NotUserSeed {
        /// Which link.
        link: &'static str,
        /// Of which site.
        site: String,
    },
    /// The hub would refuse the links of the site.
    #[error(
        "the hub does not know site {site} by the keys of its links: give both sides the same pair"
    )]
    SiteUnknown {
        /// The site.
        site: String,
    },
    /// Their subjects would not meet.
    #[error("hub and site {site} differ in the prefix of device subjects: they need the same")]
    PrefixDiffers {
        /// The site.
        site: String,
    },
    /// Nothing could be linked to the hub.
    #[error("the uplink names no address of the hub: name one at least")]
    NoHubAddress,
    /// A hub must listen for leaf nodes.
    #[error(
        "the hub's node {server:?} does not listen for leaf nodes: give it an address for them"
    )]
    NoLeafnodeListener {
        /// Name of the server.
        server: String,
    },
    /// nats-server does not boot with less.
    #[error("a lame duck duration of {secs} s is too short: nats-server refuses less than 30 s")]
    LameDuckTooShort {
        /// Seconds given.
        secs: u32,
    },
    /// A limit of 0 would shut everybody out, or, in nats-server's eyes, nobody.
    #[error("{what} is 0: give at least 1")]
    ZeroLimit {
        /// Which limit.
        what: &'static str,
    },
    /// nats-server keeps its limits in signed numbers and takes larger ones for others, "no limit" among them, or
    /// does not boot with them.
    #[error("{what} is more than nats-server can take: give at most {most}")]
    LimitTooLarge {
        /// Which limit.
        what: &'static str,
        /// The most that it takes.
        most: u32,
    },
    /// nats-server takes port 0 for its default port or for "don't listen".
    #[error("{server:?} can't listen for {listener} on port 0: give another port")]
    PortZero {
        /// Name of the server.
        server: String,
        /// What connects there.
        listener: &'static str,
    },
    /// The path can't stand in a configuration file.
    #[error("the path {path:?} is not UTF-8 or holds control characters: rename it")]
    Path {
        /// The path.
        path: PathBuf,
    },
}
