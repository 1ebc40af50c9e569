use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use leafgate_pki::SignCrlError;
use leafgate_registry::{
    Act, BuildChangeError, Change, CommitError, Crl, FeedPosition, NewCrl, StoreError, Write,
};

use super::issuer::{IssuerStatus, ServedList, entity_tag};
use super::{RevocationStatus, STORE_LIMIT, within};

/// Pauses between attempts that fail: the first, and the longest.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LONGEST: Duration = Duration::from_secs(10);

/// How often a number is tried for while other registries take theirs.
const MAX_TRIES: u32 = 48;
const TRY_PAUSE: Duration = Duration::from_millis(2);

impl RevocationStatus {
    /// Keeps an issuer's list: renews it with every revocation and before it ends. While one list is made, all that is
    /// revoked waits for the next.
    pub(super) async fn keep_list(&self, issuer: &IssuerStatus) {
        let mut retry = RETRY_FIRST;
        loop {
            match self.renew_list(issuer).await {
                Ok(()) => {
                    retry = RETRY_FIRST;
                    issuer.listing.ends();
                    self.metrics.list_built(&issuer.label, "done");
                    self.until_list_is_due(issuer).await;
                }
                Err(error) => {
                    self.metrics.list_built(&issuer.label, "failed");
                    issuer.listing.begins();
                    tracing::warn!(
                        issuer = issuer.label,
                        error = &error as &dyn std::error::Error,
                        "the revocation list could not be renewed: trying again"
                    );
                    tokio::time::sleep(retry).await;
                    retry = (retry * 2).min(RETRY_LONGEST);
                }
            }
        }
    }

    async fn until_list_is_due(&self, issuer: &IssuerStatus) {
        let wanted = self.following.until(|_| {
            let revoked = issuer.revoked();
            revoked.first_unlisted().is_some() || !revoked.is_whole()
        });
        if tokio::time::timeout(self.settings.crl_lifetime / 2, wanted)
            .await
            .is_err()
        {
            // Whatever changed without an event is found at least this often.
            issuer.revoked_mut().want_reading();
        }
    }

    async fn renew_list(&self, issuer: &IssuerStatus) -> Result<(), RenewError> {
        loop {
            if !issuer.revoked().is_whole() {
                self.read_revoked(issuer).await?;
            }
            let reading = issuer.revoked().wanted_reading();
            let numbered = self.take_number(issuer).await?;
            self.following
                .until(|followed| {
                    followed.reaches(&numbered.position)
                        || issuer.revoked().wanted_reading() != reading
                })
                .await;
            if issuer.revoked().wanted_reading() != reading {
                // What is known is of another feed. The number stays unused.
                continue;
            }
            let list = self.sign_list(issuer, &numbered).await?;
            let mut revoked = issuer.revoked_mut();
            if revoked.wanted_reading() != reading {
                continue;
            }
            revoked.listed(numbered.position.seq, numbered.previous());
            issuer.serve(list);
            drop(revoked);
            self.following.nudge();
            return Ok(());
        }
    }

    async fn sign_list(
        &self,
        issuer: &IssuerStatus,
        numbered: &Numbered,
    ) -> Result<ServedList, RenewError> {
        let Numbered { list, position, .. } = numbered;
        let (list, entries) = (
            *list,
            issuer
                .revoked()
                .entries_of_list(position.seq, numbered.previous()),
        );
        let revoked = entries.len();
        // A long list takes its signer's time: not that of those who answer requests.
        let signer = Arc::clone(&issuer.issuer);
        let runtime = tokio::runtime::Handle::current();
        let der = tokio::task::spawn_blocking(move || {
            let Crl {
                number,
                this_update,
                next_update,
                ..
            } = list;
            runtime.block_on(signer.sign_crl(&entries, number, this_update, next_update))
        })
        .await
        .map_err(RenewError::Task)??;
        self.metrics.list_signed(&issuer.label, revoked);
        tracing::debug!(
            issuer = issuer.label,
            number = list.number,
            revoked,
            next_update = %list.next_update,
            "revocation list made"
        );
        Ok(ServedList {
            tag: entity_tag(&der),
            der: Bytes::from(der),
            this_update: list.this_update,
            next_update: list.next_update,
        })
    }

    /// Takes the next number. Of several registries that try for it one gets it.
    async fn take_number(&self, issuer: &IssuerStatus) -> Result<Numbered, RenewError> {
        let mut tries = 0;
        loop {
            let previous = within(STORE_LIMIT, self.store.crl(&issuer.spki)).await?;
            let act = Act {
                actor: self.actor.clone(),
                at: self.clock.now(),
            };
            let next = NewCrl {
                issuer: issuer.spki,
                this_update: act.at,
                next_update: act.at.saturating_add(self.settings.crl_lifetime),
            };
            let change = Change::record_crl(previous.as_ref(), next, &act)?;
            let Write::Crl(write) = change.write() else {
                unreachable!("a change built for a list's number changes that number");
            };
            let list = write.crl;
            let commit = self.store.commit(std::slice::from_ref(&change));
            match within(STORE_LIMIT, commit).await {
                Ok(position) => {
                    return Ok(Numbered {
                        previous,
                        list,
                        position,
                    });
                }
                Err(CommitError::Conflict { .. }) if tries < MAX_TRIES => {
                    tries += 1;
                    tokio::time::sleep(TRY_PAUSE * tries).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// A list's number and its place in the feed.
struct Numbered {
    previous: Option<Crl>,
    list: Crl,
    position: FeedPosition,
}

impl Numbered {
    /// When the list before was made.
    fn previous(&self) -> leafgate_identity::UnixMs {
        let this = self.list.this_update;
        self.previous
            .map_or(this, |previous| previous.this_update.min(this))
    }
}

#[derive(Debug, thiserror::Error)]
enum RenewError {
    #[error("the registry could not be read")]
    Read(#[from] StoreError),
    #[error("no number could be taken for it")]
    Number(#[from] CommitError),
    #[error("its dates are wrong")]
    Dates(#[from] BuildChangeError),
    #[error("it could not be signed")]
    Sign(#[from] SignCrlError),
    #[error("its signer ended")]
    Task(#[source] tokio::task::JoinError),
}
