//! Acts that are carried out once, however often they are asked for with one `Idempotency-Key`.

use aws_lc_rs::digest;
use axum::Json;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER;
use leafgate_access::Permission;
use leafgate_api::ProblemType;
use leafgate_identity::UnixMs;
use leafgate_registrar::{ErrorKind, RecordedRequest, Registrar, RegistrarError, RequestKey};
use leafgate_registry::{Act, Actor, DocumentName};
use serde::Serialize;

use crate::app::App;
use crate::authenticate::Caller;
use crate::extract::{Command, IfMatch};
use crate::problem::Problem;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const MAX_LEN: usize = 128;

/// The client's name for one act, with what the act was.
#[derive(Debug, Clone)]
pub(crate) struct IdempotencyKey(RequestKey);

impl IdempotencyKey {
    /// The key that the client gave. Another principal's key of the same text is another key.
    pub(crate) fn of(
        headers: &HeaderMap,
        principal: &str,
        request_sha256: &str,
    ) -> Result<Option<Self>, Problem> {
        let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        let visible = value.as_bytes().iter().all(u8::is_ascii_graphic);
        if !visible || !(1..=MAX_LEN).contains(&value.len()) || values.next().is_some() {
            let detail = format!("Idempotency-Key has 1 to {MAX_LEN} visible ASCII characters");
            return Err(Problem::malformed(detail));
        }
        let text = [principal.as_bytes(), b"\0", value.as_bytes()].concat();
        let name = HEXLOWER.encode(digest::digest(&digest::SHA256, &text).as_ref());
        Ok(Some(Self(RequestKey {
            name: DocumentName::parse(&name).expect("hexadecimal names documents"),
            request_sha256: request_sha256.to_owned(),
        })))
    }
}

/// An act that is about to be carried out: by whom, when, and with what rights.
pub(crate) struct Acting {
    /// Checks rights, version and idempotency key in every commit.
    pub(crate) registrar: Registrar,
    pub(crate) act: Act,
}

/// What came of an act.
pub(crate) enum Outcome<T> {
    /// It was carried out.
    Done(T),
    /// It had been carried out before.
    Repeated(RecordedRequest),
}

impl<T> Command<T> {
    /// Carries out an act that needs this permission on every device that it changes; or finds that it was carried out
    /// before, where the client gave the request a key.
    pub(crate) async fn carry_out<R>(
        &self,
        app: &App,
        permission: Permission,
        act: impl AsyncFnOnce(Acting) -> Result<R, RegistrarError>,
    ) -> Result<Outcome<R>, Problem> {
        self.caller.principal.check(permission)?;
        let acting = self.acting(app, permission);
        let Some(IdempotencyKey(key)) = &self.idempotency_key else {
            return Ok(Outcome::Done(act(acting).await?));
        };
        let now = acting.act.at;
        if let Some(recorded) = find(app, key, now).await? {
            return Ok(Outcome::Repeated(recorded));
        }
        match act(acting).await {
            Ok(done) => Ok(Outcome::Done(done)),
            // The same request, side by side, may have come first and be what stands in the way.
            Err(error) if error.kind() == ErrorKind::Conflict => match find(app, key, now).await? {
                Some(recorded) => Ok(Outcome::Repeated(recorded)),
                None => Err(error.into()),
            },
            Err(error) => Err(error.into()),
        }
    }

    fn acting(&self, app: &App, permission: Permission) -> Acting {
        let Acting { mut registrar, act } = self.acting_again(app, permission);
        if let Some(IfMatch::Version(version)) = self.if_match {
            registrar = registrar.if_version(version);
        }
        if let Some(IdempotencyKey(key)) = &self.idempotency_key {
            registrar = registrar.once(key.clone());
        }
        Acting { registrar, act }
    }

    /// For what is asked again because its answer is needed: neither the version nor the key stand in its way.
    pub(crate) fn acting_again(&self, app: &App, permission: Permission) -> Acting {
        self.caller.acting(app, permission)
    }
}

impl Caller {
    /// An act of the caller that needs this permission on every device that it changes.
    pub(crate) fn acting(&self, app: &App, permission: Permission) -> Acting {
        let principal = &self.principal;
        let actor = Actor::parse(&principal.name).expect("principals have short plain names");
        Acting {
            registrar: app.registrar.on_behalf_of(principal, permission),
            act: app.act(actor),
        }
    }
}

async fn find(
    app: &App,
    key: &RequestKey,
    now: UnixMs,
) -> Result<Option<RecordedRequest>, Problem> {
    let found = app.registrar.find_request(&key.name, now).await?;
    match found {
        Some(recorded) if recorded.request_sha256 != key.request_sha256 => Err(Problem::new(
            ProblemType::IdempotencyKeyReused,
            format!(
                "this Idempotency-Key was given to another request at {}",
                recorded.at
            ),
        )),
        found => Ok(found),
    }
}

/// An answer that may hold a secret that is kept nowhere.
pub(crate) fn not_to_be_stored(status: StatusCode, body: impl Serialize) -> Response {
    let headers = [(header::CACHE_CONTROL, "no-store")];
    (status, headers, Json(body)).into_response()
}

/// What is said of a request whose answer held a secret that is kept nowhere.
pub(crate) fn spent(recorded: &RecordedRequest) -> Problem {
    let made: Vec<&str> = recorded
        .outcome
        .iter()
        .filter_map(|outcome| {
            outcome
                .certificate
                .as_deref()
                .or(outcome.document.as_deref())
        })
        .collect();
    let detail = format!(
        "this was carried out at {} and its secret given once; it made {}",
        recorded.at,
        made.join(", ")
    );
    Problem::new(ProblemType::IdempotencyKeySpent, detail)
}
