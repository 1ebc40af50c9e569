//! The description of the API that is committed is the one that the service gives.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeSet;
use std::path::Path;

use leafgate_api::ProblemType;
use leafgate_registry_api::openapi_document;
use serde_json::Value;

fn document() -> Value {
    serde_json::from_str(&openapi_document()).unwrap()
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "whoever changed the API asks for a new document by a variable"
)]
fn the_committed_document_is_this_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    if std::env::var("LEAFGATE_WRITE_OPENAPI").as_deref() == Ok("1") {
        std::fs::write(&path, openapi_document()).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    assert!(
        committed == openapi_document(),
        "docs/openapi.json is not what the service says; look at the difference after \
         LEAFGATE_WRITE_OPENAPI=1 cargo test -p leafgate-registry-api --test openapi"
    );
}

#[test]
fn every_reference_leads_somewhere() {
    let document = document();
    let mut references = BTreeSet::new();
    collect(&document, &mut references);
    assert!(references.len() > 20);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

fn collect(value: &Value, references: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            references.extend(
                fields
                    .get("$ref")
                    .and_then(Value::as_str)
                    .map(str::to_owned),
            );
            fields.values().for_each(|value| collect(value, references));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, references)),
        _ => {}
    }
}

#[test]
fn every_operation_says_what_it_does_and_what_may_go_wrong() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    let mut names = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name), "{name} stands twice");
            let summary = operation["summary"].as_str().unwrap();
            assert!(
                !summary.is_empty() && !summary.ends_with('.'),
                "{method} {path}"
            );
            let security = &operation["security"];
            let by_certificate = serde_json::json!([{ "device_certificate": [] }]);
            let unchallenged = *security == serde_json::json!([]) || *security == by_certificate;
            let responses = operation["responses"].as_object().unwrap();
            assert_eq!(
                responses.contains_key("401"),
                !unchallenged,
                "{method} {path}"
            );
            assert!(responses.contains_key("503"), "{method} {path}");
            for parameter in path.split('/').filter_map(|part| part.strip_prefix('{')) {
                let parameter = parameter.strip_suffix('}').unwrap();
                let listed = operation["parameters"].as_array().unwrap();
                assert!(
                    listed.iter().any(|it| it["name"] == parameter),
                    "{method} {path}"
                );
            }
            let body = &operation["requestBody"];
            if matches!(method.as_str(), "put" | "patch") {
                assert!(body.is_object(), "{method} {path}");
            }
            // A body that may be left out may still not be null.
            assert!(!body.to_string().contains("\"null\""), "{method} {path}");
        }
    }
    assert!(names.len() > 20);
}

#[test]
fn every_problem_is_listed_under_its_status() {
    let document = document();
    for problem in ProblemType::ALL {
        let response = format!("/components/responses/Problem{}", problem.status());
        let response = document.pointer(&response).unwrap();
        let description = response["description"].as_str().unwrap();
        assert!(description.contains(&format!("`{}`", problem.uri())));
    }
}
