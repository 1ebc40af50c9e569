use crate::{DeviceId, Excerpt, ParseDeviceIdError, is_token, serde_text::serde_as_text, token};
use std::{fmt, str::FromStr, sync::Arc};

/// Longest common name, in characters (X.520 `ub-common-name`, RFC 5280 appendix A.1).
pub(crate) const MAX_COMMON_NAME_LEN: usize = 64;

const PLACEHOLDER: &str = "{id}";

/// True for the characters that a device's common name may have. Wildcards, blanks, control
/// bytes, quotes and everything outside ASCII are not among them.
pub(crate) fn is_common_name_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '_' | ':' | '@' | '/')
}

/// How the common name of a device is made from its id: fixed text around one `{id}`.
///
/// Names and ids correspond one to one: [`CnPattern::matches`] gives back exactly the id that
/// [`CnPattern::render`] took. Letters of the fixed text match by exact case. Clones share the
/// text.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CnPattern {
    text: Arc<str>,
    placeholder_at: usize,
}

impl CnPattern {
    /// The pattern where none is configured.
    pub const DEFAULT: &'static str = "device-{id}.device.synadia.local";

    /// Parses a pattern such as [`CnPattern::DEFAULT`].
    ///
    /// # Errors
    /// If there is not exactly one `{id}`, if the fixed text has characters other than
    /// `A-Z a-z 0-9 . - _ : @ /`, or if it leaves no room for an id in the 64 characters of a
    /// common name.
    pub fn parse(text: &str) -> Result<Self, ParseCnPatternError> {
        let pattern = || Excerpt::of(text);
        let (prefix, suffix) = text
            .split_once(PLACEHOLDER)
            .ok_or_else(|| ParseCnPatternError::PlaceholderMissing { pattern: pattern() })?;
        if suffix.contains(PLACEHOLDER) {
            return Err(ParseCnPatternError::PlaceholderRepeated { pattern: pattern() });
        }
        if let Some(found) = prefix
            .chars()
            .chain(suffix.chars())
            .find(|c| !is_common_name_character(*c))
        {
            return Err(ParseCnPatternError::Character {
                pattern: pattern(),
                found: Excerpt::of(found.encode_utf8(&mut [0; 4])),
            });
        }
        let fixed = prefix.len() + suffix.len();
        if fixed >= MAX_COMMON_NAME_LEN {
            return Err(ParseCnPatternError::TooLong {
                pattern: pattern(),
                fixed,
            });
        }
        Ok(Self {
            text: text.into(),
            placeholder_at: prefix.len(),
        })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Takes the device id out of a common name.
    ///
    /// # Errors
    /// If the name was not made by this pattern, or if what stands in the place of `{id}` is no
    /// device id.
    pub fn matches(&self, common_name: &str) -> Result<DeviceId, MatchCnError> {
        let foreign = || MatchCnError::Foreign {
            common_name: Excerpt::of(common_name),
            pattern: self.clone(),
        };
        if common_name.len() > MAX_COMMON_NAME_LEN {
            return Err(foreign());
        }
        let id = common_name
            .strip_prefix(self.prefix())
            .and_then(|rest| rest.strip_suffix(self.suffix()))
            .ok_or_else(foreign)?;
        DeviceId::parse(id).map_err(|source| MatchCnError::Id {
            common_name: Excerpt::of(common_name),
            source,
        })
    }

    /// Makes the common name of a device.
    ///
    /// # Errors
    /// If the name would be longer than 64 characters.
    pub fn render(&self, id: &DeviceId) -> Result<String, RenderCnError> {
        if id.as_str().len() > self.max_id_len() {
            return Err(RenderCnError {
                id: id.clone(),
                len: id.as_str().len(),
                max: self.max_id_len(),
                pattern: self.clone(),
            });
        }
        Ok([self.prefix(), id.as_str(), self.suffix()].concat())
    }

    /// What the ids of all devices begin with whose common names begin with this text; `None` if no
    /// common name of this pattern does.
    pub fn id_prefix<'a>(&self, common_name_prefix: &'a str) -> Option<&'a str> {
        let Some(rest) = common_name_prefix.strip_prefix(self.prefix()) else {
            return self.prefix().starts_with(common_name_prefix).then_some("");
        };
        // Where the text goes on as the suffix does, the id may have ended.
        let mut ends = (0..=rest.len()).filter(|end| rest.is_char_boundary(*end));
        let end = ends.find(|end| self.suffix().starts_with(&rest[*end..]))?;
        let id = &rest[..end];
        id.chars().all(token::is_allowed).then_some(id)
    }

    /// Characters that the pattern leaves for an id.
    pub fn max_id_len(&self) -> usize {
        MAX_COMMON_NAME_LEN - self.prefix().len() - self.suffix().len()
    }

    /// True if some device id would be given this name, ignoring case as DNS does. Servers and
    /// services must not bear such names.
    pub fn covers(&self, common_name: &str) -> bool {
        let (prefix, suffix) = (self.prefix(), self.suffix());
        let Some(id_end) = common_name.len().checked_sub(suffix.len()) else {
            return false;
        };
        let parts = (
            common_name.get(..prefix.len()),
            common_name.get(prefix.len()..id_end),
            common_name.get(id_end..),
        );
        match parts {
            (Some(start), Some(id), Some(end)) => {
                common_name.len() <= MAX_COMMON_NAME_LEN
                    && start.eq_ignore_ascii_case(prefix)
                    && end.eq_ignore_ascii_case(suffix)
                    && is_token(id)
            }
            _ => false,
        }
    }

    fn prefix(&self) -> &str {
        &self.text[..self.placeholder_at]
    }

    fn suffix(&self) -> &str {
        &self.text[self.placeholder_at + PLACEHOLDER.len()..]
    }
}

