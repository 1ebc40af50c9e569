//! The OpenAPI document: what the handlers say of themselves, and what holds for all of them.

use leafgate_api::{
    BulkResult, Device, ImportResult, ProblemDocument, ProblemType, RegisterDevice,
};
use serde_json::{Map, Value, json};
use utoipa::OpenApi;

const DESCRIPTION: &str = "\
Devices, their certificates, and everything that was done to them.

- Times are RFC 3339 in UTC; serial numbers, fingerprints and key hashes lower-case hex.
- Errors are `application/problem+json` (RFC 9457). Their `type` is a path that this API answers with a page.
- Unknown query parameters and unknown fields of a body are refused.
- Lists come in pages: repeat the request with `page_token` set to the `next_page_token` of the page before.
- `X-Request-Id`, 1 to 64 of `A-Z a-z 0-9 . _ -`, is taken over into the answer and the service's log; otherwise one is
  made.
- What is outside of a key's scope is answered as if it did not exist.";

#[derive(OpenApi)]
#[openapi(
    info(title = "leafgate registry API"),
    components(schemas(ProblemDocument, RegisterDevice, ImportResult, BulkResult, Device))
)]
struct Frame;

/// Which problems an operation may be answered with besides those that all may.
const OF_EVERY_OPERATION: &[u16] = &[400, 401, 403, 429, 500, 501, 503];
const OF_THOSE_WITH_A_BODY: &[u16] = &[408, 413, 415];
const OF_ACTS: &[u16] = &[409, 422];

/// The document of the operations for those with an API key, of those for devices, and of those for everybody.
pub(crate) fn document(
    secured: utoipa::openapi::OpenApi,
    of_devices: utoipa::openapi::OpenApi,
    public: utoipa::openapi::OpenApi,
) -> Value {
    let mut secured = to_json(secured);
    for (path, method, operation) in operations(&mut secured) {
        complete(&path, &method, operation);
    }
    let mut of_devices = to_json(of_devices);
    for (_, _, operation) in operations(&mut of_devices) {
        add_problems(operation, OF_EVERY_OPERATION);
        add_problems(operation, OF_THOSE_WITH_A_BODY);
        add_problems(operation, &[409]);
        // No challenge of HTTP asks for a certificate.
        if operation["security"] == json!([{ "device_certificate": [] }]) {
            operation["responses"]
                .as_object_mut()
                .map(|responses| responses.remove("401"));
        }
    }
    let mut public = to_json(public);
    for (path, _, operation) in operations(&mut public) {
        operation["security"] = json!([]);
        add_problems(operation, &[503]);
        if path.contains('{') {
            add_problems(operation, &[404]);
        }
    }
    let mut document = to_json(Frame::openapi());
    for part in [secured, of_devices, public] {
        merge(&mut document["paths"], &part["paths"]);
        merge(
            &mut document["components"]["schemas"],
            &part["components"]["schemas"],
        );
    }
    document["info"] = json!({
        "title": "leafgate registry API",
        "description": DESCRIPTION,
        "version": env!("CARGO_PKG_VERSION"),
        "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
    });
    document["security"] = json!([{ "api_key": [] }]);
    document["components"]["securitySchemes"] = json!({
        "api_key": { "type": "http", "scheme": "bearer", "bearerFormat": "lgk_<id>_<secret>" },
        "enrolment_token": { "type": "http", "scheme": "bearer", "bearerFormat": "lge_<id>_<secret>" },
        "device_certificate": { "type": "mutualTLS" },
    });
    document["components"]["parameters"] = parameters();
    document["components"]["responses"] = problem_responses();
    document
}

fn to_json(document: utoipa::openapi::OpenApi) -> Value {
    serde_json::to_value(document).expect("an OpenAPI document is JSON")
}

fn operations(document: &mut Value) -> Vec<(String, String, &mut Value)> {
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object_mut().into_iter().flatten() {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            all.push((path.clone(), method.clone(), operation));
        }
    }
    all
}

