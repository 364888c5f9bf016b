//! A soak of a whole day, second by second.

use probe::gate::Verdict;

use super::case::{Act, Doc, Look, PhaseDoc, ProbeDoc};
use super::script::{Script, phase, probe};

const DAY: u64 = 24 * 3600;

fn soaking() -> Script {
    let day = PhaseDoc { budget: 300_000, min_samples: 60, ..phase(0, DAY * 1000, vec![probe(0), ProbeDoc { ..probe(1) }]) };
    let mut script = Script::new(&[Doc { phases: vec![day] }]);
    script.switch(0);
    script
}

/// One second: every fifth a run, every ten minutes a control; the epoch is on the full second.
fn second(script: &mut Script, nth: u64) {
    let mut spent = 0;
    for id in [0, 1] {
        if nth.is_multiple_of(600) {
            script.control(id, Look::Fail);
            spent += 1;
        }
        if nth.is_multiple_of(5) {
            script.run(id, Look::Pass);
            spent += 1;
        }
    }
    script.epoch(1_000 - spent);
}

#[test]
fn a_day_of_soak_opens_in_the_second_it_is_due() {
    let mut script = soaking();
    let (mut nth, mut green) = (0, None);
    while script.verdict_seen() != Verdict::Open {
        second(&mut script, nth);
        green = green.or((script.colour(0) == script.colour(1) && script.is_green(0)).then_some(nth));
        nth += 1;
        assert!(nth < DAY + 60, "not open in time: {:?}", script.gate(0));
    }
    assert_eq!(nth - 1, green.unwrap() + DAY, "it is due a day after the first green epoch");
    script.must(Act::Complete(0));
}

#[test]
fn an_outage_within_the_budget_costs_its_length_and_a_red_costs_everything() {
    let mut script = soaking();
    for nth in 0..DAY {
        second(&mut script, nth);
    }
    script.epoch(120_000);
    for nth in 0..130 {
        second(&mut script, nth);
    }
    assert_eq!(script.verdict_seen(), Verdict::Open, "{:?}", script.gate(0));
    script.run(0, Look::Fail);
    script.run(0, Look::Fail);
    script.epoch(998);
    assert_eq!(script.verdict_seen(), Verdict::Closed);
    for nth in 0..DAY {
        second(&mut script, nth);
        assert_ne!(script.verdict_seen(), Verdict::Open);
    }
}

impl Script {
    /// The verdict of the last epoch.
    fn verdict_seen(&self) -> Verdict {
        self.core.state.live.evaluation.as_ref().map_or(Verdict::Unknown, |e| e.gates[0].verdict)
    }

    fn is_green(&self, probe: u8) -> bool {
        self.colour(probe) == probe::state::ProbeState::Green
    }
}
