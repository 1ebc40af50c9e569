//! A set of policies, loaded and checked as one.

use std::path::Path;

use serde::Serialize;

use crate::policy::Policy;
use crate::problem::{Fault, LoadPolicyError, LoadPolicyErrors, Location, Problems};
use crate::read::read_policies;
use crate::select::{Reachability, reachability};
use crate::template::check_prefix;

/// A policy file: what errors call it, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicySource {
    /// The path, as it is to be shown.
    pub name: String,
    /// The TOML.
    pub text: String,
}

/// What policies are loaded with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constants {
    /// What `{prefix}` stands for: one or more tokens of the device-id alphabet.
    pub prefix: String,
    /// Accounts that no policy may name.
    pub reserved_accounts: Vec<String>,
}

impl Default for Constants {
    /// Prefix `device`; accounts AUTH, SYS, TELEMETRY and COMMANDS reserved.
    fn default() -> Self {
        Self {
            prefix: "device".into(),
            reserved_accounts: ["AUTH", "SYS", "TELEMETRY", "COMMANDS"]
                .map(str::to_owned)
                .into(),
        }
    }
}

/// Compiled policies; the first that matches a device decides.
#[derive(Debug)]
pub struct PolicySet {
    pub(crate) policies: Vec<Policy>,
}

/// A policy as lists of policies show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicySummary {
    /// Its name.
    pub name: String,
    /// Where it begins.
    pub location: Location,
    /// The account of its devices.
    pub account: String,
    /// Whether it grants anything to quarantined devices.
    pub quarantine: bool,
}

impl PolicySet {
    /// Compiles `sources` in their order.
    ///
    /// # Errors
    /// All that is wrong, at once: syntax, unknown keys, values, subjects, names used twice, and
    /// policies that no device can reach.
    pub fn load(sources: &[PolicySource], constants: &Constants) -> Result<Self, LoadPolicyErrors> {
        let problems = Problems::default();
        if let Err(fault) = check_prefix(&constants.prefix) {
            problems.report(fault.at(None));
            return problems.into_result(Self { policies: vec![] });
        }
        if sources.is_empty() {
            let hint = "name at least one policy file: without a policy every device is denied";
            problems.report(Fault::new("no policy file", hint).at(None));
        }
        let policies: Vec<Policy> = sources
            .iter()
            .flat_map(|source| read_policies(source, constants, &problems))
            .collect();
        check_names(&policies, &problems);
        // Where a policy is left out for its errors, nothing can be said of those after it.
        if problems.is_empty() {
            check_reachable(&policies, &problems);
        }
        problems.into_result(Self { policies })
    }

    /// The policies in their order.
    pub fn policies(&self) -> impl Iterator<Item = PolicySummary> {
        self.policies.iter().map(|policy| PolicySummary {
            name: policy.name.to_string(),
            location: policy.location.clone(),
            account: policy.account.to_string(),
            quarantine: policy.quarantine.is_some(),
        })
    }
}

impl PolicySource {
    /// A source named after `path`.
    #[must_use]
    pub fn new(path: &Path, text: String) -> Self {
        Self {
            name: path.display().to_string(),
            text,
        }
    }
}

fn check_names(policies: &[Policy], problems: &Problems) {
    for (n, policy) in policies.iter().enumerate() {
        if let Some(first) = policies[..n].iter().find(|p| p.name == policy.name) {
            let message = format!(
                "policy \"{}\" is already at {}",
                policy.name, first.location
            );
            let fault = Fault::new(message, "a name stands for one policy: rename one");
            problems.report(fault.at(Some(policy.location.clone())));
        }
    }
}

fn check_reachable(policies: &[Policy], problems: &Problems) {
    let selectors: Vec<_> = policies.iter().map(|policy| &policy.selector).collect();
    for (n, policy) in policies.iter().enumerate() {
        let Reachability::Unreachable { taken_by } = reachability(&selectors[..n], selectors[n])
        else {
            continue;
        };
        let by = match taken_by {
            Some(first) => format!(
                "policy \"{}\" at {} takes every device",
                policies[first].name, policies[first].location
            ),
            None => "the policies before it together take every device".to_owned(),
        };
        problems.report(LoadPolicyError {
            location: Some(policy.location.clone()),
            message: format!("no device can reach policy \"{}\": {by}", policy.name),
            hint: Some("the first match decides: put the narrower policy first".into()),
        });
    }
}
