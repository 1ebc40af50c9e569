//! What every [`Issuer`] must do, whatever stands behind it.

mod hostile;
mod openssl;

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use leafgate_identity::{Fingerprint, SpkiHash, UnixMs, spki_hash_of_certificate_pem};
use leafgate_pki::{
    CrlReason, IssueError, Issued, Issuer, KeyPairPem, Prepared, Profile, ProfileKind,
    PublicKeyInfo, RevokedEntry, SignCrlError,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// How far the clock of whatever stands behind an issuer may be from that of the test.
const SKEW: Duration = Duration::from_secs(60);

/// Checks an issuer that issues certificates of `profile` at `now`, with its chain to the root (PEM). `now` is the
/// present where the issuer has a clock of its own. Panics with what is wrong.
pub async fn issuer_conformance(
    issuer: &dyn Issuer,
    root_pem: &str,
    profile: Profile,
    now: UnixMs,
) {
    the_issuer_is_a_ca(issuer);
    let key = generate();
    let prepared = prepare_settles_serial_and_dates(issuer, &profile, &key, now);
    let issued = issuer
        .issue(prepared)
        .await
        .expect("what was prepared is issued");
    the_certificate_is_what_was_prepared(issuer, &profile, &key, &issued);
    openssl::accepts_the_certificate(issuer, root_pem, &issued, now);
    openssl::accepts_lists(issuer, root_pem, &issued, now).await;
    openssl::accepts_status_answers(issuer, root_pem, &issued, now).await;
    hostile::requests_give_nothing_but_their_key(issuer, &profile, now).await;
    no_serial_number_comes_twice(issuer, &profile, now).await;
    a_certificate_ends_with_its_issuer(issuer, &profile, now).await;
    what_another_prepared_is_refused(issuer, profile, now).await;
    lists_say_what_is_revoked(issuer, &issued, now).await;
}

/// Checks what an issuer says that can't be reached. Panics with what is wrong.
pub async fn issuer_is_out_of_reach(issuer: &dyn Issuer, profile: &Profile, now: UnixMs) {
    let prepared = issuer
        .prepare(profile.clone(), generate(), now)
        .expect("preparing needs nobody");
    let refused = issuer.issue(prepared).await;
    assert!(
        matches!(refused, Err(IssueError::Unavailable(_))),
        "{refused:?}"
    );
    let refused = issuer.sign_crl(&[], 1, now, now.saturating_add(HOUR)).await;
    assert!(
        matches!(refused, Err(SignCrlError::Unavailable(_))),
        "{refused:?}"
    );
}

fn generate() -> PublicKeyInfo {
    KeyPairPem::generate()
        .expect("the system has random numbers")
        .public
}

fn the_issuer_is_a_ca(issuer: &dyn Issuer) {
    assert_eq!(
        spki_hash_of_certificate_pem(issuer.certificate_pem()).ok(),
        Some(issuer.spki()),
        "the issuer's key hash is that of its certificate"
    );
    with_certificate(issuer.certificate_pem(), |certificate| {
        assert!(certificate.is_ca(), "the issuer is a CA");
    });
}

fn prepare_settles_serial_and_dates(
    issuer: &dyn Issuer,
    profile: &Profile,
    key: &PublicKeyInfo,
    now: UnixMs,
) -> Prepared {
    let prepared = issuer
        .prepare(profile.clone(), key.clone(), now)
        .expect("the issuer is valid now");
    assert_eq!(prepared.issuer(), issuer.spki());
    assert_eq!(prepared.profile(), profile);
    assert_eq!(prepared.public_key(), key);
    let validity = prepared.validity();
    assert!(validity.contains(now), "valid at once: {validity:?}");
    assert!(
        now.since(validity.not_before) <= 300 * SECOND + SECOND,
        "begins at most five minutes early: {validity:?}"
    );
    let lifetime = validity.not_after.since(now);
    assert!(
        lifetime <= profile.lifetime() && lifetime + SECOND >= profile.lifetime(),
        "lives as long as the profile says: {validity:?}"
    );
    prepared
}

fn the_certificate_is_what_was_prepared(
    issuer: &dyn Issuer,
    profile: &Profile,
    key: &PublicKeyInfo,
    issued: &Issued,
) {
    assert_eq!(issued.issuer, issuer.spki());
    assert_eq!(
        issued.chain_pem,
        format!("{}{}", issued.certificate_pem, issuer.certificate_pem()),
        "the chain is the certificate and its issuer's"
    );
    with_certificate(&issued.certificate_pem, |certificate| {
        assert_eq!(
            certificate.tbs_certificate.raw_serial(),
            der_integer(issued.serial.as_be_bytes()),
            "serial number"
        );
        let seconds = |at: UnixMs| at.as_secs();
        let validity = certificate.validity();
        assert_eq!(
            validity.not_before.timestamp(),
            seconds(issued.validity.not_before)
        );
        assert_eq!(
            validity.not_after.timestamp(),
            seconds(issued.validity.not_after)
        );
        assert_eq!(
            SpkiHash::of_spki_der(certificate.public_key().raw),
            key.spki_hash()
        );
        assert_eq!(
            certificate.subject().to_string(),
            format!("CN={}", profile.common_name()),
            "the subject is the common name alone"
        );
        assert_names(certificate, profile);
        assert_usages(certificate, profile.kind());
        with_certificate(issuer.certificate_pem(), |ca| {
            assert_eq!(certificate.issuer().as_raw(), ca.subject().as_raw());
            certificate
                .verify_signature(Some(ca.public_key()))
                .expect("signed by the issuer");
            let identifier = |certificate: &X509Certificate<'_>| {
                certificate.iter_extensions().find_map(|extension| {
                    match extension.parsed_extension() {
                        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
                        _ => None,
                    }
                })
            };
            let named = certificate.iter_extensions().find_map(|extension| {
                match extension.parsed_extension() {
                    ParsedExtension::AuthorityKeyIdentifier(id) => {
                        id.key_identifier.as_ref().map(|id| id.0.to_vec())
                    }
                    _ => None,
                }
            });
            assert!(named.is_some(), "an authority key identifier");
            assert_eq!(named, identifier(ca), "the identifier is the issuer's");
        });
    });
    let der = der_of(&issued.certificate_pem);
    assert_eq!(issued.fingerprint, Fingerprint::of_certificate_der(&der));
}

