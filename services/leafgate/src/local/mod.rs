//! Everything on one machine: the folder that `leafgate dev` keeps, and the servers it runs.

mod callouts;
mod credentials;
mod device;
mod dir;
mod endpoints;
mod files;
pub(crate) mod keys;
mod options;
mod plan;
mod process;
mod registrar;
mod registry_api;
mod sections;
mod site;

pub(crate) use credentials::CredentialFiles;
pub use credentials::{Credentials, write_credentials};
pub use device::{Device, LogInError, NotSeenError, next_message};
pub use dir::{LocalDir, OpenLocalDirError};
pub use endpoints::{Endpoints, Pids, RegistryEndpoints};
pub(crate) use files::{Draft, write_secret};
pub use keys::LocalKeys;
pub use options::{ServiceOptions, SiteOptions, TrustDomainOptions};
pub use process::{ServiceProcess, http_get};
pub(crate) use registrar::{make_registrar, open_existing_registrar};
pub use registrar::{new_device, open_registrar, open_registrar_on};
pub use registry_api::RegistryProcess;
pub use site::LocalSite;

/// The one trust domain of a local site.
pub const TRUST_DOMAIN: &str = "default";
