use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use hyper::Request;
use leafgate_access::Role;
use leafgate_identity::DeviceId;
use leafgate_pki::Issuer as _;
use leafgate_store_sql::PostgresStore;
use nix::unistd::Pid;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use super::{Issuing, Wish};
use crate::http::{HttpServer, Whole};
use crate::site::{RegistryProcess, Site, new_devices, postgres_options};

/// `leafgate-registry` on PostgreSQL, with its embedded CA.
pub(super) struct LeafgateIssuer {
    registry: RegistryProcess,
    api_key: SecretString,
    issuer_pem: String,
}

impl LeafgateIssuer {
    /// Registers the devices and starts the service.
    pub(super) async fn start(
        site: &Site,
        binary: &Path,
        url: &str,
        ids: &[DeviceId],
    ) -> Result<Self> {
        let store = PostgresStore::open(&postgres_options(url)).await?;
        let registrar = site.registrar(Arc::new(store))?;
        site.import(&registrar, new_devices(ids)).await?;
        Ok(Self {
            api_key: site.api_key(&registrar, Role::Provisioner).await?,
            issuer_pem: site.devices_ca()?.certificate_pem().to_owned(),
            registry: site.start_registry(binary, url).await?,
        })
    }

    pub(super) fn log_tail(&self) -> String {
        self.registry.log_tail()
    }

    pub(super) async fn stop(self) -> Result<()> {
        self.registry.stop().await
    }
}

impl Issuing for LeafgateIssuer {
    fn server(&self) -> &HttpServer {
        &self.registry.api
    }

    fn request(&self, wish: &Wish) -> Result<Request<Whole>> {
        let body = json!({ "csr": wish.csr }).to_string();
        let request = Request::post(format!("/v1/devices/{}/certificates", wish.id))
            .header("host", "localhost")
            .header(
                "authorization",
                format!("Bearer {}", self.api_key.expose_secret()),
            )
            .header("content-type", "application/json");
        Ok(request.body(Whole::new(body))?)
    }

    fn process(&self) -> Result<Pid> {
        self.registry.process()
    }

    fn issuer_pem(&self) -> &str {
        &self.issuer_pem
    }

    fn certificate_at(&self) -> &'static str {
        "/certificate"
    }

    fn status(&self) -> u16 {
        201
    }
}
