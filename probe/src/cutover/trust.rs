//! Whether an answer may be believed. The verifier decides; this side only ever takes an `open` away, never gives one.

use super::trouble::Trouble;
use crate::api::types::{GateBody, GateKind, PastBody, PhaseBody, ProbeBody, ReportBody, StatusBody};
use crate::exit::Exit;
use crate::gate::{MAX_EPOCH_GAP, Verdict};
use crate::state::{PhaseState, ProbeState};

/// The verdict of an answer about this phase, if the answer is fresh and does not contradict itself.
pub(crate) fn verdict(body: &GateBody, phase: &str, kind: GateKind) -> Result<Verdict, Trouble> {
    if body.gate != phase || body.kind != kind {
        return Err(contradiction(&format!("asked about {phase}, it answered about {}", body.gate)));
    }
    fresh(body.age_seconds)?;
    let open = body.verdict == Verdict::Open;
    if body.open != open {
        return Err(contradiction(&format!("verdict {} with open: {}", body.verdict.as_str(), body.open)));
    }
    if open {
        if !body.blockers.is_empty() || body.blocked_by != 0 {
            return Err(contradiction("an open verdict with blockers"));
        }
        if kind == GateKind::Gate {
            evidence(body)?;
        }
    }
    Ok(body.verdict)
}

/// An open gate shows its evidence: nothing required that is not green, and at least one thing that is.
fn evidence(body: &GateBody) -> Result<(), Trouble> {
    if body.phase_state == PhaseState::Waiting {
        return Err(contradiction("an open gate of a phase that is not begun"));
    }
    let own = body.probes.iter().filter(|probe| counts(probe));
    if !own.clone().any(|probe| probe.state == ProbeState::Green) {
        return Err(contradiction("an open gate without a green probe"));
    }
    let dark = own
        .chain(body.ratchet.iter().filter(|probe| counts(probe)))
        .find(|probe| !probe.proof && probe.state != ProbeState::Green);
    match dark {
        Some(probe) => Err(contradiction(&format!("an open gate whose probe {} is {}", probe.name, probe.state.as_str()))),
        None => Ok(()),
    }
}

/// Whether every required probe, proofs included, is green.
pub(crate) fn all_green(body: &GateBody) -> bool {
    body.probes.iter().chain(&body.ratchet).filter(|probe| counts(probe)).all(|probe| probe.state == ProbeState::Green)
}

fn counts(probe: &ProbeBody) -> bool {
    probe.gate && !probe.retired && !probe.overridden
}

/// Takes every `open` out of a status that may not be believed, and says why.
pub(crate) fn status(body: &mut StatusBody) -> Result<(), Trouble> {
    let stale = fresh(body.age_seconds);
    body.phases.iter_mut().for_each(|phase| doubt(phase, stale.is_err()));
    if stale.is_err() {
        for probe in &mut body.probes {
            probe.state = ProbeState::Unknown;
        }
    }
    stale
}

/// The same of a report; what was seen when a phase was completed stays what it was.
pub(crate) fn report(body: &mut ReportBody) -> Result<(), Trouble> {
    let stale = fresh(body.age_seconds);
    for phase in &mut body.phases {
        doubt(&mut phase.phase, stale.is_err());
        if stale.is_err() {
            phase.criteria.iter_mut().for_each(|criterion| criterion.probe.state = ProbeState::Unknown);
        }
    }
    stale
}

fn doubt(phase: &mut PhaseBody, stale: bool) {
    if stale || (phase.verdict == Verdict::Open && phase.blocked_by != 0) {
        phase.verdict = Verdict::Unknown;
        "this evaluation may not be believed".clone_into(&mut phase.reason);
    }
    if stale {
        let total = phase.probes.values().sum();
        phase.probes = [(ProbeState::Unknown.as_str().to_owned(), total)].into();
    }
}

/// Whether what is told of the past is about this phase and does not contradict itself.
pub(crate) fn past(body: &PastBody, phase: &str) -> Result<(), Trouble> {
    if body.gate != phase {
        return Err(contradiction(&format!("asked about {phase}, it answered about {}", body.gate)));
    }
    if body.verdict == Verdict::Open && !body.blockers.is_empty() {
        return Err(contradiction("an open verdict with blockers"));
    }
    if body.gap.is_some() && body.verdict != Verdict::Unknown {
        return Err(contradiction("a verdict of a time that nobody knows anything of"));
    }
    Ok(())
}

/// Whether an evaluation is young enough to be an answer.
pub(crate) fn fresh(age_seconds: Option<f64>) -> Result<(), Trouble> {
    let limit = MAX_EPOCH_GAP.as_secs_f64();
    match age_seconds {
        Some(age) if (0.0..=limit).contains(&age) => Ok(()),
        Some(age) => Err(Trouble::new(
            Exit::UNKNOWN,
            format!("the verifier's last evaluation is {age:.1}s old, more than {limit:.0}s: its verdicts do not count"),
        )
        .hint("the evaluator stands still: look at the verifier's log; it ends by itself when a task of its own has ended")),
        None => Err(Trouble::new(Exit::UNKNOWN, "the verifier has not evaluated anything yet")
            .hint("wait for its first evaluation: `cutover gate wait PHASE`")),
    }
}

fn contradiction(what: &str) -> Trouble {
    Trouble { code: "inconsistent".into(), ..Trouble::new(Exit::UNKNOWN, format!("the answer contradicts itself: {what}")) }
        .hint("is this the verifier's address (--server)? compare `cutover version` with the verifier's version")
}
