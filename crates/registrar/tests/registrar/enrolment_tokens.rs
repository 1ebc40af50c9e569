//! The tokens that let new devices in.

use std::time::Duration;

use leafgate_access::{
    Admits, Authority, EnrolmentTokenText, NewEnrolmentToken, Principal, Role, Scope,
};
use leafgate_identity::{TrustDomainName, UnixMs};
use leafgate_registrar::{EnrolError, ErrorKind, TokenEnd};
use leafgate_registry::EventKind;
use secrecy::ExposeSecret;

use crate::enrolment::{enrol, ids, new_token, refusal, token};
use crate::support::{Bench, NOW, act, act_at, id, openssl_csr};

over_every_store!(
    an_ended_token_lets_nobody_in,
    tokens_are_listed_with_their_uses_and_no_hash_is_told,
    what_a_token_can_not_be_is_refused,
    nobody_makes_tokens_beyond_their_scope,
);

const DAY: Duration = Duration::from_secs(24 * 3600);

async fn an_ended_token_lets_nobody_in(bench: Bench) {
    let registrar = &bench.registrar;
    let (token_made, text) = token(&bench, ids(&["0001"])).await;
    let (other, other_text) = token(&bench, ids(&["0001"])).await;
    let csr = openssl_csr();
    let at = token_made.expires_at;
    let late = registrar.enrol(&text, &id("0001"), &csr, &act_at(at)).await;
    assert_eq!(
        refusal(late),
        EnrolError::TokenEnded {
            end: TokenEnd::Expired { at }
        }
    );

    let revoked = registrar
        .revoke_enrolment_token(&token_made.id, &act())
        .await
        .unwrap();
    assert_eq!(revoked.token.revoked_at, Some(NOW));
    let again = registrar
        .revoke_enrolment_token(&token_made.id, &act_at(at))
        .await
        .unwrap();
    assert_eq!(again, revoked);
    let refused = refusal(enrol(&bench, &text, "0001", &csr).await);
    assert_eq!(
        refused,
        EnrolError::TokenEnded {
            end: TokenEnd::Revoked { at: NOW }
        }
    );

    let mixed = format!(
        "lge_{}_{}",
        other.id,
        text.expose().expose_secret().rsplit('_').next().unwrap()
    );
    let unknown = format!("lge_{}_{}", "a".repeat(13), "a".repeat(52));
    for wrong in [mixed, unknown] {
        let text = EnrolmentTokenText::parse(&wrong).unwrap();
        // Whoever has no token learns nothing, not even whether a request is well formed.
        for csr in [csr.as_str(), "junk"] {
            let refused = refusal(enrol(&bench, &text, "0001", csr).await);
            assert_eq!(refused, EnrolError::TokenUnknown);
        }
    }
    assert_eq!(bench.store.inner().load(&id("0001")).await.unwrap(), None);
    enrol(&bench, &other_text, "0001", &csr).await.unwrap();

    let missing = "aaaaaaaaaaaaa".parse().unwrap();
    assert_eq!(registrar.enrolment_token(&missing).await.unwrap(), None);
    let refused = registrar
        .revoke_enrolment_token(&missing, &act())
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound);
}

