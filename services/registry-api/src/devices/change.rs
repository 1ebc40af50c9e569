use axum::http::StatusCode;
use axum::response::Response;
use futures::FutureExt;
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
    /// Changes a device that the caller may see, and answers with it as it is then. A change that changes nothing, or
    /// was made before, is answered the same.
    pub(super) async fn change_device<F>(
        &self,
        app: &App,
        id: &DeviceId,
        permission: Permission,
        act: impl FnOnce(Acting) -> F,
    ) -> Result<Response, Problem>
    where
        F: Future<Output = Result<DeviceRecord, RegistrarError>>,
    {
        self.caller.principal.check(permission)?;
        app.device(&self.caller, id).await?;
        let outcome = self
            .carry_out(app, permission, |acting| {
                act(acting).map(|result| match result {
                    Err(RegistrarError::Change(BuildChangeError::Unchanged { .. })) => Ok(None),
                    changed => changed.map(Some),
                })
            })
            .await?;
        let record = match outcome {
            Outcome::Done(Some(record)) => record,
            Outcome::Done(None) | Outcome::Repeated(_) => app.device(&self.caller, id).await?,
        };
        Ok(answer(StatusCode::OK, &record))
    }
}