/// Adds what holds for an operation by its path and method.
fn complete(path: &str, method: &str, operation: &mut Value) {
    let reads = method == "get";
    // What leaves no trace in the registry has neither version nor memory.
    let acts = !reads
        && !path.starts_with("/v1/audit")
        && !path.starts_with("/v1/bulk")
        && !path.ends_with("/disconnect");
    add_problems(operation, OF_EVERY_OPERATION);
    if path.contains('{') {
        add_problems(operation, &[404]);
    }
    if !reads {
        add_problems(operation, OF_THOSE_WITH_A_BODY);
        refuse_null(operation);
    }
    if acts {
        add_problems(operation, OF_ACTS);
        add_parameter(operation, "IdempotencyKey");
    }
    if acts && path.starts_with("/v1/devices/{id}") {
        add_problems(operation, &[412]);
        add_parameter(operation, "IfMatch");
    }
    if path.starts_with("/v1/events") || path == "/v1/bulk/apply" {
        add_problems(operation, &[409]);
    }
    let answers_device = json!({ "$ref": "#/components/schemas/Device" });
    for (_, response) in operation["responses"].as_object_mut().into_iter().flatten() {
        if response["content"]["application/json"]["schema"] == answers_device {
            response["headers"]["ETag"] = json!({
                "description": "The device's version, for If-Match",
                "schema": { "type": "string" },
            });
        }
    }
}

/// utoipa has `Option` stand for a body that may be left out or be `null`; here it may be left out.
fn refuse_null(operation: &mut Value) {
    let content = operation.pointer_mut("/requestBody/content");
    for (_, content) in content.and_then(Value::as_object_mut).into_iter().flatten() {
        let schema = match content["schema"]["oneOf"].as_array() {
            Some(either) if either.len() == 2 && either[1] == json!({ "type": "null" }) => {
                either[0].clone()
            }
            _ => continue,
        };
        content["schema"] = schema;
    }
}

fn add_problems(operation: &mut Value, statuses: &[u16]) {
    for status in statuses {
        operation["responses"][status.to_string()] =
            json!({ "$ref": format!("#/components/responses/Problem{status}") });
    }
}

fn add_parameter(operation: &mut Value, name: &str) {
    let parameter = json!({ "$ref": format!("#/components/parameters/{name}") });
    match operation["parameters"].as_array_mut() {
        Some(parameters) => parameters.push(parameter),
        None => operation["parameters"] = json!([parameter]),
    }
}

fn parameters() -> Value {
    json!({
        "IdempotencyKey": {
            "name": "Idempotency-Key",
            "in": "header",
            "description": "Names this act: repeated within 24 hours with the same key, method, path and body, it is \
                            not carried out again.",
            "schema": { "type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]+$" },
        },
        "IfMatch": {
            "name": "If-Match",
            "in": "header",
            "description": "The ETag of the version that is meant; another version is not changed.",
            "schema": { "type": "string" },
            "example": "\"5\"",
        },
    })
}

/// One response for each status that a problem has, which lists the problems of that status.
fn problem_responses() -> Value {
    let mut responses = Map::new();
    for problem in ProblemType::ALL {
        let status = problem.status();
        let of_status = ProblemType::ALL.iter().filter(|it| it.status() == status);
        let list: Vec<String> = of_status
            .map(|it| format!("- `{}`: {}", it.uri(), it.title()))
            .collect();
        let mut response = json!({
            "description": list.join("\n"),
            "content": {
                "application/problem+json": {
                    "schema": { "$ref": "#/components/schemas/ProblemDocument" },
                },
            },
        });
        if matches!(status, 429 | 503) {
            response["headers"]["Retry-After"] = json!({
                "description": "Seconds to wait before the next attempt",
                "schema": { "type": "integer", "minimum": 0 },
            });
        }
        responses.insert(format!("Problem{status}"), response);
    }
    responses.into()
}

fn merge(into: &mut Value, from: &Value) {
    for (name, value) in from.as_object().into_iter().flatten() {
        into[name] = value.clone();
    }
}
