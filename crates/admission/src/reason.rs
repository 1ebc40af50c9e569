use std::fmt;

macro_rules! reasons {
    ($($(#[$meaning:meta])+ $variant:ident = $text:literal,)+) => {
        /// Why a log-in was refused: the one list for the log, the metric, the answer to nats-server
        /// and the documentation. Operators see it; devices see "Authorization Violation".
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason {
            $($(#[$meaning])+ $variant,)+
        }

        impl Reason {
            /// Every reason: those of requests, servers, certificates, devices and policies, as they are checked.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The reason as it is written everywhere: kebab-case.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }
    };
}

reasons! {
    /// The message is not an authorization request that nats-server would send.
    RequestMalformed = "request-malformed",
    /// The request's signature does not fit the server key that it names.
    RequestForged = "request-forged",
    /// The request is meant for another audience or another issuer than this service.
    RequestMisdirected = "request-misdirected",
    /// The request arrived in the clear although an xkey is configured.
    RequestUnsealed = "request-unsealed",
    /// The request is sealed in a way that its own content contradicts, or can't be opened.
    RequestSealBroken = "request-seal-broken",
    /// The answer would go to a subject that no nats-server waits on.
    ReplySubjectForeign = "reply-subject-foreign",
    /// The request ran out before it was read.
    RequestExpired = "request-expired",
    /// The server's clock is ahead of this one by more than the leeway.
    ClockSkew = "clock-skew",
    /// The answer would have come too late for the server to use it.
    DeadlinePassed = "deadline-passed",
    /// More requests arrived than this replica may hold.
    Overloaded = "overloaded",
    /// No live server of this cluster's system account has the id that the request names.
    ServerUnverified = "server-unverified",
    /// The connection showed no certificate that the server verified.
    CertificateMissing = "certificate-missing",
    /// The certificate breaks the rules for device certificates.
    CertificateMalformed = "certificate-malformed",
    /// The certificate's name can't be a device's name.
    NameMalformed = "name-malformed",
    /// No trust domain has the authority that issued the certificate.
    IssuerUnknown = "issuer-unknown",
    /// The certificate's name does not fit the name pattern of its issuer's trust domain.
    NameForeign = "name-foreign",
    /// The registry can't be read and nothing confirmed is known of the device.
    RegistryUnavailable = "registry-unavailable",
    /// The device is not registered.
    DeviceUnknown = "device-unknown",
    /// The device was deleted.
    DeviceDeleted = "device-deleted",
    /// The device is registered in another trust domain than the one its certificate belongs to.
    DomainMismatch = "domain-mismatch",
    /// The device waits for approval.
    DevicePending = "device-pending",
    /// The device is disabled.
    DeviceDisabled = "device-disabled",
    /// The device is revoked, for good.
    DeviceRevoked = "device-revoked",
    /// The registry did not issue this certificate to this device.
    CertificateUnknown = "certificate-unknown",
    /// The certificate is revoked.
    CertificateRevoked = "certificate-revoked",
    /// A later certificate replaced this one and the overlap is over.
    CertificateSuperseded = "certificate-superseded",
    /// The certificate is not valid yet.
    CertificateNotYetValid = "certificate-not-yet-valid",
    /// The certificate has expired.
    CertificateExpired = "certificate-expired",
    /// The device belongs to another site.
    SiteMismatch = "site-mismatch",
    /// No policy selects the device.
    PolicyNone = "policy-none",
    /// The policy gives nothing to quarantined devices.
    PolicyQuarantineNone = "policy-quarantine-none",
    /// The policy does not allow this kind of connection.
    ConnectionTypeNotAllowed = "connection-type-not-allowed",
    /// The policy does not allow connections from this address.
    SourceNotAllowed = "source-not-allowed",
    /// The policy's subjects need an attribute that the device lacks.
    PolicyVariableMissing = "policy-variable-missing",
    /// A value of the device can't stand in a subject of its policy.
    PolicyVariableMalformed = "policy-variable-malformed",
    /// The MQTT client id could take over another device's session.
    MqttClientIdForeign = "mqtt-client-id-foreign",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use leafgate_policy::PolicyDenial;

    use super::*;

    #[test]
    fn the_reasons_of_policies_are_among_them_in_their_order() {
        let of_policies: Vec<_> = Reason::ALL
            .iter()
            .map(|reason| reason.as_str())
            .filter(|text| PolicyDenial::REASONS.contains(text))
            .collect();
        assert_eq!(of_policies, PolicyDenial::REASONS);
    }

    #[test]
    fn every_reason_is_kebab_case_and_its_own() {
        let mut seen = BTreeSet::new();
        for reason in Reason::ALL {
            let text = reason.as_str();
            assert!(
                text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'),
                "{text}"
            );
            assert!(seen.insert(text), "{text} stands twice");
        }
    }
}
