//! The registry in a folder, worked on directly.

mod audit;
mod bulk;
mod described;
mod following;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use leafgate_access::{ApiKeyId, Authority, EnrolmentTokenId, NewApiKey, NewEnrolmentToken};
use leafgate_api::{
    ApiKey, ApiKeyList, ApplyBulk, AuditReport, BulkPlan, BulkResult, CertificateList,
    CreateApiKey, CreateEnrolmentToken, CreatedApiKey, CreatedEnrolmentToken, Device, DeviceList,
    Disconnected, EnrolmentToken, EnrolmentTokenList, Event, EventList, Explanation,
    HeldCertificate, ImportResult, IssuedCertificate, PlanBulk, RegisterDevice, ReplaceDevice,
    SessionList,
};
use leafgate_identity::{DeviceId, Fingerprint, SerialNumber, SpkiHash};
use leafgate_registrar::{
    CertificateKey, Checkpoint, DeviceAction, DeviceCredentials, Registrar, RegistrarError,
    TokenStatus,
};
use leafgate_registry::{
    Act, CertificateQuery, DeviceEdit, DeviceRecord, DeviceStore, RevocationReason,
};
use leafgate_runtime::{Clock, SystemClock};
use secrecy::ExposeSecret;

use self::described::{certificate_query, described, device_of, device_query, trust_domain};
use super::remote::{Access, RemoteRegistry, parse_url};
use super::{
    CertificateFilter, DeviceCertificate, DeviceFilter, Edit, Line, LogIn, Part, Registry,
    RegistryArguments, Results,
};
use crate::cli::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::files::read_text;
use crate::dev::cli_act;
use crate::local::Endpoints;

/// How long an API key lasts whose maker does not say, as with the registry API.
const API_KEY_LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);

/// The registry in a folder, changed by whoever runs the command.
pub(crate) struct LocalRegistry {
    folder: RegistryArguments,
    clock: SystemClock,
}

impl LocalRegistry {
    pub(crate) fn new(folder: RegistryArguments, context: &Context) -> Self {
        Self {
            folder,
            clock: context.clock.clone(),
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
        self.folder.registrar().await
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
        let access = Access::new(&parse_url(&api.registry_url)?, Some(&endpoints.ca_file))?;
        RemoteRegistry::new(access, &api.admin_token_file)
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
        let query = device_query(filter, part)?;
        let page = self.store().await?.find(&query).await?;
        Ok(DeviceList {
            devices: page.items.iter().map(Device::from).collect(),
            next_page_token: page.next.as_ref().map(ToString::to_string),
        })
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
        bulk::export(self.store().await?, filter)
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
        let registrar = self.registrar().await?;
        let act = self.act();
        let new = NewApiKey {
            name: new.name,
            authority: Authority {
                roles: new.roles,
                scope: new.scope,
            },
            created_by: act.actor.to_string(),
            expires_at: new
                .expires_at
                .unwrap_or_else(|| act.at.saturating_add(API_KEY_LIFETIME)),
        };
        let (key, text) = registrar.create_api_key(new, &act).await?;
        Ok(CreatedApiKey {
            api_key: ApiKey::from(&key),
            key: text.expose().expose_secret().to_owned(),
        })
    }

    async fn api_keys(&self, part: &Part) -> Result<ApiKeyList, CliError> {
        let registrar = self.registrar().await?;
        let page = registrar
            .api_keys(part.cursor()?.as_ref(), part.limit())
            .await?;
        Ok(ApiKeyList {
            api_keys: page.items.iter().map(ApiKey::from).collect(),
            next_page_token: page.next.as_ref().map(ToString::to_string),
        })
    }

    async fn revoke_api_key(&self, id: &str) -> Result<ApiKey, CliError> {
        let id: ApiKeyId = id
            .parse()
            .map_err(|error| CliError::caused(Exit::Usage, &error))?;
        let registrar = self.registrar().await?;
        let key = registrar.revoke_api_key(&id, &self.act()).await?;
        Ok(ApiKey::from(&key))
    }

    async fn create_enrolment_token(
        &self,
        new: CreateEnrolmentToken,
    ) -> Result<CreatedEnrolmentToken, CliError> {
        let registrar = self.registrar().await?;
        let act = self.act();
        let new = NewEnrolmentToken {
            name: new.name,
            admits: new.admits.into(),
            trust_domain: new.trust_domain.unwrap_or_else(trust_domain),
            device_type: new.device_type,
            site: new.site,
            attributes: new.attributes,
            created_by: act.actor.to_string(),
            expires_at: new
                .expires_at
                .unwrap_or_else(|| act.at.saturating_add(Registrar::DEFAULT_TOKEN_LIFETIME)),
        };
        let (token, text) = registrar.create_enrolment_token(new, &act).await?;
        Ok(CreatedEnrolmentToken {
            enrolment_token: EnrolmentToken::new(&token, 0),
            token: text.expose().expose_secret().to_owned(),
        })
    }

    async fn enrolment_tokens(&self, part: &Part) -> Result<EnrolmentTokenList, CliError> {
        let registrar = self.registrar().await?;
        let page = registrar
            .enrolment_tokens(part.cursor()?.as_ref(), part.limit())
            .await?;
        Ok(EnrolmentTokenList {
            enrolment_tokens: page.items.iter().map(told).collect(),
            next_page_token: page.next.as_ref().map(ToString::to_string),
        })
    }

    async fn revoke_enrolment_token(&self, id: &str) -> Result<EnrolmentToken, CliError> {
        let id: EnrolmentTokenId = id
            .parse()
            .map_err(|error| CliError::caused(Exit::Usage, &error))?;
        let registrar = self.registrar().await?;
        let status = registrar.revoke_enrolment_token(&id, &self.act()).await?;
        Ok(told(&status))
    }
}

impl From<&DeviceCredentials> for DeviceCertificate {
    fn from(credentials: &DeviceCredentials) -> Self {
        let issued = &credentials.issued;
        Self {
            device: Device::from(&credentials.device),
            certificate: IssuedCertificate {
                certificate: issued.certificate_pem.clone(),
                chain: issued.chain_pem.clone(),
                serial: issued.serial,
                fingerprint: issued.fingerprint,
                not_after: issued.validity.not_after,
                renew_after: credentials.renew_after,
                private_key: None,
            },
        }
    }
}

fn told(status: &TokenStatus) -> EnrolmentToken {
    EnrolmentToken::new(&status.token, status.uses)
}
