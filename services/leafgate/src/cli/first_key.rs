//! The first API key of a registry that others serve.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use leafgate_identity::{TrustDomain, TrustDomains, UnixMs};
use leafgate_registrar::{CheckpointKey, Registrar};
use leafgate_registry::DeviceStore;
use leafgate_registry_api::Config;
use leafgate_runtime::Clock;
#[expect(
    clippy::disallowed_types,
    reason = "the program is an edge: it draws random numbers"
)]
use rand_core::{OsRng, RngCore};
use secrecy::ExposeSecret;
use serde::Serialize;

use super::Context;
use super::error::{CliError, Exit};
use super::files::{draft_secret, explain_files, publish_secret};
use super::moment::relative;
use crate::wiring::{RegistryParts, open_registry_store};

/// Time enough to make keys with fewer rights in its place.
const LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);

const LOST: &str = "the first API key was made and is lost: begin with a new registry";

#[derive(Serialize)]
struct FirstKeyView<'a> {
    id: String,
    expires_at: UnixMs,
    file: &'a Path,
}

/// Makes the registry that a leafgate-registry of this configuration serves, where there is none, and its first API
/// key, which may do everything.
pub(super) async fn make(config: &Path, out: &Path, context: &Context) -> Result<Exit, CliError> {
    let config = Config::load(config, &context.environment)
        .map_err(|error| CliError::caused(Exit::Usage, &error))?;
    let draft = draft_secret(out)?;
    let registrar = registrar(&config, context).await?;
    let checkpoint_key = make_checkpoint_key(&config)?;
    let act = context.act();
    let expires_at = act.at.saturating_add(LIFETIME);
    let (key, text) = registrar
        .create_first_admin_key("first", expires_at, &act)
        .await?;
    publish_secret(draft, text.expose().expose_secret(), LOST)?;
    let view = FirstKeyView {
        id: key.id.to_string(),
        expires_at: key.expires_at,
        file: out,
    };
    context.console.show(&view, |_| {
        let expires = relative(key.expires_at, context.clock.now());
        let what = format!("an API key that may do everything, expires {expires}");
        let mut files = vec![(out, what.as_str())];
        files.extend(checkpoint_key.map(|key| (key, "what signs checkpoints of the audit trail")));
        format!("the registry is ready\n{}", explain_files(&files))
    })?;
    Ok(Exit::Done)
}

/// Makes the key that signs checkpoints of the audit trail, where the configuration names one that is not there.
fn make_checkpoint_key(config: &Config) -> Result<Option<&Path>, CliError> {
    let file = config
        .audit
        .as_ref()
        .map(|audit| &*audit.checkpoint_key_file);
    let Some(file) = file.filter(|file| matches!(file.try_exists(), Ok(false))) else {
        return Ok(None);
    };
    CheckpointKey::create(file).map_err(|error| CliError::caused(Exit::Usage, &error))?;
    Ok(Some(file))
}

/// The store of a leafgate-registry of this configuration.
pub(super) async fn open_store_of(
    config: &Path,
    context: &Context,
) -> Result<Arc<dyn DeviceStore>, CliError> {
    let config = Config::load(config, &context.environment)
        .map_err(|error| CliError::caused(Exit::Usage, &error))?;
    Ok(open_registry_store(&config, &context.environment).await?)
}

async fn registrar(config: &Config, context: &Context) -> Result<Registrar, CliError> {
    let domains = config.trust_domains.iter().map(|domain| {
        domain
            .load()
            .map_err(|error| CliError::usage(format!("[[trust_domain]] {}: {error}", domain.name)))
    });
    let domains: Vec<TrustDomain> = domains.collect::<Result<_, _>>()?;
    let domains =
        TrustDomains::try_from(domains).map_err(|error| CliError::caused(Exit::Usage, &error))?;
    let RegistryParts { store, authority } =
        RegistryParts::open(config, &context.environment).await?;
    let random = || OsRng.next_u32();
    Ok(Registrar::new(
        store,
        authority.issuers,
        Arc::new(domains),
        random,
    ))
}
