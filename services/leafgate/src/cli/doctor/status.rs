use std::collections::BTreeSet;

use aws_lc_rs::digest::{SHA256, digest};
use leafgate_identity::UnixMs;
use leafgate_pki::SignedList;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::Doctor;
use super::certificates::Facts;
use super::health::innermost;
use crate::cli::moment::relative;

const REACHABLE: &str =
    "let this machine reach the registry's [status] listener, and see that its url is right";
/// `AlgorithmIdentifier` of SHA-256 (RFC 5754 section 2).
const SHA256_ALGORITHM: [u8; 15] = [
    0x30, 13, 0x06, 9, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0,
];

impl Doctor<'_> {
    /// Asks for the revocation status of all certificates that were looked at, where they say that it is to be had.
    pub(super) async fn check_revocation_status(&mut self) {
        let mut lists = BTreeSet::new();
        let files = std::mem::take(&mut self.files);
        for file in &files {
            let facts: Vec<Facts> = file.chain.iter().filter_map(|it| Facts::of(it)).collect();
            for one in &facts {
                for url in &one.crl_urls {
                    if lists.insert((url.clone(), one.serial.clone())) {
                        self.check_list(url, one).await;
                    }
                }
            }
            if let [own, issuer, ..] = &facts[..] {
                for url in &own.ocsp_urls {
                    self.check_ocsp(url, own, issuer, &file.path).await;
                }
            }
        }
    }

    async fn check_list(&mut self, url: &str, certificate: &Facts) {
        let bytes = match self.fetch(self.http.get(url)).await {
            Ok(bytes) => bytes,
            Err(error) => return self.report.fail("crl", url, error, REACHABLE),
        };
        let parsed = SignedList::parse(&bytes).ok();
        let list = parsed
            .as_ref()
            .and_then(|list| CertificateRevocationList::from_der(&list.der).ok());
        let (Some(signed), Some((_, list))) = (&parsed, list) else {
            let detail = "what is served there is no revocation list";
            return self.report.fail("crl", url, detail, REACHABLE);
        };
        if list.issuer().as_raw() != certificate.issuer {
            let detail = format!("it is not of the issuer of {}", certificate.name);
            return self
                .report
                .fail("crl", url, detail, "serve the list of that issuer there");
        }
        if list
            .iter_revoked_certificates()
            .any(|it| it.raw_serial() == certificate.serial)
        {
            let detail = format!("{} is revoked", certificate.name);
            self.report.fail(
                "crl",
                url,
                detail,
                "issue another certificate if its holder is to go on",
            );
        }
        self.judge_list(url, signed.next_update);
    }

    pub(super) fn judge_list(&mut self, target: &str, next_update: UnixMs) {
        let end = relative(next_update, self.now);
        match next_update > self.now {
            true => self
                .report
                .ok("crl", target, format!("current, ends {end}")),
            false => {
                let detail =
                    format!("it ended {end}, and whoever checks it refuses every certificate");
                let remedy = "see that the registry runs and can sign; leafgate ca root-crl renews the root's";
                self.report.fail("crl", target, detail, remedy);
            }
        }
    }

    async fn check_ocsp(&mut self, url: &str, own: &Facts, issuer: &Facts, path: &str) {
        let request = self
            .http
            .post(url)
            .header("content-type", "application/ocsp-request");
        let bytes = match self.fetch(request.body(ocsp_request(own, issuer))).await {
            Ok(bytes) => bytes,
            Err(error) => return self.report.fail("ocsp", url, error, REACHABLE),
        };
        let name = &own.name;
        match ocsp_status(&bytes) {
            Some(Status::Good) => self.report.ok("ocsp", url, format!("{name} is good")),
            Some(Status::Revoked) => {
                let remedy = "issue another certificate if its holder is to go on";
                self.report
                    .fail("ocsp", url, format!("{name} is revoked"), remedy);
            }
            Some(Status::Unknown) => {
                let detail = format!("{name} ({}) is not known there", own.serial_number());
                let remedy = format!("is {path} a certificate of this registry?");
                self.report.fail("ocsp", url, detail, remedy);
            }
            Some(Status::Refused(code)) => {
                let detail = format!("it answers with OCSP status {code} (RFC 6960 section 4.2.1)");
                self.report
                    .fail("ocsp", url, detail, "the registry's log says why");
            }
            None => self
                .report
                .fail("ocsp", url, "what is answered there is not OCSP", REACHABLE),
        }
    }

    async fn fetch(&self, request: reqwest::RequestBuilder) -> Result<Vec<u8>, String> {
        let answer = request
            .send()
            .await
            .and_then(reqwest::Response::error_for_status);
        let answer = answer.map_err(|error| match error.status() {
            Some(status) => format!("it answers with {status}"),
            None => format!("no answer: {}", innermost(&error)),
        })?;
        let bytes = answer.bytes().await.map_err(|error| innermost(&error))?;
        Ok(bytes.to_vec())
    }
}

