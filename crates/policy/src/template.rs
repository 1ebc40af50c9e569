//! Subject templates: parsed once at load, rendered for each decision.

use std::fmt;
use std::sync::Arc;

use leafgate_identity::is_token;
use serde::{Serialize, Serializer};

use crate::problem::{Fault, nearest};

/// Longest template and longest pattern in characters, `{prefix}` expanded. Far below
/// nats-server's `max_control_line` (4096) even with 64-character values.
pub(crate) const MAX_SUBJECT_LEN: usize = 256;

const VARIABLES: [&str; 5] = ["id", "device_type", "site", "attr.NAME", "prefix"];

/// First tokens under `$` that a policy may name; all others belong to nats-server.
const OPEN_DOLLAR: [&str; 4] = ["$JS", "$KV", "$O", "$SRV"];

/// A part of a subject that differs between devices.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Variable {
    /// `{id}`: the device id.
    Id,
    /// `{device_type}`: the device's type.
    DeviceType,
    /// `{site}`: the site of the leaf cluster.
    Site,
    /// `{attr.NAME}`: an attribute of the device.
    Attribute(Arc<str>),
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id => f.write_str("{id}"),
            Self::DeviceType => f.write_str("{device_type}"),
            Self::Site => f.write_str("{site}"),
            Self::Attribute(name) => write!(f, "{{attr.{name}}}"),
        }
    }
}

impl Serialize for Variable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One token of a template.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Token {
    Literal(Arc<str>),
    Variable(Variable),
    /// `*`
    Any,
    /// `>`, always last
    Tail,
}

/// A subject pattern with variables, each of which is a whole token.
///
/// Whole tokens only: `x-{id}` for id `b` and `{site}-b` for site `x` are one subject, and so are
/// `{id}-{site}` for (`a-b`, `c`) and (`a`, `b-c`). With whole tokens different ids always give
/// different subjects, and isolation can be proven token by token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Template {
    tokens: Vec<Token>,
    /// Literal text followed by a variable, over and over.
    segments: Vec<(Box<str>, Variable)>,
    rest: Box<str>,
}

impl Template {
    /// Parses `text`, expanding `{prefix}`.
    pub(crate) fn parse(text: &str, prefix: &str) -> Result<Self, Fault> {
        let expanded = expand_prefix(text, prefix);
        let text = text.escape_debug();
        let fault = |what: &str, hint: &str| Err(Fault::new(format!("\"{text}\": {what}"), hint));
        if expanded.is_empty() {
            return fault("a subject can't be empty", "leave the entry out");
        }
        if expanded.len() > MAX_SUBJECT_LEN {
            return fault(
                &format!("longer than {MAX_SUBJECT_LEN} characters"),
                "shorten it",
            );
        }
        if expanded.contains(char::is_whitespace) {
            return fault(
                "a subject has no blanks",
                "queue groups (\"subject queue\") can't be granted: a device subscribes under its own name",
            );
        }
        if let Some(bad) = expanded.chars().find(|c| !c.is_ascii_graphic()) {
            return fault(
                &format!("character {} in a subject", bad.escape_default()),
                "use printable ASCII",
            );
        }
        let words: Vec<&str> = split_tokens(&expanded);
        let mut tokens = Vec::with_capacity(words.len());
        for (n, word) in words.iter().enumerate() {
            let token = parse_token(word).map_err(|f| Fault {
                message: format!("\"{text}\": {}", f.message),
                ..f
            })?;
            if token == Token::Tail && n + 1 < words.len() {
                return fault("\">\" stands only at the end", "use \"*\" for one token");
            }
            tokens.push(token);
        }
        if let Some(Token::Variable(variable)) = tokens.first() {
            return fault(
                &format!("a subject can't start with {variable}"),
                "begin with a fixed token such as {prefix}: otherwise a value decides which part of the account is reached",
            );
        }
        Ok(Self::from_tokens(tokens))
    }

    fn from_tokens(tokens: Vec<Token>) -> Self {
        let mut segments = Vec::new();
        let mut text = String::new();
        for (n, token) in tokens.iter().enumerate() {
            if n > 0 {
                text.push('.');
            }
            match token {
                Token::Literal(word) => text.push_str(word),
                Token::Any => text.push('*'),
                Token::Tail => text.push('>'),
                Token::Variable(variable) => {
                    let before = std::mem::take(&mut text).into_boxed_str();
                    segments.push((before, variable.clone()));
                }
            }
        }
        Self {
            tokens,
            segments,
            rest: text.into_boxed_str(),
        }
    }

