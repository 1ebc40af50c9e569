//! Every command and sample in the documents is run here, as its block's info string says:
//!
//! | info string | what happens |
//! |---|---|
//! | `sh` | runs, and succeeds; what it exports holds for the blocks after it |
//! | `sh fails N` | runs, and ends with status N |
//! | `sh background` | runs until the document's end; the site must come up |
//! | `sh project` | runs in the project's folder |
//! | `sh cluster` | needs more than this machine: `leafgate` commands must exist with these flags |
//! | `toml policy` | is a policy file |
//! | `sh vault` | runs against a Vault of its own, `vault` by a stand-in for Vault's tool |
//! | `toml callout` | is a configuration of the callout |
//! | `toml registry` | is a configuration of the registry |
//! | `toml registry section` | is a section of the one before |
//! | `text` | is output, or a picture |

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use leafgate_auth_callout::Config;
use leafgate_policy::{Constants, PolicySet, PolicySource};
use leafgate_processes::Child;
use leafgate_testkit::vault::{VaultServer, VaultSettings};

use crate::support::{options, project};

/// How long a site in the background may take to come up, and to end.
const SITE_PATIENCE: Duration = Duration::from_secs(30);

/// Keeps what a block has exported, in the stage's folder.
const EXPORTED: &str = ".exported";

#[tokio::test]
async fn the_readme_is_true() {
    run_document("README.md").await;
}

#[tokio::test]
async fn the_first_fleet_is_true() {
    run_document("docs/first-fleet.md").await;
}

#[tokio::test]
async fn the_page_on_the_command_line_is_true() {
    run_document("docs/cli.md").await;
}

#[tokio::test]
async fn the_page_on_policies_is_true() {
    run_document("docs/policies.md").await;
}

#[tokio::test]
async fn the_page_on_the_callout_is_true() {
    run_document("docs/callout.md").await;
}

#[tokio::test]
async fn the_page_on_the_registry_is_true() {
    run_document("docs/registry.md").await;
}

#[tokio::test]
async fn the_page_on_rotation_is_true() {
    run_document("docs/rotation.md").await;
}

#[tokio::test]
async fn the_page_on_agent_and_doctor_is_true() {
    run_document("docs/agent.md").await;
}

#[tokio::test]
async fn the_page_on_performance_is_true() {
    run_document("docs/performance.md").await;
}

#[tokio::test]
async fn the_page_on_vault_is_true() {
    run_document("docs/vault.md").await;
}

#[test]
fn the_demo_proves_every_step() {
    let stage = Stage::new();
    let output = stage.run("leafgate demo", &stage.folder());
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.contains("12 of 12 proven"), "{text}");
    let readme = fs::read_to_string(project().join("README.md")).unwrap();
    for promise in readme
        .lines()
        .filter_map(|line| line.trim().strip_prefix('✓'))
    {
        let (_time, step) = promise.split_once(" s  ").unwrap();
        assert!(text.contains(step), "the README promises {step:?}:\n{text}");
    }
}

pub struct Block {
    pub info: String,
    pub line: usize,
    pub text: String,
}

async fn run_document(name: &str) {
    let blocks = blocks(&fs::read_to_string(project().join(name)).unwrap());
    assert!(!blocks.is_empty(), "{name} has no block");
    let mut stage = Stage::new();
    let mut vault = None;
    let mut registry_config = String::new();
    for block in blocks {
        let place = format!("{name}:{}", block.line);
        let words: Vec<&str> = block.info.split(' ').collect();
        match words.as_slice() {
            ["sh"] if block.text.starts_with("make ") => check_make(&place, &block.text),
            ["sh"] => {
                let script = format!("{}export -p > {EXPORTED}\n", block.text);
                stage.expect(&place, &script, &stage.folder(), 0);
            }
            ["sh", "project"] => stage.expect(&place, &block.text, &project(), 0),
            ["sh", "fails", status] => {
                stage.expect(
                    &place,
                    &block.text,
                    &stage.folder(),
                    status.parse().unwrap(),
                );
            }
            ["sh", "background"] => stage.start(&block.text).await,
            ["sh", "cluster"] => stage.lint(&place, &block.text),
            ["toml", "policy"] => check_policy(&place, block.text),
            ["sh", "vault"] => {
                let folder = stage.folder();
                let vault =
                    vault.get_or_insert_with(|| VaultServer::start(&VaultSettings::default()));
                vault.admin().run_commands(&block.text, &folder).await;
            }
            ["toml", "callout"] => check_config(&place, &block.text),
            ["toml", "registry"] => {
                check_registry_config(&place, &block.text);
                registry_config = block.text;
            }
            ["toml", "registry", "section"] => {
                check_registry_config(&place, &format!("{registry_config}\n{}", block.text));
            }
            ["text"] => {}
            _ => panic!("{place}: a block with info string {:?}", block.info),
        }
    }
    stage.end().await;
}

