//! NATS JWTs as the auth callout of nats-server speaks them: version 2 claims signed with
//! `ed25519-nkey`, and the `xkv1` boxes that encrypt them on the way.
//!
//! A callout service reads an [`UnverifiedRequest`], checks its signature (alone, in a batch with
//! [`verify_batch`], or by the box it came in) and its claims ([`AuthorizationRequest::check`]),
//! and answers with [`UserClaims`] inside [`ResponseClaims`]. The server's side of the exchange is
//! here too, for tests and load: [`RequestClaims`], [`VerifiedResponse`] and [`VerifiedUser`].
//!
//! ```
//! use leafgate_nats_jwt::*;
//!
//! fn answer(message: &[u8], now_secs: i64, issuer: &SigningKey) -> Option<String> {
//!     let request = UnverifiedRequest::decode(message).ok()?.verify().ok()?;
//!     let expected = Expected { subject: Some(issuer.public().as_str()) };
//!     request.check(now_secs, &expected, 60).ok()?;
//!     let response = ResponseClaims {
//!         subject: &request.user_nkey,
//!         audience: &request.server.id,
//!         issued_at_secs: now_secs,
//!         outcome: Err("nobody is let in today"),
//!         issuer_account: None,
//!     };
//!     response.encode(issuer).ok()
//! }
//! ```
//!
//! Nothing here reads a clock, an RNG or the network: times and randomness are parameters.
//! The formats follow nats-io/jwt v2, nats-io/nkeys and nats-server's `server/auth_callout.go`.

mod check;
mod crc;
mod key;
#[cfg(test)]
mod properties;
mod received;
mod request;
mod response;
mod seed;
mod signing;
mod text;
mod token;
mod unverified;
mod user;
mod xkey;

pub use check::{CheckRequestError, Expected};
pub use key::{AccountKey, CurvePublicKey, KeyKind, ParseKeyError, PublicKey, ServerKey, UserKey};
pub use received::{DecodeResponseError, VerifiedResponse, VerifiedUser};
pub use request::{
    AuthorizationRequest, ClientInfo, ClientTls, ConnectOptions, RequestClaims, ServerInfo,
};
pub use response::ResponseClaims;
pub use seed::ParseSeedError;
pub use signing::SigningKey;
pub use text::Excerpt;
pub use token::{DecodeTokenError, EncodeClaimsError, MAX_TOKEN_BYTES};
pub use unverified::{
    DecodeRequestError, OpenRequestError, UnverifiedRequest, VerifyRequestError, XkeyBinding,
    verify_batch,
};
pub use user::{Limits, Permissions, ResponsePermission, SubjectRules, UserClaims};
pub use xkey::{CurveKey, DeriveSharedBoxError, NONCE_BYTES, OpenBoxError, SharedBox};
