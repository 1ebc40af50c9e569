use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use leafgate_api::ProblemDocument;
use reqwest::{Certificate, Client, header};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;

const TIMEOUT: Duration = Duration::from_secs(10);

/// The registry API, as a script would use it.
pub(super) struct Api {
    http: Client,
    url: String,
}

impl Api {
    pub(super) fn new(url: &str, ca_file: &Path) -> anyhow::Result<Self> {
        let ca = fs::read(ca_file).with_context(|| format!("can't read {}", ca_file.display()))?;
        let http = Client::builder()
            .tls_certs_only(Certificate::from_pem_bundle(&ca)?)
            .no_proxy()
            .timeout(TIMEOUT)
            .build()?;
        let url = url.to_owned();
        Ok(Self { http, url })
    }

    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        token: &SecretString,
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        let answer = self
            .http
            .post(format!("{}{path}", self.url))
            .header(header::CONTENT_TYPE, "application/json")
            .bearer_auth(token.expose_secret().trim())
            .body(serde_json::to_vec(body)?)
            .send()
            .await?;
        let status = answer.status();
        let text = answer.bytes().await?;
        if status.is_success() {
            return Ok(serde_json::from_slice(&text)?);
        }
        let problem: ProblemDocument = serde_json::from_slice(&text)
            .with_context(|| format!("the registry answered {status}"))?;
        bail!("the registry answered {status}: {}", problem.detail)
    }
}
