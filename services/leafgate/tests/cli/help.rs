//! The help of every command, as committed. `LEAFGATE_WRITE_HELP=1 cargo test -p leafgate --test cli help`
//! writes it anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::Desk;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/help")
}

/// The help of a command and of all commands within it, by their words.
fn collect(desk: &Desk, words: &[String], into: &mut BTreeMap<String, String>) {
    let done = desk.run_with(words.iter().map(String::as_str).chain(["--help"]));
    assert_eq!((done.exit, done.stderr.as_str()), (0, ""), "{words:?}");
    for command in commands(&done.stdout) {
        let mut words = words.to_owned();
        words.push(command);
        collect(desk, &words, into);
    }
    let words = ["leafgate"]
        .into_iter()
        .chain(words.iter().map(String::as_str));
    let lines: Vec<&str> = done.stdout.lines().map(str::trim_end).collect();
    into.insert(words.collect::<Vec<_>>().join("-"), lines.join("\n") + "\n");
}

/// The names under `Commands:`.
fn commands(help: &str) -> Vec<String> {
    help.lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            line.strip_prefix("  ")
                .filter(|line| !line.starts_with(' '))
        })
        .filter_map(|line| line.split(' ').next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

fn committed() -> BTreeMap<String, String> {
    let files = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    files
        .map(|path| (name(&path), fs::read_to_string(&path).unwrap()))
        .collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "asks whether to write the files anew"
)]
fn is_to_be_written() -> bool {
    std::env::var("LEAFGATE_WRITE_HELP").is_ok()
}

#[test]
fn help_is_as_committed() {
    let mut shown = BTreeMap::new();
    collect(&Desk::empty(), &[], &mut shown);
    assert!(
        shown.contains_key("leafgate-device-register"),
        "{:?}",
        shown.keys()
    );
    if is_to_be_written() {
        for name in committed().keys() {
            fs::remove_file(folder().join(format!("{name}.txt"))).unwrap();
        }
        for (name, text) in &shown {
            fs::write(folder().join(format!("{name}.txt")), text).unwrap();
        }
    }
    let committed = committed();
    assert_eq!(
        committed.keys().collect::<Vec<_>>(),
        shown.keys().collect::<Vec<_>>(),
        "commands came or went; see the head of this file"
    );
    for (name, text) in &shown {
        assert_eq!(
            text, &committed[name],
            "the help of {name} changed; see the head of this file"
        );
    }
}

#[test]
fn every_option_is_explained() {
    for (name, text) in committed() {
        let lines: Vec<&str> = text.lines().collect();
        let bare: Vec<_> = lines
            .windows(2)
            .filter_map(|pair| Some((pair[0].strip_prefix("      --")?, pair[1].trim_start())))
            .filter(|(option, _)| !option.contains("  "))
            .filter(|(_, next)| next.is_empty() || next.starts_with('-'))
            .collect();
        assert!(bare.is_empty(), "{name}: {bare:?}");
        assert!(
            text.lines().all(|line| line.chars().count() <= 100),
            "{name}"
        );
    }
}
