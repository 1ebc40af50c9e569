//! `leafgate policy`.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use leafgate_identity::DeviceId;
use leafgate_policy::{
    CaseResults, ConnectionFacts, ConnectionType, Constants, DeviceFacts, LoadPolicyError,
    LoadPolicyErrors, PolicySet, PolicySource, PolicySummary, Proof, run_cases,
};
use serde::Serialize;

use super::Context;
use super::console::{Colour, Style};
use super::device::{attributes, name_and_value, parse_id};
use super::error::{CliError, Exit};
use super::files::read_text;
use super::table::count;

/// Where policies are looked for when no file is named.
const FOLDER: &str = "policies";
const DEFAULT_POLICY: &str = "policies/device.toml";
const CASES_FOLDER: &str = "policies/cases";

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Check policy files: syntax, subjects, accounts, and that every policy can be reached.
    Check {
        /// Files that are loaded together, in this order [default: policies/device.toml].
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
        #[command(flatten)]
        constants: ConstantArguments,
    },
    /// Tell what a device gets, and why.
    Explain(ExplainArguments),
    /// Run golden cases: a device in, a grant or a denial out.
    Test {
        /// Case files, each of which names its policy [default: policies/cases/*.toml].
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
        #[command(flatten)]
        constants: ConstantArguments,
    },
    /// Prove that no device reaches another's subjects but where its policy says so.
    Prove {
        /// Files that are loaded together, in this order [default: each of policies/*.toml by itself].
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
        #[command(flatten)]
        constants: ConstantArguments,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct ConstantArguments {
    /// What {prefix} stands for in subjects.
    #[arg(
        long,
        value_name = "PREFIX",
        env = "DEVICE_SUBJECT_PREFIX",
        default_value = "device"
    )]
    subject_prefix: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct ExplainArguments {
    /// The device's id; it need not be registered.
    id: String,
    /// Its type.
    #[arg(long = "type", value_name = "TYPE", default_value = "device")]
    device_type: String,
    /// An attribute; may be repeated.
    #[arg(long = "attr", value_name = "NAME=VALUE", value_parser = name_and_value)]
    attributes: Vec<(String, String)>,
    /// The site at which it logs in.
    #[arg(long, value_name = "SITE", default_value = "demo")]
    site: String,
    /// As if it were quarantined.
    #[arg(long)]
    quarantined: bool,
    /// How it connects: STANDARD, WEBSOCKET, LEAFNODE, LEAFNODE_WS, MQTT, MQTT_WS or IN_PROCESS.
    /// Without this, any way that the policy admits.
    #[arg(long, value_name = "TYPE", value_parser = connection_type)]
    connection: Option<ConnectionType>,
    /// The address it connects from.
    #[arg(long, value_name = "ADDRESS", requires = "connection")]
    source: Option<IpAddr>,
    /// A policy file; may be repeated, the order counts.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_POLICY)]
    policy: Vec<PathBuf>,
    #[command(flatten)]
    constants: ConstantArguments,
}

#[derive(Serialize)]
struct CheckView {
    policies: Vec<PolicySummary>,
}

#[derive(Serialize)]
struct TestView {
    files: Vec<CaseResults>,
}

#[derive(Serialize)]
struct ProveView {
    proofs: Vec<Proof>,
}

impl ConstantArguments {
    fn constants(&self) -> Constants {
        Constants {
            prefix: self.subject_prefix.clone(),
            ..Constants::default()
        }
    }
}

pub(super) fn run(command: &Command, context: &Context) -> Result<Exit, CliError> {
    match command {
        Command::Check { files, constants } => check(files, &constants.constants(), context),
        Command::Explain(arguments) => explain(arguments, context),
        Command::Test { files, constants } => test(files, &constants.constants(), context),
        Command::Prove { files, constants } => prove(files, &constants.constants(), context),
    }
}

fn check(files: &[PathBuf], constants: &Constants, context: &Context) -> Result<Exit, CliError> {
    let default = [PathBuf::from(DEFAULT_POLICY)];
    let set = load(or_default(files, &default), constants)?;
    let view = CheckView {
        policies: set.policies().collect(),
    };
    context.console.show(&view, |style| {
        let lines: Vec<String> = view.policies.iter().map(|it| summary(it, style)).collect();
        lines.join("\n")
    })?;
    Ok(Exit::Done)
}

fn summary(policy: &PolicySummary, style: Style) -> String {
    let PolicySummary {
        name,
        location,
        account,
        quarantine,
    } = policy;
    let ok = style.paint(Colour::Good, "ok");
    let quarantine = if *quarantine { "with" } else { "without" };
    format!(
        "{ok}   policy \"{name}\" ({location}), account {account}, {quarantine} a quarantine grant"
    )
}

fn explain(arguments: &ExplainArguments, context: &Context) -> Result<Exit, CliError> {
    let id: DeviceId = parse_id(&arguments.id)?;
    let set = load(&arguments.policy, &arguments.constants.constants())
        .map_err(|error| error.exiting(Exit::Usage))?;
    let attributes = attributes(&arguments.attributes)?;
    let facts = DeviceFacts {
        id: &id,
        device_type: &arguments.device_type,
        site: &arguments.site,
        attributes: &attributes,
        quarantined: arguments.quarantined,
    };
    let connection = arguments.connection.map(|connection_type| ConnectionFacts {
        connection_type,
        source: arguments.source,
    });
    let explanation = set.explain(&facts, connection.as_ref());
    context
        .console
        .show(&explanation, |_| explanation.to_string())?;
    Ok(Exit::Done)
}

