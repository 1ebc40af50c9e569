use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use data_encoding::BASE32_NOPAD;
use leafgate_nats_config::{RegistryReplica, Replica, RouteSecret};
use leafgate_nats_jwt::{AccountKey, CurvePublicKey, KeyKind, SigningKey, UserKey};
use leafgate_runtime::read_secret;
#[expect(
    clippy::disallowed_types,
    reason = "the program is an edge: it draws random numbers"
)]
use rand_core::{OsRng, RngCore};
use secrecy::SecretString;

use super::arguments::{AbsolutePaths, Arguments};
use crate::cli::error::{CliError, Exit};
use crate::cli::files::write_new_secret;
use crate::local::LocalKeys;
use crate::local::keys::{
    COMMAND_APPLICATION, COMMAND_LINK, ISSUER, TELEMETRY_APPLICATION, TELEMETRY_LINK, XKEY,
};

/// Every key of the site, from the folder of its seeds.
pub(super) struct Secrets {
    pub(super) issuer: AccountKey,
    pub(super) xkey: CurvePublicKey,
    pub(super) telemetry_link: Arc<SigningKey>,
    pub(super) command_link: Arc<SigningKey>,
    pub(super) telemetry_application: UserKey,
    pub(super) command_application: UserKey,
    pub(super) replicas: Vec<Replica>,
    pub(super) registry_replicas: Vec<RegistryReplica>,
    pub(super) leaf_routes: RouteSecret,
    pub(super) hub_routes: RouteSecret,
}

impl Secrets {
    /// Reads the seeds and makes those that are missing.
    pub(super) fn load_or_make(
        arguments: &Arguments,
        paths: &AbsolutePaths,
    ) -> Result<Self, CliError> {
        let folder = &paths.keys_dir;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| CliError::file("make the folder", folder, &error))?;
        let keys = LocalKeys::in_folder(folder);
        Ok(Self {
            replicas: keys.replicas(arguments.replicas_max).map_err(unusable)?,
            registry_replicas: keys
                .registry_replicas(arguments.registry_replicas_max)
                .map_err(unusable)?,
            issuer: AccountKey::try_from(*signing(&keys, ISSUER, KeyKind::Account)?.public())
                .map_err(|error| CliError::caused(Exit::Usage, &error))?,
            xkey: *keys.curve(XKEY).map_err(unusable)?.public(),
            telemetry_link: Arc::new(signing(&keys, TELEMETRY_LINK, KeyKind::User)?),
            command_link: Arc::new(signing(&keys, COMMAND_LINK, KeyKind::User)?),
            telemetry_application: keys.user(TELEMETRY_APPLICATION).map_err(unusable)?,
            command_application: keys.user(COMMAND_APPLICATION).map_err(unusable)?,
            leaf_routes: route_secret(&folder.join("leaf-routes.secret"))?,
            hub_routes: route_secret(&folder.join("hub-routes.secret"))?,
        })
    }
}

fn signing(keys: &LocalKeys, name: &str, kind: KeyKind) -> Result<SigningKey, CliError> {
    keys.signing(name, kind).map_err(unusable)
}

fn unusable(error: anyhow::Error) -> CliError {
    CliError::from(error).exiting(Exit::Usage)
}

fn route_secret(path: &Path) -> Result<RouteSecret, CliError> {
    let secret = if path.exists() {
        read_secret(path)?
    } else {
        let mut bytes = [0; 20];
        OsRng.fill_bytes(&mut bytes);
        let text = BASE32_NOPAD.encode(&bytes);
        write_new_secret(path, &text)?;
        SecretString::from(text)
    };
    RouteSecret::parse(secret).map_err(|error| {
        let place = path.display();
        CliError::usage(format!("{place}: {error}"))
    })
}
