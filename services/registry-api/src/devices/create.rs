use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use leafgate_access::Permission;
use leafgate_api::{Device, ProblemType, RegisterDevice};
use leafgate_identity::DeviceId;
use leafgate_registry::{DeviceRecord, NewDevice};

use super::answer;
use crate::app::App;
use crate::authenticate::Caller;
use crate::extract::Command;
use crate::idempotency::Outcome;
use crate::problem::Problem;

/// Register a device
///
/// The device gets no certificate yet. The id of a deleted device can be registered again: as a new generation, which
/// accepts none of the old certificates.
#[utoipa::path(
    post,
    path = "/v1/devices",
    tag = "devices",
    request_body = RegisterDevice,
    responses((
        status = CREATED,
        description = "The device as registered",
        body = Device,
        headers(("Location" = String, description = "Its path")),
    )),
)]
pub(super) async fn create_device(
    State(app): State<Arc<App>>,
    command: Command<RegisterDevice>,
) -> Result<Response, Problem> {
    let command = command.unconditional()?;
    let permission = Permission::ProvisionDevices;
    command.caller.principal.check(permission)?;
    let new = described(&app, &command.body)?;
    let id = new.id.clone();
    let within_scope = command.caller.reaches_new(&new);
    let outcome = command
        .carry_out(&app, permission, async |it| {
            it.registrar.register(new, &it.act).await
        })
        .await;
    let record = match outcome {
        Ok(Outcome::Done(record)) => record,
        Ok(Outcome::Repeated(_)) => app.device(&command.caller, &id).await?,
        Err(problem) => {
            return Err(match problem.kind {
                ProblemType::DeviceExists => taken(&app, &command.caller, &id, problem).await,
                // The new device is within the scope: it is the deleted one of this id that is not.
                ProblemType::ScopeExceeded if within_scope => {
                    taken(&app, &command.caller, &id, problem).await
                }
                _ => problem,
            });
        }
    };
    let mut response = answer(StatusCode::CREATED, &record);
    let location = format!("/v1/devices/{}", record.device.id);
    let location = HeaderValue::from_str(&location).expect("a device id is visible ASCII");
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

/// The device that a request describes.
pub(crate) fn described(app: &App, body: &RegisterDevice) -> Result<NewDevice, Problem> {
    let RegisterDevice {
        id,
        device_type,
        site,
        attributes,
        trust_domain,
        pending,
    } = body.clone();
    Ok(NewDevice {
        id,
        trust_domain: trust_domain.map_or_else(|| app.only_domain(), Ok)?,
        pending,
        device_type,
        site,
        attributes,
    })
}

/// What the caller may know of the device that has the id.
pub(crate) async fn taken(app: &App, caller: &Caller, id: &DeviceId, problem: Problem) -> Problem {
    let detail = match app.store.load(id).await {
        Ok(Some(record)) if caller.reaches(&record) => described_as_taken(&record),
        Ok(None) if caller.reaches_everything() => problem.detail,
        _ => format!("the id {id} is taken; ids are unique ignoring case"),
    };
    Problem::new(ProblemType::DeviceExists, detail)
}

fn described_as_taken(record: &DeviceRecord) -> String {
    let device = &record.device;
    let at = device.registered_at_ms.to_string();
    let day = at.split('T').next().unwrap_or_default();
    format!(
        "{} was registered on {day} and is {}",
        device.id, device.state
    )
}
