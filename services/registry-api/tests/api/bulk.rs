//! Many devices in one request: import and export.

use std::convert::Infallible;

use futures::StreamExt;
use hyper::client::conn::http1;
use leafgate_access::{Role, Scope};
use reqwest::{Body, Method, Response};
use rustls::ClientConfig;
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tokio::sync::mpsc;

use crate::support::{Answer, Api, PATIENCE, World, at_site, connect, trusting, until};

const NDJSON: &str = "application/x-ndjson";

pub(crate) async fn import(api: &Api, body: impl Into<Body>) -> Answer {
    let request = api.request(Method::POST, "/v1/bulk/import");
    Answer::of(request.header("content-type", NDJSON).body(body)).await
}

pub(crate) fn lines(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.header("content-type"), NDJSON);
    assert!(answer.text.is_empty() || answer.text.ends_with('\n'));
    let lines = answer.text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Of each line its number, id, outcome and problem.
fn results(answer: &Answer) -> Vec<String> {
    let shown = |line: &Value| {
        let problem = line["problem"]["type"].as_str().unwrap_or("-");
        format!(
            "{} {} {} {}",
            line["line"],
            line["id"].as_str().unwrap_or("-"),
            line["outcome"].as_str().unwrap(),
            problem.trim_start_matches("/problems/"),
        )
    };
    lines(answer).iter().map(shown).collect()
}

