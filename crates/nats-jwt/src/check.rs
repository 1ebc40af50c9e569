//! Whether an authentic request is meant for this service, and in time.

use crate::key::ServerKey;
use crate::request::{AuthorizationRequest, REQUEST_AUDIENCE, REQUEST_TYPE};
use crate::text::Excerpt;
use crate::token::CLAIMS_VERSION;

/// What this service expects of the requests that it answers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected<'a> {
    /// `sub`: the issuer configured in the server (config mode) or the callout account (operator
    /// mode); `None` accepts any.
    pub subject: Option<&'a str>,
}

/// Why an authentic request is not to be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckRequestError {
    /// Claims of another type: some other token of that server.
    #[error("these are claims of type {found}, not \"authorization_request\"")]
    Type {
        /// The type found.
        found: Excerpt,
    },
    /// Another version of claims.
    #[error("the request has claims of version {found}; version {CLAIMS_VERSION} is understood")]
    Version {
        /// The version found.
        found: i64,
    },
    /// Addressed to others.
    #[error("the request's audience is {found}, not \"{REQUEST_AUDIENCE}\"")]
    Audience {
        /// The audience found.
        found: Excerpt,
    },
    /// The server is configured with another issuer than this service.
    #[error(
        "the server expects answers by the issuer {found}, this service signs as {expected}: give \
         both the same account key"
    )]
    Subject {
        /// The subject expected.
        expected: Excerpt,
        /// The subject found.
        found: Excerpt,
    },
    /// Signed by one server in the name of another.
    #[error("the request is signed by {issuer}, but describes another server")]
    Server {
        /// `iss`, which is not `server_id.id`.
        issuer: ServerKey,
    },
    /// The box was made with another curve key than the signed one.
    #[error("the request came in a box of another curve key than the server's own")]
    Xkey,
    /// Without `iat` or `exp`.
    #[error("the request lacks the claim {claim}")]
    TimeMissing {
        /// The claim.
        claim: &'static str,
    },
    /// The server no longer waits for an answer.
    #[error("the request expired {by_secs} s ago: this service is late, or the clocks disagree")]
    Expired {
        /// Time since `exp`, leeway not deducted.
        by_secs: i64,
    },
    /// `iat` or `nbf` lie in the future.
    #[error("the request's {claim} is {by_secs} s in the future: the clocks disagree")]
    NotYetValid {
        /// The claim.
        claim: &'static str,
        /// Time until then, leeway not deducted.
        by_secs: i64,
    },
}

impl AuthorizationRequest {
    /// Checks type, version, audience, subject, that the signer is the server described, that the
    /// box (if any) is that server's, and the times, with `leeway_secs` for clocks that disagree.
    /// `now_secs` is Unix time. The first failing check is reported.
    pub fn check(
        &self,
        now_secs: i64,
        expected: &Expected<'_>,
        leeway_secs: u32,
    ) -> Result<(), CheckRequestError> {
        if self.claims_type != REQUEST_TYPE {
            return Err(CheckRequestError::Type {
                found: Excerpt::of(&self.claims_type),
            });
        }
        if self.claims_version != CLAIMS_VERSION {
            return Err(CheckRequestError::Version {
                found: self.claims_version,
            });
        }
        if self.audience != REQUEST_AUDIENCE {
            return Err(CheckRequestError::Audience {
                found: Excerpt::of(&self.audience),
            });
        }
        if let Some(subject) = expected.subject
            && subject != self.subject
        {
            return Err(CheckRequestError::Subject {
                expected: Excerpt::of(subject),
                found: Excerpt::of(&self.subject),
            });
        }
        if self.issuer != self.server.id {
            return Err(CheckRequestError::Server {
                issuer: self.issuer,
            });
        }
        if self.box_peer.is_some() && self.box_peer != self.server.xkey {
            return Err(CheckRequestError::Xkey);
        }
        self.check_times(now_secs, i64::from(leeway_secs))
    }

    fn check_times(&self, now_secs: i64, leeway_secs: i64) -> Result<(), CheckRequestError> {
        for (claim, time_secs) in [("iat", self.issued_at_secs), ("exp", self.expires_at_secs)] {
            if time_secs <= 0 {
                return Err(CheckRequestError::TimeMissing { claim });
            }
        }
        let by_secs = now_secs.saturating_sub(self.expires_at_secs);
        if by_secs > leeway_secs {
            return Err(CheckRequestError::Expired { by_secs });
        }
        for (claim, time_secs) in [("iat", self.issued_at_secs), ("nbf", self.not_before_secs)] {
            let by_secs = time_secs.saturating_sub(now_secs);
            if by_secs > leeway_secs {
                return Err(CheckRequestError::NotYetValid { claim, by_secs });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
