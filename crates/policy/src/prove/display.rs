//! A proof for people.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Act, Cause, Effect, GrantRef, Heard, List, PolicyRef, Proof, ReplyPath, Sharing};

impl fmt::Display for Proof {
    /// What is isolated, what is shared and what it costs, without a last end of line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = Vec::new();
        for proven in self.policies.iter().filter(|p| p.isolated) {
            let PolicyRef { name, location } = &proven.policy;
            lines.push(format!(
                "isolated: no device of \"{name}\" can publish to, read or answer for another   {location}"
            ));
        }
        lines.extend(self.sharings.iter().map(ToString::to_string));
        for entry in &self.unused {
            lines.push(format!(
                "unused:   {} is declared, but nothing is shared there: remove it   {}",
                entry.subject, entry.location
            ));
        }
        lines.extend(self.reply_paths.iter().map(ToString::to_string));
        f.write_str(&lines.join("\n"))
    }
}

impl fmt::Display for Sharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let finding = Finding::of(self);
        let label = if self.is_declared() {
            "shared:"
        } else {
            "leak:"
        };
        write!(
            f,
            "{label:<9} {}   {}",
            finding.head,
            finding.places.join(", ")
        )?;
        for entry in &self.declared {
            write!(
                f,
                "\n          declared at {}: {}",
                entry.location, entry.reason
            )?;
        }
        for cost in finding.costs {
            write!(f, "\n          {cost}")?;
        }
        if !self.is_declared() {
            write!(f, "\n          {}", finding.remedy)?;
        }
        Ok(())
    }
}

/// A sharing in words.
struct Finding {
    head: String,
    places: Vec<String>,
    costs: Vec<String>,
    remedy: String,
}

impl Finding {
    fn of(sharing: &Sharing) -> Self {
        let declare = sharing.declare();
        match &sharing.cause {
            Cause::Overlap {
                grants,
                effects,
                scope,
            } => Self {
                head: format!("{} {}", sharing.subject, between(&sharing.between)),
                places: places(grants),
                costs: effects
                    .iter()
                    .map(ToString::to_string)
                    .chain(widened(&sharing.subject, grants))
                    .collect(),
                remedy: format!("{declare} or scope it: {scope}"),
            },
            Cause::Responses {
                policy,
                quarantine,
                heard,
            } => Self {
                head: format!(
                    "> (everything): a device of \"{policy}\"{} may answer",
                    if *quarantine { " in quarantine" } else { "" }
                ),
                places: sharing.places_of(policy),
                costs: heard
                    .iter()
                    .map(|heard| heard_note(policy, heard))
                    .chain([
                        "an answer goes to the reply subject that the sender chose, \
                             whatever the deny lists say"
                            .to_owned(),
                    ])
                    .collect(),
                remedy: format!(
                    "drop its responses, keep apart what it hears and what devices publish, or {declare}"
                ),
            },
            Cause::LeafNodes { policy } => Self {
                head: format!("> (everything): \"{policy}\" admits leaf nodes"),
                places: sharing.places_of(policy),
                costs: vec![
                    "nats-server checks what a leaf node hears against its publish list, \
                     and $MQTT.> not at all"
                        .to_owned(),
                ],
                remedy: format!("admit no leaf nodes, or {declare}"),
            },
            Cause::JetStream { grant } => Self {
                head: format!(
                    "> (everything): {} ({}.allow) reaches JetStream",
                    grant.subject, grant.list
                ),
                places: vec![grant.location.to_string()],
                costs: vec![
                    "it reads any stream's subjects, and has them sent to any reply subject"
                        .to_owned(),
                ],
                remedy: format!("drop it, or {declare}"),
            },
        }
    }
}

/// Why a subject is wider than the entries that it comes from.
fn widened(subject: &str, grants: &[GrantRef]) -> Option<String> {
    if ["$KV.", "$O."]
        .iter()
        .any(|bucket| subject.starts_with(bucket))
    {
        return Some("a bucket is one stream: a grant on part of it counts as all of it".into());
    }
    let below = |grant: &GrantRef| grant.list == List::Subscribe && grant.subject.ends_with(".*");
    (subject.ends_with('>') && grants.iter().any(below)).then(|| {
        "a subscribe entry that ends in * also admits a subscription that ends in >".to_owned()
    })
}

impl Sharing {
    fn declare(&self) -> String {
        let subject = match &self.cause {
            Cause::JetStream { grant } => &grant.subject,
            _ => &self.subject,
        };
        let names: Vec<String> = self
            .undeclared
            .iter()
            .map(|p| format!("\"{}\"", p.name))
            .collect();
        match self.between.len() {
            1 => format!("declare {subject} under `shared`"),
            _ => format!(
                "declare {subject} under `shared` of {}",
                names.join(" and ")
            ),
        }
    }

    fn places_of(&self, name: &str) -> Vec<String> {
        self.between
            .iter()
            .filter(|policy| policy.name == name)
            .map(|policy| policy.location.to_string())
            .collect()
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { act, by, to } = self;
        let (one, another) = if by == to {
            ("any device".to_owned(), "another".to_owned())
        } else {
            (
                format!("any device of \"{by}\""),
                format!("one of \"{to}\""),
            )
        };
        match act {
            Act::PublishTo => write!(f, "{one} can publish to what {another} subscribes to"),
            Act::PublishAs => write!(f, "{one} can publish in the name of {another}"),
            Act::ReadReceived => write!(
                f,
                "{one} can read what is sent to {another}, replies included"
            ),
            Act::ReadPublished => write!(f, "{one} can read what {another} publishes"),
        }
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
        })
    }
}

impl fmt::Display for ReplyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "reply:    in account {}, whatever acknowledges or answers {} can be made to write to {}   {}\n          \
             reply subjects are not checked: have streams store without acknowledging (no_ack), and services answer where they can publish none of it",
            self.account,
            self.via.join(", "),
            self.into.join(", "),
            self.policy.location
        )
    }
}

fn between(policies: &[PolicyRef]) -> String {
    match policies {
        [one] => format!("between all devices of \"{}\"", one.name),
        several => {
            let names: Vec<String> = several.iter().map(|p| format!("\"{}\"", p.name)).collect();
            format!("between devices of {}", names.join(" and "))
        }
    }
}

fn heard_note(policy: &str, heard: &Heard) -> String {
    let subject = &heard.subject;
    match &heard.from {
        None => format!("it can send itself {subject}, and so publish anything anywhere"),
        Some(from) if from == policy => format!("another can send it {subject}"),
        Some(from) => format!("a device of \"{from}\" can send it {subject}"),
    }
}

/// The lines of the grants, once for each file.
fn places(grants: &[GrantRef]) -> Vec<String> {
    let mut lines: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
    for GrantRef { location, .. } in grants {
        lines
            .entry(&location.file)
            .or_default()
            .insert(location.line);
    }
    lines
        .into_iter()
        .map(|(file, lines)| {
            let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
            format!("{file}:{}", lines.join(","))
        })
        .collect()
}
