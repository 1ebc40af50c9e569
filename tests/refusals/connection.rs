//! Certificates that the device listener trusts, of devices that may not come in: leafgate
//! refuses them, and they hear "Authorization Violation" and nothing else.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use leafgate::local::{SiteOptions, TrustDomainOptions, new_device};
use leafgate_identity::{Binding, CnPattern, DeviceId};
use leafgate_registrar::{CertificateKey, DeviceCredentials, Registrar};
use leafgate_registry::RevocationReason::KeyCompromise;
use leafgate_testkit::scratch_ca::{NameAttribute, ScratchCa, ScratchLeaf, StringType};
use rustls::version::TLS13;

use crate::support::decisions::{Witness, sessions};
use crate::support::raw_device::{Attempt, KeyedCertificate, RawDevice};
use crate::support::{TestSite, act, options};

struct Row {
    name: &'static str,
    certificate: KeyedCertificate,
    reason: &'static str,
    listener: Listener,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Listener {
    Devices,
    LeafNodes,
}

#[tokio::test]
async fn leafgate_refuses_with_the_exact_reason_and_the_device_learns_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let foreign = ForeignCas::make(folder.path());
    let mut site = TestSite::start(&foreign.trusted_by(options())).await;
    site.register("0001").await;
    let rows = rows(&site, &foreign).await;
    let ca_file = site.devices.join("ca.crt");
    let ports = site.site.leaves()[0].ports().clone();

    for row in rows {
        let witness = Witness::begin(&mut site.site.callouts()[0]).await;
        let device = |address| RawDevice::new(address, &ca_file, Some(&row.certificate), &TLS13);
        let device = match row.listener {
            Listener::Devices => device(ports.client),
            Listener::LeafNodes => device(ports.leafnode.unwrap()).into_leaf_node(),
        };
        assert_eq!(device.attempt().await, Attempt::violation(), "{}", row.name);
        witness
            .saw(&mut site.site.callouts()[0], row.name, &[row.reason])
            .await;
    }

    let witness = Witness::begin(&mut site.site.callouts()[0]).await;
    let device = site.log_in("0001").await.unwrap();
    let callout = &mut site.site.callouts()[0];
    witness.saw(callout, "leafgate goes on", &["allowed"]).await;
    // Refusals leave nothing behind.
    sessions(callout, 1).await;
    drop(device);
    sessions(callout, 0).await;
}

/// Issuers that the device listener trusts beside the site's own.
struct ForeignCas {
    /// Of the site's own trust domain.
    second: ScratchCa,
    /// Of trust domain `b`, whose devices are named by [`B_PATTERN`].
    b: ScratchCa,
    trust_domains: Vec<TrustDomainOptions>,
}

const B_PATTERN: &str = "{id}.b.example";

impl ForeignCas {
    fn make(folder: &Path) -> Self {
        let root = ScratchCa::root("elsewhere");
        let [second, b] = ["second devices", "b devices"].map(|name| root.intermediate(name));
        let domain = |name: &str, ca: &ScratchCa, cn_pattern: &str| {
            let issuer = folder.join(format!("{name}.crt"));
            fs::write(&issuer, ca.certificate_pem()).unwrap();
            TrustDomainOptions {
                name: name.to_owned(),
                issuer,
                cn_pattern: cn_pattern.to_owned(),
                binding: Binding::Issued,
            }
        };
        let trust_domains = vec![
            domain(leafgate::local::TRUST_DOMAIN, &second, CnPattern::DEFAULT),
            domain("b", &b, B_PATTERN),
        ];
        Self {
            second,
            b,
            trust_domains,
        }
    }

    fn trusted_by(&self, options: SiteOptions) -> SiteOptions {
        SiteOptions {
            trust_domains: self.trust_domains.clone(),
            leafnode_listener: true,
            ..options
        }
    }
}

