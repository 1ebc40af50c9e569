//! Issuers that are prepared, activated and retired.

use std::sync::Arc;
use std::time::Duration;

use leafgate_access::{Authority, Permission, Principal, Role, Scope, Selection};
use leafgate_identity::{SpkiHash, TrustDomains, UnixMs};
use leafgate_pki::{Intermediate, Issuer, RootAuthority};
use leafgate_registrar::{
    ErrorKind, IssuerKeys, IssuerState, IssuerStatus, Issuers, Registrar, RegistrarError,
    RequestKey,
};
use leafgate_registry::{DocumentName, EventKind, Outstanding, RevocationReason};

use crate::support::{Bench, NOW, act, act_at, domains_of};

over_every_store!(
    nothing_is_recorded_before_there_is_a_second_issuer,
    an_issuer_that_was_prepared_just_now_is_refused,
    the_one_before_can_be_activated_again_until_it_is_retired,
    what_is_outstanding_is_told,
    an_issuer_that_no_trust_domain_names_is_refused,
    unknown_issuers_are_told_from_known_ones,
    only_those_who_reach_everything_may,
    each_step_is_an_event_and_repeating_one_is_none,
    of_many_who_activate_at_once_one_is_active,
    an_activation_that_was_refused_is_not_recorded_as_carried_out,
);

const RIPE: Duration = Duration::from_secs(24 * 3600);
const TOMORROW: UnixMs = UnixMs::new(NOW.as_i64() + 24 * 3600 * 1000);

/// A CA with a second intermediate of a kind, and the registrar of a process that has both keys.
pub(crate) struct Rotating {
    pub(crate) bench: Bench,
    pub(crate) old: SpkiHash,
    pub(crate) new: SpkiHash,
    pub(crate) issuers: Issuers,
    pub(crate) registrar: Registrar,
}

impl Rotating {
    pub(crate) fn devices(bench: Bench) -> Self {
        Self::of(Intermediate::Devices, bench)
    }

    pub(crate) fn of(intermediate: Intermediate, bench: Bench) -> Self {
        let ca = &bench.ca;
        let root_key = ca.path().join("root.key");
        let root = RootAuthority::read_plain(&ca.root_certificate(), &root_key).unwrap();
        let old = ca.load(intermediate).unwrap().spki();
        let next = ca.prepare_next(intermediate, &root, false, NOW).unwrap();
        let issuers = Issuers::from(IssuerKeys {
            devices: load(&bench, Intermediate::Devices),
            servers: load(&bench, Intermediate::Servers),
        });
        let registrar = bench.with_issuers(issuers.clone(), domains(&issuers));
        Self {
            old,
            new: next.issuer,
            issuers,
            registrar,
            bench,
        }
    }

    pub(crate) async fn activated(bench: Bench) -> Self {
        let rotating = Self::devices(bench);
        rotating.activate(&rotating.new).await.unwrap();
        rotating
    }

    pub(crate) async fn activate(&self, issuer: &SpkiHash) -> Result<IssuerStatus, RegistrarError> {
        let act = act();
        self.registrar
            .activate_issuer(issuer, Duration::ZERO, &act)
            .await
    }

    pub(crate) async fn states(&self) -> Vec<(SpkiHash, IssuerState)> {
        let all = self.registrar.issuers(NOW).await.unwrap();
        let devices = all
            .into_iter()
            .filter(|it| it.intermediate == Intermediate::Devices);
        devices.map(|it| (it.issuer, it.state)).collect()
    }
}

fn load(bench: &Bench, intermediate: Intermediate) -> Vec<Arc<dyn Issuer>> {
    let all = bench.ca.load_all(intermediate).unwrap();
    all.into_iter()
        .map(|it| Arc::new(it) as Arc<dyn Issuer>)
        .collect()
}

pub(crate) fn domains(issuers: &Issuers) -> TrustDomains {
    let devices = issuers.of(Intermediate::Devices);
    domains_of(devices.iter().map(|it| it.spki()).collect())
}

async fn rotations(bench: &Bench) -> usize {
    let events = bench.events().await;
    let rotated = events
        .iter()
        .filter(|it| it.kind == EventKind::IssuerRotated);
    rotated.count()
}

async fn nothing_is_recorded_before_there_is_a_second_issuer(bench: Bench) {
    assert_eq!(bench.registrar.note_issuers(&act()).await.unwrap(), []);
    assert_eq!(rotations(&bench).await, 0);
    let [devices, servers] = &bench.registrar.issuers(NOW).await.unwrap()[..] else {
        panic!("two issuers")
    };
    assert_eq!(devices.issuer, bench.devices.spki());
    for it in [devices, servers] {
        assert_eq!((it.state, it.since), (IssuerState::Active, None));
        assert!(it.key_present);
    }
}

