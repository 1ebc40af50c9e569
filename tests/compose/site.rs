//! docker-compose.yml, brought up in a copy of this project.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::{getegid, geteuid};
use serde_json::Value;

use super::engine::{Engine, both, succeed};
use super::images::Images;
use crate::documents::blocks;
use crate::support::project;

/// How long containers may take to become healthy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A site in containers. Dropped, nothing of it remains.
pub struct ComposeSite {
    project: PathBuf,
    variables: BTreeMap<&'static str, String>,
    images: Images,
    engine: Engine,
    folder: tempfile::TempDir,
}

/// A container, as the engine tells of it.
pub struct Container {
    pub service: String,
    pub facts: Value,
}

impl ComposeSite {
    /// Builds the images and copies the project. Nothing runs yet.
    pub fn prepare() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::start(folder.path());
        let name = format!("leafgate-test-{}", std::process::id());
        let images = Images::build(&engine, folder.path(), &name, &service_user());
        let mut variables = BTreeMap::from(images.variables());
        variables.insert("COMPOSE_PROJECT_NAME", name);
        variables.insert("HEALTH_INTERVAL", "1s".to_owned());
        for port in [
            "DEVICE_PORT",
            "HUB_PORT",
            "API_PORT",
            "STATUS_PORT",
            "VAULT_PORT",
        ] {
            // The engine takes a free one.
            variables.insert(port, "0".to_owned());
        }
        let project = folder.path().join("project");
        copy_project(&project);
        Self {
            project,
            variables,
            images,
            engine,
            folder,
        }
    }

    /// The commands of a document, of which there are as many blocks.
    pub fn commands<const N: usize>(&self, document: &str) -> [String; N] {
        let blocks = blocks(&fs::read_to_string(self.project.join(document)).unwrap());
        let commands = blocks.into_iter().map(|block| {
            assert_eq!(block.info, "sh", "{document}:{}", block.line);
            block.text
        });
        let commands: Vec<String> = commands.collect();
        commands.try_into().unwrap()
    }

    /// Runs commands in the project, but for the building of images, which are there already.
    pub fn run(&self, commands: &str) {
        let lines = commands
            .lines()
            .filter(|line| !line.starts_with("docker build "));
        let compose = self.engine.compose().join(" ");
        for line in lines {
            let line = line.replace("docker compose", &compose);
            let mut bash = self.command("bash");
            let done = bash.args(["-c", &line]).output().unwrap();
            assert!(
                done.status.success(),
                "{line}: {}\n{}\n{}",
                done.status,
                both(&done),
                self.logs()
            );
        }
    }

    /// Waits until every container is healthy, and gives them.
    pub fn healthy(&self) -> Vec<Container> {
        let started = Instant::now();
        loop {
            let containers = self.containers();
            let unhealthy: Vec<&str> = containers
                .iter()
                .filter(|container| container.facts["State"]["Health"]["Status"] != "healthy")
                .map(|container| container.service.as_str())
                .collect();
            if unhealthy.is_empty() {
                return containers;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "not healthy within {PATIENCE:?}: {unhealthy:?}\n{}",
                self.logs()
            );
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// What all containers have logged.
    pub fn logs(&self) -> String {
        let mut logs = self.compose(&["logs", "--no-color"]);
        both(&logs.output().unwrap())
    }

    /// docker-compose.yml with its variables in place.
    pub fn resolved(&self) -> String {
        succeed(self.compose(&["--profile", "vault", "--profile", "tools", "config"]))
    }

    /// What the engine tells of the image of the services.
    pub fn image(&self) -> String {
        let image = &self.variables["LEAFGATE_IMAGE"];
        let facts = self.engine.docker(["image", "inspect", image]);
        facts + &self.engine.docker(["history", "--no-trunc", image])
    }

    /// A file that prepare.sh has made.
    pub fn state(&self, path: &str) -> PathBuf {
        self.project.join("deploy/compose/state").join(path)
    }

    /// A folder for the test.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn containers(&self) -> Vec<Container> {
        let name = &self.variables["COMPOSE_PROJECT_NAME"];
        let label = format!("label=com.docker.compose.project={name}");
        let ids = ["ps", "--all", "--quiet", "--filter", &label];
        let ids = self.engine.docker(ids);
        let facts = self
            .engine
            .docker(["inspect"].into_iter().chain(ids.lines()));
        let facts: Vec<Value> = serde_json::from_str(&facts).unwrap();
        facts
            .into_iter()
            .map(|facts| {
                let service = &facts["Config"]["Labels"]["com.docker.compose.service"];
                Container {
                    service: service.as_str().unwrap().to_owned(),
                    facts,
                }
            })
            .collect()
    }

    fn compose(&self, arguments: &[&str]) -> Command {
        let [program, own @ ..] = self.engine.compose() else {
            unreachable!("a command has a program")
        };
        let mut command = self.command(program);
        command.args(own).args(arguments);
        command
    }

    fn command(&self, program: &str) -> Command {
        let mut command = self.engine.command(program);
        command.envs(&self.variables).current_dir(&self.project);
        command
    }
}

impl Drop for ComposeSite {
    fn drop(&mut self) {
        // An engine of the test's own goes with all that it has.
        if !self.engine.is_own() {
            let all = ["--profile", "vault", "--profile", "tools"];
            let down = ["down", "--volumes", "--remove-orphans", "--timeout", "1"];
            let _ = self.compose(&[&all[..], &down].concat()).status();
            self.images.remove(&self.engine);
        }
    }
}

impl Container {
    /// Where this machine reaches a port of it.
    pub fn port(&self, inside: u16) -> u16 {
        let published = &self.facts["NetworkSettings"]["Ports"][format!("{inside}/tcp")][0];
        published["HostPort"].as_str().unwrap().parse().unwrap()
    }
}

/// Whom prepare.sh runs the services as.
fn service_user() -> String {
    if geteuid().is_root() {
        return "10001:10001".to_owned();
    }
    format!("{}:{}", geteuid(), getegid())
}

/// Copies what a user of docker-compose.yml needs, without what is ignored: that may be somebody's own site.
fn copy_project(to: &Path) {
    let mut list = Command::new("git");
    list.args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "--",
    ])
    .args([
        ".gitignore",
        "docker-compose.yml",
        "deploy",
        "docs",
        "policies",
    ])
    .current_dir(project());
    for file in succeed(list).lines() {
        let place = to.join(file);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::copy(project().join(file), place).unwrap();
    }
}
