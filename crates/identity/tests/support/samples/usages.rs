//! What a certificate is for.

use super::{
    Expected::{Device, Form},
    Sample, extension, leaf,
};
use crate::support::issue::{Ca, NAME, device, device_with_sans, dns};
use rcgen::{CustomExtension, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose};

const EKU: &[u8] = &[0x55, 0x1d, 0x25];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];

pub(super) fn usages() -> Vec<Sample> {
    let devices = Ca::devices();
    let usage = |file, expected, purposes: &[ExtendedKeyUsagePurpose]| {
        let mut params = device(NAME);
        params.extended_key_usages = purposes.to_vec();
        leaf(file, expected, &devices.issue(&params))
    };
    let custom = |file, expected, extensions: &[CustomExtension]| {
        let mut params = device_with_sans(&[dns(NAME)]);
        params.custom_extensions = extensions.to_vec();
        leaf(file, expected, &devices.issue(&params))
    };
    let bent = |file, expected, oid: &[u8], content: &[u8]| {
        let der = devices.issue_bent(|tree| *extension(tree, oid) = content.to_vec());
        leaf(file, expected, &der)
    };
    let mut ca = device(NAME);
    ca.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let mut signs = device(NAME);
    signs.key_usages.push(KeyUsagePurpose::KeyCertSign);
    let mut signs_crls = device(NAME);
    signs_crls.key_usages.push(KeyUsagePurpose::CrlSign);
    let unknown = |critical| {
        let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![0x05, 0x00]);
        extension.set_criticality(critical);
        extension
    };
    let client_auth = vec![0x30, 0x0a, 0x06, 0x08, 0x2b, 6, 1, 5, 5, 7, 3, 2];
    let second_usage = CustomExtension::from_oid_content(&[2, 5, 29, 37], client_auth);
    let second_san = CustomExtension::from_oid_content(&[2, 5, 29, 17], vec![0x30, 0x00]);
    vec![
        leaf("ca-true.der", Form("is a CA"), &devices.issue(&ca)),
        leaf("key-cert-sign.der", Form("is a CA"), &devices.issue(&signs)),
        leaf("crl-sign.der", Form("is a CA"), &devices.issue(&signs_crls)),
        usage("eku-missing.der", Form("no extended key usage"), &[]),
        usage(
            "eku-server-only.der",
            Form("lacks clientAuth"),
            &[ExtendedKeyUsagePurpose::ServerAuth],
        ),
        usage(
            "eku-any-only.der",
            Form("lacks clientAuth"),
            &[ExtendedKeyUsagePurpose::Any],
        ),
        bent(
            "eku-trailing.der",
            Form("is one too many"),
            EKU,
            &[0x30, 0x00, 0x30, 0x00],
        ),
        bent(
            "eku-not-oid.der",
            Form("has the tag 0x0c"),
            EKU,
            &[0x30, 0x02, 0x0c, 0x00],
        ),
        bent(
            "key-usage-not-bits.der",
            Form("has the tag 0x04"),
            KEY_USAGE,
            &[0x04, 0x01, 0x80],
        ),
        custom("extension-unknown.der", Device("0001"), &[unknown(false)]),
        custom(
            "extension-critical.der",
            Form("critical extension \"1.2.3.4\""),
            &[unknown(true)],
        ),
        custom(
            "extension-twice-unknown.der",
            Form("\"1.2.3.4\" more than once"),
            &[unknown(false), unknown(false)],
        ),
        custom(
            "extension-twice-eku.der",
            Form("\"2.5.29.37\" more than once"),
            &[second_usage],
        ),
        custom(
            "extension-twice-san.der",
            Form("\"2.5.29.17\" more than once"),
            &[second_san],
        ),
    ]
}
