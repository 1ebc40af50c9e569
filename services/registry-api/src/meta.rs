//! What tells about the API itself, to everybody: its description, and the pages of its problems.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use leafgate_api::ProblemType;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::extract::Named;
use crate::problem::Problem;

pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::default()
        .routes(routes!(read_openapi))
        .routes(routes!(read_problem))
}

/// Read this description
#[utoipa::path(
    get,
    path = "/v1/openapi.json",
    tag = "about",
    responses((status = OK, description = "The OpenAPI document", body = Object)),
)]
async fn read_openapi(State(app): State<Arc<App>>) -> Response {
    let json = app.openapi.clone();
    ([(header::CONTENT_TYPE, "application/json")], json).into_response()
}

/// Read about a problem
#[utoipa::path(
    get,
    path = "/problems/{name}",
    tag = "about",
    params(("name" = String, Path, description = "The last part of the problem's type")),
    responses((
        status = OK,
        description = "What it means and what to do",
        body = String,
        content_type = "text/plain; charset=utf-8",
    )),
)]
async fn read_problem(Named(name): Named<String>) -> Result<Response, Problem> {
    let found = ProblemType::ALL
        .iter()
        .find(|problem| problem.as_str() == name);
    let problem = found.ok_or_else(|| {
        let detail = "no problem has this name; /v1/openapi.json lists them";
        Problem::new(ProblemType::RouteUnknown, detail)
    })?;
    let page = format!(
        "{}\n{} {}\n\n{}\n",
        problem.title(),
        problem.status(),
        problem.uri(),
        problem.page()
    );
    Ok(page.into_response())
}
