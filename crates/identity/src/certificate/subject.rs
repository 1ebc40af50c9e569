use super::ParseCertificateError;
use crate::{
    Excerpt,
    cn_pattern::{MAX_COMMON_NAME_LEN, is_common_name_character},
};
use x509_parser::{
    asn1_rs::Tag,
    x509::{AttributeTypeAndValue, X509Name},
};

/// The one common name of a subject, fit for a device.
pub(super) fn common_name<'a>(subject: &X509Name<'a>) -> Result<&'a str, ParseCertificateError> {
    let mut values = subject
        .iter_common_name()
        .map(AttributeTypeAndValue::attr_value);
    let value = values
        .next()
        .ok_or(ParseCertificateError::CommonNameMissing)?;
    if let Some(second) = values.next() {
        return Err(ParseCertificateError::CommonNameRepeated {
            first: Excerpt::of_bytes(value.data),
            second: Excerpt::of_bytes(second.data),
        });
    }

    let encoding = |kind| ParseCertificateError::CommonNameEncoding {
        kind,
        cn: Excerpt::of_bytes(value.data),
    };
    let header = &value.header;
    let tag = value.tag();
    let readable = matches!(tag, Tag::Utf8String | Tag::PrintableString);
    if !readable || !header.is_universal() || header.is_constructed() {
        return Err(encoding(string_kind(tag)));
    }
    let cn = str::from_utf8(value.data).map_err(|_| encoding("string with bytes outside UTF-8"))?;
    check_text(cn)?;
    // After the text, so that a wildcard is called a wildcard.
    if tag == Tag::PrintableString && !cn.chars().all(is_printable_string_character) {
        return Err(encoding("PrintableString with other characters"));
    }
    Ok(cn)
}

fn check_text(cn: &str) -> Result<(), ParseCertificateError> {
    if let Some((at, found)) = cn
        .char_indices()
        .find(|(_, character)| !is_common_name_character(*character))
    {
        return Err(ParseCertificateError::CommonNameCharacter {
            cn: Excerpt::of(cn),
            found: Excerpt::of(found.encode_utf8(&mut [0; 4])),
            at,
        });
    }
    if cn.is_empty() || cn.len() > MAX_COMMON_NAME_LEN {
        return Err(ParseCertificateError::CommonNameLength {
            cn: Excerpt::of(cn),
            len: cn.len(),
        });
    }
    Ok(())
}

/// X.680, section 41.4.
fn is_printable_string_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || " '()+,-./:=?".contains(character)
}

fn string_kind(tag: Tag) -> &'static str {
    match tag {
        Tag::T61String => "T61String",
        Tag::BmpString => "BMPString",
        Tag::UniversalString => "UniversalString",
        Tag::Ia5String => "IA5String",
        Tag::NumericString => "NumericString",
        Tag::VisibleString => "VisibleString",
        Tag::GeneralString => "GeneralString",
        Tag::Utf8String | Tag::PrintableString => "constructed or tagged string",
        _ => "value of no known string type",
    }
}
