use proptest::prelude::*;

use super::*;
use crate::der::{context_constructed, tlv};

const SEQUENCE: u8 = 0x30;
const OCTET_STRING: u8 = 0x04;
const INTEGER: u8 = 0x02;
const BOOLEAN: u8 = 0x01;
const OID: u8 = 0x06;
const SHA1_OID: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];
const NONCE_OID: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x02];
/// What OpenSSL asks of two certificates.
const OF_OPENSSL: &[u8] = include_bytes!("../../../tests/fixtures/request.ocsp.der");
const OTHER_OID: &[u8] = &[0x2a, 0x03, 0x04];

fn seq(parts: &[&[u8]]) -> Vec<u8> {
    tlv(SEQUENCE, parts)
}

fn cert_id(serial: &[u8]) -> Vec<u8> {
    let algorithm = seq(&[&tlv(OID, &[SHA1_OID]), &[5, 0]]);
    let hash = tlv(OCTET_STRING, &[&[7; 20]]);
    seq(&[&algorithm, &hash, &hash, &tlv(INTEGER, &[serial])])
}

fn extension(oid: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical {
        tlv(BOOLEAN, &[&[0xff]])
    } else {
        Vec::new()
    };
    seq(&[&tlv(OID, &[oid]), &critical, &tlv(OCTET_STRING, &[value])])
}

fn extensions(tag: u8, list: &[&[u8]]) -> Vec<u8> {
    tlv(context_constructed(tag), &[&seq(list)])
}

fn nonce(length: usize) -> Vec<u8> {
    tlv(OCTET_STRING, &[&vec![9; length]])
}

/// An OCSPRequest with these parts of its TBSRequest.
fn request(parts: &[&[u8]]) -> Vec<u8> {
    seq(&[&seq(parts)])
}

/// An OCSPRequest for one certificate with these extensions.
fn request_with(list: &[&[u8]]) -> Vec<u8> {
    let single = seq(&[&cert_id(&[1])]);
    request(&[&seq(&[&single]), &extensions(2, list)])
}

fn parse(der: &[u8]) -> Result<OcspRequest, ParseOcspRequestError> {
    OcspRequest::parse(der)
}

#[test]
fn takes_every_optional_part() {
    let singles = [
        seq(&[&cert_id(&[1])]),
        seq(&[
            &cert_id(&[2]),
            &extensions(0, &[&extension(OTHER_OID, false, &[])]),
        ]),
    ];
    let list = seq(&[&singles[0], &singles[1]]);
    let version = tlv(context_constructed(0), &[&VERSION_1]);
    let requestor = tlv(context_constructed(1), &[&tlv(0x82, &[b"me"])]);
    let both = [
        extension(OTHER_OID, false, b"x"),
        extension(NONCE_OID, true, &nonce(8)),
    ];
    let tbs = seq(&[
        &version,
        &requestor,
        &list,
        &extensions(2, &[&both[0], &both[1]]),
    ]);
    let signature = tlv(context_constructed(0), &[&seq(&[])]);
    let read = parse(&seq(&[&tbs, &signature])).unwrap();
    let serials: Vec<_> = read.cert_ids.iter().map(|id| id.serial()).collect();
    let expected = [1, 2].map(|serial| SerialNumber::from_be_bytes(&[serial]).ok());
    assert_eq!(serials, expected);
    assert_eq!(read.cert_ids[1].as_der(), cert_id(&[2]));
    assert_eq!(read.nonce.unwrap().as_der(), nonce(8));
}

#[test]
fn takes_nonces_of_1_to_128_octets() {
    for (length, fits) in [(0, false), (1, true), (32, true), (128, true), (129, false)] {
        let read = parse(&request_with(&[&extension(
            NONCE_OID,
            false,
            &nonce(length),
        )]));
        match read {
            Ok(read) => assert!(fits && read.nonce.is_some(), "{length}"),
            Err(refused) => {
                assert!(!fits, "{length}");
                assert_eq!(refused, ParseOcspRequestError::Nonce { length });
            }
        }
    }
}

