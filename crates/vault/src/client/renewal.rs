use std::future::pending;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::Shared;
use super::log_in::{Lease, Token};
use crate::failure::Failure;

/// After how long a failed renewal is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Renews the token when two thirds of its time are over, or logs in anew, for as long as anybody uses it.
pub(super) async fn keep_alive(shared: Weak<Shared>, mut tokens: watch::Receiver<Arc<Token>>) {
    loop {
        let lease = tokens.borrow_and_update().lease;
        let due = async {
            match lease {
                Some(lease) => {
                    sleep(lease.duration * 2 / 3).await;
                    lease
                }
                None => pending().await,
            }
        };
        let lease = tokio::select! {
            changed = tokens.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
            lease = due => lease,
        };
        loop {
            let Some(shared) = shared.upgrade() else {
                return;
            };
            let Err(failure) = shared.prolong(lease).await else {
                break;
            };
            drop(shared);
            tracing::warn!(error = %failure, "the log-in to Vault was not renewed; trying again");
            sleep(AGAIN_AFTER.min(lease.duration / 6)).await;
        }
    }
}

impl Shared {
    /// Makes the token last longer; one that can't, or that Vault grants ever less time, is replaced.
    async fn prolong(&self, lease: Lease) -> Result<(), Failure> {
        let _logging_in = self.logging_in.lock().await;
        let renewed = match lease.renewable {
            true => self.token().renewed(&self.http).await,
            false if self.log_in.is_repeatable() => return self.log_in_again().await,
            false => {
                self.token
                    .send_modify(|token| *token = without_lease(token));
                tracing::warn!(
                    "the token for Vault ends in {} s and can't be renewed; give this process another one",
                    lease.duration.as_secs() / 3
                );
                return Ok(());
            }
        };
        match renewed {
            Ok(token) if self.lasts(&token, lease) => {
                self.token.send_replace(Arc::new(token));
                Ok(())
            }
            Ok(_) | Err(Failure::Denied { .. } | Failure::LogIn { .. })
                if self.log_in.is_repeatable() =>
            {
                self.log_in_again().await
            }
            Ok(token) => {
                self.token.send_replace(Arc::new(token));
                Ok(())
            }
            Err(failure) => Err(failure),
        }
    }

    /// Whether Vault granted as much time as before, or nearly.
    fn lasts(&self, token: &Token, before: Lease) -> bool {
        token
            .lease
            .is_none_or(|lease| lease.duration >= before.duration / 2)
    }
}

/// So that nobody tries to renew it again.
fn without_lease(token: &Token) -> Arc<Token> {
    Arc::new(Token {
        header: token.header.clone(),
        lease: None,
    })
}