fn assert_names(certificate: &X509Certificate<'_>, profile: &Profile) {
    let names = certificate
        .subject_alternative_name()
        .expect("well-formed")
        .map_or_else(Vec::new, |extension| extension.value.general_names.clone());
    let octets: Vec<Vec<u8>> = profile
        .ip_addresses()
        .iter()
        .map(|address| match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        })
        .collect();
    let expected: Vec<GeneralName<'_>> = profile
        .dns_names()
        .map(GeneralName::DNSName)
        .chain(octets.iter().map(|octets| GeneralName::IPAddress(octets)))
        .collect();
    // Their order says nothing (RFC 5280 section 4.2.1.6).
    let sorted = |names: &[GeneralName<'_>]| {
        let mut texts: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
        texts.sort_unstable();
        texts
    };
    assert_eq!(
        sorted(&names),
        sorted(&expected),
        "subject alternative names"
    );
}

fn assert_usages(certificate: &X509Certificate<'_>, kind: ProfileKind) {
    assert!(!certificate.is_ca(), "no CA");
    let usage = certificate
        .key_usage()
        .expect("well-formed")
        .expect("a key usage");
    assert!(
        usage.critical && usage.value.flags == 1,
        "digitalSignature alone, critical"
    );
    let extended = certificate
        .extended_key_usage()
        .expect("well-formed")
        .expect("an extended key usage")
        .value;
    assert!(extended.client_auth, "for clients");
    assert_eq!(
        extended.server_auth,
        kind == ProfileKind::NatsServer,
        "for servers"
    );
    let more = extended.any
        || extended.code_signing
        || extended.email_protection
        || extended.time_stamping
        || extended.ocsp_signing
        || !extended.other.is_empty();
    assert!(!more, "for nothing else");
}

async fn no_serial_number_comes_twice(issuer: &dyn Issuer, profile: &Profile, now: UnixMs) {
    let key = generate();
    let mut seen = HashSet::new();
    for _ in 0..32 {
        let prepared = issuer
            .prepare(profile.clone(), key.clone(), now)
            .expect("the issuer is valid now");
        let settled = prepared.serial();
        assert_eq!(
            settled.is_none(),
            issuer.inventory().is_some(),
            "what is not known before it is signed can be found afterwards"
        );
        let issued = issuer
            .issue(prepared)
            .await
            .expect("what was prepared is issued");
        let serial = issued.serial;
        assert!(seen.insert(serial), "serial number {serial} came twice");
        assert!(
            settled.is_none_or(|settled| settled == serial),
            "signed with the serial number that was settled"
        );
    }
    assert!(
        seen.iter().any(|serial| serial.as_be_bytes().len() >= 8),
        "serial numbers have at least 64 bits"
    );
}

