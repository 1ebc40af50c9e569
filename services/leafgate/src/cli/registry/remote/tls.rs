use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::cli::error::CliError;
use crate::cli::files::load_roots;

/// What a client shows of itself in the TLS handshake.
pub(crate) struct ClientCertificate {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

/// Trusts these authorities, or else those of the system.
pub(super) fn tls(
    ca_file: Option<&Path>,
    own: Option<ClientCertificate>,
) -> Result<ClientConfig, CliError> {
    let roots = match ca_file {
        Some(path) => load_roots(path).map_err(CliError::usage)?,
        None => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                let error = "the system has no certificates to check the registry's with";
                return Err(
                    CliError::usage(error).hint("name its CA with --ca-file, or LEAFGATE_CA_FILE")
                );
            }
            roots
        }
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("aws-lc-rs has cipher suites of TLS 1.2 and 1.3")
        .with_root_certificates(roots);
    match own {
        None => Ok(config.with_no_client_auth()),
        Some(ClientCertificate { chain, key }) => {
            config.with_client_auth_cert(chain, key).map_err(|error| {
                CliError::usage(format!("the certificate and the key don't fit: {error}"))
            })
        }
    }
}
