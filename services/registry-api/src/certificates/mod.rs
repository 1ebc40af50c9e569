//! `/v1/certificates`, and the certificates of a device.

mod issue;
mod list;
mod name;
mod read;
mod revoke;

use std::collections::HashMap;
use std::sync::Arc;

use leafgate_access::Permission;
use leafgate_identity::DeviceId;
use leafgate_registrar::RegistrarError;
use leafgate_registry::{Certificate, CertificateQuery, Holder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use self::issue::issued_certificate;
pub(crate) use self::issue::status_of;
use self::name::CertificateName;
use crate::app::App;
use crate::authenticate::Caller;
use crate::problem::Problem;

pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::default()
        .routes(routes!(issue::issue_certificate))
        .routes(routes!(list::list_certificates))
        .routes(routes!(read::read_certificate))
        .routes(routes!(read::read_certificate_pem))
        .routes(routes!(revoke::revoke_certificate))
}

impl App {
    /// A certificate that the caller may see. One outside of their scope is answered like one that does not exist.
    async fn certificate(
        &self,
        caller: &Caller,
        name: &CertificateName,
    ) -> Result<Certificate, Problem> {
        caller.principal.check(Permission::ReadDevices)?;
        let query = CertificateQuery {
            serial: Some(name.serial),
            issuer: name.issuer,
            limit: 2,
            ..CertificateQuery::default()
        };
        let found = self.store.find_certificates(&query).await?.items;
        let mut reach = Reach::new(self, caller);
        let mut visible = Vec::new();
        for certificate in found {
            if reach.reaches(&certificate).await? {
                visible.push(certificate);
            }
        }
        match (visible.pop(), visible.pop()) {
            (None, _) => Err(RegistrarError::CertificateUnknown {
                serial: name.serial,
            }
            .into()),
            (Some(certificate), None) => Ok(certificate),
            (Some(one), Some(other)) => Err(RegistrarError::CertificateAmbiguous {
                serial: name.serial,
                issuers: [one.issuer, other.issuer],
            }
            .into()),
        }
    }
}

/// Which holders of certificates are within a caller's scope; each is looked up once.
struct Reach<'a> {
    app: &'a App,
    caller: &'a Caller,
    devices: HashMap<DeviceId, bool>,
}

impl<'a> Reach<'a> {
    fn new(app: &'a App, caller: &'a Caller) -> Self {
        Self {
            app,
            caller,
            devices: HashMap::new(),
        }
    }

    /// Parts of the installation belong to no trust domain, site or type: only who reaches everything reaches them.
    async fn reaches(&mut self, certificate: &Certificate) -> Result<bool, Problem> {
        if self.caller.reaches_everything() {
            return Ok(true);
        }
        let Holder::Device { id, .. } = &certificate.holder else {
            return Ok(false);
        };
        if let Some(reached) = self.devices.get(id) {
            return Ok(*reached);
        }
        let record = self.app.store.load(id).await?;
        let reached = record.is_some_and(|record| self.caller.reaches(&record));
        self.devices.insert(id.clone(), reached);
        Ok(reached)
    }
}
