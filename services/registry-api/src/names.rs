//! Names that a client got wrong, and those that it may have meant.

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::forward_to_deserialize_any;

/// The names of the fields of a struct as serde knows them; none for anything else.
pub(crate) fn fields_of<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    let mut fields: &'static [&'static str] = &[];
    // It never succeeds: the probe has nothing to give.
    let _ = T::deserialize(Probe(&mut fields));
    fields
}

struct Probe<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = serde::de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Self::Error> {
        Err(Error::custom("a probe"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        Err(Error::custom("a probe"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// Says that a name is not known, which may have been meant, and which there are.
pub(crate) fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    let name: String = name.chars().take(64).collect();
    if known.is_empty() {
        return format!("there is no {what} {name:?}: none is taken here");
    }
    let nearest = known
        .iter()
        .map(|candidate| (distance(&name, candidate), candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= 2);
    let meant = nearest.map_or_else(
        || ".".to_owned(),
        |(_, it)| format!("; did you mean {it:?}?"),
    );
    format!(
        "there is no {what} {name:?}{meant} Known are: {}",
        known.join(", ")
    )
}

/// How many characters have to be put in, taken out or replaced (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its names matter")]
    struct Sample {
        device_type: String,
        #[serde(default, rename = "where")]
        site: Option<String>,
    }

    #[test]
    fn the_fields_of_a_struct_are_those_that_serde_reads() {
        assert_eq!(fields_of::<Sample>(), ["device_type", "where"]);
        assert_eq!(fields_of::<String>(), [""; 0]);
    }

    #[test]
    fn the_nearest_name_is_offered_if_it_is_near() {
        let known = ["state", "site", "device_type"];
        let said = |name| unknown("query parameter", name, &known);
        assert_eq!(
            said("sate"),
            "there is no query parameter \"sate\"; did you mean \"state\"? Known are: state, site, device_type"
        );
        assert_eq!(
            said("colour"),
            "there is no query parameter \"colour\". Known are: state, site, device_type"
        );
        assert_eq!(
            unknown("field", "x", &[]),
            "there is no field \"x\": none is taken here"
        );
    }

    #[test]
    fn distances_count_edits() {
        for (a, b, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("site", "site", 0),
            ("sites", "site", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}
