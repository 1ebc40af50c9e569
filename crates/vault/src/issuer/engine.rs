use leafgate_pki::IssueError;
use pem::Pem;
use reqwest::Method;
use serde_json::Value;

use crate::client::Vault;
use crate::client::http::Answer;
use crate::failure::Failure;

/// Where in Vault an issuer is.
#[derive(Clone)]
pub(super) struct Engine {
    pub(super) vault: Vault,
    /// Where the PKI engine is mounted.
    pub(super) mount: String,
    /// The issuer's id, which stays when another becomes the engine's default.
    pub(super) id: String,
}

impl Engine {
    /// Has the issuer sign by a role.
    pub(super) async fn sign(&self, role: &str, body: &Value) -> Result<Vec<u8>, SignError> {
        let path = format!("{}/issuer/{}/sign/{role}", self.mount, self.id);
        let answer = self.vault.request(Method::POST, &path, Some(body)).await?;
        if answer.status >= 300 {
            return Err(SignError::Refused(format!(
                "role {role} at {} of Vault{}",
                self.mount,
                answer.errors()
            )));
        }
        let certificate = answer.body.pointer("/data/certificate");
        certificate
            .and_then(Value::as_str)
            .and_then(|text| pem::parse(text).ok())
            .map(Pem::into_contents)
            .ok_or_else(|| self.odd(&path, &answer).into())
    }

    /// That Vault answered what it never should.
    pub(super) fn odd(&self, path: &str, answer: &Answer) -> Failure {
        Failure::Unwell {
            address: format!("{}, asked for {path}", self.vault.address()),
            status: answer.status,
            errors: answer.errors(),
        }
    }
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum SignError {
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl From<SignError> for IssueError {
    fn from(error: SignError) -> Self {
        match error {
            SignError::Failed(failure @ Failure::Unsupported(_)) => Self::Sign(failure.into()),
            SignError::Failed(failure) => Self::Unavailable(failure.into()),
            refused @ SignError::Refused(_) => Self::Refused(refused.into()),
        }
    }
}
