use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use leafgate_admission::{Admission, Denial, Facts, Reason, admit};
use leafgate_identity::{
    DeviceId, DeviceIdentity, Excerpt, ParsedChain, ResolveIdentityError, UnixMs,
};
use leafgate_nats_jwt::{
    AuthorizationRequest, CheckRequestError, ClientInfo, Expected, Limits, Permissions,
    ResponseClaims, ResponsePermission, SigningKey, SubjectRules, UserClaims,
};
use leafgate_policy::{ConnectionFacts, ConnectionType, Grant, is_mqtt_client_id_of};
use leafgate_registry::StoreError;
use leafgate_runtime::Clock;
use quick_cache::sync::Cache;

use crate::grants::{Granted, Grants, Place, Session};
use crate::random;
use crate::records::{Found, Records, Source};
use crate::servers::{Peer, Servers, Standing};
use crate::setup::Trust;

/// How far a server's clock may differ from this one.
const REQUEST_LEEWAY_SECS: u32 = 60;

/// Parsed certificate chains kept in memory.
const CHAINS: usize = 65_536;

/// Decides about verified requests: the one place where a device is let in.
pub(crate) struct Decider {
    pub(crate) servers: Servers,
    pub(crate) records: Records,
    pub(crate) grants: Grants,
    pub(crate) clock: Arc<dyn Clock>,
    trust: Arc<Trust>,
    site: String,
    issuer: SigningKey,
    deadline: Duration,
    chains: Cache<[u8; 32], Arc<ParsedChain>>,
}

