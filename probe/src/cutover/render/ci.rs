//! Formats that pipelines read: GitHub Actions and `JUnit`.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::Case;
use super::text::joined;
use crate::gate::Verdict;

/// One annotation per part that did not pass; one notice, with `sum` if there is one, when all did.
pub(crate) fn annotations(title: &str, cases: &[Case], sum: Option<String>) -> String {
    let shut = cases.iter().filter(|case| case.grade != Verdict::Open);
    let mut lines: Vec<_> = shut
        .map(|case| {
            let level = if case.grade == Verdict::Pending { "warning" } else { "error" };
            let head = format!("{title}: {} {}", case.name, case.grade.as_str());
            format!("::{level} title={}::{}", property(&head), data(&case.text))
        })
        .collect();
    if lines.is_empty() {
        let said = sum.unwrap_or_else(|| match cases {
            [only] => only.text.clone(),
            _ => format!("{} of {} open", cases.len(), cases.len()),
        });
        lines.push(format!("::notice title={}::{}", property(title), data(&said)));
    }
    joined(&lines)
}

/// A table for the step summary.
pub(crate) fn summary(title: &str, cases: &[Case]) -> String {
    if cases.is_empty() {
        return format!("### {}\n\nnone\n\n", markdown(title));
    }
    let head = format!("### {}\n\n| what | verdict | |\n|---|---|---|\n", markdown(title));
    let rows =
        cases.iter().map(|case| format!("| {} | {} | {} |\n", markdown(&case.name), case.grade.as_str(), markdown(&case.text)));
    head + &rows.collect::<String>() + "\n"
}

/// `name=value` lines for later steps.
pub(crate) fn outputs(outputs: &[(&'static str, String)]) -> String {
    let lines: Vec<_> = outputs.iter().map(|(name, value)| format!("{name}={}", value.replace(['\r', '\n'], " "))).collect();
    joined(&lines)
}

/// One suite with one test case per part.
pub(crate) fn junit(title: &str, cases: &[Case]) -> String {
    let mut suite = TestSuite::new(title);
    for case in cases {
        let mut status = match case.grade {
            Verdict::Open => TestCaseStatus::success(),
            Verdict::Closed | Verdict::Pending => TestCaseStatus::non_success(NonSuccessKind::Failure),
            Verdict::Unknown => TestCaseStatus::non_success(NonSuccessKind::Error),
        };
        if case.grade != Verdict::Open {
            status.set_message(case.text.as_str()).set_type(case.grade.as_str());
        }
        let mut test = TestCase::new(case.name.as_str(), status);
        test.set_classname(title);
        suite.add_test_case(test);
    }
    let mut report = Report::new("cutover");
    report.add_test_suite(suite);
    report.to_string().map(|text| text.trim_end().to_owned() + "\n").unwrap_or_default()
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

fn markdown(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('|', "\\|").replace(['\r', '\n'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(grade: Verdict) -> Case {
        Case { name: "a,b".to_owned(), grade, text: "50% | <b>".to_owned() }
    }

    #[test]
    fn hostile_text_stays_inside_its_field() {
        assert_eq!(annotations("gate", &[case(Verdict::Closed)], None), "::error title=gate%3A a%2Cb closed::50%25 | <b>\n");
        assert!(summary("gate", &[case(Verdict::Open)]).contains("| a,b | open | 50% \\| &lt;b> |"));
        assert!(junit("gate", &[case(Verdict::Closed)]).contains("message=\"50% | &lt;b&gt;\""));
    }

    #[test]
    fn only_open_passes() {
        for (grade, failures, errors) in
            [(Verdict::Open, 0, 0), (Verdict::Closed, 1, 0), (Verdict::Pending, 1, 0), (Verdict::Unknown, 0, 1)]
        {
            let xml = junit("gate", &[case(grade)]);
            assert!(xml.contains(&format!("failures=\"{failures}\" errors=\"{errors}\"")), "{xml}");
        }
    }
}
