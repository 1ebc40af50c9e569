use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use leafgate_runtime::{VaultLogInConfig, read_secret, read_text};
use reqwest::Method;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::http::{Answer, Http};
use crate::config::LogIn;
use crate::failure::Failure;

/// What Vault let this process in with.
pub(crate) struct Token {
    /// Marked as sensitive, so that it prints as such.
    pub(super) header: HeaderValue,
    /// None if it doesn't end, or it isn't known when.
    pub(super) lease: Option<Lease>,
}

/// For how long a token is good.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lease {
    /// From the time that Vault told it.
    pub(super) duration: Duration,
    pub(super) renewable: bool,
}

impl LogIn {
    /// Whether this can give another token than the one it gave.
    pub(super) const fn is_repeatable(&self) -> bool {
        matches!(self, Self::As(_))
    }

    /// Gets a token.
    pub(super) async fn log_in(&self, http: &Http) -> Result<Token, Failure> {
        match self {
            Self::With(token) => given(http, token).await,
            Self::As(VaultLogInConfig::Token { token_file }) => {
                given(http, &secret_of(token_file)?).await
            }
            Self::As(
                config @ VaultLogInConfig::AppRole {
                    role_id,
                    secret_id_file,
                    mount,
                },
            ) => {
                let secret_id = secret_of(secret_id_file)?;
                let credentials =
                    json!({ "role_id": role_id, "secret_id": secret_id.expose_secret() });
                log_in_at(http, mount, &credentials, config).await
            }
            Self::As(
                config @ VaultLogInConfig::Kubernetes {
                    role,
                    jwt_file,
                    mount,
                },
            ) => {
                // Kubernetes makes it readable for every user of the pod.
                let jwt = read_text(jwt_file).map_err(failed_to_read)?;
                let credentials = json!({ "role": role, "jwt": jwt.trim() });
                log_in_at(http, mount, &credentials, config).await
            }
        }
    }
}

impl Token {
    /// The same token for longer, if Vault grants that.
    pub(super) async fn renewed(&self, http: &Http) -> Result<Self, Failure> {
        let path = "auth/token/renew-self";
        let answer = http
            .send(Method::POST, path, Some(&json!({})), Some(&self.header))
            .await?;
        let auth = granted(http, &answer)?;
        Ok(Self {
            header: self.header.clone(),
            lease: lease(auth, "lease_duration"),
        })
    }

    /// Whether Vault knows it, whatever it may do.
    pub(super) async fn is_known(&self, http: &Http) -> bool {
        look_up(http, &self.header).await.is_ok()
    }

    fn new(token: &str) -> Result<Self, Failure> {
        let mut header = HeaderValue::from_str(token).map_err(|_| Failure::LogIn {
            what: "the token for Vault is not printable ASCII".to_owned(),
            source: None,
        })?;
        header.set_sensitive(true);
        Ok(Self {
            header,
            lease: None,
        })
    }
}

/// A token that came from elsewhere, with what Vault tells of its end. A token that may not ask for that is used as it
/// is.
async fn given(http: &Http, token: &SecretString) -> Result<Token, Failure> {
    let mut token = Token::new(token.expose_secret())?;
    match look_up(http, &token.header).await {
        Ok(answer) => {
            let data = answer.body.get("data").unwrap_or(&Value::Null);
            token.lease = lease(data, "ttl");
        }
        Err(Failure::Denied { .. }) => {}
        Err(failure) => return Err(failure),
    }
    Ok(token)
}

async fn log_in_at(
    http: &Http,
    mount: &str,
    credentials: &Value,
    config: &VaultLogInConfig,
) -> Result<Token, Failure> {
    let path = format!("auth/{mount}/login");
    let refused = |errors: String| Failure::LogIn {
        what: format!(
            "Vault at {} refuses the log-in with {config}{errors}",
            http.address()
        ),
        source: None,
    };
    let answer = match http
        .send(Method::POST, &path, Some(credentials), None)
        .await
    {
        Ok(answer) if answer.status < 300 => answer,
        Ok(answer) => return Err(refused(answer.errors())),
        Err(Failure::Denied { errors, .. }) => return Err(refused(errors)),
        Err(failure) => return Err(failure),
    };
    let auth = granted(http, &answer)?;
    let token = auth.get("client_token").and_then(Value::as_str);
    let token = token.ok_or_else(|| refused(" (it gave no token)".to_owned()))?;
    Ok(Token {
        lease: lease(auth, "lease_duration"),
        ..Token::new(token)?
    })
}

async fn look_up(http: &Http, header: &HeaderValue) -> Result<Answer, Failure> {
    let path = "auth/token/lookup-self";
    let answer = http.send(Method::GET, path, None, Some(header)).await?;
    match answer.status {
        200..300 => Ok(answer),
        status => Err(Failure::Unwell {
            address: http.address(),
            status,
            errors: answer.errors(),
        }),
    }
}

/// The part of an answer that tells of a token.
fn granted<'a>(http: &Http, answer: &'a Answer) -> Result<&'a Value, Failure> {
    let auth = answer.body.get("auth").filter(|auth| auth.is_object());
    auth.ok_or_else(|| Failure::LogIn {
        what: format!(
            "Vault at {} grants no token{}",
            http.address(),
            answer.errors()
        ),
        source: None,
    })
}

fn lease(of: &Value, duration: &str) -> Option<Lease> {
    let secs = of
        .get(duration)
        .and_then(Value::as_u64)
        .filter(|secs| *secs > 0)?;
    Some(Lease {
        duration: Duration::from_secs(secs),
        renewable: of.get("renewable").and_then(Value::as_bool) == Some(true),
    })
}

fn secret_of(path: &Path) -> Result<SecretString, Failure> {
    read_secret(path).map_err(failed_to_read)
}

fn failed_to_read(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::LogIn {
        what: "no log-in to Vault without its credentials".to_owned(),
        source: Some(Arc::new(error)),
    }
}