async fn rows(site: &TestSite, foreign: &ForeignCas) -> Vec<Row> {
    let ca = site.site.dir().ca();
    let own = ScratchCa::of_files(&ca.join("devices.crt"), &ca.join("devices.key")).unwrap();
    let mut rows = malformed_rows(&own);
    rows.extend(domain_rows(&own, foreign));
    rows.extend(state_rows(&own, &site.registrar).await);
    rows.extend(certificate_rows(&own, foreign, &site.registrar).await);
    rows.push(Row::new(
        "leafgate's own client certificate without its nkey",
        KeyedCertificate::read(&site.site.dir().keys().join("callout")),
        "name-foreign",
    ));
    rows.push(Row {
        listener: Listener::LeafNodes,
        ..Row::new(
            "a leaf node with an active device's certificate",
            KeyedCertificate::read(&site.devices.join("0001")),
            "connection-type-not-allowed",
        )
    });
    rows
}

/// Names that no device can have, and certificates that are none of a device, by the real issuer.
fn malformed_rows(own: &ScratchCa) -> Vec<Row> {
    let named = |name, cn: &str, reason| Row::new(name, own.sign(&device_leaf(cn)), reason);
    let with_subject = |name, subject: &[NameAttribute]| {
        let leaf = device_leaf("").with_subject(subject.to_vec());
        Row::new(name, own.sign(&leaf), "name-malformed")
    };
    let common_name = |id: &str| NameAttribute::common_name(&cn_of(id));
    let utf16 = |text: &str| {
        text.encode_utf16()
            .flat_map(u16::to_be_bytes)
            .collect::<Vec<_>>()
    };
    vec![
        named(
            "a name of another pattern",
            "0001.sensors.example",
            "name-foreign",
        ),
        named("a name with *", &cn_of("*"), "name-malformed"),
        named("a name with >", &cn_of(">"), "name-malformed"),
        named("an id with .", &cn_of("0001.cmd"), "name-malformed"),
        named("an id of nothing", &cn_of(""), "name-malformed"),
        named("a name with a blank", &cn_of("0001 "), "name-malformed"),
        named(
            "a name with a line feed",
            &cn_of("0001\n decision "),
            "name-malformed",
        ),
        named(
            "a name with a zero byte",
            &cn_of("0001\0"),
            "name-malformed",
        ),
        named("a name outside ASCII", &cn_of("０００１"), "name-malformed"),
        with_subject(
            "two common names",
            &[common_name("0001"), common_name("0002")],
        ),
        with_subject(
            "twice the same common name",
            &[common_name("0001"), common_name("0001")],
        ),
        with_subject(
            "no common name",
            &[NameAttribute::organization(&cn_of("0001"))],
        ),
        with_subject(
            "a common name in UCS-2",
            &[NameAttribute::raw_common_name(
                StringType::Bmp,
                &utf16(&cn_of("0001")),
            )],
        ),
        Row::new(
            "an alternative name of another device",
            own.sign(&device_leaf(&cn_of("0001")).with_dns_name(&cn_of("0002"))),
            "name-malformed",
        ),
        Row::new(
            "a URI as alternative name",
            own.sign(&device_leaf(&cn_of("0001")).with_uri("spiffe://example.org/0001")),
            "name-malformed",
        ),
        Row::new(
            "an address as alternative name",
            own.sign(&device_leaf(&cn_of("0001")).with_ip_address(Ipv4Addr::LOCALHOST.into())),
            "name-malformed",
        ),
        Row::new(
            "an e-mail address as alternative name",
            own.sign(&device_leaf(&cn_of("0001")).with_email("0001@example.org")),
            "name-malformed",
        ),
        Row::new(
            "a CA certificate",
            own.sign(&device_leaf(&cn_of("0001")).with_ca_flag()),
            "certificate-malformed",
        ),
        Row::new(
            "a serial number of zero",
            own.sign(&device_leaf(&cn_of("0001")).with_raw_serial(&[0])),
            "certificate-malformed",
        ),
        Row::new(
            "a serial number of 21 octets",
            own.sign(&device_leaf(&cn_of("0001")).with_raw_serial(&[1; 21])),
            "certificate-malformed",
        ),
    ]
}

