//! Devices behind a proxy that ends their TLS: their certificate comes in a header (RFC 9440).
//!
//! The proxy has had the device prove that it holds the key, and removes such headers where they come from outside. Both
//! are believed of addresses that the configuration names, on a listener of their own, and nowhere else.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use data_encoding::{BASE64, BASE64_NOPAD};
use leafgate_api::ProblemType;
use leafgate_policy::IpNetwork;
use rustls::pki_types::CertificateDer;

use crate::listener::Peer;
use crate::problem::Problem;

const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Whose headers are believed.
pub(crate) type TrustedProxies = Arc<[IpNetwork]>;

/// Why nothing can be done with what a proxy passes on.
#[derive(Clone)]
struct Misread(Problem);

/// Puts the client in the place of the proxy that speaks for it. Comes before everything else, so that logs and limits
/// are about the client.
pub(crate) async fn read_client(
    State(trusted): State<TrustedProxies>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(proxy) = request.extensions_mut().remove::<Peer>() else {
        return next.run(request).await;
    };
    match client_of(&proxy, request.headers(), &trusted) {
        Ok(client) => request.extensions_mut().insert(client).map(drop),
        Err(problem) => {
            // The certificate of the connection itself is the proxy's, or that of whoever takes its place.
            let certificates = Arc::default();
            let nobody = Peer {
                certificates,
                ..proxy
            };
            request.extensions_mut().insert(nobody);
            request.extensions_mut().insert(Misread(problem)).map(drop)
        }
    };
    next.run(request).await
}

/// Answers what [`read_client`] could make nothing of. Comes after what finishes and logs answers.
pub(crate) async fn refuse_misread(request: Request, next: Next) -> Response {
    match request.extensions().get::<Misread>().cloned() {
        Some(Misread(problem)) => problem.into_response(),
        None => next.run(request).await,
    }
}

fn client_of(proxy: &Peer, headers: &HeaderMap, trusted: &[IpNetwork]) -> Result<Peer, Problem> {
    let address = proxy.address.ip();
    if !trusted.iter().any(|network| network.contains(address)) {
        let detail = format!(
            "{address} is in none of the networks of trusted_proxies; requests through the proxy come from there"
        );
        return Err(Problem::new(ProblemType::ProxyUntrusted, detail));
    }
    Ok(Peer {
        address: forwarded_for(headers).map_or(proxy.address, |ip| SocketAddr::new(ip, 0)),
        certificates: client_certificate(headers)?.into_iter().collect(),
    })
}

/// The client's own certificate (RFC 9440 section 2.2): one byte sequence (RFC 8941 section 3.3.5). `Client-Cert-Chain`
/// is not read: the issuers are known.
fn client_certificate(headers: &HeaderMap) -> Result<Option<CertificateDer<'static>>, Problem> {
    let mut values = headers.get_all(CLIENT_CERT).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let parsed = value.to_str().ok().and_then(byte_sequence);
    match parsed {
        Some(der) if values.next().is_none() => Ok(Some(CertificateDer::from(der))),
        _ => {
            let detail =
                "Client-Cert holds one certificate as :<base64 of its DER>: (RFC 9440 section 2.2)";
            Err(Problem::malformed(detail))
        }
    }
}

fn byte_sequence(item: &str) -> Option<Vec<u8>> {
    let (base64, parameters) = item.trim_matches(' ').strip_prefix(':')?.split_once(':')?;
    if !(parameters.is_empty() || parameters.starts_with(';')) {
        return None;
    }
    // RFC 8941 section 4.2.7 has parsers take sequences without padding.
    let decoded = match base64.contains('=') {
        true => BASE64.decode(base64.as_bytes()),
        false => BASE64_NOPAD.decode(base64.as_bytes()),
    };
    decoded.ok().filter(|der| !der.is_empty())
}

/// The last address is the one that the trusted proxy saw; those before it are hearsay.
fn forwarded_for(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all(X_FORWARDED_FOR).iter().next_back()?;
    let last = last.to_str().ok()?.rsplit(',').next()?.trim();
    let with_port = || last.parse().map(|address: SocketAddr| address.ip());
    last.parse().or_else(|_| with_port()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), value.parse().unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    fn read(pairs: &[(&'static str, &'static str)]) -> Result<Peer, Problem> {
        let proxy = Peer {
            address: "10.0.0.7:4711".parse().unwrap(),
            certificates: [CertificateDer::from(vec![9])].into(),
        };
        let trusted = serde_json::from_str::<Vec<IpNetwork>>(r#"["10.0.0.0/24"]"#).unwrap();
        client_of(&proxy, &headers(pairs), &trusted)
    }

    #[test]
    fn a_certificate_comes_out_of_the_header_alone() {
        for (value, expected) in [
            (":AQID:", &[1, 2, 3][..]),
            (":AQI=:", &[1, 2]),
            (":AQI:", &[1, 2]),
            (" :AQID: ", &[1, 2, 3]),
            (":AQID:;a=1", &[1, 2, 3]),
        ] {
            let client = read(&[("client-cert", value)]).unwrap();
            assert_eq!(client.certificates.len(), 1, "{value}");
            assert_eq!(client.certificates[0].as_ref(), expected, "{value}");
        }
        assert!(read(&[]).unwrap().certificates.is_empty());
        for value in [
            "",
            "AQID",
            ":AQID",
            "::",
            ":AQ*D:",
            ":AQID:, :AQID:",
            ":AQID:x",
        ] {
            let problem = read(&[("client-cert", value)]).unwrap_err();
            assert_eq!(problem.kind, ProblemType::RequestMalformed, "{value}");
        }
        let twice = [("client-cert", ":AQID:"), ("client-cert", ":AQID:")];
        assert!(read(&twice).is_err());
    }

    #[test]
    fn the_address_is_the_last_that_a_proxy_noted() {
        for (value, expected) in [
            ("192.0.2.1", "192.0.2.1"),
            ("203.0.113.9, 192.0.2.1", "192.0.2.1"),
            ("192.0.2.1:80", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("192.0.2.1, unknown", "10.0.0.7"),
        ] {
            let client = read(&[("x-forwarded-for", value)]).unwrap();
            assert_eq!(client.address.ip().to_string(), expected, "{value}");
        }
        assert_eq!(read(&[]).unwrap().address.port(), 4711);
    }

    #[test]
    fn nobody_else_is_believed() {
        let stranger = Peer {
            address: "10.0.1.7:4711".parse().unwrap(),
            certificates: Arc::default(),
        };
        let trusted = serde_json::from_str::<Vec<IpNetwork>>(r#"["10.0.0.0/24"]"#).unwrap();
        let problem = client_of(&stranger, &headers(&[]), &trusted).unwrap_err();
        assert_eq!(problem.kind, ProblemType::ProxyUntrusted);
    }
}
