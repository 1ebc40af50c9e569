//! What handlers are given of a request: who asks, and what they say, read strictly.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Uri, header};
use bytes::BytesMut;
use data_encoding::HEXLOWER;
use futures::StreamExt;
use leafgate_api::ProblemType;
use serde::de::DeserializeOwned;

use crate::app::App;
use crate::authenticate::Caller;
use crate::idempotency::IdempotencyKey;
use crate::names::{fields_of, unknown};
use crate::page_token::ListDigest;
use crate::problem::Problem;

/// The largest body, in bytes.
const MAX_BODY_BYTES: usize = 1024 * 1024;
/// How much of a larger one is read and dropped.
const DISCARDED_BODY_BYTES: usize = 16 * MAX_BODY_BYTES;

/// A request that only reads.
#[derive(Debug)]
pub(crate) struct Read<Q> {
    pub(crate) caller: Caller,
    /// The parameters of the query.
    pub(crate) query: Q,
    /// What page tokens of this list are bound to.
    pub(crate) list: ListDigest,
    pub(crate) headers: HeaderMap,
}

/// A request that changes something.
#[derive(Debug)]
pub(crate) struct Command<T> {
    pub(crate) caller: Caller,
    /// The body; what an empty object says if there is none.
    pub(crate) body: T,
    pub(crate) if_match: Option<IfMatch>,
    pub(crate) idempotency_key: Option<IdempotencyKey>,
}

/// Which version of a device the client means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IfMatch {
    /// Whichever there is.
    Any,
    /// This one. No version is 0: what is no tag of ours, or a weak one, matches nothing (RFC 9110 section 13.1.1).
    Version(u64),
}

/// The body of a request by somebody who is known otherwise than by an API key.
#[derive(Debug)]
pub(crate) struct JsonBody<T>(pub(crate) T);

/// No parameters, or no body.
#[derive(Debug, Clone, Copy, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

impl<Q: DeserializeOwned + Send> FromRequestParts<Arc<App>> for Read<Q> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, app).await?;
        let pairs = query_pairs::<Q>(&parts.uri)?;
        let Query(query) = Query::try_from_uri(&parts.uri)
            .map_err(|error| Problem::malformed(error.body_text()))?;
        let filters = pairs
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .filter(|(name, _)| !matches!(*name, "page_size" | "page_token"));
        Ok(Self {
            caller,
            query,
            list: ListDigest::new(parts.uri.path(), filters),
            headers: std::mem::take(&mut parts.headers),
        })
    }
}

/// The parameters of a query, all of which must be known, and none of which may stand twice.
pub(crate) fn query_pairs<Q: DeserializeOwned>(
    uri: &Uri,
) -> Result<Vec<(String, String)>, Problem> {
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
        .map_err(|error| Problem::malformed(error.body_text()))?;
    let known = fields_of::<Q>();
    let mut seen = BTreeSet::new();
    for (name, _) in &pairs {
        if !known.contains(&name.as_str()) {
            return Err(Problem::malformed(unknown("query parameter", name, known)));
        }
        if !seen.insert(name) {
            let detail = format!("the query parameter {name} stands twice");
            return Err(Problem::malformed(detail));
        }
    }
    Ok(pairs)
}

impl<T: DeserializeOwned + Send> FromRequest<Arc<App>> for Command<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let caller = Caller::from_request_parts(&mut parts, app).await?;
        query_pairs::<Nothing>(&parts.uri)?;
        let if_match = if_match(&parts.headers)?;
        let bytes = read_body(&parts.headers, body, app.limits.body_timeout()).await?;
        let idempotency_key = IdempotencyKey::of(
            &parts.headers,
            &caller.principal.name,
            &request_sha256(&parts.method, &parts.uri, &bytes),
        )?;
        check_media_type(&parts, &bytes)?;
        Ok(Self {
            caller,
            body: parse_body(&bytes)?,
            if_match,
            idempotency_key,
        })
    }
}

impl<T: DeserializeOwned + Send> FromRequest<Arc<App>> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        query_pairs::<Nothing>(&parts.uri)?;
        let bytes = read_body(&parts.headers, body, app.limits.body_timeout()).await?;
        check_media_type(&parts, &bytes)?;
        parse_body(&bytes).map(Self)
    }
}

impl<T> Command<T> {
    /// For what has no version: a condition that can't be checked must not be passed over.
    pub(crate) fn unconditional(self) -> Result<Self, Problem> {
        match self.if_match {
            Some(_) => Err(Problem::malformed(
                "If-Match means nothing here: only a device that exists has a version",
            )),
            None => Ok(self),
        }
    }
}

