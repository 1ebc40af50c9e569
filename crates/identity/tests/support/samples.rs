//! One table of chains: what the tests expect of them, and the corpus of the fuzz target.

mod alternative_names;
mod chains;
pub(crate) mod common_names;
mod structures;
mod usages;

use super::{
    der::Node,
    issue::{Ca, NAME, device, device_with_sans, dns},
};
use rcgen::{DnType, DnValue, ExtendedKeyUsagePurpose, IsCa};

/// A chain as an input of the fuzz target.
pub(crate) struct Sample {
    /// File name in the corpus.
    pub(crate) file: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) expected: Expected,
}

/// What becomes of a sample under the default CN pattern. A text is part of the error or of its
/// sources.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expected {
    /// This device.
    Device(&'static str),
    /// A chain that names no device.
    Unresolved(&'static str),
    /// A malformed name.
    Name(&'static str),
    /// A malformed certificate or chain.
    Form(&'static str),
}

pub(crate) fn all() -> Vec<Sample> {
    [
        valid(),
        common_names::common_names(),
        alternative_names::alternative_names(),
        usages::usages(),
        structures::structures(),
        chains::chains(),
        chains::texts(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The content of an extension of a certificate.
fn extension<'a>(tree: &'a mut Node, oid: &[u8]) -> &'a mut Vec<u8> {
    let oid = Node::Primitive(0x06, oid.to_vec());
    let extensions = tree.at(&[0, 7, 0]).children();
    let found = extensions.iter_mut().find_map(|extension| {
        let fields = extension.children();
        (fields[0] == oid).then_some(fields)
    });
    match found.and_then(|fields| fields.last_mut()) {
        Some(Node::Primitive(0x04, content)) => content,
        other => panic!("not an extension: {other:?}"),
    }
}

/// A sample with this device certificate below the CA for devices.
fn leaf(file: &'static str, expected: Expected, der: &[u8]) -> Sample {
    links(file, expected, &[der, &Ca::devices().der])
}

fn links(file: &'static str, expected: Expected, ders: &[&[u8]]) -> Sample {
    Sample {
        file,
        bytes: ders.concat(),
        expected,
    }
}

fn valid() -> Vec<Sample> {
    let devices = Ca::devices();
    let plain = devices.issue(&device_with_sans(&[dns(NAME)]));
    let mut both_usages = device(NAME);
    both_usages
        .extended_key_usages
        .push(ExtendedKeyUsagePurpose::ServerAuth);
    let mut end_entity = device(NAME);
    end_entity.is_ca = IsCa::ExplicitNoCa;
    let mut organized = device(NAME);
    for (kind, value) in [
        (DnType::OrganizationName, "Pumps * and > valves"),
        (
            DnType::OrganizationalUnitName,
            "device-0002.device.synadia.local",
        ),
    ] {
        organized.distinguished_name.push(kind, value);
    }
    let longest = "device-abcdefghijklmnopqrstuvwxyz0123456789.device.synadia.local";
    vec![
        leaf("valid.der", Expected::Device("0001"), &plain),
        links(
            "valid-with-root.der",
            Expected::Device("0001"),
            &[&plain, &devices.der, &Ca::root().der],
        ),
        leaf(
            "valid-without-san.der",
            Expected::Device("0001"),
            &devices.issue(&device(NAME)),
        ),
        leaf(
            "valid-server-auth-too.der",
            Expected::Device("0001"),
            &devices.issue(&both_usages),
        ),
        leaf(
            "valid-explicit-no-ca.der",
            Expected::Device("0001"),
            &devices.issue(&end_entity),
        ),
        leaf(
            "valid-other-attributes.der",
            Expected::Device("0001"),
            &devices.issue(&organized),
        ),
        leaf(
            "valid-printable-string.der",
            Expected::Device("0001"),
            &devices.issue(&device(DnValue::PrintableString(
                NAME.try_into().expect("printable"),
            ))),
        ),
        leaf(
            "valid-underscore.der",
            Expected::Device("Pump_07-A"),
            &devices.issue(&device("device-Pump_07-A.device.synadia.local")),
        ),
        leaf(
            "valid-longest-id.der",
            Expected::Device("abcdefghijklmnopqrstuvwxyz0123456789"),
            &devices.issue(&device(longest)),
        ),
    ]
}
