//! The registry that a command works on: one in a folder, or a running registry API. Both do the same under one trait,
//! and both give the resources of the API.

mod arguments;
mod enrolment;
mod folder;
mod init;
mod local;
mod remote;
mod renewal;

use async_trait::async_trait;
use futures::stream::BoxStream;
use leafgate_api::{
    ApiKey, ApiKeyList, ApplyBulk, AuditReport, BulkPlan, BulkResult, CertificateList,
    CreateApiKey, CreateEnrolmentToken, CreatedApiKey, CreatedEnrolmentToken, Device, DeviceList,
    Disconnected, EnrolmentToken, EnrolmentTokenList, Event, EventList, Explanation,
    HeldCertificate, ImportResult, IssuedCertificate, Issuer, PlanBulk, RegisterDevice,
    ReplaceDevice, SessionList,
};
use leafgate_identity::{DeviceId, Fingerprint, SerialNumber, SpkiHash, UnixMs};
use leafgate_registrar::{Checkpoint, DeviceAction, Service};
use leafgate_registry::{CertificateStatusKind, DeviceState, RevocationReason};

pub(crate) use self::arguments::RegistryAddress;
pub(crate) use self::enrolment::enrol_at;
pub(crate) use self::folder::RegistryArguments;
pub(super) use self::init::{Arguments, run};
pub(crate) use self::remote::{RemoteRegistry as RegistryApi, random};
pub(crate) use self::renewal::{Presented, renew_at};
use super::error::CliError;

/// What can be asked of a registry. Who acts, and when, is the implementation's to know.
#[async_trait]
pub(crate) trait Registry: Send + Sync {
    /// Whether what it revokes is on the revocation lists that it serves.
    fn publishes_revocations(&self) -> bool;

    /// What devices and clients trust (PEM).
    async fn root_certificate(&self) -> Result<String, CliError>;

    async fn register(&self, new: RegisterDevice) -> Result<Device, CliError>;

    /// Registers a device and issues its first certificate, for the key of this certificate request.
    async fn register_with_certificate(
        &self,
        new: RegisterDevice,
        csr_pem: &str,
    ) -> Result<DeviceCertificate, CliError>;

    async fn device(&self, id: &DeviceId) -> Result<Device, CliError>;

    async fn devices(&self, filter: &DeviceFilter, part: &Part) -> Result<DeviceList, CliError>;

