use std::time::Duration;

use anyhow::{Context, bail, ensure};
use async_nats::Request;
use futures::StreamExt;
use leafgate_identity::DeviceId;
use leafgate_registry::RevocationReason;
use leafgate_runtime::Clock;

use super::cast::{Cast, PATIENCE};
use super::report::Report;
use crate::local::{Device, LogInError, next_message};

/// Tells the whole story; a step that fails does not keep the next from being told.
pub(super) async fn tell(cast: &mut Cast<'_>, report: &mut Report<'_>) {
    let first = log_in(cast, "0001").await;
    let (mut first, outcome) = split(first);
    report.step("0001 logs in with its certificate alone", outcome);
    let second = log_in(cast, "0002").await;
    let (second, outcome) = split(second);
    report.step("0002 logs in with its certificate alone", outcome);
    if let (Some(first), Some(second)) = (&mut first, &second) {
        report.step(
            "0001's metrics reach the hub under the site's prefix",
            metrics_reach_the_hub(cast, first).await,
        );
        report.step(
            "the hub's command reaches 0001 and the answer comes back",
            command_is_answered(cast, first).await,
        );
        report.step(
            "0001 publishing as 0002 is refused by nats-server",
            publishing_as_another_is_refused(first).await,
        );
        report.step(
            "0001 can't reach 0002 by reply subjects, its own echo included",
            replies_reach_nobody_else(cast, first, second).await,
        );
    }
    report.step(
        "0004 enrols over REST with a token and a CSR, and logs in",
        enrolled_device_logs_in(cast).await,
    );
    report.step(
        "0003, signed past the registrar for this demo, is refused",
        unregistered_is_refused(cast).await,
    );
    report.step(
        "0001's name under another CA is refused in the TLS handshake",
        foreign_ca_is_refused(cast).await,
    );
    if let Some(first) = first {
        let disabled = ends(cast, first, Ending::Disable).await;
        report.step("0001 disabled: session ended, log-in refused", disabled);
        let (again, outcome) = split(enabled(cast).await);
        report.step("0001 enabled: back in", outcome);
        if let Some(again) = again {
            let revoked = ends(cast, again, Ending::Revoke).await;
            report.step("0001 revoked: session ended, refused for good", revoked);
        }
    }
}

fn split<T>(outcome: anyhow::Result<(T, String)>) -> (Option<T>, anyhow::Result<String>) {
    match outcome {
        Ok((value, seen)) => (Some(value), Ok(seen)),
        Err(error) => (None, Err(error)),
    }
}

async fn log_in(cast: &mut Cast<'_>, id: &str) -> anyhow::Result<(Device, String)> {
    let mark = cast.mark()?;
    let device = cast.log_in(id).await?;
    let line = cast
        .decision(mark, &format!("decision allowed device={id}"))
        .await?;
    let micros = line
        .rsplit_once("micros=")
        .and_then(|(_, micros)| micros.trim().parse::<f64>().ok())
        .context("the callout's log does not tell how long it took")?;
    Ok((device, format!("decided in {:.1} ms", micros / 1000.0)))
}

async fn enrolled_device_logs_in(cast: &mut Cast<'_>) -> anyhow::Result<String> {
    let not_after = cast.enrol("0004", "pump").await?;
    let (_device, decided) = log_in(cast, "0004").await?;
    Ok(format!("certificate until {not_after}, {decided}"))
}

async fn metrics_reach_the_hub(cast: &Cast<'_>, device: &Device) -> anyhow::Result<String> {
    let mut telemetry = cast
        .telemetry
        .subscribe("site.demo.device.*.metrics.>")
        .await?;
    cast.telemetry.flush().await?;
    // The hub's interest travels to the leaf on its own time: until it has, nothing is forwarded.
    let started = cast.clock.monotonic();
    loop {
        let subject = "device.0001.metrics.temperature";
        device.client.publish(subject, "21.5".into()).await?;
        device.client.flush().await?;
        match next_message(&mut telemetry, Duration::from_millis(100)).await {
            Ok(message) => {
                ensure!(
                    message.payload == "21.5",
                    "the hub got {:?}",
                    message.payload
                );
                let expected = "site.demo.device.0001.metrics.temperature";
                ensure!(
                    message.subject.as_str() == expected,
                    "it came as {}",
                    message.subject
                );
                return Ok(message.subject.to_string());
            }
            Err(error) if cast.clock.monotonic() - started > PATIENCE => bail!(error),
            Err(_) => {}
        }
    }
}

async fn command_is_answered(cast: &Cast<'_>, device: &Device) -> anyhow::Result<String> {
    const COMMAND: &str = "site.demo.device.0001.cmd";
    let mut commands = device.client.subscribe("device.0001.cmd").await?;
    device.client.flush().await?;
    let client = device.client.clone();
    let obedient = async {
        while let Some(command) = commands.next().await {
            let reply = command.reply.context("the command has no reply subject")?;
            client.publish(reply, "21 degrees set".into()).await?;
        }
        bail!("the device's subscription ended")
    };
    let commanding = async {
        let first = cast.clock.monotonic();
        loop {
            let started = cast.clock.monotonic();
            let request = Request::new()
                .payload("set 21".into())
                .timeout(Some(Duration::from_millis(500)));
            match cast.commands.send_request(COMMAND, request).await {
                Ok(answer) => return Ok((answer, cast.clock.monotonic() - started)),
                // The leaf's interest in commands may still be on its way to the hub.
                Err(_) if cast.clock.monotonic() - first < PATIENCE => {}
                Err(error) => bail!(error),
            }
        }
    };
    let (answer, took) = tokio::select! {
        answered = commanding => answered?,
        failed = obedient => return failed,
    };
    ensure!(
        answer.payload == "21 degrees set",
        "the hub got {:?}",
        answer.payload
    );
    Ok(format!("{:.1} ms", took.as_secs_f64() * 1000.0))
}

