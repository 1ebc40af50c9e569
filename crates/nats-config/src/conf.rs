//! Writes nats-server's configuration syntax. All texts are quoted (conf/lex.go `lexDubQuotedString`), so none of
//! them can end its value, refer to a variable or include a file.

use std::fmt::Write as _;
use std::path::Path;

use leafgate_nats_jwt::{AccountKey, CurvePublicKey, UserKey};

use crate::error::RenderNatsConfigError;
use crate::input::{Host, Name};

const INDENT: &str = "  ";
const LINE_WIDTH: usize = 100;

/// A configuration under construction.
pub(crate) struct Conf {
    text: String,
    depth: usize,
}

/// What can stand after a key.
#[derive(Clone)]
pub(crate) enum Value {
    Text(String),
    Number(i64),
    Bool(bool),
    List(Vec<Value>),
    Map(Vec<(&'static str, Value)>),
}

impl Conf {
    pub(crate) fn new() -> Self {
        Self {
            text: String::new(),
            depth: 0,
        }
    }

    pub(crate) fn finish(self) -> String {
        self.text
    }

    /// A paragraph that belongs to what follows; an empty line goes before it unless it opens a block.
    pub(crate) fn comment(&mut self, text: &str) {
        if !self.text.is_empty() && !self.text.ends_with("{\n") && !self.text.ends_with("[\n") {
            self.text.push('\n');
        }
        let width = LINE_WIDTH - INDENT.len() * self.depth;
        let mut line = String::new();
        for word in text.split_whitespace() {
            if !line.is_empty() && line.len() + 1 + word.len() > width {
                self.line(&format!("#{line}"));
                line.clear();
            }
            line.push(' ');
            line.push_str(word);
        }
        self.line(&format!("#{line}"));
    }

    /// On one line or, too wide for that, with a line for each element.
    pub(crate) fn set(&mut self, key: &str, value: impl Into<Value>) {
        let value = value.into();
        let mut inline = format!("{key}: ");
        value.write(&mut inline);
        match value {
            Value::List(items) if self.too_wide(&inline) => self.list(key, |list| {
                for item in items {
                    list.item(item);
                }
            }),
            Value::Map(entries) if self.too_wide(&inline) => self.block(key, |block| {
                for (key, value) in entries {
                    block.set(key, value);
                }
            }),
            _ => self.line(&inline),
        }
    }

    pub(crate) fn block(&mut self, key: &str, fill: impl FnOnce(&mut Self)) {
        self.nested(&format!("{key} {{"), "}", fill);
    }

    /// A block named by a person.
    pub(crate) fn named_block(&mut self, name: &Name, fill: impl FnOnce(&mut Self)) {
        self.block(&key_of(name), fill);
    }

    pub(crate) fn list(&mut self, key: &str, fill: impl FnOnce(&mut Self)) {
        self.nested(&format!("{key}: ["), "]", fill);
    }

    /// One element of a list, on its own line or, too wide for that, as a block.
    pub(crate) fn item(&mut self, value: impl Into<Value>) {
        let value = value.into();
        let mut inline = String::new();
        value.write(&mut inline);
        match value {
            Value::Map(entries) if self.too_wide(&inline) => self.nested("{", "}", |block| {
                for (key, value) in entries {
                    block.set(key, value);
                }
            }),
            _ => self.line(&inline),
        }
    }

    /// One element of a list that needs comments of its own.
    pub(crate) fn item_block(&mut self, fill: impl FnOnce(&mut Self)) {
        self.nested("{", "}", fill);
    }

    fn nested(&mut self, open: &str, close: &str, fill: impl FnOnce(&mut Self)) {
        self.line(open);
        self.depth += 1;
        fill(self);
        self.depth -= 1;
        self.line(close);
    }

    fn too_wide(&self, line: &str) -> bool {
        INDENT.len() * self.depth + line.len() > LINE_WIDTH
    }

    fn line(&mut self, line: &str) {
        for _ in 0..self.depth {
            self.text.push_str(INDENT);
        }
        self.text.push_str(line);
        self.text.push('\n');
    }
}

impl Value {
    fn write(&self, out: &mut String) {
        match self {
            Self::Text(text) => quote(text, out),
            Self::Number(number) => _ = write!(out, "{number}"),
            Self::Bool(value) => _ = write!(out, "{value}"),
            Self::List(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { ", " });
                    item.write(out);
                }
                out.push(']');
            }
            Self::Map(entries) => {
                out.push('{');
                for (index, (key, value)) in entries.iter().enumerate() {
                    out.push_str(if index == 0 { " " } else { ", " });
                    out.push_str(key);
                    out.push_str(": ");
                    value.write(out);
                }
                out.push_str(" }");
            }
        }
    }
}

