//! The canonical form of JSON (RFC 8785), which event hashes are made of.

use serde_json::{Map, Number, Value};

/// Up to here a double is exact, and its canonical form has no exponent.
const MAX_EXACT: u64 = 1 << 53;

pub(crate) fn push_value(json: &mut String, value: &Value) {
    match value {
        Value::Null => json.push_str("null"),
        Value::Bool(true) => json.push_str("true"),
        Value::Bool(false) => json.push_str("false"),
        Value::Number(number) => push_number(json, number),
        Value::String(text) => push_text(json, text),
        Value::Array(values) => {
            json.push('[');
            for (place, value) in values.iter().enumerate() {
                if place > 0 {
                    json.push(',');
                }
                push_value(json, value);
            }
            json.push(']');
        }
        Value::Object(members) => push_object(json, members),
    }
}

/// Members are ordered by the UTF-16 code units of their names (section 3.2.3).
fn push_object(json: &mut String, members: &Map<String, Value>) {
    let mut members: Vec<_> = members.iter().collect();
    members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
    json.push('{');
    for (place, (name, value)) in members.into_iter().enumerate() {
        if place > 0 {
            json.push(',');
        }
        push_text(json, name);
        json.push(':');
        push_value(json, value);
    }
    json.push('}');
}

/// Quotes a text, and escapes what must be and nothing else (section 3.2.2.2).
pub(crate) fn push_text(json: &mut String, text: &str) {
    json.push('"');
    let mut rest = text;
    while let Some(place) = rest.find(|it: char| it < ' ' || it == '"' || it == '\\') {
        json.push_str(&rest[..place]);
        let escaped = rest.as_bytes()[place];
        match escaped {
            b'"' => json.push_str("\\\""),
            b'\\' => json.push_str("\\\\"),
            0x08 => json.push_str("\\b"),
            b'\t' => json.push_str("\\t"),
            b'\n' => json.push_str("\\n"),
            0x0c => json.push_str("\\f"),
            b'\r' => json.push_str("\\r"),
            control => json.push_str(&format!("\\u{control:04x}")),
        }
        rest = &rest[place + 1..];
    }
    json.push_str(rest);
    json.push('"');
}

/// Writes a number as a double is written (section 3.2.2.3).
pub(crate) fn push_number(json: &mut String, number: &Number) {
    let canonical = match number.as_i64() {
        Some(integer) if integer.unsigned_abs() <= MAX_EXACT => integer.to_string(),
        _ => serde_json_canonicalizer::to_string(number)
            .expect("a JSON value holds finite numbers only"),
    };
    json.push_str(&canonical);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn canonical(value: &Value) -> String {
        let mut json = String::new();
        push_value(&mut json, value);
        json
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_json_is_written_as_another_implementation_does(value in any_value()) {
            let expected = serde_json_canonicalizer::to_string(&value).unwrap();
            prop_assert_eq!(canonical(&value), expected);
        }
    }

    /// Section 3.2.3 orders U+FB33 after U+1F600, whose UTF-8 is greater: its surrogates are not.
    #[test]
    fn the_example_of_the_rfc_is_sorted_as_there() {
        let value = json!({
            "\u{20ac}": "Euro Sign", "\r": "Carriage Return", "\u{fb33}": "Hebrew Letter Dalet With Dagesh",
            "1": "One", "\u{1f600}": "Emoji: Grinning Face", "\u{80}": "Control", "\u{f6}": "Latin Small Letter O With Diaeresis",
        });
        let expected = "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u{80}\":\"Control\",\
             \"\u{f6}\":\"Latin Small Letter O With Diaeresis\",\"\u{20ac}\":\"Euro Sign\",\
             \"\u{1f600}\":\"Emoji: Grinning Face\",\"\u{fb33}\":\"Hebrew Letter Dalet With Dagesh\"}";
        assert_eq!(canonical(&value), expected);
    }

    #[test]
    fn texts_and_numbers_are_written_as_in_the_rfc() {
        let text = "\u{20ac}$\u{f}\nA'B\"\\\u{8}\t\u{c}\r/\u{7f}";
        assert_eq!(
            canonical(&json!(text)),
            "\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\b\\t\\f\\r/\u{7f}\""
        );
        for (number, expected) in [
            (json!(-0.0), "0"),
            (json!(1e21), "1e+21"),
            (json!(1e20), "100000000000000000000"),
            (json!(4.5), "4.5"),
            (json!(0.002), "0.002"),
            (json!(1_u64 << 53), "9007199254740992"),
            (json!((1_u64 << 53) + 1), "9007199254740992"),
            (json!(u64::MAX), "18446744073709552000"),
            (json!(i64::MIN), "-9223372036854776000"),
        ] {
            assert_eq!(canonical(&number), expected);
        }
    }
}
