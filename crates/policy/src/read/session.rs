//! `session`, `limits` and `responses`, which policies and expected grants write alike.

use crate::connection::ConnectionType;
use crate::document::{Fields, Node};
use crate::grant::{Lifetime, Limits, ResponsePermission};
use crate::network::IpNetwork;
use crate::policy::Session;
use crate::problem::{Fault, suggest};
use crate::units::{parse_bytes, parse_duration, parse_percent};

const DEFAULT_LIFETIME_SECS: u64 = 12 * 3_600;
const DEFAULT_JITTER_PERCENT: u8 = 20;

const LIFETIME_RANGE_SECS: std::ops::RangeInclusive<u64> = 60..=366 * 86_400;
const MAX_JITTER_PERCENT: u8 = 50;
const MAX_RESPONSE_TTL_SECS: u64 = 86_400;
/// What nats-server takes as `max_payload` at most (server/const.go, `MAX_PAYLOAD_MAX_SIZE`).
const MAX_PAYLOAD_BYTES: u64 = 64 << 20;

/// A `session` table as written.
#[derive(Debug, Default)]
pub(crate) struct SessionFields {
    pub(crate) lifetime_secs: Option<u64>,
    pub(crate) jitter_percent: Option<u8>,
    pub(crate) connection_types: Option<Vec<ConnectionType>>,
    pub(crate) sources: Option<Vec<IpNetwork>>,
}

impl From<SessionFields> for Session {
    fn from(fields: SessionFields) -> Self {
        Self {
            lifetime: Lifetime {
                secs: fields.lifetime_secs.unwrap_or(DEFAULT_LIFETIME_SECS),
                jitter_percent: fields.jitter_percent.unwrap_or(DEFAULT_JITTER_PERCENT),
            },
            connection_types: fields
                .connection_types
                .unwrap_or_else(|| vec![ConnectionType::Standard]),
            sources: fields.sources.unwrap_or_default(),
        }
    }
}

impl Default for Session {
    fn default() -> Self {
        SessionFields::default().into()
    }
}

pub(crate) fn read_session(node: &Node<'_>) -> Option<SessionFields> {
    let known = [
        "lifetime",
        "jitter",
        "connection_types",
        "sources",
        "connections",
    ];
    let fields = node.table("session", &known)?;
    refuse_unenforced(&fields, "connections");
    Some(SessionFields {
        lifetime_secs: fields.get("lifetime").and_then(|n| read_lifetime(&n)),
        jitter_percent: fields.get("jitter").and_then(|n| read_jitter(&n)),
        connection_types: fields
            .get("connection_types")
            .and_then(|n| read_connection_types(&n)),
        sources: fields.get("sources").and_then(|n| read_sources(&n)),
    })
}

pub(crate) fn read_limits(node: &Node<'_>) -> Option<Limits> {
    let fields = node.table("limits", &["subscriptions", "payload", "bytes_per_second"])?;
    refuse_unenforced(&fields, "bytes_per_second");
    Some(Limits {
        subscriptions: fields
            .get("subscriptions")
            .and_then(|n| n.count(i64::from(i32::MAX))),
        payload_bytes: fields.get("payload").and_then(|n| read_payload(&n)),
    })
}

pub(crate) fn read_responses(node: &Node<'_>) -> Option<ResponsePermission> {
    let fields = node.table("responses", &["max", "ttl"])?;
    let form = "write responses = { max = 1, ttl = \"1m\" }, or leave it out for no answers";
    let max = fields
        .require("max", form)
        .and_then(|n| n.count(i64::from(i32::MAX)))
        .and_then(|n| i32::try_from(n).ok());
    let ttl = fields.require("ttl", form).and_then(|n| {
        let ttl = n.accept(parse_duration(n.string()?))?;
        if (1..=MAX_RESPONSE_TTL_SECS).contains(&ttl.as_secs()) {
            return Some(ttl);
        }
        n.report(Fault::new(
            "the ttl of an answer is out of range",
            "from 1s to 1d",
        ));
        None
    });
    Some(ResponsePermission {
        max: max?,
        ttl: ttl?,
    })
}

fn refuse_unenforced(fields: &Fields<'_>, key: &'static str) {
    if let Some(node) = fields.get(key) {
        node.report(Fault::new(
            format!("\"{key}\" is not enforced yet"),
            "leave it out; until leafgate enforces it, limit the account in the server configuration",
        ));
    }
}

fn read_lifetime(node: &Node<'_>) -> Option<u64> {
    let secs = node.accept(parse_duration(node.string()?))?.as_secs();
    if LIFETIME_RANGE_SECS.contains(&secs) {
        return Some(secs);
    }
    node.report(Fault::new(
        "the lifetime is out of range",
        "from 1m to 366d",
    ));
    None
}

fn read_jitter(node: &Node<'_>) -> Option<u8> {
    let percent = node.accept(parse_percent(node.string()?))?;
    if percent <= MAX_JITTER_PERCENT {
        return Some(percent);
    }
    node.report(Fault::new(
        "the jitter is out of range",
        "from \"0%\" to \"50%\"",
    ));
    None
}

fn read_connection_types(node: &Node<'_>) -> Option<Vec<ConnectionType>> {
    let hint = "to admit the default, leave it out or write [\"STANDARD\"]";
    let mut types = Vec::new();
    for (node, name) in non_empty(node, hint)? {
        match ConnectionType::from_name(name) {
            Some(kind) if types.contains(&kind) => {
                node.report(Fault::new(format!("{kind} is listed twice"), "remove one"));
            }
            Some(kind) => types.push(kind),
            None => node.report(Fault::new(
                format!("unknown connection type \"{}\"", name.escape_debug()),
                suggest(name, &ConnectionType::ALL.map(ConnectionType::as_str)),
            )),
        }
    }
    Some(types)
}

fn read_sources(node: &Node<'_>) -> Option<Vec<IpNetwork>> {
    let values = non_empty(node, "to admit devices from anywhere, leave it out")?;
    let network = |(node, text): (Node<'_>, &str)| node.accept(IpNetwork::parse(text));
    Some(values.into_iter().filter_map(network).collect())
}

/// The strings of a list. An empty one would deny every device: refused, as it is never meant.
fn non_empty<'d>(node: &Node<'d>, hint: &str) -> Option<Vec<(Node<'d>, &'d str)>> {
    let values = node.strings()?;
    if values.is_empty() {
        node.report(Fault::new("the list admits nothing", hint));
        return None;
    }
    Some(values)
}

fn read_payload(node: &Node<'_>) -> Option<i64> {
    let bytes = node.accept(parse_bytes(node.string()?))?;
    if (1..=MAX_PAYLOAD_BYTES).contains(&bytes) {
        return i64::try_from(bytes).ok();
    }
    node.report(Fault::new(
        "the payload is out of range",
        "from 1B to 64MiB",
    ));
    None
}
