//! What must hold of the repository itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use leafgate_admission::Reason;
use serde_json::Value;

use crate::support::project;

fn cargo(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .args(["--locked", "--offline"])
        .current_dir(project())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// Name and licence of every package that is built. `cargo metadata` would also name those that a
/// feature mentions without needing them, such as ring behind `ring?/alloc`.
fn built() -> BTreeMap<String, String> {
    let format = ["--prefix", "none", "--format", "{p}\t{l}"];
    let tree = [&["tree", "--workspace", "--edges", "all"][..], &format].concat();
    let text = String::from_utf8(cargo(&tree)).unwrap();
    let lines = text.lines().filter_map(|line| line.split_once('\t'));
    lines
        .map(|(package, licence)| {
            let name = package.split(' ').next().unwrap().to_owned();
            (name, licence.trim_end_matches(" (*)").to_owned())
        })
        .collect()
}

#[test]
fn there_is_one_crypto_provider() {
    let built = built();
    assert!(
        built.contains_key("aws-lc-rs") && built.len() > 100,
        "{built:?}"
    );
    for banned in [
        "ring",
        "openssl",
        "openssl-sys",
        "native-tls",
        "mbedtls",
        "boring",
    ] {
        assert!(
            !built.contains_key(banned),
            "{banned} is built: cargo tree -i {banned}"
        );
    }
}

#[test]
fn every_licence_is_permissive() {
    for (name, licence) in built() {
        let acceptable = licence
            .replace('/', " OR ")
            .split(" AND ")
            .map(|part| part.trim_matches(['(', ')']))
            .all(|part| part.split(" OR ").any(is_permissive));
        assert!(acceptable, "{name}: {licence:?}");
    }
}

fn is_permissive(licence: &str) -> bool {
    const PERMISSIVE: [&str; 10] = [
        "Apache-2.0",
        "MIT",
        "ISC",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "Zlib",
        "Unicode-3.0",
        "MIT-0",
        "CDLA-Permissive-2.0",
        "BSL-1.0",
    ];
    let licence = licence.trim_matches(['(', ')', ' ']);
    PERMISSIVE.contains(&licence.split(" WITH ").next().unwrap())
}

#[test]
fn a_direct_dependency_has_one_version() {
    let metadata: Value =
        serde_json::from_slice(&cargo(&["metadata", "--format-version", "1", "--no-deps"]))
            .unwrap();
    let members: BTreeSet<&str> = metadata["workspace_members"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let mut requirements: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        if members.contains(package["id"].as_str().unwrap()) {
            for dependency in package["dependencies"].as_array().unwrap() {
                let name = dependency["name"].as_str().unwrap();
                requirements
                    .entry(name)
                    .or_default()
                    .insert(dependency["req"].as_str().unwrap());
            }
        }
    }
    for (name, versions) in requirements {
        assert_eq!(versions.len(), 1, "{name} is required as {versions:?}");
    }
}

#[test]
fn every_reason_is_documented_in_order_and_nothing_else_is() {
    let page = fs::read_to_string(project().join("docs/reasons.md")).unwrap();
    let documented: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .collect();
    let reasons: Vec<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(documented, reasons);
}

#[test]
fn links_between_documents_lead_somewhere() {
    let docs = fs::read_dir(project().join("docs")).unwrap();
    let pages = docs.map(|entry| entry.unwrap().path()).chain(
        [
            "README.md",
            "ARCHITECTURE.md",
            "CONTRIBUTING.md",
            "SECURITY.md",
        ]
        .map(|name| project().join(name)),
    );
    for page in pages.filter(|page| page.extension().is_some_and(|kind| kind == "md")) {
        let text = fs::read_to_string(&page).unwrap();
        for target in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let file = target.split('#').next().unwrap();
            if !target.starts_with("http") && !file.is_empty() {
                let path = page.parent().unwrap().join(file);
                assert!(path.exists(), "{}: {target}", page.display());
            }
        }
    }
}
