use std::sync::Arc;

use anyhow::{Context as _, Result};
use async_nats::HeaderMap;
use bytes::Bytes;
use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use leafgate_identity::UnixMs;
use nkeys::{KeyPair, XKey};
use serde::Serialize;

/// How long a request stays valid. A nats-server allows two or three seconds; here requests are
/// signed ahead of the run that sends them, so that signing costs nothing while it is measured.
const VALIDITY_SECS: i64 = 120;

/// What made-up servers call themselves, which is a claim and no authority.
pub(crate) const SERVER_NAME: &str = "leaf-1";

/// A nats-server that does not exist: with keys of its own, as any nats-server makes them at its
/// start, and the service's keys that its configuration would name.
pub(crate) struct MadeUpServer {
    key: KeyPair,
    xkey: XKey,
    /// Its public key, which is its id.
    pub(crate) id: String,
    /// Public key of the account that signs answers.
    pub(crate) issuer: String,
    /// Public curve key of the service.
    pub(crate) service_xkey: XKey,
}

/// What a device shows of itself when it connects, and what must come of it.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// Its id in the registry.
    pub(crate) device: Arc<str>,
    /// The chain that the server verified, as PEM, device certificate first.
    pub(crate) chain: [Arc<str>; 2],
    pub(crate) expected: Expected,
}

/// What must become of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// A user JWT.
    Grant,
    /// A signed error.
    Refusal,
    /// No answer at all.
    Silence,
}

/// A request ready to be sent.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) device: Arc<str>,
    pub(crate) user_nkey: String,
    pub(crate) expected: Expected,
    /// The curve key that sealed it, where it is sealed.
    pub(crate) headers: Option<HeaderMap>,
    pub(crate) payload: Bytes,
}

impl MadeUpServer {
    pub(crate) fn new(issuer: String, service_xkey: XKey) -> Self {
        let key = KeyPair::new_server();
        Self {
            id: key.public_key(),
            key,
            xkey: XKey::new(),
            issuer,
            service_xkey,
        }
    }

    /// Opens an answer.
    pub(crate) fn open(&self, sealed: &[u8]) -> Result<Vec<u8>> {
        self.xkey
            .open(sealed, &self.service_xkey)
            .context("the answer can't be opened")
    }

    /// Signs one request for each caller, on every core. Client ids count from `first_client_id`.
    pub(crate) fn ask_for<'a>(
        &self,
        callers: impl Iterator<Item = &'a Caller>,
        first_client_id: u64,
        sealed: bool,
        now: UnixMs,
    ) -> Result<Vec<Request>> {
        let callers: Vec<_> = callers.zip(first_client_id..).collect();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let share = callers.len().div_ceil(cores).max(1);
        std::thread::scope(|scope| {
            let workers: Vec<_> = callers
                .chunks(share)
                .map(|callers| {
                    scope.spawn(move || {
                        callers
                            .iter()
                            .map(|(caller, client_id)| {
                                self.request(caller, *client_id, sealed, now)
                            })
                            .collect::<Result<Vec<_>>>()
                    })
                })
                .collect();
            let mut requests = Vec::with_capacity(callers.len());
            for worker in workers {
                requests.append(&mut worker.join().expect("signing does not panic")?);
            }
            Ok(requests)
        })
    }

    fn request(
        &self,
        caller: &Caller,
        client_id: u64,
        sealed: bool,
        now: UnixMs,
    ) -> Result<Request> {
        let user_nkey = KeyPair::new_user().public_key();
        let token = self.token(caller, &user_nkey, client_id, sealed, now)?;
        let (headers, payload) = if sealed {
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Server-Xkey", self.xkey.public_key());
            let payload = self
                .xkey
                .seal(token.as_bytes(), &self.service_xkey)
                .context("can't seal a request")?;
            (Some(headers), Bytes::from(payload))
        } else {
            (None, Bytes::from(token))
        };
        Ok(Request {
            device: Arc::clone(&caller.device),
            user_nkey,
            expected: caller.expected,
            headers,
            payload,
        })
    }

    /// The request as nats-server's `auth_callout.go` writes it.
    fn token(
        &self,
        caller: &Caller,
        user_nkey: &str,
        client_id: u64,
        sealed: bool,
        now: UnixMs,
    ) -> Result<String> {
        let claims = Claims {
            aud: "nats-authorization-request",
            exp: now.as_secs() + VALIDITY_SECS,
            jti: BASE32_NOPAD.encode(&user_nkey.as_bytes()[..32]),
            iat: now.as_secs(),
            iss: &self.id,
            sub: &self.issuer,
            nats: Nats {
                server_id: ServerId {
                    name: SERVER_NAME,
                    host: "0.0.0.0",
                    id: &self.id,
                    version: "2.15.1",
                    cluster: "leaf",
                    xkey: sealed.then(|| self.xkey.public_key()),
                },
                user_nkey,
                client_info: ClientInfo {
                    host: "10.20.30.40",
                    id: client_id,
                    name: &caller.device,
                    kind: "Client",
                    kind_type: "nats",
                },
                connect_opts: ConnectOpts {
                    name: &caller.device,
                    lang: "rust",
                    version: "0.51.0",
                    protocol: 1,
                },
                client_tls: ClientTls {
                    version: "1.3",
                    cipher: "TLS_AES_128_GCM_SHA256",
                    verified_chains: [[&*caller.chain[0], &*caller.chain[1]]],
                },
                claim_type: "authorization_request",
                version: 2,
            },
        };
        let claims = serde_json::to_vec(&claims).context("can't write a request")?;
        let mut token = BASE64URL_NOPAD.encode(br#"{"typ":"JWT","alg":"ed25519-nkey"}"#);
        token.push('.');
        BASE64URL_NOPAD.encode_append(&claims, &mut token);
        let signature = self
            .key
            .sign(token.as_bytes())
            .context("can't sign a request")?;
        token.push('.');
        BASE64URL_NOPAD.encode_append(&signature, &mut token);
        Ok(token)
    }
}

// The claims in the order and under the names of nats-io/jwt's `authorization_claims.go`.

#[derive(Serialize)]
struct Claims<'a> {
    aud: &'static str,
    exp: i64,
    jti: String,
    iat: i64,
    iss: &'a str,
    sub: &'a str,
    nats: Nats<'a>,
}

#[derive(Serialize)]
struct Nats<'a> {
    server_id: ServerId<'a>,
    user_nkey: &'a str,
    client_info: ClientInfo<'a>,
    connect_opts: ConnectOpts<'a>,
    client_tls: ClientTls<'a>,
    #[serde(rename = "type")]
    claim_type: &'static str,
    version: u8,
}

#[derive(Serialize)]
struct ServerId<'a> {
    name: &'static str,
    host: &'static str,
    id: &'a str,
    version: &'static str,
    cluster: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    xkey: Option<String>,
}

#[derive(Serialize)]
struct ClientInfo<'a> {
    host: &'static str,
    id: u64,
    name: &'a str,
    kind: &'static str,
    #[serde(rename = "type")]
    kind_type: &'static str,
}

#[derive(Serialize)]
struct ConnectOpts<'a> {
    name: &'a str,
    lang: &'static str,
    version: &'static str,
    protocol: u8,
}

#[derive(Serialize)]
struct ClientTls<'a> {
    version: &'static str,
    cipher: &'static str,
    verified_chains: [[&'a str; 2]; 1],
}
