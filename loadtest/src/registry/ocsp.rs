use anyhow::{Context as _, Result, ensure};
use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64;
use hyper::Request;
use leafgate_identity::DeviceId;
use leafgate_pki::{EmbeddedCa, Issuer as _};
use leafgate_runtime::SystemClock;
use x509_parser::pem::parse_x509_pem;

use super::RegistryScale;
use super::database::{Database, Databases};
use super::fill::serial_of;
use super::report::{Goal, RegistryRow};
use crate::http::{Reply, Whole};
use crate::site::RegistryProcess;
use crate::usage::cpu_time;

const CONNECTIONS: usize = 32;

/// How many answers a second of CPU time is to give.
const GOAL_PER_CPU_S: f64 = 10_000.0;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
/// `SEQUENCE { OBJECT IDENTIFIER sha256 }`, parameters absent (RFC 5754 section 2).
const SHA256_ALGORITHM: [u8; 13] = [
    0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01,
];
/// `OBJECT IDENTIFIER id-pkix-ocsp-nonce`.
const NONCE: [u8; 11] = [
    0x06, 0x09, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x02,
];
/// `OCSPResponseStatus successful` (RFC 6960 section 4.2.1).
const SUCCESSFUL: [u8; 3] = [0x0a, 1, 0];
/// `CertStatus good` and the tag of `revoked`.
const GOOD: [u8; 2] = [0x80, 0];
const REVOKED: u8 = 0xa1;

/// A certificate whose status is asked for.
struct Question {
    cert_id: Vec<u8>,
    is_revoked: bool,
}

/// Asks for the status of certificates, a tenth of them revoked: for the first time, again, and with a nonce.
pub(super) async fn measure(
    clock: &SystemClock,
    databases: &Databases,
    large: &Database,
    service: &RegistryProcess,
    issuer: &EmbeddedCa,
    ids: &[DeviceId],
    scale: &RegistryScale,
) -> Result<Vec<RegistryRow>> {
    let questions = questions(issuer, ids, scale.revoked, scale.ocsp)?;
    let get = |question: &Question| {
        let path = BASE64.encode(&request(&question.cert_id, None));
        let path = path
            .replace('+', "%2B")
            .replace('/', "%2F")
            .replace('=', "%3D");
        Request::get(format!("/ocsp/{path}"))
            .header("host", "localhost")
            .body(Whole::empty())
    };
    let post = |question: &Question| {
        let nonce = digest(&SHA256, &question.cert_id);
        Request::post("/ocsp")
            .header("host", "localhost")
            .header("content-type", "application/ocsp-request")
            .body(Whole::new(request(&question.cert_id, Some(nonce.as_ref()))))
    };
    let mut rows = Vec::new();
    let process = service.process()?;
    for (what, with_nonce, goal) in [
        (
            "asked for the first time",
            false,
            Goal::AtLeast(GOAL_PER_CPU_S),
        ),
        ("asked again", false, Goal::AtLeast(GOAL_PER_CPU_S)),
        ("with a nonce", true, Goal::AtLeast(GOAL_PER_CPU_S)),
    ] {
        let requests = questions.iter().map(|question| match with_nonce {
            true => post(question),
            false => get(question),
        });
        let requests = requests.collect::<Result<Vec<_>, _>>()?;
        let (before, database_before) = (cpu_time(process)?, databases.cpu_time());
        let replies = service.status.run(clock, requests, CONNECTIONS).await?;
        let used = (cpu_time(process)? - before).as_secs_f64();
        let of_database = databases.cpu_time().saturating_sub(database_before);
        for (question, reply) in questions.iter().zip(&replies.replies) {
            check(question, reply)?;
        }
        let answers = replies.replies.len() as f64;
        let row = |unit: &str, figure, goal| RegistryRow {
            store: Some(large.kind()),
            what: format!("OCSP {what}, {unit}"),
            leafgate: figure,
            beside: None,
            digits: 0,
            goal,
        };
        rows.push(row("answers per CPU s", answers / used, goal));
        rows.push(row(
            "answers/s",
            answers / replies.elapsed.as_secs_f64(),
            Goal::None,
        ));
        if !of_database.is_zero() {
            rows.push(row(
                "CPU µs of the database for an answer",
                of_database.as_secs_f64() * 1e6 / answers,
                Goal::None,
            ));
        }
    }
    Ok(rows)
}

