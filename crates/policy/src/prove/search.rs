//! The search for everything that devices of different ids share.

use std::collections::{BTreeMap, BTreeSet};

use super::overlap::Owner;
use super::party::{Meeting, Party};
use super::{
    Act, Cause, Declaration, Effect, Heard, List, PolicyRef, Proof, ProvenPolicy, ReplyPath,
    Sharing,
};
use crate::policy::{Policy, Rule, Shared};
use crate::subject::covers;
use crate::template::{Token, Variable};

pub(super) fn search(policies: &[&Policy]) -> Proof {
    let mut sharings = Vec::new();
    let mut reply_paths = Vec::new();
    let accounts: BTreeSet<&str> = policies.iter().map(|policy| &*policy.account).collect();
    for name in accounts {
        let members = policies.iter().copied().filter(|p| &*p.account == name);
        let account = Account::new(name, members.collect());
        sharings.extend(account.sharings());
        reply_paths.extend(account.reply_paths());
    }
    let is_used = |entry: &Declaration| {
        let mut declared = sharings.iter().flat_map(|s: &Sharing| &s.declared);
        declared.any(|d| d == entry)
    };
    let unused = policies
        .iter()
        .flat_map(|policy| policy.shared.iter().map(|entry| declaration(policy, entry)))
        .filter(|entry| !is_used(entry))
        .collect();
    drop_implied(&mut sharings);
    let proven = |policy: &&Policy| ProvenPolicy {
        policy: policy_ref(policy),
        account: policy.account.to_string(),
        isolated: !sharings
            .iter()
            .any(|s| s.between.contains(&policy_ref(policy))),
    };
    Proof {
        policies: policies.iter().map(proven).collect(),
        sharings,
        reply_paths,
        unused,
    }
}

/// The policies of one account: what their devices publish, any of them may hear.
struct Account<'p> {
    name: &'p str,
    policies: Vec<&'p Policy>,
    parties: Vec<Party<'p>>,
}

impl<'p> Account<'p> {
    fn new(name: &'p str, policies: Vec<&'p Policy>) -> Self {
        let parties = policies
            .iter()
            .flat_map(|policy| Party::of(policy))
            .collect();
        Self {
            name,
            policies,
            parties,
        }
    }

    fn sharings(&self) -> Vec<Sharing> {
        let mut sharings = self.overlaps();
        for party in &self.parties {
            sharings.extend(self.answers(party));
            sharings.extend(self.jetstream(party));
        }
        for policy in &self.policies {
            sharings.extend(self.leaf_nodes(policy));
        }
        sharings
    }

    fn overlaps(&self) -> Vec<Sharing> {
        let mut found: BTreeMap<(PolicyRef, PolicyRef, String), Shape<'p>> = BTreeMap::new();
        for (n, one) in self.parties.iter().enumerate() {
            for another in &self.parties[n..] {
                for (mine, theirs) in pairs(one.reaches(), another.reaches()) {
                    let Some(meeting) = one.meet(mine, another, theirs, Owner::Another) else {
                        continue;
                    };
                    let refs = (policy_ref(one.policy), policy_ref(another.policy));
                    let key = (refs.0, refs.1, meeting.subject.clone());
                    let shape = found.entry(key).or_insert_with(|| Shape::of(one, another));
                    shape.add(meeting, (mine.list(), theirs.list()));
                }
            }
        }
        found
            .into_iter()
            .map(|((_, _, subject), shape)| {
                let cause = Cause::Overlap {
                    grants: shape.grants.into_iter().collect(),
                    effects: shape.effects.into_iter().collect(),
                    scope: shape.scope,
                };
                self.sharing(subject, cause, &shape.policies)
            })
            .collect()
    }

