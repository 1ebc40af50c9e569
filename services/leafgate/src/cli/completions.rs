//! `leafgate completions`.

use clap::CommandFactory;
use clap_complete::Shell;

use super::error::{CliError, Exit};
use super::{Cli, Context};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The shell.
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments, context: &Context) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut Cli::command(),
        "leafgate",
        &mut script,
    );
    context.console.print_raw(&script)?;
    Ok(Exit::Done)
}
