use std::fmt;

use leafgate_identity::{SpkiHash, UnixMs};
use serde::{Deserialize, Serialize};

/// The place of an issuer in its rotation.
///
/// `Prepared` → `Active` ⇄ `Superseded`, and from `Prepared` and `Superseded` → `Retired`, which is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IssuerState {
    /// It is known, so that listeners and callouts can come to know it too, and signs nothing yet.
    Prepared,
    /// It signs.
    Active,
    /// Another one signs in its place. It can be activated again.
    Superseded,
    /// It signs no certificate ever again, but tells of its certificates' revocation until the last has ended.
    Retired,
}

impl IssuerState {
    /// The name in JSON and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Active => "active",
            Self::Superseded => "superseded",
            Self::Retired => "retired",
        }
    }
}

impl fmt::Display for IssuerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What is recorded of the issuers of a kind: in one document, so that one of them is active at any time.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Rotation {
    /// In the order in which they came.
    pub(super) issuers: Vec<Placed>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Placed {
    pub(super) issuer: SpkiHash,
    pub(super) state: IssuerState,
    /// Always there in what is recorded.
    pub(super) since: Option<UnixMs>,
    /// In PEM, for the chains of its certificates where its key is not.
    pub(super) certificate: String,
}

impl Rotation {
    pub(super) fn active(&self) -> Option<SpkiHash> {
        let mut all = self.issuers.iter();
        all.find(|it| it.state == IssuerState::Active)
            .map(|it| it.issuer)
    }

    pub(super) fn find(&self, issuer: &SpkiHash) -> Option<&Placed> {
        self.issuers.iter().find(|it| it.issuer == *issuer)
    }

    /// Gives an issuer another place.
    pub(super) fn place(&mut self, issuer: &SpkiHash, state: IssuerState, at: UnixMs) {
        let found = self.issuers.iter_mut().find(|it| it.issuer == *issuer);
        if let Some(placed) = found {
            placed.state = state;
            placed.since = Some(at);
        }
    }
}
