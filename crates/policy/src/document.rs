//! TOML read with the line of every key and value, so that errors can name it.

use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::problem::{Fault, LoadPolicyError, Location, Problems, suggest};

/// A TOML file and where its problems go.
pub(crate) struct Document<'p> {
    file: Arc<str>,
    line_starts: Vec<usize>,
    problems: &'p Problems,
}

impl<'p> Document<'p> {
    pub(crate) fn new(file: &str, text: &str, problems: &'p Problems) -> Self {
        let after_newline = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            file: file.into(),
            line_starts: std::iter::once(0).chain(after_newline).collect(),
            problems,
        }
    }

    /// Parses the text; syntax errors are reported and give `None`.
    pub(crate) fn parse<'i>(&self, text: &'i str) -> Option<Spanned<DeTable<'i>>> {
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let at = error.span().map_or(0, |span| span.start);
            self.problems.report(LoadPolicyError {
                location: Some(self.location(at)),
                message: format!("not TOML: {}", error.message().replace('\n', ", ")),
                hint: None,
            });
        }
        errors.is_empty().then_some(table)
    }

    pub(crate) fn root<'d>(
        &'d self,
        table: &'d Spanned<DeTable<'d>>,
        known: &[&str],
    ) -> Fields<'d> {
        Fields::new(self, table.get_ref(), 0, "this file", known)
    }

    fn location(&self, offset: usize) -> Location {
        let line = self.line_starts.partition_point(|start| *start <= offset);
        Location {
            file: Arc::clone(&self.file),
            line: u32::try_from(line).unwrap_or(u32::MAX),
        }
    }
}

/// A table whose unknown keys have been reported.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'d> {
    document: &'d Document<'d>,
    table: &'d DeTable<'d>,
    offset: usize,
}

impl<'d> Fields<'d> {
    fn new(
        document: &'d Document<'d>,
        table: &'d DeTable<'d>,
        offset: usize,
        place: &str,
        known: &[&str],
    ) -> Self {
        for (key, _) in table.iter() {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                let message = format!("unknown key \"{}\" in {place}", name.escape_debug());
                let fault = Fault::new(message, hint_for_key(name, known));
                document
                    .problems
                    .report(fault.at(Some(document.location(key.span().start))));
            }
        }
        Self {
            document,
            table,
            offset,
        }
    }

    /// Where the table begins.
    pub(crate) fn location(&self) -> Location {
        self.document.location(self.offset)
    }

    pub(crate) fn get(&self, key: &'static str) -> Option<Node<'d>> {
        let (found, value) = self.table.get_key_value(key)?;
        // The value of a dotted key or of a `[table]` spans a header; its key is the line meant.
        let offset = match value.get_ref() {
            DeValue::Table(_) | DeValue::Array(_) => found.span().start,
            _ => value.span().start,
        };
        Some(Node {
            document: self.document,
            value: value.get_ref(),
            offset,
            name: key,
        })
    }

    /// The value of a key that must be there.
    pub(crate) fn require(&self, key: &'static str, hint: &str) -> Option<Node<'d>> {
        let node = self.get(key);
        if node.is_none() {
            self.report(Fault::new(format!("\"{key}\" is missing"), hint));
        }
        node
    }

    /// Every key and value, for tables whose keys are the user's.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&'d str, Node<'d>)> {
        self.table.iter().map(|(key, value)| {
            let node = Node {
                document: self.document,
                value: value.get_ref(),
                offset: key.span().start,
                name: "value",
            };
            (key.get_ref().as_ref(), node)
        })
    }

    pub(crate) fn report(&self, fault: Fault) {
        self.document
            .problems
            .report(fault.at(Some(self.location())));
    }
}

/// A value and the key it stands under.
#[derive(Clone, Copy)]
pub(crate) struct Node<'d> {
    document: &'d Document<'d>,
    value: &'d DeValue<'d>,
    offset: usize,
    name: &'static str,
}

impl<'d> Node<'d> {
    pub(crate) fn location(&self) -> Location {
        self.document.location(self.offset)
    }

    pub(crate) fn report(&self, fault: Fault) {
        self.document
            .problems
            .report(fault.at(Some(self.location())));
    }

    /// Reports about a place that this value contains.
    pub(crate) fn report_at(&self, location: &Location, fault: Fault) {
        self.document
            .problems
            .report(fault.at(Some(location.clone())));
    }

    /// The value of `result`, or a report of its fault at this place.
    pub(crate) fn accept<T>(&self, result: Result<T, Fault>) -> Option<T> {
        result.map_err(|fault| self.report(fault)).ok()
    }

