use std::num::NonZeroU32;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use futures::StreamExt;
use futures::stream::BoxStream;
use leafgate_access::Permission;
use leafgate_api::{ApplyBulk, BulkAction, BulkOutcome, BulkResult};
use leafgate_registrar::{BulkResult as Applied, RegistrarError};

use super::answer::{Answer, BrokenOff, answer, line_problem};
use super::plan::{action_of, filter_of};
use crate::app::App;
use crate::extract::Command;
use crate::problem::Problem;

/// The highest rate, in devices a second.
const MAX_RATE: u32 = 100_000;
/// How many results are sent together, where so many are there.
const TOGETHER: usize = 64;

/// Change many devices
///
/// Only if they are as many as a plan said. The answer has one line for each (schema `BulkResult`), which comes when the
/// device has had its turn; of one that is revoked or deleted when the revocation lists and status answers that are
/// served hold it. The change stops when nobody reads the answer. What broke off goes on by planning and applying again:
/// devices that were changed are not selected any more.
#[utoipa::path(
    post,
    path = "/v1/bulk/apply",
    tag = "bulk",
    request_body = ApplyBulk,
    responses((
        status = OK,
        description = "One result for each device",
        body = String,
        content_type = "application/x-ndjson",
    )),
)]
pub(super) async fn apply_change(
    State(app): State<Arc<App>>,
    command: Command<ApplyBulk>,
) -> Result<Response, Problem> {
    let Command { caller, body, .. } = command.unconditional()?;
    caller.principal.check(Permission::OperateDevices)?;
    let place = app.bulk_place()?;
    let rate = body.devices_per_second.map(rate_of).transpose()?;
    let filter = filter_of(&body.filter, &caller)?;
    let action = action_of(body.action, body.reason)?;
    let expected = usize::try_from(body.expected).unwrap_or(usize::MAX);
    let acting = caller.acting(&app, Permission::OperateDevices);
    let act = {
        let (app, actor) = (Arc::clone(&app), acting.act.actor);
        move || app.act(actor.clone())
    };
    let results = acting
        .registrar
        .apply(filter, action, expected, rate, act)
        .await?;
    let following = Following {
        app: Arc::clone(&app),
        of: body.expected,
        revokes: matches!(body.action, BulkAction::Revoke | BulkAction::Delete),
    };
    Ok(answer(app, caller, move |answer| async move {
        let _place = place;
        following.tell(results, &answer).await?;
        answer.end().await
    }))
}

fn rate_of(devices_per_second: u32) -> Result<NonZeroU32, Problem> {
    let rate = NonZeroU32::new(devices_per_second).filter(|rate| rate.get() <= MAX_RATE);
    rate.ok_or_else(|| {
        let detail = format!("devices_per_second must be from 1 to {MAX_RATE}");
        Problem::malformed(detail)
    })
}

struct Following {
    app: Arc<App>,
    of: u64,
    revokes: bool,
}

impl Following {
    async fn tell(
        self,
        results: BoxStream<'static, Applied>,
        answer: &Answer,
    ) -> Result<(), BrokenOff> {
        let mut done = 0;
        let mut results = results.ready_chunks(TOGETHER);
        while let Some(chunk) = results.next().await {
            let revoked = self.revokes && chunk.iter().any(|result| result.outcome.is_ok());
            let unserved = if revoked {
                self.app.serve_revocations().await.err()
            } else {
                None
            };
            let shown: Vec<BulkResult> = chunk
                .into_iter()
                .map(|result| {
                    done += 1;
                    self.shown(done, result, unserved.as_ref())
                })
                .collect();
            answer.send(shown).await?;
        }
        Ok(())
    }

    fn shown(&self, done: u64, result: Applied, unserved: Option<&Problem>) -> BulkResult {
        let (outcome, state, problem) = match result.outcome {
            Ok(record) => (
                BulkOutcome::Changed,
                Some(record.device.state),
                unserved.cloned(),
            ),
            // Another spelling of the same: it was, and is no longer.
            Err(RegistrarError::NotSelected { .. } | RegistrarError::DeviceUnknown { .. }) => {
                (BulkOutcome::Skipped, None, None)
            }
            Err(error) => (BulkOutcome::Failed, None, Some(error.into())),
        };
        BulkResult {
            done,
            of: self.of,
            id: result.id,
            outcome,
            state,
            problem: problem.map(line_problem),
        }
    }
}