/// The fenced blocks of a document.
pub fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut inside = false;
    for (index, line) in text.lines().enumerate() {
        match line.strip_prefix("```") {
            Some(_) if inside => inside = false,
            Some(info) => {
                inside = true;
                blocks.push(Block {
                    info: info.to_owned(),
                    line: index + 1,
                    text: String::new(),
                });
            }
            None if inside => {
                let block = blocks.last_mut().unwrap();
                block.text.push_str(line);
                block.text.push('\n');
            }
            None => {}
        }
    }
    blocks
}

/// A folder to run commands in, with the fresh programs first on the PATH.
struct Stage {
    background: Option<Child>,
    folder: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            background: None,
        }
    }

    fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    fn command(script: &str, folder: &Path) -> Command {
        let programs = Path::new(env!("CARGO_BIN_EXE_leafgate")).parent().unwrap();
        let nats_server = options().nats_server.path().parent().unwrap().to_owned();
        let path = format!(
            "{}:{}:/usr/local/bin:/usr/bin:/bin",
            programs.display(),
            nats_server.display()
        );
        let script = format!("if [ -f {EXPORTED} ]; then . ./{EXPORTED}; fi\n{script}");
        let mut command = Command::new("bash");
        command
            .args(["-euo", "pipefail", "-c", &script])
            .current_dir(folder)
            .env_clear()
            .env("PATH", path)
            .env("USER", "reader")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, script: &str, folder: &Path) -> Output {
        Self::command(script, folder).output().unwrap()
    }

    fn expect(&self, place: &str, script: &str, folder: &Path, status: i32) {
        let output = self.run(script, folder);
        assert_eq!(
            output.status.code(),
            Some(status),
            "{place}: {script}{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    async fn start(&mut self, script: &str) {
        let script = format!("exec {script}");
        let command = Self::command(&script, self.folder.path());
        let log = self.folder.path().join("background.log");
        let child = Child::start("the site", command, &log).unwrap();
        let endpoints = self.folder.path().join(".leafgate/endpoints.json");
        self.background
            .insert(child)
            .wait_until("endpoints.json", SITE_PATIENCE, async || {
                Ok(endpoints.is_file().then_some(()))
            })
            .await
            .unwrap_or_else(|error| panic!("{error}"));
    }

    async fn end(self) {
        if let Some(mut site) = self.background {
            let status = site.stop(SITE_PATIENCE).await.unwrap();
            assert!(status.success(), "the site did not end in order: {status}");
        }
    }

    /// Each `leafgate` command must know its subcommands and flags.
    fn lint(&self, place: &str, script: &str) {
        let commands = script.lines().filter(|line| line.starts_with("leafgate"));
        for line in commands {
            let mut words = line.split_whitespace();
            let program = words.next().unwrap();
            let nouns: Vec<&str> = words
                .clone()
                .take_while(|word| {
                    word.chars().all(|c| c.is_ascii_lowercase() || c == '-')
                        && !word.starts_with('-')
                })
                .collect();
            let help = self.run(&format!("{program} {} --help", nouns.join(" ")), &project());
            let text = String::from_utf8_lossy(&help.stdout);
            assert!(help.status.success(), "{place}: {line}");
            for flag in words.filter(|word| word.starts_with("--")) {
                assert!(text.contains(flag), "{place}: {line}: {flag} is unknown");
            }
        }
    }
}

fn check_make(place: &str, text: &str) {
    for line in text.lines() {
        let command = line.split('#').next().unwrap().trim();
        let target = command.strip_prefix("make ").unwrap();
        let known = Command::new("make")
            .args(["--dry-run", target])
            .current_dir(project())
            .output()
            .unwrap();
        assert!(known.status.success(), "{place}: make knows no {target}");
    }
}

fn check_policy(place: &str, text: String) {
    let source = PolicySource {
        name: place.to_owned(),
        text,
    };
    let loaded = PolicySet::load(&[source], &Constants::default());
    assert!(loaded.is_ok_and(|set| set.prove().is_isolated()), "{place}");
}

fn check_registry_config(place: &str, text: &str) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    if let Err(error) = leafgate_registry_api::Config::load(file.path(), &Default::default()) {
        panic!("{place}: {error}");
    }
}

fn check_config(place: &str, text: &str) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    if let Err(error) = Config::load(file.path(), &Default::default()) {
        panic!("{place}: {error}");
    }
}
