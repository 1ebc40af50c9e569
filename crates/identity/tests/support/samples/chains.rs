//! Chains as a whole, and their PEM.

use super::{
    Expected::{Device, Form},
    Sample, links,
};
use crate::support::{
    chain,
    issue::{Ca, NAME, device},
};

pub(super) fn chains() -> Vec<Sample> {
    let devices = Ca::devices();
    let root = Ca::root();
    let plain = devices.issue(&device(NAME));
    let end_entity = Ca::devices().issue_bent(|tree| {
        // Bears the issuer's name without being a CA.
        let name = tree.at(&[0, 3]).clone();
        *tree.at(&[0, 5]) = name;
    });
    let nine: Vec<&[u8]> = [&plain[..]]
        .into_iter()
        .chain([&devices.der[..]; 8])
        .collect();
    vec![
        links("chain-empty.txt", Form("has 1 certificates"), &[]),
        links("chain-one.der", Form("has 1 certificates"), &[&plain]),
        links("chain-nine.der", Form("has 9 certificates"), &nine),
        links(
            "chain-other-issuer.der",
            Form("names another issuer"),
            &[&plain, &root.der],
        ),
        links(
            "chain-backwards.der",
            Form("names another issuer"),
            &[&devices.der, &plain],
        ),
        links(
            "chain-issuer-no-ca.der",
            Form("is no CA"),
            &[&plain, &end_entity],
        ),
        links(
            "chain-third-no-link.der",
            Form("certificate 2 of the chain names another issuer"),
            &[&plain, &devices.der, &devices.der],
        ),
        links(
            "chain-ca-as-device.der",
            Form("is a CA"),
            &[&devices.der, &root.der],
        ),
        links(
            "chain-second-no-der.der",
            Form("certificate 2 of the chain is not the DER"),
            &[&plain, &[0x30]],
        ),
    ]
}

pub(super) fn texts() -> Vec<Sample> {
    let devices = chain::pem(&Ca::devices().der);
    let device = chain::pem(&Ca::devices().issue(&device(NAME)));
    let text = |file, expected, first: &str| Sample {
        file,
        bytes: format!("{first}\x0c{devices}").into_bytes(),
        expected,
    };
    vec![
        text("pem-valid.txt", Device("0001"), &device),
        text("pem-without-newline.txt", Device("0001"), device.trim_end()),
        text("pem-empty.txt", Form("does not begin with"), ""),
        text(
            "pem-explained.txt",
            Form("does not begin with"),
            &format!("subject=CN = device\n{device}"),
        ),
        text(
            "pem-two-blocks.txt",
            Form("follows the end"),
            &format!("{device}{devices}"),
        ),
        text(
            "pem-blank-line-after.txt",
            Form("follows the end"),
            &format!("{device}\n"),
        ),
        text(
            "pem-headers.txt",
            Form("line 2 is not canonical base64"),
            &device.replacen('\n', "\nProc-Type: 4,ENCRYPTED\n\n", 1),
        ),
        text(
            "pem-request.txt",
            Form(r#"a block of "CERTIFICATE REQUEST""#),
            &device.replace("CERTIFICATE", "CERTIFICATE REQUEST"),
        ),
        text(
            "pem-trusted.txt",
            Form(r#"a block of "TRUSTED CERTIFICATE""#),
            &device.replace("CERTIFICATE", "TRUSTED CERTIFICATE"),
        ),
        text(
            "pem-cut-off.txt",
            Form("no line -----END"),
            device
                .trim_end()
                .trim_end_matches("-----END CERTIFICATE-----"),
        ),
        text(
            "pem-one-line.txt",
            Form("line 2 is not canonical base64"),
            &device
                .replace('\n', "")
                .replace("E-----M", "E-----\nM")
                .replace("-----END", "\n-----END"),
        ),
        text(
            "pem-not-certificate.txt",
            Form("is not the DER"),
            &chain::pem(b"no certificate"),
        ),
        text(
            "pem-control-bytes.txt",
            Form("line 2 is not canonical base64"),
            &device.replacen('\n', "\n\u{1b}[2J", 1),
        ),
    ]
}
