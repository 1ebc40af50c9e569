//! Who is let in, and that the server is who it should be.

use std::error::Error;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use leafgate_testkit::postgres::{PASSWORD, PostgresSettings, PostgresTls, ROLE};
use leafgate_testkit::scratch_ca::{ExtendedKeyUsagePurpose, ScratchCa, ScratchLeaf};
use tempfile::TempDir;

use super::*;

/// Why it can't be opened, all causes included. Nothing of it, and not how the options print, holds the secret.
async fn problem(options: &PostgresOptions, secret: &str) -> String {
    let error = PostgresStore::open(options).await.err().unwrap();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(&format!(": {source}"));
        cause = source.source();
    }
    for text in [&text, &format!("{error:?}"), &format!("{options:?}")] {
        assert!(!text.contains(secret), "{text}");
    }
    text
}

fn file(folder: &TempDir, name: &str, content: &str) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

#[tokio::test]
async fn a_wrong_password_is_told_without_it() {
    let database = PostgresServer::shared().create_database();
    for role in ["leafgate:open-sesame", "nobody:open-sesame"] {
        let problem = problem(&options(database.url_with(role)), "open-sesame").await;
        assert!(
            problem.contains("refuses the log-in") && problem.contains(database.name()),
            "{problem}"
        );
    }
}

#[tokio::test]
async fn a_missing_database_is_told() {
    let database = PostgresServer::shared().create_database();
    let url = database.url().replace(database.name(), "nowhere");
    let problem = problem(&options(url), PASSWORD).await;
    assert!(
        problem.contains("/nowhere?") && problem.contains("does not exist; create the database"),
        "{problem}"
    );
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told() {
    let folder = TempDir::new().unwrap();
    let url = format!(
        "postgres://u:open-sesame@/d?host={}",
        folder.path().display()
    );
    let problem = problem(&options(url), "open-sesame").await;
    assert!(problem.contains("can't be reached"), "{problem}");
}

#[tokio::test]
async fn the_password_may_come_from_a_file_and_change_there() {
    let server = PostgresServer::start(&PostgresSettings::default());
    let database = server.create_database();
    let folder = TempDir::new().unwrap();
    let password_file = file(&folder, "password", &format!("{PASSWORD}\n"));
    let from_file = PostgresOptions {
        password_file: Some(password_file.clone()),
        ..options(database.url_with(ROLE))
    };
    let store = PostgresStore::open(&from_file).await.unwrap();
    register(&store, "0001").await;

    database.sql(&format!("ALTER ROLE {ROLE} PASSWORD 'another'"));
    fs::write(&password_file, "another").unwrap();
    server.restart();
    register(&store, "0002").await;
    load(&store, "0001").await;

    fs::set_permissions(&password_file, fs::Permissions::from_mode(0o644)).unwrap();
    let told = problem(&from_file, "another").await;
    assert!(
        told.contains("the password file for") && told.contains("chmod 600"),
        "{told}"
    );
}

#[tokio::test]
async fn a_server_elsewhere_proves_who_it_is() {
    let folder = TempDir::new().unwrap();
    let (ca, other_ca) = (ScratchCa::root("database"), ScratchCa::root("other"));
    let leaf = ScratchLeaf::device("database", UnixMs::new(0))
        .with_dns_name("localhost")
        .with_extended_usages(&[ExtendedKeyUsagePurpose::ServerAuth])
        .with_validity(UnixMs::from_secs(0), UnixMs::from_secs(4_000_000_000));
    let certificate = ca.sign(&leaf);
    let server = PostgresServer::start(&PostgresSettings {
        tls: Some(PostgresTls {
            chain_pem: certificate.chain_pem,
            private_key_pem: certificate.private_key_pem,
        }),
        ..PostgresSettings::default()
    });
    let database = server.create_database();
    let login = database.url();
    let login = login.split_once("@localhost/").unwrap().0;
    let at = |host: &str, sslmode: &str, ca_file: Option<&Path>| PostgresOptions {
        ca_file: ca_file.map(Path::to_owned),
        ..options(format!(
            "{login}@{host}:{}/{}{sslmode}",
            server.port(),
            database.name()
        ))
    };
    let ca_file = file(&folder, "ca.pem", ca.certificate_pem());
    let other_ca_file = file(&folder, "other.pem", other_ca.certificate_pem());

    let trusted = PostgresStore::open(&at("localhost", "", Some(&ca_file)))
        .await
        .unwrap();
    register(&trusted, "0001").await;
    within(PATIENCE, "wake", trusted.wake()).await;
    for mode in [
        "?sslmode=prefer",
        "?sslmode=require",
        "?sslmode=disable",
        "",
    ] {
        PostgresStore::open(&at("localhost", mode, None))
            .await
            .unwrap();
    }
    let missing = problem(
        &at("localhost", "", Some(Path::new("/missing.pem"))),
        PASSWORD,
    )
    .await;
    assert!(
        missing.contains("the CA file for") && missing.contains("/missing.pem"),
        "{missing}"
    );
    for (host, ca_file) in [
        ("localhost", None),
        ("localhost", Some(&*other_ca_file)),
        ("127.0.0.1", Some(&*ca_file)),
    ] {
        let problem = problem(&at(host, "?sslmode=verify-full", ca_file), PASSWORD).await;
        assert!(problem.contains("can't be trusted"), "{host}: {problem}");
    }
}
