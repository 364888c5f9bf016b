use super::*;
use crate::apply::apply;
use crate::decide::decide;
use crate::event::{Control, Input, Run};
use crate::plan::{GatePlan, NaturePlan, PhasePlan, SealAt};
use checks::{Outcome, ReasonSpec, Step};

const OWN: ReasonSpec = ReasonSpec::fail("broken", "mend it");
const BLIND: ReasonSpec = ReasonSpec::unknown("blind", "open your eyes");
const LATER: ReasonSpec = ReasonSpec::waiting("later", "wait");

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn now(seconds: u64) -> Now {
    let utc = chrono::DateTime::from_timestamp(1_700_000_000 + i64::try_from(seconds).unwrap(), 0).unwrap();
    Now { t: Millis(seconds * 1000), utc }
}

fn plan(nature: NaturePlan) -> ProbePlan {
    ProbePlan {
        name: "p".into(),
        check: "scripted".into(),
        hash: "h".into(),
        nature,
        gate: true,
        preflight: false,
        before_ponr: false,
        marks_ponr: false,
        targets: vec![],
        tripwire: false,
        until: None,
        fail_after: 2,
        recover_after: 2,
        every: s(5),
        timeout: s(4),
        max_age: s(20),
        control_every: s(100),
        control_reason: OWN.name.into(),
        waivable: true,
    }
}

fn ledger(nature: NaturePlan) -> State {
    let gate = GatePlan { soak: s(60), min_samples: 1, unknown_budget: s(0), max_wait: None };
    let phase = PhasePlan { name: "a".into(), gate, probes: vec![plan(nature)], steps: Vec::new(), four_eyes: false };
    let plan = Plan::new("m", "h", vec![phase]);
    let mut state = State::default();
    take(&mut state, &Input::Configure(Arc::new(plan)), now(0));
    state
}

fn take(state: &mut State, input: &Input, at: Now) {
    for event in decide(state, input, at).unwrap() {
        apply(state, &event);
    }
}

fn run(state: &mut State, at: u64, outcome: Outcome) {
    let run = Run {
        probe: "p".into(),
        generation: state.live.probes["p"].generation,
        started: now(at),
        finished: now(at),
        step: Step::whole(outcome),
        memory: None,
        identities: BTreeMap::new(),
        trails: BTreeMap::new(),
        named: None,
    };
    take(state, &Input::Run(run), now(at));
}

fn control(state: &mut State, at: u64, outcome: Outcome) {
    let generation = state.live.probes["p"].generation;
    let control = Control { probe: "p".into(), generation, started: now(at), finished: now(at), outcome };
    take(state, &Input::Control(control), now(at));
}

/// The colour and reason at a moment.
fn seen(state: &State, at: u64) -> (ProbeState, String) {
    let plan = state.durable.plan.clone().unwrap();
    let sight = state.sight(plan.probe("p").unwrap().1, now(at));
    (sight.state, sight.reason.map_or_else(String::new, |reason| reason.to_string()))
}

fn outcome(letter: char) -> Outcome {
    match letter {
        'P' => Outcome::pass("seen"),
        'F' => OWN.because("wrong"),
        'U' => BLIND.because("not seen"),
        'W' => LATER.until(now(1_000_000).utc, "not yet"),
        other => panic!("no such outcome: {other}"),
    }
}

/// `failAfter` and `recoverAfter` are 2; the control is trusted, nothing is old, nothing flaps.
#[test]
fn outcomes_make_a_colour() {
    use ProbeState::{Green, Red, Suspect, Unknown, Waiting};
    for (outcomes, expected) in [
        ("", Unknown),
        ("P", Unknown),
        ("PP", Green),
        ("PPF", Suspect),
        ("F", Suspect),
        ("FF", Red),
        ("FUF", Red),
        ("FWF", Suspect),
        ("FPF", Suspect),
        ("FP", Suspect),
        ("FFP", Red),
        ("FFPF", Red),
        ("FFPP", Green),
        ("FFU", Unknown),
        ("FFUP", Unknown),
        ("PPU", Unknown),
        ("PPUP", Unknown),
        ("PPUPP", Green),
        ("PPW", Waiting),
        ("PPWP", Waiting),
        ("PPWPP", Green),
        ("FFW", Waiting),
    ] {
        let mut state = ledger(NaturePlan::Continuous);
        control(&mut state, 1, outcome('F'));
        for letter in outcomes.chars() {
            run(&mut state, 1, outcome(letter));
        }
        assert_eq!(seen(&state, 2).0, expected, "{outcomes}");
    }
}

#[test]
fn evidence_gets_old_even_when_it_is_red() {
    for outcomes in ["PP", "FF"] {
        let mut state = ledger(NaturePlan::Continuous);
        control(&mut state, 1, outcome('F'));
        outcomes.chars().for_each(|letter| run(&mut state, 1, outcome(letter)));
        assert_ne!(seen(&state, 21).0, ProbeState::Unknown);
        assert_eq!(seen(&state, 22), (ProbeState::Unknown, "stale".into()));
    }
}

#[test]
fn waiting_past_its_due_is_unknown() {
    let mut state = ledger(NaturePlan::Continuous);
    control(&mut state, 1, outcome('F'));
    run(&mut state, 1, LATER.until(now(10).utc, "not yet"));
    assert_eq!(seen(&state, 10), (ProbeState::Waiting, "later".into()));
    assert_eq!(seen(&state, 11), (ProbeState::Unknown, "overdue".into()));
}

