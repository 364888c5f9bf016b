//! PURE. What a probe looks like: its colour now, with the reason and the evidence.

use std::time::Duration;

use checks::{Evidence, Outcome, Reason, ReasonSpec, engine_reasons as why};
use serde::{Deserialize, Serialize};

use super::{FLAP_LIMIT, FLAP_WINDOW, ProbeRecord, ProbeState, State, Trust};
use crate::now::Now;
use crate::plan::{NaturePlan, ProbePlan};

/// A colour with what a person needs to understand it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sight {
    /// The colour.
    pub state: ProbeState,
    /// Why it is not green.
    pub reason: Option<Reason>,
    /// What was seen.
    pub evidence: Evidence,
}

impl Sight {
    fn green(evidence: Evidence) -> Self {
        Self { state: ProbeState::Green, reason: None, evidence }
    }

    fn because(state: ProbeState, reason: ReasonSpec, evidence: impl Into<Evidence>) -> Self {
        Self { state, reason: Some(reason.into()), evidence: evidence.into() }
    }

    fn of(state: ProbeState, outcome: &Outcome) -> Self {
        Self { state, reason: outcome.reason().cloned(), evidence: outcome.evidence().clone() }
    }
}

impl State {
    /// What the probe looks like at this moment.
    pub fn sight(&self, probe: &ProbePlan, now: Now) -> Sight {
        let sight = match probe.nature {
            NaturePlan::Continuous => self.continuous_sight(probe, now),
            NaturePlan::Proof { valid_for, .. } => self.proof_sight(probe, valid_for, now),
        };
        if matches!(sight.state, ProbeState::Red | ProbeState::Suspect) && self.awaits(probe) {
            return Sight { state: ProbeState::Waiting, ..sight };
        }
        sight
    }

    fn continuous_sight(&self, probe: &ProbePlan, now: Now) -> Sight {
        let unknown = |reason, evidence: String| Sight::because(ProbeState::Unknown, reason, evidence);
        let Some(record) = self.live.probes.get(&probe.name) else {
            return unknown(why::NO_RUN, "no run since the verifier started".into());
        };
        let Some(last) = &record.last else {
            return unknown(why::NO_RUN, "no run since the verifier started, or since the probe changed".into());
        };
        let age = now.t.since(last.started.t);
        if age > probe.max_age {
            return unknown(why::STALE, format!("the last run started {age:.0?} ago, maxAge is {:?}", probe.max_age));
        }
        match record.base {
            ProbeState::Red => return Sight::of(ProbeState::Red, &record.trouble.as_ref().unwrap_or(last).outcome),
            ProbeState::Waiting => {
                if let Outcome::Waiting { due, evidence, .. } = &last.outcome
                    && now.utc > *due
                {
                    return unknown(why::OVERDUE, format!("was due at {due}: {evidence}"));
                }
            }
            ProbeState::Green | ProbeState::Suspect | ProbeState::Unknown => {}
        }
        if record.flapping(now.t) {
            return unknown(
                why::FLAPPING,
                format!("{FLAP_LIMIT} colour changes within {FLAP_WINDOW:?}; last seen: {}", last.outcome.evidence()),
            );
        }
        match record.trust(probe, now.t) {
            Trust::Trusted(_) => {}
            Trust::Untrusted => return unknown(why::CONTROL_PASSED, control_words(record)),
            // What keeps the probe from looking mostly keeps its control from it too, and is what can be mended.
            Trust::Untested if matches!(last.outcome, Outcome::Unknown { .. }) => {
                return Sight::of(ProbeState::Unknown, &last.outcome);
            }
            Trust::Untested => return unknown(why::CONTROL_UNTESTED, control_words(record)),
        }
        match (record.base, &record.trouble) {
            (ProbeState::Green, _) => Sight::green(last.outcome.evidence().clone()),
            (ProbeState::Unknown, None) => unknown(
                why::RECOVERING,
                format!("{} of {} passes in a row: {}", record.passes, probe.recover_after, last.outcome.evidence()),
            ),
            (state, Some(trouble)) => Sight::of(state, &trouble.outcome),
            (state, None) => Sight::of(state, &last.outcome),
        }
    }

    fn proof_sight(&self, probe: &ProbePlan, valid_for: Duration, now: Now) -> Sight {
        let record = self.live.probes.get(&probe.name);
        let Some(proof) = self.durable.proofs.get(&probe.name).filter(|proof| proof.hash == probe.hash) else {
            return match record.and_then(|record| record.last.as_ref()) {
                None => Sight::because(ProbeState::Waiting, why::UNFINISHED, "not started"),
                Some(last) => match (&last.outcome, &last.progress) {
                    (_, Some(progress)) => Sight::because(
                        ProbeState::Waiting,
                        why::UNFINISHED,
                        format!("{} of {}: {}", progress.done, progress.total, progress.note),
                    ),
                    (outcome @ Outcome::Unknown { .. }, None) => Sight::of(ProbeState::Unknown, outcome),
                    (outcome, None) => Sight::because(ProbeState::Waiting, why::UNFINISHED, outcome.evidence().clone()),
                },
            };
        };
        if let Some(reason) = &proof.failed {
            return Sight { state: ProbeState::Red, reason: Some(reason.clone()), evidence: proof.evidence.clone() };
        }
        let age = now.t.since(proof.at.t);
        if proof.sealed || age <= valid_for {
            return Sight::green(proof.evidence.clone());
        }
        let renewal = record.and_then(renewal).unwrap_or_default();
        Sight::because(ProbeState::Waiting, why::EXPIRED, format!("finished {age:.0?} ago, validFor is {valid_for:?}{renewal}"))
    }
}

/// How far the renewal of a proof has come, or what keeps it.
fn renewal(record: &ProbeRecord) -> Option<String> {
    let last = record.last.as_ref()?;
    match (&last.outcome, &last.progress) {
        (_, Some(progress)) => Some(format!("; renewed: {} of {}: {}", progress.done, progress.total, progress.note)),
        (Outcome::Unknown { reason, evidence }, None) => Some(format!("; not renewed ({reason}): {evidence}")),
        (Outcome::Pass { .. } | Outcome::Fail { .. } | Outcome::Waiting { .. }, None) => None,
    }
}

fn control_words(record: &ProbeRecord) -> String {
    record.control.as_ref().map_or_else(
        || "the negative control has not run yet".into(),
        |(_, outcome)| {
            let reason = outcome.reason().map_or("pass", Reason::as_str);
            format!("the negative control answered {reason}: {}", outcome.evidence())
        },
    )
}
