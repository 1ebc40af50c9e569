//! What an input of `parse_chain` means and what holds for each. The tests of leafgate-identity
//! run the corpus through this module too.

use data_encoding::BASE64;
use leafgate_identity::{
    Binding, CnPattern, DeviceIdentity, ParsedChain, ResolveIdentityError, SpkiHash, TrustDomain,
    TrustDomainName, TrustDomains, is_token, spki_hash_of_certificate_pem,
};
use std::error::Error;

const SEQUENCE: u8 = 0x30;

/// The PEM texts that an input stands for.
///
/// An input that begins with a DER SEQUENCE is certificates in DER, one after the other: so a
/// fuzzer reaches the certificates without having to find base64. Any other input is text, with
/// form feeds between the texts.
pub(crate) fn texts(data: &[u8]) -> Vec<String> {
    if data.first() == Some(&SEQUENCE) {
        split_elements(data).into_iter().map(pem).collect()
    } else {
        let text = String::from_utf8_lossy(data);
        text.split('\x0c').map(str::to_owned).collect()
    }
}

/// One certificate as nats-server writes it.
pub(crate) fn pem(der: &[u8]) -> String {
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in der.chunks(48) {
        text.extend([&BASE64.encode(line), "\n"]);
    }
    text + "-----END CERTIFICATE-----\n"
}

/// Runs an input and panics if something does not hold that must.
pub(crate) fn check(data: &[u8]) {
    let texts = texts(data);
    let chain = match ParsedChain::parse(&texts) {
        Ok(chain) => chain,
        Err(error) => return check_shown(&error),
    };
    let leaf = &chain.leaf;
    let common_name = leaf.common_name();
    assert!((1..=64).contains(&common_name.len()));
    assert!(common_name.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(!common_name.contains(['*', '>']));
    assert!(leaf.dns_san().is_none_or(|san| san == common_name));
    assert!(leaf.validity().contains(leaf.validity().not_before));
    assert!(leaf.validity().contains(leaf.validity().not_after));
    assert_eq!(spki_hash_of_certificate_pem(&texts[1]), Ok(chain.issuer));

    for pattern in [CnPattern::DEFAULT, "{id}", "a{id}", "{id}.local"] {
        let pattern = CnPattern::parse(pattern).expect("a pattern");
        match DeviceIdentity::resolve(&chain, &trust(chain.issuer, &pattern)) {
            Ok(identity) => {
                assert!(is_token(identity.id.as_str()));
                assert_eq!(pattern.render(&identity.id).as_deref(), Ok(common_name));
            }
            Err(error) => check_shown(&error),
        }
    }
    let stranger = SpkiHash::from_bytes([0; 32]);
    let resolved = DeviceIdentity::resolve(&chain, &trust(stranger, &CnPattern::default()));
    assert_eq!(
        resolved,
        Err(ResolveIdentityError::IssuerUnknown { spki: chain.issuer })
    );
}

fn trust(issuer: SpkiHash, cn_pattern: &CnPattern) -> TrustDomains {
    let domain = TrustDomain {
        name: TrustDomainName::parse("devices").expect("a name"),
        issuers: vec![issuer],
        cn_pattern: cn_pattern.clone(),
        binding: Binding::Chain,
    };
    TrustDomains::try_from(vec![domain]).expect("one domain")
}

/// Errors carry text of the certificate: none of it may break a log line or flood the log.
fn check_shown(error: &dyn Error) {
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        assert!(
            text.chars().all(|c| matches!(c, ' '..='~' | '…')),
            "{text:?}"
        );
        assert!(text.len() < 2000, "{} bytes: {text}", text.len());
        next = error.source();
    }
}

/// Splits after each whole DER element; what is no whole element is the last part.
fn split_elements(mut data: &[u8]) -> Vec<&[u8]> {
    let mut elements = Vec::new();
    while !data.is_empty() {
        let (element, rest) = data.split_at(element_len(data).unwrap_or(data.len()));
        elements.push(element);
        data = rest;
    }
    elements
}

fn element_len(data: &[u8]) -> Option<usize> {
    let first = usize::from(*data.get(1)?);
    let (header, content) = match first {
        0..=0x7f => (2, first),
        0x81..=0x83 => {
            let octets = data.get(2..2 + (first - 0x80))?;
            let len = octets
                .iter()
                .fold(0, |len, octet| len << 8 | usize::from(*octet));
            (2 + octets.len(), len)
        }
        _ => return None,
    };
    Some(header + content).filter(|len| *len <= data.len())
}
