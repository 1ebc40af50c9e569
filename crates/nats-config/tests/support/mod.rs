//! What the tests render: a hub and the site `demo` with keys that are the same in every run.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(unreachable_pub, reason = "shared by test files")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use leafgate_nats_config::{
    Accounts, CalloutMode, Certificate, DeviceLimits, Host, HubConfig, HubSite, LeafConfig, Listen,
    Name, Node, RegistryReplica, Replica, ServerAddress, ServerLimits, StandIn, StaticDevice,
    SubjectPrefix, Uplink,
};
use leafgate_nats_jwt::{AccountKey, CurveKey, KeyKind, SigningKey, UserKey};

pub fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

pub fn host(text: &str) -> Host {
    Host::parse(text).unwrap()
}

pub fn user(key: &SigningKey) -> UserKey {
    UserKey::try_from(*key.public()).unwrap()
}

/// The keys of everybody.
pub struct Keys {
    pub issuer: SigningKey,
    pub xkey: CurveKey,
    pub auth: Vec<SigningKey>,
    pub system: Vec<SigningKey>,
    pub telemetry_link: Arc<SigningKey>,
    pub command_link: Arc<SigningKey>,
    pub other_telemetry_link: Arc<SigningKey>,
    pub other_command_link: Arc<SigningKey>,
    pub telemetry_application: SigningKey,
    pub command_application: SigningKey,
    pub stream_manager: SigningKey,
    pub administrator: SigningKey,
    pub tester: SigningKey,
    pub requester: SigningKey,
    pub devices: Vec<SigningKey>,
    pub registry: [SigningKey; 3],
}

impl Keys {
    pub fn new() -> Self {
        let mut rng = Repeatable(1);
        let issuer = SigningKey::generate(KeyKind::Account, &mut rng);
        let xkey = CurveKey::generate(&mut rng);
        let mut user = || SigningKey::generate(KeyKind::User, &mut rng);
        Self {
            issuer,
            xkey,
            auth: vec![user(), user()],
            system: vec![user(), user()],
            telemetry_link: user().into(),
            command_link: user().into(),
            other_telemetry_link: user().into(),
            other_command_link: user().into(),
            telemetry_application: user(),
            command_application: user(),
            stream_manager: user(),
            administrator: user(),
            tester: user(),
            requester: user(),
            devices: vec![user(), user()],
            registry: [user(), user(), user()],
        }
    }

    pub fn hub(&self, ca: &Path) -> HubConfig {
        HubConfig {
            prefix: SubjectPrefix::default(),
            accounts: Accounts::default(),
            limits: ServerLimits::default(),
            servers_ca_file: ca.join("servers.crt"),
            sites: vec![
                HubSite {
                    name: name("demo"),
                    telemetry: user(&self.telemetry_link),
                    commands: user(&self.command_link),
                    servers_before_2_15_1: false,
                },
                HubSite {
                    name: name("other"),
                    telemetry: user(&self.other_telemetry_link),
                    commands: user(&self.other_command_link),
                    servers_before_2_15_1: true,
                },
            ],
            telemetry_applications: vec![user(&self.telemetry_application)],
            command_applications: vec![user(&self.command_application)],
            stream_manager: Some(user(&self.stream_manager)),
            administrator: Some(user(&self.administrator)),
        }
    }

    pub fn leaf(&self, ca: &Path, hub: Option<ServerAddress>) -> LeafConfig {
        LeafConfig {
            site: name("demo"),
            prefix: SubjectPrefix::default(),
            accounts: Accounts::default(),
            limits: ServerLimits::default(),
            device_limits: DeviceLimits::default(),
            devices_ca_file: ca.join("devices.crt"),
            servers_ca_file: ca.join("servers.crt"),
            callout: CalloutMode::Enabled {
                issuer: AccountKey::try_from(*self.issuer.public()).unwrap(),
                xkey: Some(*self.xkey.public()),
            },
            replicas: (0..)
                .zip(self.auth.iter().zip(&self.system))
                .map(|(ordinal, (auth, system))| Replica {
                    name: Replica::default_name(ordinal),
                    auth: user(auth),
                    system: user(system),
                })
                .collect(),
            registry_users: vec![RegistryReplica {
                name: RegistryReplica::default_name(0),
                auth: user(&self.registry[0]),
                system: user(&self.registry[1]),
                devices: user(&self.registry[2]),
            }],
            uplink: hub.map(|hub| Uplink {
                hub: vec![hub],
                telemetry: Arc::clone(&self.telemetry_link),
                commands: Arc::clone(&self.command_link),
            }),
            stream_manager: None,
            administrator: Some(user(&self.administrator)),
            tester: None,
        }
    }

    /// Without callout, with the devices 0001 and 0002 by nkey.
    pub fn stand_in(&self, tls: bool) -> CalloutMode {
        let device = |(number, key): (usize, &SigningKey)| StaticDevice {
            id: name(&format!("{:04}", number + 1)),
            key: user(key),
        };
        CalloutMode::AbsentForTesting(StandIn {
            requester: user(&self.requester),
            devices: self.devices.iter().enumerate().map(device).collect(),
            tls,
        })
    }
}

/// A node with free ports on loopback and the certificate `<certificate>.crt` in `ca`.
pub fn node(server_name: &str, ca: &Path, certificate: &str) -> Node {
    Node {
        server_name: name(server_name),
        client: any_port(),
        leafnode: None,
        monitoring: None,
        ports_file_dir: None,
        certificate: certificate_files(ca, certificate),
        cluster: None,
        jetstream: None,
        ocsp: None,
    }
}

pub fn any_port() -> Listen {
    Listen::free_port(host("127.0.0.1"))
}

pub fn certificate_files(ca: &Path, certificate: &str) -> Certificate {
    let file = |extension: &str| -> PathBuf { ca.join(format!("{certificate}.{extension}")) };
    Certificate {
        cert_file: file("crt"),
        key_file: file("key"),
    }
}

/// SplitMix64: the same keys in every run, for expected files. They protect nothing.
struct Repeatable(u64);

impl rand_core::RngCore for Repeatable {
    fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        rand_core::impls::fill_bytes_via_next(self, bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl rand_core::CryptoRng for Repeatable {}
