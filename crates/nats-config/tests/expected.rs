//! The rendered configurations, compared with those in tests/expected. After a wanted change:
//! `LEAFGATE_UPDATE_EXPECTED=1 cargo test -p leafgate-nats-config --test expected`, and read the difference.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use leafgate_nats_config::{
    Cluster, ConfigFile, DeviceLimits, HubConfig, JetStream, LeafConfig, Listen, NatsConfigFiles,
    Node, OcspPeer, RenderNatsConfigError as Error, Replica, RouteSecret, ServerAddress,
    SubjectPrefix,
};
use secrecy::ExposeSecret as _;
use support::{Keys, any_port, host, name, node, user};

const CA: &str = "/etc/leafgate/nats";

fn hub(keys: &Keys) -> (HubConfig, Node) {
    let node = Node {
        client: Listen::on(host("0.0.0.0"), 4222),
        leafnode: Some(Listen::on(host("0.0.0.0"), 7422)),
        monitoring: Some(Listen::on(host("127.0.0.1"), 8222)),
        cluster: Some(cluster("hub", &["hub-0.hub:6222", "hub-1.hub:6222"])),
        jetstream: Some(JetStream {
            store_dir: "/data/jetstream".into(),
            domain: name("hub"),
            max_memory_bytes: 1 << 28,
            max_file_bytes: 10 << 30,
        }),
        ..node("hub-0", Path::new(CA), "hub-0")
    };
    (keys.hub(Path::new(CA)), node)
}

fn leaf(keys: &Keys) -> (LeafConfig, Node) {
    let node = Node {
        client: Listen::on(host("0.0.0.0"), 4222),
        monitoring: Some(Listen::on(host("127.0.0.1"), 8222)),
        cluster: Some(cluster("demo", &["demo-0.demo:6222", "demo-1.demo:6222"])),
        ocsp: Some(OcspPeer {
            cache_dir: "/var/lib/nats/ocsp".into(),
        }),
        ..node("demo-0", Path::new(CA), "demo-0")
    };
    let hub = ServerAddress::parse("hub.example.com:7422").unwrap();
    (keys.leaf(Path::new(CA), Some(hub)), node)
}

fn cluster(cluster: &str, routes: &[&str]) -> Cluster {
    let routes = routes
        .iter()
        .map(|route| ServerAddress::parse(route).unwrap());
    Cluster {
        name: name(cluster),
        listen: Listen::on(host("0.0.0.0"), 6222),
        routes: routes.collect(),
        secret: Some(RouteSecret::parse("notSecretButLongEnough22".into()).unwrap()),
    }
}

#[track_caller]
fn expect(file: &ConfigFile, expected: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/expected")
        .join(expected);
    let text = file.text().expose_secret();
    if std::env::var_os("LEAFGATE_UPDATE_EXPECTED").is_some() {
        fs::write(&path, text).unwrap();
    }
    let wanted = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        text == wanted,
        "the configuration differs from {}; if that is wanted, set LEAFGATE_UPDATE_EXPECTED=1. It is now:\n{text}",
        path.display()
    );
}

#[test]
fn a_hub_with_every_option() {
    let (hub, node) = hub(&Keys::new());
    expect(&hub.render(&node).unwrap(), "hub.conf");
}

#[test]
fn a_leaf_with_callout() {
    let (leaf, node) = leaf(&Keys::new());
    expect(&leaf.render(&node).unwrap(), "leaf.conf");
}

#[test]
fn a_leaf_for_tests() {
    let keys = Keys::new();
    let leaf = LeafConfig {
        callout: keys.stand_in(false),
        tester: Some(user(&keys.tester)),
        prefix: SubjectPrefix::parse("iot.device").unwrap(),
        ..keys.leaf(Path::new(CA), None)
    };
    let node = Node {
        leafnode: Some(any_port()),
        ports_file_dir: Some("/tmp/ports \"of\" tests".into()),
        ..node("test", Path::new(CA), "test")
    };
    expect(&leaf.render(&node).unwrap(), "leaf-for-tests.conf");
}

