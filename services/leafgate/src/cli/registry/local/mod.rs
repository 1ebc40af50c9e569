//! The registry in a folder, worked on directly.

mod access;
mod audit;
mod bulk;
mod described;
mod devices;
mod following;

use std::error::Error;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use leafgate_api::{
    ApiKey, ApiKeyList, ApplyBulk, AuditReport, BulkPlan, BulkResult, CertificateList,
    CreateApiKey, CreateEnrolmentToken, CreatedApiKey, CreatedEnrolmentToken, Device, DeviceList,
    Disconnected, EnrolmentToken, EnrolmentTokenList, Event, EventList, Explanation,
    HeldCertificate, ImportResult, IssuedCertificate, Issuer, PlanBulk, RegisterDevice,
    ReplaceDevice, SessionList,
};
use leafgate_identity::{DeviceId, Fingerprint, SerialNumber, SpkiHash};
use leafgate_registrar::{
    CertificateKey, Checkpoint, DeviceAction, DeviceCredentials, Registrar, RegistrarError, Service,
};
use leafgate_registry::{
    Act, CertificateQuery, DeviceEdit, DeviceRecord, DeviceStore, RevocationReason,
};
use leafgate_registry_api::{issued_certificate, issued_to_service, issuer_of};
use leafgate_runtime::{Clock, Environment, SystemClock};

use self::described::{certificate_query, described, device_of};
use super::remote::RemoteRegistry;
use super::{
    CertificateFilter, DeviceCertificate, DeviceFilter, Edit, Line, LogIn, Part, Registry,
    RegistryArguments, Results, ServiceCertificate,
};
use crate::cli::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::files::read_text;
use crate::dev::cli_act;
use crate::local::Endpoints;

/// The registry in a folder, changed by whoever runs the command.
pub(crate) struct LocalRegistry {
    folder: RegistryArguments,
    clock: SystemClock,
    environment: Environment,
}

impl LocalRegistry {
    pub(crate) fn new(folder: RegistryArguments, context: &Context) -> Self {
        Self {
            folder,
            clock: context.clock.clone(),
            environment: context.environment.clone(),
        }
    }

    fn act(&self) -> Act {
        cli_act(self.clock.now())
    }

    fn check_there(&self) -> Result<(), CliError> {
        match self.folder.find()? {
            Some(_) => Ok(()),
            None => {
                let error = self.folder.missing();
                Err(error.hint("or name a running registry API with --url"))
            }
        }
    }

    async fn store(&self) -> Result<Arc<dyn DeviceStore>, CliError> {
        self.check_there()?;
        self.folder.store().await
    }

    async fn registrar(&self) -> Result<Registrar, CliError> {
        self.check_there()?;
        self.folder.registrar(&self.environment).await
    }

    pub(super) async fn renew(
        &self,
        id: &DeviceId,
        presented: &Fingerprint,
        csr_pem: &str,
    ) -> Result<IssuedCertificate, CliError> {
        let registrar = self.registrar().await?;
        let renewed = registrar.renew(id, presented, csr_pem, &self.act()).await?;
        Ok(DeviceCertificate::from(&renewed).certificate)
    }

    /// The registry API that `leafgate dev` runs on this folder, for what only the running servers know.
    fn beside(&self) -> Result<RemoteRegistry, CliError> {
        let nobody = || {
            let dir = self.folder.dir.display();
            let error = format!("no registry API runs on {dir} that could ask the servers");
            CliError::new(Exit::Unreachable, error)
                .hint("start `leafgate dev`, or name a running registry API with --url")
        };
        self.check_there()?;
        let endpoints = Endpoints::read(&self.folder.dir.join("endpoints.json"));
        let endpoints = endpoints.map_err(|_| nobody())?;
        let api = endpoints.registry.ok_or_else(nobody)?;
        let (ca_file, token_file) = (&endpoints.ca_file, &api.admin_token_file);
        RemoteRegistry::open(&api.registry_url, Some(ca_file), token_file)
    }
}

#[async_trait]
impl Registry for LocalRegistry {
    fn publishes_revocations(&self) -> bool {
        false
    }

    async fn root_certificate(&self) -> Result<String, CliError> {
        self.check_there()?;
        read_text(&self.folder.authorities()?.root_certificate())
    }

    async fn register(&self, new: RegisterDevice) -> Result<Device, CliError> {
        let registrar = self.registrar().await?;
        let record = registrar.register(described(new), &self.act()).await?;
        Ok(Device::from(&record))
    }

    async fn register_with_certificate(
        &self,
        new: RegisterDevice,
        csr_pem: &str,
    ) -> Result<DeviceCertificate, CliError> {
        let registrar = self.registrar().await?;
        let (new, key) = (described(new), CertificateKey::Csr(csr_pem));
        let credentials = registrar
            .register_with_certificate(new, key, &self.act())
            .await?;
        Ok(DeviceCertificate::from(&credentials))
    }