async fn tokens_are_listed_with_their_uses_and_no_hash_is_told(bench: Bench) {
    let mut secrets = Vec::new();
    for name in ["0001", "0002", "0003"] {
        let (_, text) = token(&bench, ids(&[name])).await;
        if name != "0003" {
            enrol(&bench, &text, name, &openssl_csr()).await.unwrap();
        }
        secrets.push(
            text.expose()
                .expose_secret()
                .rsplit('_')
                .next()
                .unwrap()
                .to_owned(),
        );
    }
    let registrar = &bench.registrar;
    let first = registrar.enrolment_tokens(None, 2).await.unwrap();
    let rest = registrar
        .enrolment_tokens(first.next.as_ref(), 2)
        .await
        .unwrap();
    assert_eq!(
        (first.items.len(), rest.items.len(), rest.next),
        (2, 1, None)
    );
    let all: Vec<_> = first.items.into_iter().chain(rest.items).collect();
    for status in &all {
        let used = status.token.admits != ids(&["0003"]);
        assert_eq!(status.uses, u32::from(used));
    }
    registrar
        .revoke_enrolment_token(&all[0].token.id, &act())
        .await
        .unwrap();

    let events = bench.events().await;
    let told = serde_json::to_string(&events).unwrap();
    assert!(!told.contains("sha256") && secrets.iter().all(|secret| !told.contains(secret)));
    assert_eq!(events[0].kind, EventKind::EnrolmentTokenCreated);
    assert_eq!(events[0].detail["admits"]["ids"][0], "0001");
    assert_eq!(
        events.last().unwrap().kind,
        EventKind::EnrolmentTokenRevoked
    );

    // Revoked now, the first is forgotten a month from now; the others a month after their end.
    let forget = async |at: UnixMs| registrar.forget_expired_documents(at).await.unwrap();
    let month = NOW.saturating_add(30 * DAY);
    forget(month).await;
    let left = registrar.enrolment_tokens(None, 10).await.unwrap();
    assert_eq!(left.items.len(), 2);
    forget(month.saturating_add(DAY)).await;
    let left = registrar.enrolment_tokens(None, 10).await.unwrap();
    assert_eq!(left.items, []);
}

async fn what_a_token_can_not_be_is_refused(bench: Bench) {
    let many: Vec<String> = (0..1001).map(|number| format!("d{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let good = || new_token(ids(&["0001"]));
    let site = Some("a b".to_owned());
    for (new, problem) in [
        (
            new_token(ids(&[])),
            "admits must let one device in at least",
        ),
        (
            new_token(Admits::Unnamed { max_uses: 0 }),
            "admits must let one device in at least",
        ),
        (new_token(ids(&many)), "admits must name 1000 ids at most"),
        (
            new_token(ids(&["a", "A"])),
            "admits must name ids that differ",
        ),
        (
            new_token(ids(&[&"a".repeat(37)])),
            "no certificate can carry this name",
        ),
        (
            NewEnrolmentToken {
                name: String::new(),
                ..good()
            },
            "name must have",
        ),
        (
            NewEnrolmentToken {
                expires_at: NOW,
                ..good()
            },
            "expires_at must be",
        ),
        (
            NewEnrolmentToken {
                device_type: "a.b".into(),
                ..good()
            },
            "device_type must be",
        ),
        (NewEnrolmentToken { site, ..good() }, "site must be"),
        (
            NewEnrolmentToken {
                trust_domain: TrustDomainName::parse("nowhere").unwrap(),
                ..good()
            },
            "there is no trust domain nowhere",
        ),
    ] {
        let refused = bench.registrar.create_enrolment_token(new, &act()).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Input);
        assert!(refused.to_string().starts_with(problem), "{refused}");
    }
    assert_eq!(bench.events().await, []);
}

async fn nobody_makes_tokens_beyond_their_scope(bench: Bench) {
    let registrar = &bench.registrar;
    let principal = |role, sites: &[&str]| Principal {
        name: "api-key:test".into(),
        authority: Authority {
            roles: [role].into_iter().collect(),
            scope: Scope {
                sites: sites.iter().copied().collect(),
                ..Scope::everything()
            },
        },
    };
    let north = principal(Role::Provisioner, &["north"]);
    let at = |site: Option<&str>| NewEnrolmentToken {
        site: site.map(str::to_owned),
        ..new_token(ids(&["0001"]))
    };
    let (token, _) = registrar
        .grant_enrolment_token(&north, at(Some("north")), &act())
        .await
        .unwrap();
    for (by, site) in [
        (&north, Some("south")),
        (&north, None),
        (&principal(Role::Operator, &["north"]), Some("north")),
    ] {
        let refused = registrar.grant_enrolment_token(by, at(site), &act()).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Forbidden);
    }
    let south = principal(Role::Provisioner, &["south"]);
    let refused = registrar
        .revoke_enrolment_token_as(&south, &token.id, &act())
        .await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Forbidden);
    registrar
        .revoke_enrolment_token_as(&north, &token.id, &act())
        .await
        .unwrap();
}
