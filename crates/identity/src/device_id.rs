use crate::{
    Excerpt,
    serde_text::serde_as_text,
    token::{self, TokenProblem},
};
use std::{fmt, str::FromStr, sync::Arc};

/// The name of a device: one token of a NATS subject.
///
/// Spelling is exact: `a1` and `A1` are different ids, but a registry holds only one of them
/// (see [`DeviceId::folded`]). Clones share the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(Arc<str>);

impl DeviceId {
    /// Longest id, in characters. A CN pattern may leave less (see
    /// [`CnPattern::max_id_len`](crate::CnPattern::max_id_len)).
    pub const MAX_LEN: usize = token::MAX_LEN;

    /// What an id may look like, in words for people.
    pub const ALPHABET: &'static str = token::RULE;

    /// Parses an id: 1 to 64 of `A-Z a-z 0-9 _ -`, the first and the last a letter or digit.
    ///
    /// # Errors
    /// Says what about the text is not allowed.
    pub fn parse(text: &str) -> Result<Self, ParseDeviceIdError> {
        match token::check(text) {
            Ok(()) => Ok(Self(text.into())),
            Err(problem) => Err(ParseDeviceIdError {
                id: Excerpt::of(text),
                problem,
            }),
        }
    }

    /// The id as it is spelt.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id in ASCII lower case: what must be unique in a registry.
    pub fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl FromStr for DeviceId {
    type Err = ParseDeviceIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

serde_as_text!(DeviceId, "a device id");

/// A text is not a device id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("device id {id} {problem}")]
pub struct ParseDeviceIdError {
    /// The text.
    pub id: Excerpt,
    /// What is wrong with it.
    pub problem: TokenProblem,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> DeviceId {
        DeviceId::parse(text).expect("a device id")
    }

    #[test]
    fn keeps_the_spelling_and_folds_for_uniqueness() {
        let device = id("Pump_07-A");
        assert_eq!(device.as_str(), "Pump_07-A");
        assert_eq!(device.to_string(), "Pump_07-A");
        assert_eq!(device.folded(), "pump_07-a");
        assert_ne!(device, id("pump_07-a"));
        assert_eq!(format!("{device:>10}|"), " Pump_07-A|");
    }

    #[test]
    fn says_what_is_wrong() {
        let error = DeviceId::parse("a.>").expect_err("has a dot");
        assert_eq!(
            error.to_string(),
            format!(
                r#"device id "a.>" has "." at byte 1; {}"#,
                DeviceId::ALPHABET
            )
        );
    }

    #[test]
    fn deserializes_through_parse() {
        let device: DeviceId = serde_json::from_str(r#""0001""#).expect("an id");
        assert_eq!(device, id("0001"));
        assert_eq!(serde_json::to_string(&device).expect("JSON"), r#""0001""#);
        let error = serde_json::from_str::<DeviceId>(r#""a.b""#).expect_err("has a dot");
        assert!(error.to_string().contains(r#"device id "a.b" has ".""#));
        let error = serde_json::from_str::<DeviceId>("1").expect_err("a number");
        assert!(error.to_string().contains("expected a device id"));
    }

    #[test]
    fn clones_share_the_text() {
        let device = id("0001");
        assert!(std::ptr::eq(device.as_str(), device.clone().as_str()));
    }
}
