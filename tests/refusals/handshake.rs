//! Certificates that the device listener does not trust: nats-server refuses them in the TLS
//! handshake, and leafgate is not asked.

use std::time::Duration;

use leafgate_testkit::scratch_ca::{ExtendedKeyUsagePurpose, ScratchCa, ScratchLeaf};
use rustls::AlertDescription::{
    self, BadCertificate, CertificateExpired, CertificateRequired, DecodeError, HandshakeFailure,
    UnknownCA,
};
use rustls::version::{TLS12, TLS13};

use crate::support::decisions::Witness;
use crate::support::raw_device::{Attempt, KeyedCertificate, RawDevice};
use crate::support::{PATIENCE, TestSite, act, options};

struct Row {
    name: &'static str,
    certificate: Option<KeyedCertificate>,
    /// With TLS 1.3, and with TLS 1.2.
    alerts: [AlertDescription; 2],
}

#[tokio::test]
async fn the_handshake_refuses_what_the_device_listener_does_not_trust() {
    let mut site = TestSite::start(&options()).await;
    site.register("0001").await;
    let rows = rows(&site);
    let ca_file = site.devices.join("ca.crt");
    let leaf = site.site.leaves()[0].ports().client;
    let witness = Witness::begin(&mut site.site.callouts()[0]).await;

    for row in rows {
        for (version, alert) in [&TLS13, &TLS12].into_iter().zip(row.alerts) {
            let name = format!("{} with {:?}", row.name, version.version);
            let leaf_log = site.site.leaves()[0].child_mut();
            let mark = leaf_log.log().mark().unwrap();
            let device = RawDevice::new(leaf, &ca_file, row.certificate.as_ref(), version);
            assert_eq!(device.attempt().await, Attempt::alert(alert), "{name}");
            leaf_log
                .wait_for_log_since(mark, "TLS handshake error", PATIENCE)
                .await
                .unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }

    site.log_in("0001").await.unwrap();
    let callout = &mut site.site.callouts()[0];
    witness
        .saw(
            callout,
            "the only log-in that leafgate heard of",
            &["allowed"],
        )
        .await;
}

fn rows(site: &TestSite) -> Vec<Row> {
    const CN: &str = "device-0001.device.synadia.local";
    let dir = site.site.dir();
    let now = act().at;
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    let device = ScratchLeaf::device(CN, now);
    let ca = dir.ca();
    let devices = ScratchCa::of_files(&ca.join("devices.crt"), &ca.join("devices.key")).unwrap();
    let root = ScratchCa::of_files(&ca.join("root.crt"), &ca.join("root.key")).unwrap();
    let foreign = ScratchCa::root("elsewhere").intermediate("foreign devices");
    let in_name_only =
        ScratchCa::of_files(&ca.join("devices.crt"), &ca.join("servers.key")).unwrap();
    let past = (
        now.saturating_sub(hours(2)),
        now.saturating_sub(Duration::from_secs(1)),
    );
    let future = (now.saturating_add(hours(1)), now.saturating_add(hours(2)));
    let row = |name, certificate, alert| Row {
        name,
        certificate: Some(certificate),
        alerts: [alert; 2],
    };
    vec![
        Row {
            name: "no certificate",
            certificate: None,
            alerts: [CertificateRequired, HandshakeFailure],
        },
        row("a foreign CA", foreign.sign(&device).into(), UnknownCA),
        row(
            "the right CA in name only",
            in_name_only.sign(&device).into(),
            UnknownCA,
        ),
        row(
            "an expired certificate",
            devices
                .sign(&device.clone().with_validity(past.0, past.1))
                .into(),
            CertificateExpired,
        ),
        row(
            "a certificate that is not valid yet",
            devices
                .sign(&device.clone().with_validity(future.0, future.1))
                .into(),
            CertificateExpired,
        ),
        row(
            "a certificate of the intermediate for servers",
            KeyedCertificate::read(&dir.nats().join("leaf-1")),
            UnknownCA,
        ),
        row(
            "a certificate of the root itself",
            root.sign(&device).into(),
            UnknownCA,
        ),
        row(
            "a negative serial number",
            devices
                .sign(&device.clone().with_raw_serial(&[0xff]))
                .into(),
            DecodeError,
        ),
        row(
            "a certificate for servers only",
            devices
                .sign(&device.with_extended_usages(&[ExtendedKeyUsagePurpose::ServerAuth]))
                .into(),
            BadCertificate,
        ),
    ]
}
