//! The configuration: what is wrong with it is told with its place, all of it at once.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use leafgate_registry_api::{Config, Setup};
use leafgate_runtime::{Environment, LoadConfigError};
use tempfile::TempDir;

const LEAST: &str = "\
[http]
cert_file = \"server.crt\"
key_file = \"server.key\"
[store]
url = \"sqlite:registry.db\"
[ca]
dir = \"ca\"
[[trust_domain]]
name = \"default\"
issuers = [\"ca/devices.crt\"]
";

const DOCUMENTED: &str = include_str!("../../../docs/registry.md");

fn load(text: &str) -> (TempDir, Result<Config, LoadConfigError>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("registry.toml");
    fs::write(&path, text).unwrap();
    let loaded = Config::load(&path, &Environment::default());
    (folder, loaded)
}

#[test]
fn the_least_configuration_listens_where_it_is_documented() {
    let (folder, config) = load(LEAST);
    let config = config.unwrap();
    assert_eq!(config.http.listen.to_string(), "0.0.0.0:8443");
    assert_eq!(config.status.listen.to_string(), "0.0.0.0:8080");
    assert_eq!(config.health.listen.to_string(), "0.0.0.0:9091");
    assert_eq!(config.http.cert_file, folder.path().join("server.crt"));
    let database = folder.path().join("registry.db");
    assert_eq!(config.store.url, format!("sqlite:{}", database.display()));
}

#[test]
fn the_documented_configuration_is_one() {
    let sample = DOCUMENTED.split("```toml registry\n").nth(1).unwrap();
    let sample = sample.split("```").next().unwrap();
    let (_folder, config) = load(sample);
    let (_folder, least) = load(LEAST);
    let (config, least) = (config.unwrap(), least.unwrap());
    // What it says is the default is the default.
    let limits = |config: &Config| format!("{:?} {:?}", config.limits, config.certificates);
    assert_eq!(limits(&config), limits(&least));
    assert_eq!(config.http.listen, least.http.listen);
    assert_eq!(config.status.listen, least.status.listen);
    assert_eq!(config.health.listen, least.health.listen);
}

#[test]
fn the_documented_sections_are_some() {
    let sections: Vec<&str> = DOCUMENTED
        .split("```toml registry section\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    let (_folder, config) = load(&format!("{LEAST}{}", sections.concat()));
    let config = config.unwrap();
    assert_eq!(config.clients.unwrap().grants[0].common_name, "deploy");
    assert_eq!(config.oidc.unwrap().grants[0].value, "fleet-operators");
}

#[test]
fn one_authority_signs() {
    let vault = LEAST.replace(
        "dir = \"ca\"\n",
        "[ca.vault]\nmount = \"pki\"\nroot_file = \"root.pem\"\n",
    );
    let (folder, config) = load(&vault);
    let config = config.unwrap();
    let ca = config.ca.as_vault().unwrap();
    assert_eq!((&*ca.mount, &*ca.device_role), ("pki", "device-mtls"));
    assert_eq!(ca.root_file, Some(folder.path().join("root.pem")));
    for (ca, told) in [
        ("dir = \"ca\"\n[ca.vault]\n", "take one of them out"),
        ("[ca.vault]\nmout = \"pki\"\n", "mout"),
        ("folder = \"ca\"\n", "`dir` or `vault`"),
        ("", "[ca] needs dir"),
    ] {
        let (_folder, loaded) = load(&LEAST.replace("dir = \"ca\"\n", ca));
        let error = loaded.unwrap_err().to_string();
        assert!(error.contains(told), "{ca}: {error}");
    }
}

#[test]
fn the_subject_prefix_comes_from_the_file_or_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("registry.toml");
    let prefix = |more: &str, variable: &str| {
        fs::write(&path, format!("{LEAST}{more}")).unwrap();
        let environment = [("DEVICE_SUBJECT_PREFIX".to_owned(), variable.to_owned())];
        let config = Config::load(&path, &Environment::from(environment));
        config.unwrap().subject_prefix().to_owned()
    };
    let policy = "[policy]\nsite = \"north\"\n";
    assert_eq!(prefix("", ""), "device");
    assert_eq!(prefix("", "acme.device"), "acme.device");
    assert_eq!(prefix(policy, "acme.device"), "acme.device");
    let named = format!("{policy}subject_prefix = \"plant\"\n");
    assert_eq!(prefix(&named, "acme.device"), "plant");
}

#[test]
fn an_unknown_key_is_told_with_its_line() {
    for (added, line) in [
        ("[vault]\naddres = \"https://vault\"\n", 12),
        ("[limits]\nconections = 5\n", 12),
        ("[certificate]\noverlap_secs = 5\n", 11),
        ("[policy]\nsite = \"north\"\nprefix = \"x\"\n", 13),
    ] {
        let (_folder, loaded) = load(&format!("{LEAST}{added}"));
        let error = loaded.unwrap_err();
        let LoadConfigError::InFile { line: told, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(*told, line, "{error}");
    }
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let more = "policies = [\"none.toml\"]\n[policy]\nsite = \"a b\"\n\
                [limits]\nrequests = 0\nconnections = 9000000000000000000\nbody_timeout_secs = 0\n";
    let (_folder, config) = load(&format!("{LEAST}{more}"));
    let error = Setup::load(config.unwrap()).unwrap_err();
    let problems = error.problems().join("\n");
    for part in [
        "[limits] requests: must be at least 1",
        "[limits] connections: must be at least 1 and at most 1000000",
        "[limits] body_timeout_secs: must be at least 1",
        "[http] cert_file and key_file: can't read ",
        "ca/devices.crt",
        "none.toml",
        "[policy] site: \"a b\" must be one subject token",
    ] {
        assert!(problems.contains(part), "{part}\n---\n{problems}");
    }
}

#[test]
fn a_key_must_be_that_of_the_certificate_and_private() {
    let (folder, _) = load(LEAST);
    let certificate = || {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::default();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    };
    let ((one, key), (_, other)) = (certificate(), certificate());
    let write = |name: &str, text: &str, mode: u32| {
        let path = folder.path().join(name);
        // A file that is there keeps its mode.
        let _ = fs::remove_file(&path);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let told = || {
        let config = Config::load(
            &folder.path().join("registry.toml"),
            &Environment::default(),
        );
        let error = Setup::load(config.unwrap()).unwrap_err();
        let problems = error.problems().iter();
        let of_tls = problems.filter(|it| it.starts_with("[http]"));
        of_tls.cloned().collect::<Vec<_>>().join("\n")
    };
    write("server.crt", &one, 0o644);
    for (text, mode, expected) in [
        (other.as_str(), 0o600, "is not that of the certificate in"),
        (&key, 0o644, "run chmod 600"),
        ("garbage", 0o600, "holds no private key in PEM"),
        (&key, 0o600, ""),
    ] {
        write("server.key", text, mode);
        let said = told();
        assert!(
            said.contains(expected) && said.is_empty() == expected.is_empty(),
            "{said}"
        );
        assert!(!said.contains(text.lines().nth(1).unwrap_or("garbage\n")));
    }
    write("server.crt", "garbage", 0o644);
    assert!(told().contains("holds no certificate in PEM"));
}
