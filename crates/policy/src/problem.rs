//! What is wrong with a policy or case file: where, why, and how to mend it.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

/// A line of a policy or case file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Location {
    /// The name that the file was loaded under.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// One thing that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LoadPolicyError {
    /// Where, unless it is no line's fault (a bad constant).
    pub location: Option<Location>,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub hint: Option<String>,
}

impl fmt::Display for LoadPolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(location) = &self.location {
            write!(f, "{location}: ")?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for LoadPolicyError {}

/// Everything that is wrong with a set of files; never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct LoadPolicyErrors(Vec<LoadPolicyError>);

impl LoadPolicyErrors {
    /// The errors in the order of files and lines.
    pub fn iter(&self) -> std::slice::Iter<'_, LoadPolicyError> {
        self.0.iter()
    }
}

impl fmt::Display for LoadPolicyErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, error) in self.iter().enumerate() {
            if n > 0 {
                writeln!(f)?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for LoadPolicyErrors {}

/// A value that can't be what its place wants, before anyone knows the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Fault {
    pub(crate) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: Some(hint.into()),
        }
    }

    pub(crate) fn at(self, location: Option<Location>) -> LoadPolicyError {
        LoadPolicyError {
            location,
            message: self.message,
            hint: self.hint,
        }
    }
}

/// Collects what is wrong, so that one run reports all of it.
#[derive(Debug, Default)]
pub(crate) struct Problems(std::cell::RefCell<Vec<LoadPolicyError>>);

impl Problems {
    pub(crate) fn report(&self, error: LoadPolicyError) {
        self.0.borrow_mut().push(error);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// `value` if nothing was reported. Errors of one file come out by line, files in the order
    /// given.
    pub(crate) fn into_result<T>(self, value: T) -> Result<T, LoadPolicyErrors> {
        let mut errors = self.0.into_inner();
        if errors.is_empty() {
            return Ok(value);
        }
        let mut files: Vec<Arc<str>> = Vec::new();
        for location in errors.iter().filter_map(|e| e.location.as_ref()) {
            if !files.contains(&location.file) {
                files.push(Arc::clone(&location.file));
            }
        }
        errors.sort_by_key(|error| {
            error.location.as_ref().map(|at| {
                let file = files.iter().position(|f| *f == at.file);
                (file, at.line)
            })
        });
        Err(LoadPolicyErrors(errors))
    }
}

/// The candidate that `word` was probably meant to be.
pub(crate) fn nearest<'c>(
    word: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    let folded = word.to_ascii_lowercase().replace('-', "_");
    candidates
        .into_iter()
        .map(|candidate| {
            let other = candidate.to_ascii_lowercase().replace('-', "_");
            (edit_distance(&folded, &other), candidate)
        })
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// "did you mean" for the candidate nearest to `word`, else the whole list.
pub(crate) fn suggest(word: &str, candidates: &[&str]) -> String {
    match nearest(word, candidates.iter().copied()) {
        Some(candidate) => format!("did you mean \"{candidate}\"?"),
        None => format!("known here: {}", candidates.join(", ")),
    }
}

/// Insertions, deletions, substitutions and swaps of neighbours between `a` and `b`.
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = change.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_forgives_a_slip_and_refuses_a_guess() {
        let keys = ["publish", "subscribe", "match", "account", "device_type"];
        assert_eq!(nearest("pubilsh", keys), Some("publish"));
        assert_eq!(nearest("device-type", keys), Some("device_type"));
        assert_eq!(nearest("Account", keys), Some("account"));
        assert_eq!(nearest("password", keys), None);
        assert!(suggest("password", &keys).starts_with("known here: publish"));
    }

    #[test]
    fn edit_distance_counts_a_swap_once() {
        assert_eq!(edit_distance("amtch", "match"), 1);
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(edit_distance("same", "same"), 0);
    }

    #[test]
    fn errors_come_in_the_order_of_files_and_lines() {
        let problems = Problems::default();
        for (file, line) in [("b.toml", 9), ("a.toml", 7), ("b.toml", 2)] {
            problems.report(Fault::new("wrong", "mend").at(Some(Location {
                file: file.into(),
                line,
            })));
        }
        let errors = problems.into_result(()).unwrap_err();
        let text = errors.to_string();
        assert_eq!(
            text,
            "b.toml:2: wrong\n  mend\nb.toml:9: wrong\n  mend\na.toml:7: wrong\n  mend"
        );
    }
}
