//! `leafgate device register`, `issue` and `sign`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use leafgate_api::{Device, RegisterDevice};
use leafgate_identity::DeviceId;
use leafgate_runtime::Clock;
use secrecy::SecretString;
use serde::Serialize;

use super::{RegisterArguments, attributes, id};
use crate::cli::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::files::{
    LOST_CERTIFICATE, draft_public, explain_files, make_folder, make_key, prepare_credentials,
    publish, read_text, write_credentials,
};
use crate::cli::moment::relative;
use crate::cli::registry::{DeviceCertificate, Registry};
use crate::local::CredentialFiles;

/// A device as always, with what was made for it.
#[derive(Serialize)]
struct CredentialsView<'a> {
    #[serde(flatten)]
    device: &'a Device,
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
    registry: &dyn Registry,
    context: &Context,
    arguments: &RegisterArguments,
) -> Result<Exit, CliError> {
    let new = described(arguments)?;
    let id = new.id.clone();
    let Some(out) = &arguments.out else {
        let device = registry.register(new).await?;
        context.console.show(&device, |_| {
            let next = if arguments.pending {
                format!("leafgate device approve {id}   lets it in")
            } else {
                format!("leafgate device issue {id} --out DIR, or device sign {id} --csr FILE")
            };
            let Device {
                device_type, state, ..
            } = &device;
            format!("{id} ({device_type}) is registered and {state}\nNext: {next}")
        })?;
        return Ok(Exit::Done);
    };
    let folder = DeviceFolder::prepare(registry, out, &id).await?;
    let (key, csr) = make_key(id.as_str())?;
    let made = registry.register_with_certificate(new, &csr).await?;
    folder.finish(&made, &key, context, "is registered and active")
}

/// What the arguments say of the new device.
fn described(arguments: &RegisterArguments) -> Result<RegisterDevice, CliError> {
    Ok(RegisterDevice {
        id: id::parse(&arguments.id)?,
        device_type: arguments.device_type.clone(),
        site: arguments.site.clone(),
        attributes: attributes(&arguments.attributes)?,
        trust_domain: arguments.trust_domain.clone(),
        pending: arguments.pending,
    })
}

pub(in crate::cli) async fn issue(
    registry: &dyn Registry,
    context: &Context,
    id: &str,
    out: &Path,
) -> Result<Exit, CliError> {
    let id = id::parse(id)?;
    let folder = DeviceFolder::prepare(registry, out, &id).await?;
    let (key, csr) = make_key(id.as_str())?;
    let made = registry.issue(&id, &csr).await?;
    folder.finish(&made, &key, context, "has a new certificate")
}

pub(in crate::cli) async fn sign(
    registry: &dyn Registry,
    context: &Context,
    id: &str,
    csr: &Path,
    out: Option<&Path>,
) -> Result<Exit, CliError> {
    let id = id::parse(id)?;
    let csr = read_text(csr)?;
    let draft = out.map(|out| {
        if out.is_dir() {
            draft_public(&out.join(format!("{id}.crt")))
        } else {
            draft_public(out)
        }
    });
    let draft = draft.transpose()?;
    let DeviceCertificate {
        device,
        certificate,
    } = registry.issue(&id, &csr).await?;
    let chain = &certificate.chain;
    let file = draft.as_ref().map(|draft| draft.path().to_owned());
    if let Some(draft) = draft {
        publish(draft, chain).map_err(|error| error.hint(LOST_CERTIFICATE))?;
    }
    let view = CredentialsView {
        device: &device,
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
            relative(certificate.not_after, context.clock.now()),
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
    async fn prepare(
        registry: &dyn Registry,
        path: &Path,
        id: &DeviceId,
    ) -> Result<Self, CliError> {
        let root = registry.root_certificate().await?;
        make_folder(path)?;
        let ca = path.join("ca.crt");
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
        made: &DeviceCertificate,
        private_key: &SecretString,
        context: &Context,
        done: &str,
    ) -> Result<Exit, CliError> {
        let Self { ca, files } = self;
        let DeviceCertificate {
            device,
            certificate: issued,
        } = made;
        let (certificate, key) = (files.certificate().to_owned(), files.key().to_owned());
        write_credentials(files, &issued.chain, private_key)?;
        let view = CredentialsView {
            device,
            files: Some(Files {
                certificate: &certificate,
                key: Some(&key),
                ca: Some(&ca),
            }),
            certificate_pem: None,
        };
        context.console.show(&view, |_| {
            let expires = relative(issued.not_after, context.clock.now());
            let files = explain_files(&[
                (
                    &certificate,
                    &format!("its certificate with the chain, expires {expires}"),
                ),
                (&key, "its key, for the device alone"),
                (&ca, "what it trusts"),
            ]);
            format!("{} {done}\n{files}", device.id)
        })?;
        Ok(Exit::Done)
    }
}
