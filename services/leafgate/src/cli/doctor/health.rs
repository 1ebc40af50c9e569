use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, redirect};
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;

use super::Doctor;
use crate::cli::error::{CliError, Exit};

/// How long anybody may take to answer.
pub(super) const LIMIT: Duration = Duration::from_secs(10);

const CHECK: &str = "health";

/// Health and revocation status are served over plain HTTP alone, so nobody is trusted to speak for HTTPS.
pub(super) fn plain_http() -> Result<Client, CliError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("aws-lc-rs has cipher suites of TLS 1.2 and 1.3")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .timeout(LIMIT)
        .redirect(redirect::Policy::none())
        .build()
        .map_err(|error| CliError::caused(Exit::Wrong, &error))
}

/// What `/readyz` answers.
#[derive(Deserialize)]
struct Readiness {
    ready: bool,
    #[serde(default)]
    degraded: Vec<String>,
}

impl Doctor<'_> {
    /// Asks a service whether it takes work, and what it works without.
    pub(super) async fn check_health(&mut self, url: &str) {
        let base = url.trim_end_matches('/');
        let answer = match self.http.get(format!("{base}/readyz")).send().await {
            Ok(answer) => answer.bytes().await,
            Err(error) => Err(error),
        };
        let body = match answer {
            Ok(body) => body,
            Err(error) => {
                let remedy =
                    "start the service, or let this machine reach its [http] or [health] listener";
                let detail = format!("no answer: {}", innermost(&error));
                return self.report.fail(CHECK, url, detail, remedy);
            }
        };
        match serde_json::from_slice::<Readiness>(&body) {
            Err(_) => {
                let detail = "it does not answer as a health listener";
                self.report.fail(
                    CHECK,
                    url,
                    detail,
                    "name the health listener of a leafgate service",
                );
            }
            Ok(Readiness { ready, degraded }) => {
                let without = degraded.join(", ");
                let look = "its log says since when and why";
                match (ready, degraded.is_empty()) {
                    (true, true) => self.report.ok(CHECK, url, "ready"),
                    (true, false) => {
                        self.report
                            .warn(CHECK, url, format!("ready, without {without}"), look);
                    }
                    (false, _) => {
                        self.report
                            .fail(CHECK, url, format!("not ready, without {without}"), look);
                    }
                }
            }
        }
    }
}

pub(super) fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
