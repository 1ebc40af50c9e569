use std::sync::OnceLock;

use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::support::{Bench, b64, p256};

/// Runs on one provider, whose keys are at hand.
fn with_bench<T>(run: impl AsyncFnOnce(&Bench) -> T) -> T {
    static BENCH: OnceLock<(Runtime, Bench)> = OnceLock::new();
    let (runtime, bench) = BENCH.get_or_init(|| {
        let runtime = Runtime::new().unwrap();
        let bench = runtime.block_on(async {
            let bench = Bench::start().await;
            assert_eq!(bench.reason(&bench.token()).await, "admitted");
            bench
        });
        (runtime, bench)
    });
    runtime.block_on(run(bench))
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        ".{0,20}".prop_map(Value::from),
        prop_oneof![Just("RS256"), Just("fleet-admins"), Just("rsa-1")].prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-z]{1,5}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn members(names: &'static [&'static str]) -> impl Strategy<Value = Value> {
    let name = proptest::sample::select(names);
    proptest::collection::btree_map(name, json_value(), 0..6).prop_map(|members| {
        members
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    })
}

const HEADER: &[&str] = &[
    "alg", "kid", "typ", "crit", "jku", "jwk", "x5c", "b64", "cty", "zip", "enc",
];
const CLAIMS: &[&str] = &[
    "iss",
    "aud",
    "sub",
    "email",
    "email_verified",
    "iat",
    "nbf",
    "exp",
    "roles",
    "nonce",
    "cnf",
    "typ",
    "events",
    "token_use",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn no_text_is_a_token(text in prop_oneof![".{0,200}", "[A-Za-z0-9_-]{0,40}(\\.[A-Za-z0-9_-]{0,40}){0,5}"]) {
        with_bench(async |bench| assert_ne!(bench.reason(&text).await, "admitted"));
    }

    #[test]
    fn no_header_makes_up_for_a_signature(header in members(HEADER), signature in proptest::collection::vec(any::<u8>(), 0..300)) {
        with_bench(async |bench| {
            for header in [with(&header, "alg", "RS256"), with(&header, "alg", "ES256"), header.clone()] {
                let message = format!("{}.{}", b64(header.to_string().as_bytes()), b64(bench.claims().to_string().as_bytes()));
                let token = format!("{message}.{}", b64(&signature));
                assert_ne!(bench.reason(&token).await, "admitted");
            }
        });
    }

    /// Every byte of a token is either signed, or the signature.
    #[test]
    fn a_changed_token_is_another(position in any::<proptest::sample::Index>(), to in "[A-Za-z0-9_.=-]") {
        with_bench(async |bench| {
            for token in [bench.token(), bench.token_of(p256(), "ec-1")] {
                let position = position.index(token.len());
                let changed = format!("{}{to}{}", &token[..position], &token[position + 1..]);
                let expected = changed == token;
                assert_eq!(bench.reason(&changed).await == "admitted", expected, "{position} {to}");
                let cut = &token[..position];
                assert_ne!(bench.reason(cut).await, "admitted", "{position}");
            }
        });
    }

    /// Whatever a provider signs: nobody comes in but by the claims that the rules want.
    #[test]
    fn no_signed_claims_surprise(claims in members(CLAIMS)) {
        with_bench(async |bench| {
            let token = bench.token_but(&claims);
            if let Ok(token) = bench.verify(&token).await {
                let claims = bench.claims_but(&claims);
                let name = token.principal.name;
                assert!(name.starts_with("oidc:") && (6..=200).contains(&name.len()));
                assert!(!name.chars().any(char::is_control), "{name:?}");
                assert_eq!(claims["iss"], bench.idp.issuer());
                assert!(!token.principal.authority.roles.is_empty());
                assert!(!claims.as_object().unwrap().contains_key("cnf"));
            }
        });
    }
}

fn with(header: &Value, name: &str, value: &str) -> Value {
    let mut header = header.clone();
    header[name] = value.into();
    header
}