    async fn device(&self, id: &DeviceId) -> Result<Device, CliError> {
        let record = self.store().await?.load(id).await?;
        let unknown = || RegistrarError::DeviceUnknown { id: id.clone() };
        Ok(Device::from(&record.ok_or_else(unknown)?))
    }

    async fn devices(&self, filter: &DeviceFilter, part: &Part) -> Result<DeviceList, CliError> {
        devices::list(&*self.store().await?, filter, part).await
    }

    async fn edit(&self, id: &DeviceId, edit: Edit<'_>) -> Result<Device, CliError> {
        let registrar = self.registrar().await?;
        let edit = |device: &leafgate_registry::Device| {
            let edited = edit(&ReplaceDevice {
                device_type: device.device_type.clone(),
                site: device.site.clone(),
                attributes: device.attributes.clone(),
            })?;
            Ok::<_, CliError>(DeviceEdit {
                device_type: Some(edited.device_type),
                site: Some(edited.site),
                attributes: Some(edited.attributes),
            })
        };
        let record: DeviceRecord = registrar.edit_with(id, edit, &self.act()).await?;
        Ok(Device::from(&record))
    }

    async fn change_state(&self, id: &DeviceId, action: DeviceAction) -> Result<Device, CliError> {
        let registrar = self.registrar().await?;
        let record = registrar.change_state(id, action, &self.act()).await?;
        Ok(Device::from(&record))
    }

    async fn issue(&self, id: &DeviceId, csr_pem: &str) -> Result<DeviceCertificate, CliError> {
        let registrar = self.registrar().await?;
        let credentials = registrar.sign_csr(id, csr_pem, &self.act()).await?;
        Ok(DeviceCertificate::from(&credentials))
    }

    async fn issue_to_service(
        &self,
        service: &Service,
        csr_pem: &str,
    ) -> Result<ServiceCertificate, CliError> {
        let registrar = self.registrar().await?;
        let key = CertificateKey::Csr(csr_pem);
        let made = registrar
            .issue_service_certificate(service, key, &self.act())
            .await?;
        Ok(ServiceCertificate {
            record: HeldCertificate::from(&made.record),
            certificate: issued_to_service(&made),
        })
    }

    async fn certificate(
        &self,
        serial: SerialNumber,
        issuer: Option<SpkiHash>,
    ) -> Result<HeldCertificate, CliError> {
        let query = CertificateQuery {
            serial: Some(serial),
            issuer,
            limit: 2,
            ..CertificateQuery::default()
        };
        let mut found = self.store().await?.find_certificates(&query).await?.items;
        match (found.pop(), found.pop()) {
            (None, _) => Err(RegistrarError::CertificateUnknown { serial }.into()),
            (Some(certificate), None) => Ok(HeldCertificate::from(&certificate)),
            (Some(one), Some(other)) => Err(RegistrarError::CertificateAmbiguous {
                serial,
                issuers: [one.issuer, other.issuer],
            }
            .into()),
        }
    }

    async fn certificates(
        &self,
        filter: &CertificateFilter,
        part: &Part,
    ) -> Result<CertificateList, CliError> {
        let store = self.store().await?;
        let query = certificate_query(filter, part)?;
        let Some(id) = device_of(filter) else {
            let page = store.find_certificates(&query).await?;
            return Ok(CertificateList {
                certificates: page.items.iter().map(HeldCertificate::from).collect(),
                next_page_token: page.next.as_ref().map(ToString::to_string),
            });
        };
        // A device's record has its certificates of every generation.
        let found = store.load(&id).await?;
        let certificates = found.into_iter().flat_map(|record| record.certificates);
        Ok(CertificateList {
            certificates: certificates
                .filter(|certificate| query.matches(certificate))
                .map(|certificate| HeldCertificate::from(&certificate))
                .collect(),
            next_page_token: None,
        })
    }

    async fn revoke_certificate(
        &self,
        serial: SerialNumber,
        issuer: SpkiHash,
        reason: RevocationReason,
    ) -> Result<HeldCertificate, CliError> {
        let registrar = self.registrar().await?;
        let revoked = registrar
            .revoke_certificate(serial, Some(issuer), reason, &self.act())
            .await?;
        Ok(HeldCertificate::from(&revoked))
    }

    async fn issuers(&self) -> Result<Vec<Issuer>, CliError> {
        let registrar = self.registrar().await?;
        let all = registrar.issuers(self.clock.now()).await?;
        Ok(all.into_iter().map(issuer_of).collect())
    }

