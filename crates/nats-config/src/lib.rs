//! The configuration of a hub and of a site's leaf cluster for nats-server in config mode.
//!
//! [`HubConfig`] and [`LeafConfig`] hold what the servers of a cluster share, [`Node`] what is one server's own;
//! `render` gives a [`ConfigFile`] with comments that tell an operator why each block is as it is. Inputs are types
//! that can't carry anything but what they stand for, and every text is quoted, so no name, path or address can add
//! configuration of its own.
//!
//! What flows where: devices live in the leaf's DEVICES account. Telemetry leaves it through TELEMETRY, commands come
//! through COMMANDS, each over a leaf link into an account of its own on the hub. One account for both would not be
//! isolated: nats-server checks no permission on reply subjects, so an acknowledgement on the hub could be steered
//! back to another device's command subject.

mod conf;
mod error;
mod file;
mod hub;
mod input;
mod leaf;
mod leaf_accounts;
mod node;
pub mod subjects;
mod user;

pub use error::{ParseInputError, RenderNatsConfigError};
pub use file::{ConfigFile, NatsConfigFiles, WriteNatsConfigError};
pub use hub::{HubConfig, HubSite};
pub use input::{Accounts, Host, Listen, Name, RouteSecret, ServerAddress, SubjectPrefix};
pub use leaf::{
    CalloutMode, DeviceLimits, LeafConfig, RegistryReplica, Replica, StandIn, StaticDevice, Uplink,
};
pub use node::{Certificate, Cluster, JetStream, Node, OcspPeer, ServerLimits};
