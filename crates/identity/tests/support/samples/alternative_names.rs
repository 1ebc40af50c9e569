//! Subject alternative names.

use super::{
    Expected::{Form, Name},
    Sample, extension, leaf,
};
use crate::support::issue::{Ca, NAME, device_with_sans, dns};
use rcgen::{OtherNameValue, SanType};
use std::net::Ipv4Addr;

const SAN: &[u8] = &[0x55, 0x1d, 0x11];

pub(super) fn alternative_names() -> Vec<Sample> {
    let devices = Ca::devices();
    let names = |file, expected, sans: &[SanType]| {
        leaf(file, expected, &devices.issue(&device_with_sans(sans)))
    };
    let content = |file, expected, content: &[u8]| {
        let der = devices.issue_bent(|tree| *extension(tree, SAN) = content.to_vec());
        leaf(file, expected, &der)
    };
    let ia5 = |text: &str| text.try_into().expect("ASCII");
    let address = SanType::IpAddress(Ipv4Addr::LOCALHOST.into());
    let principal = SanType::OtherName((
        vec![1, 3, 6, 1, 4, 1, 311, 20, 2, 3],
        OtherNameValue::Utf8String(NAME.into()),
    ));
    let dns_name = |name: &[u8]| [&[0x82, name.len() as u8], name].concat();
    let in_sequence = |content: &[u8]| [&[0x30, content.len() as u8], content].concat();
    let good = dns_name(NAME.as_bytes());
    vec![
        names(
            "san-other-device.der",
            Name("differs from common name"),
            &[dns("device-0002.device.synadia.local")],
        ),
        names(
            "san-other-case.der",
            Name("differs from common name"),
            &[dns("Device-0001.device.synadia.local")],
        ),
        names(
            "san-final-dot.der",
            Name("differs from common name"),
            &[dns("device-0001.device.synadia.local.")],
        ),
        names(
            "san-wildcard.der",
            Name("differs from common name"),
            &[dns("*.device.synadia.local")],
        ),
        names(
            "san-two.der",
            Name("2 subject alternative names"),
            &[dns(NAME), dns("device-0002.device.synadia.local")],
        ),
        names(
            "san-same-twice.der",
            Name("2 subject alternative names"),
            &[dns(NAME), dns(NAME)],
        ),
        names(
            "san-ip.der",
            Name("iPAddress"),
            std::slice::from_ref(&address),
        ),
        names(
            "san-dns-and-ip.der",
            Name("2 subject alternative names"),
            &[dns(NAME), address],
        ),
        names(
            "san-uri.der",
            Name("URI"),
            &[SanType::URI(ia5("spiffe://synadia.local/0001"))],
        ),
        names(
            "san-email.der",
            Name("e-mail"),
            &[SanType::Rfc822Name(ia5("root@synadia.local"))],
        ),
        names("san-other-name.der", Name("otherName"), &[principal]),
        content(
            "san-none.der",
            Name("0 subject alternative names"),
            &in_sequence(&[]),
        ),
        content(
            "san-directory-name.der",
            Name("directoryName"),
            &in_sequence(&[0xa4, 0x02, 0x30, 0x00]),
        ),
        content(
            "san-registered-id.der",
            Name("registeredID"),
            &in_sequence(&[0x88, 0x01, 0x2a]),
        ),
        content(
            "san-not-utf8.der",
            Name("malformed name"),
            &in_sequence(&dns_name(b"\xff")),
        ),
        content(
            "san-constructed.der",
            Form("has the tag 0xa2"),
            &in_sequence(&[0xa2, 0x00]),
        ),
        content(
            "san-unknown-kind.der",
            Form("has the tag 0x89"),
            &in_sequence(&[0x89, 0x00]),
        ),
        content(
            "san-trailing.der",
            Form("is one too many"),
            &[&in_sequence(&good)[..], &[0x05, 0x00]].concat(),
        ),
        content("san-bare.der", Form("has the tag 0x82"), &good),
        content("san-empty.der", Form("cut off or missing"), &[]),
    ]
}
