//! The canonical form of JSON (RFC 8785), which event hashes are made of.

use serde_json::Value;

/// Up to here a double is exact, and its canonical form has no exponent.
const MAX_EXACT: u64 = 1 << 53;

/// The canonical form of a value.
pub(crate) fn to_string(value: &Value) -> String {
    if is_plain(value) {
        value.to_string()
    } else {
        serde_json_canonicalizer::to_string(value).expect("a JSON value holds finite numbers only")
    }
}

/// The canonical form of a text, which is that of `serde_json`: it escapes what must be and nothing else (section
/// 3.2.2.2).
pub(crate) fn text(text: &str) -> String {
    serde_json::to_string(text).expect("a text always has a JSON form")
}

/// Whether `serde_json`, which is faster, writes a value's canonical form: its members are in order (section 3.2.3:
/// of UTF-16 code units, which for ASCII is that of bytes), and its numbers integers that a double holds.
fn is_plain(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => true,
        Value::Number(number) => number
            .as_i64()
            .is_some_and(|integer| integer.unsigned_abs() <= MAX_EXACT),
        Value::Array(values) => values.iter().all(is_plain),
        Value::Object(members) => {
            members.keys().all(|name| name.is_ascii())
                && members.keys().is_sorted()
                && members.values().all(is_plain)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

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
        fn any_json_is_written_in_its_canonical_form(value in any_value()) {
            let expected = serde_json_canonicalizer::to_string(&value).unwrap();
            prop_assert_eq!(to_string(&value), expected);
            if let Value::String(alone) = &value {
                prop_assert_eq!(text(alone), to_string(&value));
            }
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
        assert_eq!(to_string(&value), expected);
    }

    #[test]
    fn texts_and_numbers_are_written_as_in_the_rfc() {
        let text = "\u{20ac}$\u{f}\nA'B\"\\\u{8}\t\u{c}\r/\u{7f}";
        assert_eq!(
            to_string(&json!(text)),
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
            assert_eq!(to_string(&number), expected);
        }
    }
}