/// Names of one trust domain under the issuer of another.
fn domain_rows(own: &ScratchCa, foreign: &ForeignCas) -> Vec<Row> {
    let b_name = B_PATTERN.replace("{id}", "0001");
    vec![
        Row::new(
            "domain B's name under this domain's issuer",
            own.sign(&device_leaf(&b_name)),
            "name-foreign",
        ),
        Row::new(
            "this domain's name under domain B's issuer",
            foreign.b.sign(&device_leaf(&cn_of("0001"))),
            "name-foreign",
        ),
        Row::new(
            "domain B's certificate with the id of this domain's device",
            foreign.b.sign(&device_leaf(&b_name)),
            "domain-mismatch",
        ),
    ]
}

/// Devices that are not active, with certificates that are in order.
async fn state_rows(own: &ScratchCa, registrar: &Registrar) -> Vec<Row> {
    let unknown = own.sign(&device_leaf(&cn_of("9999")));
    let mut waiting = new_device(id("pending"), "pump");
    waiting.pending = true;
    registrar.register(waiting, &act()).await.unwrap();
    let pending = own.sign(&device_leaf(&cn_of("pending")));

    let disabled = register(registrar, "disabled").await;
    registrar.disable(&id("disabled"), &act()).await.unwrap();
    let revoked = register(registrar, "revoked").await;
    registrar
        .revoke(&id("revoked"), KeyCompromise, &act())
        .await
        .unwrap();
    let deleted = register(registrar, "deleted").await;
    registrar.delete(&id("deleted"), &act()).await.unwrap();
    let other_spelling = own.sign(&device_leaf(&cn_of("REVOKED")));
    vec![
        Row::new("an unknown device", unknown, "device-unknown"),
        Row::new("a device spelt otherwise", other_spelling, "device-unknown"),
        Row::new("a pending device", pending, "device-pending"),
        Row::new("a disabled device", disabled, "device-disabled"),
        Row::new("a revoked device", revoked, "device-revoked"),
        Row::new("a deleted device", deleted, "device-deleted"),
    ]
}

/// Certificates of active devices that are not in order.
async fn certificate_rows(
    own: &ScratchCa,
    foreign: &ForeignCas,
    registrar: &Registrar,
) -> Vec<Row> {
    let earlier = register(registrar, "again").await;
    registrar.delete(&id("again"), &act()).await.unwrap();
    register(registrar, "again").await;

    let revoked = register(registrar, "renewed").await;
    registrar
        .issue_with_new_key(&id("renewed"), &act())
        .await
        .unwrap();
    registrar
        .revoke_certificate(revoked.issued.serial, None, KeyCompromise, &act())
        .await
        .unwrap();

    let twin = register(registrar, "twin").await;
    let same_serial = device_leaf(&cn_of("twin")).with_serial(twin.issued.serial);
    let twins_key = KeyedCertificate::from(twin);
    let same_key = own.sign_for(&same_serial, twins_key.private_key_pem());
    vec![
        Row::new(
            "a certificate from before its id was deleted and registered again",
            earlier,
            "certificate-revoked",
        ),
        Row::new(
            "a revoked certificate of an active device",
            revoked,
            "certificate-revoked",
        ),
        Row::new(
            "the same serial number from a second issuer",
            foreign.second.sign(&same_serial),
            "certificate-unknown",
        ),
        Row::new(
            "the same serial number from the same issuer",
            own.sign(&same_serial),
            "certificate-unknown",
        ),
        Row::new(
            "the same serial number and key from the same issuer",
            same_key.unwrap(),
            "certificate-unknown",
        ),
    ]
}

impl Row {
    fn new(
        name: &'static str,
        certificate: impl Into<KeyedCertificate>,
        reason: &'static str,
    ) -> Self {
        Self {
            name,
            certificate: certificate.into(),
            reason,
            listener: Listener::Devices,
        }
    }
}

async fn register(registrar: &Registrar, name: &str) -> DeviceCredentials {
    registrar
        .register_with_certificate(new_device(id(name), "pump"), CertificateKey::New, &act())
        .await
        .unwrap()
}

fn id(text: &str) -> DeviceId {
    DeviceId::parse(text).unwrap()
}

/// The name that the default pattern gives an id, and what only looks like one.
fn cn_of(id: &str) -> String {
    CnPattern::DEFAULT.replace("{id}", id)
}

fn device_leaf(common_name: &str) -> ScratchLeaf {
    ScratchLeaf::device(common_name, act().at)
}
