use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use leafgate_access::Permission;
use leafgate_api::{CertificateList, HeldCertificate, schema};
use leafgate_identity::{DeviceId, Fingerprint, SerialNumber, SpkiHash, UnixMs};
use leafgate_registry::{
    Certificate, CertificateId, CertificateQuery, CertificateStatusKind, Cursor, Holder, Page,
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::Reach;
use crate::app::App;
use crate::authenticate::Caller;
use crate::common_name::{common_name_of, ids_named};
use crate::extract::Read;
use crate::list::{Listing, PageOf};
use crate::problem::Problem;

#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Of this device, of every generation.
    #[param(value_type = Option<schema::DeviceId>)]
    device: Option<DeviceId>,
    /// Of devices whose id begins with this, case included.
    device_prefix: Option<String>,
    /// Of this part of the installation.
    service: Option<String>,
    /// With this common name: that of a device, or of a part of the installation.
    #[param(example = "device-0001.device.synadia.local")]
    common_name: Option<String>,
    /// With this serial number.
    #[param(value_type = Option<schema::SerialNumber>)]
    serial: Option<SerialNumber>,
    /// With this SHA-256 of its DER.
    #[param(value_type = Option<schema::Sha256>)]
    fingerprint: Option<Fingerprint>,
    /// Of the issuer with this SHA-256 of its public key.
    #[param(value_type = Option<schema::Sha256>)]
    issuer: Option<SpkiHash>,
    /// Of this status.
    #[param(value_type = Option<schema::CertificateStatus>)]
    status: Option<CertificateStatusKind>,
    /// That end by this time.
    #[param(value_type = Option<schema::Time>)]
    expires_by: Option<UnixMs>,
    /// That end after this time.
    #[param(value_type = Option<schema::Time>)]
    expires_after: Option<UnixMs>,
    /// How many at most, from 1 to 1000; 100 if left out. A page may have fewer and still not be the last.
    #[param(minimum = 1, maximum = 1000)]
    page_size: Option<u32>,
    /// The `next_page_token` of the page before.
    page_token: Option<String>,
}

/// List certificates
///
/// Of devices as far as your scope reaches, and of parts of the installation if it reaches everything. Every filter that
/// is given must hold.
#[utoipa::path(
    get,
    path = "/v1/certificates",
    tag = "certificates",
    params(Filter),
    responses((status = OK, description = "A page of certificates", body = CertificateList)),
)]
pub(super) async fn list_certificates(
    State(app): State<Arc<App>>,
    read: Read<Filter>,
) -> Result<Json<CertificateList>, Problem> {
    let Read {
        caller,
        query: filter,
        list,
        ..
    } = read;
    caller.principal.check(Permission::ReadDevices)?;
    let page = PageOf::<CertificateId>::new(filter.page_size, filter.page_token.as_deref(), &list)?;
    let found = match holders(&app, &filter)? {
        Holders::Devices(ids) => of_devices(&app, &caller, &ids, &filter, &page).await?,
        Holders::Any(query) => find(&app, &caller, *query, &page).await?,
    };
    Ok(Json(CertificateList {
        certificates: found.items.iter().map(HeldCertificate::from).collect(),
        next_page_token: found.next.map(|next| list.token(&next)),
    }))
}

/// Whose certificates are asked for.
enum Holders {
    /// Of these devices, of every generation.
    Devices(Vec<DeviceId>),
    /// Of whoever meets the query.
    Any(Box<CertificateQuery>),
}

fn holders(app: &App, filter: &Filter) -> Result<Holders, Problem> {
    let given = [
        filter.device.is_some(),
        filter.service.is_some(),
        filter.common_name.is_some(),
    ];
    if given.iter().filter(|given| **given).count() > 1 {
        let detail = "give one of device, service and common_name";
        return Err(Problem::malformed(detail));
    }
    let query = filter.query();
    let of_service = |name: &str| {
        Holders::Any(Box::new(CertificateQuery {
            holder: Some(Holder::Service { name: name.into() }),
            ..query.clone()
        }))
    };
    Ok(
        match (&filter.device, &filter.service, &filter.common_name) {
            (Some(id), ..) => Holders::Devices(vec![id.clone()]),
            (None, Some(name), _) => of_service(name),
            (None, None, Some(name)) => match ids_named(&app.domains, name) {
                ids if ids.is_empty() => of_service(name),
                ids => Holders::Devices(ids),
            },
            (None, None, None) => Holders::Any(Box::new(query)),
        },
    )
}

impl Filter {
    fn query(&self) -> CertificateQuery {
        CertificateQuery {
            issuer: self.issuer,
            serial: self.serial,
            device_prefix: self.device_prefix.clone(),
            fingerprint: self.fingerprint,
            status: self.status,
            expires_after: self.expires_after,
            expires_by: self.expires_by,
            ..CertificateQuery::default()
        }
    }
}

async fn find(
    app: &App,
    caller: &Caller,
    query: CertificateQuery,
    page: &PageOf<CertificateId>,
) -> Result<Page<Certificate, CertificateId>, Problem> {
    let reach = Reach::new(app, caller);
    page.fill(Certificates { app, query, reach }).await
}

struct Certificates<'a> {
    app: &'a App,
    query: CertificateQuery,
    reach: Reach<'a>,
}

impl Listing for Certificates<'_> {
    type Item = Certificate;
    type Key = CertificateId;

    async fn read(
        &mut self,
        after: Option<Cursor<CertificateId>>,
        limit: usize,
    ) -> Result<Page<Certificate, CertificateId>, Problem> {
        self.query.after = after;
        self.query.limit = limit;
        Ok(self.app.store.find_certificates(&self.query).await?)
    }

    fn shows_all(&self) -> bool {
        self.reach.caller.reaches_everything()
    }

    async fn shows(&mut self, certificate: &Certificate) -> Result<bool, Problem> {
        self.reach.reaches(certificate).await
    }

    fn key(certificate: &Certificate) -> CertificateId {
        certificate.id()
    }
}

/// A device's record has all of its certificates, so that they are found without a search.
async fn of_devices(
    app: &App,
    caller: &Caller,
    ids: &[DeviceId],
    filter: &Filter,
    page: &PageOf<CertificateId>,
) -> Result<Page<Certificate, CertificateId>, Problem> {
    let query = filter.query();
    let mut all = Vec::new();
    for id in ids {
        let record = app.store.load(id).await?;
        let visible = record.filter(|record| {
            let asked_for = filter.common_name.as_ref();
            let named = || common_name_of(&app.domains, &record.device);
            caller.reaches(record) && (asked_for.is_none() || asked_for == named().as_ref())
        });
        all.extend(visible.into_iter().flat_map(|record| record.certificates));
    }
    all.retain(|certificate| query.matches(certificate));
    all.sort_by_key(Certificate::id);
    if let Some(after) = page.after.as_ref().map(Cursor::key) {
        all.retain(|certificate| certificate.id() > *after);
    }
    Ok(Page::cut(all, page.size, Certificate::id))
}
