//! Whether the engine is set up so that what it signs is what is asked for.

use leafgate_pki::{StatusUrl, StatusUrls};
use leafgate_registry::StoreError;
use reqwest::Method;
use serde_json::Value;

use super::{VaultIssuer, unsupported};
use crate::failure::Failure;

impl VaultIssuer {
    /// Refuses certificates that don't say that their status is to be had below this URL.
    ///
    /// # Errors
    /// [`StoreError::Unsupported`] if the engine, as far as this log-in may see, would write something else, with the
    /// command that mends it; [`StoreError::Unavailable`] if Vault can't be reached.
    pub async fn with_status_under(mut self, base: &StatusUrl) -> Result<Self, StoreError> {
        let status = StatusUrls::under(base, self.spki);
        let configured =
            async |path: String| match self.engine.vault.request(Method::GET, &path, None).await {
                Ok(answer) => Ok(urls(&answer.body)),
                Err(Failure::Denied { .. }) => Ok(None),
                Err(failure) => Err(failure),
            };
        let of_issuer =
            configured(format!("{}/issuer/{}", self.engine.mount, self.engine.id)).await?;
        let of_engine = configured(format!("{}/config/urls", self.engine.mount)).await?;
        let wanted = [status.crl.as_str(), status.ocsp.as_str()];
        // An issuer's own count, if it has any.
        let found = match (of_issuer, of_engine) {
            (Some(own), _) if own.iter().any(|urls| !urls.is_empty()) => Some(own),
            (_, of_engine) => of_engine,
        };
        if found.is_some_and(|found| found != wanted.map(|url| vec![url.to_owned()])) {
            return Err(unsupported(format!(
                "the PKI engine at {} of Vault doesn't write into certificates where their status is to be had: vault \
                 write {0}/config/urls crl_distribution_points={} ocsp_servers={} (or the same for the issuer, if it \
                 has URLs of its own)",
                self.engine.mount, status.crl, status.ocsp
            )));
        }
        self.status = Some(status);
        Ok(self)
    }

    /// A role that takes from requests what only the profile may say, or keeps no account, is refused before it signs
    /// anything. What it signs is checked all the same.
    pub(super) async fn check_role(&self) -> Result<(), StoreError> {
        let path = format!("{}/roles/{}", self.engine.mount, self.role);
        let answer = match self.engine.vault.request(Method::GET, &path, None).await {
            Ok(answer) => answer,
            Err(Failure::Denied { .. }) => {
                tracing::warn!(
                    path,
                    "this log-in to Vault may not read the role: what it allows is not known before it signs"
                );
                return Ok(());
            }
            Err(failure) => return Err(failure.into()),
        };
        let role = format!("role {} at {} of Vault", self.role, self.engine.mount);
        let Some(settings) = answer.body.get("data").filter(|data| data.is_object()) else {
            return Err(unsupported(format!(
                "there is no {role}{}: docs/vault.md says how to make one",
                answer.errors()
            )));
        };
        for (name, wanted) in [
            ("use_csr_common_name", false),
            ("use_csr_sans", false),
            ("no_store", false),
        ] {
            if settings.get(name).and_then(Value::as_bool) == Some(!wanted) {
                return Err(unsupported(format!(
                    "{role} has {name}={}: set it: vault patch {path} {name}={wanted}",
                    !wanted
                )));
            }
        }
        Ok(())
    }
}

/// The URLs of revocation lists and OCSP responders in a configuration.
fn urls(body: &Value) -> Option<[Vec<String>; 2]> {
    let data = body.get("data")?;
    Some(["crl_distribution_points", "ocsp_servers"].map(|name| {
        let urls = data.get(name).and_then(Value::as_array);
        let urls = urls.into_iter().flatten().filter_map(Value::as_str);
        urls.map(str::to_owned).collect()
    }))
}
