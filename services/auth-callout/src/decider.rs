use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use leafgate_admission::{Admission, Denial, Facts, Reason, admit};
use leafgate_identity::{DeviceId, DeviceIdentity, UnixMs};
use leafgate_nats_jwt::{AuthorizationRequest, Expected, SigningKey};
use leafgate_registry::StoreError;
use leafgate_runtime::Clock;

use crate::claimant::{Claimants, check_mqtt_client_id, place};
use crate::grants::{Granted, Grants, Session};
use crate::random;
use crate::records::{Found, Records, Source};
use crate::refusal::{denial, of_request};
use crate::reply::{Replies, permission_hash};
use crate::servers::{ServerXkey, Servers, Standing};
use crate::setup::Trust;

/// How far a server's clock may differ from this one.
const REQUEST_LEEWAY_SECS: u32 = 60;

/// Decides about verified requests: the one place where a device is let in.
pub(crate) struct Decider {
    pub(crate) servers: Servers,
    pub(crate) records: Records,
    pub(crate) grants: Grants,
    pub(crate) clock: Arc<dyn Clock>,
    trust: Arc<Trust>,
    site: String,
    claimants: Claimants,
    replies: Replies,
    deadline: Duration,
}

/// A verified request on its way to an answer.
pub(crate) struct Case {
    pub(crate) request: AuthorizationRequest,
    /// The box that the request came in; the answer leaves in the same.
    pub(crate) server_xkey: Option<Arc<ServerXkey>>,
    pub(crate) received: Duration,
}

/// The end of a case.
pub(crate) struct Answer {
    /// What to send; nothing for requests that deserve no answer.
    pub(crate) payload: Option<Bytes>,
    pub(crate) identity: Option<Arc<DeviceIdentity>>,
    pub(crate) outcome: Result<Allowed, Denial>,
}

/// What the log says of a device that was let in.
pub(crate) struct Allowed {
    pub(crate) policy: Arc<str>,
    pub(crate) source: Source,
    /// Whether it came with a certificate whose log-in begins the end of older ones.
    pub(crate) begins_overlap: bool,
}

/// What deciding needs next.
pub(crate) enum Step {
    Done(Answer),
    AskServer,
    LookUp(DeviceId),
}

impl Decider {
    pub(crate) fn new(
        servers: Servers,
        records: Records,
        clock: Arc<dyn Clock>,
        trust: Arc<Trust>,
        issuer: SigningKey,
        site: String,
        deadline: Duration,
    ) -> Self {
        Self {
            servers,
            records,
            grants: Grants::new(),
            clock,
            claimants: Claimants::new(trust.clone()),
            replies: Replies::new(issuer),
            trust,
            site,
            deadline,
        }
    }

    /// How long an answer to what was received then may still take; `None` where it is too late.
    pub(crate) fn time_left(&self, received: Duration) -> Option<Duration> {
        let taken = self.clock.monotonic().saturating_sub(received);
        self.deadline.checked_sub(taken)
    }

    /// Decides with what is in memory.
    pub(crate) fn try_decide(&self, case: &Case) -> Step {
        self.decide(case, None)
    }

    /// Decides, asking the system account and the store for what is missing.
    pub(crate) async fn decide_fully(&self, case: &Case) -> Answer {
        let answer = self.decide_asking(case).await;
        if answer.payload.is_none() {
            // It may have been recorded before something was asked for.
            self.forget(case);
        }
        answer
    }

    async fn decide_asking(&self, case: &Case) -> Answer {
        let mut looked_up = None;
        loop {
            if self.time_left(case.received).is_none() {
                return Answer::silent(Reason::DeadlinePassed.into());
            }
            match self.decide(case, looked_up.take()) {
                Step::Done(answer) => return answer,
                Step::AskServer => {
                    if self.servers.ask(&case.request.server.id).await == Standing::Refused {
                        return Answer::silent(Reason::ServerUnverified.into());
                    }
                }
                Step::LookUp(id) => {
                    let now = self.clock.monotonic();
                    looked_up = Some(self.records.look_up(&id, now).await);
                }
            }
        }
    }

