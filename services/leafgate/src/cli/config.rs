//! `leafgate config`.

use std::path::{Path, PathBuf};

use leafgate_auth_callout::{Config, Setup};
use leafgate_runtime::LoadConfigError;
use serde::Serialize;

use super::Context;
use super::console::{Colour, Style};
use super::error::{CliError, Exit};
use super::table::count;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Check the configuration of a callout replica with everything that it names.
    Check {
        /// The configuration file (TOML); LEAFGATE_<SECTION>__<KEY> overrides a key.
        #[arg(long, value_name = "FILE", env = "LEAFGATE_CONFIG")]
        config: PathBuf,
    },
}

#[derive(Serialize)]
struct CheckView {
    config: PathBuf,
    warnings: Vec<String>,
    problems: Vec<String>,
    #[serde(skip)]
    facts: Vec<(&'static str, String)>,
}

pub(super) fn run(command: &Command, context: &Context) -> Result<Exit, CliError> {
    let Command::Check { config: path } = command;
    let config = Config::load(path, &context.environment).map_err(|error| refused(&error))?;
    let facts = facts(&config);
    let (warnings, problems) = match Setup::load(config) {
        Ok(setup) => (setup.warnings(), Vec::new()),
        Err(error) => (Vec::new(), error.problems().to_vec()),
    };
    let view = CheckView {
        config: path.clone(),
        warnings,
        problems,
        facts,
    };
    context
        .console
        .show(&view, |style| describe(&view, style))?;
    match view.problems.len() {
        0 => Ok(Exit::Done),
        problems => Err(CliError::usage(format!(
            "{}: {}",
            path.display(),
            count(problems, "problem")
        ))),
    }
}

fn refused(error: &LoadConfigError) -> CliError {
    let cli = CliError::caused(Exit::Usage, error);
    match error {
        LoadConfigError::Unreadable { .. } => {
            cli.hint("leafgate nats-config writes one for each replica")
        }
        LoadConfigError::InFile { .. }
        | LoadConfigError::Overlaid { .. }
        | LoadConfigError::NotASection { .. } => cli,
    }
}

/// What the configuration says, in an operator's words.
fn facts(config: &Config) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("site", config.site.clone()),
        ("replica", config.replica.clone()),
        ("servers", config.nats.urls.join("   ")),
        ("registry", config.store.url.clone()),
    ];
    for domain in &config.trust_domains {
        let paths = |paths: &[PathBuf]| {
            let shown: Vec<String> = paths
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            shown.join(", ")
        };
        facts.push((
            "trust domain",
            format!(
                "{}: {} ({} certificates)",
                domain.name,
                domain.cn_pattern,
                domain.binding.as_str()
            ),
        ));
        facts.push(("  issuers", paths(&domain.issuers)));
        facts.push(("  policies", paths(&domain.policies)));
    }
    facts.push(("health", config.http.listen.to_string()));
    facts
}

fn describe(view: &CheckView, style: Style) -> String {
    let path: &Path = &view.config;
    let mut lines = Vec::new();
    if view.problems.is_empty() {
        let ok = style.paint(Colour::Good, "ok");
        lines.push(format!("{ok}   {}", path.display()));
    }
    let width = 14;
    lines.extend(
        view.facts
            .iter()
            .map(|(name, value)| format!("  {name:<width$} {value}")),
    );
    let warning = style.paint(Colour::Careful, "warning:");
    lines.extend(view.warnings.iter().map(|text| format!("{warning} {text}")));
    let problem = style.paint(Colour::Bad, "problem:");
    let indented = |text: &String| format!("{problem} {}", text.replace('\n', "\n  "));
    lines.extend(view.problems.iter().map(indented));
    lines.join("\n")
}
