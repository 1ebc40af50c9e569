use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use leafgate_api::ProblemType;
use leafgate_identity::DeviceIdentity;
use leafgate_registrar::DeviceCredentials;
use leafgate_registry::{Act, Actor};
use rustls::pki_types::CertificateDer;

use crate::app::App;
use crate::enrol::told_to_devices;
use crate::listener::Peer;
use crate::problem::{Problem, chain};

/// A device that has shown that it holds the key of a certificate of one of the devices' issuers. Whether the registry
/// accepts the certificate is not known yet, and it may have expired.
pub(crate) struct Presented {
    pub(crate) identity: DeviceIdentity,
    pub(crate) certificate: CertificateDer<'static>,
}

impl FromRequestParts<Arc<App>> for Presented {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let peer = parts.extensions.get::<Peer>();
        // Only the device's own certificate is looked at: the chain that a client sends decides nothing, since the
        // issuers are known.
        let Some(certificate) = peer.and_then(|peer| peer.certificates.first()) else {
            let detail = "present the device's certificate in the TLS handshake";
            return Err(Problem::new(ProblemType::CertificateRequired, detail));
        };
        let identified = app.device_issuers.identify(certificate, app.clock.now());
        let identity =
            identified.map_err(|error| Problem::new(ProblemType::RenewalRefused, chain(&error)))?;
        Ok(Self {
            identity,
            certificate: certificate.clone(),
        })
    }
}

impl Presented {
    /// The device's name in the audit trail and the log.
    pub(crate) fn actor(&self) -> Actor {
        let name = format!("device:{}", self.identity.id);
        Actor::parse(&name).expect("device ids are short and plain")
    }

    /// Issues the device's next certificate.
    pub(crate) async fn renew(
        &self,
        app: &App,
        csr_pem: &str,
    ) -> Result<DeviceCredentials, Problem> {
        let act = Act {
            actor: self.actor(),
            at: app.clock.now(),
        };
        let DeviceIdentity {
            id, fingerprint, ..
        } = &self.identity;
        let renewed = app.registrar.renew(id, fingerprint, csr_pem, &act).await;
        renewed.map_err(told_to_devices)
    }
}
