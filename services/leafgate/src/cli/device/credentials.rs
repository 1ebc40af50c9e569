//! `leafgate device register`, `issue` and `sign`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use leafgate_api::Device;
use leafgate_identity::DeviceId;
use leafgate_registrar::{CertificateKey, DeviceCredentials};
use leafgate_registry::NewDevice;
use leafgate_runtime::Clock;
use serde::Serialize;

use super::{RegisterArguments, attributes, id};
use crate::cli::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::files::{
    LOST_CERTIFICATE, draft_public, explain_files, make_folder, prepare_credentials, publish,
    read_text, write_credentials,
};
use crate::cli::moment::relative;
use crate::cli::registry::RegistryArguments;
use crate::local::{CredentialFiles, new_device};

/// A device as always, with what was made for it.
#[derive(Serialize)]
struct CredentialsView<'a> {
    #[serde(flatten)]
    device: Device,
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<Files<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_pem: Option<&'a str>,
}

#[derive(Serialize)]
struct Files<'a> {
    certificate: &'a Path,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a Path>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca: Option<&'a Path>,
}

pub(super) async fn register(
    registry: &RegistryArguments,
    context: &Context,
    arguments: &RegisterArguments,
) -> Result<Exit, CliError> {
    let new = described(arguments)?;
    let id = new.id.clone();
    let act = context.act();
    let registrar = registry.registrar().await?;
    let Some(out) = &arguments.out else {
        let record = registrar.register(new, &act).await?;
        context.console.show(&Device::from(&record), |_| {
            let next = if arguments.pending {
                format!("leafgate device approve {id}   lets it in")
            } else {
                format!("leafgate device issue {id} --out DIR, or device sign {id} --csr FILE")
            };
            let device_type = &record.device.device_type;
            format!(
                "{id} ({device_type}) is registered and {}\nNext: {next}",
                record.device.state
            )
        })?;
        return Ok(Exit::Done);
    };
    let folder = DeviceFolder::prepare(registry, out, &id)?;
    let credentials = registrar
        .register_with_certificate(new, CertificateKey::New, &act)
        .await?;
    folder.finish(&id, &credentials, context, "is registered and active")
}

/// What the arguments say of the new device.
fn described(arguments: &RegisterArguments) -> Result<NewDevice, CliError> {
    let id = id::parse(&arguments.id)?;
    Ok(NewDevice {
        pending: arguments.pending,
        site: arguments.site.clone(),
        attributes: attributes(&arguments.attributes)?,
        ..new_device(id, &arguments.device_type)
    })
}

pub(super) async fn issue(
    registry: &RegistryArguments,
    context: &Context,
    id: &str,
    out: &Path,
) -> Result<Exit, CliError> {
    let id = id::parse(id)?;
    let registrar = registry.registrar().await?;
    let folder = DeviceFolder::prepare(registry, out, &id)?;
    let credentials = registrar.issue_with_new_key(&id, &context.act()).await?;
    folder.finish(&id, &credentials, context, "has a new certificate")
}

pub(super) async fn sign(
    registry: &RegistryArguments,
    context: &Context,
    id: &str,
    csr: &Path,
    out: Option<&Path>,
) -> Result<Exit, CliError> {
    let id = id::parse(id)?;
    let csr = read_text(csr)?;
    let registrar = registry.registrar().await?;
    let draft = out.map(|out| {
        if out.is_dir() {
            draft_public(&out.join(format!("{id}.crt")))
        } else {
            draft_public(out)
        }
    });
    let draft = draft.transpose()?;
    let credentials = registrar.sign_csr(&id, &csr, &context.act()).await?;
    let chain = &credentials.issued.chain_pem;
    let file = draft.as_ref().map(|draft| draft.path().to_owned());
    if let Some(draft) = draft {
        publish(draft, chain).map_err(|error| error.hint(LOST_CERTIFICATE))?;
    }
    let view = CredentialsView {
        device: Device::from(&credentials.device),
        files: file.as_ref().map(|file| Files {
            certificate: file,
            key: None,
            ca: None,
        }),
        certificate_pem: file.is_none().then_some(chain),
    };
    context.console.show(&view, |_| match &file {
        None => chain.clone(),
        Some(file) => format!(
            "{id} has a new certificate, which expires {}\n  {}",
            relative(credentials.issued.validity.not_after, context.clock.now()),
            file.display(),
        ),
    })?;
    Ok(Exit::Done)
}

/// Where a device's files go.
struct DeviceFolder {
    ca: PathBuf,
    files: CredentialFiles,
}

impl DeviceFolder {
    /// Makes the folder with `ca.crt` and finds places for the other files, before anything is
    /// issued that could not be written then.
    fn prepare(registry: &RegistryArguments, path: &Path, id: &DeviceId) -> Result<Self, CliError> {
        make_folder(path)?;
        let ca = path.join("ca.crt");
        let root = read_text(&registry.authorities()?.root_certificate())?;
        match fs::read_to_string(&ca) {
            Ok(present) if present == root => {}
            Ok(_) => {
                let error = format!(
                    "{} is there already and not the root of this registry",
                    ca.display()
                );
                return Err(CliError::new(Exit::Conflict, error)
                    .hint("name another folder, one for the devices of each registry"));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Whole or not at all: others may be registering devices into this folder.
                publish(draft_public(&ca)?, &root)?;
            }
            Err(error) => return Err(CliError::file("read", &ca, &error)),
        }
        let files = prepare_credentials(&path.join(id.as_str()))?;
        Ok(Self { ca, files })
    }

    /// Writes certificate and key, and tells where they are.
    fn finish(
        self,
        id: &DeviceId,
        credentials: &DeviceCredentials,
        context: &Context,
        done: &str,
    ) -> Result<Exit, CliError> {
        let Self { ca, files } = self;
        let (certificate, key) = (files.certificate().to_owned(), files.key().to_owned());
        let secret = credentials.private_key_pem.as_ref();
        write_credentials(files, &credentials.issued.chain_pem, secret)?;
        let view = CredentialsView {
            device: Device::from(&credentials.device),
            files: Some(Files {
                certificate: &certificate,
                key: Some(&key),
                ca: Some(&ca),
            }),
            certificate_pem: None,
        };
        context.console.show(&view, |_| {
            let expires = relative(credentials.issued.validity.not_after, context.clock.now());
            let files = explain_files(&[
                (
                    &certificate,
                    &format!("its certificate with the chain, expires {expires}"),
                ),
                (&key, "its key, for the device alone"),
                (&ca, "what it trusts"),
            ]);
            format!("{id} {done}\n{files}")
        })?;
        Ok(Exit::Done)
    }
}