/// As many certificates as are to be asked for, a tenth of them revoked where so many are.
fn questions(
    issuer: &EmbeddedCa,
    ids: &[DeviceId],
    revoked: usize,
    count: usize,
) -> Result<Vec<Question>> {
    let (_, pem) = parse_x509_pem(issuer.certificate_pem().as_bytes())?;
    let certificate = pem.parse_x509()?;
    let name = tlv(
        OCTET_STRING,
        &[digest(&SHA256, certificate.subject().as_raw()).as_ref()],
    );
    let key = &certificate.public_key().subject_public_key.data;
    let key = tlv(OCTET_STRING, &[digest(&SHA256, key).as_ref()]);
    let every = ids.len() / revoked;
    let places = (0..ids.len()).step_by((ids.len() / count).max(1));
    places
        .take(count)
        .enumerate()
        .map(|(number, place)| {
            // Devices whose certificates are revoked lie evenly among the others.
            let place = match number % 10 {
                0 => place / every * every,
                _ if place % every == 0 => (place + 1).min(ids.len() - 1),
                _ => place,
            };
            let serial = serial_of(ids[place].as_str())?;
            let serial = tlv(INTEGER, &[serial.as_be_bytes()]);
            Ok(Question {
                cert_id: tlv(SEQUENCE, &[&SHA256_ALGORITHM, &name, &key, &serial]),
                is_revoked: place % every == 0,
            })
        })
        .collect()
}

/// An OCSPRequest (RFC 6960 section 4.1.1) about one certificate.
fn request(cert_id: &[u8], nonce: Option<&[u8]>) -> Vec<u8> {
    let list = tlv(SEQUENCE, &[&tlv(SEQUENCE, &[cert_id])]);
    let extensions = nonce.map(|nonce| {
        let value = tlv(OCTET_STRING, &[&tlv(OCTET_STRING, &[nonce])]);
        let extension = tlv(SEQUENCE, &[&NONCE, &value]);
        tlv(0xa2, &[&tlv(SEQUENCE, &[&extension])])
    });
    let extensions = extensions.unwrap_or_default();
    tlv(SEQUENCE, &[&tlv(SEQUENCE, &[&list, &extensions])])
}

/// An element of DER whose content is shorter than 256 bytes.
fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut der = vec![tag];
    if length >= 0x80 {
        der.push(0x81);
    }
    der.push(u8::try_from(length).expect("requests about one certificate are short"));
    parts.iter().for_each(|part| der.extend_from_slice(part));
    der
}

/// Whether an answer tells just what the registry holds of the certificate.
fn check(question: &Question, reply: &Reply) -> Result<()> {
    let told = || {
        format!(
            "{} {}",
            reply.status,
            data_encoding::HEXLOWER.encode(&reply.body)
        )
    };
    ensure!(
        reply.status == 200 && contains(&reply.body, &SUCCESSFUL).is_some(),
        told()
    );
    let at = contains(&reply.body, &question.cert_id).with_context(told)?;
    let status = &reply.body[at + question.cert_id.len()..];
    let is_right = match question.is_revoked {
        true => status.first() == Some(&REVOKED),
        false => status.starts_with(&GOOD),
    };
    ensure!(
        is_right,
        "revoked: {}, told: {}",
        question.is_revoked,
        told()
    );
    Ok(())
}

fn contains(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hyper::StatusCode;
    use leafgate_identity::UnixMs;
    use leafgate_pki::{Intermediate, IssuerHashes, OcspRequest, RootKey};

    use super::*;
    use crate::registry::device_ids;

    #[test]
    fn requests_are_what_responders_read() {
        let folder = tempfile::tempdir().unwrap();
        let now = UnixMs::from_secs(1_790_000_000);
        let ca = leafgate_pki::init(&folder.path().join("ca"), RootKey::DevPlain, now).unwrap();
        let issuer = ca.load(Intermediate::Devices).unwrap();
        let ids = device_ids(1_000).unwrap();
        let questions = questions(&issuer, &ids, 100, 200).unwrap();
        let revoked = questions.iter().filter(|question| question.is_revoked);
        assert_eq!((questions.len(), revoked.count()), (200, 20));

        let hashes = IssuerHashes::of_certificate_pem(issuer.certificate_pem()).unwrap();
        for nonce in [None, Some(&[7; 32][..])] {
            let read = OcspRequest::parse(&request(&questions[3].cert_id, nonce)).unwrap();
            assert_eq!(read.nonce.is_some(), nonce.is_some());
            assert_eq!(read.cert_ids.len(), 1);
            assert_eq!(read.cert_ids[0].as_der(), questions[3].cert_id);
            assert!(hashes.named_by(&read.cert_ids[0]));
        }
    }

    #[test]
    fn an_answer_about_another_certificate_or_of_another_status_is_wrong() {
        let question = |is_revoked| Question {
            cert_id: vec![1, 2, 3],
            is_revoked,
        };
        let reply = |after: &[u8]| Reply {
            status: StatusCode::OK,
            body: Bytes::from([&SUCCESSFUL, after].concat()),
        };
        for (told, is_revoked, is_right) in [
            (&[1, 2, 3, 0x80, 0][..], false, true),
            (&[1, 2, 3, 0xa1, 17], true, true),
            (&[1, 2, 3, 0xa1, 17], false, false),
            (&[1, 2, 3, 0x80, 0], true, false),
            (&[1, 2, 3, 0x82, 0], false, false),
            (&[1, 2, 4, 0x80, 0], false, false),
        ] {
            let checked = check(&question(is_revoked), &reply(told));
            assert_eq!(checked.is_ok(), is_right, "{told:?} {is_revoked}");
        }
    }
}
