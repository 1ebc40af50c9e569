use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use data_encoding::BASE64;
use leafgate_identity::{SpkiHash, UnixMs};
use leafgate_pki::{MAX_OCSP_REQUEST_BYTES, OcspError};
use time::OffsetDateTime;

use super::RevocationStatus;
use super::issuer::{ServedList, entity_tag};
use super::responder::Outcome;

const LIST: &str = "application/pkix-crl";
const OCSP: &str = "application/ocsp-response";
/// When to ask again for what can't be told now.
const RETRY_AFTER_SECS: &str = "5";

/// The routes of the plain-HTTP listener, which serves nothing else.
pub fn router(status: Arc<RevocationStatus>) -> Router {
    Router::new()
        .route("/crl/root.crl", get(root_list))
        .route("/crl/{file}", get(list))
        .route("/ocsp", post(ask_in_body))
        .route("/ocsp/", post(ask_in_body))
        .route("/ocsp/{*request}", get(ask_in_path))
        .with_state(status)
}

async fn root_list(State(status): State<Arc<RevocationStatus>>, headers: HeaderMap) -> Response {
    if status.root_list.is_none() {
        return StatusCode::NOT_FOUND.into_response();
    }
    match status.root_list().await {
        Some(list) => serve(&list, status.clock.now(), &headers),
        None => unavailable("the root's revocation list can't be read"),
    }
}

async fn list(
    State(status): State<Arc<RevocationStatus>>,
    Path(file): Path<String>,
    headers: HeaderMap,
) -> Response {
    let spki = file
        .strip_suffix(".crl")
        .and_then(|name| name.parse::<SpkiHash>().ok());
    let Some(issuer) = spki.and_then(|spki| status.issuer(&spki)) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let now = status.clock.now();
    match issuer.list().filter(|list| now < list.next_update) {
        Some(list) => serve(&list, now, &headers),
        None => unavailable("there is no current revocation list now"),
    }
}

