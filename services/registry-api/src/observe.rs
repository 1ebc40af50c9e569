//! What every request passes, whatever it asks for: it gets an id, finds room, and its answer is finished, counted and
//! logged.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use leafgate_api::{ProblemDocument, ProblemType};
use leafgate_registry::Actor;

use crate::app::App;
use crate::authenticate::Caller;
use crate::listener::Peer;
use crate::metrics::name_of;
use crate::problem::{Problem, SOON, chain};
use crate::refusals::is_refusal;
use crate::request_id::{RequestId, X_REQUEST_ID};

/// The route of what no route matches, in logs and metrics.
const NO_ROUTE: &str = "none";
/// Who asks when nobody was identified.
const ANONYMOUS: &str = "anonymous";

pub(crate) async fn observe(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let began = app.clock.monotonic();
    let seen = Seen::of(&app, &request);
    let mut response = match app.room.try_acquire() {
        Ok(_place) => carry_out(request, next).await,
        Err(_) => {
            let detail = "the service is working on as many requests as it may";
            let problem = Problem::new(ProblemType::Overloaded, detail);
            problem.retry_after(SOON).into_response()
        }
    };
    let problem = response.extensions_mut().remove::<Problem>();
    if let Some(problem) = &problem {
        seen.write_problem(problem, &mut response);
    }
    let headers = response.headers_mut();
    headers.insert(X_REQUEST_ID, seen.request_id.header());
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    let took = app.clock.monotonic().saturating_sub(began);
    app.metrics
        .answered(&seen.route, &seen.method, response.status().as_u16(), took);
    seen.log(&app, &response, problem.as_ref(), took);
    response
}

/// An answer to somebody who is known otherwise than by an API key.
pub(crate) fn answered_to(actor: &Actor, answer: Result<Response, Problem>) -> Response {
    let mut response = answer.into_response();
    response.extensions_mut().insert(actor.clone());
    response
}

/// A bug in one handler must not take the connection's other requests with it.
async fn carry_out(request: Request, next: Next) -> Response {
    let answering = AssertUnwindSafe(next.run(request)).catch_unwind();
    answering.await.unwrap_or_else(|_| {
        let detail = "the service's log holds the cause under this request_id";
        Problem::new(ProblemType::Internal, detail).into_response()
    })
}

/// What is remembered of a request for the end of its answer.
struct Seen {
    request_id: RequestId,
    method: axum::http::Method,
    route: String,
    path: String,
    source: String,
}

impl Seen {
    fn of(app: &App, request: &Request) -> Self {
        let matched = request.extensions().get::<MatchedPath>();
        let peer = request.extensions().get::<Peer>();
        Self {
            request_id: RequestId::of(request.headers(), app.clock.now()),
            method: request.method().clone(),
            route: matched.map_or(NO_ROUTE, MatchedPath::as_str).to_owned(),
            path: request.uri().path().to_owned(),
            source: peer.map_or_else(String::new, |peer| peer.address.ip().to_string()),
        }
    }

    fn write_problem(&self, problem: &Problem, response: &mut Response) {
        if let Some(source) = &problem.source {
            tracing::error!(
                error = chain(&**source),
                problem = problem.kind.as_str(),
                request_id = %self.request_id,
                "a request failed"
            );
        }
        let document = ProblemDocument {
            type_uri: problem.kind.uri().to_owned(),
            title: problem.kind.title().to_owned(),
            status: problem.kind.status(),
            detail: problem.detail.clone(),
            instance: self.path.clone(),
            request_id: self.request_id.to_string(),
        };
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.remove(header::CONTENT_LENGTH);
        if let Some(time) = problem.retry_after {
            headers.insert(header::RETRY_AFTER, whole_secs(time).into());
        }
        if response.status() == StatusCode::UNAUTHORIZED {
            let bearer = HeaderValue::from_static("Bearer realm=\"leafgate\"");
            let headers = response.headers_mut();
            headers.entry(header::WWW_AUTHENTICATE).or_insert(bearer);
        }
        *response.body_mut() = Body::from(body);
    }

    fn log(
        &self,
        app: &App,
        response: &Response,
        problem: Option<&Problem>,
        took: std::time::Duration,
    ) {
        let extensions = response.extensions();
        let caller = extensions.get::<Caller>();
        let actor = caller
            .map(|caller| caller.principal.name.as_str())
            .or_else(|| extensions.get::<Actor>().map(Actor::as_str))
            .unwrap_or(ANONYMOUS);
        if let Some(kind) = problem.map(|problem| problem.kind)
            && is_refusal(kind)
        {
            app.metrics.refused(kind);
            app.refusals.count(actor, kind);
        }
        tracing::info!(
            method = name_of(&self.method),
            route = self.route,
            status = response.status().as_u16(),
            problem = problem.map(|problem| problem.kind.as_str()),
            actor,
            source = self.source,
            request_id = %self.request_id,
            micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            "request"
        );
    }
}

/// Rounded up: whoever waits that long may try again.
fn whole_secs(time: std::time::Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
