use std::collections::BTreeSet;

use leafgate_access::Role;
use leafgate_identity::UnixMs;
use leafgate_runtime::Clock;
use serde_json::{Value, json};

use super::support::{AUDIENCE, Bench, NOW_SECS, first_rsa};

/// Providers write some claims as null that others leave out.
#[tokio::test]
async fn a_claim_that_is_null_is_none() {
    let bench = Bench::start().await;
    for (claim, expected) in [
        ("iss", "claim-missing"),
        ("aud", "claim-missing"),
        ("exp", "claim-missing"),
        ("iat", "admitted"),
        ("nbf", "admitted"),
        ("email", "admitted"),
        ("roles", "grant-none"),
    ] {
        let mut claims = bench.claims();
        claims[claim] = Value::Null;
        let header = json!({"alg": "RS256", "kid": "rsa-1"});
        let token = first_rsa().sign(&header, &claims);
        assert_eq!(bench.reason(&token).await, expected, "{claim}");
    }
}

/// Each of these tokens, which differ from the good one by some claims only, is judged so.
async fn judge(bench: &Bench, cases: &[(Value, &str)]) {
    for (claims, expected) in cases {
        let token = bench.token_but(claims);
        assert_eq!(bench.reason(&token).await, *expected, "{claims}");
    }
}

