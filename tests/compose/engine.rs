//! A Docker engine: that of `DOCKER_HOST`, or one of the test's own.

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crate::support::project;

/// An engine to build images and to run containers with.
pub struct Engine {
    address: String,
    /// Docker's own configuration, so that nobody's contexts and credentials count.
    config: PathBuf,
    own: Option<Child>,
}

impl Engine {
    /// Where `DOCKER_HOST` names an engine, that one; else a new one in this folder, which ends with this process.
    /// One that the machine runs is left alone.
    pub fn start(folder: &Path) -> Self {
        let config = folder.join("docker-config");
        fs::create_dir(&config).unwrap();
        if let Ok(address) = env::var("DOCKER_HOST") {
            return Self {
                address,
                config,
                own: None,
            };
        }
        let mut own = Command::new(project().join("scripts/start-docker-engine.sh"))
            .arg(folder.join("engine"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        let said = own.stdout.as_mut().unwrap();
        BufReader::new(said).read_line(&mut address).unwrap();
        assert!(
            address.starts_with("unix://"),
            "no Docker engine started; its words are above"
        );
        Self {
            address: address.trim_end().to_owned(),
            config,
            own: Some(own),
        }
    }

    /// Whether the engine, with all that is on it, goes with the test.
    pub fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// The words that Docker's Compose is called by.
    pub fn compose(&self) -> &'static [&'static str] {
        let mut plugin = self.command("docker");
        let is_there = plugin
            .args(["compose", "version"])
            .output()
            .unwrap()
            .status
            .success();
        if is_there {
            &["docker", "compose"]
        } else {
            &["docker-compose"]
        }
    }

    /// A command that speaks to this engine.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("DOCKER_HOST", &self.address)
            .env("DOCKER_CONFIG", &self.config)
            // The other builder asks registries even for images that are there.
            .env("DOCKER_BUILDKIT", "0")
            .stdin(Stdio::null());
        command
    }

    /// What `docker` prints with these arguments.
    pub fn docker<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> String {
        let mut command = self.command("docker");
        command.args(arguments);
        succeed(command)
    }

    /// Builds an image from a folder.
    pub fn build(&self, image: &str, context: &Path, arguments: &[(&str, &str)]) {
        let mut command = self.command("docker");
        command.args(["build", "--quiet", "--force-rm", "--tag", image]);
        for (name, value) in arguments {
            command.arg("--build-arg").arg(format!("{name}={value}"));
        }
        command.arg(context);
        succeed(command);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(own) = &mut self.own {
            drop(own.stdin.take());
            let _ = own.wait();
        }
    }
}

/// Runs a command that must succeed; what it prints.
pub fn succeed(mut command: Command) -> String {
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        both(&output)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// What a command printed.
pub fn both(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}
