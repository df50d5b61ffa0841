//! What was found, as lines for people and as a document for programs.

use core::fmt::Write as _;

use serde_json::{Value, json};

/// How a check ended.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Verdict {
    /// As it should be.
    Passed,
    /// Mining works, with less than there could be.
    Warning,
    /// Mining does not work, or not all of it.
    Failed,
    /// It could not be looked at, or there is nothing to look at.
    NotChecked,
}

impl Verdict {
    const ALL: [Self; 4] = [Self::Passed, Self::Warning, Self::Failed, Self::NotChecked];

    /// Its name in the document.
    const fn key(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::NotChecked => "not_checked",
        }
    }

    /// Its name for people.
    const fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Warning => "WARNING",
            Self::Failed => "FAILED",
            Self::NotChecked => "not checked",
        }
    }
}

/// One check and what came of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Line {
    /// What was looked at: a word or two, the same whatever came of it.
    pub check: &'static str,
    /// How it ended.
    pub verdict: Verdict,
    /// What was seen, or why nothing was.
    pub seen: String,
    /// What to do about it; none where nothing is wrong.
    pub fix: Option<String>,
}

impl Line {
    pub(super) fn passed(check: &'static str, seen: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Passed, seen: seen.into(), fix: None }
    }

    pub(super) fn warning(
        check: &'static str,
        seen: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { check, verdict: Verdict::Warning, seen: seen.into(), fix: Some(fix.into()) }
    }

    pub(super) fn failed(
        check: &'static str,
        seen: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { check, verdict: Verdict::Failed, seen: seen.into(), fix: Some(fix.into()) }
    }

    /// `because` goes on the sentence "not checked, because".
    pub(super) fn not_checked(check: &'static str, because: impl Into<String>) -> Self {
        let seen = format!("because {}", because.into());
        Self { check, verdict: Verdict::NotChecked, seen, fix: None }
    }

    /// Why what depends on this is not looked at; `None` when it can be.
    pub(super) fn stands_in_the_way(&self) -> Option<String> {
        (self.verdict == Verdict::Failed).then(|| format!("the check \"{}\" failed", self.check))
    }
}

/// The checks of one thing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Section {
    /// What they are about, such as `node 1 (127.0.0.1:8332)`.
    pub subject: String,
    /// The checks in the order in which they were made.
    pub lines: Vec<Line>,
}

/// All that was found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Report {
    /// Nodes, sidechain daemons, this machine.
    pub sections: Vec<Section>,
}

impl Report {
    fn lines(&self) -> impl Iterator<Item = &Line> {
        self.sections.iter().flat_map(|section| &section.lines)
    }

    /// How many checks ended so.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.lines().filter(|line| line.verdict == verdict).count()
    }

    /// Whether nothing failed; a warning is no failure.
    pub fn is_well(&self) -> bool {
        self.count(Verdict::Failed) == 0
    }

    /// For people: a paragraph for each subject, a line for each check, and its fix below.
    pub fn text(&self) -> String {
        let verdicts = Verdict::ALL.map(|verdict| verdict.word().len());
        let verdict_width = verdicts.into_iter().max().unwrap_or(0);
        let width = self.lines().map(|line| line.check.len()).max().unwrap_or(0);
        let mut text = String::new();
        for section in &self.sections {
            writeln!(text, "{}", section.subject).unwrap_or_default();
            for Line { check, verdict, seen, fix } in &section.lines {
                let word = verdict.word();
                writeln!(text, "  {word:verdict_width$}  {check:width$}  {seen}")
                    .unwrap_or_default();
                if let Some(fix) = fix {
                    let indent = verdict_width + width + 6;
                    writeln!(text, "{:indent$}-> {fix}", "").unwrap_or_default();
                }
            }
        }
        let [passed, warnings, failed, not_checked] =
            Verdict::ALL.map(|verdict| self.count(verdict));
        writeln!(
            text,
            "{passed} passed, {warnings} warning(s), {failed} failed, {not_checked} not checked"
        )
        .unwrap_or_default();
        text
    }

    /// For programs, one line: `{"well", "passed", "warning", "failed", "not_checked", "checks"}`.
    /// `well` is false when something failed, the next four are counts, and each of `checks` is
    /// `{"subject", "check", "verdict", "seen", "fix"}` with one of these four words as verdict and
    /// null for a fix where nothing is to be done.
    pub fn json(&self) -> String {
        let checks: Vec<Value> = self
            .sections
            .iter()
            .flat_map(|section| section.lines.iter().map(|line| (&section.subject, line)))
            .map(|(subject, Line { check, verdict, seen, fix })| {
                json!({
                    "subject": subject,
                    "check": check,
                    "verdict": verdict.key(),
                    "seen": seen,
                    "fix": fix,
                })
            })
            .collect();
        let mut document = json!({ "well": self.is_well(), "checks": checks });
        for verdict in Verdict::ALL {
            document[verdict.key()] = self.count(verdict).into();
        }
        format!("{document}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(lines: Vec<Line>) -> Report {
        Report { sections: vec![Section { subject: "node 1".to_owned(), lines }] }
    }

    #[test]
    fn people_see_the_fix_below_what_was_seen() {
        let lines = vec![
            Line::passed("reachable", "answers in 2 ms"),
            Line::failed("login", "HTTP 401", "correct RPC_PASSWORD"),
            Line::not_checked("chain", "the check \"login\" failed"),
        ];
        let expected = "\
node 1
  passed       reachable  answers in 2 ms
  FAILED       login      HTTP 401
                          -> correct RPC_PASSWORD
  not checked  chain      because the check \"login\" failed
1 passed, 0 warning(s), 1 failed, 1 not checked
";
        assert_eq!(report(lines).text(), expected);
    }

    #[test]
    fn programs_are_told_the_same() {
        let lines = vec![Line::warning("zmq", "silent", "speak"), Line::passed("disk", "fine")];
        let document: Value = serde_json::from_str(&report(lines).json()).expect("JSON");
        let expected = json!({
            "well": true,
            "passed": 1,
            "warning": 1,
            "failed": 0,
            "not_checked": 0,
            "checks": [
                { "subject": "node 1", "check": "zmq", "verdict": "warning", "seen": "silent",
                  "fix": "speak" },
                { "subject": "node 1", "check": "disk", "verdict": "passed", "seen": "fine",
                  "fix": null },
            ],
        });
        assert_eq!(document, expected);
    }

    #[test]
    fn only_a_failure_is_one() {
        let warned = report(vec![Line::warning("a", "b", "c"), Line::not_checked("d", "e")]);
        assert!(warned.is_well());
        assert!(!report(vec![Line::failed("a", "b", "c")]).is_well());
    }
}
