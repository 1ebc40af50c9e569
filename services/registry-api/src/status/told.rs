use std::collections::HashSet;
use std::time::Duration;

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
        let mut told = None;
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

/// `told` is what the issuer knows as revoked, once it is known here.
async fn tell(
    issuer: &IssuerStatus,
    inventory: &dyn Inventory,
    told: &mut Option<HashSet<leafgate_identity::SerialNumber>>,
) -> Result<(), InventoryError> {
    let revoked = issuer.revoked().serials();
    let told = match told {
        Some(told) => told,
        None if revoked.is_empty() => return Ok(()),
        None => told.insert(inventory.revoked().await?.into_iter().collect()),
    };
    for serial in revoked {
        if !told.contains(&serial) {
            inventory.revoke(&serial).await?;
            told.insert(serial);
        }
    }
    Ok(())
}
