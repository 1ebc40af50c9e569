use crate::{
    CnPattern, DeviceId, Excerpt, Fingerprint, MatchCnError, ParseDeviceIdError, ParsedChain,
    SerialNumber, SpkiHash, TrustDomainName, TrustDomains, Validity,
};

/// Which device a verified certificate names, and which certificate that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceIdentity {
    /// The trust domain of the issuer.
    pub domain: TrustDomainName,
    /// The id out of the common name.
    pub id: DeviceId,
    /// Serial number, unique per issuer.
    pub serial: SerialNumber,
    /// SHA-256 of the certificate.
    pub fingerprint: Fingerprint,
    /// Key of the issuer.
    pub issuer: SpkiHash,
    /// When the certificate is valid. Whether it is now is not decided here.
    pub validity: Validity,
}

impl DeviceIdentity {
    /// Finds the trust domain by the issuer's key and takes the device id out of the common name
    /// with that domain's pattern. A certificate of one domain can't name a device of another.
    ///
    /// # Errors
    /// If no domain knows the issuer, or if the common name names no device of the domain.
    pub fn resolve(
        chain: &ParsedChain,
        domains: &TrustDomains,
    ) -> Result<Self, ResolveIdentityError> {
        let domain = domains
            .by_issuer(&chain.issuer)
            .ok_or(ResolveIdentityError::IssuerUnknown { spki: chain.issuer })?;
        let leaf = &chain.leaf;
        let id = domain
            .cn_pattern
            .matches(leaf.common_name())
            .map_err(|error| {
                let (cn, domain) = (Excerpt::of(leaf.common_name()), domain.name.clone());
                match error {
                    MatchCnError::Foreign { pattern, .. } => ResolveIdentityError::NameForeign {
                        cn,
                        domain,
                        pattern,
                    },
                    MatchCnError::Id { source, .. } => {
                        ResolveIdentityError::IdMalformed { cn, domain, source }
                    }
                }
            })?;
        Ok(Self {
            domain: domain.name.clone(),
            id,
            serial: leaf.serial(),
            fingerprint: leaf.fingerprint(),
            issuer: chain.issuer,
            validity: leaf.validity(),
        })
    }
}

/// A device certificate names no device of a known trust domain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveIdentityError {
    /// No trust domain lists the issuer's key.
    #[error(
        "the issuer with SPKI SHA-256 {spki} belongs to no trust domain; \
         list it under the issuers of one, if its devices may connect"
    )]
    IssuerUnknown {
        /// Key of the issuer.
        spki: SpkiHash,
    },
    /// The common name does not fit the pattern of the issuer's trust domain.
    #[error(
        "common name {cn} does not match {pattern}, the pattern of trust domain {domain}; \
         issue the device a certificate with such a name"
    )]
    NameForeign {
        /// The common name.
        cn: Excerpt,
        /// The issuer's trust domain.
        domain: TrustDomainName,
        /// Its pattern.
        pattern: CnPattern,
    },
    /// The common name fits the pattern but leaves something that is no device id.
    #[error("common name {cn} of trust domain {domain} holds no device id")]
    IdMalformed {
        /// The common name.
        cn: Excerpt,
        /// The issuer's trust domain.
        domain: TrustDomainName,
        /// What is wrong with the id.
        source: ParseDeviceIdError,
    },
}
