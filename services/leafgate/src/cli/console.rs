//! What a command reads from and writes to a person or a program.

use std::io::{self, BufRead, IsTerminal, Write};

use clap::ValueEnum;
use leafgate_runtime::Environment;
use serde::Serialize;

use super::error::{CliError, Exit};
use crate::complain;

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Lines and columns for people.
    Table,
    /// JSON with the field names of the REST API; times are RFC 3339.
    Json,
}

/// Whether a text may be coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    coloured: bool,
}

/// The few colours there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    Good,
    Careful,
    Bad,
    Quiet,
}

impl Style {
    #[cfg(test)]
    pub(crate) const PLAIN: Self = Self { coloured: false };
    #[cfg(test)]
    pub(crate) const COLOURED: Self = Self { coloured: true };

    /// <https://no-color.org>: any value but an empty one asks for none.
    fn of(terminal: bool, environment: &Environment) -> Self {
        let unwanted = environment.get("NO_COLOR").is_some_and(|it| !it.is_empty())
            || environment.get("TERM").is_some_and(|it| it == "dumb");
        Self {
            coloured: terminal && !unwanted,
        }
    }

    pub(crate) fn paint(self, colour: Colour, text: &str) -> String {
        if !self.coloured {
            return text.to_owned();
        }
        // ECMA-48 SGR.
        let code = match colour {
            Colour::Good => "32",
            Colour::Careful => "33",
            Colour::Bad => "31",
            Colour::Quiet => "2",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// Standard output and standard error, and whoever is asked.
#[derive(Debug)]
pub(crate) struct Console {
    format: Format,
    assume_yes: bool,
    output: Style,
    errors: Style,
}

impl Console {
    pub(crate) fn new(format: Format, assume_yes: bool, environment: &Environment) -> Self {
        Self {
            format,
            assume_yes,
            output: Style::of(io::stdout().is_terminal(), environment),
            errors: Style::of(io::stderr().is_terminal(), environment),
        }
    }

    /// Writes a result, in the form that was asked for.
    pub(crate) fn show(
        &self,
        value: &impl Serialize,
        text: impl FnOnce(Style) -> String,
    ) -> Result<(), CliError> {
        match self.format {
            Format::Table => self.print(&text(self.output)),
            Format::Json => self.print(&pretty_json(value)?),
        }
    }

    /// Writes one of several results as it comes: JSON on one line.
    pub(crate) fn show_next(
        &self,
        value: &impl Serialize,
        text: impl FnOnce(Style) -> String,
    ) -> Result<(), CliError> {
        match self.format {
            Format::Table => self.print(&text(self.output)),
            Format::Json => self.print(&json(value, serde_json::to_string)?),
        }
    }

    /// Writes one of several results of an act as it comes; to people only if it has something to say to them. An act
    /// that ends early because nobody reads them is not done.
    pub(crate) fn show_some(
        &self,
        value: &impl Serialize,
        text: impl FnOnce(Style) -> Option<String>,
    ) -> Result<(), CliError> {
        let written = match self.format {
            Format::Table => text(self.output).map_or(Ok(()), |text| self.print(&text)),
            Format::Json => self.print(&json(value, serde_json::to_string)?),
        };
        written.map_err(|error| match error.exit() {
            Exit::Done => CliError::new(Exit::Wrong, "nobody reads the results: given up half-way")
                .hint("run it again, and read the output to its end"),
            _ => error,
        })
    }

    /// Writes what only people want to know.
    pub(crate) fn print_text(&self, text: &str) -> Result<(), CliError> {
        match self.format {
            Format::Table => self.print(text),
            Format::Json => Ok(()),
        }
    }

    /// Writes lines of text, whatever form was asked for.
    pub(crate) fn print(&self, text: &str) -> Result<(), CliError> {
        self.print_raw(&[text.trim_end_matches('\n').as_bytes(), b"\n"].concat())
    }

    /// Writes bytes as they are.
    pub(crate) fn print_raw(&self, bytes: &[u8]) -> Result<(), CliError> {
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
        written.map_err(|error| match error.kind() {
            // As with `leafgate device list | head`: nobody wants the rest.
            io::ErrorKind::BrokenPipe => CliError::new(Exit::Done, ""),
            _ => CliError::new(Exit::Wrong, format!("can't write the output: {error}")),
        })
    }

    /// Says something beside the result, on standard error.
    pub(crate) fn remark(&self, text: &str) {
        complain(text);
    }

    /// Says why a command failed, on standard error.
    pub(crate) fn report(&self, error: &CliError) {
        if error.message().is_empty() {
            return;
        }
        let mut text = self.errors.paint(Colour::Bad, "error:");
        text.push(' ');
        let mut lines = error.message().lines();
        text.push_str(lines.next().unwrap_or_default());
        let hints = error.hints().iter().flat_map(|hint| hint.lines());
        for line in lines.chain(hints) {
            text.push_str("\n  ");
            text.push_str(line);
        }
        complain(&text);
    }

    /// Fails where a person would be asked and there is none.
    pub(crate) fn check_can_ask(&self, act: &str) -> Result<(), CliError> {
        if self.assume_yes || (io::stdin().is_terminal() && io::stderr().is_terminal()) {
            return Ok(());
        }
        let error = CliError::usage(format!(
            "to {act} needs a confirmation, and there is no terminal to ask on"
        ));
        Err(error.hint("give --yes to go ahead without being asked"))
    }

    /// Whether a person is asked.
    pub(crate) fn asks(&self) -> bool {
        !self.assume_yes
    }

    /// Asks a person, unless told not to.
    pub(crate) fn confirm(&self, question: &str) -> Result<(), CliError> {
        if self.assume_yes {
            return Ok(());
        }
        ask(question, &mut io::stdin().lock(), &mut io::stderr())
    }
}

fn ask(question: &str, from: &mut impl BufRead, to: &mut impl Write) -> Result<(), CliError> {
    let mut answer = String::new();
    let asked = write!(to, "{question} [y/N] ")
        .and_then(|()| to.flush())
        .and_then(|()| from.read_line(&mut answer));
    asked.map_err(|error| CliError::new(Exit::Wrong, format!("can't ask: {error}")))?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(CliError::new(
            Exit::Wrong,
            "not confirmed: nothing was done",
        )),
    }
}

fn pretty_json(value: &impl Serialize) -> Result<String, CliError> {
    json(value, serde_json::to_string_pretty)
}

fn json<T: Serialize>(
    value: &T,
    write: impl FnOnce(&T) -> serde_json::Result<String>,
) -> Result<String, CliError> {
    write(value).map_err(|error| CliError::new(Exit::Wrong, format!("can't write JSON: {error}")))
}

/// Text from elsewhere, with whatever could steer a terminal escaped.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            plain.extend(character.escape_default());
        } else {
            plain.push(character);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_yes_is_one() {
        let answer = |text: &str| {
            let mut asked = Vec::new();
            let outcome = ask("Revoke 0001?", &mut text.as_bytes(), &mut asked);
            assert_eq!(String::from_utf8(asked).unwrap(), "Revoke 0001? [y/N] ");
            outcome.map_err(|error| error.exit())
        };
        for yes in ["y\n", "Y\n", "yes\n", " YES \n"] {
            assert_eq!(answer(yes), Ok(()), "{yes:?}");
        }
        for no in ["", "\n", "n\n", "no\n", "yesterday\n", "0001\n"] {
            assert_eq!(answer(no), Err(Exit::Wrong), "{no:?}");
        }
    }

    #[test]
    fn colour_is_for_terminals_and_for_those_who_want_it() {
        let environment = |pairs: &[(&str, &str)]| -> Environment {
            let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            pairs.iter().map(own).collect()
        };
        let style = |terminal, pairs: &[(&str, &str)]| Style::of(terminal, &environment(pairs));
        assert_eq!(style(true, &[]), Style::COLOURED);
        assert_eq!(style(true, &[("NO_COLOR", "")]), Style::COLOURED);
        assert_eq!(style(false, &[]), Style::PLAIN);
        assert_eq!(style(true, &[("NO_COLOR", "1")]), Style::PLAIN);
        assert_eq!(style(true, &[("TERM", "dumb")]), Style::PLAIN);
    }

    #[test]
    fn nothing_from_elsewhere_steers_the_terminal() {
        assert_eq!(
            plain("20 °C\x1b[2J\u{9b}1m\n"),
            "20 °C\\u{1b}[2J\\u{9b}1m\\n"
        );
    }
}