pub(crate) async fn read_body(
    headers: &HeaderMap,
    body: Body,
    limit: Duration,
) -> Result<Bytes, Problem> {
    let too_large = || {
        let detail = format!("a body has at most {MAX_BODY_BYTES} bytes");
        Problem::new(ProblemType::BodyTooLarge, detail)
    };
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    // Who asks before sending is told before.
    if headers.contains_key(header::EXPECT) && announced > Some(MAX_BODY_BYTES) {
        return Err(too_large());
    }
    match tokio::time::timeout(limit, collect(body)).await {
        Ok(Ok(Some(bytes))) => Ok(bytes),
        Ok(Ok(None)) => Err(too_large()),
        Ok(Err(_)) => Err(Problem::malformed("the body broke off")),
        Err(_) => {
            let detail = format!("the body did not arrive within {limit:?}");
            Err(Problem::new(ProblemType::RequestTimeout, detail))
        }
    }
}

/// The body, or nothing if it is too large. Of such a one more is read than is kept: a client that is still sending when
/// the connection closes may never see the answer.
async fn collect(body: Body) -> Result<Option<Bytes>, axum::Error> {
    let mut pieces = body.into_data_stream();
    let mut kept = BytesMut::new();
    let mut read = 0_usize;
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        read += piece.len();
        if read <= MAX_BODY_BYTES {
            kept.extend_from_slice(&piece);
        } else if read > DISCARDED_BODY_BYTES {
            break;
        }
    }
    Ok((read <= MAX_BODY_BYTES).then(|| kept.freeze()))
}

fn request_sha256(method: &Method, uri: &Uri, body: &Bytes) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in [
        method.as_str().as_bytes(),
        b"\0",
        uri.path().as_bytes(),
        b"\0",
        body,
    ] {
        context.update(part);
    }
    HEXLOWER.encode(context.finish().as_ref())
}

fn check_media_type(parts: &Parts, body: &Bytes) -> Result<(), Problem> {
    let Some(value) = parts.headers.get(header::CONTENT_TYPE) else {
        return if body.is_empty() {
            Ok(())
        } else {
            Err(unsupported("the body has no Content-Type"))
        };
    };
    let text = value.to_str().unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim();
    let is = |known: &str| essence.eq_ignore_ascii_case(known);
    if is("application/json")
        || (parts.method == Method::PATCH && is("application/merge-patch+json"))
    {
        return Ok(());
    }
    Err(unsupported("the body is of another type"))
}

fn unsupported(what: &str) -> Problem {
    let detail = format!("{what}; send it as application/json");
    Problem::new(ProblemType::MediaTypeUnsupported, detail)
}

/// Reads the JSON of a body straight into its type, so that what stands twice or is unknown is refused.
fn parse_body<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    parse_json(if bytes.is_empty() { b"{}" } else { bytes })
}

/// Reads JSON as strictly.
pub(crate) fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let parsed = serde_path_to_error::deserialize(&mut deserializer);
    let value = parsed.map_err(|error| {
        let unknown_field = first_unknown_field::<T>(bytes);
        let detail = unknown_field.unwrap_or_else(|| match error.path().to_string().as_str() {
            "." => error.inner().to_string(),
            path => format!("{path}: {}", error.inner()),
        });
        Problem::malformed(detail)
    })?;
    deserializer
        .end()
        .map_err(|error| Problem::malformed(format!("after the JSON: {error}")))?;
    Ok(value)
}

fn first_unknown_field<T: DeserializeOwned>(bytes: &[u8]) -> Option<String> {
    let known = fields_of::<T>();
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(bytes).ok()?;
    let found = object.keys().find(|name| !known.contains(&name.as_str()))?;
    Some(unknown("field", found, known))
}

fn if_match(headers: &HeaderMap) -> Result<Option<IfMatch>, Problem> {
    let mut values = headers.get_all(header::IF_MATCH).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return match headers.contains_key(header::IF_MATCH) {
            true => Err(if_match_malformed()),
            false => Ok(None),
        };
    };
    let text = value.to_str().map_err(|_| if_match_malformed())?;
    if text == "*" {
        return Ok(Some(IfMatch::Any));
    }
    let strong = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    match strong {
        Some(tag) if !tag.contains('"') => Ok(Some(IfMatch::Version(version_of(tag)))),
        None if text.starts_with("W/\"") && !text.contains(',') => Ok(Some(IfMatch::Version(0))),
        _ => Err(if_match_malformed()),
    }
}

/// The version whose tag this is, letter by letter: tags are compared, not numbers.
fn version_of(tag: &str) -> u64 {
    let version = tag.parse().ok();
    version
        .filter(|version: &u64| version.to_string() == tag)
        .unwrap_or(0)
}

fn if_match_malformed() -> Problem {
    Problem::malformed("If-Match takes one ETag as a device's answer gave it, such as \"5\"")
}

/// The one parameter of the path, read by its type.
#[derive(Debug)]
pub(crate) struct Named<T>(pub(crate) T);

impl<T: FromStr<Err: Display> + Send> FromRequestParts<Arc<App>> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let Path(text) = Path::<String>::from_request_parts(parts, app)
            .await
            .map_err(|error| Problem::malformed(error.body_text()))?;
        let parsed = text.parse();
        parsed
            .map(Self)
            .map_err(|error| Problem::malformed(error.to_string()))
    }
}
