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
mod registrar;
mod site;

pub use callouts::{Callout, http_get};
pub(crate) use credentials::CredentialFiles;
pub use credentials::{Credentials, write_credentials};
pub use device::{Device, LogInError, NotSeenError, next_message};
pub use dir::{LocalDir, OpenLocalDirError};
pub use endpoints::{Endpoints, Pids};
pub(crate) use files::{Draft, write_secret};
pub use keys::LocalKeys;
pub use options::{SiteOptions, TrustDomainOptions};
pub(crate) use registrar::{make_registrar, open_existing_registrar};
pub use registrar::{new_device, open_registrar};
pub use site::LocalSite;

/// The one trust domain of a local site.
pub const TRUST_DOMAIN: &str = "default";