async fn a_certificate_ends_with_its_issuer(issuer: &dyn Issuer, profile: &Profile, now: UnixMs) {
    let end = with_certificate(issuer.certificate_pem(), |certificate| {
        UnixMs::from_secs(certificate.validity().not_after.timestamp())
    });
    let long = profile
        .clone()
        .with_lifetime(end.since(now) + HOUR)
        .expect("longer than a second");
    let prepared = issuer
        .prepare(long, generate(), now)
        .expect("the issuer is valid now");
    assert!(prepared.validity().not_after <= end);
    let issued = issuer
        .issue(prepared)
        .await
        .expect("what was prepared is issued");
    assert!(
        issued.validity.not_after <= end,
        "no certificate outlives its issuer"
    );
    for dead in [end.saturating_add(SECOND), end.saturating_add(24 * HOUR)] {
        assert!(
            issuer.prepare(profile.clone(), generate(), dead).is_err(),
            "an issuer that has ended prepares nothing"
        );
    }
}

async fn what_another_prepared_is_refused(issuer: &dyn Issuer, profile: Profile, now: UnixMs) {
    let settled = issuer
        .prepare(profile.clone(), generate(), now)
        .expect("the issuer is valid now");
    let other = SpkiHash::from_bytes([7; 32]);
    let foreign = Prepared::new(
        other,
        profile,
        generate(),
        settled.serial(),
        settled.validity(),
    );
    assert!(
        matches!(issuer.issue(foreign).await, Err(IssueError::Foreign { prepared_by }) if prepared_by == other),
        "what another issuer prepared is not signed"
    );
}

async fn lists_say_what_is_revoked(issuer: &dyn Issuer, issued: &Issued, now: UnixMs) {
    let next_update = now.saturating_add(HOUR);
    let empty = issuer
        .sign_crl(&[], 1, now, next_update)
        .await
        .expect("an empty list");
    with_list(&empty, issuer, |list| {
        assert_eq!(list.iter_revoked_certificates().count(), 0);
        assert_eq!(
            list.crl_number().map(ToString::to_string).as_deref(),
            Some("1")
        );
    });

    let entries = [RevokedEntry {
        serial: issued.serial,
        revoked_at: now,
        reason: CrlReason::KeyCompromise,
    }];
    let number = u64::from(u32::MAX) + 7;
    let full = issuer
        .sign_crl(&entries, number, now, next_update)
        .await
        .expect("a list");
    with_list(&full, issuer, |list| {
        assert_eq!(
            list.crl_number().map(ToString::to_string),
            Some(number.to_string())
        );
        let dates = [
            (list.last_update().timestamp(), now),
            (
                list.next_update().expect("a next update").timestamp(),
                next_update,
            ),
        ];
        for (found, asked) in dates {
            let off = UnixMs::from_secs(found).as_i64().abs_diff(asked.as_i64());
            let skew = match issuer.inventory() {
                Some(_) => SKEW,
                None => SECOND,
            };
            assert!(u128::from(off) <= skew.as_millis(), "{found}, not {asked}");
        }
        let revoked: Vec<_> = list.iter_revoked_certificates().collect();
        assert_eq!(revoked.len(), 1);
        assert_eq!(
            revoked[0].raw_serial(),
            der_integer(issued.serial.as_be_bytes())
        );
        assert_eq!(revoked[0].revocation_date.timestamp(), now.as_secs());
        let reason = revoked[0].reason_code().map(|(_, reason)| reason.0);
        assert_eq!(reason, Some(1), "key compromise (RFC 5280 section 5.3.1)");
    });

    assert!(
        matches!(
            issuer.sign_crl(&[], 2, now, now).await,
            Err(SignCrlError::NextUpdateNotAfterNow { .. })
        ),
        "a list must end after it begins"
    );
}

fn der_of(pem_text: &str) -> Vec<u8> {
    pem::parse(pem_text).expect("PEM").into_contents()
}

fn with_certificate<T>(pem_text: &str, check: impl FnOnce(&X509Certificate<'_>) -> T) -> T {
    let der = der_of(pem_text);
    let (rest, certificate) = X509Certificate::from_der(&der).expect("a certificate");
    assert!(rest.is_empty(), "nothing after the certificate");
    check(&certificate)
}

fn with_list(der: &[u8], issuer: &dyn Issuer, check: impl FnOnce(&CertificateRevocationList<'_>)) {
    let (rest, list) = CertificateRevocationList::from_der(der).expect("a revocation list");
    assert!(rest.is_empty(), "nothing after the list");
    with_certificate(issuer.certificate_pem(), |ca| {
        assert_eq!(list.issuer().as_raw(), ca.subject().as_raw());
        list.verify_signature(ca.public_key())
            .expect("signed by the issuer");
    });
    check(&list);
}

/// Content octets of a positive INTEGER.
fn der_integer(magnitude: &[u8]) -> Vec<u8> {
    let sign: &[u8] = if magnitude[0] >= 0x80 { &[0] } else { &[] };
    [sign, magnitude].concat()
}
