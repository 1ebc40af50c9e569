use std::fmt::Write;

use axum::extract::Request;
use axum::http::header;
use leafgate_api::ProblemType;
use pem::{EncodeConfig, LineEnding, Pem};
use rustls::pki_types::CertificateDer;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::extensions::X509Extension;
use x509_parser::oid_registry::OID_X509_EXT_SUBJECT_ALT_NAME;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::X509Name;

use super::message::from_base64;
use crate::app::App;
use crate::extract::read_body;
use crate::problem::Problem;

/// A certificate request (PKCS #10, DER) whose names can be read; whether it is well made is looked at later.
pub(super) struct CertificateRequest {
    der: Vec<u8>,
}

impl CertificateRequest {
    /// Reads the body as section 4.2.1 has it.
    pub(super) async fn read(app: &App, request: Request) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let content_type = parts.headers.get(header::CONTENT_TYPE);
        let essence = content_type.and_then(|it| it.to_str().ok()?.split(';').next());
        if !essence.is_some_and(|it| it.trim().eq_ignore_ascii_case("application/pkcs10")) {
            let detail = "send the certificate request as application/pkcs10, in base64";
            return Err(Problem::new(ProblemType::MediaTypeUnsupported, detail));
        }
        let body = read_body(&parts.headers, body, app.limits.body_timeout()).await?;
        let der = from_base64(&body)
            .ok_or_else(|| refused("the body is not a certificate request in base64"))?;
        let request = Self { der };
        request.parsed()?;
        Ok(request)
    }

    /// For those who take the request in PEM.
    pub(super) fn pem(&self) -> String {
        let block = Pem::new("CERTIFICATE REQUEST", self.der.as_slice());
        pem::encode_config(&block, EncodeConfig::new().set_line_ending(LineEnding::LF))
    }

    /// The one common name of the subject.
    pub(super) fn common_name(&self) -> Result<String, Problem> {
        let parsed = self.parsed()?;
        let mut names = parsed.certification_request_info.subject.iter_common_name();
        match (names.next().map(|name| name.as_str()), names.next()) {
            (Some(Ok(name)), None) => Ok(name.to_owned()),
            _ => Err(refused(
                "the request's subject must have one common name: that of the device",
            )),
        }
    }

    /// Refuses a request for other names than the certificate's: section 4.2.2 has subject and alternative names be
    /// identical. A name counts as the same whatever string type it is encoded with.
    pub(super) fn check_names(&self, certificate: &CertificateDer<'_>) -> Result<(), Problem> {
        let parsed = self.parsed()?;
        let (_, certificate) = X509Certificate::from_der(certificate)
            .map_err(|_| refused("the certificate can't be read"))?;
        let (asked, has) = (
            &parsed.certification_request_info.subject,
            certificate.subject(),
        );
        let (asked_text, has_text) = (comparable(asked), comparable(has));
        let same_text = asked_text.is_some() && asked_text == has_text;
        if asked.as_raw() != has.as_raw() && !same_text {
            let detail = format!(
                "the request's subject is {asked}, the certificate's {has}; they must be the same"
            );
            return Err(refused(detail));
        }
        if requested_names(&parsed) != names_of(certificate.extensions()) {
            return Err(refused(
                "the request's subject alternative names must be the certificate's (extension request of PKCS #9)",
            ));
        }
        Ok(())
    }

    fn parsed(&self) -> Result<X509CertificationRequest<'_>, Problem> {
        match X509CertificationRequest::from_der(&self.der) {
            Ok(([], parsed)) => Ok(parsed),
            _ => Err(refused("the body is not a certificate request (PKCS #10)")),
        }
    }
}

fn refused(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemType::CertificateRequestRefused, detail)
}

/// The attributes of a name with their values as text; `None` if one of them is no text.
fn comparable(name: &X509Name<'_>) -> Option<String> {
    let mut text = String::new();
    for rdn in name.iter_rdn() {
        for attribute in rdn.iter() {
            let (kind, value) = (attribute.attr_type(), attribute.as_str().ok()?);
            write!(text, "{kind}={value:?}+").ok()?;
        }
        text.push(',');
    }
    Some(text)
}

/// The alternative names (DER) that a request asks for.
fn requested_names<'a>(request: &'a X509CertificationRequest<'_>) -> Option<&'a [u8]> {
    let attributes = request.certification_request_info.iter_attributes();
    attributes
        .filter_map(|attribute| match attribute.parsed_attribute() {
            ParsedCriAttribute::ExtensionRequest(request) => names_of(&request.extensions),
            _ => None,
        })
        .next()
}

fn names_of<'a>(extensions: &'a [X509Extension<'_>]) -> Option<&'a [u8]> {
    extensions
        .iter()
        .find(|extension| extension.oid == OID_X509_EXT_SUBJECT_ALT_NAME)
        .map(|extension| extension.value)
}