#[test]
fn a_hub_and_its_site_are_written_for_their_owner_alone() {
    let keys = Keys::new();
    let ((hub, hub_node), (leaf, leaf_node)) = (hub(&keys), leaf(&keys));
    let files = NatsConfigFiles::render(
        Some((&hub, &[hub_node])),
        &[(&leaf, std::slice::from_ref(&leaf_node))],
    )
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("demo-0.conf"),
        "an older one, open to all",
    )
    .unwrap();
    let paths = files.write_to(folder.path()).unwrap();
    assert_eq!(
        paths,
        ["hub-0.conf", "demo-0.conf"].map(|name| folder.path().join(name))
    );
    for (path, file) in paths.iter().zip(files.iter()) {
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
        assert_eq!(
            &fs::read_to_string(path).unwrap(),
            file.text().expose_secret()
        );
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);

    let error = files.write_to(&folder.path().join("missing")).unwrap_err();
    assert!(error.to_string().contains("missing/hub-0.conf"), "{error}");
    let shown = format!("{files:?} {leaf:?}");
    assert!(!shown.contains(keys.command_link.seed().expose_secret()));
}

/// Changes inputs that fit together until they don't.
fn refused(change: impl FnOnce(&Keys, &mut HubConfig, &mut LeafConfig, &mut [Node; 2])) -> Error {
    let keys = Keys::new();
    let ((mut hub, hub_node), (mut leaf, leaf_node)) = (hub(&keys), leaf(&keys));
    let mut nodes = [hub_node, leaf_node];
    change(&keys, &mut hub, &mut leaf, &mut nodes);
    let [hub_node, leaf_node] = nodes;
    NatsConfigFiles::render(Some((&hub, &[hub_node])), &[(&leaf, &[leaf_node])]).unwrap_err()
}

#[track_caller]
fn assert_name_twice(error: &Error, of: &str) {
    assert!(
        matches!(error, Error::NameTwice { what, .. } if *what == of),
        "{error}"
    );
}

#[test]
fn keys_and_names_stand_for_one_each() {
    let error = refused(|_, _, leaf, _| leaf.replicas[1].system = leaf.replicas[0].auth);
    assert!(
        error
            .to_string()
            .contains("replica callout-0 and replica callout-1"),
        "{error}"
    );
    let error = refused(|keys, hub, _, _| hub.sites[1].commands = user(&keys.telemetry_link));
    assert!(matches!(error, Error::KeyTwice { .. }), "{error}");

    let error = refused(|_, _, leaf, _| leaf.replicas[1].name = Replica::default_name(0));
    assert_name_twice(&error, "replicas");
    let error = refused(|_, _, leaf, _| leaf.registry_users[0].name = Replica::default_name(0));
    assert_name_twice(&error, "replicas");
    let error = refused(|_, _, leaf, _| {
        leaf.registry_users[0].devices = leaf.registry_users[0].auth;
    });
    assert!(
        error
            .to_string()
            .contains("replica registry-0 in the devices' account"),
        "{error}"
    );
    let error = refused(|_, hub, _, _| hub.sites[1].name = name("demo"));
    assert_name_twice(&error, "sites");
    let error = refused(|_, _, leaf, _| leaf.accounts.devices = name("SYS"));
    assert_name_twice(&error, "accounts");
    let error = refused(|_, _, _, [hub, leaf]| leaf.server_name = hub.server_name.clone());
    assert_name_twice(&error, "servers");
}

