use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use async_nats::{Client, ConnectOptions};
use leafgate_api::{Admits, CreateEnrolmentToken, Enrol};
use leafgate_identity::{CnPattern, DeviceId, UnixMs};
use leafgate_pki::{CaDirectory, Intermediate, Issuer, KeyPairPem, Profile, RootKey, write_csr};
use leafgate_processes::LogMark;
use leafgate_registrar::{CertificateKey, Registrar};
use leafgate_registry::Act;
use leafgate_runtime::{Clock, SystemClock, read_secret};
use secrecy::ExposeSecret;

use crate::cli::error::CliError;
use crate::cli::registry::{Registry, RegistryApi, enrol_at};
use crate::local::{
    Credentials, Device, Endpoints, LocalSite, LogInError, new_device, open_registrar,
    write_credentials,
};

/// How long the story waits for anything.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Who is on stage: two devices, an application at the hub, and the registrar.
pub(super) struct Cast<'a> {
    site: &'a mut LocalSite,
    pub(super) clock: &'a SystemClock,
    actor: Act,
    pub(super) registrar: Registrar,
    pub(super) telemetry: Client,
    pub(super) commands: Client,
    endpoints: Endpoints,
    credentials: PathBuf,
}

impl<'a> Cast<'a> {
    pub(super) async fn assemble(
        site: &'a mut LocalSite,
        act: &Act,
        clock: &'a SystemClock,
    ) -> anyhow::Result<Self> {
        let endpoints = site.endpoints();
        let credentials = site.dir().root().join("devices");
        fs::create_dir_all(&credentials).context("folder for devices")?;
        fs::copy(&endpoints.ca_file, credentials.join("ca.crt")).context("ca.crt")?;
        let cast = Self {
            registrar: open_registrar(site.dir(), act).await?,
            telemetry: application(&endpoints, &endpoints.hub_telemetry_nkey_file, "_INBOX")
                .await?,
            commands: application(
                &endpoints,
                &endpoints.hub_command_nkey_file,
                &endpoints.hub_command_inbox_prefix,
            )
            .await?,
            site,
            clock,
            actor: act.clone(),
            endpoints,
            credentials,
        };
        for (id, device_type) in [("0001", "thermostat"), ("0002", "pump")] {
            cast.register(id, device_type).await?;
        }
        Ok(cast)
    }

    async fn register(&self, id: &str, device_type: &str) -> anyhow::Result<()> {
        let id = DeviceId::parse(id)?;
        let stem = self.credentials.join(id.as_str());
        let made = self
            .registrar
            .register_with_certificate(
                new_device(id, device_type),
                CertificateKey::New,
                &self.act(),
            )
            .await?;
        let key = made.private_key_pem.context("no key was made")?;
        write_credentials(&stem, &made.issued.chain_pem, &key)
    }

    /// Has an administrator make an enrolment token, with which a device that nobody has registered asks for the
    /// certificate of a key of its own; says until when it has it.
    pub(super) async fn enrol(&self, id: &str, device_type: &str) -> anyhow::Result<UnixMs> {
        let registry = self.endpoints.registry.as_ref();
        let registry = registry.context("the site has no registry API")?;
        let (url, ca_file) = (&registry.registry_url, Some(&*self.endpoints.ca_file));
        let admin = RegistryApi::open(url, ca_file, &registry.admin_token_file);
        let admin = admin.map_err(|error| told(&error))?;
        let id = DeviceId::parse(id)?;
        let token = CreateEnrolmentToken {
            name: format!("demo-{id}"),
            admits: Admits::Ids([id.clone()].into()),
            trust_domain: None,
            device_type: device_type.to_owned(),
            site: None,
            attributes: BTreeMap::new(),
            expires_at: None,
        };
        let made = admin.create_enrolment_token(token).await;
        let made = made.map_err(|error| told(&error))?;
        let key = KeyPairPem::generate()?;
        let csr = write_csr(&key.private_key_pem, id.as_str())?;
        let stem = self.credentials.join(id.as_str());
        let enrol = Enrol { id, csr };
        let enrolled = enrol_at(url, ca_file, &made.token.into(), &enrol).await;
        let enrolled = enrolled.map_err(|error| told(&error))?;
        write_credentials(&stem, &enrolled.certificate.chain, &key.private_key_pem)?;
        Ok(enrolled.certificate.not_after)
    }

    /// Who acts, now.
    pub(super) fn act(&self) -> Act {
        Act {
            at: self.clock.now(),
            ..self.actor.clone()
        }
    }

    /// Logs in as a device with the files of this name.
    pub(super) async fn log_in(&self, name: &str) -> Result<Device, LogInError> {
        let credentials = Credentials::in_folder(&self.credentials, name);
        Device::log_in(&self.endpoints.device_url, name, &credentials).await
    }

    /// A place in the callout's log.
    pub(super) fn mark(&mut self) -> anyhow::Result<LogMark> {
        Ok(self.callout().log().mark()?)
    }

    /// The line that the callout logs after `mark` with all of these words.
    pub(super) async fn decision(&mut self, mark: LogMark, words: &str) -> anyhow::Result<String> {
        Ok(self
            .callout()
            .wait_for_log_since(mark, words, PATIENCE)
            .await?)
    }

    fn callout(&mut self) -> &mut leafgate_processes::Child {
        self.site.callouts()[0].child_mut()
    }

    /// Signs a certificate past the registrar: genuine, but of no registered device.
    pub(super) async fn sign_past_registrar(&self, name: &str) -> anyhow::Result<()> {
        self.sign_with(&CaDirectory::open(&self.site.dir().ca())?, name, name)
            .await
    }

    /// Signs a certificate for a device with the authority of somebody else.
    pub(super) async fn sign_with_foreign_ca(&self, id: &str, name: &str) -> anyhow::Result<()> {
        let folder = self.site.dir().root().join("foreign-ca");
        let ca = leafgate_pki::init(&folder, RootKey::DevPlain, self.clock.now())?;
        self.sign_with(&ca, id, name).await
    }

    async fn sign_with(&self, ca: &CaDirectory, id: &str, name: &str) -> anyhow::Result<()> {
        let issuer = ca.load(Intermediate::Devices)?;
        let key = KeyPairPem::generate()?;
        let profile = Profile::device(&CnPattern::default(), &DeviceId::parse(id)?)?;
        let prepared = issuer.prepare(profile, key.public.clone(), self.clock.now())?;
        let issued = issuer.issue(prepared).await?;
        let stem = self.credentials.join(name);
        write_credentials(&stem, &issued.chain_pem, &key.private_key_pem)
    }
}

fn told(error: &CliError) -> anyhow::Error {
    anyhow::anyhow!("{}", error.message())
}

async fn application(
    endpoints: &Endpoints,
    seed_file: &std::path::Path,
    inbox_prefix: &str,
) -> anyhow::Result<Client> {
    let seed = read_secret(seed_file)?;
    ConnectOptions::with_nkey(seed.expose_secret().to_owned())
        .add_root_certificates(endpoints.ca_file.clone())
        .require_tls(true)
        .custom_inbox_prefix(inbox_prefix)
        .connect(&endpoints.hub_url)
        .await
        .context("an application can't connect to the hub")
}
