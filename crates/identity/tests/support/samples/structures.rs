//! The encoding of a certificate, its serial number and its times.

use super::{
    Expected::{Device, Form},
    Sample, leaf,
};
use crate::support::{
    chain,
    der::Node,
    issue::{Ca, NAME, device},
};

pub(super) fn structures() -> Vec<Sample> {
    let devices = Ca::devices();
    let bent =
        |file, expected, bend: fn(&mut Node)| leaf(file, expected, &devices.issue_bent(bend));
    let serial = |file, expected, content: &[u8]| {
        let der =
            devices.issue_bent(|tree| *tree.at(&[0, 1]) = Node::Primitive(0x02, content.to_vec()));
        leaf(file, expected, &der)
    };
    let not_after = |file, expected, tag: u8, content: &[u8]| {
        let der = devices
            .issue_bent(|tree| *tree.at(&[0, 4, 1]) = Node::Primitive(tag, content.to_vec()));
        leaf(file, expected, &der)
    };
    let valid = devices.issue(&device(NAME));
    let raw = |file, expected, change: fn(&mut Vec<u8>)| {
        let mut der = valid.clone();
        change(&mut der);
        // As text: the bytes need not be whole DER elements.
        let text = format!("{}\x0c{}", chain::pem(&der), chain::pem(&devices.der));
        Sample {
            file,
            bytes: text.into_bytes(),
            expected,
        }
    };
    vec![
        bent("version-1.der", Form("has the tag 0x02"), |tree| {
            tree.at(&[0]).children().remove(0);
        }),
        bent("version-2.der", Form("version is not 3"), |tree| {
            *tree.at(&[0, 0, 0]) = Node::Primitive(0x02, vec![1]);
        }),
        bent(
            "extensions-missing.der",
            Form("cut off or missing"),
            |tree| {
                tree.at(&[0]).children().truncate(7);
            },
        ),
        bent("unique-id.der", Form("has the tag 0x81"), |tree| {
            tree.at(&[0])
                .children()
                .insert(7, Node::Primitive(0x81, vec![0]));
        }),
        bent(
            "element-after-extensions.der",
            Form("is one too many"),
            |tree| {
                let second = tree.at(&[0, 7]).clone();
                tree.at(&[0]).children().push(second);
            },
        ),
        bent(
            "element-after-signature.der",
            Form("is one too many"),
            |tree| {
                tree.children().push(Node::Primitive(0x05, vec![]));
            },
        ),
        bent("boolean-not-canonical.der", Form("not canonical"), |tree| {
            let flag = Node::Primitive(0x01, vec![0x01]);
            tree.at(&[0, 7, 0, 0]).children().insert(1, flag);
        }),
        serial("serial-zero.der", Form("is zero"), &[0]),
        serial("serial-negative.der", Form("is negative"), &[0x80]),
        serial("serial-too-long.der", Form("21 octets"), &[1; 21]),
        serial("serial-not-shortest.der", Form("not canonical"), &[0, 1]),
        serial("serial-empty.der", Form("not canonical"), &[]),
        not_after(
            "validity-reversed.der",
            Form("no time at all"),
            0x17,
            b"251231235959Z",
        ),
        not_after(
            "time-month-13.der",
            Form("can't be read"),
            0x17,
            b"361301000000Z",
        ),
        not_after(
            "time-without-seconds.der",
            Form("not canonical"),
            0x17,
            b"3601010000Z",
        ),
        not_after(
            "time-offset.der",
            Form("not canonical"),
            0x17,
            b"360101000000+0100",
        ),
        not_after(
            "time-no-expiry.der",
            Device("0001"),
            0x18,
            b"99991231235959Z",
        ),
        raw("der-trailing-byte.txt", Form("is one too many"), |der| {
            der.push(0);
        }),
        raw("der-two-certificates.txt", Form("is one too many"), |der| {
            der.extend(der.clone());
        }),
        raw("der-cut-off.txt", Form("cut off or missing"), |der| {
            der.truncate(200);
        }),
        raw(
            "der-long-length.txt",
            Form("shortest definite form"),
            |der| {
                der.splice(1..2, [0x83, 0x00]);
            },
        ),
        raw(
            "der-indefinite-length.txt",
            Form("shortest definite form"),
            |der| {
                der.splice(1..4, [0x80]);
                der.extend([0, 0]);
            },
        ),
        raw("der-high-tag.txt", Form("has the tag 0x1f"), |der| {
            der[0] = 0x1f;
        }),
    ]
}
