//! Requests as they come in, and the ways to find out whether they are authentic.

use std::borrow::Cow;

use ed25519_zebra::{Signature, batch};
use rand_core::{CryptoRng, RngCore};
use serde::Deserialize;

use crate::key::{CurvePublicKey, ParseKeyError, ServerKey, UserKey};
use crate::request::{AuthorizationRequest, ClientInfo, ClientTls, ConnectOptions, ServerInfo};
use crate::token::{self, DecodeTokenError, Parts};
use crate::xkey::{OpenBoxError, SharedBox};

/// Why a message is no authorization request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeRequestError {
    /// The form of the token.
    #[error(transparent)]
    Token(#[from] DecodeTokenError),
    /// A claim that should be a key is none of the right kind.
    #[error("the claim {claim} is not a valid public key of its kind")]
    Key {
        /// The claim, as a path.
        claim: &'static str,
        /// What is wrong with it.
        #[source]
        source: ParseKeyError,
    },
}

/// Why an encrypted message is no authorization request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenRequestError {
    /// The box did not open.
    #[error(transparent)]
    Box(#[from] OpenBoxError),
    /// The box opened, but what it held is no request.
    #[error(transparent)]
    Decode(#[from] DecodeRequestError),
}

/// The signature does not prove that the issuer made the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature is not that of the issuer {issuer} over this request")]
pub struct VerifyRequestError {
    /// The server that is said to have signed.
    pub issuer: ServerKey,
}

/// A request that anyone may have written. Only its issuer can be asked for, to look up whether
/// the signature is worth checking.
#[derive(Debug)]
pub struct UnverifiedRequest {
    request: Box<AuthorizationRequest>,
    proof: Proof,
}

#[derive(Debug)]
enum Proof {
    /// The message is hashed already and no longer needed.
    Hashed(Box<batch::Item>),
    /// From a box, which may be proof enough: the hash is left until it is wanted.
    Opened {
        token: Vec<u8>,
        signed_bytes: usize,
        signature: Signature,
    },
}

impl UnverifiedRequest {
    /// Reads a request in plain text: size, three parts, header, base64, JSON, keys.
    pub fn decode(token: &[u8]) -> Result<Self, DecodeRequestError> {
        let Parts {
            signed,
            signature,
            claims,
        } = token::split(token)?;
        let request = parse_request(&claims)?;
        let item = token::signature_item(request.issuer.raw(), signature, signed);
        Ok(Self {
            request: Box::new(request),
            proof: Proof::Hashed(Box::new(item)),
        })
    }

    /// Opens and reads an encrypted request. `shared` belongs to the key that the message's
    /// header `Nats-Server-Xkey` names.
    pub fn open(sealed: &[u8], shared: &SharedBox) -> Result<Self, OpenRequestError> {
        let token = shared.open(sealed)?;
        let Parts {
            signed,
            signature,
            claims,
        } = token::split(&token).map_err(DecodeRequestError::from)?;
        let mut request = parse_request(&claims)?;
        request.box_peer = Some(*shared.peer());
        let signed_bytes = signed.len();
        Ok(Self {
            request: Box::new(request),
            proof: Proof::Opened {
                token,
                signed_bytes,
                signature,
            },
        })
    }

    /// The server that is said to have signed.
    pub fn issuer(&self) -> &ServerKey {
        &self.request.issuer
    }

    /// Checks the signature.
    pub fn verify(self) -> Result<AuthorizationRequest, VerifyRequestError> {
        let (request, item) = self.into_parts();
        verdict(request, item)
    }

    /// Takes the box in which the request came as proof that the bound server made it, in place of
    /// its signature: true when the box, `iss`, `server_id.id` and `server_id.xkey` all name the
    /// bound pair of keys. Otherwise the request comes back, for its signature to be checked.
    pub fn trust_opened_box(self, binding: &XkeyBinding) -> Result<AuthorizationRequest, Self> {
        if self.request.xkey_binding().as_ref() == Some(binding) {
            Ok(*self.request)
        } else {
            Err(self)
        }
    }

    fn into_parts(self) -> (Box<AuthorizationRequest>, batch::Item) {
        let item = match self.proof {
            Proof::Hashed(item) => *item,
            Proof::Opened {
                token,
                signed_bytes,
                signature,
            } => {
                token::signature_item(self.request.issuer.raw(), signature, &token[..signed_bytes])
            }
        };
        (self.request, item)
    }
}

/// Checks the signatures of all requests, together if there are several, which is cheaper. One bad
/// signature fails the whole batch; then each is checked alone. Both ways follow the rules of
/// ZIP 215, so the company of a request never changes its verdict. The answers are in the order of
/// the requests.
///
/// `rng` must not be predictable for those who make requests.
pub fn verify_batch(
    requests: Vec<UnverifiedRequest>,
    rng: &mut (impl RngCore + CryptoRng),
) -> Vec<Result<AuthorizationRequest, VerifyRequestError>> {
    let parts: Vec<_> = requests
        .into_iter()
        .map(UnverifiedRequest::into_parts)
        .collect();
    let mut all_valid = false;
    if parts.len() > 1 {
        let mut verifier = batch::Verifier::new();
        for (_, item) in &parts {
            verifier.queue(item.clone());
        }
        all_valid = verifier.verify(rng).is_ok();
    }
    parts
        .into_iter()
        .map(|(request, item)| {
            if all_valid {
                Ok(*request)
            } else {
                verdict(request, item)
            }
        })
        .collect()
}

fn verdict(
    request: Box<AuthorizationRequest>,
    item: batch::Item,
) -> Result<AuthorizationRequest, VerifyRequestError> {
    match item.verify_single() {
        Ok(()) => Ok(*request),
        Err(_) => Err(VerifyRequestError {
            issuer: request.issuer,
        }),
    }
}

/// A server process and its curve key, bound by a signature of that server over a request that
/// came in a box of that curve key. Worth as much as the server: bind only servers that the
/// system account knows, and forget the binding with the server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct XkeyBinding {
    server: ServerKey,
    xkey: CurvePublicKey,
}

