use super::{DerProblem, ReadDerError};

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

const fn explicit(number: u8) -> u8 {
    0xa0 | number
}

/// What DER elements stand where, as in an ASN.1 module.
pub(super) enum Shape {
    /// A primitive element with one of these tags.
    Primitive(&'static [u8]),
    /// An element with this tag that holds exactly these, in this order.
    Fields(u8, &'static [Shape]),
    /// An element with this tag that holds any number of these.
    Repeated(u8, &'static Shape),
    /// This element, or none if another tag or the end follows.
    Optional(&'static Shape),
    /// Any one element with one of these tags, its content not looked into.
    Opaque(&'static [u8]),
    /// Any one element, its content not looked into.
    Any,
}

use Shape::{Any, Fields, Opaque, Optional, Primitive, Repeated};

/// RFC 5280, section 4.1: `Certificate`, version 3, with extensions and without the unique
/// identifiers that section 4.1.2.8 forbids.
pub(super) static CERTIFICATE: Shape = Fields(
    SEQUENCE,
    &[
        Fields(
            SEQUENCE,
            &[
                Fields(explicit(0), &[Primitive(&[INTEGER])]),
                Primitive(&[INTEGER]),
                ALGORITHM,
                NAME,
                Fields(SEQUENCE, &[TIME, TIME]),
                NAME,
                Fields(SEQUENCE, &[ALGORITHM, Primitive(&[BIT_STRING])]),
                Fields(explicit(3), &[Repeated(SEQUENCE, &EXTENSION)]),
            ],
        ),
        ALGORITHM,
        Primitive(&[BIT_STRING]),
    ],
);

const ALGORITHM: Shape = Fields(SEQUENCE, &[Primitive(&[OBJECT_IDENTIFIER]), Optional(&Any)]);

const NAME: Shape = Repeated(SEQUENCE, &Repeated(SET, &ATTRIBUTE));

const ATTRIBUTE: Shape = Fields(SEQUENCE, &[Primitive(&[OBJECT_IDENTIFIER]), Any]);

const TIME: Shape = Primitive(&[UTC_TIME, GENERALIZED_TIME]);

const EXTENSION: Shape = Fields(
    SEQUENCE,
    &[
        Primitive(&[OBJECT_IDENTIFIER]),
        Optional(&Primitive(&[BOOLEAN])),
        Primitive(&[OCTET_STRING]),
    ],
);

/// RFC 5280, section 4.2.1.9.
pub(super) static BASIC_CONSTRAINTS: Shape = Fields(
    SEQUENCE,
    &[
        Optional(&Primitive(&[BOOLEAN])),
        Optional(&Primitive(&[INTEGER])),
    ],
);

/// RFC 5280, section 4.2.1.3.
pub(super) static KEY_USAGE: Shape = Primitive(&[BIT_STRING]);

/// RFC 5280, section 4.2.1.12.
pub(super) static EXTENDED_KEY_USAGE: Shape = Repeated(SEQUENCE, &Primitive(&[OBJECT_IDENTIFIER]));

/// RFC 5280, section 4.2.1.6: the nine kinds of `GeneralName`.
pub(super) static SUBJECT_ALT_NAME: Shape = Repeated(
    SEQUENCE,
    &Opaque(&[0xa0, 0x81, 0x82, 0xa3, 0xa4, 0xa5, 0x86, 0x87, 0x88]),
);

/// Checks that the bytes are one element of this shape and nothing else.
///
/// DER in every element that the shape looks into: definite lengths in the shortest form, every
/// content filled exactly, and canonical BOOLEAN, INTEGER, BIT STRING, OBJECT IDENTIFIER and
/// times (RFC 5280, section 4.1.2.5).
pub(super) fn check(der: &[u8], shape: &Shape) -> Result<(), ReadDerError> {
    let mut reader = Reader { bytes: der, at: 0 };
    reader.skip(shape)?;
    reader.finish()
}

/// Counts the attributes of a `Name`, or nothing if the bytes are no whole `Name`.
pub(super) fn count_attributes(name: &[u8]) -> Option<usize> {
    check(name, &NAME).ok()?;
    let mut relative_names = Reader { bytes: name, at: 0 }.element().ok()?.content;
    let mut count = 0;
    while !relative_names.bytes.is_empty() {
        let mut attributes = relative_names.element().ok()?.content;
        while !attributes.bytes.is_empty() {
            attributes.element().ok()?;
            count += 1;
        }
    }
    Some(count)
}

/// Bytes not yet read, and how many stand before them.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

struct Element<'a> {
    tag: u8,
    content: Reader<'a>,
}

impl<'a> Reader<'a> {
    fn skip(&mut self, shape: &Shape) -> Result<(), ReadDerError> {
        if let Optional(inner) = shape {
            return match self.bytes.first() {
                Some(tag) if inner.allows(*tag) => self.skip(inner),
                _ => Ok(()),
            };
        }
        let at = self.at;
        let Element { tag, mut content } = self.element()?;
        if !shape.allows(tag) {
            let problem = DerProblem::Tag { found: tag };
            return Err(ReadDerError { at, problem });
        }
        match shape {
            Primitive(_) if is_canonical(tag, content.bytes) => Ok(()),
            Primitive(_) => Err(ReadDerError {
                at,
                problem: DerProblem::Content { tag },
            }),
            Fields(_, fields) => {
                for field in *fields {
                    content.skip(field)?;
                }
                content.finish()
            }
            Repeated(_, item) => {
                while !content.bytes.is_empty() {
                    content.skip(item)?;
                }
                Ok(())
            }
            Optional(_) | Opaque(_) | Any => Ok(()),
        }
    }

    fn element(&mut self) -> Result<Element<'a>, ReadDerError> {
        let at = self.at;
        let error = |problem| ReadDerError { at, problem };
        let truncated = || error(DerProblem::Truncated);
        let (&tag, rest) = self.bytes.split_first().ok_or_else(truncated)?;
        if tag & 0x1f == 0x1f {
            return Err(error(DerProblem::Tag { found: tag }));
        }
        let (&first, rest) = rest.split_first().ok_or_else(truncated)?;
        let (len, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            // No certificate that is read reaches the 16 MiB that need a fourth octet.
            0x81..=0x83 => {
                let octets = usize::from(first & 0x7f);
                let (octets, rest) = rest.split_at_checked(octets).ok_or_else(truncated)?;
                let len = octets
                    .iter()
                    .fold(0, |len, octet| len << 8 | usize::from(*octet));
                if len < 0x80 || octets[0] == 0 {
                    return Err(error(DerProblem::Length));
                }
                (len, rest)
            }
            _ => return Err(error(DerProblem::Length)),
        };
        let header = self.bytes.len() - rest.len();
        let (content, rest) = rest.split_at_checked(len).ok_or_else(truncated)?;
        self.bytes = rest;
        self.at = at + header + len;
        Ok(Element {
            tag,
            content: Reader {
                bytes: content,
                at: at + header,
            },
        })
    }

    fn finish(&self) -> Result<(), ReadDerError> {
        if self.bytes.is_empty() {
            Ok(())
        } else {
            Err(ReadDerError {
                at: self.at,
                problem: DerProblem::Surplus,
            })
        }
    }
}

impl Shape {
    fn allows(&self, tag: u8) -> bool {
        match self {
            Primitive(tags) | Opaque(tags) => tags.contains(&tag),
            Fields(expected, _) | Repeated(expected, _) => *expected == tag,
            Optional(inner) => inner.allows(tag),
            Any => true,
        }
    }
}

fn is_canonical(tag: u8, content: &[u8]) -> bool {
    match (tag, content) {
        (BOOLEAN, _) => matches!(content, [0x00 | 0xff]),
        (INTEGER, [0x00, second, ..]) => *second >= 0x80,
        (INTEGER, [0xff, second, ..]) => *second < 0x80,
        (INTEGER, _) => !content.is_empty(),
        (BIT_STRING, [unused, .., last]) => {
            *unused < 8 && last.trailing_zeros() >= u32::from(*unused)
        }
        (BIT_STRING, _) => content == [0],
        (OBJECT_IDENTIFIER, _) => is_canonical_oid(content),
        (UTC_TIME, _) => is_time(content, 12),
        (GENERALIZED_TIME, _) => is_time(content, 14),
        _ => true,
    }
}

/// Base-128 numbers, each complete and without leading zeros (X.690, section 8.19).
fn is_canonical_oid(content: &[u8]) -> bool {
    let ends = content.last().is_some_and(|octet| *octet < 0x80);
    let mut starts = true;
    let shortest = content.iter().all(|octet| {
        let allowed = !(starts && *octet == 0x80);
        starts = *octet < 0x80;
        allowed
    });
    ends && shortest
}

fn is_time(content: &[u8], digits: usize) -> bool {
    match content.split_last() {
        Some((b'Z', rest)) => rest.len() == digits && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(der: &[u8], shape: &Shape) -> Option<(usize, DerProblem)> {
        check(der, shape)
            .err()
            .map(|error| (error.at, error.problem))
    }

    #[test]
    fn reads_lengths_of_der_only() {
        let one = Opaque(&[OCTET_STRING]);
        let long = [&[0x04, 0x81, 0x80][..], &[0; 0x80]].concat();
        let longer = [&[0x04, 0x82, 0x01, 0x00][..], &[0; 0x100]].concat();
        for der in [&[0x04, 0x00][..], &[0x04, 0x01, 0xff], &long, &longer] {
            assert_eq!(problem(der, &one), None);
        }
        use DerProblem::{Length, Surplus, Tag, Truncated};
        for (der, expected) in [
            (&[][..], (0, Truncated)),
            (&[0x04], (0, Truncated)),
            (&[0x04, 0x01], (0, Truncated)),
            (&[0x04, 0x82, 0x01], (0, Truncated)),
            (&[0x04, 0x83, 0xff, 0xff, 0xff], (0, Truncated)),
            (&[0x04, 0x80, 0x00, 0x00], (0, Length)),
            (&[0x04, 0x81, 0x01, 0x00], (0, Length)),
            (&[0x04, 0x82, 0x00, 0x80], (0, Length)),
            (&[0x04, 0x84, 0x01, 0, 0, 0], (0, Length)),
            (&[0x04, 0xff], (0, Length)),
            (&[0x1f, 0x04, 0x00], (0, Tag { found: 0x1f })),
            (&[0x24, 0x00], (0, Tag { found: 0x24 })),
            (&[0x04, 0x01, 0x00, 0x00], (3, Surplus)),
        ] {
            assert_eq!(problem(der, &one), Some(expected), "{der:02x?}");
        }
    }

    #[test]
    fn reads_canonical_primitives_only() {
        for (tag, good, bad) in [
            (
                BOOLEAN,
                &[&[0x00][..], &[0xff]][..],
                &[&[][..], &[0x01], &[0xff, 0xff]][..],
            ),
            (
                INTEGER,
                &[&[0x00], &[0x7f], &[0x00, 0x80], &[0xff, 0x7f], &[0x80]],
                &[&[], &[0x00, 0x7f], &[0xff, 0x80], &[0x00, 0x00]],
            ),
            (
                BIT_STRING,
                &[&[0x00], &[0x00, 0xff], &[0x03, 0xf8]],
                &[&[], &[0x01], &[0x08, 0x00], &[0x03, 0x04]],
            ),
            (
                OBJECT_IDENTIFIER,
                &[
                    &[0x55, 0x04, 0x03],
                    &[0x2a],
                    &[0x2a, 0x86, 0x48],
                    &[0x81, 0x80, 0x00],
                ],
                &[&[], &[0x80, 0x55], &[0x55, 0x04, 0x80, 0x03], &[0x55, 0x84]],
            ),
            (
                UTC_TIME,
                &[b"260301120000Z"],
                &[
                    b"2603011200Z",
                    b"260301120000+0000",
                    b"260301120000",
                    b"26030112000xZ",
                ],
            ),
            (
                GENERALIZED_TIME,
                &[b"20260301120000Z"],
                &[b"20260301120000.5Z", b"260301120000Z", b"202603011200Z"],
            ),
        ] {
            for content in good {
                assert!(is_canonical(tag, content), "{tag:02x} {content:02x?}");
            }
            for content in bad {
                assert!(!is_canonical(tag, content), "{tag:02x} {content:02x?}");
            }
        }
    }

    #[test]
    fn tells_where_the_shape_ends() {
        use DerProblem::{Content, Surplus, Tag, Truncated};
        let bool_and_int = &BASIC_CONSTRAINTS;
        for (der, expected) in [
            (&[0x30, 0x00][..], None),
            (&[0x30, 0x03, 0x01, 0x01, 0xff], None),
            (&[0x30, 0x03, 0x02, 0x01, 0x00], None),
            (&[0x30, 0x06, 0x01, 0x01, 0xff, 0x02, 0x01, 0x00], None),
            (
                &[0x30, 0x03, 0x01, 0x01, 0x02],
                Some((2, Content { tag: 0x01 })),
            ),
            (
                &[0x30, 0x06, 0x02, 0x01, 0x00, 0x01, 0x01, 0xff],
                Some((5, Surplus)),
            ),
            (&[0x30, 0x02, 0x05, 0x00], Some((2, Surplus))),
            (&[0x30, 0x01, 0x01], Some((2, Truncated))),
            (&[0x31, 0x00], Some((0, Tag { found: 0x31 }))),
        ] {
            assert_eq!(problem(der, bool_and_int), expected, "{der:02x?}");
        }
        assert_eq!(
            problem(&[0x30, 0x02, 0xa2, 0x00], &SUBJECT_ALT_NAME),
            Some((2, Tag { found: 0xa2 }))
        );
    }

    #[test]
    fn counts_every_attribute() {
        let attribute = [0x30, 0x05, 0x06, 0x01, 0x2a, 0x05, 0x00];
        let two = [&[0x31, 0x0e][..], &attribute, &attribute].concat();
        let name = [&[0x30, 0x19][..], &[0x31, 0x07], &attribute, &two].concat();
        assert_eq!(count_attributes(&name), Some(3));
        assert_eq!(count_attributes(&[0x30, 0x00]), Some(0));
        assert_eq!(count_attributes(&name[..name.len() - 1]), None);
        assert_eq!(count_attributes(&[0x30, 0x02, 0x30, 0x00]), None);
    }
}
