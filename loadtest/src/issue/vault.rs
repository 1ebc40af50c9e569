use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use hyper::Request;
use leafgate_testkit::vault::{VaultServer, VaultSettings};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::{Issuing, Wish};
use crate::http::{HttpServer, Whole};
use crate::site::Site;

/// Who may sign, and nothing else.
const POLICY: &str = r#"path "pki-int/sign/device-mtls" { capabilities = ["update"] }"#;

/// Vault's PKI engine on its file back end, run as an operator would for a fleet: certificates are stored, leases are
/// not made, and whoever asks has a token for this one role.
pub(super) struct VaultIssuer {
    vault: VaultServer,
    server: HttpServer,
    token: String,
    issuer_pem: String,
}

impl VaultIssuer {
    pub(super) async fn start(site: &Site) -> Result<Self> {
        let vault = VaultServer::start(&VaultSettings {
            durable: true,
            tls: Some(site.server_certificate()),
        });
        let admin = vault.admin();
        let lifetimes = json!({ "type": "pki", "config": { "max_lease_ttl": "87600h" } });
        admin.request("POST", "sys/mounts/pki-int", lifetimes).await;
        let root = json!({ "common_name": "load test devices", "key_type": "ec", "key_bits": 256, "ttl": "43800h" });
        let made = admin
            .request("POST", "pki-int/root/generate/internal", root)
            .await;
        let issuer_pem = made.pointer("/data/certificate").and_then(Value::as_str);
        let urls = json!({
            "crl_distribution_points": "http://pki.example.org:8080/crl",
            "ocsp_servers": "http://pki.example.org:8080/ocsp",
        });
        admin.request("POST", "pki-int/config/urls", urls).await;
        let role = json!({
            "allow_any_name": true,
            "client_flag": true,
            "server_flag": false,
            "key_type": "ec",
            "key_bits": 256,
            "generate_lease": false,
            "no_store": false,
            "ttl": "168h",
        });
        admin
            .request("POST", "pki-int/roles/device-mtls", role)
            .await;
        admin.put_policy("issue", POLICY).await;
        let address: SocketAddr = vault
            .address()
            .split_once("://")
            .and_then(|(_, authority)| authority.parse().ok())
            .with_context(|| format!("Vault listens at {}", vault.address()))?;
        Ok(Self {
            server: HttpServer::with_tls(address, site.server_ca_pem())?,
            token: admin.create_token(&["issue"]).await,
            issuer_pem: issuer_pem.context("Vault made no CA")?.to_owned(),
            vault,
        })
    }
}

impl Issuing for VaultIssuer {
    fn server(&self) -> &HttpServer {
        &self.server
    }

    fn request(&self, wish: &Wish) -> Result<Request<Whole>> {
        let body = json!({ "csr": wish.csr, "common_name": wish.common_name }).to_string();
        let request = Request::post("/v1/pki-int/sign/device-mtls")
            .header("host", "localhost")
            .header("x-vault-token", &self.token)
            .header("content-type", "application/json");
        Ok(request.body(Whole::new(body))?)
    }

    fn process(&self) -> Result<Pid> {
        Ok(Pid::from_raw(i32::try_from(self.vault.process_id())?))
    }

    fn issuer_pem(&self) -> &str {
        &self.issuer_pem
    }

    fn certificate_at(&self) -> &'static str {
        "/data/certificate"
    }

    fn status(&self) -> u16 {
        200
    }
}