    fn decide(&self, case: &Case, looked_up: Option<Result<Found, StoreError>>) -> Step {
        let request = &case.request;
        let now = self.clock.now();
        if let Err(denial) = self.check_request(request, now) {
            return Step::Done(Answer::silent(denial));
        }
        match self.servers.standing(&request.server.id) {
            Standing::Known => {}
            Standing::Refused => {
                return Step::Done(Answer::silent(Reason::ServerUnverified.into()));
            }
            Standing::Unasked => return Step::AskServer,
        }
        if let Some(server_xkey) = &case.server_xkey {
            server_xkey.bind(request);
        }
        let session = match self.claimants.session(request, case.received) {
            Ok(session) => session,
            Err(denial) => return Step::Done(self.refuse(case, None, denial, now)),
        };
        // Before the look-up: see `Grants`.
        self.grants.record(session.clone());
        let id = &session.identity.id;
        let found = match looked_up {
            Some(Ok(found)) => found,
            Some(Err(error)) => {
                let denial = denial(Reason::RegistryUnavailable, &error);
                return Step::Done(self.refuse(case, Some(&session), denial, now));
            }
            None => match self.records.cached(id, self.clock.monotonic()) {
                Some(found) => found,
                None => return Step::LookUp(id.clone()),
            },
        };
        let admitted = self
            .admit(&session, &found, now)
            .and_then(|admission| check_mqtt_client_id(&session, request).map(|()| admission));
        let unknown =
            matches!(&admitted, Err(denial) if denial.reason == Reason::CertificateUnknown);
        if unknown && found.source == Source::Cache {
            // The feed tells some moments later of what was just issued.
            return Step::LookUp(id.clone());
        }
        let answer = match admitted {
            Ok(admission) => self.grant(case, &session, &found, admission, now),
            Err(denial) => self.refuse(case, Some(&session), denial, now),
        };
        if self.records.is_current(id, found.version) {
            Step::Done(answer)
        } else {
            // The device was evicted while this was being decided.
            Step::LookUp(id.clone())
        }
    }

    /// Decides again about a session that is remembered.
    pub(crate) fn readmit(&self, session: &Session, found: &Found) -> Result<u64, Denial> {
        let admission = self.admit(session, found, self.clock.now())?;
        Ok(permission_hash(&admission.grant))
    }

    /// Whether the request is meant for this service, and in time. Nobody waits for an answer to
    /// one that isn't.
    fn check_request(&self, request: &AuthorizationRequest, now: UnixMs) -> Result<(), Denial> {
        let expected = Expected {
            subject: Some(self.replies.issuer()),
        };
        request
            .check(now.as_secs(), &expected, REQUEST_LEEWAY_SECS)
            .map_err(|error| denial(of_request(&error), &error))
    }

    fn admit(&self, session: &Session, found: &Found, now: UnixMs) -> Result<Admission, Denial> {
        let domain = &session.identity.domain;
        let policies = self.trust.policies.get(domain);
        let binding = self
            .trust
            .domains
            .by_name(domain)
            .map(|domain| domain.binding);
        let (Some(policies), Some(binding)) = (policies, binding) else {
            return Err(Reason::IssuerUnknown.into());
        };
        let mut admission = admit(&Facts {
            identity: &session.identity,
            binding,
            record: found.record.as_deref(),
            policies,
            site: &self.site,
            connection: &session.connection,
            now,
        })?;
        if let Some(good_for) = found.good_for {
            admission.until = admission.until.min(now.saturating_add(good_for));
        }
        Ok(admission)
    }

    fn grant(
        &self,
        case: &Case,
        session: &Session,
        found: &Found,
        admission: Admission,
        now: UnixMs,
    ) -> Answer {
        let Admission { grant, until } = admission;
        let lifetime_secs = grant
            .lifetime
            .spread_secs(u64::from_ne_bytes(random::nonce()));
        let expires_at_secs = until
            .as_secs()
            .min(now.as_secs().saturating_add_unsigned(lifetime_secs));
        let id = &session.identity.id;
        let user = self
            .replies
            .user_jwt(case, id, &grant, now, expires_at_secs);
        self.grants.settle(
            id,
            &session.place,
            Granted {
                permission_hash: permission_hash(&grant),
                until: UnixMs::from_secs(expires_at_secs),
            },
        );
        Answer {
            payload: Some(self.replies.seal(case, Ok(&user), now)),
            identity: Some(session.identity.clone()),
            outcome: Ok(Allowed {
                policy: grant.policy,
                source: found.source,
                begins_overlap: found
                    .record
                    .as_ref()
                    .is_some_and(|record| record.begins_overlap(&session.identity.fingerprint)),
            }),
        }
    }

    /// Answers a verified request with an error, so that its server need not wait.
    fn refuse(
        &self,
        case: &Case,
        session: Option<&Session>,
        denial: Denial,
        now: UnixMs,
    ) -> Answer {
        if let Some(session) = session {
            self.grants.forget(&session.identity.id, &session.place);
        }
        Answer {
            payload: Some(self.replies.seal(case, Err(denial.reason.as_str()), now)),
            identity: session.map(|session| session.identity.clone()),
            outcome: Err(denial),
        }
    }

    /// Drops what a case has left behind that will not be answered.
    pub(crate) fn forget(&self, case: &Case) {
        if let Ok(identity) = self.claimants.identify(&case.request) {
            self.grants.forget(&identity.id, &place(&case.request));
        }
    }
}

impl Answer {
    /// An end without an answer: for messages that no server of ours would send, or wait for.
    pub(crate) fn silent(denial: Denial) -> Self {
        Self {
            payload: None,
            identity: None,
            outcome: Err(denial),
        }
    }
}

#[cfg(test)]
mod tests;
