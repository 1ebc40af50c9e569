//! A nats-server that exists only as keys.

use leafgate_nats_jwt::{
    ClientInfo, ClientTls, ConnectOptions, CurveKey, CurvePublicKey, KeyKind, RequestClaims,
    ServerInfo, ServerKey, SharedBox, SigningKey, UserKey,
};
#[expect(clippy::disallowed_types, reason = "a test draws its own keys")]
use rand_core::{OsRng, RngCore as _};
use serde_json::Value;

/// For how long a server waits for an answer, as its requests say.
const WAITS_SECS: i64 = 3;

/// Signs and seals requests as a nats-server does.
pub struct MadeUpServer {
    key: SigningKey,
    curve: CurveKey,
}

/// A message to the callout: what is in it, and for whom the answer would be.
#[derive(Clone)]
pub struct Message {
    pub payload: Vec<u8>,
    /// The header `Nats-Server-Xkey`.
    pub xkey: Option<String>,
    pub reply: Reply,
    pub user: UserKey,
}

/// Where the answer is to go.
#[derive(Clone, Copy)]
pub enum Reply {
    /// Where the requester listens.
    Inbox,
    /// Somewhere else.
    To(&'static str),
    Nowhere,
}

impl MadeUpServer {
    pub fn new() -> Self {
        Self {
            key: SigningKey::generate(KeyKind::Server, &mut OsRng),
            curve: CurveKey::generate(&mut OsRng),
        }
    }

    pub fn id(&self) -> ServerKey {
        ServerKey::try_from(*self.key.public()).unwrap()
    }

    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    pub fn xkey(&self) -> &CurvePublicKey {
        self.curve.public()
    }

    pub fn shared(&self, with: &CurvePublicKey) -> SharedBox {
        self.curve.shared(with).unwrap()
    }

    /// What this server says, at `now_secs`, to the holder of `subject` of a client that connects
    /// with this chain.
    pub fn claims(&self, subject: &str, chain: &[String], now_secs: i64) -> RequestClaims {
        let user = SigningKey::generate(KeyKind::User, &mut OsRng);
        RequestClaims {
            subject: subject.to_owned(),
            issued_at_secs: now_secs,
            expires_at_secs: now_secs + WAITS_SECS,
            user_nkey: UserKey::try_from(*user.public()).unwrap(),
            server: ServerInfo {
                name: "made-up".to_owned(),
                host: "127.0.0.1".to_owned(),
                id: self.id(),
                version: "2.15.1".to_owned(),
                cluster: String::new(),
                tags: Vec::new(),
                xkey: Some(*self.xkey()),
            },
            client: ClientInfo {
                host: "192.0.2.7".to_owned(),
                id: OsRng.next_u32().into(),
                kind: "Client".to_owned(),
                kind_type: "nats".to_owned(),
                ..ClientInfo::default()
            },
            connect: ConnectOptions {
                protocol: 1,
                ..ConnectOptions::default()
            },
            tls: Some(ClientTls {
                version: "1.3".to_owned(),
                cipher: "TLS_AES_128_GCM_SHA256".to_owned(),
                certs: Vec::new(),
                verified_chains: vec![chain.to_vec()],
            }),
        }
    }
}

impl Message {
    /// Bytes that came in no box.
    pub fn plain(payload: impl Into<Vec<u8>>, user: UserKey) -> Self {
        Self {
            payload: payload.into(),
            xkey: None,
            reply: Reply::Inbox,
            user,
        }
    }

    /// Bytes in a box.
    pub fn sealed(payload: &[u8], shared: &SharedBox, xkey: &str, user: UserKey) -> Self {
        let mut nonce = [0; leafgate_nats_jwt::NONCE_BYTES];
        OsRng.fill_bytes(&mut nonce);
        Self {
            xkey: Some(xkey.to_owned()),
            ..Self::plain(shared.seal(payload, &nonce), user)
        }
    }

    pub fn with_reply(self, reply: Reply) -> Self {
        Self { reply, ..self }
    }
}

/// The token with other claims, signed again.
pub fn resigned(token: &str, key: &SigningKey, change: impl FnOnce(&mut Value)) -> String {
    let [header, claims, _signature] = parts(token);
    let mut claims: Value = serde_json::from_slice(&decode(claims)).unwrap();
    change(&mut claims);
    sign(header, &encode(claims.to_string().as_bytes()), key)
}

/// The token with another header, signed again.
pub fn with_header(token: &str, header: &str, key: &SigningKey) -> String {
    let [_header, claims, _signature] = parts(token);
    sign(&encode(header.as_bytes()), claims, key)
}

/// The token without its signature.
pub fn unsigned(token: &str) -> String {
    let [header, claims, _signature] = parts(token);
    format!("{header}.{claims}.")
}

/// The claims of one token over the signature of another.
pub fn with_signature_of(token: &str, other: &str) -> String {
    let [header, claims, _signature] = parts(token);
    let [_header, _claims, signature] = parts(other);
    format!("{header}.{claims}.{signature}")
}

fn sign(header: &str, claims: &str, key: &SigningKey) -> String {
    let signed = format!("{header}.{claims}");
    let signature = encode(&key.sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

fn parts(token: &str) -> [&str; 3] {
    token.split('.').collect::<Vec<_>>().try_into().unwrap()
}

fn encode(bytes: &[u8]) -> String {
    data_encoding::BASE64URL_NOPAD.encode(bytes)
}

fn decode(text: &str) -> Vec<u8> {
    data_encoding::BASE64URL_NOPAD
        .decode(text.as_bytes())
        .unwrap()
}
