//! No device reaches another: not by its own subjects, not by reply subjects, not by its own echo;
//! and with a policy that lets it, `prove` says so.

use std::fs;
use std::time::Duration;

use async_nats::{Client, Subscriber};
use leafgate::local::{Device, next_message};
use leafgate_policy::{Constants, PolicySet, PolicySource};
use serde_json::{Value, json};

use crate::support::{PATIENCE, TestSite, eventually, options, project};

const STREAM: &str = "DEVICES";
const COMMAND: &str = "device.0002.cmd";
const COMMAND_ON_HUB: &str = "site.demo.device.0002.cmd";

/// What a device could hear of its own: one `>` instead of the subjects of its commands.
const LEAKY_POLICY: &str = r#"
[[policy]]
name = "leaky"
account = "DEVICES"
match = { device_type = "*" }
publish.allow = ["{prefix}.{id}.metrics.>", "{prefix}.{id}.status"]
subscribe.allow = ["{prefix}.{id}.>", "_INBOX.{id}.>"]
responses = { max = 1, ttl = "1m" }
"#;

/// Device 0001, who attacks, and device 0002, who listens for commands.
struct Stage {
    site: TestSite,
    attacker: Device,
    commands: Subscriber,
    _victim: Device,
    hub: Client,
}

impl Stage {
    async fn set(site: TestSite) -> Self {
        site.register("0001").await;
        site.register("0002").await;
        let attacker = site.log_in("0001").await.unwrap();
        let victim = site.log_in("0002").await.unwrap();
        let commands = victim.client.subscribe(COMMAND).await.unwrap();
        victim.client.flush().await.unwrap();
        let mut stage = Self {
            hub: site.application("hub-command", "_INBOX.commands").await,
            site,
            attacker,
            commands,
            _victim: victim,
        };
        hub_is_heard(&stage.hub, COMMAND_ON_HUB, &mut stage.commands).await;
        stage
    }

    /// The victim hears two commands of the hub, one after the other, and nothing before or between.
    async fn victim_heard_nobody_else(&mut self) {
        for words in ["first", "second"] {
            command(&self.hub, COMMAND_ON_HUB, words).await;
            let heard = next_message(&mut self.commands, PATIENCE).await.unwrap();
            assert_eq!(heard.payload, words, "0002 heard {heard:?}");
        }
    }

    async fn is_refused(&mut self, what: &str) {
        self.attacker.client.flush().await.unwrap();
        let refusal = self.attacker.refusal(PATIENCE).await.unwrap();
        let refusal = refusal.to_lowercase();
        assert!(refusal.contains("permissions violation"), "{refusal}");
        assert!(refusal.contains(&what.to_lowercase()), "{what}: {refusal}");
    }
}

/// Waits until commands of the hub reach a device, which also shows that it listens.
async fn hub_is_heard(hub: &Client, subject: &'static str, device: &mut Subscriber) {
    eventually("a command of the hub", async || {
        command(hub, subject, "are you there?").await;
        next_message(device, Duration::from_millis(100)).await.ok()
    })
    .await;
    // Whatever was still on its way comes before this.
    command(hub, subject, "now").await;
    while next_message(device, PATIENCE).await.unwrap().payload != "now" {}
}

async fn command(hub: &Client, subject: &'static str, words: &'static str) {
    hub.publish(subject, words.into()).await.unwrap();
    hub.flush().await.unwrap();
}

#[tokio::test]
async fn what_acknowledges_telemetry_reaches_no_other_device() {
    let mut options = options();
    options.hub_streams = true;
    let mut stage = Stage::set(TestSite::start(&options).await).await;
    let streams = stage
        .site
        .application("hub-streams", "_INBOX.streams")
        .await;
    create_stream(&streams).await;
    let telemetry = stage.site.application("hub-telemetry", "_INBOX").await;
    let mut seen_on_hub = telemetry.subscribe(COMMAND_ON_HUB).await.unwrap();
    telemetry.flush().await.unwrap();
    let attacker = stage.attacker.client.clone();
    eventually("telemetry in the stream", async || {
        attacker
            .publish("device.0001.metrics.up", "".into())
            .await
            .unwrap();
        (stored(&streams, "metrics.up").await > 0).then_some(())
    })
    .await;

    for subject in ["metrics.temperature", "status"] {
        for (number, reply) in (1..).zip([COMMAND, COMMAND_ON_HUB]) {
            attacker
                .publish_with_reply(
                    format!("device.0001.{subject}"),
                    reply,
                    "open sesame".into(),
                )
                .await
                .unwrap();
            attacker.flush().await.unwrap();
            eventually("the message in the stream", async || {
                (stored(&streams, subject).await == number).then_some(())
            })
            .await;
        }
        // The stream has acknowledged to the command subject, on the hub and no further.
        let acknowledgement = next_message(&mut seen_on_hub, PATIENCE).await.unwrap();
        let acknowledgement: Value = serde_json::from_slice(&acknowledgement.payload).unwrap();
        assert_eq!(acknowledgement["stream"], STREAM);
    }
    stage.victim_heard_nobody_else().await;
}

