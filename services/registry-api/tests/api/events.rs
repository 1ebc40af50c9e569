//! The feed of events and the audit trail behind it.

use futures::StreamExt;
use leafgate_access::{Role, Scope};
use leafgate_registry::DeviceStore;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::support::{Answer, Api, PATIENCE, World, at_site, until};

fn kinds<'a>(list: &'a Value) -> Vec<(&'a str, &'a str)> {
    let events = list["events"].as_array().unwrap();
    let text = |event: &'a Value, name: &str| event[name].as_str().unwrap_or("");
    let kind_and_device = |event| (text(event, "kind"), text(event, "device"));
    events.iter().map(kind_and_device).collect()
}

/// A stream of events that is read one by one.
struct Stream {
    response: Response,
    text: String,
}

impl Stream {
    async fn open(api: &Api, query: &str, last_event_id: Option<&str>) -> Self {
        let mut request = api.request(Method::GET, &format!("/v1/events/stream{query}"));
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            response,
            text: String::new(),
        }
    }

    /// The id and content of the next event, or nothing if the stream ends.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let mut lines = event.lines();
                    lines
                        .find_map(|line| line.strip_prefix(name))
                        .map(str::to_owned)
                };
                let found = field("id: ").zip(field("data: "));
                self.text = rest.to_owned();
                if let Some((id, data)) = found {
                    return Some((id, serde_json::from_str(&data).unwrap()));
                }
                continue;
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk())
                .await
                .unwrap();
            self.text += std::str::from_utf8(&chunk.ok()??).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_listed_in_their_order() {
    let world = World::start().await;
    let (api, before) = (&world.admin, world.newest_event().await);
    api.register("0001", "pump", None).await;
    api.post("/v1/devices/0001/disable", json!({}))
        .await
        .expect(200);
    let list = async |query: String| api.get(&format!("/v1/events?{query}")).await;
    let all = list(format!("after={before}")).await.expect(200);
    let (first, second) = (("device-registered", "0001"), ("device-disabled", "0001"));
    assert_eq!(kinds(&all), [first, second]);
    let end = json!(before + 2);
    assert_eq!((&all["next_after"], &all["newest"]), (&end, &end));
    let actor = all["events"][0]["actor"].as_str().unwrap();
    assert!(actor.starts_with("api-key:") && all["events"][1]["actor"] == actor);
    let page = list(format!("after={before}&page_size=1"))
        .await
        .expect(200);
    assert_eq!(kinds(&page), [first]);
    assert_eq!(
        (&page["next_after"], &page["newest"]),
        (&json!(before + 1), &end)
    );
    let epoch = all["epoch"].as_str().unwrap();
    let rest = list(format!("after={end}&epoch={epoch}")).await.expect(200);
    assert_eq!((&rest["events"], &rest["next_after"]), (&json!([]), &end));
    let restored = [
        format!("after={}", before + 3),
        format!("after=1&epoch={}", "0".repeat(32)),
    ];
    for query in restored {
        list(query).await.problem("feed-restarted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_seen_as_far_as_their_devices() {
    let world = World::start().await;
    world.admin.register("n1", "pump", Some("north")).await;
    world.admin.register("s1", "pump", Some("south")).await;
    let (_, north) = world.key(&[Role::Auditor], at_site("north")).await;
    let list = north.get("/v1/events").await.expect(200);
    assert_eq!(kinds(&list), [("device-registered", "n1")]);
    assert_eq!(list["next_after"], list["newest"]);
    let mut stream = Stream::open(&north, "?after=0", None).await;
    let (_, event) = stream.next().await.unwrap();
    assert_eq!(event["device"], "n1");
    world
        .admin
        .post("/v1/devices/s1/disable", json!({}))
        .await
        .expect(200);
    world
        .admin
        .post("/v1/devices/n1/disable", json!({}))
        .await
        .expect(200);
    let (_, event) = stream.next().await.unwrap();
    assert_eq!(
        (&event["device"], &event["kind"]),
        (&json!("n1"), &json!("device-disabled"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_brings_events_as_they_come_and_goes_on_where_it_ended() {
    let world = World::start().await;
    let api = &world.admin;
    let mut stream = Stream::open(api, "", None).await;
    api.register("0001", "pump", None).await;
    let (id, event) = stream.next().await.unwrap();
    assert_eq!(
        (&event["kind"], &event["device"]),
        (&json!("device-registered"), &json!("0001"))
    );
    drop(stream);
    api.register("0002", "pump", None).await;
    api.register("0003", "pump", None).await;
    let mut stream = Stream::open(api, "", Some(&id)).await;
    for device in ["0002", "0003"] {
        let (_, event) = stream.next().await.unwrap();
        assert_eq!(event["device"], device);
    }
    let one = "leafgate_registry_event_streams 1\n";
    until(async || world.metrics().await.contains(one)).await;
    let resume = async |id: &str| {
        let request = api.request(Method::GET, "/v1/events/stream");
        Answer::of(request.header("last-event-id", id)).await
    };
    resume("7").await.problem("request-malformed");
    resume(&format!("{}:1", "0".repeat(32)))
        .await
        .problem("feed-restarted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_its_key_and_with_the_service() {
    let mut world = World::start().await;
    let (key, auditor) = world.key(&[Role::Auditor], Scope::everything()).await;
    let mut stream = Stream::open(&auditor, "", None).await;
    let path = format!("/v1/api-keys/{}/revoke", key.id);
    world.admin.post(&path, json!({})).await.expect(200);
    // The revocation itself may still be told.
    let ended = async { while stream.next().await.is_some() {} };
    let ended = tokio::time::timeout(PATIENCE, ended).await;
    ended.expect("a revoked key is told of events no more");
    let mut stream = Stream::open(&world.admin, "", None).await;
    world.end().await.unwrap();
    assert!(stream.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_only_so_many_streams() {
    let world = World::start_with("[limits]\nevent_streams = 2").await;
    let api = &world.admin;
    let streams = [
        Stream::open(api, "", None).await,
        Stream::open(api, "", None).await,
    ];
    api.get("/v1/events/stream").await.problem("overloaded");
    drop(streams);
    // A stream that ended takes no place.
    until(async || {
        let request = api.request(Method::GET, "/v1/events/stream");
        request.send().await.unwrap().status() == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_trail_is_verified() {
    let world = World::start().await;
    let api = &world.admin;
    api.register("0001", "pump", None).await;
    let report = api.post("/v1/audit/verify", json!({})).await.expect(200);
    let newest = world.newest_event().await;
    assert_eq!(
        (&report["intact"], &report["events"]),
        (&json!(true), &json!(newest))
    );
    let path = format!("/v1/events?after={}", newest - 1);
    let list = api.get(&path).await.expect(200);
    assert_eq!(report["head"], list["events"][0]["hash"]);
    assert_eq!(report["epoch"], list["epoch"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_summed_in_the_audit_trail() {
    let mut world = World::start().await;
    let (key, viewer) = world.key(&[Role::Viewer], Scope::everything()).await;
    for _ in 0..3 {
        viewer
            .get("/v1/api-keys")
            .await
            .problem("role-insufficient");
    }
    world
        .admin
        .anonymous()
        .get("/v1/devices")
        .await
        .problem("credentials-invalid");
    world.end().await.unwrap();
    let events = world.store.events_after(0, 100).await.unwrap();
    let newest = events.last().unwrap();
    assert_eq!(newest.kind.as_str(), "requests-refused");
    let actor = format!("api-key:{}", key.id);
    assert_eq!(
        newest.detail,
        json!({
            "refused": [
                { "actor": actor, "reason": "role-insufficient", "count": 3 },
                { "actor": "anonymous", "reason": "credentials-invalid", "count": 1 },
            ],
            "total": 4,
        })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_many_events_misses_none() {
    let world = World::start().await;
    let api = &world.admin;
    let registering = (0..250).map(|n| async move {
        api.register(&format!("d{n}"), "pump", None).await;
    });
    let first = world.newest_event().await + 1;
    let mut stream = Stream::open(api, "", None).await;
    let registering = futures::stream::iter(registering)
        .buffer_unordered(8)
        .count();
    let reading = async {
        let mut seqs = Vec::new();
        while seqs.len() < 250 {
            let (_, event) = stream.next().await.unwrap();
            seqs.push(event["seq"].as_u64().unwrap());
        }
        seqs
    };
    let (_, seqs) = tokio::join!(registering, reading);
    assert_eq!(seqs, (first..first + 250).collect::<Vec<_>>());
}
