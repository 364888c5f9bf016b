//! Never stuck: from wherever a random history ends, an honest continuation completes every phase in bounded time.

use probe::state::PhaseState;

use super::case::{Act, Doc, Look, Tick, WHOLE, phase_name, probe_name};
use super::drive::Core;
use super::generate::Generator;
use super::histories::histories;

/// Seconds in which a phase must be done, besides its soak and budget: the flap window, longest override, commands.
const PATIENCE: u64 = 700;

/// What the loader of documents guarantees: each phase has a gate probe that nothing retires, `until` names a later phase.
fn valid(doc: &Doc) -> bool {
    let keeps = |at: usize| doc.phases[at].probes.iter().any(|p| p.gate && p.until.is_none());
    let later = |at: usize, until: u8| doc.position(until).is_some_and(|position| position > at);
    (0..doc.phases.len()).all(keeps) && doc.probes().all(|(at, probe)| probe.until.is_none_or(|until| later(at, until)))
}

fn say(core: &mut Core, after: u64, act: Act) -> bool {
    core.happen(&Tick { after, jump: 0, act }).is_some()
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
            let target = probe.proof.is_some().then_some((probe.id % 2, 0));
            say(core, 1, Act::Run { probe: probe.id, old: false, began: 0, parts: Some(parts), target });
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
        say(core, 1, Act::Begin(next.id));
        say(core, 1, Act::Switch(next.id));
        say(core, 1, Act::Complete(next.id));
    }
}

#[test]
fn an_honest_continuation_completes_every_phase() {
    let (mut checked, mut seconds) = (0_u64, 0_u64);
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
        say(&mut core, 1, Act::Store(true));
        let longest: u64 = doc.phases.iter().map(|p| p.soak + p.budget).sum::<u64>() / 1_000;
        let bound = 2 * longest + PATIENCE;
        let mut nth = 0;
        while doc.phases.iter().any(|p| core.state.phase(&phase_name(p.id)).state() != PhaseState::Complete) {
            second(&mut core, doc, nth);
            nth += 1;
            let gates = || probe::gate::evaluate(&core.state, core.now());
            assert!(nth < bound, "seed {seed}: stuck after {bound} s\n{doc:#?}\n{:#?}", (gates().gates, gates().guards));
        }
        seconds += nth;
    }
    println!("{checked} honest continuations completed every phase, {seconds} s in all");
    assert!(checked > 0);
}
