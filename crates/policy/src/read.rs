//! Policies out of TOML.

mod selector;
mod session;

use std::sync::Arc;

use leafgate_identity::is_token;

use crate::document::{Document, Fields, Node};
use crate::policy::{Permissions, Policy, Rule, Rules, Session, Shared};
use crate::problem::{Fault, Problems};
use crate::set::{Constants, PolicySource};
use crate::template::{Template, Token, Variable};

pub(crate) use session::{SessionFields, read_limits, read_responses, read_session};

const POLICY_KEYS: [&str; 10] = [
    "name",
    "account",
    "match",
    "publish",
    "subscribe",
    "responses",
    "session",
    "limits",
    "shared",
    "quarantine",
];
const QUARANTINE_KEYS: [&str; 3] = ["publish", "subscribe", "responses"];
pub(crate) const RULES_KEYS: [&str; 2] = ["allow", "deny"];

/// The policies of one file, those left out that have errors.
pub(crate) fn read_policies(
    source: &PolicySource,
    constants: &Constants,
    problems: &Problems,
) -> Vec<Policy> {
    let document = Document::new(&source.name, &source.text, problems);
    let Some(table) = document.parse(&source.text) else {
        return Vec::new();
    };
    let root = document.root(&table, &["policy"]);
    let hint = "begin a policy with the line [[policy]]; without one every device is denied";
    let Some(list) = root.require("policy", hint).and_then(|node| node.list()) else {
        return Vec::new();
    };
    if list.is_empty() {
        root.report(Fault::new("there is no policy", hint));
    }
    list.into_iter()
        .filter_map(|node| node.table("a policy", &POLICY_KEYS))
        .filter_map(|fields| read_policy(&fields, constants))
        .collect()
}

fn read_policy(fields: &Fields<'_>, constants: &Constants) -> Option<Policy> {
    let name = fields
        .require("name", "give the policy a name: name = \"device\"")
        .and_then(|node| token_of(&node, "a policy's name"));
    let account = fields
        .require(
            "account",
            "name the account of the devices: account = \"DEVICES\"",
        )
        .and_then(|node| read_account(&node, constants));
    let selector = fields
        .require(
            "match",
            "to match every device, write match = { device_type = \"*\" }",
        )
        .and_then(|node| selector::read_selector(&node));
    let normal = read_permissions(fields, constants);
    let quarantine = fields
        .get("quarantine")
        .and_then(|node| node.table("quarantine", &QUARANTINE_KEYS))
        .map(|fields| read_permissions(&fields, constants));
    let session = fields.get("session").and_then(|node| read_session(&node));
    let limits = fields.get("limits").and_then(|node| read_limits(&node));
    let shared = fields
        .get("shared")
        .map(|node| read_shared(&node, constants))
        .unwrap_or_default();
    Some(Policy {
        name: name?,
        location: fields.location(),
        selector: selector?,
        account: account?,
        normal,
        quarantine,
        session: session.map_or_else(Session::default, Session::from),
        limits: limits.unwrap_or_default(),
        shared,
    })
}

fn token_of(node: &Node<'_>, what: &str) -> Option<Arc<str>> {
    let text = node.string()?;
    if is_token(text) {
        return Some(text.into());
    }
    node.report(Fault::new(
        format!("\"{}\" can't be {what}", text.escape_debug()),
        "use 1 to 64 of A-Z a-z 0-9 _ -, beginning and ending with a letter or digit",
    ));
    None
}

fn read_account(node: &Node<'_>, constants: &Constants) -> Option<Arc<str>> {
    let text = node.string()?;
    if text.contains(['{', '}']) {
        node.report(Fault::new(
            "an account can't have variables",
            "no value may decide which account a device lives in: write one policy for each account",
        ));
        return None;
    }
    if constants.reserved_accounts.iter().any(|name| name == text) {
        node.report(Fault::new(
            format!("account \"{text}\" can't be granted to devices"),
            "it belongs to leafgate or to the uplink: give devices an account of their own, such as DEVICES",
        ));
        return None;
    }
    token_of(node, "an account")
}

fn read_permissions(fields: &Fields<'_>, constants: &Constants) -> Permissions {
    let rules = |key| {
        fields
            .get(key)
            .map(|node| read_rules(&node, constants))
            .unwrap_or_default()
    };
    Permissions {
        publish: rules("publish"),
        subscribe: rules("subscribe"),
        responses: fields
            .get("responses")
            .and_then(|node| read_responses(&node)),
    }
}

fn read_rules(node: &Node<'_>, constants: &Constants) -> Rules {
    let Some(fields) = node.table("publish or subscribe", &RULES_KEYS) else {
        return Rules::default();
    };
    let allow = fields.get("allow").map(|node| {
        let rules = read_templates(&node, constants);
        for rule in &rules {
            if let Err(fault) = rule.template.check_grantable() {
                node.report_at(&rule.location, fault);
            }
        }
        rules
    });
    let deny = fields
        .get("deny")
        .map(|node| read_templates(&node, constants))
        .unwrap_or_default();
    if allow.is_none() {
        fields.report(Fault::new(
            "\"allow\" is missing",
            "nothing is allowed that is not listed; for nothing at all write allow = []",
        ));
    }
    Rules {
        allow: allow.unwrap_or_default(),
        deny,
    }
}

fn read_templates(node: &Node<'_>, constants: &Constants) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for (node, text) in node.strings().unwrap_or_default() {
        let Some(template) = node.accept(Template::parse(text, &constants.prefix)) else {
            continue;
        };
        if rules.iter().any(|rule| rule.template == template) {
            node.report(Fault::new(
                format!("\"{template}\" is listed twice"),
                "remove one",
            ));
            continue;
        }
        rules.push(Rule {
            template,
            location: node.location(),
        });
    }
    rules
}

fn read_shared(node: &Node<'_>, constants: &Constants) -> Vec<Shared> {
    let form = "write shared = [{ subject = \"_INBOX.>\", reason = \"…\" }]";
    let entry = |node: Node<'_>| {
        let fields = node.table("an entry of shared", &["subject", "reason"])?;
        let reason = fields
            .require("reason", form)
            .and_then(|n| Some((n, n.string()?)));
        let (subject, text) = fields
            .require("subject", form)
            .and_then(|n| Some((n, n.string()?)))?;
        let template = subject.accept(Template::parse(text, &constants.prefix))?;
        if template.variables().any(|v| *v == Variable::Id) {
            subject.report(Fault::new(
                format!("\"{template}\": a shared subject can't have {{id}}"),
                "what is shared is reached by devices of different ids: write * in its place",
            ));
            return None;
        }
        if template.tokens().first() == Some(&Token::Any) {
            subject.report(Fault::new(
                format!("\"{template}\": a shared subject can't start with *"),
                "name the first token, or write > for everything",
            ));
            return None;
        }
        let (at_reason, reason) = reason?;
        if reason.trim().is_empty() || reason.contains(char::is_control) {
            at_reason.report(Fault::new(
                "the reason is no line of text",
                "say on one line why devices share it",
            ));
        }
        Some(Shared {
            pattern: template.pattern_of_all(),
            reason: reason.to_owned(),
            location: subject.location(),
        })
    };
    node.list()
        .unwrap_or_default()
        .into_iter()
        .filter_map(entry)
        .collect()
}
