//! The verifier: does it answer, how fast, how old is what it says, and what do the two clocks say?

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use super::Finding;
use crate::api::types::{GateBody, GateKind, StatusBody};
use crate::cutover::render::server_now;
use crate::cutover::trouble::Trouble;
use crate::cutover::{Context, plan, trust};
use crate::exit::Exit;
use crate::gate::Verdict;
use crate::now::span;
use crate::state::{PhaseState, StepState};

/// A slower answer is worth a word.
const SLOW: Duration = Duration::from_secs(1);
/// How far two clocks may be apart, beside what the way between them leaves open.
const APART: TimeDelta = TimeDelta::seconds(2);

/// Asks it once. None: there is no answer that could be read.
pub(super) async fn look(cx: &Context<'_, '_>, findings: &mut Vec<Finding>) -> Option<StatusBody> {
    let (wall, started) = ((cx.now)(), Instant::now());
    let answer: Result<StatusBody, Trouble> = cx.client.get(&["status"]).await;
    let took = started.elapsed();
    let mut status = match answer {
        Ok(status) => status,
        Err(trouble) => {
            let mut finding = Finding::trouble("verifier", &trouble);
            finding.text.push_str("; its document, token, lock, clock and probes were not looked at");
            if cx.client.cluster().is_none() {
                let next = finding.next.unwrap_or_default();
                finding.next = Some(format!("{next}; one in a cluster is found by a kubeconfig: leave --server out"));
            }
            findings.push(finding);
            return None;
        }
    };
    findings.push(answered(cx, &status, took));
    if let Err(trouble) = trust::status(&mut status) {
        findings.push(Finding::trouble("verifier", &trouble));
    }
    if let Some(error) = &status.ledger_error {
        let text = format!("its ledger can not be written: {error}");
        findings.push(Finding::problem(
            "verifier",
            Exit::UNKNOWN,
            text,
            "make room on its disk: until then every gate is unknown",
        ));
    }
    if let Some(error) = &status.config_error {
        let text = format!("the newest document was not taken: {error}");
        findings.push(Finding::problem(
            "verifier",
            Exit::USAGE,
            text,
            "mend it (`probe config check FILE`), and reload the verifier",
        ));
    }
    findings.push(version(&status));
    findings.push(clocks(&status, wall, took));
    Some(status)
}

fn answered(cx: &Context<'_, '_>, status: &StatusBody, took: Duration) -> Finding {
    let age = status.age_seconds.map_or_else(|| "nothing is evaluated yet".to_owned(), |age| format!("evaluated {age:.1}s ago"));
    let text = format!("{} answered within {}; {age}", cx.client.server(), words(took));
    if took > SLOW {
        return Finding::warning(
            "verifier",
            text,
            "look at its load and at the way to it; --request-timeout ends what takes longer",
        );
    }
    Finding::fine("verifier", text)
}

fn version(status: &StatusBody) -> Finding {
    let own = env!("CARGO_PKG_VERSION");
    let theirs = &status.version;
    if theirs == own {
        return Finding::fine("version", format!("cutover and the verifier are both {own}"));
    }
    Finding::warning(
        "version",
        format!("cutover is {own}, the verifier {theirs}"),
        "install the same version on both sides; `cutover version`",
    )
}

/// Half of the time that the question took is what can not be known of the difference.
fn clocks(status: &StatusBody, wall: DateTime<Utc>, took: Duration) -> Finding {
    let half = TimeDelta::from_std(took / 2).unwrap_or(TimeDelta::MAX);
    let there = server_now(status.evaluated_at, status.age_seconds);
    let (Some(there), Some(here)) = (there, wall.checked_add_signed(half)) else {
        return Finding::warning(
            "clock",
            "the verifier does not tell its time",
            "wait for its first evaluation: `cutover status`",
        );
    };
    let apart = here - there;
    let sure = apart.abs() - half;
    let size = words(apart.abs().to_std().unwrap_or_default());
    let bound = words((took / 2).max(Duration::from_millis(1)));
    if sure <= APART {
        return Finding::fine("clock", format!("this machine and the verifier are {size} apart, give or take {bound}"));
    }
    let way = if apart > TimeDelta::zero() { "ahead of" } else { "behind" };
    Finding::warning(
        "clock",
        format!("this machine is {size} {way} the verifier, give or take {bound}: times in journal and audit trail do not fit"),
        "timedatectl set-ntp true   (on whichever of the two is wrong)",
    )
}

fn words(time: Duration) -> String {
    if time < Duration::from_secs(1) { format!("{} ms", time.as_millis()) } else { span(time) }
}

/// Whether the next step may run, or the next phase begin.
pub(super) async fn entry(cx: &Context<'_, '_>, status: &StatusBody, findings: &mut Vec<Finding>) {
    let Ok(phase) = plan::at_hand(status) else {
        return findings.push(Finding::fine("guard", "every phase is complete: there is nothing left to run"));
    };
    let Some(body) = status.phases.iter().find(|body| body.name == phase) else { return };
    let open = body.steps.iter().any(|step| step.state != Some(StepState::Done));
    if body.state == PhaseState::Active && !open {
        return findings.push(Finding::fine(
            "guard",
            format!("phase {phase} has nothing left to run; its gate is {}", body.verdict.as_str()),
        ));
    }
    let answer: Result<GateBody, Trouble> = cx.client.get(&["gates", &phase, "entry"]).await;
    let what = if body.state == PhaseState::Active { "the next step of phase" } else { "phase" };
    let verdict = answer.and_then(|guard| Ok((trust::verdict(&guard, &phase, GateKind::Entry)?, guard.reason)));
    findings.push(match verdict {
        Ok((Verdict::Open, _)) => Finding::fine("guard", format!("{what} {phase} may begin")),
        Ok((Verdict::Closed | Verdict::Pending | Verdict::Unknown, reason)) => Finding::warning(
            "guard",
            format!("{what} {phase} may not begin yet: {reason}"),
            format!("cutover gate explain {phase} --entry"),
        ),
        Err(trouble) => Finding::trouble("guard", &trouble),
    });
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;
    use crate::cutover::tests::fixtures::{at, status};

    #[test]
    fn what_the_way_leaves_open_is_no_difference() {
        // The verifier's clock stands at 0.4 s past noon.
        for (here, took, level, words) in [
            (0, 0, Level::Fine, "400 ms apart"),
            (2, 200, Level::Fine, "1s"),
            (3, 0, Level::Warning, "2s ahead of the verifier"),
            (-3, 0, Level::Warning, "3s behind the verifier"),
            (-3, 4000, Level::Fine, "give or take 2s"),
            (2, 2000, Level::Fine, "2s apart, give or take 1s"),
            (-3600, 9000, Level::Warning, "59m 55s behind"),
        ] {
            let finding = clocks(&status(vec![]), at(here), Duration::from_millis(took));
            assert_eq!(finding.level, level, "{here} {took}: {}", finding.text);
            assert!(finding.text.contains(words), "{here} {took}: {}", finding.text);
        }
        let mut unevaluated = status(vec![]);
        unevaluated.evaluated_at = None;
        assert_eq!(clocks(&unevaluated, at(0), Duration::ZERO).level, Level::Warning, "not known is not fine");
    }
}
