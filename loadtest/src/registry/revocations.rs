use anyhow::{Context as _, Result, ensure};
use hyper::Request;
use leafgate_identity::DeviceId;
use leafgate_pki::{EmbeddedCa, Issuer as _};
use leafgate_runtime::SystemClock;
use secrecy::{ExposeSecret as _, SecretString};

use super::RegistryScale;
use super::database::Database;
use super::lists::entries_of;
use super::report::{Goal, RegistryRow};
use crate::http::Whole;
use crate::site::RegistryProcess;

/// Revokes devices one after the other; each is acknowledged when a list and OCSP answers that hold it are served.
pub(super) async fn measure(
    clock: &SystemClock,
    large: &Database,
    service: &RegistryProcess,
    issuer: &EmbeddedCa,
    key: &SecretString,
    ids: &[DeviceId],
    scale: &RegistryScale,
) -> Result<Vec<RegistryRow>> {
    let every = ids.len() / scale.revoked;
    let devices = (1..ids.len()).filter(|place| place % every != 0);
    let requests = devices.take(scale.revocations).map(|place| {
        Request::post(format!("/v1/devices/{}/revoke", ids[place]))
            .header("host", "localhost")
            .header("authorization", format!("Bearer {}", key.expose_secret()))
            .header("content-type", "application/json")
            .body(Whole::new(r#"{"reason": "key-compromise"}"#))
    });
    let requests = requests.collect::<Result<Vec<_>, _>>()?;
    let revoked = service.api.run(clock, requests, 1).await?;
    for reply in &revoked.replies {
        let body = String::from_utf8_lossy(&reply.body);
        ensure!(reply.status == 200, "{}: {body}", reply.status);
    }
    let path = format!("/crl/{}.crl", issuer.spki());
    let request = Request::get(path).header("host", "localhost");
    let list = service.status.ask(request.body(Whole::empty())?).await?;
    let listed = entries_of(&list.body).context("the served list")?;
    let expected = (0..ids.len()).step_by(every).count() + scale.revocations;
    ensure!(
        listed == expected,
        "the list tells of {listed} certificates, and {expected} are revoked"
    );
    let ms = |quantile| revoked.latencies_us.value_at_quantile(quantile) as f64 / 1e3;
    let row = |what: &str, quantile| RegistryRow {
        store: Some(large.kind()),
        what: format!(
            "revocation beside {} revoked ones, {what} ms",
            scale.revoked
        ),
        leafgate: ms(quantile),
        beside: None,
        digits: 1,
        goal: Goal::None,
    };
    Ok(vec![row("p50", 0.5), row("p99", 0.99)])
}
