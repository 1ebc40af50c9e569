//! Tokens that let one device in, used by many at a time over connections of their own.

use std::collections::BTreeMap;

use futures::future::join_all;
use serde_json::json;

use crate::bench::{Bench, Device};
use crate::support::{Answer, client};

const AT_A_TIME: usize = 8;

async fn all_at_once(bench: &Bench, bearer: &str, ids: &[String]) -> Vec<Answer> {
    let devices = ids.iter().map(|id| {
        let device = Device::new(id);
        let api = bench
            .world
            .admin
            .bearing(bearer)
            .through(client(&bench.world.server_ca));
        tokio::spawn(async move { device.enrol(&api).await })
    });
    let answers = join_all(devices.collect::<Vec<_>>()).await;
    answers.into_iter().map(Result::unwrap).collect()
}

fn count(answers: &[Answer]) -> BTreeMap<u16, usize> {
    let mut statuses = BTreeMap::new();
    for answer in answers {
        *statuses.entry(answer.status).or_default() += 1;
    }
    statuses
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_keys_gets_the_certificate_of_an_id() {
    let bench = Bench::start().await;
    for round in 0..25 {
        let id = format!("id-{round}");
        let (_, bearer) = bench.token(json!({ "ids": [id] })).await;
        let ids = vec![id.clone(); AT_A_TIME];
        let answers = all_at_once(&bench, bearer.key(), &ids).await;
        let statuses = count(&answers);
        assert_eq!(
            statuses,
            [(201, 1), (409, AT_A_TIME - 1)].into(),
            "{answers:?}"
        );
        let won = answers
            .into_iter()
            .find(|it| it.status == 201)
            .unwrap()
            .expect(201);
        let device = bench.device(&id).await;
        let accepted: Vec<_> = device["certificates"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|it| it["status"] == "issued")
            .collect();
        assert_eq!(accepted.len(), 1);
        assert_eq!(accepted[0]["serial"], won["serial"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_ids_uses_a_token_for_one() {
    let bench = Bench::start().await;
    for round in 0..25 {
        let (token, bearer) = bench.token(json!({ "unnamed": { "max_uses": 1 } })).await;
        let ids: Vec<String> = (0..AT_A_TIME).map(|n| format!("{round}-{n}")).collect();
        let answers = all_at_once(&bench, bearer.key(), &ids).await;
        let statuses = count(&answers);
        assert_eq!(
            statuses,
            [(201, 1), (403, AT_A_TIME - 1)].into(),
            "{answers:?}"
        );
        for refused in answers.iter().filter(|it| it.status == 403) {
            refused.problem("enrolment-token-ended");
        }
        let path = format!("/v1/enrolment-tokens/{token}");
        assert_eq!(bench.world.admin.get(&path).await.expect(200)["uses"], 1);
    }
    let certificates = bench
        .world
        .admin
        .get("/v1/certificates?page_size=1000")
        .await;
    let certificates = certificates.expect(200);
    assert_eq!(certificates["certificates"].as_array().unwrap().len(), 25);
    let devices = bench
        .world
        .admin
        .get("/v1/devices?page_size=1000")
        .await
        .expect(200);
    assert_eq!(devices["devices"].as_array().unwrap().len(), 25);
}
