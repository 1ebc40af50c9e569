//! `match = { device_type = …, attr = { NAME = … } }`

use std::collections::BTreeMap;

use leafgate_identity::is_token;

use crate::document::{Node, collect_all};
use crate::problem::Fault;
use crate::select::{Condition, Selector};

pub(super) fn read_selector(node: &Node<'_>) -> Option<Selector> {
    let fields = node.table("match", &["device_type", "attr"])?;
    let device_type = fields.get("device_type");
    let attributes = fields.get("attr");
    if device_type.is_none() && attributes.is_none() {
        fields.report(Fault::new(
            "\"match\" is empty",
            "to match every device, write match = { device_type = \"*\" }",
        ));
        return None;
    }
    let device_type = match device_type {
        Some(node) => read_condition(&node),
        None => Some(Condition::Any),
    };
    let attributes: Option<BTreeMap<_, _>> = match attributes {
        Some(node) => collect_all(node.map()?.entries().map(read_attribute)),
        None => Some(BTreeMap::new()),
    };
    Some(Selector {
        device_type: device_type?,
        attributes: attributes?,
    })
}

fn read_attribute((name, node): (&str, Node<'_>)) -> Option<(String, Condition)> {
    if !is_token(name) {
        node.report(Fault::new(
            format!(
                "\"{}\" can't be the name of an attribute",
                name.escape_debug()
            ),
            "use A-Z a-z 0-9 _ -, beginning and ending with a letter or digit",
        ));
        return None;
    }
    Some((name.to_owned(), read_condition(&node)?))
}

fn read_condition(node: &Node<'_>) -> Option<Condition> {
    let values = node.strings()?;
    if let [(_, "*")] = values[..] {
        return Some(Condition::Any);
    }
    if values.is_empty() {
        node.report(Fault::new(
            "an empty list matches nothing",
            "name the values, or write \"*\" for any",
        ));
        return None;
    }
    let mut accepted = Vec::with_capacity(values.len());
    for (node, value) in values {
        if value.is_empty() || value.contains(|c: char| c == '*' || c.is_control()) {
            node.report(Fault::new(
                format!("\"{}\" can't be a value to match", value.escape_debug()),
                "write a value in full, a list of values, or \"*\" alone for any",
            ));
        } else {
            accepted.push(value.into());
        }
    }
    Some(Condition::OneOf(accepted))
}
