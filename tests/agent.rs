//! `leafgate agent` beside a device of a whole site.

use std::fs;
use std::process::{Command, Output, Stdio};

use leafgate::local::{Credentials, LogInError};

use crate::support::registry_client::{RegistryClient, enrol, hears_log_ins, with_registry};
use crate::support::{TestSite, eventually};

/// The agent, run once for device 0001 with these further words.
fn agent(site: &TestSite, more: &[&str]) -> Output {
    let url = site.site.endpoints().registry.unwrap().registry_url;
    Command::new(env!("CARGO_BIN_EXE_leafgate"))
        .args(["agent", "--cert", "0001.crt", "--key", "0001.key", "--once"])
        .args(["--ca-file", "ca.crt", "--url", &url])
        .args(more)
        .current_dir(&site.devices)
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// A device has its token's certificate and an agent, and nothing else: it goes on logging in by the same two files.
#[tokio::test]
async fn a_device_logs_in_with_what_its_agent_renewed_and_its_old_certificate_ends() {
    let mut site = TestSite::start(&with_registry()).await;
    hears_log_ins(&mut site.site).await;
    let admin = RegistryClient::admin(&site.site);
    enrol(&admin, &site.devices, "0001").await;
    drop(site.log_in("0001").await.unwrap());
    for suffix in ["crt", "key"] {
        let [from, to] = ["0001", "old"].map(|name| site.devices.join(format!("{name}.{suffix}")));
        fs::copy(from, to).unwrap();
    }

    let fresh = agent(&site, &[]);
    assert!(fresh.status.success(), "{fresh:?}");
    drop(site.log_in("0001").await.unwrap());
    let renewed = agent(&site, &["--renew-now"]);
    assert!(renewed.status.success(), "{renewed:?}");
    let said = String::from_utf8(renewed.stdout).unwrap();
    assert!(
        said.contains("has a new certificate, expires in 6 days"),
        "{said}"
    );
    drop(site.log_in("0001").await.unwrap());
    let old = Credentials::in_folder(&site.devices, "old");
    eventually("the end of the old certificate", async || {
        let again = leafgate::local::Device::log_in(&site.url, "0001", &old).await;
        matches!(again, Err(LogInError::Refused)).then_some(())
    })
    .await;

    site.revoke("0001").await;
    let refused = agent(&site, &["--renew-now"]);
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    site.site.stop().await.unwrap();
}
