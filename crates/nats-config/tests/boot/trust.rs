//! Which certificate opens which door.

use std::io::{self, BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use async_nats::ConnectErrorKind;
use leafgate_nats_config::{Cluster, Node, RouteSecret, subjects};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::client::{Login, next};
use crate::support::{any_port, certificate_files, name};
use crate::world::{LIMIT, World, leafnode_address};

fn no_nkey(certificate: Option<&str>) -> Login<'_> {
    Login {
        certificate,
        nkey: None,
        inbox_prefix: "_INBOX",
    }
}

#[tokio::test]
async fn the_device_listener_takes_no_other_certificate_and_nobody_by_certificate_alone() {
    let world = World::new();
    // No callout answers: nats-server waits for it for a second, then refuses.
    let mut leaf = world.keys.leaf(world.ca(), None);
    leaf.limits.authorization_timeout_secs = 1;
    let site = world.start(&leaf.render(&world.leaf_node()).unwrap()).await;

    for certificate in ["device-0001", "callout"] {
        let refused = world.connect(&site, no_nkey(Some(certificate))).await;
        let kind = refused.err().expect("admitted without an answer").kind();
        assert_eq!(
            kind,
            ConnectErrorKind::AuthorizationViolation,
            "{certificate}"
        );
    }
    for certificate in [None, Some("demo-0")] {
        let refused = world.connect(&site, no_nkey(certificate)).await;
        let kind = refused.err().expect("passed the handshake").kind();
        assert_ne!(
            kind,
            ConnectErrorKind::AuthorizationViolation,
            "{certificate:?}"
        );
    }
    let log = site.child().log();
    let refusals = log.since(log.start()).unwrap();
    assert_eq!(
        refusals.matches("TLS handshake error").count(),
        2,
        "{refusals}"
    );
}

#[tokio::test]
async fn a_leaf_links_key_is_no_clients_and_the_other_way_round() {
    let world = World::new();
    let hub = world.start_hub().await;
    let keys = &world.keys;
    for key in [&keys.telemetry_link, &keys.command_link] {
        let login = Login {
            nkey: Some(key.as_ref()),
            ..no_nkey(None)
        };
        let refused = world.connect(&hub, login).await;
        let kind = refused.err().expect("a leaf link's key logged in").kind();
        assert_eq!(kind, ConnectErrorKind::AuthorizationViolation);
    }

    let mut leaf = keys.leaf(world.ca(), Some(leafnode_address(&hub)));
    let application = &keys.telemetry_application;
    leaf.uplink.as_mut().unwrap().telemetry =
        leafgate_nats_jwt::SigningKey::from_seed(application.seed())
            .unwrap()
            .into();
    let mut site = world.start(&leaf.render(&world.leaf_node()).unwrap()).await;
    site.wait_for_log("Authorization Violation", LIMIT)
        .await
        .unwrap();
}