#[tokio::test]
async fn a_device_can_hear_and_answer_nothing_of_its_own() {
    let mut stage = Stage::set(TestSite::start(&options()).await).await;
    let attacker = stage.attacker.client.clone();
    for own_or_foreign in [
        "device.0001.metrics.>",
        "device.0001.metrics.echo",
        "device.0001.status",
        "device.0001.>",
        "device.*.cmd",
        COMMAND,
        "device.0002.status",
        "_INBOX.0002.>",
        "_INBOX.>",
        ">",
    ] {
        let refused = attacker.subscribe(own_or_foreign).await.unwrap();
        stage
            .is_refused(&format!("subscription to \"{own_or_foreign}\""))
            .await;
        drop(refused);
    }
    for (subject, reply) in [
        ("device.0001.cmd", COMMAND),
        ("device.0001.cmd.now", COMMAND),
        ("_INBOX.0001.echo", COMMAND),
        (COMMAND, "device.0001.status"),
        ("device.0002.status", COMMAND),
        (COMMAND_ON_HUB, COMMAND),
    ] {
        attacker
            .publish_with_reply(subject, reply, "open sesame".into())
            .await
            .unwrap();
        stage.is_refused(&format!("publish to \"{subject}\"")).await;
    }
    stage.victim_heard_nobody_else().await;
}

#[tokio::test]
async fn a_command_lets_its_device_answer_once_and_only_there() {
    let mut stage = Stage::set(TestSite::start(&options()).await).await;
    let attacker = stage.attacker.client.clone();
    let mut own = attacker.subscribe("device.0001.cmd").await.unwrap();
    attacker.flush().await.unwrap();
    let subject = "site.demo.device.0001.cmd";
    hub_is_heard(&stage.hub, subject, &mut own).await;
    let hub = stage.hub.clone();
    let asked = tokio::spawn(async move { hub.request(subject, "report".into()).await.unwrap() });
    let command = next_message(&mut own, PATIENCE).await.unwrap();
    attacker
        .publish(COMMAND, "instead of an answer".into())
        .await
        .unwrap();
    stage.is_refused(&format!("publish to \"{COMMAND}\"")).await;
    let reply = command.reply.unwrap();
    attacker
        .publish(reply.clone(), "21 degrees".into())
        .await
        .unwrap();
    assert_eq!(asked.await.unwrap().payload, "21 degrees");
    attacker
        .publish(reply.clone(), "and again".into())
        .await
        .unwrap();
    stage.is_refused(&format!("publish to \"{reply}\"")).await;
    stage.victim_heard_nobody_else().await;
}

#[tokio::test]
async fn with_a_policy_that_prove_refuses_the_attack_succeeds() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("leaky.toml");
    fs::write(&policy, LEAKY_POLICY).unwrap();
    let mut options = options();
    options.policies = vec![policy.clone()];
    let mut stage = Stage::set(TestSite::start(&options).await).await;

    let attacker = stage.attacker.client.clone();
    let mut echo = attacker.subscribe("device.0001.metrics.>").await.unwrap();
    let own = "device.0001.metrics.echo";
    attacker
        .publish_with_reply(own, COMMAND, "to myself".into())
        .await
        .unwrap();
    let heard = next_message(&mut echo, PATIENCE).await.unwrap();
    assert_eq!(heard.reply.as_deref(), Some(COMMAND));
    attacker
        .publish(COMMAND, "open sesame".into())
        .await
        .unwrap();
    let heard = next_message(&mut stage.commands, PATIENCE).await.unwrap();
    assert_eq!(heard.payload, "open sesame");

    assert!(!is_isolated(&policy));
    assert!(is_isolated(&project().join("policies/device.toml")));
}

fn is_isolated(file: &std::path::Path) -> bool {
    let source = PolicySource::new(file, fs::read_to_string(file).unwrap());
    let set = PolicySet::load(&[source], &Constants::default()).unwrap();
    set.prove().is_isolated()
}

async fn create_stream(client: &Client) {
    let subject = format!("$JS.API.STREAM.CREATE.{STREAM}");
    let stream = json!({ "name": STREAM, "subjects": ["site.demo.device.>"], "storage": "memory" });
    let answer = client
        .request(subject, stream.to_string().into())
        .await
        .unwrap();
    let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
    assert!(answer["error"].is_null(), "{answer}");
}

/// How many messages the stream holds that device 0001 has published there.
async fn stored(client: &Client, there: &str) -> u64 {
    let subject = format!("$JS.API.STREAM.INFO.{STREAM}");
    let stored_subject = format!("site.demo.device.0001.{there}");
    let filter = json!({ "subjects_filter": stored_subject });
    let answer = client
        .request(subject, filter.to_string().into())
        .await
        .unwrap();
    let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
    answer["state"]["subjects"][stored_subject]
        .as_u64()
        .unwrap_or(0)
}
