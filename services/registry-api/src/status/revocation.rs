use leafgate_identity::{SerialNumber, SpkiHash, UnixMs};
use leafgate_registry::{CertificateId, Event, EventKind, RevocationReason};
use serde::Deserialize;

/// What an event says about revocation.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// These certificates are revoked.
    Revoked {
        certificates: Vec<RevokedCertificate>,
        reason: RevocationReason,
    },
    /// Some may be: the event is of a newer version, or not as this one writes it.
    Unclear,
    /// Nothing.
    Nothing,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct RevokedCertificate {
    pub(super) id: CertificateId,
    /// The end of its validity; the last of all times where the event does not tell it.
    pub(super) not_after: UnixMs,
}

impl Told {
    pub(super) fn by(event: &Event) -> Self {
        match event.kind {
            EventKind::DeviceRevoked | EventKind::DeviceDeleted => {
                OfDevice::deserialize(&event.detail).map_or(Self::Unclear, |of| Self::Revoked {
                    certificates: of.certificates.into_iter().map(Into::into).collect(),
                    reason: of.reason,
                })
            }
            EventKind::CertificateRevoked => {
                OfCertificate::deserialize(&event.detail).map_or(Self::Unclear, |of| {
                    Self::Revoked {
                        certificates: vec![of.certificate.into()],
                        reason: of.reason,
                    }
                })
            }
            EventKind::Other(_) if may_be_about_certificates(event) => Self::Unclear,
            _ => Self::Nothing,
        }
    }
}

fn may_be_about_certificates(event: &Event) -> bool {
    let names = |field| event.detail.get(field).is_some();
    event.device.is_some() || names("certificates") || names("serial")
}

#[derive(Deserialize)]
struct OfDevice {
    reason: RevocationReason,
    certificates: Vec<Named>,
}

#[derive(Deserialize)]
struct OfCertificate {
    reason: RevocationReason,
    #[serde(flatten)]
    certificate: Named,
}

#[derive(Deserialize)]
struct Named {
    issuer: SpkiHash,
    serial: SerialNumber,
    #[serde(default = "no_end")]
    not_after: UnixMs,
}

fn no_end() -> UnixMs {
    UnixMs::MAX
}

impl From<Named> for RevokedCertificate {
    fn from(named: Named) -> Self {
        Self {
            id: CertificateId {
                issuer: named.issuer,
                serial: named.serial,
            },
            not_after: named.not_after,
        }
    }
}

#[cfg(test)]
mod tests {
    use leafgate_identity::DeviceId;
    use leafgate_registry::{EventBody, Head};
    use serde_json::{Value, json};

    use super::*;

    fn told(kind: &str, device: Option<&str>, detail: Value) -> Told {
        let body = EventBody {
            at: UnixMs::new(1),
            actor: "test".to_owned(),
            kind: EventKind::from(kind),
            device: device.map(|id| DeviceId::parse(id).unwrap()),
            detail,
        };
        Told::by(&body.after(&Head::GENESIS))
    }

    #[test]
    fn an_event_without_the_end_of_validity_means_all_time() {
        let issuer = "ab".repeat(32);
        let detail = json!({ "issuer": issuer, "serial": "01", "reason": "superseded" });
        let Told::Revoked { certificates, .. } = told("certificate-revoked", None, detail) else {
            panic!("it is a revocation");
        };
        assert_eq!(certificates[0].not_after, UnixMs::MAX);
    }

    #[test]
    fn what_is_not_understood_may_be_a_revocation() {
        for (kind, device, detail, expected) in [
            ("device-revoked", Some("a"), json!({}), Told::Unclear),
            (
                "certificate-revoked",
                Some("a"),
                json!({ "issuer": "?", "serial": "01", "reason": "superseded" }),
                Told::Unclear,
            ),
            (
                "certificate-revoked",
                None,
                json!({ "issuer": "ab".repeat(32), "serial": "01", "reason": "whim" }),
                Told::Unclear,
            ),
            ("device-shredded", Some("a"), json!({}), Told::Unclear),
            ("batch", None, json!({ "certificates": [] }), Told::Unclear),
            (
                "service-ended",
                None,
                json!({ "serial": "01" }),
                Told::Unclear,
            ),
            ("tea-brewed", None, json!({ "minutes": 3 }), Told::Nothing),
            ("device-disabled", Some("a"), json!({}), Told::Nothing),
            ("crl-numbered", None, json!({ "number": 1 }), Told::Nothing),
        ] {
            assert_eq!(
                told(kind, device, detail.clone()),
                expected,
                "{kind} {detail}"
            );
        }
    }
}