/// What a server says first to a client with this certificate and no words of its own. (nats-server's own TLS client would
/// not even offer a certificate that the listener does not ask for.)
fn offer(
    world: &World,
    certificate: &str,
    listener: SocketAddr,
    greets: bool,
) -> io::Result<String> {
    let roots = CertificateDer::pem_file_iter(world.file("ca.crt")).unwrap();
    let mut trusted = RootCertStore::empty();
    trusted.add_parsable_certificates(roots.map(Result::unwrap));
    let chain = CertificateDer::pem_file_iter(world.file(&format!("{certificate}.crt"))).unwrap();
    let key = PrivateKeyDer::from_pem_file(world.file(&format!("{certificate}.key"))).unwrap();
    let config = ClientConfig::builder()
        .with_root_certificates(trusted)
        .with_client_auth_cert(chain.map(Result::unwrap).collect(), key)
        .unwrap();
    let host = ServerName::from(listener.ip());
    let connection = ClientConnection::new(Arc::new(config), host).unwrap();

    let tcp = TcpStream::connect(listener).unwrap();
    tcp.set_read_timeout(Some(LIMIT)).unwrap();
    if greets {
        let mut greeting = String::new();
        BufReader::with_capacity(1, &tcp)
            .read_line(&mut greeting)
            .unwrap();
        assert!(greeting.starts_with("INFO"), "{greeting}");
    }
    let mut tls = StreamOwned::new(connection, tcp);
    let mut answer = [0; 1024];
    let length = tls.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

#[tokio::test]
async fn a_devices_issuer_opens_neither_leaf_listener_nor_route() {
    let world = World::new();
    let node = Node {
        cluster: Some(Cluster {
            name: name("hub-cluster"),
            listen: any_port(),
            routes: Vec::new(),
            secret: None,
        }),
        ..world.hub_node()
    };
    let hub = world.hub().render(&node).unwrap();
    let mut hub = world.start(&hub).await;
    let ports = hub.ports().clone();
    // A leaf node listener greets before TLS and then waits; a route greets after it.
    for (listener, kind, greets, trusted) in [
        (
            ports.leafnode.unwrap(),
            "leafnode",
            true,
            "Authentication Timeout",
        ),
        (ports.cluster.unwrap(), "route", false, "INFO"),
    ] {
        for certificate in ["device-0001", "device-as-server"] {
            let mark = hub.child().log().mark().unwrap();
            let error = offer(&world, certificate, listener, greets).unwrap_err();
            assert!(error.to_string().contains("UnknownCA"), "{error}");
            let line = format!("TLS {kind} handshake error");
            let line = hub
                .child_mut()
                .wait_for_log_since(mark, &line, LIMIT)
                .await
                .unwrap();
            assert!(line.contains("unknown authority"), "{line}");
        }
        let answer = offer(&world, "demo-0", listener, greets).unwrap();
        assert!(answer.contains(trusted), "{answer}");
    }
}

#[tokio::test]
async fn a_leaf_node_links_to_no_hub_of_the_devices_issuer() {
    let world = World::new();
    let impostor = Node {
        certificate: certificate_files(world.ca(), "device-as-server"),
        ..world.hub_node()
    };
    let hub = world.start(&world.hub().render(&impostor).unwrap()).await;
    let leaf = world.keys.leaf(world.ca(), Some(leafnode_address(&hub)));
    let mut site = world.start(&leaf.render(&world.leaf_node()).unwrap()).await;
    let line = site
        .wait_for_log("TLS leafnode handshake error", LIMIT)
        .await
        .unwrap();
    assert!(line.contains("unknown authority"), "{line}");
}

#[tokio::test]
async fn another_sites_server_joins_no_route_without_the_secret() {
    let world = World::new();
    let cluster = |secret: &str, routes| Cluster {
        name: name("hub-cluster"),
        listen: any_port(),
        routes,
        secret: Some(RouteSecret::parse(secret.repeat(22).into()).unwrap()),
    };
    let hub = world.hub();
    let node = Node {
        cluster: Some(cluster("a", Vec::new())),
        ..world.hub_node()
    };
    let mut server = world.start(&hub.render(&node).unwrap()).await;
    let impostor = Node {
        server_name: name("hub-impostor"),
        certificate: certificate_files(world.ca(), "demo-0"),
        cluster: Some(cluster("b", vec![server.ports().cluster.unwrap().into()])),
        ..world.hub_node()
    };
    let mut impostor = world.start(&hub.render(&impostor).unwrap()).await;
    server
        .wait_for_log("authentication error", LIMIT)
        .await
        .unwrap();
    impostor
        .wait_for_log("Authorization Violation", LIMIT)
        .await
        .unwrap();
}

#[tokio::test]
async fn the_callout_is_asked_about_a_devices_leaf_node() {
    let world = World::new();
    let mut leaf = world.keys.leaf(world.ca(), None);
    leaf.limits.authorization_timeout_secs = 1;
    let node = Node {
        leafnode: Some(any_port()),
        ..world.leaf_node()
    };
    let mut site = world.start(&leaf.render(&node).unwrap()).await;
    let replica = world
        .connect(
            &site,
            Login {
                nkey: Some(&world.keys.auth[0]),
                inbox_prefix: "_INBOX.callout-0",
                ..no_nkey(Some("callout"))
            },
        )
        .await
        .unwrap();
    let mut requests = replica
        .nats
        .queue_subscribe(subjects::AUTH_REQUEST, subjects::CALLOUT_QUEUE.to_owned())
        .await
        .unwrap();

    let ca = world.ca().display();
    let at = site.ports().leafnode.unwrap();
    let start_leaf_node = async |certificate: &str| {
        let path = world.file(&format!("{certificate}.conf"));
        let configuration = format!(
            "host: 127.0.0.1, port: -1, leafnodes {{ remotes: [{{ urls: [\"tls://{at}\"], tls {{ \
             cert_file: \"{ca}/{certificate}.crt\", key_file: \"{ca}/{certificate}.key\", \
             ca_file: \"{ca}/ca.crt\" }} }}] }}"
        );
        std::fs::write(&path, configuration).unwrap();
        world.start_file(certificate, &path).await
    };
    let _server = start_leaf_node("demo-0").await;
    site.wait_for_log("TLS leafnode handshake error", LIMIT)
        .await
        .unwrap();
    let mut device = start_leaf_node("device-0001").await;
    next(&mut requests).await;
    device
        .wait_for_log("Authorization Violation", LIMIT)
        .await
        .unwrap();
}
