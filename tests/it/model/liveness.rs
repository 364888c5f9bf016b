//! Never stuck: from wherever a random history ends, an honest continuation completes every phase in bounded time.

use probe::event::{StepEnd, Way};
use probe::state::{PhaseState, StepState};

use super::case::{
    Act, Doc, Look, PhaseDoc, Said, StepDoc, Thing, Tick, Token, WHOLE, newest_edition, person, phase_name, probe_name, step_name,
};
use super::drive::Core;
use super::generate::Generator;
use super::histories::histories;

/// Seconds in which a phase must be done, besides its soak and budget: the flap window, longest override, commands.
const PATIENCE: u64 = 700;
/// Who goes on; and who approves that.
const HEIR: u8 = 7;
const WITNESS: u8 = 8;

/// What the loader of documents guarantees: each phase has a gate probe that nothing retires, `until` names a later phase;
/// and what is the operator's own affair: a step that waits for a gate names one of an earlier phase, which looks at
/// something for as long as it stands.
fn valid(doc: &Doc) -> bool {
    let keeps = |at: usize| doc.phases[at].probes.iter().any(|p| p.gate && p.until.is_none());
    let lasts = |at: usize| doc.phases[at].probes.iter().any(|p| p.gate && p.until.is_none() && p.proof.is_none());
    let later = |at: usize, until: u8| doc.position(until).is_some_and(|position| position > at);
    let earlier = |at: usize, gate: u8| doc.position(gate).is_some_and(|position| position < at && lasts(position));
    let waits = |at: usize| doc.phases[at].steps.iter().all(|step| step.gate.is_none_or(|gate| earlier(at, gate)));
    (0..doc.phases.len()).all(|at| keeps(at) && waits(at))
        && doc.probes().all(|(at, probe)| probe.until.is_none_or(|until| later(at, until)))
}

fn say(core: &mut Core, after: u64, act: Act) -> bool {
    say_with(core, after, act, Said::default())
}

fn say_with(core: &mut Core, after: u64, act: Act, said: Said) -> bool {
    core.happen(&Tick { said, ..Tick::new(after, act) }).is_some()
}

/// One second of an honest migration.
fn second(core: &mut Core, doc: &Doc, nth: u64) {
    let mut spent = 0;
    for (_, probe) in doc.probes() {
        if nth.is_multiple_of(3) {
            spent += 2;
            say(core, 1, Act::Control { probe: probe.id, old: false, began: 0, look: Look::Fail });
            let known = core.state.soft.parts.get(&probe_name(probe.id)).cloned().unwrap_or_default();
            let mut parts: Vec<(u8, Look)> = known.iter().map(|p| (p.as_str()[1..].parse().unwrap(), Look::Pass)).collect();
            if parts.is_empty() {
                parts.push((WHOLE, Look::Pass));
            }
            let mut reads = Vec::new();
            if probe.proof.is_some() {
                reads = vec![(Thing::Server(probe.id % 2), 0), (Thing::Fact(0), newest_edition(&core.state, 0))];
            }
            say(core, 1, Act::Run { probe: probe.id, old: false, began: 0, parts: Some(parts), reads });
        }
    }
    for phase in &doc.phases {
        if !core.state.phase(&phase_name(phase.id)).regressed.is_empty() {
            assert!(say(core, 1, Act::Acknowledge(phase.id)), "a latched regression can be acknowledged");
            spent += 1;
        }
    }
    say(core, 1_000 - spent, Act::Epoch);
    let stands = |core: &Core, id: u8| core.state.phase(&phase_name(id)).state();
    let active = doc.phases.iter().find(|p| stands(core, p.id) == PhaseState::Active);
    let next = active.or_else(|| doc.phases.iter().find(|p| stands(core, p.id) == PhaseState::Waiting));
    if let Some(next) = next {
        go_on(core, next);
    }
}