#[test]
fn trust_is_earned_by_the_controls_own_fail_and_runs_out() {
    let mut state = ledger(NaturePlan::Continuous);
    let look = |state: &mut State, at: u64| {
        run(state, at, outcome('P'));
        run(state, at, outcome('P'));
        seen(state, at)
    };
    let untested = (ProbeState::Unknown, "control_untested".to_owned());
    assert_eq!(look(&mut state, 1), untested);
    control(&mut state, 2, ReasonSpec::fail("other", "look elsewhere").because("wrong"));
    assert_eq!(look(&mut state, 2), untested);
    control(&mut state, 3, outcome('F'));
    assert_eq!(look(&mut state, 3).0, ProbeState::Green);
    control(&mut state, 4, outcome('U'));
    assert_eq!(look(&mut state, 303).0, ProbeState::Green);
    assert_eq!(look(&mut state, 304), untested);
    control(&mut state, 305, outcome('P'));
    assert_eq!(look(&mut state, 305), (ProbeState::Unknown, "control_passed".into()));
    control(&mut state, 306, outcome('U'));
    assert_eq!(look(&mut state, 306), (ProbeState::Unknown, "control_passed".into()));
    run(&mut state, 307, outcome('F'));
    run(&mut state, 307, outcome('F'));
    assert_eq!(seen(&state, 307).0, ProbeState::Red, "red needs no trust");
}

#[test]
fn the_fifth_change_within_ten_minutes_is_flapping() {
    let mut state = ledger(NaturePlan::Continuous);
    for (at, outcomes) in [(0, "PP"), (100, "F"), (200, "PP"), (300, "F"), (590, "PP")] {
        control(&mut state, at, outcome('F'));
        outcomes.chars().for_each(|letter| run(&mut state, at, outcome(letter)));
    }
    assert_eq!(seen(&state, 591), (ProbeState::Unknown, "flapping".into()));
    assert_eq!(state.live.probes["p"].flaps, 1);
    run(&mut state, 600, outcome('P'));
    assert_eq!(seen(&state, 600).0, ProbeState::Green);
}

#[test]
fn a_proof_is_waiting_until_it_ends_and_only_a_fail_revokes_it() {
    let proof = || NaturePlan::Proof { valid_for: s(1_000), seal_at: SealAt::Complete };
    let mut state = ledger(proof());
    assert_eq!(seen(&state, 1), (ProbeState::Waiting, "unfinished".into()));
    run(&mut state, 1, outcome('P'));
    assert_eq!(seen(&state, 1).0, ProbeState::Unknown, "a Pass without a trusted control is not one");
    control(&mut state, 2, outcome('F'));
    run(&mut state, 2, outcome('P'));
    assert_eq!(seen(&state, 1_002).0, ProbeState::Green, "neither maxAge nor later trust matter");
    assert_eq!(seen(&state, 1_003), (ProbeState::Waiting, "expired".into()));
    control(&mut state, 20, outcome('P'));
    run(&mut state, 20, outcome('U'));
    assert_eq!(seen(&state, 21).0, ProbeState::Green);
    let plan = state.durable.plan.clone().unwrap();
    let expired = state.sight(plan.probe("p").unwrap().1, now(1_003));
    assert_eq!(expired.state, ProbeState::Waiting);
    assert!(
        expired.evidence.as_str().contains("; not renewed (blind): "),
        "what keeps the renewal is said: {}",
        expired.evidence
    );
    run(&mut state, 22, outcome('F'));
    assert_eq!(seen(&state, 22), (ProbeState::Red, "broken".into()));
    assert_eq!(seen(&state.restarted(), 22).0, ProbeState::Red);
}

/// A proof that takes one Run may fail each second; the chain of events has its edges.
#[test]
fn a_proof_that_fails_as_before_finishes_once() {
    let mut state = ledger(NaturePlan::Proof { valid_for: s(1_000), seal_at: SealAt::Complete });
    control(&mut state, 1, outcome('F'));
    let finished = |state: &State| state.durable.proofs["p"].at;
    run(&mut state, 2, outcome('F'));
    run(&mut state, 3, outcome('F'));
    run(&mut state, 4, outcome('U'));
    run(&mut state, 5, outcome('F'));
    assert_eq!((finished(&state), seen(&state, 5).0), (now(2), ProbeState::Red));
    run(&mut state, 6, OWN.because("wrong in another way"));
    assert_eq!(finished(&state), now(6));
    run(&mut state, 7, outcome('P'));
    assert_eq!((finished(&state), seen(&state, 7).0), (now(7), ProbeState::Green));
    run(&mut state, 8, outcome('P'));
    assert_eq!(finished(&state), now(8), "a Pass is as new as it is");
    run(&mut state, 9, outcome('F'));
    assert_eq!((finished(&state), seen(&state, 9).0), (now(9), ProbeState::Red));
}

#[test]
fn a_restart_forgets_what_was_seen() {
    let mut state = ledger(NaturePlan::Continuous);
    control(&mut state, 1, outcome('F'));
    run(&mut state, 1, outcome('P'));
    run(&mut state, 1, outcome('P'));
    assert_eq!(seen(&state, 2).0, ProbeState::Green);
    assert_eq!(seen(&state.restarted(), 2), (ProbeState::Unknown, "no_run".into()));
}
