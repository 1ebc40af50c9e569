//! The listener: TLS, bounds, and an orderly end.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::{Answer, PATIENCE, World, write_server_certificate};

/// A connection that speaks HTTP/1.1 by hand.
async fn connect(world: &World) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    let root = pem::parse(world.server_ca.certificate_pem()).unwrap();
    roots
        .add(CertificateDer::from(root.into_contents()))
        .unwrap();
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(world.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    connector.connect(name, stream).await.unwrap()
}

/// All that comes until the other side closes.
async fn rest(stream: &mut TlsStream<TcpStream>) -> String {
    let mut bytes = Vec::new();
    // A connection that is cut off ends without a goodbye of TLS.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes))
        .await
        .unwrap();
    String::from_utf8(bytes).unwrap()
}

fn served_certificate(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_replaced_while_it_serves() {
    let world = World::start().await;
    let before = served_certificate(&connect(&world).await);
    let mut old = connect(&world).await;
    let new = write_server_certificate(&world.folder, &world.server_ca);
    let new = pem::parse(new).unwrap().into_contents();
    let mut waited = Duration::ZERO;
    while served_certificate(&connect(&world).await) != new {
        assert!(waited < PATIENCE, "the new certificate is not served");
        tokio::time::sleep(Duration::from_millis(100)).await;
        waited += Duration::from_millis(100);
    }
    assert_ne!(before, new);
    // Connections from before go on.
    old.write_all(b"GET /v1/openapi.json HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    assert!(rest(&mut old).await.starts_with("HTTP/1.1 200 OK"));
    // What can't be used changes nothing.
    std::fs::write(world.folder.path().join("server.crt"), "garbage").unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(served_certificate(&connect(&world).await), new);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_flight_end_and_no_others_begin() {
    let mut world = World::start().await;
    let mut stream = connect(&world).await;
    let key = world.admin.key().to_owned();
    let body = r#"{"id": "0001", "device_type": "pump"}"#;
    let head = format!(
        "POST /v1/devices HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nexpect: 100-continue\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // The service asks for the body once the request is in hand.
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    let mut idle = connect(&world).await;

    world.shutdown.cancel();
    assert_eq!(rest(&mut idle).await, "");
    let mut waited = Duration::ZERO;
    while TcpStream::connect(world.address).await.is_ok() {
        assert!(waited < PATIENCE, "connections are still accepted");
        tokio::time::sleep(Duration::from_millis(20)).await;
        waited += Duration::from_millis(20);
    }
    stream.write_all(body.as_bytes()).await.unwrap();
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 201 Created"), "{answer}");
    world.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_slow_is_cut_off() {
    let world = World::start_with("[limits]\nheader_timeout_secs = 1\nbody_timeout_secs = 1").await;
    let key = world.admin.key();
    // Nothing at all, on TCP and after the TLS handshake.
    let mut silent = TcpStream::connect(world.address).await.unwrap();
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(PATIENCE, silent.read_to_end(&mut bytes))
        .await
        .unwrap();
    assert!(read.is_err() || bytes.is_empty());
    assert_eq!(rest(&mut connect(&world).await).await, "");
    // Half a head, at first and after a whole request.
    for begin in ["", "GET /v1/openapi.json HTTP/1.1\r\nhost: x\r\n\r\n"] {
        let mut slow = connect(&world).await;
        slow.write_all(begin.as_bytes()).await.unwrap();
        slow.write_all(b"GET /v1/devices HTTP/1.1\r\nhost")
            .await
            .unwrap();
        let answer = rest(&mut slow).await;
        assert_eq!(
            answer.matches("HTTP/1.1 200 OK").count(),
            usize::from(!begin.is_empty())
        );
    }
    // A connection that is kept alive and asks nothing more.
    let mut idle = connect(&world).await;
    idle.write_all(b"GET /v1/openapi.json HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    assert!(rest(&mut idle).await.starts_with("HTTP/1.1 200 OK"));
    // Half a body.
    let mut slow = connect(&world).await;
    let head = format!(
        "POST /v1/devices HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{{"
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    let answer = rest(&mut slow).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("/problems/request-timeout"), "{answer}");
}

/// The plain listener holds no connection for a question that never ends.
#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_a_status_slowly_is_cut_off() {
    let world = World::start_with("[limits]\nbody_timeout_secs = 1").await;
    let mut slow = TcpStream::connect(world.status).await.unwrap();
    let half = b"POST /ocsp HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n0";
    slow.write_all(half).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, slow.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused() {
    let world = World::start().await;
    let api = &world.admin;
    let large = "x".repeat(1024 * 1024 + 1);
    let announced = api
        .request(Method::POST, "/v1/devices")
        .header("content-type", "application/json")
        .body(large.clone());
    Answer::of(announced).await.problem("body-too-large");
    // Without a length, as a stream.
    let pieces = (0..70).map(|_| Ok::<_, std::io::Error>("x".repeat(16 * 1024)));
    let streamed = api
        .request(Method::POST, "/v1/devices")
        .header("content-type", "application/json")
        .body(reqwest::Body::wrap_stream(futures::stream::iter(pieces)));
    Answer::of(streamed).await.problem("body-too-large");
    let mut wide = connect(&world).await;
    let head = format!("GET /v1/devices HTTP/1.1\r\nhost: x\r\nx-filler: {large}\r\n\r\n");
    let _ = wide.write_all(head.as_bytes()).await;
    let mut answer = [0; 12];
    if wide.read_exact(&mut answer).await.is_ok() {
        assert_eq!(&answer, b"HTTP/1.1 431");
    }
    assert_eq!(api.get("/v1/devices").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_connections_than_allowed_wait() {
    let world = World::start_with("[limits]\nconnections = 2").await;
    assert_eq!(world.admin.get("/v1/devices").await.status, 200);
    // That of the client is kept alive; one more fits.
    let one = connect(&world).await;
    let waiting = connect(&world);
    let mut waiting = std::pin::pin!(waiting);
    let early = tokio::time::timeout(Duration::from_millis(300), waiting.as_mut()).await;
    assert!(early.is_err(), "a third connection was served");
    drop(one);
    tokio::time::timeout(PATIENCE, waiting).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_of_http_are_spoken() {
    let world = World::start().await;
    let builder = || crate::support::client_builder(&world.server_ca);
    let one = world.admin.through(builder().http1_only().build().unwrap());
    one.post(
        "/v1/devices",
        json!({ "id": "0001", "device_type": "pump" }),
    )
    .await
    .expect(201);
    let mut stream = connect(&world).await;
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).await.unwrap();
    assert_eq!(
        frame[3], 4,
        "a server of HTTP/2 begins with SETTINGS (RFC 9113 section 3.4)"
    );
}