impl AuthorizationRequest {
    /// The binding that this request proves: `None` if it came in plain text, or if it does not
    /// name its issuer and the key of its box as `server_id.id` and `server_id.xkey`.
    pub fn xkey_binding(&self) -> Option<XkeyBinding> {
        let xkey = self.box_peer?;
        (self.server.id == self.issuer && self.server.xkey == Some(xkey)).then_some(XkeyBinding {
            server: self.issuer,
            xkey,
        })
    }
}

#[derive(Deserialize)]
struct WireClaims<'a> {
    #[serde(borrow, default)]
    aud: Cow<'a, str>,
    #[serde(default)]
    exp: i64,
    #[serde(default)]
    iat: i64,
    #[serde(default)]
    nbf: i64,
    #[serde(borrow)]
    iss: Cow<'a, str>,
    #[serde(borrow)]
    sub: Cow<'a, str>,
    #[serde(borrow)]
    nats: WireRequest<'a>,
}

#[derive(Deserialize)]
struct WireRequest<'a> {
    #[serde(borrow, default)]
    r#type: Cow<'a, str>,
    #[serde(default)]
    version: i64,
    #[serde(borrow)]
    user_nkey: Cow<'a, str>,
    #[serde(borrow)]
    server_id: WireServer<'a>,
    client_info: ClientInfo,
    connect_opts: ConnectOptions,
    #[serde(default)]
    client_tls: Option<ClientTls>,
}

#[derive(Deserialize)]
struct WireServer<'a> {
    name: String,
    host: String,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(default)]
    version: String,
    #[serde(default)]
    cluster: String,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(borrow, default)]
    xkey: Cow<'a, str>,
}

fn parse_request(json: &[u8]) -> Result<AuthorizationRequest, DecodeRequestError> {
    let WireClaims {
        aud,
        exp,
        iat,
        nbf,
        iss,
        sub,
        nats,
    } = token::parse_claims(json)?;
    let of = |claim| move |source| DecodeRequestError::Key { claim, source };
    let server = nats.server_id;
    let xkey = match &*server.xkey {
        "" => None,
        text => Some(CurvePublicKey::parse(text).map_err(of("nats.server_id.xkey"))?),
    };
    let mut client = nats.client_info;
    if nats.connect_opts.names_user_by_token() {
        client.user.clear();
    }
    Ok(AuthorizationRequest {
        issuer: ServerKey::parse(&iss).map_err(of("iss"))?,
        subject: sub.into_owned(),
        audience: aud.into_owned(),
        issued_at_secs: iat,
        expires_at_secs: exp,
        not_before_secs: nbf,
        user_nkey: UserKey::parse(&nats.user_nkey).map_err(of("nats.user_nkey"))?,
        server: ServerInfo {
            name: server.name,
            host: server.host,
            id: ServerKey::parse(&server.id).map_err(of("nats.server_id.id"))?,
            version: server.version,
            cluster: server.cluster,
            tags: server.tags,
            xkey,
        },
        client,
        connect: nats.connect_opts,
        tls: nats.client_tls,
        claims_type: nats.r#type.into_owned(),
        claims_version: nats.version,
        box_peer: None,
    })
}

#[cfg(test)]
mod tests;