fn test(files: &[PathBuf], constants: &Constants, context: &Context) -> Result<Exit, CliError> {
    let default = if files.is_empty() {
        toml_files(CASES_FOLDER)?
    } else {
        Vec::new()
    };
    let mut results = Vec::new();
    for path in or_default(files, &default) {
        let source = read_source(path)?;
        let result = run_cases(&source, constants, |path| fs::read_to_string(path));
        results.push(result.map_err(|errors| refused(&errors))?);
    }
    let passed = results.iter().all(CaseResults::passed);
    let view = TestView { files: results };
    context.console.show(&view, |style| {
        let texts: Vec<String> = view.files.iter().map(ToString::to_string).collect();
        paint_lines(
            &texts.join("\n\n"),
            &[("ok ", Colour::Good), ("FAIL ", Colour::Bad)],
            style,
        )
    })?;
    Ok(if passed { Exit::Done } else { Exit::Wrong })
}

fn prove(files: &[PathBuf], constants: &Constants, context: &Context) -> Result<Exit, CliError> {
    let sets = if files.is_empty() {
        let files = toml_files(FOLDER)?;
        files.into_iter().map(|file| vec![file]).collect()
    } else {
        vec![files.to_vec()]
    };
    let mut proofs = Vec::new();
    for files in &sets {
        proofs.push(load(files, constants)?.prove());
    }
    let isolated = proofs.iter().all(Proof::is_isolated);
    let view = ProveView { proofs };
    context.console.show(&view, |style| {
        let texts: Vec<String> = view.proofs.iter().map(ToString::to_string).collect();
        let labels = [
            ("isolated:", Colour::Good),
            ("shared:", Colour::Careful),
            ("reply:", Colour::Careful),
            ("unused:", Colour::Careful),
            ("leak:", Colour::Bad),
        ];
        paint_lines(&texts.join("\n"), &labels, style)
    })?;
    Ok(if isolated { Exit::Done } else { Exit::Wrong })
}

fn or_default<'a>(files: &'a [PathBuf], default: &'a [PathBuf]) -> &'a [PathBuf] {
    if files.is_empty() { default } else { files }
}

fn load(files: &[PathBuf], constants: &Constants) -> Result<PolicySet, CliError> {
    let sources: Vec<PolicySource> = files
        .iter()
        .map(|path| read_source(path))
        .collect::<Result<_, _>>()?;
    PolicySet::load(&sources, constants).map_err(|errors| refused(&errors))
}

fn read_source(path: &Path) -> Result<PolicySource, CliError> {
    let text = read_text(path).map_err(|error| match path.exists() {
        false => error.hint("name the file, or call this where the folder policies/ is"),
        true => error,
    })?;
    Ok(PolicySource::new(path, text))
}

fn refused(errors: &LoadPolicyErrors) -> CliError {
    let mut all = errors.iter();
    match (all.next(), all.len()) {
        (
            Some(LoadPolicyError {
                location,
                message,
                hint,
            }),
            0,
        ) => {
            let place = location
                .iter()
                .map(|at| format!("{at}: "))
                .collect::<String>();
            let error = CliError::new(Exit::Wrong, format!("{place}{message}"));
            hint.iter().fold(error, CliError::hint)
        }
        (_, others) => CliError::new(
            Exit::Wrong,
            format!("{}:\n{errors}", count(others + 1, "problem")),
        ),
    }
}

/// The TOML files of a folder, by name.
fn toml_files(folder: &str) -> Result<Vec<PathBuf>, CliError> {
    let folder = Path::new(folder);
    let hint = "name the files, or call this where the folder policies/ is";
    let read = || -> io::Result<Vec<PathBuf>> {
        let paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
        paths.collect()
    };
    let mut files = read().map_err(|error| CliError::file("read", folder, &error).hint(hint))?;
    files.retain(|path| path.is_file() && path.extension().is_some_and(|it| it == "toml"));
    files.sort();
    if files.is_empty() {
        let error = CliError::usage(format!("{} holds no .toml file", folder.display()));
        return Err(error.hint(hint));
    }
    Ok(files)
}

fn connection_type(text: &str) -> Result<ConnectionType, String> {
    let known = ConnectionType::ALL.map(ConnectionType::as_str).join(", ");
    ConnectionType::from_name(text).ok_or_else(|| format!("it is one of {known}"))
}

/// Colours the word that a line begins with.
fn paint_lines(text: &str, labels: &[(&str, Colour)], style: Style) -> String {
    let paint = |line: &str| {
        let found = labels.iter().find(|(label, _)| line.starts_with(label));
        found.map_or_else(
            || line.to_owned(),
            |(label, colour)| format!("{}{}", style.paint(*colour, label), &line[label.len()..]),
        )
    };
    text.lines().map(paint).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_word_at_the_beginning_of_a_line_is_coloured() {
        let labels = [("ok ", Colour::Good), ("FAIL ", Colour::Bad)];
        let text = "ok    ok\n  ok\nFAIL  x";
        assert_eq!(paint_lines(text, &labels, Style::PLAIN), text);
        assert_eq!(
            paint_lines(text, &labels, Style::COLOURED),
            "\x1b[32mok \x1b[0m   ok\n  ok\n\x1b[31mFAIL \x1b[0m x"
        );
    }
}
