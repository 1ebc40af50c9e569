use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Map, Value, json};

use super::VaultAdmin;

impl VaultAdmin {
    /// Carries out commands as documents have them: those of Vault's own tool (`secrets enable`, `secrets tune`, `write`,
    /// `policy write`), with `@FILE` and `> FILE` in `folder`; everything else by the shell. What is not found in the
    /// folder is taken from the project's. Panics where one fails, or is of another kind.
    pub async fn run_commands(&self, text: &str, folder: &Path) {
        let mut variables: HashMap<String, String> = HashMap::new();
        for line in text.replace("\\\n", " ").lines() {
            let mut line = line.trim().to_owned();
            for (name, value) in &variables {
                line = line.replace(&format!("${name}"), value);
            }
            match (line.strip_prefix("vault "), line.split_once("=$(")) {
                (Some(command), _) => self.run_command(command, folder).await,
                (None, Some((name, rest))) => {
                    let command = rest.strip_suffix(')').expect("one substitution");
                    variables.insert(name.to_owned(), shell(command, folder));
                }
                (None, None) if line.is_empty() || line.starts_with('#') => {}
                (None, None) => drop(shell(&line, folder)),
            }
        }
    }

    async fn run_command(&self, command: &str, folder: &Path) {
        let (command, output) = match command.split_once(" > ") {
            Some((command, output)) => (command, Some(folder.join(output.trim()))),
            None => (command, None),
        };
        let words = words(command);
        let (options, words): (Vec<_>, Vec<_>) =
            words.into_iter().partition(|word| word.starts_with('-'));
        let option = |name: &str| {
            let prefix = format!("-{name}=");
            options
                .iter()
                .find_map(|option| option.strip_prefix(&prefix))
        };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words[..] {
            ["secrets", "enable", "kv"] => {
                self.mount_kv_at(option("path").expect("-path")).await;
            }
            ["secrets", "enable", kind] => {
                let path = format!("sys/mounts/{}", option("path").unwrap_or(kind));
                self.request("POST", &path, json!({ "type": kind })).await;
            }
            ["secrets", "tune", mount] => {
                let limit = option("max-lease-ttl").expect("-max-lease-ttl");
                let path = format!("sys/mounts/{mount}/tune");
                self.request("POST", &path, json!({ "max_lease_ttl": limit }))
                    .await;
            }
            ["policy", "write", name, file] => {
                self.put_policy(name, &read(folder, file)).await;
            }
            ["write", path, ref pairs @ ..] => {
                let body: Map<String, Value> = pairs
                    .iter()
                    .map(|pair| {
                        let (name, value) = pair.split_once('=').expect("NAME=VALUE");
                        let value = match value.strip_prefix('@') {
                            Some(file) => read(folder, file),
                            None => value.to_owned(),
                        };
                        (name.to_owned(), Value::String(value))
                    })
                    .collect();
                let answer = self.request("POST", path, Value::Object(body)).await;
                if let (Some(field), Some(output)) = (option("field"), output) {
                    let value = answer.pointer(&format!("/data/{field}"));
                    let text = value.and_then(Value::as_str).expect("the field");
                    std::fs::write(output, text).expect("a scratch folder");
                }
            }
            _ => panic!("vault {command}: no such command is known here"),
        }
    }
}

/// The words of a command, in which `"` may stand around blanks.
fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for letter in command.chars() {
        match letter {
            '"' => quoted = !quoted,
            letter if letter.is_whitespace() && !quoted => words.push(String::new()),
            letter => words.last_mut().expect("one at least").push(letter),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn read(folder: &Path, file: &str) -> String {
    let project = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = std::fs::read_to_string(folder.join(file))
        .or_else(|_| std::fs::read_to_string(project.join(file)));
    text.unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn shell(command: &str, folder: &Path) -> String {
    let output = Command::new("sh")
        .args(["-ec", command])
        .current_dir(folder)
        .output()
        .expect("a shell");
    assert!(output.status.success(), "{command}: {output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    text.trim_end().to_owned()
}
