//! Marks in Grafana: do they go through, and if not, which permission is missing for which call?

use super::Finding;
use crate::api::types::{AnnotationsBody, StatusBody};

/// Looks at each Grafana that is annotated. Nothing of it stops a run.
pub(super) fn look(status: &StatusBody, findings: &mut Vec<Finding>) {
    // Of a verifier that does not get to evaluate, nothing else is believed either.
    if crate::cutover::trust::fresh(status.age_seconds).is_ok() {
        findings.extend(status.annotations.iter().map(finding));
    }
}

fn finding(one: &AnnotationsBody) -> Finding {
    let AnnotationsBody { target, marked, waiting, proven, problem } = one;
    let wait = match waiting {
        0 => String::new(),
        1 => "; 1 event waits".to_owned(),
        more => format!("; {more} events wait"),
    };
    match (problem, proven) {
        (Some(problem), _) => {
            let text = format!("{target} is not annotated ({}): {}{wait}", problem.reason, problem.evidence);
            Finding::warning("annotations", text, problem.next.as_str())
        }
        (None, Some(_)) => Finding::fine("annotations", format!("{target} takes them: {marked} in the last days{wait}")),
        (None, None) => {
            let text = format!("{target} was not tried yet{wait}");
            Finding::warning("annotations", text, "cutover doctor   (again, in some seconds)")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;
    use crate::api::types::AnnotationsProblemBody;
    use crate::cutover::tests::fixtures::{at, status};

    fn found(one: AnnotationsBody, age: f64) -> Vec<Finding> {
        let mut findings = Vec::new();
        look(&StatusBody { annotations: vec![one], age_seconds: Some(age), ..status(vec![]) }, &mut findings);
        findings
    }

    #[test]
    fn what_is_missing_is_named_with_its_call_and_the_way_out() {
        let good =
            || AnnotationsBody { target: "k3s-grafana".to_owned(), marked: 4, waiting: 0, proven: Some(at(0)), problem: None };
        assert_eq!(found(good(), 0.4), [Finding::fine("annotations", "k3s-grafana takes them: 4 in the last days")]);
        let problem = Some(AnnotationsProblemBody {
            reason: "permission_missing".to_owned(),
            evidence: "POST /api/annotations needs annotations:create: 403 Forbidden".to_owned(),
            next: "give the service account of the annotations' token the role Editor".to_owned(),
            since: at(-9),
        });
        let text = "k3s-grafana is not annotated (permission_missing): POST /api/annotations needs annotations:create: 403 Forbidden; \
                    2 events wait";
        let next = "give the service account of the annotations' token the role Editor";
        assert_eq!(found(AnnotationsBody { problem, waiting: 2, ..good() }, 0.4), [Finding::warning("annotations", text, next)]);
        let untried = found(AnnotationsBody { proven: None, ..good() }, 0.4);
        assert_eq!(untried[0].level, Level::Warning, "what is not known is not fine");
        assert_eq!(found(good(), 42.0), [], "an old answer says nothing");
    }
}
