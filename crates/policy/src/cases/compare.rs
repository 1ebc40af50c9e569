//! Where a decision differs from what a case expects.

use super::Difference;
use crate::decide::PolicyDenial;
use crate::grant::{Grant, Limits, ResponsePermission, SubjectRules};
use crate::read::SessionFields;
use crate::units::{format_bytes, format_secs};

pub(super) enum Expected {
    Grant(Box<ExpectedGrant>),
    Denial(&'static str),
}

/// Subjects and responses are compared in full; of the rest, what the case names.
pub(super) struct ExpectedGrant {
    pub(super) policy: Option<String>,
    pub(super) account: Option<String>,
    pub(super) publish: SubjectRules,
    pub(super) subscribe: SubjectRules,
    pub(super) responses: Option<ResponsePermission>,
    pub(super) session: SessionFields,
    pub(super) limits: Limits,
}

pub(super) fn compare(
    expected: &Expected,
    decision: &Result<Grant, PolicyDenial>,
) -> Vec<Difference> {
    if let (Expected::Grant(expected), Ok(grant)) = (expected, decision) {
        return expected.compare(&ExpectedGrant::from(grant));
    }
    let expected = match expected {
        Expected::Grant(_) => "a grant".to_owned(),
        Expected::Denial(reason) => format!("denial {reason}"),
    };
    let got = match decision {
        Ok(grant) => format!("a grant of policy \"{}\"", grant.policy),
        Err(denial) => format!("denial {}", denial.reason()),
    };
    difference("decision", &[expected], &[got])
        .into_iter()
        .collect()
}

/// What a case would have to say to expect exactly this grant.
impl From<&Grant> for ExpectedGrant {
    fn from(grant: &Grant) -> Self {
        Self {
            policy: Some(grant.policy.to_string()),
            account: Some(grant.account.to_string()),
            publish: grant.publish.clone(),
            subscribe: grant.subscribe.clone(),
            responses: grant.responses,
            session: SessionFields {
                lifetime_secs: Some(grant.lifetime.secs),
                jitter_percent: Some(grant.lifetime.jitter_percent),
                connection_types: Some(grant.connection_types.clone()),
                sources: Some(grant.sources.clone()),
            },
            limits: grant.limits,
        }
    }
}

impl ExpectedGrant {
    fn compare(&self, got: &Self) -> Vec<Difference> {
        let fields = self.fields().into_iter().zip(got.fields());
        fields
            .filter_map(|((name, expected), (_, got))| {
                let got = got.unwrap_or_else(|| vec!["none".to_owned()]);
                difference(name, &expected?, &got)
            })
            .collect()
    }

    /// Every field with its values, `None` where nothing is said of it.
    fn fields(&self) -> [(&'static str, Option<Vec<String>>); 13] {
        let Self {
            session, limits, ..
        } = self;
        let responses = self.responses.map(|r| r.to_string());
        let lifetime = session.lifetime_secs.map(format_secs);
        let jitter = session.jitter_percent.map(|percent| format!("{percent}%"));
        let subscriptions = limits.subscriptions.map(|n| n.to_string());
        let payload = limits.payload_bytes.map(|n| format_bytes(n.unsigned_abs()));
        let list = |subjects: &[String]| Some(subjects.to_vec());
        [
            ("policy", self.policy.clone().map(one)),
            ("account", self.account.clone().map(one)),
            ("publish.allow", list(self.publish.allow())),
            ("publish.deny", list(self.publish.deny())),
            ("subscribe.allow", list(self.subscribe.allow())),
            ("subscribe.deny", list(self.subscribe.deny())),
            (
                "responses",
                Some(one(responses.unwrap_or_else(|| "none".to_owned()))),
            ),
            ("session.lifetime", lifetime.map(one)),
            ("session.jitter", jitter.map(one)),
            (
                "session.connection_types",
                session.connection_types.as_deref().map(texts),
            ),
            ("session.sources", session.sources.as_deref().map(texts)),
            ("limits.subscriptions", subscriptions.map(one)),
            ("limits.payload", payload.map(one)),
        ]
    }
}

fn one(text: String) -> Vec<String> {
    vec![text]
}

fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

/// What is on one side only, if anything is.
fn difference(field: &'static str, expected: &[String], got: &[String]) -> Option<Difference> {
    let only = |these: &[String], those: &[String]| -> Vec<String> {
        let missing = these.iter().filter(|value| !those.contains(value));
        missing.cloned().collect()
    };
    let difference = Difference {
        field,
        missing: only(expected, got),
        unexpected: only(got, expected),
    };
    let same = difference.missing.is_empty() && difference.unexpected.is_empty();
    (!same).then_some(difference)
}
