//! One registry API over HTTPS.

use std::path::Path;
use std::time::Duration;

use data_encoding::HEXLOWER;
#[expect(
    clippy::disallowed_types,
    reason = "the program is an edge: it draws random numbers"
)]
use rand_core::{OsRng, RngCore};
use reqwest::header::HeaderValue;
use reqwest::{Client, Method, RequestBuilder, Url, redirect};
use secrecy::{ExposeSecret, SecretString};

use super::request::Request;
use super::tls::{ClientCertificate, tls};
use crate::cli::error::{CliError, Exit};

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How long nothing may come. To verify a long audit trail takes a while.
const SILENCE_LIMIT: Duration = Duration::from_secs(300);

/// The way to a registry API.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    pub(super) client: Client,
    base: Url,
}

/// Reads the address of a registry API.
pub(crate) fn parse_url(text: &str) -> Result<Url, CliError> {
    let wrong = |why: &str| {
        // What may hold a password is not repeated.
        CliError::usage(format!("the registry's URL {why}"))
            .hint("write it like https://registry:8443")
    };
    let mut url = Url::parse(text).map_err(|error| wrong(&format!("can't be read: {error}")))?;
    if url.scheme() != "https" {
        return Err(wrong(
            "must begin with https://, since API keys are sent to it",
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("must hold no user and no password"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("must have neither a query nor a fragment"));
    }
    let path = format!("{}/", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Ok(url)
}

impl Access {
    pub(crate) fn new(base: &Url, ca_file: Option<&Path>) -> Result<Self, CliError> {
        Self::with_client_certificate(base, ca_file, None)
    }

    /// The same for who shows a certificate in the handshake.
    pub(crate) fn with_client_certificate(
        base: &Url,
        ca_file: Option<&Path>,
        own: Option<ClientCertificate>,
    ) -> Result<Self, CliError> {
        let client = Client::builder()
            .tls_backend_preconfigured(tls(ca_file, own)?)
            .https_only(true)
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_LIMIT)
            .read_timeout(SILENCE_LIMIT)
            .user_agent(concat!("leafgate/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| CliError::caused(Exit::Wrong, &error))?;
        Ok(Self {
            client,
            base: base.clone(),
        })
    }

    /// Whoever bears this token.
    pub(in crate::cli::registry) fn bearing(token: &SecretString) -> Result<HeaderValue, CliError> {
        let text = SecretString::from(format!("Bearer {}", token.expose_secret()));
        let mut value = HeaderValue::from_str(text.expose_secret())
            .map_err(|_| CliError::usage("the API key holds characters that no API key has"))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// A request that only reads.
    pub(super) fn get(&self, path: &[&str]) -> Request {
        self.request(Method::GET, path)
    }

    /// A request that changes something, once however often it is sent.
    pub(super) fn act(&self, method: Method, path: &[&str]) -> Request {
        self.request(method, path)
            .header("idempotency-key", &random_hex())
    }

    /// A request whose body is a stream.
    pub(super) fn post(&self, path: &[&str]) -> RequestBuilder {
        self.client.post(self.url(path))
    }

    /// A request that leaves no trace in the registry, and may be sent again.
    pub(in crate::cli::registry) fn request(&self, method: Method, path: &[&str]) -> Request {
        let url = self.url(path);
        Request::new(self.clone(), method, url)
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .expect("an https URL has a path")
            .pop_if_empty()
            .extend(["v1"].iter().chain(path));
        url
    }

    /// How people know it.
    pub(super) fn name(&self) -> String {
        let text = self.base.as_str();
        text.trim_end_matches('/').to_owned()
    }
}

/// How often something that breaks off is taken up again.
#[derive(Debug)]
pub(super) struct Patience {
    tries: u32,
    wait: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            tries: 0,
            wait: Duration::from_millis(500),
        }
    }
}

impl Patience {
    const TRIES: u32 = 10;
    const LONGEST_WAIT: Duration = Duration::from_secs(10);

    /// Waits for a better moment, unless there were too many of them or there can't be one.
    pub(super) async fn wait(&mut self, error: CliError) -> Result<(), CliError> {
        if error.exit() != Exit::Unreachable || self.tries >= Self::TRIES {
            return Err(error);
        }
        tokio::time::sleep(self.wait + jitter(self.wait / 2)).await;
        self.tries += 1;
        self.wait = (self.wait * 2).min(Self::LONGEST_WAIT);
        Ok(())
    }
}

/// A time up to this one, for those who were told the same to spread.
pub(super) fn jitter(longest: Duration) -> Duration {
    longest.mul_f64(f64::from(random()) / f64::from(u32::MAX))
}

/// A uniform number, to spread those who would do the same at the same time.
pub(crate) fn random() -> u32 {
    OsRng.next_u32()
}

fn random_hex() -> String {
    let mut bytes = [0; 16];
    OsRng.fill_bytes(&mut bytes);
    HEXLOWER.encode(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_without_credentials_is_taken() {
        for (text, url) in [
            ("https://registry:8443", "https://registry:8443/"),
            ("https://registry/leafgate/", "https://registry/leafgate/"),
        ] {
            assert_eq!(parse_url(text).unwrap().as_str(), url);
        }
        for wrong in [
            "registry:8443",
            "http://registry",
            "https://me:secret@registry",
            "https://registry/?key=secret",
            "https://",
        ] {
            let error = parse_url(wrong).unwrap_err();
            assert_eq!(error.exit(), Exit::Usage, "{wrong}");
            assert!(!error.message().contains("secret"), "{}", error.message());
        }
    }
}
