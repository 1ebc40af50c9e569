use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// Environment variables as a parameter: name to value.
pub type Environment = BTreeMap<String, String>;

const PREFIX: &str = "LEAFGATE_";

/// Reads a TOML configuration file and lays `LEAFGATE_<SECTION>__<KEY>` variables over it; a key
/// outside any section is `LEAFGATE__<KEY>`. A string that looks like a number, a boolean or a list
/// is written in quotes.
///
/// # Errors
/// An unreadable file, broken TOML, an unknown key or a value of the wrong type, each with file
/// and line, or with the variable's name.
pub fn load_config<C: DeserializeOwned>(
    path: &Path,
    environment: &Environment,
) -> Result<C, LoadConfigError> {
    let text = fs::read_to_string(path).map_err(|source| LoadConfigError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    let in_file = |error: &toml::de::Error| LoadConfigError::in_file(path, &text, error);
    let mut table: Table = toml::from_str(&text).map_err(|error| in_file(&error))?;
    let overlaid = overlay(&mut table, environment)?;
    if overlaid.is_empty() {
        return toml::from_str(&text).map_err(|error| in_file(&error));
    }
    table.try_into().map_err(|merged: toml::de::Error| {
        // The file alone knows its lines; its error is shown where it is the same complaint.
        match toml::from_str::<C>(&text) {
            Err(alone) if alone.message() == merged.message() => in_file(&alone),
            _ => LoadConfigError::Overlaid {
                path: path.to_owned(),
                variables: overlaid.join(", "),
                message: merged.message().to_owned(),
            },
        }
    })
}

fn overlay(table: &mut Table, environment: &Environment) -> Result<Vec<String>, LoadConfigError> {
    let mut overlaid = Vec::new();
    for (name, value) in environment {
        let Some((section, key)) = name.strip_prefix(PREFIX).and_then(section_and_key) else {
            continue;
        };
        let (section, key) = (section.to_ascii_lowercase(), key.to_ascii_lowercase());
        let target = if section.is_empty() {
            &mut *table
        } else {
            table
                .entry(section)
                .or_insert_with(|| Value::Table(Table::new()))
                .as_table_mut()
                .ok_or_else(|| LoadConfigError::NotASection { name: name.clone() })?
        };
        let value = parse_value(value, target.get(&key));
        target.insert(key, value);
        overlaid.push(name.clone());
    }
    Ok(overlaid)
}

/// Splits what follows the prefix: `_KEY`, or `SECTION__KEY`; anything else is no setting.
fn section_and_key(rest: &str) -> Option<(&str, &str)> {
    match rest.strip_prefix('_') {
        Some(key) => Some(("", key)),
        None => rest.split_once("__"),
    }
}

/// Integers, booleans, arrays and strings in quotes are written as in TOML; anything else is a
/// string as it stands. A key that the file gives as a string stays one.
fn parse_value(text: &str, in_file: Option<&Value>) -> Value {
    let written = toml::from_str::<Table>(&format!("value = {text}"))
        .ok()
        .and_then(|mut parsed| parsed.remove("value"));
    match written {
        Some(value @ Value::String(_)) => value,
        Some(value @ (Value::Integer(_) | Value::Boolean(_) | Value::Array(_)))
            if !matches!(in_file, Some(Value::String(_))) =>
        {
            value
        }
        _ => Value::String(text.to_owned()),
    }
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum LoadConfigError {
    /// The file can't be read.
    #[error("can't read the configuration file {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is not what leafgate expects.
    #[error("{}:{line}: {message}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there, and what would be right.
        message: String,
    },
    /// The file together with environment variables is not what leafgate expects.
    #[error("{} with {variables} from the environment: {message}", path.display())]
    Overlaid {
        /// The file.
        path: PathBuf,
        /// The variables that were laid over it.
        variables: String,
        /// What is wrong, and what would be right.
        message: String,
    },
    /// A variable names a section that is a plain value or a list in the file.
    #[error("{name} can't be laid over the file: that section is not a table there")]
    NotASection {
        /// The variable.
        name: String,
    },
}

impl LoadConfigError {
    fn in_file(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let offset = error.span().map_or(0, |span| span.start.min(text.len()));
        Self::InFile {
            path: path.to_owned(),
            line: text.as_bytes()[..offset]
                .iter()
                .filter(|byte| **byte == b'\n')
                .count()
                + 1,
            message: error.message().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        site: String,
        nats: Nats,
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nats {
        urls: Vec<String>,
        #[serde(default)]
        workers: u16,
    }

    fn load(text: &str, environment: &[(&str, &str)]) -> Result<Sample, LoadConfigError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        let environment = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        load_config(file.path(), &environment)
    }

    const FILE: &str = "site = \"7\"\n[nats]\nurls = [\"tls://leaf:4222\"]\n";

    #[test]
    fn the_environment_is_laid_over_the_file() {
        let sample = load(
            FILE,
            &[
                ("LEAFGATE__SITE", "42"),
                ("LEAFGATE_NATS__WORKERS", "3"),
                ("LEAFGATE_NATS__URLS", "[\"tls://a:1\", \"tls://b:2\"]"),
                ("LEAFGATE_URL", "not ours"),
                ("PATH", "/bin"),
            ],
        )
        .unwrap();
        assert_eq!(sample.site, "42");
        assert_eq!(sample.nats.workers, 3);
        assert_eq!(sample.nats.urls, ["tls://a:1", "tls://b:2"]);
    }

    #[test]
    fn a_variable_can_give_a_string_that_looks_like_something_else() {
        let without_site = "[nats]\nurls = []\n";
        for file in [FILE, without_site] {
            for text in ["42", "true", "[7]"] {
                let quoted = format!("\"{text}\"");
                let sample = load(file, &[("LEAFGATE__SITE", &quoted)]).unwrap();
                assert_eq!(sample.site, text, "{file}");
            }
            let sample = load(file, &[("LEAFGATE__SITE", "a \"b\"")]).unwrap();
            assert_eq!(sample.site, "a \"b\"");
        }
        let error = load(without_site, &[("LEAFGATE__SITE", "42")]).unwrap_err();
        assert!(error.to_string().contains("expected a string"), "{error}");
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let error = load(&format!("{FILE}url = \"x\"\n"), &[]).unwrap_err();
        let LoadConfigError::InFile { line, message, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(*line, 4);
        assert!(message.contains("url"), "{message}");
    }

    #[test]
    fn the_line_is_told_with_an_overlay_too() {
        let error = load(&format!("{FILE}url = \"x\"\n"), &[("LEAFGATE__SITE", "b")]).unwrap_err();
        assert!(
            matches!(error, LoadConfigError::InFile { line: 4, .. }),
            "{error}"
        );
    }

    #[test]
    fn a_bad_variable_is_named() {
        let error = load(FILE, &[("LEAFGATE_NATS__WORKERS", "many")]).unwrap_err();
        assert!(
            error.to_string().contains("LEAFGATE_NATS__WORKERS"),
            "{error}"
        );
        let error = load(FILE, &[("LEAFGATE_SITE__X", "1")]).unwrap_err();
        assert!(
            matches!(error, LoadConfigError::NotASection { .. }),
            "{error}"
        );
    }
}