    /// What a party reaches by answering messages that a device sends it.
    fn answers(&self, party: &Party<'p>) -> Option<Sharing> {
        if !party.may_answer() {
            return None;
        }
        let mut heard = BTreeSet::new();
        for sender in &self.parties {
            let another = Some(sender.policy.name.to_string());
            for (owner, from) in [(Owner::OneElsewhere, None), (Owner::Another, another)] {
                for (voice, ear) in pairs(sender.publishes(), party.subscribes()) {
                    let meeting = sender.meet(voice, party, ear, owner);
                    heard.extend(meeting.map(|Meeting { subject, .. }| Heard {
                        subject,
                        from: from.clone(),
                    }));
                }
            }
        }
        if heard.is_empty() {
            return None;
        }
        let cause = Cause::Responses {
            policy: party.policy.name.to_string(),
            quarantine: party.quarantine,
            heard: heard.into_iter().collect(),
        };
        Some(self.sharing(">".into(), cause, &self.policies))
    }

    fn jetstream(&self, party: &Party<'p>) -> Vec<Sharing> {
        party
            .jetstream()
            .map(|grant| self.sharing(">".into(), Cause::JetStream { grant }, &self.policies))
            .collect()
    }

    fn leaf_nodes(&self, policy: &Policy) -> Option<Sharing> {
        let types = &policy.session.connection_types;
        types.iter().any(|kind| kind.is_leaf_node()).then(|| {
            let policy = policy.name.to_string();
            self.sharing(">".into(), Cause::LeafNodes { policy }, &self.policies)
        })
    }

    /// A sharing with the declarations that cover it. What JetStream reaches may also be declared
    /// by the `$JS` subject itself, as its reach is everything.
    fn sharing(&self, subject: String, cause: Cause, concerned: &[&Policy]) -> Sharing {
        let granted = match &cause {
            Cause::JetStream { grant } => Some(grant.subject.as_str()),
            _ => None,
        };
        let admits = |entry: &&Shared| {
            covers(&entry.pattern, &subject) || granted.is_some_and(|g| covers(&entry.pattern, g))
        };
        let mut between: Vec<PolicyRef> = Vec::new();
        let (mut declared, mut undeclared) = (Vec::new(), Vec::new());
        for policy in concerned {
            let name = policy_ref(policy);
            if between.contains(&name) {
                continue;
            }
            match policy.shared.iter().find(admits) {
                Some(entry) => declared.push(declaration(policy, entry)),
                None => undeclared.push(name.clone()),
            }
            between.push(name);
        }
        Sharing {
            subject,
            account: self.name.to_owned(),
            cause,
            between,
            declared,
            undeclared,
        }
    }

    fn reply_paths(&self) -> Vec<ReplyPath> {
        let reached = self.parties.iter().flat_map(Party::reaches);
        let into = widest(reached.map(|reach| reach.rule().template.pattern_of_all()));
        let path = |policy: &&Policy| {
            let published = policy.permissions().flat_map(|p| &p.publish.allow);
            ReplyPath {
                policy: policy_ref(policy),
                account: self.name.to_owned(),
                via: widest(published.map(|rule| rule.template.pattern_of_all())),
                into: into.clone(),
            }
        };
        self.policies
            .iter()
            .map(path)
            .filter(|path| !path.via.is_empty())
            .collect()
    }
}

/// An overlap under construction.
struct Shape<'p> {
    policies: [&'p Policy; 2],
    grants: BTreeSet<super::GrantRef>,
    effects: BTreeSet<Effect>,
    scope: String,
}

impl<'p> Shape<'p> {
    fn of(one: &Party<'p>, another: &Party<'p>) -> Self {
        Self {
            policies: [one.policy, another.policy],
            grants: BTreeSet::new(),
            effects: BTreeSet::new(),
            scope: String::new(),
        }
    }