/// A path as a value.
pub(crate) fn path(path: &Path) -> Result<Value, RenderNatsConfigError> {
    match path.to_str() {
        Some(text) if !text.chars().any(char::is_control) => Ok(Value::Text(text.to_owned())),
        _ => Err(RenderNatsConfigError::Path {
            path: path.to_owned(),
        }),
    }
}

/// An unquoted key can't begin with a digit, and `include` is a keyword.
fn key_of(name: &Name) -> String {
    let text = name.as_str();
    if text.starts_with(|first: char| first.is_ascii_alphabetic())
        && !text.eq_ignore_ascii_case("include")
    {
        text.to_owned()
    } else {
        format!("\"{text}\"")
    }
}

fn quote(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            other => out.push(other),
        }
    }
    out.push('"');
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(items: Vec<T>) -> Self {
        Self::List(items.into_iter().map(Into::into).collect())
    }
}

impl<const N: usize> From<[(&'static str, Value); N]> for Value {
    fn from(entries: [(&'static str, Value); N]) -> Self {
        Self::Map(entries.into())
    }
}

macro_rules! shown_as_text {
    ($($type:ty),*) => {$(
        impl From<&$type> for Value {
            fn from(value: &$type) -> Self {
                Self::Text(value.to_string())
            }
        }
    )*};
}

shown_as_text!(AccountKey, CurvePublicKey, UserKey, Host, Name);

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(fill: impl FnOnce(&mut Conf)) -> String {
        let mut conf = Conf::new();
        fill(&mut conf);
        conf.finish()
    }

    #[test]
    fn texts_stay_inside_their_quotes() {
        let text = rendered(|conf| conf.set("cert_file", "C:\\a \"b\" }\n$HOME include"));
        assert_eq!(text, "cert_file: \"C:\\\\a \\\"b\\\" }\\n$HOME include\"\n");
    }

    #[test]
    fn wide_lists_and_maps_take_several_lines() {
        let subjects = |count: usize| vec!["device.*.metrics.>"; count];
        let text = rendered(|conf| {
            conf.set("allow", subjects(1));
            conf.set("allow", subjects(5));
            conf.list("users", |list| {
                list.item([("nkey", "U".into())]);
                list.item([
                    ("nkey", "U".repeat(95).into()),
                    ("allow", subjects(1).into()),
                ]);
            });
        });
        let expected = "\
allow: [\"device.*.metrics.>\"]
allow: [
  \"device.*.metrics.>\"
  \"device.*.metrics.>\"
  \"device.*.metrics.>\"
  \"device.*.metrics.>\"
  \"device.*.metrics.>\"
]
users: [
  { nkey: \"U\" }
  {
    nkey: \"UUU\"
    allow: [\"device.*.metrics.>\"]
  }
]
";
        assert_eq!(text.replace(&"U".repeat(95), "UUU"), expected);
    }

    #[test]
    fn comments_wrap_and_stand_apart() {
        let text = rendered(|conf| {
            conf.block("tls", |tls| {
                tls.comment(&"word ".repeat(25));
                tls.set("verify", true);
                tls.comment("next");
            });
        });
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "tls {");
        assert!(lines[1].starts_with("  # word") && lines[1].len() <= LINE_WIDTH + 1);
        assert_eq!(lines[3..], ["  verify: true", "", "  # next", "}"]);
    }

    #[test]
    fn names_that_would_not_be_keys_are_quoted() {
        let block = |name: &str| {
            let name = Name::parse(name).unwrap();
            rendered(|conf| conf.named_block(&name, |_| ()))
        };
        assert_eq!(block("DEVICES"), "DEVICES {\n}\n");
        assert_eq!(block("Include"), "\"Include\" {\n}\n");
        assert_eq!(block("0001"), "\"0001\" {\n}\n");
    }

    #[test]
    fn paths_are_utf8_without_control_characters() {
        use std::os::unix::ffi::OsStrExt as _;
        assert!(path(Path::new("/etc/nats \"x\"/ø.crt")).is_ok());
        let not_utf8 = std::ffi::OsStr::from_bytes(&[b'/', 0xff]);
        for bad in [Path::new("/a\nb"), Path::new(not_utf8)] {
            assert!(path(bad).is_err());
        }
    }
}
