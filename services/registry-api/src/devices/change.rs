use axum::http::StatusCode;
use axum::response::Response;
use leafgate_access::Permission;
use leafgate_identity::DeviceId;
use leafgate_registrar::RegistrarError;
use leafgate_registry::{BuildChangeError, DeviceRecord};

use super::answer;
use crate::app::App;
use crate::extract::Command;
use crate::idempotency::{Acting, Outcome};
use crate::problem::Problem;

impl<T> Command<T> {
    /// Brings a device into another state.
    pub(super) async fn operate(
        &self,
        app: &App,
        id: &DeviceId,
        act: impl AsyncFnOnce(Acting) -> Result<DeviceRecord, RegistrarError>,
    ) -> Result<Response, Problem> {
        self.change_device(app, id, Permission::OperateDevices, act)
            .await
    }

    /// Changes a device that the caller may see, and answers with it as it is then. A change that changes nothing, or
    /// was made before, is answered the same.
    pub(super) async fn change_device(
        &self,
        app: &App,
        id: &DeviceId,
        permission: Permission,
        act: impl AsyncFnOnce(Acting) -> Result<DeviceRecord, RegistrarError>,
    ) -> Result<Response, Problem> {
        self.caller.principal.check(permission)?;
        app.device(&self.caller, id).await?;
        let outcome = self
            .carry_out(app, permission, async |acting| match act(acting).await {
                Err(RegistrarError::Change(BuildChangeError::Unchanged { .. })) => Ok(None),
                changed => changed.map(Some),
            })
            .await?;
        let record = match outcome {
            Outcome::Done(Some(record)) => record,
            Outcome::Done(None) | Outcome::Repeated(_) => app.device(&self.caller, id).await?,
        };
        Ok(answer(StatusCode::OK, &record))
    }
}
