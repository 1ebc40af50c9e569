use std::path::Path;

use leafgate_api::{Enrol, EnrolledDevice};
use reqwest::Method;
use secrecy::SecretString;

use super::remote::{Access, parse_url};
use crate::cli::error::CliError;

/// Enrols a device at a registry API on the device's own behalf, by an enrolment token.
pub(crate) async fn enrol_at(
    url: &str,
    ca_file: Option<&Path>,
    token: &SecretString,
    enrol: &Enrol,
) -> Result<EnrolledDevice, CliError> {
    let access = Access::new(&parse_url(url)?, ca_file)?;
    let request = access.request(Method::POST, &["enrol"]);
    let request = request.bearer(&Access::bearing(token)?);
    request.json(enrol)?.read().await
}
