//! Golden cases: a device in, a grant or a denial out.

mod compare;
mod read;

use std::fmt;
use std::io;
use std::path::{Component, Path, PathBuf};

use serde::Serialize;

use crate::problem::{Fault, LoadPolicyErrors, Location};
use crate::set::{Constants, PolicySet, PolicySource};

/// What came of the cases of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CaseResults {
    /// The case file.
    pub file: String,
    /// The policy file that it tries.
    pub policy: String,
    /// One for each case, in their order.
    pub cases: Vec<CaseResult>,
}

/// What came of one case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CaseResult {
    /// Its name.
    pub name: String,
    /// Where it begins.
    pub location: Location,
    /// Where the decision differs from what is expected; empty if the case passed.
    pub differences: Vec<Difference>,
}

/// One thing in which a decision differs from what is expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What: `publish.allow`, `account`, …
    pub field: &'static str,
    /// Expected, but not so.
    pub missing: Vec<String>,
    /// So, but not expected.
    pub unexpected: Vec<String>,
}

/// Runs the cases of a file against the policy file that it names. `read` gets that file's path:
/// relative to the case file's own name, with `..` resolved.
///
/// # Errors
/// All that is wrong with the case file, or else with the policy.
pub fn run_cases(
    source: &PolicySource,
    constants: &Constants,
    read: impl FnOnce(&Path) -> io::Result<String>,
) -> Result<CaseResults, LoadPolicyErrors> {
    let file = read::read_case_file(source)?;
    let path = resolve(&source.name, &file.policy);
    let text = read(&path).or_else(|error| {
        let message = format!("can't read {}: {error}", path.display());
        let hint = "the path is relative to this file";
        let problems = crate::problem::Problems::default();
        problems.report(Fault::new(message, hint).at(Some(file.policy_location.clone())));
        problems.into_result(String::new())
    })?;
    let policy = PolicySource::new(&path, text);
    let set = PolicySet::load(std::slice::from_ref(&policy), constants)?;
    let cases = file
        .cases
        .iter()
        .map(|case| CaseResult {
            name: case.name.clone(),
            location: case.location.clone(),
            differences: compare::compare(&case.expected, &case.decide(&set)),
        })
        .collect();
    Ok(CaseResults {
        file: source.name.clone(),
        policy: policy.name,
        cases,
    })
}

/// `path` as seen from the folder of `file`, without touching a file system.
fn resolve(file: &str, path: &str) -> PathBuf {
    let folder = Path::new(file).parent().unwrap_or(Path::new(""));
    let mut resolved = PathBuf::new();
    for part in folder.join(path).components() {
        let above = matches!(
            resolved.components().next_back(),
            Some(Component::Normal(_))
        );
        match part {
            Component::CurDir => {}
            Component::ParentDir if above => {
                resolved.pop();
            }
            other => resolved.push(other),
        }
    }
    resolved
}

impl CaseResults {
    /// Whether every case passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.cases.iter().all(CaseResult::passed)
    }
}

impl CaseResult {
    /// Whether the decision is the expected one.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.differences.is_empty()
    }
}

impl fmt::Display for CaseResults {
    /// One line for each case, the differences of those that failed, and a sum.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for case in &self.cases {
            writeln!(f, "{case}")?;
        }
        let failed = self.cases.iter().filter(|case| !case.passed()).count();
        let count = self.cases.len();
        let plural = if count == 1 { "" } else { "s" };
        write!(
            f,
            "{}: {count} case{plural} against {}",
            self.file, self.policy
        )?;
        match failed {
            0 => f.write_str(", all as expected"),
            _ => write!(f, ", {failed} failed"),
        }
    }
}

impl fmt::Display for CaseResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.passed() {
            return write!(f, "ok    {}", self.name);
        }
        write!(f, "FAIL  {}   {}", self.name, self.location)?;
        for difference in &self.differences {
            write!(f, "\n        {}", difference.field)?;
            for value in &difference.missing {
                write!(f, "\n          - {value}   expected, missing")?;
            }
            for value in &difference.unexpected {
                write!(f, "\n          + {value}   not expected")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
