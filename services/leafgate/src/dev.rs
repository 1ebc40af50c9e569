//! `leafgate dev`: a hub, a leaf cluster and the callout on this machine, to play with.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use leafgate_identity::UnixMs;
use leafgate_nats_config::Name;
use leafgate_processes::NatsServerBinary;
use leafgate_registry::{Act, Actor};
use leafgate_runtime::{Clock, Environment, SystemClock, shutdown_on_signals};
use nix::unistd::{User, geteuid};

use crate::local::{Endpoints, LocalDir, LocalSite, ServiceOptions, SiteOptions};
use crate::say;

/// Run a hub, a leaf cluster, a registry and the callout on this machine until Ctrl-C.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The folder that keeps everything from run to run.
    #[arg(
        long,
        value_name = "DIR",
        default_value = ".leafgate",
        env = "LEAFGATE_DIR"
    )]
    dir: PathBuf,
    /// Where devices connect; 0 takes any free port.
    #[arg(long, value_name = "PORT", default_value_t = 4222)]
    device_port: u16,
    /// Servers of the leaf cluster.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=9))]
    leaf_nodes: u8,
    /// Callout replicas.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=8))]
    replicas: u8,
    /// The site's name, under which the hub sees its devices.
    #[arg(long, value_name = "NAME", default_value = "demo")]
    site: Name,
}

/// What dev and demo let people choose.
pub(crate) struct SiteArguments {
    pub(crate) device_port: u16,
    pub(crate) leaf_nodes: usize,
    pub(crate) replicas: usize,
}

impl SiteArguments {
    /// The options of a local site of that name, with the programs found.
    pub(crate) fn options(
        &self,
        site: &str,
        environment: &Environment,
    ) -> anyhow::Result<SiteOptions> {
        let search_path = environment.get("PATH").map(OsStr::new);
        let nats_server = NatsServerBinary::find_for_people(search_path, Path::new("."))?;
        Ok(SiteOptions {
            device_port: self.device_port,
            leaf_nodes: self.leaf_nodes,
            replicas: self.replicas,
            registry: Some(ServiceOptions::new(own_program("leafgate-registry")?)),
            ..SiteOptions::new(site, nats_server, own_program("leafgate-callout")?)
        })
    }
}

/// Runs the site until SIGINT or SIGTERM.
///
/// # Errors
/// A part did not start, or ended by itself.
pub async fn run(arguments: &Arguments, environment: &Environment) -> anyhow::Result<ExitCode> {
    let shutdown = shutdown_on_signals().context("signal handlers")?;
    let clock = SystemClock::start();
    let options = SiteArguments {
        device_port: arguments.device_port,
        leaf_nodes: arguments.leaf_nodes.into(),
        replicas: arguments.replicas.into(),
    }
    .options(arguments.site.as_str(), environment)?;
    let act = cli_act(clock.now());
    let dir = LocalDir::create(&arguments.dir)?;
    let started = tokio::select! {
        started = LocalSite::start(dir, &options, &act) => started,
        () = shutdown.cancelled() => return Ok(ExitCode::SUCCESS),
    };
    let mut site = started?;
    welcome(
        &site.endpoints(),
        site.dir(),
        clock.monotonic().as_secs_f64(),
    );
    let failure = tokio::select! {
        failure = site.watch() => Some(failure),
        () = shutdown.cancelled() => None,
    };
    let stopped = site.stop().await;
    // What ended first explains what could not be ended after it.
    failure.map_or(stopped, Err)?;
    Ok(ExitCode::SUCCESS)
}

fn welcome(endpoints: &Endpoints, dir: &LocalDir, secs: f64) {
    let root = dir.root().display();
    say(&format!(
        "leafgate dev is ready ({secs:.1} s); Ctrl-C ends it, {root} keeps its state"
    ));
    let mut lines = vec![
        ("devices", endpoints.device_url.clone()),
        ("hub", endpoints.hub_url.clone()),
        ("health", endpoints.health_url.clone().unwrap_or_default()),
    ];
    if let Some(registry) = &endpoints.registry {
        let token = registry.admin_token_file.display();
        lines.push(("registry", registry.registry_url.clone()));
        lines.push(("its key", token.to_string()));
    }
    lines.extend([
        ("CA", endpoints.ca_file.display().to_string()),
        ("endpoints", dir.endpoints().display().to_string()),
        ("logs", dir.logs().display().to_string()),
    ]);
    for (what, value) in lines {
        say(&format!("  {what:<10} {value}"));
    }
    say("Try, in another terminal:");
    say(&format!(
        "  leafgate device register 0001 --type thermostat --out devices --dir {root}"
    ));
    say(&format!(
        "  leafgate connect 0001 --cert-dir devices --url {} --sub device.0001.cmd",
        endpoints.device_url
    ));
}

/// Who acts on the registry from the command line, and when: the user as whom this process runs,
/// whatever the environment says.
pub(crate) fn cli_act(at: UnixMs) -> Act {
    let uid = geteuid();
    let user = User::from_uid(uid).ok().flatten();
    let named = user.and_then(|user| Actor::parse(&format!("cli:{}", user.name)).ok());
    Act {
        // In a container many a user has no name.
        actor: named.unwrap_or_else(|| {
            Actor::parse(&format!("cli:uid-{uid}"))
                .expect("a short name without control characters")
        }),
        at,
    }
}

/// One of the programs that were built or installed together with this one.
fn own_program(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("where this program is")?;
    let program = own.with_file_name(name);
    anyhow::ensure!(
        program.is_file(),
        "{} is missing: leafgate, leafgate-callout and leafgate-registry belong into one folder (cargo build --bins makes them)",
        program.display()
    );
    Ok(program)
}