/// A verified request on its way to an answer.
pub(crate) struct Case {
    pub(crate) request: AuthorizationRequest,
    /// The box that the request came in; the answer leaves in the same.
    pub(crate) peer: Option<Arc<Peer>>,
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
            trust,
            site,
            issuer,
            deadline,
            chains: Cache::new(CHAINS),
        }
    }

    /// Whether an answer to what was received then would come too late.
    pub(crate) fn is_late(&self, received: Duration) -> bool {
        self.clock.monotonic().saturating_sub(received) > self.deadline
    }

    /// Decides with what is in memory.
    pub(crate) fn try_decide(&self, case: &Case) -> Step {
        self.decide(case, None)
    }

    /// Decides, asking the system account and the store for what is missing.
    pub(crate) async fn decide_fully(&self, case: &Case) -> Answer {
        let mut looked_up = None;
        loop {
            if self.is_late(case.received) {
                self.forget(case);
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
        if let Some(peer) = &case.peer {
            peer.bind(request);
        }
        let session = match self.session(request) {
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
            subject: Some(self.issuer.public().as_str()),
        };
        request
            .check(now.as_secs(), &expected, REQUEST_LEEWAY_SECS)
            .map_err(|error| denial(reason_of(&error), &error))
    }

    /// Who asks to come in, how and where.
    fn session(&self, request: &AuthorizationRequest) -> Result<Session, Denial> {
        let identity = self.identify(request)?;
        let connection = connection_facts(&request.client).ok_or_else(|| Denial {
            reason: Reason::ConnectionTypeNotAllowed,
            detail: format!(
                "kind {} type {}",
                request.client.kind, request.client.kind_type
            ),
        })?;
        Ok(Session {
            place: place(request),
            identity: Arc::new(identity),
            connection,
            granted: None,
        })
    }

    fn identify(&self, request: &AuthorizationRequest) -> Result<DeviceIdentity, Denial> {
        let chains = request
            .tls
            .as_ref()
            .map(|tls| tls.verified_chains.as_slice());
        let chain = chains
            .and_then(<[_]>::first)
            .ok_or(Reason::CertificateMissing)?;
        let parsed = self
            .chains
            .get_or_insert_with(&digest(chain), || ParsedChain::parse(chain).map(Arc::new))
            .map_err(|error| {
                let reason = if error.is_name() {
                    Reason::NameMalformed
                } else {
                    Reason::CertificateMalformed
                };
                denial(reason, &error)
            })?;
        DeviceIdentity::resolve(&parsed, &self.trust.domains).map_err(|error| {
            let reason = match &error {
                ResolveIdentityError::IssuerUnknown { .. } => Reason::IssuerUnknown,
                ResolveIdentityError::NameForeign { .. } => Reason::NameForeign,
                ResolveIdentityError::IdMalformed { .. } => Reason::NameMalformed,
            };
            denial(reason, &error)
        })
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
        let user = self.user_jwt(case, session, &grant, now, expires_at_secs);
        self.grants.settle(
            &session.identity.id,
            &session.place,
            Granted {
                permission_hash: permission_hash(&grant),
                until: UnixMs::from_secs(expires_at_secs),
            },
        );
        Answer {
            payload: Some(self.seal(case, Ok(&user), now)),
            identity: Some(session.identity.clone()),
            outcome: Ok(Allowed {
                policy: grant.policy,
                source: found.source,
            }),
        }
    }

    fn user_jwt(
        &self,
        case: &Case,
        session: &Session,
        grant: &Grant,
        now: UnixMs,
        expires_at_secs: i64,
    ) -> String {
        let connection_types: Vec<&str> = grant
            .connection_types
            .iter()
            .map(|connection_type| connection_type.as_str())
            .collect();
        let sources: Vec<String> = grant.sources.iter().map(ToString::to_string).collect();
        let claims = UserClaims {
            subject: &case.request.user_nkey,
            name: session.identity.id.as_str(),
            audience: &grant.account,
            issued_at_secs: now.as_secs(),
            expires_at_secs: Some(expires_at_secs),
            permissions: Permissions {
                publish: SubjectRules {
                    allow: grant.publish.allow(),
                    deny: grant.publish.deny(),
                },
                subscribe: SubjectRules {
                    allow: grant.subscribe.allow(),
                    deny: grant.subscribe.deny(),
                },
                responses: grant.responses.map(|responses| ResponsePermission {
                    max: responses.max,
                    ttl: responses.ttl,
                }),
            },
            allowed_connection_types: &connection_types,
            source_networks: &sources,
            limits: Limits {
                subscriptions: grant.limits.subscriptions,
                data_bytes: None,
                payload_bytes: grant.limits.payload_bytes,
            },
            issuer_account: None,
        };
        claims
            .encode(&self.issuer)
            .expect("the issuer was loaded as an account key")
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
            payload: Some(self.seal(case, Err(denial.reason.as_str()), now)),
            identity: session.map(|session| session.identity.clone()),
            outcome: Err(denial),
        }
    }

    fn seal(&self, case: &Case, outcome: Result<&str, &str>, now: UnixMs) -> Bytes {
        let response = ResponseClaims {
            subject: &case.request.user_nkey,
            audience: &case.request.server.id,
            issued_at_secs: now.as_secs(),
            outcome,
            issuer_account: None,
        };
        let response = response
            .encode(&self.issuer)
            .expect("the issuer was loaded as an account key, and neither outcome is empty");
        match &case.peer {
            Some(peer) => peer
                .shared
                .seal(response.as_bytes(), &random::nonce())
                .into(),
            None => response.into(),
        }
    }

    /// Drops what a case has left behind that will not be decided.
    pub(crate) fn forget(&self, case: &Case) {
        if let Ok(identity) = self.identify(&case.request) {
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

/// An MQTT client takes over the session of its client id, whoever's that is.
fn check_mqtt_client_id(session: &Session, request: &AuthorizationRequest) -> Result<(), Denial> {
    let client_id = &request.client.mqtt_id;
    if session.connection.connection_type.is_mqtt()
        && !is_mqtt_client_id_of(&session.identity.id, client_id)
    {
        return Err(Denial {
            reason: Reason::MqttClientIdForeign,
            detail: format!("mqtt_client_id {}", Excerpt::of(client_id)),
        });
    }
    Ok(())
}

fn reason_of(error: &CheckRequestError) -> Reason {
    match error {
        CheckRequestError::Type { .. }
        | CheckRequestError::Version { .. }
        | CheckRequestError::TimeMissing { .. } => Reason::RequestMalformed,
        CheckRequestError::Audience { .. } | CheckRequestError::Subject { .. } => {
            Reason::RequestMisdirected
        }
        CheckRequestError::Server { .. } => Reason::RequestForged,
        CheckRequestError::Xkey => Reason::RequestSealBroken,
        CheckRequestError::Expired { .. } => Reason::RequestExpired,
        CheckRequestError::NotYetValid { .. } => Reason::ClockSkew,
    }
}

/// A denial that tells the error with its causes.
pub(crate) fn denial(reason: Reason, error: &dyn std::error::Error) -> Denial {
    let mut detail = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        detail.push_str(": ");
        detail.push_str(&error.to_string());
        cause = error.source();
    }
    Denial { reason, detail }
}

fn place(request: &AuthorizationRequest) -> Place {
    Place {
        server_id: request.server.id,
        client_id: request.client.id,
    }
}

/// nats-server `client.go`: `kindString` and `clientTypeString`.
fn connection_facts(client: &ClientInfo) -> Option<ConnectionFacts> {
    let connection_type = match (client.kind.as_str(), client.kind_type.as_str()) {
        ("Client", "nats") => ConnectionType::Standard,
        ("Client", "websocket") => ConnectionType::Websocket,
        ("Client", "mqtt") => ConnectionType::Mqtt,
        ("Leafnode", _) => ConnectionType::Leafnode,
        _ => return None,
    };
    Some(ConnectionFacts {
        connection_type,
        source: client.host.parse::<IpAddr>().ok(),
    })
}

fn digest(chain: &[String]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for certificate in chain {
        // With its length, so that no other split of the same bytes is the same chain.
        context.update(&(certificate.len() as u64).to_be_bytes());
        context.update(certificate.as_bytes());
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

/// A hash of what a session may do: it changes when a live grant is altered.
fn permission_hash(grant: &Grant) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    grant.account.hash(&mut hasher);
    for rules in [&grant.publish, &grant.subscribe] {
        rules.allow().hash(&mut hasher);
        rules.deny().hash(&mut hasher);
    }
    let responses = grant
        .responses
        .map(|responses| (responses.max, responses.ttl));
    responses.hash(&mut hasher);
    hasher.finish()
}
