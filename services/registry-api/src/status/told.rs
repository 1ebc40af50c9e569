use std::collections::HashSet;
use std::time::Duration;

use leafgate_identity::SerialNumber;
use leafgate_pki::{Inventory, InventoryError};

use super::RevocationStatus;
use super::issuer::IssuerStatus;

/// Pauses between attempts that fail: the first, and the longest.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LONGEST: Duration = Duration::from_secs(60);
/// How often is looked for what is revoked.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl RevocationStatus {
    /// Has an issuer that keeps account of its certificates revoke there what is revoked here. What it doesn't take is
    /// tried again until it does: the registry's own revocations are what is still to be told, less what the issuer says.
    pub(super) async fn tell_issuer(&self, issuer: &IssuerStatus, inventory: &dyn Inventory) {
        let mut told = Told::default();
        let mut retry = RETRY_FIRST;
        loop {
            match tell(issuer, inventory, &mut told).await {
                Ok(()) => {
                    retry = RETRY_FIRST;
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                Err(error) => {
                    tracing::warn!(
                        issuer = issuer.label,
                        error = &error as &dyn std::error::Error,
                        "a revocation could not be passed on to the issuer: trying again"
                    );
                    tokio::time::sleep(retry).await;
                    retry = (retry * 2).min(RETRY_LONGEST);
                }
            }
        }
    }
}

/// What an issuer knows.
#[derive(Default)]
struct Told {
    /// None until it was asked.
    serials: Option<HashSet<SerialNumber>>,
    /// How much had been added here when all of it was told.
    additions: u64,
}

async fn tell(
    issuer: &IssuerStatus,
    inventory: &dyn Inventory,
    told: &mut Told,
) -> Result<(), InventoryError> {
    let additions = issuer.revoked().additions();
    if additions == told.additions {
        return Ok(());
    }
    let known = match &mut told.serials {
        Some(known) => known,
        unasked => unasked.insert(inventory.revoked().await?.into_iter().collect()),
    };
    let untold: Vec<_> = issuer
        .revoked()
        .serials()
        .filter(|serial| !known.contains(serial))
        .collect();
    for serial in untold {
        inventory.revoke(&serial).await?;
        known.insert(serial);
    }
    told.additions = additions;
    Ok(())
}
