use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use axum::response::Response;
use futures::{Stream, StreamExt};
use leafgate_access::Permission;
use leafgate_api::{ImportOutcome, ImportResult, ProblemType, RegisterDevice};
use leafgate_identity::DeviceId;
use leafgate_registrar::{Imported, RegistrarError};
use leafgate_registry::NewDevice;

use super::answer::{Answer, BrokenOff, answer, line_problem};
use super::lines::{Line, LineRequest};
use crate::app::App;
use crate::authenticate::Caller;
use crate::devices::{described, taken};
use crate::extract::parse_json;
use crate::problem::Problem;

/// How many results are sent together, where so many are there.
const TOGETHER: usize = 512;

/// Import devices
///
/// One device on each line, as `POST /v1/devices` takes it (schema `RegisterDevice`), of at most 64 KiB. The answer has
/// one line for each (schema `ImportResult`), in their order, and comes while the lines are sent: read it meanwhile, for
/// nothing is taken faster than its results are read. A bad line fails alone. Lines that were imported before are
/// `unchanged`: after a broken connection, send the same lines again. An answer that ends without breaking off tells of
/// every line.
#[utoipa::path(
    post,
    path = "/v1/bulk/import",
    tag = "bulk",
    request_body(content = String, content_type = "application/x-ndjson", description = "One device on each line"),
    responses((
        status = OK,
        description = "One result for each line",
        body = String,
        content_type = "application/x-ndjson",
    )),
)]
pub(super) async fn import_devices(
    State(app): State<Arc<App>>,
    request: LineRequest,
) -> Result<Response, Problem> {
    let LineRequest { caller, lines } = request;
    caller.principal.check(Permission::ProvisionDevices)?;
    let place = app.bulk_place()?;
    let broken = Arc::new(AtomicBool::new(false));
    let lines = {
        let broken = Arc::clone(&broken);
        lines.stream().filter_map(move |line| {
            broken.fetch_or(line.is_err(), Ordering::Relaxed);
            std::future::ready(line.ok())
        })
    };
    let importing = Importing {
        app: Arc::clone(&app),
        caller: caller.clone(),
    };
    Ok(answer(app, caller, move |answer| async move {
        let _place = place;
        importing.carry_out(lines, &answer).await?;
        if broken.load(Ordering::Relaxed) {
            return Err(BrokenOff);
        }
        answer.end().await
    }))
}

struct Importing {
    app: Arc<App>,
    caller: Caller,
}

/// What a result is told under.
struct Key {
    line: u64,
    id: Option<DeviceId>,
    within_scope: bool,
}

/// Why a line is not registered.
struct Refused(Problem);

impl From<RegistrarError> for Refused {
    fn from(error: RegistrarError) -> Self {
        Self(error.into())
    }
}

impl Importing {
    async fn carry_out(
        self,
        lines: impl Stream<Item = Line> + Send + 'static,
        answer: &Answer,
    ) -> Result<(), BrokenOff> {
        let acting = self.caller.acting(&self.app, Permission::ProvisionDevices);
        let act = {
            let (app, actor) = (Arc::clone(&self.app), acting.act.actor);
            move || app.act(actor.clone())
        };
        let importing = Arc::new(self);
        let devices = {
            let importing = Arc::clone(&importing);
            lines.map(move |(line, text)| importing.read(line, text))
        };
        let mut results = acting.registrar.import(devices, act).ready_chunks(TOGETHER);
        while let Some(chunk) = results.next().await {
            let mut shown = Vec::with_capacity(chunk.len());
            for (key, result) in chunk {
                shown.push(importing.shown(key, result).await);
            }
            answer.send(shown).await?;
        }
        Ok(())
    }

    fn read(
        &self,
        line: u64,
        text: Result<impl AsRef<[u8]>, Problem>,
    ) -> (Key, Result<NewDevice, Refused>) {
        let mut key = Key {
            line,
            id: None,
            within_scope: false,
        };
        let described = text.and_then(|text| {
            let body: RegisterDevice = parse_json(text.as_ref())?;
            key.id = Some(body.id.clone());
            let new = described(&self.app, &body)?;
            key.within_scope = self.caller.reaches_new(&new);
            Ok(new)
        });
        (key, described.map_err(Refused))
    }

    async fn shown(&self, key: Key, result: Result<Imported, Refused>) -> ImportResult {
        let Key {
            line,
            id,
            within_scope,
        } = key;
        let (outcome, problem) = match result {
            Ok(Imported::Registered(_)) => (ImportOutcome::Registered, None),
            Ok(Imported::Unchanged(_)) => (ImportOutcome::Unchanged, None),
            Err(Refused(problem)) => {
                let problem = match (problem.kind, &id) {
                    (ProblemType::DeviceExists, Some(id)) => self.taken(id, problem).await,
                    // The device is within the scope: it is the one that has this id that is not.
                    (ProblemType::ScopeExceeded, Some(id)) if within_scope => {
                        self.taken(id, problem).await
                    }
                    _ => problem,
                };
                (ImportOutcome::Failed, Some(line_problem(problem)))
            }
        };
        ImportResult {
            line,
            id,
            outcome,
            problem,
        }
    }

    async fn taken(&self, id: &DeviceId, problem: Problem) -> Problem {
        taken(&self.app, &self.caller, id, problem).await
    }
}
