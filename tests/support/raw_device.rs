//! A device that speaks the protocol itself: one attempt, no retry, and every line is seen.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use leafgate_registrar::DeviceCredentials;
use leafgate_testkit::scratch_ca::ScratchCertificate;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    SupportedProtocolVersion,
};
use secrecy::ExposeSecret as _;

use super::PATIENCE;

/// What a device says first, all of it before it hears an answer: a whole session's worth, were
/// it let in.
const DEVICE_HELLO: &str = concat!(
    r#"CONNECT {"verbose":false,"pedantic":false,"tls_required":true,"headers":true,"#,
    r#""lang":"raw","version":"1","protocol":1,"name":"0001"}"#,
    "\r\nSUB > 1\r\nPING\r\n"
);

/// The same of a leaf node (nats-server `leafnode.go: leafConnectInfo`).
const LEAF_NODE_HELLO: &str = concat!(
    r#"CONNECT {"tls_required":true,"headers":true,"version":"2.15.1","proto":1,"#,
    r#""server_id":"edge","name":"edge","cluster":"edge"}"#,
    "\r\nLS+ >\r\nPING\r\n"
);

/// A certificate with its chain, and its key.
#[derive(Debug, Clone)]
pub struct KeyedCertificate {
    chain_pem: String,
    private_key_pem: String,
}

impl KeyedCertificate {
    /// What is in `stem.crt` and `stem.key`.
    pub fn read(stem: &Path) -> Self {
        Self {
            chain_pem: fs::read_to_string(stem.with_extension("crt")).unwrap(),
            private_key_pem: fs::read_to_string(stem.with_extension("key")).unwrap(),
        }
    }

    pub fn private_key_pem(&self) -> &str {
        &self.private_key_pem
    }
}

impl From<ScratchCertificate> for KeyedCertificate {
    fn from(certificate: ScratchCertificate) -> Self {
        Self {
            chain_pem: certificate.chain_pem,
            private_key_pem: certificate.private_key_pem,
        }
    }
}

impl From<DeviceCredentials> for KeyedCertificate {
    fn from(credentials: DeviceCredentials) -> Self {
        let key = credentials.private_key_pem.unwrap();
        Self {
            chain_pem: credentials.issued.chain_pem,
            private_key_pem: key.expose_secret().to_owned(),
        }
    }
}

/// How an attempt ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// The server refused the TLS handshake.
    Alert(AlertDescription),
    /// The server closed the connection.
    Closed,
    /// The server answered PING.
    LetIn,
}

/// What came of one attempt.
#[derive(Debug, PartialEq, Eq)]
pub struct Attempt {
    /// What the server said, from the handshake on.
    pub lines: Vec<String>,
    pub end: End,
}

impl Attempt {
    /// A refusal by the callout, of which the device learns this much and nothing more.
    pub fn violation() -> Self {
        Self {
            lines: vec!["-ERR 'Authorization Violation'".to_owned()],
            end: End::Closed,
        }
    }

    /// A refusal in the handshake.
    pub fn alert(alert: AlertDescription) -> Self {
        Self {
            lines: Vec::new(),
            end: End::Alert(alert),
        }
    }
}

/// A device, or a leaf node of one.
#[derive(Debug, Clone)]
pub struct RawDevice {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    hello: &'static str,
}

impl RawDevice {
    /// A device that connects to `address`, trusts `ca_file` and shows `certificate`.
    pub fn new(
        address: SocketAddr,
        ca_file: &Path,
        certificate: Option<&KeyedCertificate>,
        version: &'static SupportedProtocolVersion,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(ca_file).unwrap())
            .unwrap();
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let config = ClientConfig::builder_with_provider(provider.into())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        let config = match certificate {
            None => config.with_no_client_auth(),
            Some(certificate) => {
                let chain = CertificateDer::pem_slice_iter(certificate.chain_pem.as_bytes());
                let chain = chain.collect::<Result<_, _>>().unwrap();
                let key = PrivateKeyDer::from_pem_slice(certificate.private_key_pem.as_bytes());
                config.with_client_auth_cert(chain, key.unwrap()).unwrap()
            }
        };
        Self {
            address,
            tls: Arc::new(config),
            hello: DEVICE_HELLO,
        }
    }

    /// The same as a leaf node.
    pub fn into_leaf_node(self) -> Self {
        Self {
            hello: LEAF_NODE_HELLO,
            ..self
        }
    }

    /// Connects once.
    pub async fn attempt(&self) -> Attempt {
        let device = self.clone();
        tokio::task::spawn_blocking(move || device.connect())
            .await
            .unwrap()
    }

    fn connect(&self) -> Attempt {
        let mut tcp = TcpStream::connect(self.address).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        let info = read_plain_line(&mut tcp);
        assert!(info.starts_with("INFO "), "{info:?}");
        let name = ServerName::from(self.address.ip());
        let connection = ClientConnection::new(self.tls.clone(), name).unwrap();
        let mut stream = StreamOwned::new(connection, tcp);
        // A server that has refused already says so to the first read.
        let _ = stream.write_all(self.hello.as_bytes());
        let mut lines = Vec::new();
        let end = read_to_end(BufReader::new(stream), &mut lines);
        Attempt { lines, end }
    }
}

/// Reads no byte beyond the line: TLS begins there.
fn read_plain_line(tcp: &mut TcpStream) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        let mut byte = [0];
        tcp.read_exact(&mut byte).unwrap();
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

fn read_to_end(mut stream: BufReader<impl Read>, lines: &mut Vec<String>) -> End {
    loop {
        let mut line = String::new();
        match stream.read_line(&mut line) {
            Ok(0) => return End::Closed,
            Ok(_) if line == "PONG\r\n" => return End::LetIn,
            Ok(_) => lines.push(line.trim_end().to_owned()),
            Err(error) => return end_of(&error),
        }
    }
}

fn end_of(error: &io::Error) -> End {
    let tls = error
        .get_ref()
        .and_then(|error| error.downcast_ref::<rustls::Error>());
    match (tls, error.kind()) {
        (Some(rustls::Error::AlertReceived(alert)), _) => End::Alert(*alert),
        // nats-server closes without TLS's close_notify.
        (None, io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => End::Closed,
        _ => panic!("the connection ended otherwise: {error}"),
    }
}
