//! A running registry API.

mod access;
mod bulk;
mod described;
mod events;
mod failure;
mod import;
mod lines;
mod request;
mod tls;

use std::path::Path;

use async_trait::async_trait;
use futures::stream::BoxStream;
use leafgate_api::{
    ActivateIssuer, ApiKey, ApiKeyList, ApplyBulk, AuditReport, BulkPlan, BulkResult,
    CertificateList, CreateApiKey, CreateEnrolmentToken, CreatedApiKey, CreatedEnrolmentToken,
    Device, DeviceList, Disconnected, EnrolmentToken, EnrolmentTokenList, Event, EventList,
    Explanation, HeldCertificate, ImportResult, IssuedCertificate, Issuer, IssuerList, PlanBulk,
    ProblemType, RegisterDevice, ReplaceDevice, RequestCertificate, Revoke, SessionList,
};
use leafgate_identity::{DeviceId, SerialNumber, SpkiHash, UnixMs};
use leafgate_registrar::{Checkpoint, DeviceAction, RegistrarError, Service};
use leafgate_registry::RevocationReason;
use leafgate_runtime::read_secret;
use reqwest::Method;
use reqwest::header::{DATE, HeaderValue};
use serde::de::DeserializeOwned;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

pub(crate) use self::access::{Access, parse_url, random};
use self::described::{filtered, name_of, requested};
use self::request::Request;
pub(crate) use self::tls::ClientCertificate;
use super::{
    CertificateFilter, DeviceCertificate, DeviceFilter, Edit, Line, LogIn, Part, Registry, Results,
    ServiceCertificate,
};
use crate::cli::error::CliError;

/// The longest page that is asked for, which is the longest that there is.
const PAGE: u32 = 1_000;
/// How often a device is read again that somebody else changes meanwhile.
const EDITS: u32 = 10;

/// A registry API, asked by whoever bears an API key.
#[derive(Clone)]
pub(crate) struct RemoteRegistry {
    access: Access,
    authorization: HeaderValue,
}

impl RemoteRegistry {
    /// The one at this address, for the holder of the API key in a file. Nothing is asked of it yet.
    pub(crate) fn open(
        url: &str,
        ca_file: Option<&Path>,
        token_file: &Path,
    ) -> Result<Self, CliError> {
        let access = Access::new(&parse_url(url)?, ca_file)?;
        let authorization = Access::bearing(&read_secret(token_file)?)?;
        Ok(Self {
            access,
            authorization,
        })
    }

    /// How people know it.
    pub(crate) fn name(&self) -> String {
        self.access.name()
    }

    /// The root and the issuers, and what time it is there, if the answer says so.
    pub(crate) async fn issuers_and_time(&self) -> Result<(IssuerList, Option<UnixMs>), CliError> {
        let (list, headers) = self.get(&["issuers"]).read_with_headers().await?;
        let date = headers.get(DATE).and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| OffsetDateTime::parse(date, &Rfc2822).ok());
        Ok((
            list,
            date.map(|date| UnixMs::from_secs(date.unix_timestamp())),
        ))
    }

    fn get(&self, path: &[&str]) -> Request {
        self.access.get(path).bearer(&self.authorization)
    }

    fn act(&self, method: Method, path: &[&str]) -> Request {
        self.access.act(method, path).bearer(&self.authorization)
    }

    fn post(&self, path: &[&str]) -> Request {
        self.act(Method::POST, path)
    }

    /// As much of a list as was asked for, page by page.
    async fn list<T, L>(
        &self,
        part: &Part,
        request: impl Fn() -> Request + Send + Sync,
        open: impl Fn(L) -> (Vec<T>, Option<String>) + Send + Sync,
    ) -> Result<(Vec<T>, Option<String>), CliError>
    where
        T: Send,
        L: DeserializeOwned + Send,
    {
        let limit = usize::try_from(part.limit).unwrap_or(usize::MAX);
        let mut all = Vec::new();
        let mut after = part.after.clone();
        loop {
            let missing = u32::try_from(limit - all.len()).unwrap_or(PAGE);
            let page = request()
                .query("page_size", Some(missing.min(PAGE)))
                .query("page_token", after);
            let (items, next) = open(page.read().await?);
            all.extend(items);
            if next.is_none() || all.len() >= limit {
                return Ok((all, next));
            }
            after = next;
        }
    }
}

#[async_trait]
impl Registry for RemoteRegistry {
    fn publishes_revocations(&self) -> bool {
        true
    }

    async fn root_certificate(&self) -> Result<String, CliError> {
        let issuers: IssuerList = self.get(&["issuers"]).read().await?;
        Ok(issuers.root_certificate)
    }

    async fn register(&self, new: RegisterDevice) -> Result<Device, CliError> {
        self.post(&["devices"]).json(&new)?.read().await
    }