impl Default for CnPattern {
    fn default() -> Self {
        Self::parse(Self::DEFAULT).expect("the default pattern keeps the rules")
    }
}

impl FromStr for CnPattern {
    type Err = ParseCnPatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for CnPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for CnPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

serde_as_text!(CnPattern, "a common-name pattern with one {id}");

/// A text is not a CN pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseCnPatternError {
    /// There is no `{id}`.
    #[error(
        "CN pattern {pattern} has no {{id}}; put it where the device id stands, as in {}",
        CnPattern::DEFAULT
    )]
    PlaceholderMissing {
        /// The pattern.
        pattern: Excerpt,
    },
    /// There is more than one `{id}`.
    #[error(
        "CN pattern {pattern} has more than one {{id}}; keep one, as in {}",
        CnPattern::DEFAULT
    )]
    PlaceholderRepeated {
        /// The pattern.
        pattern: Excerpt,
    },
    /// The fixed text has a character that no device's common name may have.
    #[error("CN pattern {pattern} has {found}; around {{id}} use only A-Z a-z 0-9 . - _ : @ /")]
    Character {
        /// The pattern.
        pattern: Excerpt,
        /// The character.
        found: Excerpt,
    },
    /// The fixed text fills the common name.
    #[error(
        "CN pattern {pattern} has {fixed} characters around {{id}}, and a common name has 64 in \
         all; shorten it to leave room for the ids"
    )]
    TooLong {
        /// The pattern.
        pattern: Excerpt,
        /// Characters around `{id}`.
        fixed: usize,
    },
}

/// A common name does not name a device of a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MatchCnError {
    /// The fixed text of the pattern differs.
    #[error("common name {common_name} does not match the pattern {pattern}")]
    Foreign {
        /// The common name.
        common_name: Excerpt,
        /// The pattern.
        pattern: CnPattern,
    },
    /// The pattern fits but leaves something that is no device id.
    #[error("common name {common_name} holds no device id")]
    Id {
        /// The common name.
        common_name: Excerpt,
        /// What is wrong with the id.
        source: ParseDeviceIdError,
    },
}

/// A device id is too long for a CN pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "device id {id} has {len} characters, and {pattern} leaves {max} of the 64 of a common name; \
     use a shorter id"
)]
pub struct RenderCnError {
    /// The id.
    pub id: DeviceId,
    /// Its length in characters.
    pub len: usize,
    /// The longest id that the pattern takes.
    pub max: usize,
    /// The pattern.
    pub pattern: CnPattern,
}

#[cfg(test)]
mod tests;