#[tokio::test]
async fn issuer_and_audience_are_exact() {
    let bench = Bench::start().await;
    let issuer = bench.idp.issuer();
    judge(
        &bench,
        &[
            (json!({"iss": null}), "claim-missing"),
            (json!({"iss": 7}), "claim-malformed"),
            (json!({"iss": [issuer]}), "claim-malformed"),
            (json!({"iss": format!("{issuer}/")}), "issuer-mismatch"),
            (json!({"iss": issuer.to_uppercase()}), "issuer-mismatch"),
            (json!({"iss": "https://evil.example"}), "issuer-mismatch"),
            (json!({"aud": null}), "claim-missing"),
            (json!({"aud": 7}), "claim-malformed"),
            (json!({"aud": [AUDIENCE, 7]}), "claim-malformed"),
            (json!({"aud": {"aud": AUDIENCE}}), "claim-malformed"),
            (json!({"aud": []}), "audience-mismatch"),
            (json!({"aud": ""}), "audience-mismatch"),
            (json!({"aud": "console"}), "audience-mismatch"),
            (json!({"aud": format!("{AUDIENCE}/")}), "audience-mismatch"),
            (
                json!({"aud": format!("other {AUDIENCE}")}),
                "audience-mismatch",
            ),
            (json!({"aud": ["other", AUDIENCE]}), "admitted"),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_token_counts_in_its_time_give_or_take_the_leeway() {
    let bench = Bench::start().await;
    let now = NOW_SECS;
    judge(
        &bench,
        &[
            (json!({"exp": null}), "claim-missing"),
            (json!({"exp": "4000000000"}), "claim-malformed"),
            (json!({"exp": [now + 60]}), "claim-malformed"),
            (json!({"exp": now - 60}), "token-expired"),
            (json!({"exp": now - 59}), "admitted"),
            (json!({"exp": (now - 60) as f64 + 0.5}), "admitted"),
            (json!({"exp": 0}), "token-expired"),
            (json!({"exp": i64::MIN}), "token-expired"),
            (json!({"exp": -1e300}), "token-expired"),
            (json!({"exp": u64::MAX}), "admitted"),
            (json!({"exp": 1e300}), "admitted"),
            (json!({"nbf": now + 60}), "admitted"),
            (json!({"nbf": now + 61}), "token-not-yet-valid"),
            (json!({"nbf": i64::MAX}), "token-not-yet-valid"),
            (json!({"nbf": "soon"}), "claim-malformed"),
            (json!({"iat": null}), "admitted"),
            (json!({"iat": now + 60}), "admitted"),
            (json!({"iat": now + 61}), "token-not-yet-valid"),
            (json!({"iat": now + 61, "nbf": now}), "token-not-yet-valid"),
            (json!({"iat": {}}), "claim-malformed"),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_leeway_is_configured() {
    let bench = Bench::with_config("leeway_secs = 0").await;
    judge(
        &bench,
        &[
            (json!({"exp": NOW_SECS}), "token-expired"),
            (json!({"exp": NOW_SECS + 1}), "admitted"),
            (json!({"nbf": NOW_SECS}), "admitted"),
            (json!({"nbf": NOW_SECS + 1}), "token-not-yet-valid"),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_token_may_be_too_old_though_it_has_not_ended() {
    let bench = Bench::with_config("max_token_age_secs = 900").await;
    judge(
        &bench,
        &[
            (json!({"iat": null}), "claim-missing"),
            (json!({"iat": NOW_SECS - 959}), "admitted"),
            (json!({"iat": NOW_SECS - 960}), "token-expired"),
            (json!({"iat": i64::MIN}), "token-expired"),
            (json!({"exp": NOW_SECS - 60}), "token-expired"),
        ],
    )
    .await;
    let token = bench.verify(&bench.token()).await.unwrap();
    assert_eq!(token.expires_at, UnixMs::from_secs(NOW_SECS + 960));
}

#[tokio::test]
async fn a_token_ends_while_the_service_runs() {
    let bench = Bench::start().await;
    let token = bench.token_but(&json!({"exp": NOW_SECS + 100}));
    let expires_at = bench.verify(&token).await.unwrap().expires_at;
    bench.clock.advance(159);
    assert!(bench.clock.now() < expires_at);
    assert_eq!(bench.reason(&token).await, "admitted");
    bench.clock.advance(1);
    assert!(bench.clock.now() >= expires_at);
    assert_eq!(bench.reason(&token).await, "token-expired");
}

#[tokio::test]
async fn tokens_for_something_else_give_no_access() {
    let bench = Bench::start().await;
    let claims = [
        (json!({"nonce": "n"}), true),
        (json!({"at_hash": "h"}), true),
        (json!({"c_hash": "h"}), true),
        (json!({"s_hash": "h"}), true),
        (json!({"typ": "ID"}), false),
        (json!({"token_use": "id"}), false),
        (json!({"token_use": 7}), false),
        (
            json!({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}),
            false,
        ),
    ];
    for (claims, may_be_typed) in claims {
        for typ in [
            json!("at+jwt"),
            json!("application/at+jwt"),
            json!("JWT"),
            Value::Null,
        ] {
            let is_typed = typ.as_str().is_some_and(|typ| typ.ends_with("at+jwt"));
            let header = json!({"alg": "RS256", "kid": "rsa-1", "typ": typ});
            let reason = bench.reason(&bench.token_with(&header, &claims)).await;
            let expected = if is_typed && may_be_typed {
                "admitted"
            } else {
                "token-not-access"
            };
            assert_eq!(reason, expected, "{header} {claims}");
        }
    }
    // As providers write their access tokens.
    for claims in [
        json!({"typ": "Bearer", "azp": "console", "auth_time": NOW_SECS, "acr": "1"}),
        json!({"token_use": "access", "client_id": "console", "jti": "1"}),
        json!({"ver": "2.0", "tid": "t", "oid": "o"}),
    ] {
        let header = json!({"alg": "RS256", "kid": "rsa-1", "typ": "JWT"});
        assert_eq!(
            bench.reason(&bench.token_with(&header, &claims)).await,
            "admitted",
            "{claims}"
        );
    }
    let logout = json!({"alg": "RS256", "kid": "rsa-1", "typ": "logout+jwt"});
    assert_eq!(
        bench.reason(&bench.token_with(&logout, &json!({}))).await,
        "token-not-access"
    );
}

#[tokio::test]
async fn a_token_that_is_bound_to_a_key_does_not_count_without_it() {
    let bench = Bench::start().await;
    for cnf in [
        json!({"jkt": "thumbprint"}),
        json!({"x5t#S256": "hash"}),
        json!({}),
    ] {
        let token = bench.token_but(&json!({"cnf": cnf}));
        assert_eq!(bench.reason(&token).await, "token-bound");
    }
}

async fn name(bench: &Bench, claims: &Value) -> Result<String, &'static str> {
    let verdict = bench.verify(&bench.token_but(claims)).await;
    verdict
        .map(|token| token.principal.name)
        .map_err(|error| error.reason())
}

#[tokio::test]
async fn the_first_claim_that_names_somebody_counts() {
    let bench = Bench::start().await;
    let ok = |name: &str| Ok(name.to_owned());
    for (claims, expected) in [
        (json!({}), ok("oidc:ann@example.com")),
        (json!({"email_verified": true}), ok("oidc:ann@example.com")),
        (
            json!({"email_verified": "true"}),
            ok("oidc:ann@example.com"),
        ),
        (json!({"email_verified": false}), ok("oidc:2f41")),
        (json!({"email_verified": "false"}), ok("oidc:2f41")),
        (json!({"email_verified": 1}), ok("oidc:2f41")),
        (json!({"email": null}), ok("oidc:2f41")),
        (json!({"email": null, "sub": null}), Err("name-missing")),
        (json!({"email": null, "sub": 7}), Err("claim-malformed")),
        (
            json!({"email": ["ann@example.com"]}),
            Err("claim-malformed"),
        ),
        (json!({"email": ""}), Err("name-malformed")),
        (
            json!({"email": "ann\n2026 INFO all is well"}),
            Err("name-malformed"),
        ),
        (json!({"email": "ann\u{0}"}), Err("name-malformed")),
        (json!({"email": "ann\u{7f}"}), Err("name-malformed")),
        (json!({"email": "ann\u{85}"}), Err("name-malformed")),
        (
            json!({"email": "a".repeat(195)}),
            ok(&format!("oidc:{}", "a".repeat(195))),
        ),
        (json!({"email": "a".repeat(196)}), Err("name-malformed")),
        (json!({"email": "ä".repeat(98)}), Err("name-malformed")),
    ] {
        assert_eq!(name(&bench, &claims).await, expected, "{claims}");
    }
    let bench = Bench::with_config(r#"name_claims = ["preferred_username"]"#).await;
    let named = json!({"preferred_username": "ann"});
    assert_eq!(name(&bench, &named).await, ok("oidc:ann"));
    assert_eq!(name(&bench, &json!({})).await, Err("name-missing"));
}

async fn roles(bench: &Bench, claims: &Value) -> Result<BTreeSet<Role>, &'static str> {
    let verdict = bench.verify(&bench.token_but(claims)).await;
    let authority = verdict.map(|token| token.principal.authority);
    authority
        .map(|authority| authority.roles.iter().collect())
        .map_err(|error| error.reason())
}

/// Of operators of the north who are makers of pumps too, nobody said that they may make things of the north, or
/// operate pumps.
#[tokio::test]
async fn the_first_grant_in_the_file_counts_alone() {
    let bench = Bench::start().await;
    let expected = |roles: &[Role]| Ok(roles.iter().copied().collect::<BTreeSet<_>>());
    let operator = || expected(&[Role::Operator, Role::Auditor]);
    for (claim, expected) in [
        (json!(["fleet-operators", "fleet-makers"]), operator()),
        (json!(["fleet-makers", "fleet-operators"]), operator()),
        (json!(["fleet-makers"]), expected(&[Role::Provisioner])),
        (json!("fleet-makers"), expected(&[Role::Provisioner])),
        (
            json!(["fleet-makers", "fleet-admins"]),
            expected(&[Role::Admin]),
        ),
        (
            json!(["Fleet-Admins", "fleet-admins ", "fleet"]),
            Err("grant-none"),
        ),
        (json!("fleet-admins fleet-makers"), Err("grant-none")),
        (json!(["*"]), Err("grant-none")),
        (json!([]), Err("grant-none")),
        (json!(""), Err("grant-none")),
        (Value::Null, Err("grant-none")),
        (json!(["fleet-admins", 7]), Err("claim-malformed")),
        (json!({"fleet-admins": true}), Err("claim-malformed")),
        (json!(true), Err("claim-malformed")),
    ] {
        assert_eq!(
            roles(&bench, &json!({"roles": claim})).await,
            expected,
            "{claim}"
        );
    }
    let token = bench.token_but(&json!({"roles": ["fleet-makers", "fleet-operators"]}));
    let authority = bench.verify(&token).await.unwrap().principal.authority;
    assert_eq!(authority.scope.sites, ["north"].into_iter().collect());
    assert_eq!(
        authority.scope.device_types,
        leafgate_access::Selection::Any
    );
    let nobody = bench
        .verify(&bench.token_but(&json!({"roles": []})))
        .await
        .unwrap_err();
    assert!(
        nobody
            .to_string()
            .starts_with("oidc:ann@example.com may do nothing"),
        "{nobody}"
    );
}

#[tokio::test]
async fn roles_may_stand_deeper_or_be_scopes() {
    let admin: Result<BTreeSet<_>, _> = Ok([Role::Admin].into_iter().collect());
    let fleet = json!(["fleet-admins"]);
    for (path, claims) in [
        (
            r#""realm_access.roles""#,
            json!({"realm_access": {"roles": fleet}}),
        ),
        (
            r#"["https://fleet.example/roles"]"#,
            json!({"https://fleet.example/roles": fleet}),
        ),
        (
            r#"["resource_access", "a.b", "roles"]"#,
            json!({"resource_access": {"a.b": {"roles": fleet}}}),
        ),
        (r#""scope""#, json!({"scope": "openid fleet-admins"})),
        (r#""scp""#, json!({"scp": "fleet-admins"})),
        (r#""scp""#, json!({"scp": fleet})),
    ] {
        let bench = Bench::with_config(&format!("roles_claim = {path}")).await;
        assert_eq!(roles(&bench, &claims).await, admin, "{claims}");
        // What stands elsewhere counts for nothing.
        assert_eq!(
            roles(&bench, &json!({"roles": fleet})).await,
            Err("grant-none")
        );
    }
    let bench = Bench::with_config(r#"roles_claim = "realm_access.roles""#).await;
    for claims in [
        json!({"realm_access.roles": fleet}),
        json!({"realm_access": fleet}),
        json!({"realm_access": "roles"}),
    ] {
        assert_eq!(roles(&bench, &claims).await, Err("grant-none"));
    }
}