#[test]
fn refuses_a_nonce_that_is_no_octet_string_or_comes_twice() {
    let bare = extension(NONCE_OID, false, &[1, 2, 3]);
    let one = extension(NONCE_OID, false, &nonce(8));
    for list in [&[&bare[..]][..], &[&one, &one]] {
        let refused = parse(&request_with(list)).unwrap_err();
        assert_eq!(refused, ParseOcspRequestError::Malformed);
    }
}

#[test]
fn refuses_critical_extensions_that_it_does_not_know() {
    let critical = extension(OTHER_OID, true, &[]);
    let of_one = seq(&[&cert_id(&[1]), &extensions(0, &[&critical])]);
    for der in [request_with(&[&critical]), request(&[&seq(&[&of_one])])] {
        let refused = parse(&der).unwrap_err();
        let oid = Oid::new_unwrap("1.2.3.4");
        assert_eq!(refused, ParseOcspRequestError::CriticalExtension { oid });
    }
}

#[test]
fn refuses_more_than_it_would_look_up() {
    let single = seq(&[&cert_id(&[1])]);
    let many = |count| request(&[&seq(&vec![&single[..]; count])]);
    assert_eq!(parse(&many(MAX_OCSP_CERT_IDS)).unwrap().cert_ids.len(), 16);
    let refused = parse(&many(MAX_OCSP_CERT_IDS + 1)).unwrap_err();
    assert_eq!(refused, ParseOcspRequestError::TooMany);
    let bytes = MAX_OCSP_REQUEST_BYTES + 1;
    let refused = parse(&vec![0x30; bytes]).unwrap_err();
    assert_eq!(refused, ParseOcspRequestError::TooLong { bytes });
}

#[test]
fn refuses_what_is_no_request() {
    let single = seq(&[&cert_id(&[1])]);
    let list = seq(&[&single]);
    let good = request(&[&list]);
    let version_2 = tlv(context_constructed(0), &[&[INTEGER, 1, 1]]);
    for der in [
        Vec::new(),
        b"GET / HTTP/1.1".to_vec(),
        good[..good.len() - 1].to_vec(),
        [&good[..], &[0]].concat(),
        request(&[&seq(&[])]),
        request(&[]),
        seq(&[]),
        request(&[&version_2, &list]),
        request(&[&list, &list]),
        request(&[&seq(&[&seq(&[&cert_id(&[])])])]),
        request(&[&seq(&[&seq(&[&cert_id(&[0, 1])])])]),
        request(&[&seq(&[&seq(&[&cert_id(&[1]), &cert_id(&[1])])])]),
        // Indefinite and over-long lengths are no DER.
        [&[0x30, 0x80], &good[2..], &[0, 0]].concat(),
        [&[0x30, 0x82, 0x00, good[1]], &good[2..]].concat(),
    ] {
        assert_eq!(
            parse(&der),
            Err(ParseOcspRequestError::Malformed),
            "{der:x?}"
        );
    }
}

#[test]
fn a_serial_number_that_no_certificate_can_have_is_read_as_none() {
    let too_long = [&[1][..], &[0; 20]].concat();
    for serial in [&[0][..], &[0x80], &[0xff], &too_long] {
        let read = parse(&request(&[&seq(&[&seq(&[&cert_id(serial)])])])).unwrap();
        assert_eq!(read.cert_ids[0].serial(), None, "{serial:x?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(der in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse(&der);
    }

    #[test]
    fn no_mutation_of_a_request_makes_it_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let whole = parse(OF_OPENSSL).unwrap();
        prop_assert_eq!((whole.cert_ids.len(), whole.nonce.is_some()), (2, true));
        let mut der = OF_OPENSSL.to_vec();
        for (at, byte) in changes {
            let at = at.index(der.len());
            der[at] = byte;
        }
        if let Ok(read) = parse(&der) {
            prop_assert!((1..=2).contains(&read.cert_ids.len()));
        }
        der.truncate(cut.index(der.len()));
        prop_assert!(parse(&der).is_err());
    }
}
