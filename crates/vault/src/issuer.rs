//! An issuer behind the PKI engine (<https://developer.hashicorp.com/vault/api-docs/secret/pki>).

mod engine;
mod fitness;
mod inventory;
mod responder;

use std::fmt;

use async_trait::async_trait;
use data_encoding::BASE64;
use leafgate_identity::{SpkiHash, UnixMs, Validity, spki_hash_of_certificate_pem};
use leafgate_pki::{
    Inventory, IssueError, Issued, Issuer, OcspResponseData, PrepareError, Prepared, Profile,
    PublicKeyInfo, RevokedEntry, SignCrlError, SignOcspError, StatusUrls, UnfitError,
    certificate_serial, certificate_validity, check_signed, check_signed_list, is_self_signed,
    validity_within,
};
use leafgate_registry::StoreError;
use pem::{EncodeConfig, LineEnding, Pem};
use reqwest::Method;
use serde_json::{Value, json};

use self::engine::Engine;
use self::responder::Responder;
use crate::client::Vault;
use crate::failure::Failure;

/// `OBJECT IDENTIFIER id-ce-cRLReasons`, as Vault wants it.
const CRL_REASON: &str = "2.5.29.21";

/// Where in a Vault an issuer is, and by which roles it signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultIssuerConfig {
    /// Where the PKI engine is mounted.
    pub mount: String,
    /// The issuer's name or id in the engine.
    pub issuer: String,
    /// The role that certificates are signed by.
    pub role: String,
    /// The role that the certificate of the OCSP responder is signed by.
    pub ocsp_role: String,
}

impl VaultIssuerConfig {
    /// The mount that scripts of old use.
    pub const DEFAULT_MOUNT: &'static str = "pki-int";
    /// The role for devices.
    pub const DEFAULT_DEVICE_ROLE: &'static str = "device-mtls";
    /// The role for nats-servers.
    pub const DEFAULT_SERVER_ROLE: &'static str = "nats-cluster";
    /// The role for OCSP responders.
    pub const DEFAULT_OCSP_ROLE: &'static str = "ocsp-responder";
}

/// One issuer of a PKI engine, whose key never leaves Vault.
///
/// Vault draws serial numbers and signs certificates and lists. OCSP answers are signed here, by a key that is made anew
/// in each process and certified by the issuer for a day at a time.
pub struct VaultIssuer {
    engine: Engine,
    role: String,
    certificate_pem: String,
    chain: Vec<String>,
    spki: SpkiHash,
    validity: Validity,
    status: Option<StatusUrls>,
    responder: Responder,
}

impl VaultIssuer {
    /// Finds the issuer, and looks whether the role is fit for it, as far as this log-in may see.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if Vault can't be reached or denies it; [`StoreError::Unsupported`] if there is no such
    /// engine, issuer or role, or the role would have certificates say what requests ask for.
    pub async fn open(vault: &Vault, config: &VaultIssuerConfig) -> Result<Self, StoreError> {
        let mount = config.mount.trim_matches('/').to_owned();
        let place = format!(
            "issuer {} at {mount} of Vault at {}",
            config.issuer,
            vault.address()
        );
        let path = format!("{mount}/issuer/{}/json", config.issuer);
        let answer = vault.request(Method::GET, &path, None).await?;
        let text = |name: &str| answer.body.pointer(&format!("/data/{name}"))?.as_str();
        let (Some(id), Some(certificate)) = (text("issuer_id"), text("certificate")) else {
            return Err(unsupported(format!(
                "there is no {place}{}: docs/vault.md says how to make one",
                answer.errors()
            )));
        };
        let certificate_pem = tidy_pem(certificate)
            .ok_or_else(|| unsupported(format!("{place} has no certificate in PEM")))?;
        let chain = answer.body.pointer("/data/ca_chain");
        let chain = chain.and_then(Value::as_array).into_iter().flatten();
        let chain = chain.filter_map(|pem| tidy_pem(pem.as_str()?)).collect();
        let spki = spki_hash_of_certificate_pem(&certificate_pem)
            .map_err(|error| unsupported(format!("{place} has an unfit certificate: {error}")))?;
        let validity = certificate_validity(&certificate_pem)
            .ok_or_else(|| unsupported(format!("{place} has a malformed certificate")))?;
        let engine = Engine {
            vault: vault.clone(),
            mount,
            id: id.to_owned(),
        };
        let issuer = Self {
            responder: Responder::new(engine.clone(), &config.ocsp_role, validity.not_after),
            engine,
            role: config.role.clone(),
            certificate_pem,
            chain,
            spki,
            validity,
            status: None,
        };
        issuer.check_role().await?;
        Ok(issuer)
    }

    /// The certificate at the end of the issuer's chain, if that is whole.
    pub fn root_certificate_pem(&self) -> Option<&str> {
        let root = self.chain.last()?;
        is_self_signed(root).then_some(root)
    }

    fn check_prepared(&self, prepared: &Prepared) -> Result<(), IssueError> {
        if prepared.issuer() != self.spki {
            return Err(IssueError::Foreign {
                prepared_by: prepared.issuer(),
            });
        }
        Ok(())
    }
}

#[async_trait]
impl Issuer for VaultIssuer {
    fn spki(&self) -> SpkiHash {
        self.spki
    }

    fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    fn prepare(
        &self,
        profile: Profile,
        key: PublicKeyInfo,
        now: UnixMs,
    ) -> Result<Prepared, PrepareError> {
        if key.csr_der().is_none() {
            let problem = "Vault signs nothing without the certificate request of the key";
            return Err(PrepareError::Refused(problem.into()));
        }
        let validity = validity_within(self.validity, now, profile.lifetime())?;
        Ok(Prepared::new(self.spki, profile, key, None, validity))
    }

    async fn issue(&self, prepared: Prepared) -> Result<Issued, IssueError> {
        self.check_prepared(&prepared)?;
        let profile = prepared.profile();
        let csr = prepared.public_key().csr_der().unwrap_or_default();
        let addresses: Vec<String> = profile
            .ip_addresses()
            .iter()
            .map(ToString::to_string)
            .collect();
        let body = json!({
            "csr": csr_pem(csr),
            "common_name": profile.common_name(),
            "exclude_cn_from_sans": true,
            "alt_names": profile.dns_names().collect::<Vec<_>>().join(","),
            "ip_sans": addresses.join(","),
            "not_after": prepared.validity().not_after,
        });
        let der = self.engine.sign(&self.role, &body).await?;
        check_signed(&prepared, &der, &self.certificate_pem, self.status.as_ref())
            .map_err(|unfit| unfit_certificate(&der, unfit))
    }

    async fn sign_crl(
        &self,
        entries: &[RevokedEntry],
        number: u64,
        now: UnixMs,
        next_update: UnixMs,
    ) -> Result<Vec<u8>, SignCrlError> {
        let lifetime_secs = next_update.as_secs() - now.as_secs();
        if lifetime_secs <= 0 {
            return Err(SignCrlError::NextUpdateNotAfterNow { now, next_update });
        }
        let Engine { vault, mount, id } = &self.engine;
        let path = format!("{mount}/issuer/{id}/sign-revocation-list");
        let body = json!({
            "crl_number": number,
            "next_update": format!("{lifetime_secs}s"),
            "format": "der",
            "revoked_certs": entries.iter().map(revoked).collect::<Vec<_>>(),
        });
        let answer = vault.request(Method::POST, &path, Some(&body)).await;
        let answer = answer.map_err(|failure| match failure {
            failure @ Failure::Unsupported(_) => SignCrlError::Sign(failure.into()),
            Failure::Unwell { errors, .. } if errors.contains("exceeds allowed") => {
                let many = format!(
                    "a list of {} certificates is more than Vault's listener takes{errors}: raise its \
                     max_json_array_element_count (10,000 by default) and max_json_token",
                    entries.len()
                );
                SignCrlError::Sign(many.into())
            }
            failure => SignCrlError::Unavailable(failure.into()),
        })?;
        let list = answer.body.pointer("/data/crl").and_then(Value::as_str);
        let list = list.and_then(|text| BASE64.decode(text.trim().as_bytes()).ok());
        let Some(der) = list else {
            return Err(SignCrlError::Sign(self.engine.odd(&path, &answer).into()));
        };
        check_signed_list(&der, &self.certificate_pem, entries, number, next_update)
            .map_err(|unfit| SignCrlError::Sign(unfit.into()))?;
        Ok(der)
    }

    async fn sign_ocsp(&self, data: &OcspResponseData) -> Result<Vec<u8>, SignOcspError> {
        self.responder.answer(data).await
    }

    fn inventory(&self) -> Option<&dyn Inventory> {
        Some(self)
    }
}

/// A line of a list, as `sign-revocation-list` takes it.
fn revoked(entry: &RevokedEntry) -> Value {
    let mut line = json!({
        "serial_number": entry.serial.to_string(),
        "revocation_time": UnixMs::from_secs(entry.revoked_at.as_secs()),
    });
    if let Some(reason) = entry.reason.to_der() {
        let value = BASE64.encode(&reason);
        line["extensions"] = json!([{ "id": CRL_REASON, "critical": false, "value": value }]);
    }
    line
}

/// What is no certificate at all was never signed by this issuer, and can't be revoked.
fn unfit_certificate(der: &[u8], unfit: UnfitError) -> IssueError {
    match certificate_serial(der) {
        Some(serial) => IssueError::Unfit {
            serial,
            source: unfit.into(),
        },
        None => IssueError::Sign(unfit.into()),
    }
}

fn csr_pem(der: &[u8]) -> String {
    encode_pem("CERTIFICATE REQUEST", der)
}

fn encode_pem(label: &str, der: &[u8]) -> String {
    let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
    pem::encode_config(&Pem::new(label, der), config)
}

/// One certificate in PEM as this program writes it, so that chains are joined of whole lines.
fn tidy_pem(text: &str) -> Option<String> {
    let block = pem::parse(text).ok()?;
    (block.tag() == "CERTIFICATE").then(|| encode_pem("CERTIFICATE", block.contents()))
}

fn unsupported(what: String) -> StoreError {
    StoreError::Unsupported { what }
}

impl fmt::Debug for VaultIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VaultIssuer")
            .field("mount", &self.engine.mount)
            .field("id", &self.engine.id)
            .field("role", &self.role)
            .field("spki", &self.spki)
            .finish_non_exhaustive()
    }
}
