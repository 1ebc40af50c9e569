//! What the devices under one grant reach, widened to what nats-server makes of it.

use std::borrow::Cow;

use super::overlap::{Overlap, Owner};
use super::{GrantRef, List};
use crate::policy::{Permissions, Policy, Rule};
use crate::template::{Template, Token};

/// All devices under one grant of a policy.
pub(super) struct Party<'p> {
    pub(super) policy: &'p Policy,
    pub(super) quarantine: bool,
    permissions: &'p Permissions,
    publish: Vec<Reach<'p>>,
    subscribe: Vec<Reach<'p>>,
}

/// One entry of an allow list and the subjects that it opens.
pub(super) struct Reach<'p> {
    rule: &'p Rule,
    list: List,
    tokens: Cow<'p, [Token]>,
    /// Whether the deny list narrows it.
    deniable: bool,
}

/// A subject that two devices, or both hands of one, have in common.
pub(super) struct Meeting<'p> {
    pub(super) subject: String,
    pub(super) grants: [GrantRef; 2],
    pub(super) rules: [&'p Rule; 2],
}

impl<'p> Party<'p> {
    pub(super) fn of(policy: &'p Policy) -> impl Iterator<Item = Self> {
        policy
            .permissions()
            .enumerate()
            .map(move |(n, permissions)| Self {
                policy,
                quarantine: n > 0,
                permissions,
                publish: reaches(&permissions.publish.allow, List::Publish),
                subscribe: reaches(&permissions.subscribe.allow, List::Subscribe),
            })
    }

    pub(super) fn may_answer(&self) -> bool {
        self.permissions.responses.is_some()
    }

    /// Everything reached, with the device's own grant.
    pub(super) fn reaches(&self) -> impl Iterator<Item = &Reach<'p>> + Clone {
        self.publish.iter().chain(&self.subscribe)
    }

    pub(super) fn publishes(&self) -> impl Iterator<Item = &Reach<'p>> + Clone {
        self.publish.iter()
    }

    pub(super) fn subscribes(&self) -> impl Iterator<Item = &Reach<'p>> + Clone {
        self.subscribe.iter()
    }

    /// The grants on JetStream itself.
    pub(super) fn jetstream(&self) -> impl Iterator<Item = GrantRef> {
        self.reaches()
            .filter(|reach| starts_with(&reach.rule.template, &["$JS"]))
            .map(|reach| self.grant_ref(reach))
    }

    /// Where `mine`, for one device of this party, meets `theirs`, for the device of `other` that
    /// `owner` says, neither side denied.
    pub(super) fn meet<'s>(
        &'s self,
        mine: &'s Reach<'p>,
        other: &'s Party<'p>,
        theirs: &'s Reach<'p>,
        owner: Owner,
    ) -> Option<Meeting<'p>> {
        let overlap = Overlap::find((&mine.tokens, Owner::One), (&theirs.tokens, owner))?;
        if self.denies(mine, &overlap, Owner::One) || other.denies(theirs, &overlap, owner) {
            return None;
        }
        Some(Meeting {
            subject: overlap.pattern(),
            grants: [self.grant_ref(mine), other.grant_ref(theirs)],
            rules: [mine.rule, theirs.rule],
        })
    }

    /// Whether one deny entry covers the whole overlap.
    fn denies<'s>(&'s self, reach: &Reach<'_>, overlap: &Overlap<'s>, owner: Owner) -> bool {
        let deny = match reach.list {
            List::Publish => &self.permissions.publish.deny,
            List::Subscribe => &self.permissions.subscribe.deny,
        };
        reach.deniable
            && deny
                .iter()
                .any(|rule| overlap.is_within(rule.template.tokens(), owner))
    }

    fn grant_ref(&self, reach: &Reach<'_>) -> GrantRef {
        GrantRef {
            policy: self.policy.name.to_string(),
            quarantine: self.quarantine,
            list: reach.list,
            subject: reach.rule.template.to_string(),
            location: reach.rule.location.clone(),
        }
    }
}

impl Reach<'_> {
    pub(super) fn list(&self) -> List {
        self.list
    }

    pub(super) fn rule(&self) -> &Rule {
        self.rule
    }
}

fn reaches(rules: &[Rule], list: List) -> Vec<Reach<'_>> {
    rules
        .iter()
        .map(|rule| {
            let (tokens, deniable) = widen(&rule.template, list);
            Reach {
                rule,
                list,
                tokens,
                deniable,
            }
        })
        .collect()
}

/// The subjects that an allow entry really opens, and whether a deny entry can close them.
fn widen(template: &Template, list: List) -> (Cow<'_, [Token]>, bool) {
    let tokens = template.tokens();
    // A bucket is one stream. Rollup headers let whoever writes a key erase the others, and a
    // watcher's consumer is not bound to its key.
    if tokens.len() > 2 && starts_with(template, &["$KV", "$O"]) {
        let mut bucket = tokens[..2].to_vec();
        bucket.push(Token::Tail);
        return (bucket.into(), false);
    }
    // nats-server checks a subscription to `a.>` against the allow entry `a.*` token by token, and
    // `*` takes `>` (server/sublist.go, `matchLevel`): the device hears all that is below.
    match (list, tokens.split_last()) {
        (List::Subscribe, Some((Token::Any, before))) => {
            let mut below = before.to_vec();
            below.push(Token::Tail);
            (below.into(), true)
        }
        _ => (tokens.into(), true),
    }
}

fn starts_with(template: &Template, names: &[&str]) -> bool {
    matches!(template.tokens().first(), Some(Token::Literal(first)) if names.contains(&&**first))
}