/// RFC 6960 section 4.1.1, for one certificate and without a nonce.
fn ocsp_request(own: &Facts, issuer: &Facts) -> Vec<u8> {
    let hash = |bytes: &[u8]| element(0x04, digest(&SHA256, bytes).as_ref());
    let id = [
        SHA256_ALGORITHM.to_vec(),
        hash(&issuer.subject),
        hash(&issuer.public_key),
        element(0x02, &own.serial),
    ];
    // Request, requestList, TBSRequest and OCSPRequest, one within the other.
    (0..5).fold(id.concat(), |content, _| element(0x30, &content))
}

#[derive(Debug, PartialEq, Eq)]
enum Status {
    Good,
    Revoked,
    Unknown,
    Refused(u8),
}

/// What the one SingleResponse of an OCSPResponse says (RFC 6960 section 4.2.1). Its signature is for those to check who
/// rely on it.
fn ocsp_status(der: &[u8]) -> Option<Status> {
    let (_, response, _) = split(der)?;
    let (_, code, rest) = split(response)?;
    match code {
        [0] => {}
        [code] => return Some(Status::Refused(*code)),
        _ => return None,
    }
    let (_, bytes, _) = split(rest)?;
    let (_, bytes, _) = split(bytes)?;
    let (_, _, basic) = split(bytes)?;
    let (_, basic, _) = split(basic)?;
    let (_, basic, _) = split(basic)?;
    let (_, mut data, _) = split(basic)?;
    // An optional version, the responder, and the time come before the responses.
    let responses = loop {
        let (tag, content, rest) = split(data)?;
        if tag == 0x30 {
            break content;
        }
        data = rest;
    };
    let (_, single, _) = split(responses)?;
    let (_, _, rest) = split(single)?;
    match split(rest)?.0 {
        0x80 => Some(Status::Good),
        0xa1 => Some(Status::Revoked),
        0x82 => Some(Status::Unknown),
        _ => None,
    }
}

/// Tag, content and what follows of the first element.
fn split(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match usize::from(*first) {
        short @ 0..0x80 => (short, rest),
        long => {
            let (octets, rest) = rest.split_at_checked(long - 0x80)?;
            if octets.is_empty() || octets.len() > 4 {
                return None;
            }
            let length = octets
                .iter()
                .fold(0, |sum, octet| (sum << 8) | usize::from(*octet));
            (length, rest)
        }
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

/// An element of less than 64 KiB.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let [.., high, low] = content.len().to_be_bytes();
    let head = match (high, low) {
        (0, 0..0x80) => vec![tag, low],
        (0, _) => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [head, content.to_vec()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_split_as_they_are_written() {
        for len in [0, 1, 127, 128, 255, 256, 40_000] {
            let content = vec![7; len];
            let der = [element(0x30, &content), vec![9]].concat();
            assert_eq!(split(&der), Some((0x30, &content[..], &[9][..])));
            assert_eq!(
                split(&der[..der.len() - 2]).is_some(),
                len == 0 && der.len() > 3
            );
        }
    }

    #[test]
    fn what_is_no_answer_is_none() {
        for wrong in [
            &b""[..],
            b"<html>",
            b"\x30\x80",
            b"\x30\x85\x01\x01\x01\x01\x01",
            b"\x30\x03\x0a\x01\x00",
        ] {
            assert_eq!(ocsp_status(wrong), None, "{wrong:?}");
        }
        // RFC 6960: tryLater.
        assert_eq!(
            ocsp_status(b"\x30\x03\x0a\x01\x03"),
            Some(Status::Refused(3))
        );
    }
}