fn serve(list: &ServedList, now: UnixMs, asked: &HeaderMap) -> Response {
    let caching = [
        (header::ETAG, list.tag.clone()),
        (header::LAST_MODIFIED, http_date(list.this_update)),
        (header::EXPIRES, http_date(list.next_update)),
        (
            header::CACHE_CONTROL,
            format!("max-age={}, public", list.next_update.since(now).as_secs()),
        ),
    ];
    if has_already(asked, &list.tag) {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    let kind = [(header::CONTENT_TYPE, LIST)];
    (caching, kind, list.der.clone()).into_response()
}

/// Whether a request says that its sender has what bears this ETag (RFC 9110 section 13.1.2).
fn has_already(asked: &HeaderMap, tag: &str) -> bool {
    let lists = asked.get_all(header::IF_NONE_MATCH).iter();
    lists
        .filter_map(|list| list.to_str().ok())
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

fn unavailable(why: &'static str) -> Response {
    let retry = [
        (header::RETRY_AFTER, RETRY_AFTER_SECS),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (StatusCode::SERVICE_UNAVAILABLE, retry, format!("{why}\n")).into_response()
}

/// RFC 6960 appendix A.1: base64 of the request, percent-encoded.
async fn ask_in_path(
    State(status): State<Arc<RevocationStatus>>,
    Path(request): Path<String>,
) -> Response {
    let Some(request) = decode(&request) else {
        return refuse(OcspError::MalformedRequest);
    };
    match status.answer(&request).await {
        Outcome::Common(answer) => {
            // RFC 5019 section 6.2.
            let reusable_for = answer
                .reusable_until
                .saturating_sub(status.clock.monotonic());
            let caching = [
                (header::ETAG, tag_of_answer(&answer.der)),
                (header::LAST_MODIFIED, http_date(answer.this_update)),
                (header::EXPIRES, http_date(answer.next_update)),
                (header::CACHE_CONTROL, cacheable(reusable_for)),
            ];
            let kind = [(header::CONTENT_TYPE, OCSP)];
            (caching, kind, answer.der).into_response()
        }
        Outcome::Own(der) => uncacheable(der),
        Outcome::Refused(error) => refuse(error),
    }
}

async fn ask_in_body(
    State(status): State<Arc<RevocationStatus>>,
    request: Request<Body>,
) -> Response {
    let reading = axum::body::to_bytes(request.into_body(), MAX_OCSP_REQUEST_BYTES);
    let request = match tokio::time::timeout(status.settings.body_timeout, reading).await {
        Ok(Ok(request)) => request,
        Ok(Err(_)) => return refuse(OcspError::MalformedRequest),
        Err(_) => return StatusCode::REQUEST_TIMEOUT.into_response(),
    };
    match status.answer(&request).await {
        Outcome::Common(answer) => uncacheable(answer.der),
        Outcome::Own(der) => uncacheable(der),
        Outcome::Refused(error) => refuse(error),
    }
}

/// An ETag for an OCSP answer. Not every one ends with its signature: a responder's certificate may follow.
fn tag_of_answer(der: &[u8]) -> String {
    entity_tag(digest(&SHA256, der).as_ref())
}

/// With and without padding, which some clients leave out.
fn decode(text: &str) -> Option<Vec<u8>> {
    let unpadded = text.trim_end_matches('=');
    if unpadded.len() > MAX_OCSP_REQUEST_BYTES * 4 / 3 + 3 {
        return None;
    }
    let padding = "=".repeat(unpadded.len().wrapping_neg() % 4);
    BASE64
        .decode(format!("{unpadded}{padding}").as_bytes())
        .ok()
}

fn cacheable(reusable_for: Duration) -> String {
    let secs = reusable_for.as_secs();
    format!("max-age={secs}, public, no-transform, must-revalidate")
}

fn uncacheable(der: Bytes) -> Response {
    let headers = [
        (header::CONTENT_TYPE, OCSP),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, der).into_response()
}

fn refuse(error: OcspError) -> Response {
    let mut response = uncacheable(Bytes::copy_from_slice(&error.to_der()));
    if let OcspError::TryLater | OcspError::InternalError = error {
        // To nats-server an error answered with 200 is a broken answer, and the device is refused. With another status
        // it takes the responder as out of reach, which lets those in that are not known as revoked
        // (server/ocsp_peer.go `certOCSPGood`, server/certidp/ocsp_responder.go `FetchOCSPResponse`).
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    if error == OcspError::TryLater {
        let retry = header::HeaderValue::from_static(RETRY_AFTER_SECS);
        response.headers_mut().insert(header::RETRY_AFTER, retry);
    }
    response
}

/// An IMF-fixdate (RFC 9110 section 5.6.7).
fn http_date(at: UnixMs) -> String {
    let at = OffsetDateTime::from_unix_timestamp(at.as_secs())
        .expect("UnixMs stays within the years that a date can have");
    let (weekday, month) = (at.weekday().to_string(), at.month().to_string());
    format!(
        "{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT",
        &weekday[..3],
        at.day(),
        &month[..3],
        at.year(),
        at.hour(),
        at.minute(),
        at.second()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_as_http_has_them() {
        let date = http_date(UnixMs::from_secs(784_111_777));
        assert_eq!(date, "Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn base64_may_lack_its_padding() {
        for (text, expected) in [
            ("MAoBAQ==", Some(&[0x30, 0x0a, 1, 1][..])),
            ("MAoBAQ", Some(&[0x30, 0x0a, 1, 1])),
            ("MAoB", Some(&[0x30, 0x0a, 1])),
            ("+/+/", Some(&[0xfb, 0xff, 0xbf])),
            ("MAoBA", None),
            ("-_-_", None),
            ("MA oB", None),
        ] {
            assert_eq!(decode(text).as_deref(), expected, "{text}");
        }
        assert_eq!(decode(&"A".repeat(20_000)), None);
    }

    /// The certificate of a responder comes after the signature.
    #[test]
    fn answers_that_end_alike_have_tags_of_their_own() {
        let answer = |signature: u8| [[signature; 64], [7; 64]].concat();
        assert_eq!(tag_of_answer(&answer(1)), tag_of_answer(&answer(1)));
        assert_ne!(tag_of_answer(&answer(1)), tag_of_answer(&answer(2)));
    }

    #[test]
    fn a_tag_is_found_among_others() {
        for (given, expected) in [
            ("\"a\"", true),
            ("W/\"a\"", true),
            ("\"b\", \"a\"", true),
            ("*", true),
            ("\"b\"", false),
            ("a", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, given.parse().unwrap());
            assert_eq!(has_already(&headers, "\"a\""), expected, "{given}");
        }
    }
}
