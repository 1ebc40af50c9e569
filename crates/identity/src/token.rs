use crate::Excerpt;

/// Longest token, in bytes: what a common name can hold (X.520 `ub-common-name`).
pub(crate) const MAX_LEN: usize = 64;

/// The rule for tokens in words, for messages to people.
pub(crate) const RULE: &str =
    "use 1 to 64 of A-Z a-z 0-9 _ - and begin and end with a letter or digit";

/// True if the text keeps the rule for device ids: 1 to 64 of `A-Z a-z 0-9 _ -`, the first and
/// the last a letter or digit.
///
/// Such a text is always exactly one token of a NATS subject and never a wildcard. Whatever is
/// put into a subject, policy variables included, has to keep this rule.
pub fn is_token(text: &str) -> bool {
    check(text).is_ok()
}

/// What is wrong with a text that ought to be one token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenProblem {
    /// There is no text.
    #[error("is empty; {}", RULE)]
    Empty,
    /// It is longer than 64 bytes.
    #[error("has {len} bytes; {}", RULE)]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// It contains a character outside the alphabet.
    #[error("has {found} at byte {at}; {}", RULE)]
    Character {
        /// The character.
        found: Excerpt,
        /// Offset of the character in bytes, from 0.
        at: usize,
    },
    /// Its first or last character is `_` or `-`.
    #[error("begins or ends with {found}; {}", RULE)]
    Edge {
        /// The character.
        found: Excerpt,
    },
}

pub(crate) fn check(text: &str) -> Result<(), TokenProblem> {
    if text.len() > MAX_LEN {
        return Err(TokenProblem::TooLong { len: text.len() });
    }
    if let Some((at, found)) = text.char_indices().find(|(_, c)| !is_allowed(*c)) {
        return Err(TokenProblem::Character {
            found: excerpt_of(found),
            at,
        });
    }
    let (Some(first), Some(last)) = (text.chars().next(), text.chars().next_back()) else {
        return Err(TokenProblem::Empty);
    };
    match [first, last]
        .into_iter()
        .find(|c| !c.is_ascii_alphanumeric())
    {
        Some(found) => Err(TokenProblem::Edge {
            found: excerpt_of(found),
        }),
        None => Ok(()),
    }
}

pub(crate) fn is_allowed(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '-')
}

fn excerpt_of(character: char) -> Excerpt {
    Excerpt::of(character.encode_utf8(&mut [0; 4]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn accepts_one_token_of_the_alphabet() {
        let longest = "a".repeat(64);
        for text in ["a", "0", "A-b_C", "0001", "a--b", "x__y", &longest] {
            assert!(is_token(text), "{text}");
        }
    }

    #[test]
    fn refuses_everything_else_with_the_place() {
        let too_long = "a".repeat(65);
        for (text, message) in [
            ("", "is empty"),
            (too_long.as_str(), "has 65 bytes"),
            ("*", r#"has "*" at byte 0"#),
            (">", r#"has ">" at byte 0"#),
            ("a.b", r#"has "." at byte 1"#),
            ("a b", r#"has " " at byte 1"#),
            ("a\u{a0}b", r#"has "\u{a0}" at byte 1"#),
            ("ab\n", r#"has "\n" at byte 2"#),
            ("a\0", r#"has "\u{0}" at byte 1"#),
            ("é", r#"has "\u{e9}" at byte 0"#),
            ("а", r#"has "\u{430}" at byte 0"#),
            ("a/b", r#"has "/" at byte 1"#),
            ("$SYS", r#"has "$" at byte 0"#),
            ("-a", r#"begins or ends with "-""#),
            ("a-", r#"begins or ends with "-""#),
            ("_", r#"begins or ends with "_""#),
        ] {
            let problem = check(text).expect_err(text);
            assert_eq!(problem.to_string(), format!("{message}; {RULE}"));
            assert!(!is_token(text));
        }
    }

    proptest! {
        #[test]
        fn a_token_is_one_nats_token_without_wildcard(text in "[A-Za-z0-9_.*> -]{0,6}|\\PC{0,4}") {
            if is_token(&text) {
                let subject = format!("device.{text}.cmd");
                prop_assert_eq!(subject.split('.').collect::<Vec<_>>(), ["device", &text, "cmd"]);
                prop_assert!(!text.contains(['*', '>']));
                prop_assert!(text.bytes().all(|b| b.is_ascii_graphic()));
            }
        }

        #[test]
        fn every_text_of_the_grammar_is_a_token(text in "[A-Za-z0-9]([A-Za-z0-9_-]{0,62}[A-Za-z0-9])?") {
            prop_assert!(is_token(&text));
        }
    }
}