async fn an_issuer_that_was_prepared_just_now_is_refused(bench: Bench) {
    let rotating = Rotating::devices(bench);
    let registrar = &rotating.registrar;
    let activate = async |at| {
        registrar
            .activate_issuer(&rotating.new, RIPE, &act_at(at))
            .await
    };
    let before = UnixMs::new(TOMORROW.as_i64() - 1);
    for (at, expected) in [(NOW, RIPE), (before, Duration::from_millis(1))] {
        let refused = activate(at).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Conflict);
        assert_eq!(refused.retry_after(), Some(expected));
        assert!(refused.to_string().contains("would keep its devices out"));
    }
    activate(TOMORROW).await.unwrap();
}

async fn the_one_before_can_be_activated_again_until_it_is_retired(bench: Bench) {
    let rotating = Rotating::activated(bench).await;
    let (registrar, old, new) = (&rotating.registrar, &rotating.old, &rotating.new);
    // It was trusted before: there is nothing to wait for.
    let back = registrar.activate_issuer(old, RIPE, &act()).await.unwrap();
    assert_eq!(back.state, IssuerState::Active);
    let id = rotating.bench.registered("0001").await;
    let issued = registrar.issue_with_new_key(&id, &act()).await.unwrap();
    assert_eq!(issued.issued.issuer, *old);

    let refused = registrar.retire_issuer(old, &act()).await.unwrap_err();
    assert!(
        matches!(refused, RegistrarError::IssuerActive { .. }),
        "{refused}"
    );
    registrar.activate_issuer(new, RIPE, &act()).await.unwrap();
    let retired = registrar.retire_issuer(old, &act()).await.unwrap();
    assert_eq!(retired.state, IssuerState::Retired);
    let refused = rotating.activate(old).await.unwrap_err();
    assert!(
        matches!(refused, RegistrarError::IssuerRetired { .. }),
        "{refused}"
    );
    assert_eq!(refused.kind(), ErrorKind::Conflict);
}

async fn what_is_outstanding_is_told(bench: Bench) {
    let rotating = Rotating::devices(bench);
    let registrar = &rotating.registrar;
    let [first, second] = [
        rotating.bench.registered("0001").await,
        rotating.bench.registered("0002").await,
    ];
    let one = registrar.issue_with_new_key(&first, &act()).await.unwrap();
    registrar.issue_with_new_key(&second, &act()).await.unwrap();
    let two = registrar
        .issue_with_new_key(&second, &act_at(TOMORROW))
        .await
        .unwrap();
    rotating.activate(&rotating.new).await.unwrap();
    let retired = registrar.retire_issuer(&rotating.old, &act()).await;
    let ends = [one, two].map(|it| it.issued.validity.not_after);
    assert_eq!(
        retired.unwrap().outstanding,
        Some(Outstanding {
            certificates: 3,
            holders: 2,
            last_not_after: Some(ends[1]),
            unexpired: 3,
            last_unexpired: Some(ends[1]),
        })
    );
    let second = &second;
    let (reason, now) = (RevocationReason::Unspecified, act());
    registrar.revoke(second, reason, &now).await.unwrap();
    let status = async |at| registrar.issuer_status(&rotating.old, at).await.unwrap();
    let left = status(NOW).await.outstanding.unwrap();
    assert_eq!((left.certificates, left.holders, left.unexpired), (1, 1, 3));
    assert_eq!(left.last_not_after, Some(ends[0]));
    assert_eq!(left.last_unexpired, Some(ends[1]));
    assert_eq!(
        status(ends[1]).await.outstanding,
        Some(Outstanding::default())
    );
    // Once its key is gone too, nothing is left to tell.
    let keys = IssuerKeys {
        devices: rotating.issuers.of(Intermediate::Devices)[1..].into(),
        servers: rotating.issuers.of(Intermediate::Servers),
    };
    rotating.issuers.replace(keys);
    assert!(registrar.issuer_status(&rotating.old, NOW).await.is_ok());
    let gone = registrar.issuer_status(&rotating.old, ends[1]).await;
    assert_eq!(gone.unwrap_err().kind(), ErrorKind::NotFound);
}

async fn an_issuer_that_no_trust_domain_names_is_refused(bench: Bench) {
    let rotating = Rotating::devices(bench);
    let registrar = &rotating.registrar;
    registrar.replace_domains(Arc::new(domains_of(vec![rotating.old])));
    let refused = rotating.activate(&rotating.new).await.unwrap_err();
    assert!(
        matches!(refused, RegistrarError::IssuerUntrusted { .. }),
        "{refused}"
    );
    registrar.replace_domains(Arc::new(domains(&rotating.issuers)));
    rotating.activate(&rotating.new).await.unwrap();
}

