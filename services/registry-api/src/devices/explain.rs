use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use leafgate_admission::{Admission, Denial, Facts, Reason, admit};
use leafgate_api::{
    Explanation, Grant, GrantLifetime, GrantLimits, GrantResponses, GrantSubjects, ProblemType,
    schema,
};
use leafgate_identity::{DeviceId, DeviceIdentity, TrustDomain, UnixMs, Validity};
use leafgate_policy::{ConnectionFacts, ConnectionType, PolicySet, SubjectRules};
use leafgate_registry::{Certificate, DeviceRecord};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::app::App;
use crate::extract::{Named, Read};
use crate::problem::Problem;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Connection {
    /// How the device connects: STANDARD (as if left out), WEBSOCKET, MQTT, …
    #[param(example = "MQTT")]
    connection_type: Option<String>,
    /// The address that it connects from. Policies with source networks refuse a connection without one.
    #[param(value_type = Option<String>, example = "192.0.2.7")]
    source: Option<IpAddr>,
    /// The site that it connects at; the configured one if left out.
    site: Option<String>,
}

/// Explain whether a device would be let in
///
/// Decides as the callout does, by the same policies, with the certificate that the device most likely uses: the newest
/// that counts, or else the newest.
#[utoipa::path(
    get,
    path = "/v1/devices/{id}/explain",
    tag = "devices",
    params(("id" = schema::DeviceId, Path, description = "The device's id"), Connection),
    responses((status = OK, description = "The decision", body = Explanation)),
)]
pub(super) async fn explain_device(
    State(app): State<Arc<App>>,
    Named(id): Named<DeviceId>,
    read: Read<Connection>,
) -> Result<Json<Explanation>, Problem> {
    let record = app.device(&read.caller, &id).await?;
    let connection = facts_of(&read.query)?;
    let policies = app.policies.as_ref().ok_or_else(|| {
        let detail = "this service knows no policies: give it [policy] site, and policies for each trust domain";
        Problem::new(ProblemType::NotSupported, detail)
    })?;
    let site = read.query.site.as_deref().unwrap_or(&policies.site);
    let domain = app.domains.by_name(&record.device.trust_domain);
    let set = policies.of_domain.get(&record.device.trust_domain);
    let now = app.clock.now();
    let certificate = likely_certificate(&record, now);
    let decision = match (domain.zip(set), certificate) {
        (None, _) => Err(Reason::IssuerUnknown.into()),
        (Some((domain, policies)), certificate) => decide(&Asked {
            record: &record,
            certificate,
            domain,
            policies,
            site,
            connection: &connection,
            now,
        }),
    };
    Ok(Json(explanation(id, certificate, decision)))
}

struct Asked<'a> {
    record: &'a DeviceRecord,
    certificate: Option<&'a Certificate>,
    domain: &'a TrustDomain,
    policies: &'a PolicySet,
    site: &'a str,
    connection: &'a ConnectionFacts,
    now: UnixMs,
}

/// The decision about a device that presents its certificate. One that has none is looked at with a certificate that is
/// recorded nowhere, so that what comes before certificates is told all the same.
fn decide(asked: &Asked<'_>) -> Result<Admission, Denial> {
    let device = &asked.record.device;
    let presented = asked.certificate.and_then(|certificate| {
        Some(DeviceIdentity {
            domain: device.trust_domain.clone(),
            id: device.id.clone(),
            serial: certificate.serial,
            fingerprint: certificate.fingerprint?,
            issuer: certificate.issuer,
            validity: Validity {
                not_before: certificate.not_before,
                not_after: certificate.not_after,
            },
        })
    });
    let Some(identity) = presented else {
        return Err(without_certificate(asked));
    };
    admit(&Facts {
        identity: &identity,
        binding: asked.domain.binding,
        record: Some(asked.record),
        policies: asked.policies,
        site: asked.site,
        connection: asked.connection,
        now: asked.now,
    })
}

/// Why a device that holds no certificate is not let in: for its state, or else for that.
fn without_certificate(asked: &Asked<'_>) -> Denial {
    use leafgate_registry::DeviceState;
    match asked.record.device.state {
        DeviceState::Pending => Reason::DevicePending.into(),
        DeviceState::Disabled => Reason::DeviceDisabled.into(),
        DeviceState::Revoked => Reason::DeviceRevoked.into(),
        DeviceState::Deleted => Reason::DeviceDeleted.into(),
        DeviceState::Active | DeviceState::Quarantined => Reason::CertificateMissing.into(),
    }
}

/// The certificate that the device most likely uses: the newest that counts, or else the newest.
fn likely_certificate(record: &DeviceRecord, now: UnixMs) -> Option<&Certificate> {
    let newest = || record.current_certificates();
    newest()
        .find(|certificate| certificate.status.admits(now) && now < certificate.not_after)
        .or_else(|| newest().next())
}

fn facts_of(connection: &Connection) -> Result<ConnectionFacts, Problem> {
    let connection_type = match connection.connection_type.as_deref() {
        None => ConnectionType::Standard,
        Some(name) => ConnectionType::from_name(name).ok_or_else(|| {
            let known = ConnectionType::ALL.map(ConnectionType::as_str).join(", ");
            Problem::malformed(format!("connection_type is one of {known}"))
        })?,
    };
    Ok(ConnectionFacts {
        connection_type,
        source: connection.source,
    })
}

fn explanation(
    device: DeviceId,
    certificate: Option<&Certificate>,
    decision: Result<Admission, Denial>,
) -> Explanation {
    let admitted = decision.is_ok();
    let (grant, until, reason, detail) = match decision {
        Ok(Admission { grant, until }) => (Some(shown(&grant)), Some(until), None, None),
        Err(Denial { reason, detail }) => {
            let detail = Some(detail).filter(|detail| !detail.is_empty());
            (None, None, Some(reason.as_str().to_owned()), detail)
        }
    };
    Explanation {
        device,
        certificate: certificate.map(|certificate| certificate.serial),
        admitted,
        grant,
        until,
        reason,
        detail,
    }
}

fn shown(grant: &leafgate_policy::Grant) -> Grant {
    let subjects = |rules: &SubjectRules| GrantSubjects {
        allow: rules.allow().to_vec(),
        deny: rules.deny().to_vec(),
    };
    Grant {
        policy: grant.policy.to_string(),
        account: grant.account.to_string(),
        publish: subjects(&grant.publish),
        subscribe: subjects(&grant.subscribe),
        responses: grant.responses.map(|responses| GrantResponses {
            max: responses.max,
            ttl_secs: responses.ttl.as_secs(),
        }),
        lifetime: GrantLifetime {
            secs: grant.lifetime.secs,
            jitter_percent: grant.lifetime.jitter_percent,
        },
        connection_types: grant
            .connection_types
            .iter()
            .map(ToString::to_string)
            .collect(),
        sources: grant.sources.iter().map(ToString::to_string).collect(),
        limits: GrantLimits {
            subscriptions: grant.limits.subscriptions,
            payload_bytes: grant.limits.payload_bytes,
        },
        quarantined: grant.quarantined,
    }
}
