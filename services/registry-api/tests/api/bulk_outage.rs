//! A store that is gone for a moment while an answer about many devices is under way.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use leafgate_registry::DeviceStore;
use leafgate_runtime::SystemClock;
use leafgate_testkit::delaying_store::{DelayControl, DelayingStore};
use reqwest::{Body, Method, Response};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::support::{PATIENCE, World};

/// Longer than the service relies on what it knows of a key.
const OUTAGE: Duration = Duration::from_millis(1500);

/// Meanwhile it can't be told whether the key of whoever imports still counts.
#[tokio::test(flavor = "multi_thread")]
async fn an_import_outlives_an_outage_of_the_store() {
    let control = DelayControl::default();
    let seen = control.clone();
    let store =
        |store| -> Arc<dyn DeviceStore> { Arc::new(DelayingStore::new(Arc::new(store), seen)) };
    let clock = Arc::new(SystemClock::start());
    let (world, _) = World::start_over(clock, "", &[], store, None).await;
    let (send, mut wait) = mpsc::channel::<String>(1);
    let body = futures::stream::poll_fn(move |context| wait.poll_recv(context));
    let request = world
        .admin
        .request(Method::POST, "/v1/bulk/import")
        .header("content-type", "application/x-ndjson")
        .body(Body::wrap_stream(body.map(Ok::<_, Infallible>)));
    let asked = tokio::spawn(request.send());
    let line = |number: usize| {
        let device = json!({ "id": format!("d{number}"), "device_type": "pump" });
        format!("{device}\n")
    };
    send.send(line(0)).await.unwrap();
    let mut answer = asked.await.unwrap().unwrap();
    assert_eq!(next_result(&mut answer).await["outcome"], "registered");

    control.set_reachable(false);
    let outage = async {
        tokio::time::sleep(OUTAGE).await;
        control.set_reachable(true);
    };
    let importing = async {
        for number in 1.. {
            send.send(line(number)).await.unwrap();
            let result = next_result(&mut answer).await;
            if result["outcome"] == "registered" {
                return;
            }
            let problem = result["problem"]["type"].as_str().unwrap();
            assert!(
                [
                    "/problems/registry-unavailable",
                    "/problems/outcome-unknown"
                ]
                .contains(&problem),
                "{result}"
            );
        }
    };
    tokio::join!(outage, importing);
    drop(send);
    assert_eq!(answer.chunk().await.unwrap(), None, "a whole answer");
}

async fn next_result(answer: &mut Response) -> Value {
    let chunk = tokio::time::timeout(PATIENCE, answer.chunk()).await;
    let chunk = chunk.unwrap().unwrap().unwrap();
    serde_json::from_slice(&chunk).unwrap()
}
