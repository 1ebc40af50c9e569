//! EST (RFC 7030) under `/.well-known/est`, and for each trust domain under a label that is its name: enrolment and
//! renewal for devices whose software speaks it. Beside the form it is what [`enrol`](crate::enrol) and
//! [`renewal`](crate::renewal) do.

mod message;
mod request;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use data_encoding::BASE64;
use leafgate_api::ProblemType;
use leafgate_identity::{DeviceId, TrustDomain, TrustDomainName};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};

use self::message::certificates;
use self::request::CertificateRequest;
use crate::app::App;
use crate::enrol::TokenBearer;
use crate::listener::Peer;
use crate::observe::answered_to;
use crate::problem::{Problem, chain};
use crate::renewal::Presented;

pub(crate) fn routes() -> Router<Arc<App>> {
    let operations = Router::new()
        .route("/cacerts", get(ca_certificates))
        .route("/csrattrs", get(csr_attributes))
        .route("/simpleenroll", post(enroll))
        .route("/simplereenroll", post(reenroll));
    Router::new()
        .nest("/.well-known/est", operations.clone())
        .nest("/.well-known/est/{label}", operations)
}

/// Section 4.1: what to trust, and what signs devices' certificates.
async fn ca_certificates(State(app): State<Arc<App>>, label: Label) -> Result<Response, Problem> {
    let root = app.authority.root_certificate_pem.as_bytes();
    let root = CertificateDer::from_pem_slice(root).map_err(Problem::internal)?;
    let issuers = app.device_issuers.certificates(label.0.as_ref());
    let all: BTreeSet<&[u8]> = issuers.iter().chain([&root]).map(AsRef::as_ref).collect();
    Ok(certificates(all))
}

/// Section 4.5.2: of a request only the key is used, so that nothing is asked for.
async fn csr_attributes(_label: Label) -> StatusCode {
    StatusCode::NO_CONTENT
}

/// Section 4.2.1: a first certificate for the device that the request's common name tells of.
async fn enroll(State(app): State<Arc<App>>, label: Label, request: Request) -> Response {
    let peer = request.extensions().get::<Peer>();
    let password = basic_password(request.headers());
    let password = password.as_ref().map(ExposeSecret::expose_secret);
    match TokenBearer::identify(&app, peer, password).await {
        Ok(bearer) => {
            let enrolled = enroll_with(&app, &bearer, &label, request).await;
            answered_to(&bearer.actor(), enrolled)
        }
        Err(problem) => challenge(problem),
    }
}

async fn enroll_with(
    app: &App,
    bearer: &TokenBearer,
    label: &Label,
    request: Request,
) -> Result<Response, Problem> {
    let of_token = &bearer.token.trust_domain;
    let domain = label.admits(app, of_token, ProblemType::EnrolmentRefused)?;
    let csr = CertificateRequest::read(app, request).await?;
    let id = device_named(domain, &csr)?;
    let credentials = bearer.enrol(app, &id, &csr.pem()).await?;
    issued(&credentials.issued.certificate_pem)
}

/// Which device a request is for, by the pattern of its trust domain.
fn device_named(domain: &TrustDomain, csr: &CertificateRequest) -> Result<DeviceId, Problem> {
    let name = csr.common_name()?;
    domain
        .cn_pattern
        .matches(&name)
        .map_err(|error| Problem::new(ProblemType::EnrolmentRefused, chain(&error)))
}

/// Section 4.2.2: the next certificate for whoever shows the present one, under the same names.
async fn reenroll(
    State(app): State<Arc<App>>,
    label: Label,
    presented: Presented,
    request: Request,
) -> Response {
    let renewed = reenroll_with(&app, &presented, &label, request).await;
    answered_to(&presented.actor(), renewed)
}

async fn reenroll_with(
    app: &App,
    presented: &Presented,
    label: &Label,
    request: Request,
) -> Result<Response, Problem> {
    let of_certificate = &presented.identity.domain;
    label.admits(app, of_certificate, ProblemType::RenewalRefused)?;
    let csr = CertificateRequest::read(app, request).await?;
    csr.check_names(&presented.certificate)?;
    let credentials = presented.renew(app, &csr.pem()).await?;
    issued(&credentials.issued.certificate_pem)
}

/// Section 4.2.3: the certificate that was issued, and no other.
fn issued(certificate_pem: &str) -> Result<Response, Problem> {
    let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes());
    let certificate = certificate.map_err(Problem::internal)?;
    Ok(certificates([certificate.as_ref()]))
}

/// The trust domain that a path is about, if it names one (section 3.2.2).
struct Label(Option<TrustDomainName>);

impl FromRequestParts<Arc<App>> for Label {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let parameters = RawPathParams::from_request_parts(parts, app)
            .await
            .map_err(|error| Problem::malformed(error.body_text()))?;
        let Some((_, label)) = parameters.iter().next() else {
            return Ok(Self(None));
        };
        let named = app.domains.iter().find(|it| it.name.as_str() == label);
        let domain = named.ok_or_else(|| {
            let detail = "the label between /est/ and the operation is the name of a trust domain";
            Problem::new(ProblemType::RouteUnknown, detail)
        })?;
        Ok(Self(Some(domain.name.clone())))
    }
}

impl Label {
    /// The trust domain that a token or certificate is of, if the path is about it.
    fn admits<'a>(
        &self,
        app: &'a App,
        domain: &TrustDomainName,
        refusal: ProblemType,
    ) -> Result<&'a TrustDomain, Problem> {
        if self.0.as_ref().is_some_and(|label| label != domain) {
            let detail =
                format!("this is of trust domain {domain}: ask under /.well-known/est/{domain}");
            return Err(Problem::new(refusal, detail));
        }
        app.domains.by_name(domain).ok_or_else(|| {
            let detail = format!("trust domain {domain} is not served here any more");
            Problem::new(ProblemType::TrustDomainUnknown, detail)
        })
    }
}

/// The password of HTTP Basic (RFC 7617), whatever the user name.
fn basic_password(headers: &HeaderMap) -> Option<SecretString> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credentials) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = BASE64.decode(credentials.trim().as_bytes()).ok()?;
    let (_, password) = str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some(password.into())
}

/// Section 3.2.3 has whoever is not known be asked by HTTP for a user name and a password.
fn challenge(problem: Problem) -> Response {
    let is_unknown = problem.kind == ProblemType::EnrolmentTokenInvalid;
    let mut response = problem.into_response();
    if is_unknown {
        response.headers_mut().insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Basic realm=\"leafgate\", charset=\"UTF-8\""),
        );
    }
    response
}
