//! The `leafgate` command line: one module for each noun, one function for each verb.
//!
//! Commands return what went wrong as a [`CliError`](error::CliError); only [`main`] turns that
//! into words and an exit status.

mod agent;
mod api_key;
mod audit;
mod ca;
mod certificate;
mod completions;
mod config;
mod connect;
mod console;
mod crl;
mod device;
mod doctor;
pub(crate) mod error;
mod events;
mod files;
mod first_key;
mod keys;
mod moment;
mod nats_config;
mod policy;
mod progress;
pub(crate) mod registry;
mod root;
mod rotate;
mod service;
mod table;
mod token;

use std::process::ExitCode;

use clap::Parser;
use leafgate_registry::Act;
use leafgate_runtime::{Clock, Environment, SystemClock};

use self::console::{Console, Format};
use self::error::{CliError, EXIT_STATUSES, Exit};
use crate::dev::cli_act;
use crate::{demo, dev, environment};

/// Lets IoT devices into NATS leaf clusters: a registry of devices, their certificates, and the
/// auth callout that checks both.
#[derive(Debug, Parser)]
#[command(name = "leafgate", version, max_term_width = 100, after_help = EXIT_STATUSES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// How results are written: table or json.
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        default_value = "table",
        hide_possible_values = true,
        help_heading = "Global options"
    )]
    output: Format,
    /// Go ahead where a person would be asked.
    #[arg(long, global = true, help_heading = "Global options")]
    yes: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Run a hub, a leaf cluster, a registry and the callout on this machine until Ctrl-C.
    Dev(dev::Arguments),
    /// Show a device's life on real nats-servers: log-in, telemetry, commands, isolation, revocation.
    Demo(demo::Arguments),
    /// Register devices, issue their certificates, let them in and lock them out.
    Device(device::Arguments),
    /// Make a registry of devices.
    Registry(registry::Arguments),
    /// Issue certificates to nats-servers and callout replicas.
    Service(service::Arguments),
    /// Issue, renew, find and revoke certificates.
    #[command(visible_alias = "cert")]
    Certificate(certificate::Arguments),
    /// Make and revoke enrolment tokens, with which new devices let themselves in.
    Token(token::Arguments),
    /// Make and revoke API keys, with which people and programs use a registry API.
    ApiKey(api_key::Arguments),
    /// List and follow everything that is done to the registry.
    Events(events::Arguments),
    /// Keep a certificate and its key fresh: a device's, or a nats-server's.
    Agent(agent::Arguments),
    /// Look at a deployment, and say what is wrong and how to mend it.
    Doctor(doctor::Arguments),
    /// Act as a device: log in with its certificate, publish and subscribe.
    Connect(connect::Arguments),
    /// Check policies, explain what they grant, and prove that they keep devices apart.
    #[command(subcommand)]
    Policy(policy::Command),
    /// Read and verify the chain of everything that was done to the registry.
    Audit(audit::Arguments),
    /// Make, show and rotate the certificate authority, and write its revocation lists.
    #[command(subcommand)]
    Ca(ca::Command),
    /// Make nkeys.
    #[command(subcommand)]
    Keys(keys::Command),
    /// Write the configuration of a hub, a leaf cluster and its callout replicas.
    NatsConfig(Box<nats_config::Arguments>),
    /// Check the configuration of a callout replica.
    #[command(subcommand)]
    Config(config::Command),
    /// Print the completions of a shell.
    Completions(completions::Arguments),
}

/// What every command works with.
pub(crate) struct Context {
    environment: Environment,
    clock: SystemClock,
    console: Console,
}

impl Context {
    /// Who acts on the registry, and that it is now.
    fn act(&self) -> Act {
        cli_act(self.clock.now())
    }
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let environment = environment();
    let context = Context {
        console: Console::new(cli.output, cli.yes, &environment),
        environment,
        clock: SystemClock::start(),
    };
    run(&cli.command, &context).unwrap_or_else(|error| {
        context.console.report(&error);
        error.exit().into()
    })
}

fn run(command: &Command, context: &Context) -> Result<ExitCode, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::new(Exit::Wrong, format!("can't start: {error}")))?;
    let outcome = runtime.block_on(dispatch(command, context));
    // Nobody may have to end standard input for a command to end that has failed while a thread reads it.
    runtime.shutdown_background();
    outcome
}

async fn dispatch(command: &Command, context: &Context) -> Result<ExitCode, CliError> {
    let exit = match command {
        Command::Dev(arguments) => return Ok(dev::run(arguments, &context.environment).await?),
        Command::Demo(arguments) => return Ok(demo::run(arguments, &context.environment).await?),
        Command::Device(arguments) => device::run(arguments, context).await?,
        Command::Registry(arguments) => registry::run(arguments, context).await?,
        Command::Service(arguments) => service::run(arguments, context).await?,
        Command::Certificate(arguments) => certificate::run(arguments, context).await?,
        Command::Token(arguments) => token::run(arguments, context).await?,
        Command::ApiKey(arguments) => api_key::run(arguments, context).await?,
        Command::Events(arguments) => events::run(arguments, context).await?,
        Command::Agent(arguments) => agent::run(arguments, context).await?,
        Command::Doctor(arguments) => doctor::run(arguments, context).await?,
        Command::Connect(arguments) => connect::run(arguments, context).await?,
        Command::Policy(command) => policy::run(command, context)?,
        Command::Audit(arguments) => audit::run(arguments, context).await?,
        Command::Ca(command) => ca::run(command, context).await?,
        Command::Keys(command) => keys::run(command, context)?,
        Command::NatsConfig(arguments) => nats_config::run(arguments, context)?,
        Command::Config(command) => config::run(command, context)?,
        Command::Completions(arguments) => completions::run(arguments, context)?,
    };
    Ok(exit.into())
}
