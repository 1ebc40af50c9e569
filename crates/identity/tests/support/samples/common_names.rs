//! Common names.

use super::{
    Expected::{Form, Name, Unresolved},
    Sample, leaf,
};
use crate::support::{
    der::Node,
    issue::{Ca, NAME, device},
};
use rcgen::DnValue;

const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const OID_COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];

/// The value of the common name in a certificate: first attribute of the first relative name.
const COMMON_NAME: [usize; 5] = [0, 5, 0, 0, 1];

/// The device certificate with another value as common name and no subject alternative name.
pub(crate) fn with_common_name(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut tree = Node::parse(&Ca::devices().issue(&device(NAME)));
    *tree.at(&COMMON_NAME) = Node::Primitive(tag, content.to_vec());
    tree.encode()
}

fn attribute(content: &[u8]) -> Node {
    Node::Constructed(
        0x30,
        vec![
            Node::Primitive(0x06, OID_COMMON_NAME.to_vec()),
            Node::Primitive(UTF8_STRING, content.to_vec()),
        ],
    )
}

pub(super) fn common_names() -> Vec<Sample> {
    let devices = Ca::devices();
    let text = |file, expected, name: &str| leaf(file, expected, &devices.issue(&device(name)));
    let value = |file, expected, value| leaf(file, expected, &devices.issue(&device(value)));
    let content =
        |file, expected, tag, content: &[u8]| leaf(file, expected, &with_common_name(tag, content));
    let bent = |file, expected, bend: fn(&mut Vec<Node>)| {
        let der = devices.issue_bent(|tree| bend(tree.at(&[0, 5]).children()));
        leaf(file, expected, &der)
    };
    let ascii = "device-0001";
    let utf16: Vec<u8> = ascii.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let utf32: Vec<u8> = ascii
        .chars()
        .flat_map(|c| u32::from(c).to_be_bytes())
        .collect();
    vec![
        text(
            "cn-star.der",
            Name(r#"has "*" at byte 7"#),
            "device-*.device.synadia.local",
        ),
        text(
            "cn-gt.der",
            Name(r#"has ">" at byte 7"#),
            "device->.device.synadia.local",
        ),
        text("cn-full-wildcard.der", Name(r#"has ">" at byte 0"#), ">"),
        text(
            "cn-blank.der",
            Name(r#"has " " at byte 8"#),
            "device-a b.device.synadia.local",
        ),
        text(
            "cn-tab.der",
            Name(r#"has "\t" at byte 7"#),
            "device-\t.device.synadia.local",
        ),
        text(
            "cn-newline.der",
            Name(r#"has "\n" at byte 32"#),
            "device-0001.device.synadia.local\n",
        ),
        text(
            "cn-nul.der",
            Name(r#"has "\u{0}" at byte 32"#),
            "device-0001.device.synadia.local\0",
        ),
        text(
            "cn-escape.der",
            Name(r#"has "\u{1b}""#),
            "device-\u{1b}[2J.device.synadia.local",
        ),
        text(
            "cn-no-break-space.der",
            Name(r#"has "\u{a0}""#),
            "device-a\u{a0}b.device.synadia.local",
        ),
        text(
            "cn-cyrillic.der",
            Name(r#"has "\u{430}""#),
            "device-а.device.synadia.local",
        ),
        text(
            "cn-full-width-dot.der",
            Name(r#"has "\u{ff0e}""#),
            "device-a．b.device.synadia.local",
        ),
        text(
            "cn-bidi.der",
            Name(r#"has "\u{202e}""#),
            "device-\u{202e}a.device.synadia.local",
        ),
        text("cn-dollar.der", Name(r#"has "$""#), "$SYS"),
        text("cn-empty.der", Name("0 characters"), ""),
        text(
            "cn-too-long.der",
            Name("65 characters"),
            "device-abcdefghijklmnopqrstuvwxyz01234567890.device.synadia.local",
        ),
        text("cn-huge.der", Name("4000 characters"), &"a".repeat(4000)),
        text(
            "id-dot.der",
            Unresolved(r#"device id "a.b" has "." at byte 1"#),
            "device-a.b.device.synadia.local",
        ),
        text(
            "id-empty.der",
            Unresolved(r#"device id "" is empty"#),
            "device-.device.synadia.local",
        ),
        text(
            "id-hyphen.der",
            Unresolved(r#"device id "-a" begins or ends"#),
            "device--a.device.synadia.local",
        ),
        text(
            "id-at.der",
            Unresolved(r#"device id "a@b" has "@""#),
            "device-a@b.device.synadia.local",
        ),
        text(
            "id-foreign.der",
            Unresolved("does not match"),
            "server-0001.device.synadia.local",
        ),
        text(
            "id-other-case.der",
            Unresolved("does not match"),
            "Device-0001.device.synadia.local",
        ),
        text(
            "id-final-dot.der",
            Unresolved("does not match"),
            "device-0001.device.synadia.local.",
        ),
        value(
            "cn-bmp-string.der",
            Name("BMPString"),
            DnValue::BmpString(ascii.try_into().expect("BMP")),
        ),
        value(
            "cn-t61-string.der",
            Name("T61String"),
            DnValue::TeletexString(ascii.try_into().expect("T61")),
        ),
        value(
            "cn-universal-string.der",
            Name("UniversalString"),
            DnValue::UniversalString(ascii.try_into().expect("universal")),
        ),
        value(
            "cn-ia5-string.der",
            Name("IA5String"),
            DnValue::Ia5String(NAME.try_into().expect("ASCII")),
        ),
        content(
            "cn-numeric-string.der",
            Name("NumericString"),
            0x12,
            b"0001",
        ),
        content(
            "cn-octet-string.der",
            Name("no known string type"),
            0x04,
            NAME.as_bytes(),
        ),
        content(
            "cn-tagged-string.der",
            Name("constructed or tagged"),
            0x8c,
            NAME.as_bytes(),
        ),
        content(
            "cn-utf16-in-utf8-string.der",
            Name(r#"has "\u{0}" at byte 0"#),
            UTF8_STRING,
            &utf16,
        ),
        content(
            "cn-utf32-in-utf8-string.der",
            Name(r#"has "\u{0}" at byte 0"#),
            UTF8_STRING,
            &utf32,
        ),
        content(
            "cn-not-utf8.der",
            Name("bytes outside UTF-8"),
            UTF8_STRING,
            b"device-\xff",
        ),
        content(
            "cn-overlong-utf8.der",
            Name("bytes outside UTF-8"),
            UTF8_STRING,
            b"device-\xc0\xae",
        ),
        content(
            "cn-printable-star.der",
            Name(r#"has "*""#),
            PRINTABLE_STRING,
            b"device-*.device.synadia.local",
        ),
        content(
            "cn-printable-underscore.der",
            Name("PrintableString with other"),
            PRINTABLE_STRING,
            b"device-a_b.device.synadia.local",
        ),
        content(
            "cn-printable-not-utf8.der",
            Name("bytes outside UTF-8"),
            PRINTABLE_STRING,
            b"device-\xe9",
        ),
        bent(
            "cn-constructed.der",
            Name("constructed or tagged"),
            |names| {
                let part = Node::Primitive(UTF8_STRING, NAME.into());
                *names[0].at(&[0, 1]) = Node::Constructed(0x2c, vec![part]);
            },
        ),
        bent("cn-missing.der", Name("no common name"), Vec::clear),
        bent("cn-two.der", Name("more than one common name"), |names| {
            names.push(Node::Constructed(
                0x31,
                vec![attribute(b"device-0002.device.synadia.local")],
            ));
        }),
        bent(
            "cn-same-twice.der",
            Name("more than one common name"),
            |names| {
                names.push(names[0].clone());
            },
        ),
        bent(
            "cn-two-in-one-name.der",
            Name("more than one common name"),
            |names| {
                names[0]
                    .children()
                    .push(attribute(b"device-0002.device.synadia.local"));
            },
        ),
        bent(
            "cn-hidden-behind-other-element.der",
            Form("does not belong there"),
            |names| {
                names.push(Node::Constructed(0x30, vec![]));
                names.push(Node::Constructed(0x31, vec![attribute(b"*")]));
            },
        ),
        bent(
            "cn-hidden-behind-bad-attribute.der",
            Form("has the tag 0x05"),
            |names| {
                let broken = Node::Constructed(0x30, vec![Node::Primitive(0x05, vec![])]);
                names.push(Node::Constructed(0x31, vec![broken, attribute(b"*")]));
            },
        ),
        bent(
            "cn-hidden-in-attribute.der",
            Form("is one too many"),
            |names| {
                let second = Node::Primitive(UTF8_STRING, b"*".to_vec());
                names[0].at(&[0]).children().push(second);
            },
        ),
        bent("cn-oid-not-shortest.der", Form("not canonical"), |names| {
            let mut second = attribute(b"*");
            *second.at(&[0]) = Node::Primitive(0x06, vec![0x55, 0x04, 0x80, 0x03]);
            names.push(Node::Constructed(0x31, vec![second]));
        }),
    ]
}