    async fn register_with_certificate(
        &self,
        new: RegisterDevice,
        csr_pem: &str,
    ) -> Result<DeviceCertificate, CliError> {
        let device = self.register(new).await?;
        self.issue(&device.id, csr_pem).await.map_err(|error| {
            let id = &device.id;
            error.hint(format!(
                "{id} is registered, but has no certificate yet: leafgate device issue {id} --out DIR"
            ))
        })
    }

    async fn device(&self, id: &DeviceId) -> Result<Device, CliError> {
        self.get(&["devices", id.as_str()]).read().await
    }

    async fn devices(&self, filter: &DeviceFilter, part: &Part) -> Result<DeviceList, CliError> {
        let request = || filtered(self.get(&["devices"]), filter);
        let open = |list: DeviceList| (list.devices, list.next_page_token);
        let (devices, next_page_token) = self.list(part, request, open).await?;
        Ok(DeviceList {
            devices,
            next_page_token,
        })
    }

    async fn edit(&self, id: &DeviceId, edit: Edit<'_>) -> Result<Device, CliError> {
        let mut tries = 1;
        loop {
            let device = self.device(id).await?;
            let version = device.version;
            let body = edit(&ReplaceDevice {
                device_type: device.device_type,
                site: device.site,
                attributes: device.attributes,
            })?;
            let request = self.act(Method::PUT, &["devices", id.as_str()]);
            match request.json(&body)?.if_version(version).read().await {
                Err(error)
                    if error.problem() == Some(ProblemType::VersionMismatch) && tries < EDITS =>
                {
                    tries += 1;
                }
                other => return other,
            }
        }
    }

    async fn change_state(&self, id: &DeviceId, action: DeviceAction) -> Result<Device, CliError> {
        let id = id.as_str();
        let verb = match action {
            DeviceAction::Approve => "approve",
            DeviceAction::Enable => "enable",
            DeviceAction::Disable => "disable",
            DeviceAction::Quarantine => "quarantine",
            DeviceAction::Revoke(reason) => {
                let request = self.post(&["devices", id, "revoke"]);
                return request.json(&Revoke { reason })?.read().await;
            }
            DeviceAction::Delete => {
                return self.act(Method::DELETE, &["devices", id]).read().await;
            }
        };
        self.post(&["devices", id, verb]).read().await
    }

    async fn issue(&self, id: &DeviceId, csr_pem: &str) -> Result<DeviceCertificate, CliError> {
        let body = RequestCertificate {
            csr: Some(csr_pem.to_owned()),
            generate_key: false,
        };
        let request = self.post(&["devices", id.as_str(), "certificates"]);
        let certificate: IssuedCertificate = request.json(&body)?.read().await?;
        Ok(DeviceCertificate {
            device: self.device(id).await?,
            certificate,
        })
    }

    async fn issue_to_service(
        &self,
        service: &Service,
        csr_pem: &str,
    ) -> Result<ServiceCertificate, CliError> {
        let (name, body) = requested(service, csr_pem);
        let request = self.post(&["services", &name, "certificates"]);
        let certificate: IssuedCertificate = request.json(&body)?.read().await?;
        let serial = certificate.serial;
        let list: CertificateList = self
            .get(&["certificates"])
            .query("fingerprint", Some(certificate.fingerprint))
            .read()
            .await?;
        let unknown = || CliError::from(RegistrarError::CertificateUnknown { serial });
        Ok(ServiceCertificate {
            record: list.certificates.into_iter().next().ok_or_else(unknown)?,
            certificate,
        })
    }

    async fn certificate(
        &self,
        serial: SerialNumber,
        issuer: Option<SpkiHash>,
    ) -> Result<HeldCertificate, CliError> {
        self.get(&["certificates", &name_of(serial, issuer)])
            .read()
            .await
    }

    async fn certificates(
        &self,
        filter: &CertificateFilter,
        part: &Part,
    ) -> Result<CertificateList, CliError> {
        let request = || {
            self.get(&["certificates"])
                .query("device", filter.device.as_ref())
                .query("device_prefix", filter.device_prefix.as_ref())
                .query("service", filter.service.as_ref())
                .query("common_name", filter.common_name.as_ref())
                .query("serial", filter.serial)
                .query("fingerprint", filter.fingerprint)
                .query("issuer", filter.issuer)
                .query("status", filter.status)
                .query("expires_by", filter.expires_by)
        };
        let open = |list: CertificateList| (list.certificates, list.next_page_token);
        let (certificates, next_page_token) = self.list(part, request, open).await?;
        Ok(CertificateList {
            certificates,
            next_page_token,
        })
    }

