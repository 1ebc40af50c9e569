//! `/v1/bulk`: many devices in one request, as streams of lines.

mod answer;
mod apply;
mod export;
mod import;
mod lines;
mod plan;

use std::sync::Arc;

use leafgate_api::ProblemType;
use tokio::sync::OwnedSemaphorePermit;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::problem::{LATER, Problem};

/// One JSON value on each line.
const NDJSON: &str = "application/x-ndjson";

pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::default()
        .routes(routes!(import::import_devices))
        .routes(routes!(export::export_devices))
        .routes(routes!(plan::plan_change))
        .routes(routes!(apply::apply_change))
}

impl App {
    /// A place among the requests about many devices that may go on at a time.
    fn bulk_place(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.bulk).try_acquire_owned().map_err(|_| {
            let detail = "as many requests about many devices are going on as there may be";
            Problem::new(ProblemType::Overloaded, detail).retry_after(LATER)
        })
    }
}
