//! Text from strangers, made fit for errors and logs.

use std::fmt::{self, Display, Write};

const MAX_CHARS: usize = 80;

/// The beginning of a text that someone else wrote, escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt(String);

impl Excerpt {
    pub(crate) fn of(text: &str) -> Self {
        let mut shown: String = text
            .chars()
            .take(MAX_CHARS)
            .flat_map(char::escape_debug)
            .collect();
        if text.chars().nth(MAX_CHARS).is_some() {
            shown.push('…');
        }
        Self(shown)
    }
}

impl Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        f.write_str(&self.0)?;
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_long_texts_cut() {
        assert_eq!(
            Excerpt::of("a\n\u{1b}[0m\"").to_string(),
            r#""a\n\u{1b}[0m\"""#
        );
        let long = "x".repeat(81);
        assert_eq!(
            Excerpt::of(&long).to_string(),
            format!("\"{}…\"", "x".repeat(80))
        );
    }
}
