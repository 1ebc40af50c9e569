use std::fmt::{self, Write};

/// Text from outside (a certificate, a request, a file) made safe for logs, terminals and error
/// messages.
///
/// It is cut to [`Excerpt::MAX_CHARS`] characters, with `…` in place of the rest. Everything but
/// printable ASCII is escaped, so it can neither break a line nor steer a terminal nor look like
/// other text. [`Display`](fmt::Display) puts it in double quotes.
#[derive(Clone, PartialEq, Eq)]
pub struct Excerpt(Box<str>);

impl Excerpt {
    /// Characters of the original text that are kept.
    pub const MAX_CHARS: usize = 64;

    /// Excerpt of a text.
    pub fn of(text: &str) -> Self {
        let mut kept = String::new();
        for (index, character) in text.chars().enumerate() {
            if index == Self::MAX_CHARS {
                kept.push('…');
                break;
            }
            match character {
                '"' | '\\' => kept.extend(['\\', character]),
                ' '..='~' => kept.push(character),
                _ => kept.extend(character.escape_default()),
            }
        }
        Self(kept.into())
    }

    /// Excerpt of bytes that may not be UTF-8; then each byte counts as one character.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        match str::from_utf8(bytes) {
            Ok(text) => Self::of(text),
            Err(_) => {
                let shown = &bytes[..bytes.len().min(Self::MAX_CHARS)];
                let more = if shown.len() < bytes.len() { "…" } else { "" };
                Self(format!("{}{more}", shown.escape_ascii()).into())
            }
        }
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        f.write_str(&self.0)?;
        f.write_char('"')
    }
}

impl fmt::Debug for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::Excerpt;
    use proptest::prelude::*;

    #[test]
    fn shows_printable_ascii_as_it_is_and_escapes_the_rest() {
        for (text, shown) in [
            ("device-0001.site", r#""device-0001.site""#),
            ("", r#""""#),
            ("a\"b\\c", r#""a\"b\\c""#),
            ("a\r\n\t\u{1b}[2J", r#""a\r\n\t\u{1b}[2J""#),
            ("\u{202e}drawkcab", r#""\u{202e}drawkcab""#),
            ("café", r#""caf\u{e9}""#),
        ] {
            assert_eq!(Excerpt::of(text).to_string(), shown);
        }
        assert_eq!(Excerpt::of_bytes(b"a\xff\0").to_string(), r#""a\xff\x00""#);
    }

    #[test]
    fn cuts_long_text() {
        let kept = "a".repeat(Excerpt::MAX_CHARS);
        assert_eq!(Excerpt::of(&kept).to_string(), format!("\"{kept}\""));
        assert_eq!(
            Excerpt::of(&format!("{kept}b")).to_string(),
            format!("\"{kept}…\"")
        );
        assert_eq!(
            Excerpt::of_bytes(&[0xff; 65]).to_string(),
            format!("\"{}…\"", "\\xff".repeat(64))
        );
    }

    proptest! {
        #[test]
        fn never_lets_control_or_foreign_characters_through(bytes: Vec<u8>, text: String) {
            for shown in [Excerpt::of_bytes(&bytes).to_string(), Excerpt::of(&text).to_string()] {
                prop_assert!(shown.chars().all(|c| matches!(c, ' '..='~' | '…')));
                prop_assert!(shown.len() <= 3 + Excerpt::MAX_CHARS * 10 + 2);
            }
        }
    }
}
