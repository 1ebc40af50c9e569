use std::sync::Arc;
use std::time::Duration;

use async_nats::{Message, Subject};
use leafgate_admission::{Denial, Reason};
use leafgate_nats_config::subjects::AUTH_REPLY;
use leafgate_nats_jwt::{
    AuthorizationRequest, CurvePublicKey, OpenRequestError, UnverifiedRequest, verify_batch,
};

use crate::backlog::Waiting;
use crate::decider::{Case, Decider};
use crate::random;
use crate::refusal::denial;
use crate::servers::ServerXkey;

/// The header that names the xkey of a sealed request (nats-server `auth_callout.go`).
const XKEY_HEADER: &str = "Nats-Server-Xkey";

/// What messages turned out to be.
pub(crate) struct TakenIn {
    /// Requests that a server did make, and where their answers go.
    pub(crate) authentic: Vec<(Case, Subject)>,
    /// Why the others deserve no answer, and when they were received.
    pub(crate) dropped: Vec<(Denial, Duration)>,
}

/// Reads messages as requests and verifies them, together where that is cheaper.
pub(crate) fn take_in(decider: &Decider, waiting: Vec<Waiting<Message>>) -> TakenIn {
    let mut authentic = Vec::with_capacity(waiting.len());
    let mut dropped = Vec::new();
    let mut unverified = Vec::with_capacity(waiting.len());
    let mut places = Vec::with_capacity(waiting.len());
    for Waiting { item, received } in waiting {
        match open(decider, item, received) {
            Ok(Opened { request, place }) => match place.trust(request) {
                Ok(request) => authentic.push(place.into_case(request)),
                Err(request) => {
                    unverified.push(request);
                    places.push(place);
                }
            },
            Err(denial) => dropped.push((denial, received)),
        }
    }
    for (result, place) in verify_batch(unverified, &mut random::rng())
        .into_iter()
        .zip(places)
    {
        match result {
            Ok(request) => authentic.push(place.into_case(request)),
            Err(error) => dropped.push((denial(Reason::RequestForged, &error), place.received)),
        }
    }
    TakenIn { authentic, dropped }
}

/// Reads a message as a request, without believing it. The deadline comes before any cryptography.
fn open(decider: &Decider, message: Message, received: Duration) -> Result<Opened, Denial> {
    if decider.time_left(received).is_none() {
        return Err(Reason::DeadlinePassed.into());
    }
    let reply = message
        .reply
        .filter(|reply| reply.starts_with(AUTH_REPLY.trim_end_matches('>')))
        .ok_or(Reason::ReplySubjectForeign)?;
    let xkey = message
        .headers
        .as_ref()
        .and_then(|headers| headers.get(XKEY_HEADER));
    let (request, server_xkey) = match xkey {
        Some(xkey) => {
            let (request, server_xkey) = unseal(decider, &message.payload, xkey.as_str())?;
            (request, Some(server_xkey))
        }
        None if decider.servers.requires_sealing() => {
            return Err(Reason::RequestUnsealed.into());
        }
        None => {
            let request = UnverifiedRequest::decode(&message.payload)
                .map_err(|error| denial(Reason::RequestMalformed, &error))?;
            (request, None)
        }
    };
    let place = RequestPlace {
        server_xkey,
        received,
        reply,
    };
    Ok(Opened { request, place })
}

fn unseal(
    decider: &Decider,
    payload: &[u8],
    xkey: &str,
) -> Result<(UnverifiedRequest, Arc<ServerXkey>), Denial> {
    let broken = |error: &dyn std::error::Error| denial(Reason::RequestSealBroken, error);
    let xkey = CurvePublicKey::parse(xkey).map_err(|error| broken(&error))?;
    let server_xkey = decider
        .servers
        .server_xkey(&xkey)
        .map_err(|error| broken(&error))?
        .ok_or_else(|| Denial {
            reason: Reason::RequestSealBroken,
            detail: "the request is sealed, but no xkey_seed_file is configured".to_owned(),
        })?;
    let request =
        UnverifiedRequest::open(payload, &server_xkey.shared).map_err(|error| match error {
            OpenRequestError::Box(error) => broken(&error),
            OpenRequestError::Decode(error) => denial(Reason::RequestMalformed, &error),
        })?;
    Ok((request, server_xkey))
}

struct Opened {
    request: UnverifiedRequest,
    place: RequestPlace,
}

/// Where a request came from, and where its answer goes.
struct RequestPlace {
    server_xkey: Option<Arc<ServerXkey>>,
    received: Duration,
    reply: Subject,
}

impl RequestPlace {
    /// Takes the opened box as proof of origin where its xkey is bound to the server.
    fn trust(&self, request: UnverifiedRequest) -> Result<AuthorizationRequest, UnverifiedRequest> {
        match self.server_xkey.as_ref().and_then(|xkey| xkey.binding()) {
            Some(binding) => request.trust_opened_box(binding),
            None => Err(request),
        }
    }

    fn into_case(self, request: AuthorizationRequest) -> (Case, Subject) {
        let case = Case {
            request,
            server_xkey: self.server_xkey,
            received: self.received,
        };
        (case, self.reply)
    }
}
