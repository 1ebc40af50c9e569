use std::sync::Arc;

use arc_swap::ArcSwap;
use leafgate_identity::SpkiHash;
use leafgate_pki::{Intermediate, Issuer};

/// The issuers of an installation that this process can sign with. Clones share them.
#[derive(Clone)]
pub struct Issuers(Arc<ArcSwap<IssuerKeys>>);

/// What [`Issuers`] hold of each kind, oldest first. Which one of a kind signs is recorded in the registry; while nothing
/// is, it is the first.
#[derive(Clone, Default)]
pub struct IssuerKeys {
    /// Sign devices and the clients of their listener.
    pub devices: Vec<Arc<dyn Issuer>>,
    /// Sign nats-servers.
    pub servers: Vec<Arc<dyn Issuer>>,
}

impl Issuers {
    /// One issuer for devices and one for nats-servers.
    pub fn new(devices: Arc<dyn Issuer>, servers: Arc<dyn Issuer>) -> Self {
        Self::from(IssuerKeys {
            devices: vec![devices],
            servers: vec![servers],
        })
    }

    /// Puts others in the place of these, in every clone.
    pub fn replace(&self, keys: IssuerKeys) {
        self.0.store(Arc::new(keys));
    }

    /// Those of a kind, oldest first.
    pub fn of(&self, intermediate: Intermediate) -> Vec<Arc<dyn Issuer>> {
        self.0.load().of(intermediate).to_vec()
    }

    /// All, those for devices first.
    pub fn all(&self) -> Vec<Arc<dyn Issuer>> {
        let keys = self.0.load();
        keys.devices.iter().chain(&keys.servers).cloned().collect()
    }

    pub(crate) fn first(&self, intermediate: Intermediate) -> Option<Arc<dyn Issuer>> {
        self.0.load().of(intermediate).first().cloned()
    }

    /// The one of a kind with this key. An engine elsewhere may sign both kinds with one key, each by rules of its own.
    pub(crate) fn find_of(
        &self,
        intermediate: Intermediate,
        issuer: &SpkiHash,
    ) -> Option<Arc<dyn Issuer>> {
        let keys = self.0.load();
        let mut of_kind = keys.of(intermediate).iter();
        of_kind.find(|it| it.spki() == *issuer).cloned()
    }

    pub(crate) fn find(&self, issuer: &SpkiHash) -> Option<Arc<dyn Issuer>> {
        let keys = self.0.load();
        let mut all = keys.devices.iter().chain(&keys.servers);
        all.find(|it| it.spki() == *issuer).cloned()
    }
}

impl From<IssuerKeys> for Issuers {
    fn from(keys: IssuerKeys) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(keys)))
    }
}

impl IssuerKeys {
    fn of(&self, intermediate: Intermediate) -> &[Arc<dyn Issuer>] {
        match intermediate {
            Intermediate::Devices => &self.devices,
            Intermediate::Servers => &self.servers,
        }
    }
}
