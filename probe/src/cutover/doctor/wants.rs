//! What has to be given to the verifier before a probe can look: a secret, a valid token, a permission, each with the call that wants it.

use std::collections::BTreeMap;

use super::probes::named;
use super::{Finding, few};
use crate::api::types::ProbeBody;
use crate::exit::Exit;
use crate::state::ProbeState;

/// Reasons for which something has to be given. What, stands in the evidence.
const REASONS: [&str; 3] = ["permission_missing", "secret_missing", "token_refused"];
/// Most findings: more of them have most often one cause.
const MOST: usize = 20;

/// What is wanted. What several probes or parts say alike is one finding; what stops a run comes first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Want<'a> {
    passing: bool,
    reason: &'a str,
    evidence: &'a str,
    next: Option<&'a str>,
}

/// Whether all there is to say of an unknown probe is what has to be given.
pub(super) fn tell_all(probe: &ProbeBody) -> bool {
    probe.state == ProbeState::Unknown && probe.reason.as_deref().is_some_and(is_want)
}

/// What all of them want. `at_stake`: whether a run would be stopped.
pub(super) fn of(probes: &[&ProbeBody], at_stake: impl Fn(&ProbeBody) -> bool) -> Vec<Finding> {
    let mut wants: BTreeMap<Want<'_>, Vec<String>> = BTreeMap::new();
    for probe in probes {
        let passing = !at_stake(probe);
        let mut add = |reason, evidence, name: String| {
            // The next step is that of the probe's own reason.
            let next = probe.next.as_deref().filter(|_| probe.reason.as_deref() == Some(reason));
            wants.entry(Want { passing, reason, evidence, next }).or_default().push(name);
        };
        let parts =
            || probe.parts.iter().filter_map(|part| Some((part, part.reason.as_deref().filter(|reason| is_want(reason))?)));
        for (part, reason) in parts() {
            add(reason, &part.evidence, format!("{} ({})", named(probe), part.part));
        }
        if let Some(reason) = probe.reason.as_deref().filter(|_| tell_all(probe) && parts().next().is_none()) {
            add(reason, &probe.evidence, named(probe));
        }
    }
    let more = wants.len().saturating_sub(MOST);
    let mut findings: Vec<Finding> = wants.iter().take(MOST).map(|(want, names)| finding(want, names)).collect();
    if more > 0 {
        let text = format!("{more} more of this kind are wanted");
        findings.push(Finding::warning("probes", text, "cutover doctor   (again, once those above are given)"));
    }
    findings
}

fn is_want(reason: &str) -> bool {
    REASONS.contains(&reason)
}

fn finding(want: &Want<'_>, names: &[String]) -> Finding {
    let (lack, have) = if names.len() == 1 { ("lacks", "has") } else { ("lack", "have") };
    let what = match want.reason {
        "permission_missing" => format!("{lack} a permission"),
        "secret_missing" => format!("{lack} a secret"),
        _ => format!("{have} a token that is not accepted"),
    };
    let evidence = if want.evidence.is_empty() { String::new() } else { format!(": {}", want.evidence) };
    let text = format!("{} {what} ({}){evidence}", few(names), want.reason);
    let next = want.next.unwrap_or("give what the evidence names, and say `cutover doctor` again");
    if want.passing { Finding::warning("probes", text, next) } else { Finding::problem("probes", Exit::UNKNOWN, text, next) }
}
