//! The registry in a KV engine (version 2) of Vault: a [`DeviceStore`](leafgate_registry::DeviceStore).
//!
//! For fleets whose scripts register devices in Vault already, and for those that want nothing else to look after. The
//! largest fleet supported is 10,000 devices: Vault has no index but the names in a folder, and decrypts every name for
//! every list (some 50 µs each once there are more than its cache holds). A search by what stands in the documents (a
//! type, an attribute, a site, the end of certificates, a fingerprint) is refused with
//! [`StoreError::Unsupported`](leafgate_registry::StoreError::Unsupported); PostgreSQL has the indexes for it. Devices
//! are listed by id and the prefix of ids, in pages, and by state, which reads as many as it takes to fill a page.
//! Devices that scripts registered within the last 10 seconds may be missing from a list; they are never missing when
//! they are asked for by id.
//!
//! Below the mount of the engine (`secret` by default) there is:
//!
//! | document | what it is |
//! |---|---|
//! | `devices/<id>` | a device, as scripts know it |
//! | `leafgate/devices/<id>` | the same device, as leafgate knows it, with its certificates |
//! | `leafgate/services/<hash of the name>` | a service's certificates |
//! | `leafgate/certificates/<issuer>/<serial>` | whose a certificate is |
//! | `leafgate/keys/<key>/<issuer>:<serial>` | that a certificate carries a key |
//! | `leafgate/revoked/<issuer>/<end>-<serial>` | a revoked certificate |
//! | `leafgate/crls/<issuer>` | the newest number of a CRL |
//! | `leafgate/documents/<kind>/<name>` | an API key, an enrolment token and the like |
//! | `leafgate/expiring/<end>-<hash>` | that one of those ends then |
//! | `leafgate/events/<seq>` | an event of the feed |
//! | `leafgate/head` | where the feed is, and the newest commit |
//! | `leafgate/commits/<commit>/<part>` | parts of a commit that is too large for the head |
//!
//! How a device follows from its two documents is told in `device.rs`, how several documents are written as one in
//! `journal.rs`. The policies that leafgate's programs need are in `policies/vault/`.
//!
//! What Vault has to give: reads that see what was acknowledged before, which a standby that answers by itself
//! (Enterprise) doesn't give, so name the active node; and documents that stay, so the mount must not have
//! `delete_version_after`.

mod client;
mod config;
mod device;
mod failure;
mod issuer;
mod journal;
mod kv;
mod layout;
mod records;
mod store;

pub use client::Vault;
pub use issuer::{VaultIssuer, VaultIssuerConfig};
pub use store::{VaultStore, VaultStoreConfig};