    /// Makes of a device what `edit` makes of it, as often as somebody else changes it meanwhile.
    async fn edit(&self, id: &DeviceId, edit: Edit<'_>) -> Result<Device, CliError>;

    async fn change_state(&self, id: &DeviceId, action: DeviceAction) -> Result<Device, CliError>;

    /// Issues a certificate for the key of this certificate request.
    async fn issue(&self, id: &DeviceId, csr_pem: &str) -> Result<DeviceCertificate, CliError>;

    /// Issues a certificate to a part of the installation, for the key of this certificate request.
    async fn issue_to_service(
        &self,
        service: &Service,
        csr_pem: &str,
    ) -> Result<ServiceCertificate, CliError>;

    /// The one certificate with this serial number, where one issuer gave it out.
    async fn certificate(
        &self,
        serial: SerialNumber,
        issuer: Option<SpkiHash>,
    ) -> Result<HeldCertificate, CliError>;

    async fn certificates(
        &self,
        filter: &CertificateFilter,
        part: &Part,
    ) -> Result<CertificateList, CliError>;

    async fn revoke_certificate(
        &self,
        serial: SerialNumber,
        issuer: SpkiHash,
        reason: RevocationReason,
    ) -> Result<HeldCertificate, CliError>;

    /// The intermediates that sign, have signed and are to sign.
    async fn issuers(&self) -> Result<Vec<Issuer>, CliError>;

    /// Lets an issuer sign in the place of the present one, with `now` although it was prepared a short time ago.
    async fn activate_issuer(&self, issuer: &SpkiHash, now: bool) -> Result<Issuer, CliError>;

    /// Lets an issuer sign no certificate ever again.
    async fn retire_issuer(&self, issuer: &SpkiHash) -> Result<Issuer, CliError>;

    async fn explain(&self, id: &DeviceId, login: &LogIn) -> Result<Explanation, CliError>;

    async fn sessions(&self, id: &DeviceId) -> Result<SessionList, CliError>;

    async fn disconnect(&self, id: &DeviceId) -> Result<Disconnected, CliError>;

    /// Events that follow one, or the newest where none is named.
    async fn events(&self, after: Option<u64>, limit: u32) -> Result<EventList, CliError>;

    /// Events as they come, after one or from now on. The stream ends with an error alone.
    async fn follow(&self, after: Option<u64>) -> Result<Results<Event>, CliError>;

    /// Registers the devices of these lines, each for itself. There is a result for every line, in their order.
    async fn import(
        &self,
        lines: BoxStream<'static, Line>,
    ) -> Result<Results<ImportResult>, CliError>;

    /// Devices in the order of their ids.
    async fn export(&self, filter: &DeviceFilter) -> Result<Results<Device>, CliError>;

    /// How many devices a change would be about.
    async fn plan(&self, plan: &PlanBulk) -> Result<BulkPlan, CliError>;

    /// Changes many devices, if they are as many as a plan said.
    async fn apply(&self, change: &ApplyBulk) -> Result<Results<BulkResult>, CliError>;

    /// That the chain of events holds, and passes through these checkpoints.
    async fn verify_audit(&self, checkpoints: Vec<Checkpoint>) -> Result<AuditReport, CliError>;

    async fn create_api_key(&self, new: CreateApiKey) -> Result<CreatedApiKey, CliError>;

    async fn api_keys(&self, part: &Part) -> Result<ApiKeyList, CliError>;

    async fn revoke_api_key(&self, id: &str) -> Result<ApiKey, CliError>;

    async fn create_enrolment_token(
        &self,
        new: CreateEnrolmentToken,
    ) -> Result<CreatedEnrolmentToken, CliError>;

    async fn enrolment_tokens(&self, part: &Part) -> Result<EnrolmentTokenList, CliError>;

    async fn revoke_enrolment_token(&self, id: &str) -> Result<EnrolmentToken, CliError>;
}

/// One line of an import.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// From 1.
    pub(crate) number: u64,
    /// A device as the registry API takes it, in JSON.
    pub(crate) text: String,
}

/// What comes as it is done or found. It ends after the first error.
pub(crate) type Results<T> = BoxStream<'static, Result<T, CliError>>;

/// What a device is to become, made of what it is.
pub(crate) type Edit<'a> =
    &'a (dyn Fn(&ReplaceDevice) -> Result<ReplaceDevice, CliError> + Send + Sync);

/// A device and a certificate that was issued to it.
pub(crate) struct DeviceCertificate {
    pub(crate) device: Device,
    pub(crate) certificate: IssuedCertificate,
}

/// A certificate that was issued to a part of the installation, as recorded and as signed.
pub(crate) struct ServiceCertificate {
    pub(crate) record: HeldCertificate,
    pub(crate) certificate: IssuedCertificate,
}

/// Which part of a list is asked for.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub(crate) struct Part {
    /// How many at most.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
    /// Go on where an earlier list ended.
    #[arg(long, value_name = "NEXT")]
    pub(crate) after: Option<String>,
}

/// Which devices are meant. Every condition that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeviceFilter {
    pub(crate) state: Option<DeviceState>,
    pub(crate) device_type: Option<String>,
    pub(crate) attribute: Option<(String, String)>,
    pub(crate) site: Option<String>,
    pub(crate) id_prefix: Option<String>,
    /// What the common names of its certificates begin with, case included.
    pub(crate) common_name_prefix: Option<String>,
    pub(crate) expires_by: Option<UnixMs>,
}

/// Which certificates are meant. Every condition that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CertificateFilter {
    pub(crate) device: Option<DeviceId>,
    pub(crate) device_prefix: Option<String>,
    pub(crate) service: Option<String>,
    pub(crate) common_name: Option<String>,
    pub(crate) serial: Option<SerialNumber>,
    pub(crate) fingerprint: Option<Fingerprint>,
    pub(crate) issuer: Option<SpkiHash>,
    pub(crate) status: Option<CertificateStatusKind>,
    pub(crate) expires_by: Option<UnixMs>,
}

/// A log-in that is thought up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogIn {
    pub(crate) connection_type: Option<String>,
    pub(crate) source: Option<std::net::IpAddr>,
    pub(crate) site: Option<String>,
}
