//! `leafgate device register`, `issue` and `sign`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use leafgate_identity::DeviceId;
use leafgate_registrar::{CertificateKey, DeviceCredentials};
use leafgate_registry::NewDevice;
use leafgate_runtime::Clock;
use serde::Serialize;

use super::view::DeviceView;
use super::{RegisterArguments, id};
use crate::cli::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::files::{make_folder, read_text};
use crate::cli::moment::relative;
use crate::cli::registry::RegistryArguments;
use crate::local::{new_device, write_credentials};

/// The registry knows the certificate as issued, and nobody has it.
const LOST_CERTIFICATE: &str =
    "a certificate was issued and is lost; ask for another once the file can be written";

/// A device as always, with what was made for it.
#[derive(Serialize)]
struct CredentialsView<'a> {
    #[serde(flatten)]
    device: DeviceView<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<Files<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_pem: Option<&'a str>,
}

#[derive(Serialize)]
struct Files<'a> {
    certificate: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<PathBuf>,
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
    let registrar = registry.registrar(&act).await?;
    let Some(out) = &arguments.out else {
        let record = registrar.register(new, &act).await?;
        context.console.show(&DeviceView::of(&record), |_| {
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
    let folder = DeviceFolder::prepare(registry, out)?;
    let credentials = registrar
        .register_with_certificate(new, CertificateKey::New, &act)
        .await?;
    folder.finish(&id, &credentials, context, "is registered and active")
}

/// What the arguments say of the new device.
fn described(arguments: &RegisterArguments) -> Result<NewDevice, CliError> {
    let id = id::parse(&arguments.id)?;
    let mut attributes = BTreeMap::new();
    for (name, value) in &arguments.attributes {
        if attributes.insert(name.clone(), value.clone()).is_some() {
            return Err(CliError::usage(format!("--attr {name} is given twice")));
        }
    }
    Ok(NewDevice {
        pending: arguments.pending,
        site: arguments.site.clone(),
        attributes,
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
    let act = context.act();
    let registrar = registry.registrar(&act).await?;
    let folder = DeviceFolder::prepare(registry, out)?;
    let credentials = registrar.issue_with_new_key(&id, &act).await?;
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
    let act = context.act();
    let registrar = registry.registrar(&act).await?;
    let credentials = registrar.sign_csr(&id, &csr, &act).await?;
    let chain = &credentials.issued.chain_pem;
    if let Some(out) = out {
        fs::write(out, chain)
            .map_err(|error| CliError::file("write", out, &error).hint(LOST_CERTIFICATE))?;
    }
    let view = CredentialsView {
        device: DeviceView::of(&credentials.device),
        files: out.map(|out| Files {
            certificate: out.to_owned(),
            key: None,
            ca: None,
        }),
        certificate_pem: out.is_none().then_some(chain),
    };
    context.console.show(&view, |_| match out {
        None => chain.clone(),
        Some(out) => format!(
            "{id} has a new certificate, which expires {}\n  {}",
            relative(credentials.issued.validity.not_after, context.clock.now()),
            out.display(),
        ),
    })?;
    Ok(Exit::Done)
}

/// Where a device's files go.
struct DeviceFolder {
    path: PathBuf,
    ca: PathBuf,
}

impl DeviceFolder {
    /// Makes the folder with `ca.crt`, before anything is issued that could not be written then.
    fn prepare(registry: &RegistryArguments, path: &Path) -> Result<Self, CliError> {
        make_folder(path)?;
        let ca = path.join("ca.crt");
        let root_file = registry.root_certificate()?;
        let root = read_text(&root_file)?;
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
                fs::write(&ca, root).map_err(|error| CliError::file("write", &ca, &error))?;
            }
            Err(error) => return Err(CliError::file("read", &ca, &error)),
        }
        Ok(Self {
            path: path.to_owned(),
            ca,
        })
    }

    /// Writes certificate and key, and tells where they are.
    fn finish(
        &self,
        id: &DeviceId,
        credentials: &DeviceCredentials,
        context: &Context,
        done: &str,
    ) -> Result<Exit, CliError> {
        let stem = self.path.join(id.as_str());
        let key = credentials
            .private_key_pem
            .as_ref()
            .ok_or_else(|| CliError::new(Exit::Wrong, format!("no key was made for {id}")))?;
        write_credentials(&stem, &credentials.issued.chain_pem, key).map_err(|error| {
            let error = CliError::from(error).exiting(Exit::Usage);
            error.hint(LOST_CERTIFICATE)
        })?;
        let files = Files {
            certificate: stem.with_extension("crt"),
            key: Some(stem.with_extension("key")),
            ca: Some(&self.ca),
        };
        let expires = relative(credentials.issued.validity.not_after, context.clock.now());
        let mut text = format!("{id} {done}");
        let certificate = format!("its certificate with the chain, expires {expires}");
        // The key's name is as long as the certificate's; `ca` may be longer or shorter than the id.
        let width = files
            .certificate
            .as_os_str()
            .len()
            .max(self.ca.as_os_str().len());
        for (path, what) in [
            (&files.certificate, certificate.as_str()),
            (&stem.with_extension("key"), "its key, for the device alone"),
            (&self.ca, "what it trusts"),
        ] {
            text.push_str(&format!(
                "\n  {:<width$}   {what}",
                path.display().to_string()
            ));
        }
        let view = CredentialsView {
            device: DeviceView::of(&credentials.device),
            files: Some(files),
            certificate_pem: None,
        };
        context.console.show(&view, |_| text)?;
        Ok(Exit::Done)
    }
}
