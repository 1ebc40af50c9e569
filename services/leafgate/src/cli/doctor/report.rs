use serde::Serialize;

use crate::cli::console::{Colour, Style, plain};

/// What was found, in the order of the checks.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    checks: Vec<Finding>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    result: Level,
    check: &'static str,
    target: String,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warn,
    Fail,
}

impl Level {
    fn look(self) -> (&'static str, Colour) {
        match self {
            Self::Ok => ("ok", Colour::Good),
            Self::Warn => ("warn", Colour::Careful),
            Self::Fail => ("fail", Colour::Bad),
        }
    }
}

impl Report {
    pub(super) fn ok(&mut self, check: &'static str, target: &str, detail: impl Into<String>) {
        self.add(Level::Ok, check, target, detail.into(), None);
    }

    pub(super) fn warn(
        &mut self,
        check: &'static str,
        target: &str,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let remedy = Some(remedy.into());
        self.add(Level::Warn, check, target, detail.into(), remedy);
    }

    pub(super) fn fail(
        &mut self,
        check: &'static str,
        target: &str,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let remedy = Some(remedy.into());
        self.add(Level::Fail, check, target, detail.into(), remedy);
    }

    fn add(
        &mut self,
        result: Level,
        check: &'static str,
        target: &str,
        detail: String,
        remedy: Option<String>,
    ) {
        self.checks.push(Finding {
            result,
            check,
            target: target.to_owned(),
            detail,
            remedy,
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.checks.is_empty()
    }

    pub(super) fn has_failures(&self) -> bool {
        self.checks.iter().any(|it| it.result == Level::Fail)
    }

    /// A line for each finding; what to do stands in the same line, for those who search logs by lines.
    pub(super) fn describe(&self, style: Style) -> String {
        let lines = self.checks.iter().map(|finding| {
            let (word, colour) = finding.result.look();
            let word = style.paint(colour, &format!("{word:<4}"));
            let Finding {
                check,
                target,
                detail,
                remedy,
                ..
            } = finding;
            let remedy = remedy.as_ref().map(|it| format!("; {it}"));
            let said = format!("{target}: {detail}{}", remedy.unwrap_or_default());
            format!("{word} {check:<13} {}", plain(&said))
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line_with_its_remedy() {
        let mut report = Report::default();
        report.ok("registry", "https://r", "answers");
        assert!(!report.has_failures());
        report.warn("clock", "https://r", "6 s apart\n", "set it");
        assert!(!report.has_failures());
        report.fail("nats-server", "tls://n", "gone", "start it");
        assert!(report.has_failures());
        assert_eq!(
            report.describe(Style::PLAIN),
            "ok   registry      https://r: answers\n\
             warn clock         https://r: 6 s apart\\n; set it\n\
             fail nats-server   tls://n: gone; start it"
        );
    }
}