async fn unknown_issuers_are_told_from_known_ones(bench: Bench) {
    let rotating = Rotating::devices(bench);
    let unknown = SpkiHash::from_bytes([9; 32]);
    let refusals = [
        rotating.activate(&unknown).await.err(),
        rotating
            .registrar
            .retire_issuer(&unknown, &act())
            .await
            .err(),
        rotating.registrar.issuer_status(&unknown, NOW).await.err(),
    ];
    for refused in refusals {
        let refused = refused.unwrap();
        assert_eq!(refused.kind(), ErrorKind::NotFound);
        assert!(refused.to_string().contains(&unknown.to_string()));
    }
}

async fn only_those_who_reach_everything_may(bench: Bench) {
    let rotating = Rotating::devices(bench);
    let with = |roles: &[Role], scope| Principal {
        name: "somebody".into(),
        authority: Authority {
            roles: roles.iter().copied().collect(),
            scope,
        },
    };
    let now = act();
    let north = Scope {
        sites: Selection::Only(["north".to_owned()].into()),
        ..Scope::everything()
    };
    let others = [
        Role::Viewer,
        Role::Operator,
        Role::Provisioner,
        Role::Auditor,
    ];
    for somebody in [
        with(&others, Scope::everything()),
        with(&[Role::Admin], north),
    ] {
        let registrar = rotating
            .registrar
            .on_behalf_of(&somebody, Permission::ManageIssuers);
        let activated = registrar.activate_issuer(&rotating.new, Duration::ZERO, &now);
        assert_eq!(activated.await.unwrap_err().kind(), ErrorKind::Forbidden);
        let retired = registrar.retire_issuer(&rotating.new, &act()).await;
        assert_eq!(retired.unwrap_err().kind(), ErrorKind::Forbidden);
    }
    let admin = with(&[Role::Admin], Scope::everything());
    let registrar = rotating
        .registrar
        .on_behalf_of(&admin, Permission::ManageIssuers);
    let activated = registrar.activate_issuer(&rotating.new, Duration::ZERO, &now);
    activated.await.unwrap();
}

async fn each_step_is_an_event_and_repeating_one_is_none(bench: Bench) {
    let rotating = Rotating::activated(bench).await;
    let (registrar, old) = (&rotating.registrar, &rotating.old);
    for _ in 0..2 {
        rotating.activate(&rotating.new).await.unwrap();
        registrar.retire_issuer(old, &act()).await.unwrap();
        registrar.note_issuers(&act()).await.unwrap();
    }
    let events = rotating.bench.events().await;
    let told: Vec<_> = events.iter().map(|it| it.detail.clone()).collect();
    let (old, new) = (rotating.old, rotating.new);
    let of = |issuer: SpkiHash, state| serde_json::json!({"intermediate": "devices", "issuer": issuer, "state": state});
    let mut activated = of(new, "active");
    activated["superseded"] = serde_json::json!(old);
    let expected = [
        of(old, "active"),
        of(new, "prepared"),
        activated,
        of(old, "retired"),
    ];
    assert_eq!(told, expected);
}

async fn of_many_who_activate_at_once_one_is_active(bench: Bench) {
    let rotating = Arc::new(Rotating::devices(bench));
    rotating.registrar.note_issuers(&act()).await.unwrap();
    let runs: Vec<_> = (0..8)
        .map(|run| {
            let rotating = Arc::clone(&rotating);
            tokio::spawn(async move {
                let issuer = [rotating.old, rotating.new][run % 2];
                rotating.activate(&issuer).await.map(drop)
            })
        })
        .collect();
    for run in runs {
        run.await.unwrap().unwrap();
    }
    let states = rotating.states().await;
    let active = states.iter().filter(|it| it.1 == IssuerState::Active);
    assert_eq!((active.count(), states.len()), (1, 2));
}

async fn an_activation_that_was_refused_is_not_recorded_as_carried_out(bench: Bench) {
    let rotating = Rotating::devices(bench);
    let key = RequestKey {
        name: DocumentName::parse(&"ab".repeat(32)).unwrap(),
        request_sha256: "cd".repeat(32),
    };
    let activate = async |at| {
        let registrar = rotating.registrar.once(key.clone());
        registrar
            .activate_issuer(&rotating.new, RIPE, &act_at(at))
            .await
    };
    let refused = activate(NOW).await.unwrap_err();
    assert!(
        matches!(refused, RegistrarError::IssuerTooYoung { .. }),
        "{refused}"
    );
    let find = async || rotating.registrar.find_request(&key.name, TOMORROW).await;
    assert_eq!(find().await.unwrap(), None);
    let activated = activate(TOMORROW).await.unwrap();
    assert_eq!(activated.state, IssuerState::Active);
    let recorded = find().await.unwrap().unwrap();
    assert_eq!(recorded.outcome.len(), 1);
}
