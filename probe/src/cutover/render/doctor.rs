//! What the doctor found.

use serde_json::{Value, json};

use super::super::doctor::{Finding, Level, exit};
use super::{Case, Show};
use crate::gate::Verdict;

/// All findings, in the order in which they were made.
pub(crate) struct Diagnosis<'a> {
    pub(crate) head: String,
    pub(crate) findings: &'a [Finding],
}

impl Level {
    const fn word(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Warning => "warning",
            Self::Problem(_) => "problem",
        }
    }
}

impl Diagnosis<'_> {
    fn count(&self, level: &str) -> usize {
        self.findings.iter().filter(|finding| finding.level.word() == level).count()
    }

    fn sum(&self) -> String {
        let words = |level: &str, s: &str| match self.count(level) {
            0 => None,
            1 => Some(format!("1 {level}")),
            many => Some(format!("{many} {level}{s}")),
        };
        [words("problem", "s"), words("warning", "s"), words("ok", "")].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    fn cases_with(&self, warning: Verdict) -> (String, Vec<Case>) {
        let case = |finding: &Finding| Case {
            name: finding.about.to_owned(),
            grade: match finding.level {
                Level::Fine => Verdict::Open,
                Level::Warning => warning,
                Level::Problem(_) => Verdict::Closed,
            },
            text: std::iter::once(finding.text.clone())
                .chain(finding.next.iter().map(|next| format!("next: {next}")))
                .collect::<Vec<_>>()
                .join("; "),
        };
        ("doctor".to_owned(), self.findings.iter().map(case).collect())
    }
}

impl Show for Diagnosis<'_> {
    fn body(&self) -> Value {
        let finding = |finding: &Finding| {
            let exit = match finding.level {
                Level::Problem(exit) => exit.code,
                Level::Fine | Level::Warning => 0,
            };
            let (about, level) = (finding.about, finding.level.word());
            json!({"about": about, "level": level, "exit": exit, "message": finding.text, "next": finding.next})
        };
        json!({
            "exit": exit(self.findings).code,
            "problems": self.count("problem"),
            "warnings": self.count("warning"),
            "findings": self.findings.iter().map(finding).collect::<Vec<_>>(),
        })
    }

    fn lines(&self, _: bool) -> Vec<String> {
        let mut lines = vec![self.head.clone(), String::new()];
        let wide = self.findings.iter().map(|finding| finding.about.len()).max().unwrap_or_default();
        for Finding { about, level, text, next } in self.findings {
            lines.push(format!("{:<7}  {about:<wide$}  {text}", level.word().to_uppercase()));
            lines.extend(next.iter().map(|next| format!("{:7}  {:wide$}  next: {next}", "", "")));
        }
        lines.push(String::new());
        lines.push(self.sum());
        lines
    }

    fn names(&self) -> Vec<String> {
        self.findings.iter().filter(|finding| finding.level != Level::Fine).map(|finding| finding.about.to_owned()).collect()
    }

    fn cases(&self) -> (String, Vec<Case>) {
        self.cases_with(Verdict::Pending)
    }

    fn tests(&self) -> (String, Vec<Case>) {
        // Test reports know no warning, and what stops nothing has not failed.
        self.cases_with(Verdict::Open)
    }
}