    pub(crate) fn string(&self) -> Option<&'d str> {
        self.expect("a string", self.value.as_str())
    }

    pub(crate) fn boolean(&self) -> Option<bool> {
        self.expect("true or false", self.value.as_bool())
    }

    /// A whole number from 1 to `max`.
    pub(crate) fn count(&self, max: i64) -> Option<i64> {
        let number = self.value.as_integer().and_then(|n| {
            let number = i64::from_str_radix(n.as_str(), n.radix()).ok()?;
            (1..=max).contains(&number).then_some(number)
        });
        self.expect(&format!("a whole number from 1 to {max}"), number)
    }

    /// The elements of an array.
    pub(crate) fn list(&self) -> Option<Vec<Node<'d>>> {
        let array = self.expect("a list: [\"…\", \"…\"]", self.value.as_array())?;
        let node = |value: &'d Spanned<DeValue<'d>>| Node {
            value: value.get_ref(),
            offset: value.span().start,
            ..*self
        };
        Some(array.iter().map(node).collect())
    }

    /// The elements of an array of strings, or the one string that stands for such an array.
    pub(crate) fn strings(&self) -> Option<Vec<(Node<'d>, &'d str)>> {
        if let Some(text) = self.value.as_str() {
            return Some(vec![(*self, text)]);
        }
        let array = self.expect("a string or a list of strings", self.value.as_array())?;
        let node = |value: &'d Spanned<DeValue<'d>>| {
            let element = Node {
                value: value.get_ref(),
                offset: value.span().start,
                ..*self
            };
            element.string().map(|text| (element, text))
        };
        collect_all(array.iter().map(node))
    }

    pub(crate) fn table(&self, place: &str, known: &[&str]) -> Option<Fields<'d>> {
        let table = self.expect("a table: { … }", self.value.as_table())?;
        Some(Fields::new(self.document, table, self.offset, place, known))
    }

    /// A table whose keys are the user's.
    pub(crate) fn map(&self) -> Option<Fields<'d>> {
        let table = self.expect("a table: { … }", self.value.as_table())?;
        Some(Fields {
            document: self.document,
            table,
            offset: self.offset,
        })
    }

    fn expect<T>(&self, wanted: &str, got: Option<T>) -> Option<T> {
        if got.is_none() {
            let found = match self.value {
                DeValue::Integer(number) => number.to_string(),
                DeValue::String(text) => format!("\"{}\"", text.escape_debug()),
                other => format!("of type {}", other.type_str()),
            };
            self.report(Fault {
                message: format!("\"{}\" must be {wanted}, but is {found}", self.name),
                hint: None,
            });
        }
        got
    }
}

/// All of `items`, or `None` if one is missing. Goes through them to the end, so that each can
/// report its problems.
pub(crate) fn collect_all<T, C: FromIterator<T>>(
    items: impl Iterator<Item = Option<T>>,
) -> Option<C> {
    let all: Vec<Option<T>> = items.collect();
    all.into_iter().collect()
}

/// Keys that people look for elsewhere, and where they stand.
const ELSEWHERE: [(&str, &str); 12] = [
    ("lifetime", "session"),
    ("jitter", "session"),
    ("connection_types", "session"),
    ("sources", "session"),
    ("subscriptions", "limits"),
    ("payload", "limits"),
    ("device_type", "match"),
    ("attr", "match"),
    ("allow", "publish or subscribe"),
    ("deny", "publish or subscribe"),
    ("max", "responses"),
    ("ttl", "responses"),
];

fn hint_for_key(name: &str, known: &[&str]) -> String {
    match ELSEWHERE.iter().find(|(key, _)| *key == name) {
        Some((key, place)) => format!("\"{key}\" belongs under {place}"),
        None => suggest(name, known),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems_of(text: &str, read: impl FnOnce(Fields<'_>)) -> String {
        let problems = Problems::default();
        let document = Document::new("f.toml", text, &problems);
        if let Some(table) = document.parse(text) {
            read(document.root(&table, &["name", "count", "list", "inner"]));
        }
        problems
            .into_result(())
            .map_or_else(|e| e.to_string(), |()| String::new())
    }

    #[test]
    fn every_problem_names_its_line() {
        let text =
            "nmae = 1\ncount = 0\nlist = [\n  \"a\",\n  2,\n  3,\n]\n[inner]\nlifetime = 1\n";
        let report = problems_of(text, |fields| {
            fields.get("count").unwrap().count(9);
            fields.get("list").unwrap().strings();
            fields.get("inner").unwrap().table("inner", &["x"]);
            fields.require("name", "give one");
        });
        assert_eq!(
            report,
            "f.toml:1: unknown key \"nmae\" in this file\n  did you mean \"name\"?\n\
             f.toml:1: \"name\" is missing\n  give one\n\
             f.toml:2: \"count\" must be a whole number from 1 to 9, but is 0\n\
             f.toml:5: \"list\" must be a string, but is 2\n\
             f.toml:6: \"list\" must be a string, but is 3\n\
             f.toml:9: unknown key \"lifetime\" in inner\n  \"lifetime\" belongs under session"
        );
    }

    #[test]
    fn a_count_is_a_whole_number_in_any_notation_of_toml() {
        for (text, count) in [("1_000", 1000), ("0x10", 16), ("+7", 7)] {
            let report = problems_of(&format!("count = {text}"), |fields| {
                assert_eq!(fields.get("count").unwrap().count(1000), Some(count));
            });
            assert_eq!(report, "", "{text}");
        }
        for text in ["0", "-1", "1001", "1.0", "\"1\"", "9223372036854775808"] {
            let report = problems_of(&format!("count = {text}"), |fields| {
                fields.get("count").unwrap().count(1000);
            });
            assert!(report.contains("whole number from 1 to 1000"), "{text}");
        }
    }

    #[test]
    fn syntax_errors_name_their_line() {
        let report = problems_of("name = \"x\"\ncount =\nlist = [\n", |_| ());
        assert!(report.contains("f.toml:2: not TOML"), "{report}");
        let twice = problems_of("name = 1\nname = 2\n", |_| ());
        assert!(
            twice.starts_with("f.toml:2: not TOML: duplicate key"),
            "{twice}"
        );
    }
}
