use std::collections::HashSet;

use anyhow::{Context as _, Result, ensure};
use leafgate_identity::{CnPattern, DeviceId, SpkiHash};
use leafgate_pki::{KeyPairPem, write_csr};
use serde_json::Value;
use x509_parser::certificate::X509Certificate;
use x509_parser::pem::{Pem, parse_x509_pem};

use super::Issuing;
use crate::http::Reply;

/// A certificate that is to be asked for.
pub(super) struct Wish {
    pub(super) id: DeviceId,
    pub(super) common_name: String,
    /// In PEM, for a P-256 key.
    pub(super) csr: String,
    key: SpkiHash,
}

impl Wish {
    pub(super) fn make(id: &DeviceId, pattern: &CnPattern) -> Result<Self> {
        let key = KeyPairPem::generate()?;
        let common_name = pattern.render(id)?;
        Ok(Self {
            csr: write_csr(&key.private_key_pem, &common_name)?,
            key: key.public.spki_hash(),
            id: id.clone(),
            common_name,
        })
    }
}

/// Checks that each answer brings a certificate of its own for just the name and the key that were asked for, signed by
/// the issuer.
pub(super) fn check(issuer: &dyn Issuing, wishes: &[Wish], replies: &[Reply]) -> Result<()> {
    ensure!(wishes.len() == replies.len(), "an answer is missing");
    let issuer_pem = read_pem(issuer.issuer_pem())?;
    let ca = issuer_pem.parse_x509()?;
    let mut serials = HashSet::with_capacity(replies.len());
    for (wish, reply) in wishes.iter().zip(replies) {
        let shown = || format!("{}: {}", reply.status, String::from_utf8_lossy(&reply.body));
        ensure!(reply.status.as_u16() == issuer.status(), shown());
        let answer: Value = serde_json::from_slice(&reply.body).with_context(shown)?;
        let text = answer.pointer(issuer.certificate_at());
        let text = text.and_then(Value::as_str).with_context(shown)?;
        let pem = read_pem(text)?;
        let certificate = pem.parse_x509()?;
        ensure!(
            SpkiHash::of_spki_der(certificate.public_key().raw) == wish.key,
            "the certificate for {} is for another key",
            wish.common_name
        );
        ensure!(
            common_name(&certificate) == Some(&wish.common_name),
            "the certificate for {} bears the name {}",
            wish.common_name,
            certificate.subject()
        );
        certificate
            .verify_signature(Some(ca.public_key()))
            .with_context(|| format!("the signature of {}'s certificate", wish.common_name))?;
        ensure!(
            serials.insert(certificate.raw_serial().to_vec()),
            "two certificates have the serial number {}",
            certificate.raw_serial_as_string()
        );
    }
    Ok(())
}

fn read_pem(text: &str) -> Result<Pem> {
    let (_, pem) = parse_x509_pem(text.as_bytes()).context("no certificate in PEM")?;
    Ok(pem)
}

fn common_name<'a>(certificate: &'a X509Certificate<'_>) -> Option<&'a str> {
    certificate
        .subject()
        .iter_common_name()
        .next()?
        .as_str()
        .ok()
}