    async fn revoke_certificate(
        &self,
        serial: SerialNumber,
        issuer: SpkiHash,
        reason: RevocationReason,
    ) -> Result<HeldCertificate, CliError> {
        let name = name_of(serial, Some(issuer));
        let request = self.post(&["certificates", &name, "revoke"]);
        request.json(&Revoke { reason })?.read().await
    }

    async fn issuers(&self) -> Result<Vec<Issuer>, CliError> {
        let list: IssuerList = self.get(&["issuers"]).read().await?;
        Ok(list.issuers)
    }

    async fn activate_issuer(&self, issuer: &SpkiHash, now: bool) -> Result<Issuer, CliError> {
        let request = self.post(&["issuers", &issuer.to_string(), "activate"]);
        request.json(&ActivateIssuer { now })?.read().await
    }

    async fn retire_issuer(&self, issuer: &SpkiHash) -> Result<Issuer, CliError> {
        self.post(&["issuers", &issuer.to_string(), "retire"])
            .read()
            .await
    }

    async fn explain(&self, id: &DeviceId, login: &LogIn) -> Result<Explanation, CliError> {
        self.get(&["devices", id.as_str(), "explain"])
            .query("connection_type", login.connection_type.as_ref())
            .query("source", login.source)
            .query("site", login.site.as_ref())
            .read()
            .await
    }

    async fn sessions(&self, id: &DeviceId) -> Result<SessionList, CliError> {
        self.get(&["devices", id.as_str(), "sessions"]).read().await
    }

    async fn disconnect(&self, id: &DeviceId) -> Result<Disconnected, CliError> {
        let path = ["devices", id.as_str(), "disconnect"];
        let request = self.access.request(Method::POST, &path);
        request.bearer(&self.authorization).read().await
    }

    async fn events(&self, after: Option<u64>, limit: u32) -> Result<EventList, CliError> {
        events::list(self, after, limit).await
    }

    async fn follow(&self, after: Option<u64>) -> Result<Results<Event>, CliError> {
        events::follow(self, after).await
    }

    async fn import(
        &self,
        lines: BoxStream<'static, Line>,
    ) -> Result<Results<ImportResult>, CliError> {
        Ok(import::import(self, lines))
    }

    async fn export(&self, filter: &DeviceFilter) -> Result<Results<Device>, CliError> {
        Ok(bulk::export(self, filter))
    }

    async fn plan(&self, plan: &PlanBulk) -> Result<BulkPlan, CliError> {
        let request = self.access.request(Method::POST, &["bulk", "plan"]);
        request.bearer(&self.authorization).json(plan)?.read().await
    }

    async fn apply(&self, change: &ApplyBulk) -> Result<Results<BulkResult>, CliError> {
        bulk::apply(self, change).await
    }

    async fn verify_audit(&self, checkpoints: Vec<Checkpoint>) -> Result<AuditReport, CliError> {
        if !checkpoints.is_empty() {
            let error = "a registry API compares the checkpoints that it keeps itself: leave out --checkpoints, or name a folder with --dir";
            return Err(CliError::usage(error.to_owned()));
        }
        let request = self.access.request(Method::POST, &["audit", "verify"]);
        request.bearer(&self.authorization).read().await
    }

    async fn create_api_key(&self, new: CreateApiKey) -> Result<CreatedApiKey, CliError> {
        self.post(&["api-keys"]).json(&new)?.read().await
    }

    async fn api_keys(&self, part: &Part) -> Result<ApiKeyList, CliError> {
        let open = |list: ApiKeyList| (list.api_keys, list.next_page_token);
        let (api_keys, next_page_token) = self.list(part, || self.get(&["api-keys"]), open).await?;
        Ok(ApiKeyList {
            api_keys,
            next_page_token,
        })
    }

    async fn revoke_api_key(&self, id: &str) -> Result<ApiKey, CliError> {
        self.post(&["api-keys", id, "revoke"]).read().await
    }

    async fn create_enrolment_token(
        &self,
        new: CreateEnrolmentToken,
    ) -> Result<CreatedEnrolmentToken, CliError> {
        self.post(&["enrolment-tokens"]).json(&new)?.read().await
    }

    async fn enrolment_tokens(&self, part: &Part) -> Result<EnrolmentTokenList, CliError> {
        let open = |list: EnrolmentTokenList| (list.enrolment_tokens, list.next_page_token);
        let request = || self.get(&["enrolment-tokens"]);
        let (enrolment_tokens, next_page_token) = self.list(part, request, open).await?;
        Ok(EnrolmentTokenList {
            enrolment_tokens,
            next_page_token,
        })
    }

    async fn revoke_enrolment_token(&self, id: &str) -> Result<EnrolmentToken, CliError> {
        self.post(&["enrolment-tokens", id, "revoke"]).read().await
    }
}
