pub(crate) mod http;
mod log_in;
mod renewal;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use leafgate_registry::StoreError;
use leafgate_runtime::VaultConfig;
use reqwest::Method;
use serde_json::Value;
use tokio::sync::{Mutex, watch};

use self::http::{Answer, Http};
use self::log_in::Token;
use crate::config::{LogIn, Settings};
use crate::failure::Failure;

/// A log-in at one Vault, which is kept alive. Clones share it. Its connections live on the tokio runtime that it was made
/// on, which must outlive it; it may be used from others.
#[derive(Clone)]
pub struct Vault {
    shared: Arc<Shared>,
}

struct Shared {
    http: Http,
    log_in: LogIn,
    token: watch::Sender<Arc<Token>>,
    /// Held by whoever gets another token.
    logging_in: Mutex<()>,
}

impl Vault {
    /// Logs in.
    ///
    /// # Errors
    /// [`StoreError::Unsupported`] if something is missing or wrong in the configuration; [`StoreError::Unavailable`] if
    /// Vault doesn't answer, is sealed, or refuses the log-in.
    pub async fn connect(
        config: &VaultConfig,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, StoreError> {
        let settings = Settings::new(config, environment)?;
        let http = Http::new(&settings)?;
        let token = settings.log_in.log_in(&http).await?;
        let shared = Arc::new(Shared {
            http,
            log_in: settings.log_in,
            token: watch::Sender::new(Arc::new(token)),
            logging_in: Mutex::new(()),
        });
        tokio::spawn(renewal::keep_alive(
            Arc::downgrade(&shared),
            shared.token.subscribe(),
        ));
        Ok(Self { shared })
    }

    /// Where it is, for messages.
    pub(crate) fn address(&self) -> String {
        self.shared.http.address()
    }

    /// Sends a request for a path below `/v1/`. A token that Vault no longer knows is replaced once.
    pub(crate) async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, Failure> {
        let token = self.shared.token();
        match self.shared.send(&method, path, body, &token).await {
            Err(Failure::Denied { .. }) if self.shared.replace(&token).await? => {
                let token = self.shared.token();
                self.shared.send(&method, path, body, &token).await
            }
            result => result,
        }
    }
}

impl Shared {
    fn token(&self) -> Arc<Token> {
        Arc::clone(&self.token.borrow())
    }

    async fn send(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
        token: &Token,
    ) -> Result<Answer, Failure> {
        self.http
            .send(method.clone(), path, body, Some(&token.header))
            .await
    }

    /// Gets another token where Vault no longer knows this one, and says whether there is another by now. A token that
    /// Vault knows was denied for what it may do, which another of the same role may not do either.
    async fn replace(&self, refused: &Arc<Token>) -> Result<bool, Failure> {
        if !self.log_in.is_repeatable() {
            return Ok(false);
        }
        let _logging_in = self.logging_in.lock().await;
        if !Arc::ptr_eq(refused, &self.token()) {
            return Ok(true);
        }
        if refused.is_known(&self.http).await {
            return Ok(false);
        }
        tracing::info!(
            address = self.http.address(),
            "the token was refused; logging in to Vault again"
        );
        self.log_in_again().await?;
        Ok(true)
    }

    async fn log_in_again(&self) -> Result<(), Failure> {
        let token = self.log_in.log_in(&self.http).await?;
        self.token.send_replace(Arc::new(token));
        Ok(())
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault")
            .field("address", &self.address())
            .finish_non_exhaustive()
    }
}
