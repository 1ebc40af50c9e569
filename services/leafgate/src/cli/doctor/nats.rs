use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Url;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, SignatureScheme};
use serde::Deserialize;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::Doctor;
use super::certificates::Facts;
use super::health::{LIMIT, innermost};
use crate::cli::files::load_roots;

const CHECK: &str = "nats-server";
/// How long nats-server may take to introduce itself; one with `handshake_first` waits for the client.
const INFO_LIMIT: Duration = Duration::from_secs(2);
const MAX_INFO_BYTES: usize = 64 * 1024;

/// What nats-server says of itself first (INFO of the client protocol).
#[derive(Debug, Deserialize)]
struct Info {
    server_name: String,
    version: String,
    #[serde(default)]
    tls_required: bool,
    /// Whether it has begun to end as a lame duck.
    #[serde(default)]
    ldm: bool,
}

/// Presents no certificate, and keeps the names of the authorities whose certificates a server takes.
#[derive(Debug, Default)]
struct Asked(Mutex<Option<Vec<Vec<u8>>>>);

impl ResolvesClientCert for Asked {
    fn resolve(&self, authorities: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        if let Ok(mut asked) = self.0.lock() {
            *asked = Some(authorities.iter().map(|name| name.to_vec()).collect());
        }
        None
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl Doctor<'_> {
    /// Looks at a nats-server as a device would before it logs in: its TLS, and whose certificates it takes.
    pub(super) async fn check_nats_server(&mut self, url: &str, ca_file: Option<&Path>) {
        let Some((host, port)) = parse(url) else {
            return self.report.fail(
                CHECK,
                url,
                "it is no URL of a nats-server",
                "write it like tls://leaf-1:4222",
            );
        };
        let mut stream = match connect(&host, port).await {
            Ok(stream) => stream,
            Err(error) => {
                let remedy = "start it, or let this machine reach it";
                return self.report.fail(CHECK, url, error, remedy);
            }
        };
        match timeout(INFO_LIMIT, read_info(&mut stream)).await {
            // It waits for the handshake, and may have waited too long for it by then.
            Err(_) | Ok(Introduction::None) => match connect(&host, port).await {
                Ok(another) => stream = another,
                Err(error) => {
                    let remedy = "look at its log";
                    return self.report.fail(CHECK, url, error, remedy);
                }
            },
            Ok(Introduction::Other) => {
                let remedy = "name the client port of a nats-server";
                return self
                    .report
                    .fail(CHECK, url, "it does not speak as a nats-server", remedy);
            }
            Ok(Introduction::Made(info)) => {
                let who = format!("{} is a nats-server {}", info.server_name, info.version);
                match info.ldm {
                    true => self.report.warn(
                        CHECK,
                        url,
                        format!("{who}, ending as a lame duck"),
                        "wait for its restart",
                    ),
                    false => self.report.ok(CHECK, url, who),
                }
                if !info.tls_required {
                    let detail = "it takes connections without TLS";
                    let remedy =
                        "give it a tls block with verify: true, as leafgate nats-config does";
                    return self.report.fail(CHECK, url, detail, remedy);
                }
            }
        }
        let roots = match self.roots(ca_file) {
            Ok(roots) => roots,
            Err(error) => {
                return self
                    .report
                    .fail(CHECK, url, error, "name its CA with --nats-ca-file");
            }
        };
        self.check_handshake(url, &host, stream, roots).await;
    }

    fn roots(&self, ca_file: Option<&Path>) -> Result<RootCertStore, String> {
        if let Some(path) = ca_file {
            return load_roots(path);
        }
        let issuers = self
            .issuers
            .as_ref()
            .ok_or("nobody says whose certificate it must have")?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(issuers.root.as_bytes()) {
            let certificate = certificate.map_err(|error| error.to_string())?;
            roots.add(certificate).map_err(|error| error.to_string())?;
        }
        Ok(roots)
    }

    async fn check_handshake(
        &mut self,
        url: &str,
        host: &str,
        stream: TcpStream,
        roots: RootCertStore,
    ) {
        let asked = Arc::new(Asked::default());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("aws-lc-rs has cipher suites of TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_client_cert_resolver(Arc::clone(&asked) as Arc<dyn ResolvesClientCert>);
        let Ok(name) = ServerName::try_from(host.to_owned()) else {
            return self.report.fail(
                "tls",
                url,
                "its host is no name",
                "write it like tls://leaf-1:4222",
            );
        };
        let connector = TlsConnector::from(Arc::new(config));
        let stream = match timeout(LIMIT, connector.connect(name, stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                let remedy = "give it a certificate for this name: leafgate service issue";
                return self.report.fail("tls", url, innermost(&error), remedy);
            }
            Err(_) => {
                return self.report.fail(
                    "tls",
                    url,
                    "it does not finish the handshake",
                    "look at its log",
                );
            }
        };
        let presented = stream.get_ref().1.peer_certificates();
        let certificate = presented.and_then(|chain| chain.first()).cloned();
        if let Some(certificate) = certificate {
            self.check_end("tls", url, &certificate);
        }
        let authorities = asked.0.lock().ok().and_then(|mut asked| asked.take());
        self.judge_authorities(url, authorities);
    }

    /// Whether the server takes certificates of the issuer that the registry has for devices.
    fn judge_authorities(&mut self, url: &str, authorities: Option<Vec<Vec<u8>>>) {
        let Some(authorities) = authorities else {
            let detail = "it asks clients for no certificate";
            let remedy = "set verify: true in its tls block, as leafgate nats-config does";
            return self.report.fail("tls", url, detail, remedy);
        };
        let Some(issuers) = &self.issuers else {
            return;
        };
        let devices = CertificateDer::from_pem_slice(issuers.devices.as_bytes());
        let Some(devices) = devices.ok().and_then(|der| Facts::of(&der)) else {
            return;
        };
        if authorities.is_empty() || authorities.contains(&devices.subject) {
            self.report.ok(
                "tls",
                url,
                format!("takes certificates of {}", devices.name),
            );
        } else {
            let detail = format!(
                "it takes no certificates of {}, which signs devices",
                devices.name
            );
            let remedy = "put the registry's devices.crt into its ca_file, and reload it";
            self.report.fail("tls", url, detail, remedy);
        }
    }
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    match timeout(LIMIT, TcpStream::connect((host, port))).await {
        Ok(connected) => connected.map_err(|error| format!("no answer: {error}")),
        Err(_) => Err("no answer".to_owned()),
    }
}

fn parse(url: &str) -> Option<(String, u16)> {
    let parsed = Url::parse(url).ok()?;
    if !matches!(parsed.scheme(), "tls" | "nats") {
        return None;
    }
    let host = parsed.host_str()?.trim_matches(['[', ']']).to_owned();
    Some((host, parsed.port().unwrap_or(4222)))
}

/// What comes first on a new connection.
enum Introduction {
    Made(Info),
    /// The server ended the connection without a word.
    None,
    /// It is no nats-server.
    Other,
}

async fn read_info(stream: &mut TcpStream) -> Introduction {
    let mut line = Vec::new();
    // Not a byte more than the line: the TLS handshake follows it.
    while !line.ends_with(b"\r\n") {
        match stream.read_u8().await {
            Ok(byte) if line.len() < MAX_INFO_BYTES => line.push(byte),
            Err(_) if line.is_empty() => return Introduction::None,
            Ok(_) | Err(_) => return Introduction::Other,
        }
    }
    let info = line.strip_prefix(b"INFO ");
    match info.and_then(|json| serde_json::from_slice(json).ok()) {
        Some(info) => Introduction::Made(info),
        None => Introduction::Other,
    }
}