    async fn activate_issuer(&self, issuer: &SpkiHash, now: bool) -> Result<Issuer, CliError> {
        let ripe = match now {
            true => Duration::ZERO,
            false => Registrar::DEFAULT_ACTIVATE_AFTER,
        };
        let registrar = self.registrar().await?;
        let activated = registrar.activate_issuer(issuer, ripe, &self.act()).await?;
        Ok(issuer_of(activated))
    }

    async fn retire_issuer(&self, issuer: &SpkiHash) -> Result<Issuer, CliError> {
        let registrar = self.registrar().await?;
        let retired = registrar.retire_issuer(issuer, &self.act()).await?;
        Ok(issuer_of(retired))
    }

    async fn explain(&self, id: &DeviceId, login: &LogIn) -> Result<Explanation, CliError> {
        self.beside()?.explain(id, login).await
    }

    async fn sessions(&self, id: &DeviceId) -> Result<SessionList, CliError> {
        self.beside()?.sessions(id).await
    }

    async fn disconnect(&self, id: &DeviceId) -> Result<Disconnected, CliError> {
        self.beside()?.disconnect(id).await
    }

    async fn events(&self, after: Option<u64>, limit: u32) -> Result<EventList, CliError> {
        let store = self.store().await?;
        let newest = store.position().await?;
        let after = after.unwrap_or_else(|| newest.seq.saturating_sub(u64::from(limit)));
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let events = store.events_after(after, limit).await?;
        let next_after = events.last().map_or(after, |event| event.seq);
        Ok(EventList {
            events: events.into_iter().map(Event::from).collect(),
            next_after,
            newest: newest.seq.max(next_after),
            epoch: newest.epoch.to_string(),
        })
    }

    async fn follow(&self, after: Option<u64>) -> Result<Results<Event>, CliError> {
        following::follow(self.store().await?, after).await
    }

    async fn import(
        &self,
        lines: BoxStream<'static, Line>,
    ) -> Result<Results<ImportResult>, CliError> {
        let clock = self.clock.clone();
        let act = move || cli_act(clock.now());
        Ok(bulk::import(&self.registrar().await?, lines, act))
    }

    async fn export(&self, filter: &DeviceFilter) -> Result<Results<Device>, CliError> {
        Ok(devices::export(self.store().await?, filter))
    }

    async fn plan(&self, plan: &PlanBulk) -> Result<BulkPlan, CliError> {
        bulk::plan(&self.registrar().await?, plan).await
    }

    async fn apply(&self, change: &ApplyBulk) -> Result<Results<BulkResult>, CliError> {
        let clock = self.clock.clone();
        let act = move || cli_act(clock.now());
        bulk::apply(&self.registrar().await?, change, act).await
    }

    async fn verify_audit(&self, checkpoints: Vec<Checkpoint>) -> Result<AuditReport, CliError> {
        Ok(audit::verify(&*self.store().await?, checkpoints).await?)
    }

    async fn create_api_key(&self, new: CreateApiKey) -> Result<CreatedApiKey, CliError> {
        access::create_api_key(&self.registrar().await?, new, &self.act()).await
    }

    async fn api_keys(&self, part: &Part) -> Result<ApiKeyList, CliError> {
        access::api_keys(&self.registrar().await?, part).await
    }

    async fn revoke_api_key(&self, id: &str) -> Result<ApiKey, CliError> {
        let id = read_id(id)?;
        let registrar = self.registrar().await?;
        let key = registrar.revoke_api_key(&id, &self.act()).await?;
        Ok(ApiKey::from(&key))
    }

    async fn create_enrolment_token(
        &self,
        new: CreateEnrolmentToken,
    ) -> Result<CreatedEnrolmentToken, CliError> {
        access::create_enrolment_token(&self.registrar().await?, new, &self.act()).await
    }

    async fn enrolment_tokens(&self, part: &Part) -> Result<EnrolmentTokenList, CliError> {
        access::enrolment_tokens(&self.registrar().await?, part).await
    }

    async fn revoke_enrolment_token(&self, id: &str) -> Result<EnrolmentToken, CliError> {
        let id = read_id(id)?;
        let registrar = self.registrar().await?;
        let status = registrar.revoke_enrolment_token(&id, &self.act()).await?;
        Ok(EnrolmentToken::new(&status.token, status.uses))
    }
}

fn read_id<T: FromStr<Err: Error + 'static>>(text: &str) -> Result<T, CliError> {
    text.parse()
        .map_err(|error| CliError::caused(Exit::Usage, &error))
}

impl From<&DeviceCredentials> for DeviceCertificate {
    fn from(credentials: &DeviceCredentials) -> Self {
        Self {
            device: Device::from(&credentials.device),
            certificate: IssuedCertificate {
                // Keys are made by who asks.
                private_key: None,
                ..issued_certificate(credentials)
            },
        }
    }
}
