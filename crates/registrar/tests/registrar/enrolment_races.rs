//! Devices that enrol at a time, in one process and in several.

use leafgate_access::{Admits, EnrolmentTokenText};
use leafgate_registrar::{DeviceCredentials, EnrolError, Registrar, RegistrarError, TokenEnd};
use leafgate_registry::CertificateStatusKind;

use crate::enrolment::{ids, refusal, token};
use crate::faulty_store::Fault;
use crate::support::{Bench, act, id, openssl_csr};

over_every_store!(
    a_one_use_token_used_by_many_at_a_time_lets_one_in,
    an_id_claimed_by_many_at_a_time_gets_one_certificate,
    a_fleet_enrols_with_one_token_at_a_time,
    a_token_revoked_in_between_lets_nobody_in,
    a_device_that_is_overtaken_is_not_handed_a_certificate,
);

type Outcome = Result<DeviceCredentials, RegistrarError>;

/// Each of these devices enrols with a key of its own, over the registrar of its number.
async fn at_a_time(
    registrars: &[Registrar],
    text: &EnrolmentTokenText,
    names: impl Iterator<Item = String>,
) -> Vec<Outcome> {
    let tasks: Vec<_> = names
        .enumerate()
        .map(|(number, name)| {
            let (registrar, text) = (registrars[number % registrars.len()].clone(), text.clone());
            let csr = openssl_csr();
            tokio::spawn(async move { registrar.enrol(&text, &id(&name), &csr, &act()).await })
        })
        .collect();
    let mut outcomes = Vec::new();
    for task in tasks {
        outcomes.push(task.await.unwrap());
    }
    outcomes
}

/// As in one process, and as in many.
fn processes(bench: &Bench) -> [Vec<Registrar>; 2] {
    [
        vec![bench.restarted()],
        (0..4).map(|_| bench.restarted()).collect(),
    ]
}

async fn a_one_use_token_used_by_many_at_a_time_lets_one_in(bench: Bench) {
    for (round, registrars) in processes(&bench).iter().enumerate() {
        let (token, text) = token(&bench, Admits::Unnamed { max_uses: 1 }).await;
        let names = (0..8).map(|number| format!("d{round}-{number}"));
        let outcomes = at_a_time(registrars, &text, names).await;
        let (admitted, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
        assert_eq!(admitted.len(), 1);
        for outcome in refused {
            let end = TokenEnd::UsedUp;
            assert_eq!(refusal(outcome), EnrolError::TokenEnded { end });
        }
        let status = bench.registrar.enrolment_token(&token.id).await.unwrap();
        assert_eq!(status.unwrap().uses, 1);
    }
    let issued = bench.certificates().await;
    assert_eq!(issued.len(), 2, "the others announced nothing");
}

async fn an_id_claimed_by_many_at_a_time_gets_one_certificate(bench: Bench) {
    for (round, registrars) in processes(&bench).iter().enumerate() {
        let name = format!("d{round}");
        let (_, text) = token(&bench, ids(&[&name])).await;
        let names = std::iter::repeat_n(name.clone(), 6);
        let outcomes = at_a_time(registrars, &text, names).await;
        let admitted: Vec<_> = outcomes.into_iter().flatten().collect();
        assert_eq!(admitted.len(), 1);
        let record = bench.record(&id(&name)).await;
        let mut issued = record
            .certificates
            .iter()
            .filter(|c| c.fingerprint.is_some());
        let only = issued.next().unwrap();
        assert_eq!(only.fingerprint, Some(admitted[0].issued.fingerprint));
        assert_eq!(only.status.kind(), CertificateStatusKind::Issued);
        assert_eq!(issued.next(), None);
    }
}

async fn a_fleet_enrols_with_one_token_at_a_time(bench: Bench) {
    const FLEET: usize = 60;
    for (round, registrars) in processes(&bench).iter().enumerate() {
        let names: Vec<String> = (0..FLEET)
            .map(|number| format!("d{round}-{number}"))
            .collect();
        let listed: Vec<&str> = names.iter().map(String::as_str).collect();
        let (token, text) = token(&bench, ids(&listed)).await;
        for outcome in at_a_time(registrars, &text, names.iter().cloned()).await {
            outcome.unwrap();
        }
        let status = bench.registrar.enrolment_token(&token.id).await.unwrap();
        assert_eq!(usize::try_from(status.unwrap().uses).unwrap(), FLEET);
    }
}

async fn a_token_revoked_in_between_lets_nobody_in(bench: Bench) {
    let (token, text) = token(&bench, ids(&["0001"])).await;
    let other = bench.restarted();
    bench.store.plan([Fault::preceded(move |_| async move {
        other
            .revoke_enrolment_token(&token.id, &act())
            .await
            .unwrap();
    })]);
    let outcome = bench
        .registrar
        .enrol(&text, &id("0001"), &openssl_csr(), &act())
        .await;
    let refused = refusal(outcome).to_string();
    assert!(
        refused.starts_with("this enrolment token was revoked at"),
        "{refused}"
    );
    assert_eq!(bench.store.inner().load(&id("0001")).await.unwrap(), None);
}

async fn a_device_that_is_overtaken_is_not_handed_a_certificate(bench: Bench) {
    let (_, text) = token(&bench, ids(&["0001"])).await;
    let (other, same) = (bench.restarted(), text.clone());
    // After the first has announced its certificate, and before it is recorded.
    bench.store.plan([
        Fault::None,
        Fault::preceded(move |_| async move {
            let csr = openssl_csr();
            other.enrol(&same, &id("0001"), &csr, &act()).await.unwrap();
        }),
    ]);
    let overtaken = bench
        .registrar
        .enrol(&text, &id("0001"), &openssl_csr(), &act())
        .await
        .unwrap_err();
    assert!(
        matches!(overtaken, RegistrarError::SignedNotRecorded { .. }),
        "{overtaken}"
    );
    use CertificateStatusKind::{Issued, Revoked};
    assert_eq!(bench.statuses(&id("0001")).await, [Issued, Revoked]);
}