    /// Refuses what no device may be granted, whatever the rest of the policy says.
    pub(crate) fn check_grantable(&self) -> Result<(), Fault> {
        let fault = |what: &str, hint: &str| Err(Fault::new(format!("\"{self}\": {what}"), hint));
        match self.tokens.first() {
            Some(Token::Any | Token::Tail) => fault(
                "a grant can't start with a wildcard",
                "it would reach $SYS, $JS and every device's subjects: begin with a fixed token such as {prefix}",
            ),
            Some(Token::Literal(first)) if matches!(&**first, "_R_" | "_GR_") => fault(
                "reply subjects of the server can't be granted",
                "a service import's replies need no grant, an answer needs a response permission: responses = { max = 1, ttl = \"1m\" }",
            ),
            Some(Token::Literal(first))
                if first.starts_with('$') && !OPEN_DOLLAR.contains(&&**first) =>
            {
                fault(
                    &format!("{first} belongs to nats-server"),
                    &format!(
                        "of the $ subjects only {} can be granted",
                        OPEN_DOLLAR.join(", ")
                    ),
                )
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    pub(crate) fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.segments.iter().map(|(_, variable)| variable)
    }

    /// The subject for one device. `value` must return a single token of the device-id alphabet,
    /// or the number of tokens would change.
    pub(crate) fn render<'v, E>(
        &self,
        mut value: impl FnMut(&Variable) -> Result<&'v str, E>,
    ) -> Result<String, E> {
        let mut subject = String::with_capacity(MAX_SUBJECT_LEN / 4);
        for (before, variable) in &self.segments {
            subject.push_str(before);
            subject.push_str(value(variable)?);
        }
        subject.push_str(&self.rest);
        Ok(subject)
    }

    /// The pattern that matches what the template gives to all devices together.
    pub(crate) fn pattern_of_all(&self) -> String {
        let every: Result<String, std::convert::Infallible> = self.render(|_| Ok("*"));
        match every {
            Ok(pattern) => pattern,
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (before, variable) in &self.segments {
            write!(f, "{before}{variable}")?;
        }
        f.write_str(&self.rest)
    }
}

impl Serialize for Template {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Checks the constant `{prefix}`: one or more tokens of the device-id alphabet.
pub(crate) fn check_prefix(prefix: &str) -> Result<(), Fault> {
    if prefix.split('.').all(is_token) && prefix.len() <= MAX_SUBJECT_LEN / 2 {
        return Ok(());
    }
    Err(Fault::new(
        format!("\"{}\" can't be the subject prefix", prefix.escape_debug()),
        "use tokens of A-Z a-z 0-9 _ -, beginning and ending with a letter or digit, separated by dots",
    ))
}

fn expand_prefix(text: &str, prefix: &str) -> String {
    let words: Vec<&str> = split_tokens(text)
        .into_iter()
        .map(|word| if word == "{prefix}" { prefix } else { word })
        .collect();
    words.join(".")
}

/// Splits at dots outside braces, so that `{attr.zone}` stays one token.
fn split_tokens(text: &str) -> Vec<&str> {
    let mut inside = false;
    text.split(|c| {
        match c {
            '{' => inside = true,
            '}' => inside = false,
            _ => {}
        }
        c == '.' && !inside
    })
    .collect()
}

fn parse_token(word: &str) -> Result<Token, Fault> {
    match word {
        "" => {
            return Err(Fault::new(
                "an empty token",
                "remove the dot at the begin, at the end, or one of two in a row",
            ));
        }
        "*" => return Ok(Token::Any),
        ">" => return Ok(Token::Tail),
        _ => {}
    }
    if let Some(name) = word.strip_prefix('{').and_then(|w| w.strip_suffix('}'))
        && !name.contains(['{', '}'])
    {
        return parse_variable(name).map(Token::Variable);
    }
    if word.contains(['{', '}']) {
        return Err(Fault::new(
            format!("\"{word}\" mixes a variable with text"),
            "a variable is a whole token: joined with text, two devices could give the same subject",
        ));
    }
    if word.contains(['*', '>']) {
        return Err(Fault::new(
            format!("\"{word}\" mixes a wildcard with text"),
            "nats-server takes it literally: a wildcard is a whole token",
        ));
    }
    Ok(Token::Literal(word.into()))
}

fn parse_variable(name: &str) -> Result<Variable, Fault> {
    match name {
        "id" => return Ok(Variable::Id),
        "device_type" => return Ok(Variable::DeviceType),
        "site" => return Ok(Variable::Site),
        _ => {}
    }
    if let Some(attribute) = name.strip_prefix("attr.") {
        if is_token(attribute) {
            return Ok(Variable::Attribute(attribute.into()));
        }
        return Err(Fault::new(
            format!("\"{attribute}\" can't be the name of an attribute"),
            "use A-Z a-z 0-9 _ -, beginning and ending with a letter or digit",
        ));
    }
    let hint = match nearest(name, VARIABLES) {
        Some(known) => format!("did you mean {{{known}}}?"),
        None => "known: {id}, {device_type}, {site}, {attr.NAME}, {prefix}".into(),
    };
    Err(Fault::new(format!("unknown variable {{{name}}}"), hint))
}

#[cfg(test)]
mod tests;
