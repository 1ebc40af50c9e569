use leafgate_feed::FeedSink;
use leafgate_registrar::crl_reason;
use leafgate_registry::{Event, FeedPosition, StoreError};

use super::RevocationStatus;
use super::revocation::Told;
use super::revoked::Entry;

impl FeedSink for RevocationStatus {
    fn apply(&self, event: &Event) {
        match Told::by(event) {
            Told::Revoked {
                certificates,
                reason,
            } => {
                for certificate in certificates {
                    let Some(issuer) = self.issuer(&certificate.id.issuer) else {
                        continue;
                    };
                    let entry = Entry {
                        at: event.at,
                        reason: crl_reason(reason),
                        not_after: certificate.not_after,
                        seq: event.seq,
                    };
                    issuer.revoked_mut().insert(certificate.id.serial, entry);
                    self.memory.forget(&certificate.id);
                }
            }
            Told::Unclear => {
                tracing::warn!(
                    kind = %event.kind,
                    seq = event.seq,
                    "an event that may revoke certificates is not understood: reading all of them anew"
                );
                for issuer in self.issuers() {
                    issuer.revoked_mut().doubt(event.seq);
                }
                self.memory.forget_all();
            }
            Told::Nothing => {}
        }
        self.following.apply(|position| {
            if let Some(position) = position {
                position.seq = event.seq;
                position.hash = event.hash;
            }
        });
    }

    fn reset(&self, position: &FeedPosition) {
        for issuer in self.issuers() {
            issuer.revoked_mut().start_over();
        }
        self.memory.forget_all();
        self.following.apply(|own| *own = Some(*position));
    }

    fn confirm(&self, position: &FeedPosition) {
        self.following
            .confirm(position, self.clock.now(), self.clock.monotonic());
    }

    fn fail(&self, error: &StoreError) {
        if self.following.fail() {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "revocations can't be followed"
            );
        }
    }
}
