//! Certificates in a CMS message that signs nothing: what EST (RFC 7030) hands certificates over in.

use crate::der::{INTEGER, OBJECT_IDENTIFIER, SEQUENCE, context_constructed, tlv};

const SET: u8 = 0x31;
/// id-signedData, 1.2.840.113549.1.7.2 (RFC 5652 section 5.1).
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
/// id-data, 1.2.840.113549.1.7.1 (RFC 5652 section 4).
const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
/// CMSVersion where all certificates are X.509 and nothing is signed (RFC 5652 section 5.1).
const VERSION: &[u8] = &[1];

/// The DER of a ContentInfo with a SignedData that has no content, no signers and these certificates, each given in DER
/// ("degenerate", RFC 5652 section 5.2; "certs-only", RFC 8551 section 3.8). The certificates are a set: they come out in
/// the order of their encodings, as DER has it (X.690 section 11.6).
pub fn certs_only<'a>(certificates: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut set: Vec<&[u8]> = certificates.into_iter().collect();
    set.sort_unstable();
    let nothing = tlv(SET, &[]);
    let content = tlv(SEQUENCE, &[&tlv(OBJECT_IDENTIFIER, &[DATA])]);
    let signed_data = tlv(
        SEQUENCE,
        &[
            &tlv(INTEGER, &[VERSION]),
            &nothing,
            &content,
            &tlv(context_constructed(0), &set),
            &nothing,
        ],
    );
    let content_type = tlv(OBJECT_IDENTIFIER, &[SIGNED_DATA]);
    let signed_data = tlv(context_constructed(0), &[&signed_data]);
    tlv(SEQUENCE, &[&content_type, &signed_data])
}
