//! Just enough DER to take a certificate apart and put it together differently.

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OID: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// One element of this tag and content.
pub(super) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match content.len() {
        short @ 0..=0x7f => out.push(short as u8),
        long => {
            let bytes = long.to_be_bytes();
            let bytes = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
            out.push(0x80 | bytes.len() as u8);
            out.extend(bytes);
        }
    }
    out.extend(content);
    out
}

/// The elements within the constructed element that `der` begins with, each with its header.
pub(super) fn children(der: &[u8]) -> Vec<&[u8]> {
    let mut rest = split(der).0;
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (content, after) = split(rest);
        let header = rest.len() - content.len() - after.len();
        found.push(&rest[..header + content.len()]);
        rest = after;
    }
    found
}

/// The content of the first element, and what follows it.
fn split(der: &[u8]) -> (&[u8], &[u8]) {
    let (length, header) = match der[1] {
        short @ 0..=0x7f => (usize::from(short), 2),
        long => {
            let octets = usize::from(long & 0x7f);
            let length = der[2..2 + octets]
                .iter()
                .fold(0, |length, octet| length << 8 | usize::from(*octet));
            (length, 2 + octets)
        }
    };
    der[header..].split_at(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_every_length_come_apart_again() {
        for length in [0, 1, 127, 128, 255, 256, 65_536] {
            let inner = element(INTEGER, &vec![7; length]);
            let outer = element(SEQUENCE, &[inner.clone(), inner.clone()].concat());
            assert_eq!(children(&outer), [&inner[..], &inner[..]]);
        }
    }
}