async fn publishing_as_another_is_refused(device: &mut Device) -> anyhow::Result<String> {
    let subject = "device.0002.metrics.temperature";
    device.client.publish(subject, "99".into()).await?;
    device.client.flush().await?;
    let refusal = device.refusal(PATIENCE).await?;
    ensure!(refusal.contains(subject), "nats-server said {refusal}");
    Ok("Permissions Violation".to_owned())
}

/// Sends 0002's command subject along as the reply subject wherever 0001 may publish, and tries to
/// hear its own messages. 0002 must hear the hub's own command and nothing before it.
async fn replies_reach_nobody_else(
    cast: &Cast<'_>,
    first: &mut Device,
    second: &Device,
) -> anyhow::Result<String> {
    const TARGET: &str = "device.0002.cmd";
    let mut commands = second.client.subscribe("device.0002.cmd").await?;
    second.client.flush().await?;

    for reply in [TARGET, "site.demo.device.0002.cmd"] {
        for subject in ["device.0001.metrics.temperature", "device.0001.status"] {
            first
                .client
                .publish_with_reply(subject, reply, "open sesame".into())
                .await?;
        }
    }
    first.client.flush().await?;
    let own = first.client.subscribe("device.0001.metrics.>").await?;
    let refusal = first.refusal(PATIENCE).await?;
    ensure!(
        refusal.contains("Subscription"),
        "hearing its own echo: {refusal}"
    );
    drop(own);
    first
        .client
        .publish_with_reply("device.0001.cmd", TARGET, "to myself".into())
        .await?;
    let refusal = first.refusal(PATIENCE).await?;
    ensure!(refusal.contains("Publish"), "commanding itself: {refusal}");
    first.client.publish(TARGET, "open sesame".into()).await?;
    let refusal = first.refusal(PATIENCE).await?;
    ensure!(refusal.contains(TARGET), "publishing there: {refusal}");

    // Whatever had got through would have come before this.
    cast.commands
        .publish("site.demo.device.0002.cmd", "from the hub".into())
        .await?;
    cast.commands.flush().await?;
    let heard = next_message(&mut commands, PATIENCE).await?;
    ensure!(
        heard.payload == "from the hub",
        "0002 heard {:?}",
        heard.payload
    );
    Ok("0002 heard the hub alone".to_owned())
}

async fn unregistered_is_refused(cast: &mut Cast<'_>) -> anyhow::Result<String> {
    cast.sign_past_registrar("0003").await?;
    refused(cast, "0003", "device-unknown").await
}

async fn foreign_ca_is_refused(cast: &Cast<'_>) -> anyhow::Result<String> {
    cast.sign_with_foreign_ca("0001", "0001-foreign").await?;
    match cast.log_in("0001-foreign").await {
        Err(LogInError::Handshake(_)) => Ok("no request to leafgate".to_owned()),
        Err(other) => bail!(other),
        Ok(_) => bail!("it was let in"),
    }
}

enum Ending {
    Disable,
    Revoke,
}

/// Changes the device's state: its live session must end, and the next log-in be refused.
async fn ends(cast: &mut Cast<'_>, mut device: Device, ending: Ending) -> anyhow::Result<String> {
    let id = DeviceId::parse("0001")?;
    let started = cast.clock.monotonic();
    let act = cast.act();
    let (ended, reason) = match ending {
        Ending::Disable => (cast.registrar.disable(&id, &act).await, "device-disabled"),
        Ending::Revoke => {
            let unspecified = RevocationReason::Unspecified;
            (
                cast.registrar.revoke(&id, unspecified, &act).await,
                "device-revoked",
            )
        }
    };
    ended?;
    device.ended(PATIENCE).await?;
    let took = cast.clock.monotonic() - started;
    drop(device);
    refused(cast, "0001", reason).await?;
    Ok(format!("{:.0} ms, {reason}", took.as_secs_f64() * 1000.0))
}

async fn enabled(cast: &mut Cast<'_>) -> anyhow::Result<(Device, String)> {
    let id = DeviceId::parse("0001")?;
    cast.registrar.enable(&id, &cast.act()).await?;
    // The callout learns of it within a poll of the registry.
    let started = cast.clock.monotonic();
    loop {
        match cast.log_in("0001").await {
            Ok(device) => return Ok((device, String::new())),
            Err(LogInError::Refused) if cast.clock.monotonic() - started < PATIENCE => {}
            Err(error) => bail!(error),
        }
    }
}

/// A log-in must be refused with "Authorization Violation" and nothing else, the reason being in
/// the callout's log.
async fn refused(cast: &mut Cast<'_>, id: &str, reason: &str) -> anyhow::Result<String> {
    let mark = cast.mark()?;
    match cast.log_in(id).await {
        Err(LogInError::Refused) => {}
        Err(other) => bail!(other),
        Ok(_) => bail!("it was let in"),
    }
    let words = format!("decision denied reason={reason} device={id}");
    cast.decision(mark, &words).await?;
    Ok(reason.to_owned())
}
