use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::contender::Surroundings;
use crate::decide::TRUST_DOMAIN;

/// Writes the configuration of a `leafgate-callout` with everything as shipped but for addresses
/// and keys, and gives the command that starts it.
pub(crate) fn command(binary: &Path, policy: &Path, around: &Surroundings<'_>) -> Result<Command> {
    let config = around.dir.join("leafgate-callout.toml");
    std::fs::write(&config, configuration(policy, around)?)
        .with_context(|| format!("can't write {}", config.display()))?;
    let mut command = Command::new(binary);
    command.arg("--config").arg(config);
    Ok(command)
}

fn configuration(policy: &Path, around: &Surroundings<'_>) -> Result<String> {
    let policy = std::path::absolute(policy).context("can't find the policy")?;
    let seeds = &around.nats.seeds;
    let url = &around.nats.url;
    let xkey = if around.sealed {
        format!("xkey_seed_file = {:?}\n", seeds.xkey)
    } else {
        String::new()
    };
    Ok(format!(
        r#"site = "loadtest"
replica = "loadtest-0"

[nats]
urls = [{url:?}]
nkey_seed_file = {:?}
issuer_seed_file = {:?}
{xkey}
[system]
nkey_seed_file = {:?}

[store]
url = "sqlite:{}"

[[trust_domain]]
name = "{TRUST_DOMAIN}"
issuers = [{:?}]
policies = [{policy:?}]

[http]
listen = "127.0.0.1:0"
"#,
        seeds.auth_user,
        seeds.issuer,
        seeds.system_user,
        around.database.display(),
        around.fleet.issuer_file,
    ))
}