pub(crate) fn device(id: &str, site: Option<&str>) -> String {
    json!({ "id": id, "device_type": "pump", "site": site }).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_of_an_import_has_its_result() {
    let world = World::start().await;
    let admin = &world.admin;
    admin.register("old", "pump", Some("north")).await;
    admin.register("other", "valve", None).await;
    let long = format!("{{\"id\": \"{}\"}}", "x".repeat(70_000));
    let body = [
        device("new", None),
        String::new(),
        device("old", Some("north")),
        device("other", None),
        "{\"id\": \"x\"".to_owned(),
        "{\"id\": \"y\", \"device_type\": \"pump\", \"typ\": 1}".to_owned(),
        device("a.b", None),
        long,
        device("OTHER", None),
        "\u{fffd}\u{0}".to_owned(),
        "{\"id\": \"z\", \"device_type\": \"pump\", \"trust_domain\": \"none\"}".to_owned(),
        device("last", None),
    ]
    .join("\n");
    let answer = import(admin, body.clone()).await;
    assert_eq!(
        results(&answer),
        [
            "1 new registered -",
            "3 old unchanged -",
            "4 other failed device-exists",
            "5 - failed request-malformed",
            "6 - failed request-malformed",
            "7 - failed request-malformed",
            "8 - failed body-too-large",
            "9 OTHER failed device-exists",
            "10 - failed request-malformed",
            "11 z failed trust-domain-unknown",
            "12 last registered -",
        ]
    );
    let problem = &lines(&answer)[4]["problem"];
    assert_eq!(problem["status"], 400);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("\"typ\""), "{detail}");

    // The same again is harmless, and says so.
    let before = world.newest_event().await;
    let again = results(&import(admin, body).await);
    assert_eq!(again[0], "1 new unchanged -");
    assert_eq!(again[10], "12 last unchanged -");
    assert_eq!(world.newest_event().await, before);
    let imported = admin.get("/v1/devices/last").await.expect(200);
    assert_eq!(imported["device_type"], "pump");
    assert_eq!(results(&import(admin, "").await), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn results_come_while_lines_are_sent() {
    let world = World::start().await;
    let (send, mut wait) = mpsc::channel::<String>(1);
    let body = futures::stream::poll_fn(move |context| wait.poll_recv(context));
    let body = Body::wrap_stream(body.map(Ok::<_, Infallible>));
    let request = world.admin.request(Method::POST, "/v1/bulk/import");
    let request = request.header("content-type", NDJSON).body(body);
    let asked = tokio::spawn(request.send());
    send.send(format!("{}\n", device("0001", None)))
        .await
        .unwrap();
    let answer = tokio::time::timeout(PATIENCE, asked).await;
    let mut answer = answer.unwrap().unwrap().unwrap();
    assert!(next_line(&mut answer).await.contains("\"0001\""));
    send.send(format!("{}\n", device("0002", None)))
        .await
        .unwrap();
    assert!(next_line(&mut answer).await.contains("\"0002\""));
    // Without an end of the line, the end of the body is one.
    send.send(device("0003", None)).await.unwrap();
    drop(send);
    assert!(next_line(&mut answer).await.contains("\"0003\""));
    assert_eq!(answer.chunk().await.unwrap(), None);
}

pub(crate) async fn next_line(answer: &mut Response) -> String {
    let chunk = tokio::time::timeout(PATIENCE, answer.chunk()).await;
    let chunk = chunk.unwrap().unwrap().unwrap();
    String::from_utf8(chunk.to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_broke_off_is_made_again() {
    let world = World::start().await;
    let all: Vec<String> = (0..1_200)
        .map(|number| device(&format!("d{number:05}"), None))
        .collect();
    // The body breaks off in the middle of a line.
    let mut part = all[..600].join("\n");
    part.truncate(part.len() - 5);
    let pieces = [Ok(part), Err(std::io::Error::other("unplugged"))];
    let body = Body::wrap_stream(futures::stream::iter(pieces));
    let request = world.admin.request(Method::POST, "/v1/bulk/import");
    let request = request.header("content-type", NDJSON).body(body);
    let broken = match request.send().await {
        Err(_) => true,
        Ok(answer) => answer.text().await.is_err(),
    };
    assert!(broken, "part of an answer is no answer");
    let answer = import(&world.admin, all.join("\n")).await;
    let results = results(&answer);
    assert_eq!(results.len(), 1_200);
    assert!(
        results
            .iter()
            .all(|it| it.contains(" registered ") || it.contains(" unchanged "))
    );
    assert_eq!(results[599], "600 d00599 registered -");
    let exported = export(&world.admin, "").await;
    assert_eq!(exported.len(), 1_200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stops_coming_is_ended() {
    let world = World::start_with("[limits]\nbody_timeout_secs = 3").await;
    let (send, mut wait) = mpsc::channel::<String>(4);
    let body = futures::stream::poll_fn(move |context| wait.poll_recv(context));
    let body = Body::wrap_stream(body.map(Ok::<_, Infallible>));
    send.send(device("0001", None) + "\n{\"id\"").await.unwrap();
    let answer = import(&world.admin, body).await;
    assert_eq!(
        results(&answer),
        ["1 0001 registered -", "2 - failed request-timeout"]
    );
    drop(send);
}

/// A client that sends and never reads holds nothing but its connection, and that not for long.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_taken_that_nobody_reads_about() {
    let world = World::start_with("[limits]\nbody_timeout_secs = 1\nbulk_requests = 1").await;
    // What costs little and is answered at length, over a connection that takes little, soon stands still.
    let wrong = json!({ "id": "one", "device_type": "pump", "pending": "x".repeat(1_000) });
    let line = format!("{wrong}\n");
    let endless = futures::stream::repeat_with(move || Ok::<_, Infallible>(line.repeat(20)));
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8 * 1024).unwrap();
    let stream = socket.connect(world.address).await.unwrap();
    let config = ClientConfig::builder()
        .with_root_certificates(trusting(&world.server_ca))
        .with_no_client_auth();
    let stream = connect(stream, config).await;
    let (mut sender, running) = http1::handshake(stream).await.unwrap();
    tokio::spawn(running);
    let request = hyper::Request::post("/v1/bulk/import")
        .header("host", "localhost")
        .header("authorization", format!("Bearer {}", world.admin.key()))
        .header("content-type", NDJSON)
        .body(axum::body::Body::from_stream(endless))
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    // While it lasts there is no room for another one.
    let refused = world.admin.get("/v1/bulk/export").await;
    if refused.status != 200 {
        refused.problem("overloaded");
    }
    until(async || world.admin.get("/v1/bulk/export").await.status == 200).await;
    let rest = axum::body::Body::new(answer.into_body());
    let rest = axum::body::to_bytes(rest, usize::MAX).await;
    assert!(rest.is_err(), "part of an answer is no answer");
}

async fn export(api: &Api, query: &str) -> Vec<String> {
    let answer = api.get(&format!("/v1/bulk/export{query}")).await;
    let lines = lines(&answer);
    let ids = lines.iter().map(|it| it["id"].as_str().unwrap().to_owned());
    ids.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_gives_every_device_as_it_is_listed() {
    let world = World::start().await;
    let body: Vec<String> = (0..1_200)
        .map(|number| {
            let site = if number % 3 == 0 { "north" } else { "south" };
            device(&format!("d{number:05}"), Some(site))
        })
        .collect();
    import(&world.admin, body.join("\n")).await;
    world.admin.register("v1", "valve", None).await;
    assert_eq!(export(&world.admin, "").await.len(), 1_201);
    assert_eq!(export(&world.admin, "?device_type=valve").await, ["v1"]);
    let named = "?common_name_prefix=device-d0000";
    assert_eq!(export(&world.admin, named).await.len(), 10);
    assert_eq!(export(&world.admin, "?common_name_prefix=x").await, [""; 0]);
    // What broke off is continued.
    let rest = export(&world.admin, "?after=d01197&device_type=pump").await;
    assert_eq!(rest, ["d01198", "d01199"]);
    let one = world.admin.get("/v1/bulk/export?id_prefix=d00007").await;
    let listed = world.admin.get("/v1/devices/d00007").await.expect(200);
    assert_eq!(lines(&one), [listed]);

    let (_, north) = world.key(&[Role::Viewer], at_site("north")).await;
    assert_eq!(export(&north, "").await.len(), 400);
    north
        .get("/v1/bulk/export?sate=x")
        .await
        .problem("request-malformed");
    world
        .admin
        .anonymous()
        .get("/v1/bulk/export")
        .await
        .problem("credentials-invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_reaches_as_far_as_its_key() {
    let world = World::start().await;
    world.admin.register("s1", "pump", Some("south")).await;
    world.admin.register("s2", "pump", Some("south")).await;
    world.admin.delete("/v1/devices/s2").await.expect(200);
    let (_, north) = world.key(&[Role::Provisioner], at_site("north")).await;
    let body = [
        device("n1", Some("north")),
        device("n2", Some("south")),
        device("s1", Some("north")),
        device("s1", Some("south")),
        device("s2", Some("north")),
        device("n3", None),
    ];
    let answer = import(&north, body.join("\n")).await;
    assert_eq!(
        results(&answer),
        [
            "1 n1 registered -",
            "2 n2 failed scope-exceeded",
            "3 s1 failed device-exists",
            "4 s1 failed scope-exceeded",
            "5 s2 failed device-exists",
            "6 n3 failed scope-exceeded",
        ]
    );
    for line in [2, 4] {
        let detail = lines(&answer)[line]["problem"]["detail"].clone();
        let detail = detail.as_str().unwrap();
        // Neither its site nor its state nor its day.
        assert!(
            detail.ends_with("is taken; ids are unique ignoring case"),
            "{detail}"
        );
    }
    let (_, viewer) = world.key(&[Role::Viewer], Scope::everything()).await;
    import(&viewer, device("v1", None))
        .await
        .problem("role-insufficient");
    let request = north.request(Method::POST, "/v1/bulk/import");
    let answer = Answer::of(request.json(&json!({}))).await;
    answer.problem("media-type-unsupported");
}
