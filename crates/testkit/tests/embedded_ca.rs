//! The embedded CA does what every issuer must.

use leafgate_identity::{CnPattern, DeviceId, UnixMs};
use leafgate_pki::{CaDirectory, Intermediate, Profile, RootKey, init};
use leafgate_testkit::issuer_conformance::issuer_conformance;
use tempfile::TempDir;

/// 2026-03-01T12:00:00.250Z
const NOW: UnixMs = UnixMs::new(1_772_366_400_250);

fn root_of(ca: &CaDirectory) -> String {
    std::fs::read_to_string(ca.root_certificate()).expect("a whole CA")
}

fn create_ca() -> (TempDir, CaDirectory) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let ca = init(&dir.path().join("ca"), RootKey::DevPlain, NOW).expect("a new CA");
    (dir, ca)
}

#[tokio::test]
async fn with_the_device_profile() {
    let (_dir, ca) = create_ca();
    let issuer = ca.load(Intermediate::Devices).expect("an intermediate");
    let root = root_of(&ca);
    for id in ["0001", "pump_7"] {
        let id = DeviceId::parse(id).expect("a device id");
        let profile = Profile::device(&CnPattern::default(), &id).expect("it fits");
        issuer_conformance(&issuer, &root, profile, NOW).await;
    }
}

#[tokio::test]
async fn with_the_nats_client_profile() {
    let (_dir, ca) = create_ca();
    let issuer = ca.load(Intermediate::Devices).expect("an intermediate");
    let root = root_of(&ca);
    let profile = Profile::nats_client("callout-0", &[CnPattern::default()]).expect("a client");
    issuer_conformance(&issuer, &root, profile, NOW).await;
}

#[tokio::test]
async fn with_the_nats_server_profile() {
    let (_dir, ca) = create_ca();
    let issuer = ca.load(Intermediate::Servers).expect("an intermediate");
    let root = root_of(&ca);
    let addresses = ["10.0.0.1", "2001:db8::1"].map(|text| text.parse().expect("an address"));
    let profile = Profile::nats_server(
        &["leaf-1", "*.leaf.example.org"],
        &addresses,
        &[CnPattern::default()],
    )
    .expect("a server");
    issuer_conformance(&issuer, &root, profile, NOW).await;
}
