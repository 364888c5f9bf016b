//! What would make each reason go away: looked up by the check that gave it.

use std::collections::BTreeMap;
use std::sync::Arc;

use checks::{Meta, ReasonSpec, Registry, engine_reasons};

use crate::gate::phase_reasons;

/// Reasons that only readers give: the evaluation itself is no answer any more.
pub const NOT_EVALUATED: ReasonSpec = ReasonSpec::unknown(
    "not_evaluated",
    "wait some seconds; if it stays, look at the verifier's log and load: its evaluator does not get to run",
);

/// Finds the next step for a reason. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ReasonBook {
    /// By kind of check.
    checks: Arc<BTreeMap<&'static str, &'static Meta>>,
}

impl ReasonBook {
    /// The reasons of these checks, of the engine and of phases.
    pub fn new(registry: &Registry) -> Self {
        Self { checks: Arc::new(registry.iter().map(|entry| (entry.meta.kind, entry.meta)).collect()) }
    }

    /// What makes the reason of a probe with this kind of check go away.
    pub fn of_probe(&self, check: &str, reason: &str) -> &'static str {
        let own = self.checks.get(check).into_iter().flat_map(|meta| meta.reasons());
        let known = own.chain(engine_reasons::ALL).chain(phase_reasons::ALL).chain([&NOT_EVALUATED]);
        next_of(known, reason)
    }

    /// What makes a reason that a phase itself gives go away.
    pub fn of_phase(&self, reason: &str) -> &'static str {
        next_of(phase_reasons::ALL.iter().chain(engine_reasons::ALL).chain([&NOT_EVALUATED]), reason)
    }
}

fn next_of<'a>(mut known: impl Iterator<Item = &'a ReasonSpec>, reason: &str) -> &'static str {
    known.find(|spec| spec.name == reason).map_or("read the evidence, and mend what it names", |spec| spec.next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_next_step() {
        let book = ReasonBook::new(&checks::registry());
        for spec in phase_reasons::ALL {
            assert_eq!(book.of_phase(spec.name), spec.next);
        }
        for spec in engine_reasons::ALL {
            assert_eq!(book.of_probe("lokiReady", spec.name), spec.next);
        }
        assert!(!book.of_probe("gone", "of_another_version").is_empty());
    }
}
