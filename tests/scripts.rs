//! The scripts for people who provision devices, run as they run them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use leafgate::local::{Credentials, Device, LocalSite, LogInError};
use leafgate_identity::Binding;
use serde_json::{Value, json};

use crate::support::figures::record_fault;
use crate::support::registry_client::{RegistryClient, openssl, with_registry};
use crate::support::vault::{InVault, Vault};
use crate::support::{TestSite, eventually, project, scale};

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

/// A policy for whoever provisions devices in Vault itself.
const PROVISIONER: &str = r#"
path "secret/data/devices/*" { capabilities = ["create", "update"] }
path "pki-int/sign/device-mtls" { capabilities = ["update"] }
"#;

#[tokio::test]
async fn a_device_is_registered_in_vault_itself_by_script_and_logs_in() {
    let vault = Vault::documented().await;
    let mut options = vault.site(InVault::Store, with_registry()).await;
    let domain = vault.trust_domain("scripts", Binding::Chain);
    options.trust_domains.push(domain);
    let theirs = ("LEAFGATE_VAULT__TRUST_DOMAIN", "scripts");
    let theirs = (theirs.0.to_owned(), theirs.1.to_owned());
    options.callout.environment.push(theirs.clone());
    options.registry.as_mut().unwrap().environment.push(theirs);
    let site = TestSite::start(&options).await;
    let folder = site.devices.as_path();
    vault.admin.put_policy("provisioner", PROVISIONER).await;
    let token = vault.admin.create_token(&["provisioner"]).await;
    let run = |folder: &Path, arguments: &[&str], token: &str| {
        Command::new(project().join("scripts/register-device.sh"))
            .args(arguments)
            .current_dir(folder)
            .env("VAULT_TOKEN", token)
            .env_remove("LEAFGATE_URL")
            .output()
            .unwrap()
    };

    // As Terraform calls it, and as it should be called.
    let first = run(folder, &["device-0007", vault.address(), &token], "");
    assert!(said(&first).contains("0007 is registered"), "{first:?}");
    assert!(complaint(&first).contains("set VAULT_TOKEN instead"));
    let second = run(folder, &["pump_7", vault.address()], &token);
    assert!(said(&second).contains("pump_7 is registered"), "{second:?}");
    assert_eq!(complaint(&second), "");
    let known = vault.admin.kv_get("secret", "devices/0007").await;
    assert_eq!(known["status"], "active", "{known}");
    assert_eq!(known["device_type"], "iot-sensor", "{known}");
    for id in ["0007", "pump_7"] {
        let name = format!("device-{id}");
        openssl(
            folder,
            &format!("verify -x509_strict -partial_chain -CAfile device-ca-chain.crt {name}.crt"),
        );
        assert_eq!(mode(&folder.join(&name).with_extension("key")), 0o600);
        let answered = fs::read_to_string(folder.join(&name).with_extension("json")).unwrap();
        assert!(answered.contains("serial_number"), "{answered}");
        assert!(!answered.contains("PRIVATE KEY"), "{answered}");
        let credentials = Credentials::in_folder(folder, &name);
        drop(Device::log_in(&site.url, id, &credentials).await.unwrap());
    }

    // Once more, it is the same device with another certificate; a device of that name is not.
    let certificate = fs::read_to_string(folder.join("device-0007.crt")).unwrap();
    said(&run(folder, &["0007", vault.address()], &token));
    let renewed = fs::read_to_string(folder.join("device-0007.crt")).unwrap();
    assert_ne!(renewed, certificate);
    let elsewhere = tempfile::tempdir().unwrap();
    let taken = run(elsewhere.path(), &["0007", vault.address()], &token);
    assert_eq!(taken.status.code(), Some(1));
    assert!(complaint(&taken).contains("0007 is taken"), "{taken:?}");
    let refused = run(elsewhere.path(), &["0008", vault.address()], "hvs.wrong");
    assert_eq!(refused.status.code(), Some(1));
    assert!(complaint(&refused).contains("403"), "{refused:?}");
    assert!(!complaint(&refused).contains("hvs.wrong"), "{refused:?}");
    assert_eq!(certificates(elsewhere.path()), Vec::<PathBuf>::new());

    // From here on the registry says what becomes of it.
    let admin = RegistryClient::admin(&site.site);
    admin.post("/v1/devices/0007/revoke", &json!({})).await;
    let credentials = Credentials::in_folder(folder, "device-0007");
    eventually("the revocation", async || {
        let refused = Device::log_in(&site.url, "0007", &credentials).await;
        matches!(refused, Err(LogInError::Refused)).then_some(())
    })
    .await;
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
