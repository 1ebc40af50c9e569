//! Keys for the API.

use leafgate_access::{
    ApiKeyText, Authority, NewApiKey, Permission, Principal, RefuseError, Role, Scope,
};
use leafgate_identity::UnixMs;
use leafgate_registrar::{ErrorKind, RegistrarError};
use leafgate_registry::{DocumentKind, DocumentName, EventKind};
use secrecy::ExposeSecret;

use crate::support::{Bench, NOW, act, act_at};

over_every_store!(
    a_key_is_made_found_listed_and_revoked,
    an_event_tells_of_a_key_but_never_its_hash,
    what_a_key_can_not_be_is_refused,
    the_first_admin_key_is_made_once,
    of_many_who_make_the_first_key_one_succeeds,
    nobody_grants_or_revokes_more_than_they_hold,
    a_key_is_forgotten_a_month_after_its_end,
);

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

fn later(ms: i64) -> UnixMs {
    UnixMs::new(NOW.as_i64() + ms)
}

fn authority(roles: &[Role], sites: &[&str]) -> Authority {
    let everywhere = Scope::everything();
    let scope = if sites.is_empty() {
        everywhere
    } else {
        Scope {
            sites: sites.iter().copied().collect(),
            ..everywhere
        }
    };
    Authority {
        roles: roles.iter().copied().collect(),
        scope,
    }
}

fn new_key(name: &str, authority: Authority) -> NewApiKey {
    NewApiKey {
        name: name.into(),
        authority,
        created_by: "cli:test".into(),
        expires_at: later(DAY),
    }
}

async fn a_key_is_made_found_listed_and_revoked(bench: Bench) {
    let registrar = &bench.registrar;
    let mut made = Vec::new();
    for name in ["line 1", "line 2", "line 3"] {
        let new = new_key(name, authority(&[Role::Operator], &["north"]));
        made.push(registrar.create_api_key(new, &act()).await.unwrap());
    }
    let (key, text) = &made[1];
    let presented = ApiKeyText::parse(text.expose().expose_secret()).unwrap();
    let found = registrar.api_key(&presented.id).await.unwrap().unwrap();
    assert_eq!(found, *key);
    assert!(found.is(&presented) && found.counts(NOW));

    let mut names = Vec::new();
    let mut after = None;
    loop {
        let page = registrar.api_keys(after.as_ref(), 2).await.unwrap();
        names.extend(page.items.into_iter().map(|key| key.name));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    names.sort();
    assert_eq!(names, ["line 1", "line 2", "line 3"]);

    let revoked = registrar.revoke_api_key(&key.id, &act()).await.unwrap();
    assert!(!revoked.counts(NOW));
    let seq = bench.store.inner().position().await.unwrap().seq;
    let again = registrar
        .revoke_api_key(&key.id, &act_at(later(HOUR)))
        .await;
    assert_eq!(again.unwrap(), revoked, "the first time stays");
    assert_eq!(bench.store.inner().position().await.unwrap().seq, seq);
    assert_eq!(registrar.api_key(&key.id).await.unwrap(), Some(revoked));

    let unknown = "aaaaaaaaaaaaa".parse().unwrap();
    assert_eq!(registrar.api_key(&unknown).await.unwrap(), None);
    let refused = registrar
        .revoke_api_key(&unknown, &act())
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound, "{refused}");
}

async fn an_event_tells_of_a_key_but_never_its_hash(bench: Bench) {
    let new = new_key(
        "line 4",
        authority(&[Role::Viewer, Role::Auditor], &["north"]),
    );
    let (key, text) = bench.registrar.create_api_key(new, &act()).await.unwrap();
    bench
        .registrar
        .revoke_api_key(&key.id, &act())
        .await
        .unwrap();
    let events = bench.events().await;
    let [created, revoked] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(created.kind, EventKind::ApiKeyCreated);
    assert_eq!(revoked.kind, EventKind::ApiKeyRevoked);
    for event in [created, revoked] {
        assert_eq!(event.detail["id"], key.id.as_str());
        assert_eq!(event.detail["name"], "line 4");
        assert_eq!(event.detail["expires_at"], later(DAY).to_string());
        let roles = &event.detail["authority"]["roles"];
        assert_eq!(roles.to_string(), r#"["viewer","auditor"]"#);
        assert_eq!(event.detail["authority"]["scope"]["sites"][0], "north");
    }
    let stored = DocumentName::parse(key.id.as_str()).unwrap();
    let document = bench
        .store
        .inner()
        .document(DocumentKind::ApiKey, &stored)
        .await
        .unwrap()
        .unwrap();
    let hash = document.body["secret_sha256"].as_str().unwrap();
    let whole = text.expose();
    let secret = whole.expose_secret().rsplit('_').next().unwrap();
    let told = serde_json::to_string(&events).unwrap();
    assert!(!told.contains(hash) && !told.contains(secret));
    assert!(!document.body.to_string().contains(secret));
}

async fn what_a_key_can_not_be_is_refused(bench: Bench) {
    let good = || new_key("line 4", authority(&[Role::Viewer], &[]));
    for (new, problem) in [
        (
            NewApiKey {
                name: String::new(),
                ..good()
            },
            "name must have 1 to 64 bytes",
        ),
        (
            NewApiKey {
                name: "a\nb".into(),
                ..good()
            },
            "name must have 1 to 64 bytes",
        ),
        (
            NewApiKey {
                name: "x".repeat(65),
                ..good()
            },
            "name must have 1 to 64 bytes",
        ),
        (
            NewApiKey {
                expires_at: NOW,
                ..good()
            },
            "expires_at must be in the future",
        ),
        (
            new_key("idle", authority(&[], &[])),
            "roles must be one at least",
        ),
    ] {
        let refused = bench
            .registrar
            .create_api_key(new, &act())
            .await
            .unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Input);
        assert!(refused.to_string().starts_with(problem), "{refused}");
    }
    assert_eq!(bench.events().await, []);
}