    fn add(&mut self, meeting: Meeting<'p>, lists: (List, List)) {
        let [one, another] = self.policies.map(|policy| policy.name.to_string());
        let mut effect = |act, by: &String, to: &String| {
            let (by, to) = (by.clone(), to.clone());
            self.effects.insert(Effect { act, by, to });
        };
        match lists {
            (List::Publish, List::Subscribe) => {
                effect(Act::PublishTo, &one, &another);
                effect(Act::ReadPublished, &another, &one);
            }
            (List::Subscribe, List::Publish) => {
                effect(Act::PublishTo, &another, &one);
                effect(Act::ReadPublished, &one, &another);
            }
            (List::Publish, List::Publish) => {
                effect(Act::PublishAs, &one, &another);
                effect(Act::PublishAs, &another, &one);
            }
            (List::Subscribe, List::Subscribe) => {
                effect(Act::ReadReceived, &one, &another);
                effect(Act::ReadReceived, &another, &one);
            }
        }
        if self.scope.is_empty() {
            self.scope = scope(meeting.rules);
        }
        self.grants.extend(meeting.grants);
    }
}

/// Every one of `these` with every one of `those`.
fn pairs<A: Copy, B>(
    these: impl Iterator<Item = A>,
    those: impl Iterator<Item = B> + Clone,
) -> impl Iterator<Item = (A, B)> {
    these.flat_map(move |this| those.clone().map(move |that| (this, that)))
}

/// How one of two rules could be a device's own.
fn scope(rules: [&Rule; 2]) -> String {
    let bucket = |rule: &Rule| match rule.template.tokens() {
        [Token::Literal(first), ..] if matches!(&**first, "$KV" | "$O") => Some(first.clone()),
        _ => None,
    };
    if let Some(kind) = bucket(rules[0]) {
        return format!("{kind}.{{id}}.>, a bucket for each device");
    }
    let is_own = |rule: &&&Rule| rule.template.variables().any(|v| *v == Variable::Id);
    let Some(rule) = rules.iter().find(|rule| !is_own(rule)) else {
        return "put {id} at the same place in both".to_owned();
    };
    let text = rule.template.to_string();
    let tokens = rule.template.tokens();
    let mut words: Vec<&str> = text.split('.').collect();
    if let Some(n) = tokens.iter().position(|token| *token == Token::Any) {
        words[n] = "{id}";
        return words.join(".");
    }
    if tokens.last() == Some(&Token::Tail) {
        words.insert(words.len() - 1, "{id}");
        return words.join(".");
    }
    format!("{text}.{{id}}")
}

/// The patterns without those that another one covers.
fn widest(patterns: impl Iterator<Item = String>) -> Vec<String> {
    let all: Vec<String> = patterns.collect::<BTreeSet<_>>().into_iter().collect();
    let hidden = |one: &String| all.iter().any(|other| other != one && covers(other, one));
    all.iter().filter(|one| !hidden(one)).cloned().collect()
}

/// Removes overlaps that say nothing beyond a wider one between the same policies, or beyond what
/// was found of JetStream, whose grants overlap on `$JS` only.
fn drop_implied(sharings: &mut Vec<Sharing>) {
    let all = sharings.clone();
    sharings.retain(|one| {
        let of_jetstream =
            matches!(one.cause, Cause::Overlap { .. }) && one.subject.starts_with("$JS.");
        !of_jetstream
            && !all.iter().any(|other| {
                other.subject != one.subject
                    && other.account == one.account
                    && other.between == one.between
                    && covers(&other.subject, &one.subject)
                    && match (&one.cause, &other.cause) {
                        (Cause::Overlap { effects, .. }, Cause::Overlap { effects: more, .. }) => {
                            effects.iter().all(|effect| more.contains(effect))
                        }
                        _ => false,
                    }
            })
    });
}

fn policy_ref(policy: &Policy) -> PolicyRef {
    PolicyRef {
        name: policy.name.to_string(),
        location: policy.location.clone(),
    }
}

fn declaration(policy: &Policy, entry: &Shared) -> Declaration {
    Declaration {
        policy: policy.name.to_string(),
        subject: entry.pattern.clone(),
        reason: entry.reason.clone(),
        location: entry.location.clone(),
    }
}