/// What an honest operator who finds a phase like this does next.
fn go_on(core: &mut Core, phase: &PhaseDoc) {
    let id = phase.id;
    let own = core.state.durable.lock.as_ref().map(|lock| lock.phase == phase_name(id) && lock.stamp.by == person(HEIR));
    if own == Some(false) {
        assert!(say(core, 1, Act::ForceRelease(Token::Newest)), "somebody else's lock can be taken away");
    }
    if own != Some(true) {
        let taken = Act::Lock { phase: id, ttl: 3_600_000, own: None };
        assert!(say_with(core, 1, taken, Said { by: HEIR, ..Said::default() }), "a free lock can be taken");
    }
    let said = Said { by: HEIR, lock: Some(Token::Newest), document: Some(true), confirm: Some(id), plan: None };
    if phase.four_eyes {
        say_with(core, 1, Act::Approve(id, super::case::Hash::Present), Said { by: WITNESS, ..Said::default() });
    }
    say_with(core, 1, Act::Begin(id), said);
    if phase.steps.is_empty() {
        say_with(core, 1, Act::Switch(id), said);
    } else {
        run(core, phase, said);
    }
    say_with(core, 1, Act::Complete(id), said);
}

/// The next thing about the steps of a phase: what is in flight ends; a way back is gone to its end; otherwise forward.
fn run(core: &mut Core, phase: &PhaseDoc, said: Said) {
    let id = phase.id;
    let record = core.state.phase(&phase_name(id)).clone();
    let stands = |step: &StepDoc| record.step(&step_name(step.id));
    let is = |step: &StepDoc, states: &[StepState]| stands(step).is_some_and(|state| states.contains(&state));
    let flying = [StepState::Running, StepState::Verifying, StepState::Undoing];
    let back = [StepState::Undoing, StepState::Undone, StepState::UndoFailed];
    if let Some(step) = phase.steps.iter().find(|step| is(step, &flying)) {
        if stands(step) == Some(StepState::Running) {
            assert!(say_with(core, 1, Act::StepWorked(id, step.id), said), "what runs can come to its end");
        } else {
            say_with(core, 1, Act::EndStep(id, step.id, StepEnd::Done), said);
        }
        return;
    }
    let undone = |step: &StepDoc| stands(step).is_none_or(|state| state == StepState::Undone);
    let last = phase.steps.iter().rev().find(|step| step.undo && !undone(step));
    let went_back = phase.steps.iter().any(|step| is(step, &back));
    if let (Some(last), true) = (last, went_back) {
        let undo = Act::StartStep { phase: id, step: last.id, way: Way::Undo, checked: true };
        assert!(say_with(core, 1, undo, said), "the way back is open: {:?}", core.refusal);
    } else if let Some(next) = phase.steps.iter().find(|step| !is(step, &[StepState::Done])) {
        say_with(core, 1, Act::StartStep { phase: id, step: next.id, way: Way::Do, checked: true }, said);
    }
}

#[test]
fn an_honest_continuation_completes_every_phase() {
    let (mut checked, mut seconds, mut half_way) = (0_u64, 0_u64, 0_u64);
    for seed in 0..(histories() / 1000).max(10) {
        let mut generator = Generator::new(0xC0FF_EE00 + seed);
        let docs = generator.docs.clone();
        let mut core = Core::new(&docs);
        let mut doc = 0;
        for _ in 0..(50 + seed % 151) {
            let tick = generator.next(&core.state);
            let accepted = core.happen(&tick).is_some();
            if let (Act::Configure(index), true) = (&tick.act, accepted) {
                doc = *index;
            }
        }
        let doc = &docs[doc];
        if !valid(doc) {
            continue;
        }
        checked += 1;
        half_way += u64::from(core.state.durable.phases.values().any(|record| !record.steps.is_empty()));
        say(&mut core, 1, Act::Store(true));
        let longest: u64 = doc.phases.iter().map(|p| p.soak + p.budget).sum::<u64>() / 1_000;
        let steps: usize = doc.phases.iter().map(|p| p.steps.len()).sum();
        // Each step may have to be undone, then done: some seconds for each.
        let bound = 2 * longest + PATIENCE + 12 * u64::try_from(steps).unwrap();
        let mut nth = 0;
        while doc.phases.iter().any(|p| core.state.phase(&phase_name(p.id)).state() != PhaseState::Complete) {
            second(&mut core, doc, nth);
            nth += 1;
            let gates = || probe::gate::evaluate(&core.state, core.now());
            let phases = &core.state.durable.phases;
            let refusal = &core.refusal;
            assert!(
                nth < bound,
                "seed {seed}: stuck after {bound} s\n{doc:#?}\n{phases:#?}\n{:#?}\n{refusal:?}",
                (gates().gates, gates().guards)
            );
        }
        seconds += nth;
    }
    println!("{checked} honest continuations completed every phase, {half_way} with steps begun, {seconds} s in all");
    assert!(checked > 0 && half_way > 0);
}
