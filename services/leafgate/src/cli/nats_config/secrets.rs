use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use data_encoding::BASE32_NOPAD;
use leafgate_nats_config::{Replica, RouteSecret};
use leafgate_nats_jwt::{AccountKey, CurvePublicKey, KeyKind, SigningKey, UserKey};
use leafgate_runtime::read_secret;
use rand_core::{OsRng, RngCore};
use secrecy::SecretString;

use super::arguments::{AbsolutePaths, Arguments};
use crate::cli::error::{CliError, Exit};
use crate::cli::files::write_new_secret;
use crate::local::LocalKeys;

pub(super) const ISSUER: &str = "callout-issuer";
pub(super) const XKEY: &str = "callout-xkey";

/// The seed of a replica in the callout's account.
pub(super) fn auth_seed(replica: &str) -> String {
    format!("{replica}-auth")
}

/// The seed of a replica in the system account.
pub(super) fn system_seed(replica: &str) -> String {
    format!("{replica}-system")
}

/// Every key of the site, from the folder of its seeds.
pub(super) struct Secrets {
    pub(super) issuer: AccountKey,
    pub(super) xkey: CurvePublicKey,
    pub(super) telemetry_link: Arc<SigningKey>,
    pub(super) command_link: Arc<SigningKey>,
    pub(super) telemetry_application: UserKey,
    pub(super) command_application: UserKey,
    pub(super) replicas: Vec<Replica>,
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
        let replicas = (0..arguments.replicas_max).map(|ordinal| {
            let name = Replica::default_name(ordinal);
            Ok(Replica {
                auth: user(&keys, &auth_seed(name.as_str()))?,
                system: user(&keys, &system_seed(name.as_str()))?,
                name,
            })
        });
        Ok(Self {
            replicas: replicas.collect::<Result<_, CliError>>()?,
            issuer: AccountKey::try_from(*signing(&keys, ISSUER, KeyKind::Account)?.public())
                .map_err(|error| CliError::caused(Exit::Usage, &error))?,
            xkey: *keys.curve(XKEY).map_err(unusable)?.public(),
            telemetry_link: Arc::new(signing(&keys, "uplink-telemetry", KeyKind::User)?),
            command_link: Arc::new(signing(&keys, "uplink-commands", KeyKind::User)?),
            telemetry_application: user(&keys, "hub-telemetry")?,
            command_application: user(&keys, "hub-command")?,
            leaf_routes: route_secret(&folder.join("leaf-routes.secret"))?,
            hub_routes: route_secret(&folder.join("hub-routes.secret"))?,
        })
    }
}

fn user(keys: &LocalKeys, name: &str) -> Result<UserKey, CliError> {
    UserKey::try_from(*signing(keys, name, KeyKind::User)?.public())
        .map_err(|error| CliError::caused(Exit::Usage, &error))
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
