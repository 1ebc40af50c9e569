//! API keys and enrolment tokens, on both kinds of registry.

use serde_json::{Value, json};

use crate::support::Desk;

#[test]
fn api_keys_are_made_listed_and_revoked() {
    for desk in Desk::with_either() {
        let before = desk.json("api-key list")["api_keys"]
            .as_array()
            .unwrap()
            .len();
        let said = desk.ok("api-key create plant-7 --role viewer --role operator --site plant-7 --expires-in 30d --out own.key");
        assert!(
            said.ends_with("  own.key   its text, for who uses it alone\n"),
            "{said}"
        );
        assert_eq!(desk.mode("own.key"), 0o600);
        let text = desk.read("own.key");
        let id = text.split('_').nth(1).unwrap();
        assert!(
            text.starts_with("lgk_") && !said.contains(text.trim()),
            "{said}"
        );

        let listed = desk.json("api-key list")["api_keys"].clone();
        let keys = listed.as_array().unwrap();
        assert_eq!(keys.len(), before + 1);
        let key = keys.iter().find(|key| key["id"] == id).unwrap();
        assert_eq!(key["roles"], json!(["viewer", "operator"]));
        assert_eq!(key["scope"]["sites"], json!(["plant-7"]));
        assert_eq!(key["scope"]["device_types"], "*");
        let table = desk.ok("api-key list");
        let line = table.lines().find(|line| line.starts_with(id)).unwrap();
        assert!(
            line.contains("viewer, operator   site plant-7   in 29 days"),
            "{table}"
        );

        let said = desk.fails("api-key create other --role viewer --out own.key", 4);
        assert!(said.contains("a secret is never overwritten"), "{said}");
        assert_eq!(
            desk.json("api-key list")["api_keys"]
                .as_array()
                .unwrap()
                .len(),
            before + 1
        );
        let said = desk.fails("api-key create other --role king --out other.key", 2);
        assert!(said.contains("is not a role"), "{said}");
        assert!(!desk.path("other.key").exists());

        assert_eq!(
            desk.ok(&format!("api-key revoke {id}")),
            format!("API key {id} (plant-7) is revoked\n")
        );
        assert!(desk.ok("api-key list").contains("   revoked "));
        assert!(desk.json(&format!("api-key revoke {id}"))["revoked_at"].is_string());
        desk.fails("api-key revoke nobody", 2);
        desk.fails("api-key revoke aaaaaaaaaaaaa", 3);
    }
}

#[test]
fn tokens_are_made_listed_and_revoked() {
    for desk in Desk::with_either() {
        let said = desk.ok("token create line-4 --id 0001 --id 0002 --type pump --site plant-7 --attr line=4 --out line-4.token");
        assert!(
            said.contains(" (line-4) for 2 devices is made, expires in 2"),
            "{said}"
        );
        assert_eq!(desk.mode("line-4.token"), 0o600);
        let text = desk.read("line-4.token");
        assert!(
            text.starts_with("lge_") && !said.contains(text.trim()),
            "{said}"
        );
        let manifest = json!({ "0003": "07".repeat(32) });
        desk.write("manifest.json", &manifest.to_string());
        desk.ok("token create by-key --manifest manifest.json --expires-in 7d --out by-key.token");
        desk.ok("token create any --unnamed 5 --out any.token");

        let listed = desk.json("token list")["enrolment_tokens"].clone();
        let named = |name: &str| -> Value {
            let tokens = listed.as_array().unwrap();
            tokens
                .iter()
                .find(|token| token["name"] == name)
                .unwrap()
                .clone()
        };
        assert_eq!(listed.as_array().unwrap().len(), 3);
        assert_eq!(
            named("line-4")["admits"],
            json!({ "ids": ["0001", "0002"] })
        );
        assert_eq!(named("line-4")["attributes"], json!({ "line": "4" }));
        assert_eq!(named("by-key")["admits"], json!({ "manifest": manifest }));
        assert_eq!(
            named("any")["admits"],
            json!({ "unnamed": { "max_uses": 5 } })
        );
        let table = desk.ok("token list");
        assert!(table.contains("   0 of 5   in 2"), "{table}");
        assert!(table.ends_with("\n3 tokens\n"), "{table}");

        let id = named("any")["id"].as_str().unwrap().to_owned();
        assert_eq!(
            desk.ok(&format!("token revoke {id}")),
            format!("token {id} (any) is revoked\n")
        );
        assert!(desk.ok("token list").contains("   revoked "));

        for (line, words) in [
            ("token create x --out x.token", "required"),
            (
                "token create x --id 0001 --unnamed 2 --out x.token",
                "cannot be used with",
            ),
            (
                "token create x --id a.b --out x.token",
                "can't be a device id",
            ),
            (
                "token create x --manifest line-4.token --out x.token",
                "line-4.token: ",
            ),
            (
                "token create x --id 0001 --type a.b --out x.token",
                "device_type must be",
            ),
        ] {
            let said = desk.fails(line, 2);
            assert!(said.contains(words), "{line}: {said}");
            assert!(!desk.path("x.token").exists());
        }
    }
}