#[test]
fn a_hub_and_its_site_fit_together() {
    let error = refused(|_, _, _, [hub, leaf]| leaf.cluster = hub.cluster.clone());
    assert!(matches!(error, Error::SameClusterName { .. }), "{error}");
    let error = refused(|_, hub, _, _| hub.sites.truncate(0));
    assert!(matches!(error, Error::SiteUnknown { .. }), "{error}");
    let error = refused(|_, _, leaf, _| {
        let uplink = leaf.uplink.as_mut().unwrap();
        std::mem::swap(&mut uplink.telemetry, &mut uplink.commands);
    });
    assert!(matches!(error, Error::SiteUnknown { .. }), "{error}");
    let error = refused(|_, _, leaf, _| leaf.prefix = SubjectPrefix::parse("iot").unwrap());
    assert!(matches!(error, Error::PrefixDiffers { .. }), "{error}");
    let error = refused(|_, _, leaf, _| leaf.uplink.as_mut().unwrap().hub.clear());
    assert_eq!(error, Error::NoHubAddress);
    let error = refused(|_, _, leaf, _| {
        leaf.uplink.as_mut().unwrap().commands = Arc::new(Keys::new().issuer);
    });
    assert!(
        matches!(
            error,
            Error::NotUserSeed {
                link: "command",
                ..
            }
        ),
        "{error}"
    );
    let error = refused(|_, _, _, [hub, _]| hub.leafnode = None);
    assert!(matches!(error, Error::NoLeafnodeListener { .. }), "{error}");
}

#[test]
fn nobody_to_answer_or_to_log_in_is_refused() {
    let error = refused(|_, _, leaf, _| leaf.replicas.clear());
    assert_eq!(error, Error::NoReplica);

    // A stream manager is no user of a server without JetStream.
    let (mut hub, mut node) = hub(&Keys::new());
    hub.sites.clear();
    hub.telemetry_applications.clear();
    hub.command_applications.clear();
    hub.administrator = None;
    assert!(hub.render(&node).is_ok());
    node.jetstream = None;
    assert_eq!(hub.render(&node).unwrap_err(), Error::NoUser);
}

#[test]
fn limits_that_nats_server_takes_for_others_are_refused() {
    let error = refused(|_, _, leaf, _| leaf.limits.lame_duck_secs = 29);
    assert_eq!(error, Error::LameDuckTooShort { secs: 29 });
    let error = refused(|_, _, leaf, _| leaf.device_limits.max_subscriptions = 0);
    let what = "max_subscriptions";
    assert_eq!(error, Error::ZeroLimit { what });

    let most = i32::MAX.unsigned_abs();
    let (mut leaf, node) = leaf(&Keys::new());
    leaf.device_limits = DeviceLimits {
        max_subscriptions: most,
        max_payload_bytes: most,
    };
    assert!(leaf.render(&node).is_ok());
    leaf.device_limits.max_subscriptions = most + 1;
    let error = leaf.render(&node).unwrap_err();
    assert_eq!(error, Error::LimitTooLarge { what, most });
    leaf.device_limits.max_subscriptions = 1;
    leaf.device_limits.max_payload_bytes = u32::MAX;
    let error = leaf.render(&node).unwrap_err();
    let what = "max_payload_bytes";
    assert_eq!(error, Error::LimitTooLarge { what, most });

    let most = 64 << 20;
    leaf.device_limits = DeviceLimits::default();
    leaf.limits.max_payload_bytes = most;
    assert!(leaf.render(&node).is_ok());
    leaf.limits.max_payload_bytes = most + 1;
    let error = leaf.render(&node).unwrap_err();
    assert_eq!(error, Error::LimitTooLarge { what, most });
}

#[test]
fn port_0_is_refused_because_servers_take_it_for_no_listener_or_another_port() {
    let zero = || Listen::on(host("127.0.0.1"), 0);
    for (of, change) in [
        (
            "clients",
            (|node, zero| node.client = zero) as fn(&mut Node, Listen),
        ),
        ("leaf nodes", |node, zero| node.leafnode = Some(zero)),
        ("monitoring", |node, zero| node.monitoring = Some(zero)),
        ("routes", |node, zero| {
            node.cluster.as_mut().unwrap().listen = zero;
        }),
    ] {
        for server in [0, 1] {
            let error = refused(|_, _, _, nodes| change(&mut nodes[server], zero()));
            assert!(
                matches!(error, Error::PortZero { listener, .. } if listener == of),
                "{error}"
            );
        }
    }
}

#[test]
fn paths_that_would_end_their_line_are_refused_and_shown_escaped() {
    let error = refused(|_, _, _, [_, leaf]| leaf.certificate.key_file = "/etc/a\nb".into());
    assert!(matches!(error, Error::Path { .. }), "{error}");
    assert!(error.to_string().contains(r"/etc/a\nb"), "{error}");
}
