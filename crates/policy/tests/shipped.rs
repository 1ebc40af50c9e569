//! The shipped policies load, keep their golden cases, and prove what their headers say.

use std::fs;
use std::path::{Path, PathBuf};

use leafgate_policy::{Constants, PolicySet, PolicySource, run_cases};

fn policies() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies")
}

fn toml_files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the folder is shipped")
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{}", folder.display());
    files
}

fn load(path: &Path) -> PolicySet {
    let text = fs::read_to_string(path).expect("the file can be read");
    let source = PolicySource::new(path, text);
    PolicySet::load(&[source], &Constants::default()).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn every_shipped_policy_loads_and_is_proven() {
    for path in toml_files(&policies()) {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# "), "{} has a header", path.display());
        let proof = load(&path).prove();
        assert!(proof.is_isolated(), "{proof}");
        assert!(proof.unused.is_empty(), "{proof}");
    }
}

#[test]
fn every_shipped_case_passes_and_every_policy_has_cases() {
    let mut tried = Vec::new();
    for path in toml_files(&policies().join("cases")) {
        let source = PolicySource::new(&path, fs::read_to_string(&path).unwrap());
        let results = run_cases(&source, &Constants::default(), |path| {
            fs::read_to_string(path)
        })
        .unwrap_or_else(|e| panic!("{e}"));
        assert!(results.passed(), "{results}");
        tried.push(fs::canonicalize(&results.policy).unwrap());
    }
    for path in toml_files(&policies()) {
        assert!(
            tried.contains(&fs::canonicalize(&path).unwrap()),
            "{}",
            path.display()
        );
    }
}

#[test]
fn the_device_policy_isolates() {
    let proof = load(&policies().join("device.toml")).prove();
    assert!(proof.policies.iter().all(|policy| policy.isolated));
    assert!(proof.sharings.is_empty());
    assert_eq!(proof.reply_paths.len(), 1);
}

#[test]
fn the_seed_policy_shares_what_it_declares_and_the_cost_is_printed() {
    let proof = load(&policies().join("seed-compatible.toml")).prove();
    assert_eq!(proof.sharings.len(), 1);
    let sharing = &proof.sharings[0];
    assert_eq!(sharing.subject, "_INBOX.>");
    assert!(sharing.is_declared());
    let text = proof.to_string();
    for cost in [
        "shared:   _INBOX.> between all devices of \"seed-compatible\"",
        "any device can publish to what another subscribes to",
        "any device can publish in the name of another",
        "any device can read what is sent to another, replies included",
        "any device can read what another publishes",
    ] {
        assert!(text.contains(cost), "{cost}\n{text}");
    }
}
