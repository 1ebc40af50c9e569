use leafgate_identity::UnixMs;

use crate::encoding::asn1_time;

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(crate) const ENUMERATED: u8 = 0x0a;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;

/// The tag `[number]` of a primitive value.
pub(crate) const fn context(number: u8) -> u8 {
    0x80 | number
}

/// The tag `[number]` of a constructed value.
pub(crate) const fn context_constructed(number: u8) -> u8 {
    0xa0 | number
}

/// A value of this tag whose content is the parts, one after the other.
pub(crate) fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length = parts.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(length + 10);
    push_header(&mut out, tag, length);
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// Tag and length of a value whose content follows elsewhere.
pub(crate) fn header(tag: u8, length: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(10);
    push_header(&mut out, tag, length);
    out
}

fn push_header(out: &mut Vec<u8>, tag: u8, length: usize) {
    out.push(tag);
    if length < 0x80 {
        out.push(length as u8);
        return;
    }
    let bytes = length.to_be_bytes();
    let significant = &bytes[length.leading_zeros() as usize / 8..];
    out.push(0x80 | significant.len() as u8);
    out.extend_from_slice(significant);
}

/// A positive INTEGER from its big-endian octets, of which there are fewer than 127.
pub(crate) fn push_integer(out: &mut Vec<u8>, magnitude: &[u8]) {
    let needs_sign = magnitude.first().is_none_or(|first| *first >= 0x80);
    out.push(INTEGER);
    out.push(magnitude.len() as u8 + u8::from(needs_sign));
    if needs_sign {
        out.push(0);
    }
    out.extend_from_slice(magnitude);
}

/// As RFC 5280 has dates in certificates and lists: UTCTime through 2049, then GeneralizedTime.
pub(crate) fn push_time(out: &mut Vec<u8>, at: UnixMs) {
    let digits = time_digits(at);
    if (1950..2050).contains(&asn1_time(at).year()) {
        out.extend_from_slice(&[UTC_TIME, digits.len() as u8 - 2]);
        out.extend_from_slice(&digits[2..]);
    } else {
        out.extend_from_slice(&[GENERALIZED_TIME, digits.len() as u8]);
        out.extend_from_slice(&digits);
    }
}

/// A GeneralizedTime to the second.
pub(crate) fn generalized_time(at: UnixMs) -> Vec<u8> {
    tlv(GENERALIZED_TIME, &[&time_digits(at)])
}

/// `YYYYMMDDHHMMSSZ`.
fn time_digits(at: UnixMs) -> [u8; 15] {
    let time = asn1_time(at);
    // UnixMs has no year before 0 or after 9999.
    let year = time.year().unsigned_abs();
    let mut digits = [b'Z'; 15];
    let pairs = [
        (year / 100) as u8,
        (year % 100) as u8,
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second(),
    ];
    for (pair, value) in digits.chunks_exact_mut(2).zip(pairs) {
        pair[0] = b'0' + value / 10;
        pair[1] = b'0' + value % 10;
    }
    digits
}

/// The second element of `SEQUENCE { signed, AlgorithmIdentifier, signature }`, which certificates,
/// requests and lists are.
pub(crate) fn signature_algorithm_of(signed: &[u8]) -> Option<Vec<u8>> {
    use pkcs8::der::{Reader, SliceReader};

    let mut reader = SliceReader::new(signed).ok()?;
    let algorithm = reader
        .sequence(|signed| {
            signed.tlv_bytes()?;
            let algorithm = signed.tlv_bytes()?;
            signed.tlv_bytes()?;
            Ok(algorithm)
        })
        .ok()?;
    Some(algorithm.to_vec())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lengths_take_the_fewest_octets() {
        for (length, expected) in [
            (0, &[0x30, 0x00][..]),
            (127, &[0x30, 0x7f]),
            (128, &[0x30, 0x81, 0x80]),
            (255, &[0x30, 0x81, 0xff]),
            (256, &[0x30, 0x82, 0x01, 0x00]),
            (65_536, &[0x30, 0x83, 0x01, 0x00, 0x00]),
        ] {
            assert_eq!(header(SEQUENCE, length), expected, "{length}");
        }
    }

    #[test]
    fn integers_are_positive_and_as_short_as_can_be() {
        for (magnitude, expected) in [
            (&[0x7f][..], &[0x02, 0x01, 0x7f][..]),
            (&[0x80], &[0x02, 0x02, 0x00, 0x80]),
            (&[0x01, 0x00], &[0x02, 0x02, 0x01, 0x00]),
            (&[], &[0x02, 0x01, 0x00]),
        ] {
            let mut out = Vec::new();
            push_integer(&mut out, magnitude);
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn dates_change_their_form_in_1950_and_2050() {
        for (secs, expected) in [
            (-631_152_001, &b"\x18\x0f19491231235959Z"[..]),
            (-631_152_000, b"\x17\x0d500101000000Z"),
            (1_772_366_400, b"\x17\x0d260301120000Z"),
            (2_524_607_999, b"\x17\x0d491231235959Z"),
            (2_524_608_000, b"\x18\x0f20500101000000Z"),
            (UnixMs::MAX.as_secs(), b"\x18\x0f99991231235959Z"),
            (UnixMs::MIN.as_secs(), b"\x18\x0f00000101000000Z"),
        ] {
            let mut out = Vec::new();
            push_time(&mut out, UnixMs::from_secs(secs));
            assert_eq!(out, expected, "{secs}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_by_another_reader(
            parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..4),
        ) {
            use pkcs8::der::{Decode, asn1::OctetStringRef};
            let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            let der = tlv(OCTET_STRING, &slices);
            let read = OctetStringRef::from_der(&der).unwrap();
            prop_assert_eq!(read.as_bytes(), parts.concat());
        }
    }
}