async fn the_first_admin_key_is_made_once(bench: Bench) {
    let registrar = &bench.registrar;
    let first = async |name| {
        registrar
            .create_first_admin_key(name, later(DAY), &act())
            .await
    };
    let (key, _) = first("first").await.unwrap();
    assert_eq!(key.created_by, "cli:test");
    assert!(
        key.principal()
            .check_everywhere(Permission::ManageApiKeys)
            .is_ok()
    );
    let refused = first("second").await.unwrap_err();
    assert!(matches!(refused, RegistrarError::ApiKeysExist), "{refused}");
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    registrar.revoke_api_key(&key.id, &act()).await.unwrap();
    assert!(first("third").await.is_err(), "a revoked key is a key");

    let month_later = later(31 * DAY);
    registrar
        .forget_expired_documents(month_later)
        .await
        .unwrap();
    registrar
        .create_first_admin_key("fourth", later(60 * DAY), &act_at(month_later))
        .await
        .unwrap();
}

async fn of_many_who_make_the_first_key_one_succeeds(bench: Bench) {
    let tasks: Vec<_> = (0..12)
        .map(|number| {
            let registrar = bench.restarted();
            let name = format!("first {number}");
            tokio::spawn(async move {
                registrar
                    .create_first_admin_key(&name, later(DAY), &act())
                    .await
            })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => made += 1,
            Err(refused) => assert!(matches!(refused, RegistrarError::ApiKeysExist), "{refused}"),
        }
    }
    assert_eq!(made, 1);
    let keys = bench.registrar.api_keys(None, 100).await.unwrap();
    assert_eq!(keys.items.len(), 1);
}

async fn nobody_grants_or_revokes_more_than_they_hold(bench: Bench) {
    let registrar = &bench.registrar;
    let principal = |roles: &[Role], sites: &[&str]| Principal {
        name: "api-key:test".into(),
        authority: authority(roles, sites),
    };
    let admin = principal(&[Role::Admin], &[]);
    let of_north = principal(&[Role::Admin], &["north"]);
    let operator = principal(&[Role::Operator], &[]);

    let grant = async |by: &Principal, sites: &[&str]| {
        let new = new_key("x", authority(&[Role::Operator], sites));
        registrar.grant_api_key(by, new, &act()).await
    };
    let (everywhere, _) = grant(&admin, &[]).await.unwrap();
    let (north, _) = grant(&of_north, &["north"]).await.unwrap();
    for (by, sites, expected) in [
        (&of_north, &[][..], RefuseError::Grant),
        (&of_north, &["north", "south"][..], RefuseError::Grant),
        (
            &operator,
            &[][..],
            RefuseError::Role {
                permission: Permission::ManageApiKeys,
            },
        ),
    ] {
        let refused = grant(by, sites).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Forbidden);
        assert!(
            matches!(refused, RegistrarError::Refused(why) if why == expected),
            "{refused}"
        );
    }

    let revoke = async |by, id| registrar.revoke_api_key_as(by, id, &act()).await;
    let refused = revoke(&of_north, &everywhere.id).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Forbidden, "{refused}");
    assert!(revoke(&operator, &north.id).await.is_err());
    revoke(&of_north, &north.id).await.unwrap();
    revoke(&admin, &everywhere.id).await.unwrap();
}

async fn a_key_is_forgotten_a_month_after_its_end(bench: Bench) {
    let new = new_key("line 4", authority(&[Role::Viewer], &[]));
    let (key, _) = bench.registrar.create_api_key(new, &act()).await.unwrap();
    let forget = async |at| bench.registrar.forget_expired_documents(at).await.unwrap();
    assert_eq!(forget(later(31 * DAY - 1)).await, 0);
    assert!(bench.registrar.api_key(&key.id).await.unwrap().is_some());
    assert_eq!(forget(later(31 * DAY)).await, 1);
    assert_eq!(bench.registrar.api_key(&key.id).await.unwrap(), None);
}
