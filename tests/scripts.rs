//! The scripts for people who provision devices, run as they run them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use leafgate::local::{Credentials, Device, LocalSite};
use serde_json::Value;

use crate::support::figures::record_fault;
use crate::support::registry_client::{openssl, with_registry};
use crate::support::{TestSite, project, scale};

/// Devices of a small fleet, times `LEAFGATE_TEST_SCALE`.
const FLEET: usize = 50;

#[tokio::test]
async fn a_device_is_registered_by_script_and_logs_in() {
    let site = TestSite::start(&with_registry()).await;
    let folder = site.devices.as_path();
    let run = |id: &str| script(&site.site, folder, "register-device.sh", &[id]);
    let first = said(&run("device-0007"));
    assert!(first.contains("0007 is registered"), "{first}");
    openssl(
        folder,
        "verify -x509_strict -CAfile device-ca-chain.crt device-0007.crt",
    );
    assert_eq!(mode(&folder.join("device-0007.key")), 0o600);
    let answered: Value =
        serde_json::from_slice(&fs::read(folder.join("device-0007.json")).unwrap()).unwrap();
    assert!(answered["serial"].is_string(), "{answered}");

    let credentials = Credentials {
        certificate: folder.join("device-0007.crt"),
        key: folder.join("device-0007.key"),
        ca: folder.join("device-ca-chain.crt"),
    };
    drop(
        Device::log_in(&site.url, "0007", &credentials)
            .await
            .unwrap(),
    );

    // The same command again is the same request.
    let certificate = fs::read_to_string(&credentials.certificate).unwrap();
    said(&run("0007"));
    assert_eq!(
        fs::read_to_string(&credentials.certificate).unwrap(),
        certificate
    );

    // Another one of that name is not.
    let elsewhere = tempfile::tempdir().unwrap();
    let taken = script(
        &site.site,
        elsewhere.path(),
        "register-device.sh",
        &["0007"],
    );
    assert_eq!(taken.status.code(), Some(1));
    assert!(complaint(&taken).contains("409"), "{}", complaint(&taken));
    assert!(!elsewhere.path().join("device-0007.crt").exists());
    for wrong in ["pump.7", "-", "a b", ""] {
        let refused = run(wrong);
        assert_eq!(refused.status.code(), Some(2), "{wrong:?}");
        assert!(complaint(&refused).contains("can't be a device id"));
    }
}

#[tokio::test]
async fn a_fleet_is_enrolled_by_script_and_a_broken_run_goes_on() {
    let site = TestSite::start(&with_registry()).await;
    let count = (FLEET * scale()).to_string();
    let fleet = site.devices.join("fleet");
    let run = || {
        let arguments = ["--count", &count, "--type", "pump", fleet.to_str().unwrap()];
        script(&site.site, &site.devices, "provision-fleet.sh", &arguments)
    };
    let began = Instant::now();
    let first = said(&run());
    let took = began.elapsed().as_secs();
    assert!(
        first.contains(&format!("{count} devices enrolled, 0 failed")),
        "{first}"
    );
    let serials: BTreeSet<String> = certificates(&fleet)
        .iter()
        .map(|path| {
            openssl(
                &fleet,
                &format!("x509 -noout -serial -in {}", path.display()),
            )
        })
        .collect();
    assert_eq!(serials.len(), FLEET * scale());
    record_fault(
        "devices enrol by provision-fleet.sh",
        FLEET * scale(),
        &format!("all have their certificates after {took} s"),
    );
    fs::copy(site.devices.join("ca.crt"), fleet.join("ca.crt")).unwrap();
    let credentials = Credentials::in_folder(&fleet, "0001");
    drop(
        Device::log_in(&site.url, "0001", &credentials)
            .await
            .unwrap(),
    );

    // An answer that was lost: the same key gets the same certificate.
    let lost = fs::read_to_string(fleet.join("0003.crt")).unwrap();
    fs::remove_file(fleet.join("0003.crt")).unwrap();
    let again = said(&run());
    assert!(again.contains("1 devices enrolled, 0 failed"), "{again}");
    assert_eq!(fs::read_to_string(fleet.join("0003.crt")).unwrap(), lost);

    // A device that is there, with another key.
    fs::remove_file(fleet.join("0004.crt")).unwrap();
    fs::remove_file(fleet.join("0004.key")).unwrap();
    let refused = run();
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        complaint(&refused).contains("0004: 409"),
        "{}",
        complaint(&refused)
    );
}

fn script(site: &LocalSite, folder: &Path, name: &str, arguments: &[&str]) -> Output {
    let endpoints = site.endpoints();
    let registry = endpoints.registry.unwrap();
    Command::new(project().join("scripts").join(name))
        .args(arguments)
        .current_dir(folder)
        .env("LEAFGATE_URL", registry.registry_url)
        .env("LEAFGATE_TOKEN_FILE", registry.admin_token_file)
        .env("LEAFGATE_CA_FILE", endpoints.ca_file)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", complaint(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn complaint(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn certificates(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "crt"))
        .collect()
}
