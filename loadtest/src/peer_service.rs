use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::contender::Surroundings;

/// Builds the peer of the repository at `root` with the Go toolchain on PATH.
pub(crate) fn build(root: &Path) -> Result<PathBuf> {
    let source = root.join("loadtest/peers/go-callout");
    // Absolute, because go runs in the folder of the source.
    let binary = std::path::absolute(root.join("target/peers/go-callout"))?;
    let output = Command::new("go")
        .args(["build", "-trimpath", "-o"])
        .arg(&binary)
        .arg(".")
        .current_dir(&source)
        .env("CGO_ENABLED", "0")
        .output()
        .with_context(|| {
            format!(
                "can't run go to build {}: install Go, name a built peer with --peer-bin, or leave it out with --only leafgate",
                source.display()
            )
        })?;
    if !output.status.success() {
        bail!(
            "go can't build {}\n{}",
            source.display(),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(binary)
}

pub(crate) fn command(binary: &Path, around: &Surroundings<'_>) -> Command {
    let seeds = &around.nats.seeds;
    let mut command = Command::new(binary);
    command
        .arg("-nats-url")
        .arg(&around.nats.url)
        .arg("-nkey-seed-file")
        .arg(&seeds.auth_user)
        .arg("-system-nkey-seed-file")
        .arg(&seeds.system_user)
        .arg("-issuer-seed-file")
        .arg(&seeds.issuer)
        .arg("-devices-file")
        .arg(&around.fleet.devices_file)
        .arg("-issuer-spki")
        .arg(around.fleet.issuer.to_string());
    if around.sealed {
        command.arg("-xkey-seed-file").arg(&seeds.xkey);
    }
    command
}
