//! Random documents, and what may, or may not, become of them.

use super::Rng;
use crate::model::case::{Doc, PhaseDoc, ProbeDoc, Seal, StepDoc};

fn new_probe(rng: &mut Rng, id: u8, rev: u32, later: &[u8]) -> ProbeDoc {
    let proof = rng.percent(25).then(|| {
        (
            rng.pick(&[6_000, 60_000, 86_400_000]),
            rng.pick(&[Seal::Switch, Seal::Switch, Seal::Ponr, Seal::Complete, Seal::Complete]),
        )
    });
    let (tripwire, marks_ponr) = (rng.percent(15), rng.percent(8));
    let (proof, marks_ponr) = (proof.filter(|_| !tripwire && !marks_ponr), marks_ponr && !tripwire);
    ProbeDoc {
        id,
        rev,
        proof,
        gate: tripwire || !marks_ponr && rng.percent(90),
        preflight: !tripwire && !marks_ponr && rng.percent(15),
        before_ponr: !tripwire && !marks_ponr && rng.percent(20),
        marks_ponr,
        targets: if tripwire || rng.percent(30) { vec![u8::from(rng.percent(25))] } else { vec![] },
        tripwire,
        until: (!tripwire && !later.is_empty() && rng.percent(20)).then(|| rng.pick(later)),
        fail_after: u32::try_from(rng.between(1, 3)).unwrap(),
        recover_after: u32::try_from(rng.between(1, 3)).unwrap(),
        every: 2_000,
        max_age: rng.pick(&[8_000, 20_000, 600_000]),
        control_every: rng.pick(&[3_000, 10_000, 600_000]),
        waivable: !tripwire && rng.percent(85),
    }
}

fn new_phase(rng: &mut Rng, id: u8) -> PhaseDoc {
    PhaseDoc {
        id,
        soak: rng.pick(&[0, 2_000, 4_000, 10_000]),
        budget: rng.pick(&[0, 1_000, 3_000, 20_000]),
        min_samples: rng.pick(&[0, 1, 3]),
        max_wait: None,
        probes: vec![],
        steps: vec![],
        four_eyes: rng.percent(10),
    }
}

/// Some of these, each so often in a hundred.
fn some(rng: &mut Rng, from: &[u8], percent: u64) -> Vec<u8> {
    from.iter().copied().filter(|_| rng.percent(percent)).collect()
}

/// Steps for the phase at this position: one is the switch, and at most one the point of no return.
fn new_steps(rng: &mut Rng, phases: &[PhaseDoc], at: usize) -> Vec<StepDoc> {
    let probes = |until: usize| -> Vec<u8> { phases.iter().take(until).flat_map(|p| &p.probes).map(|probe| probe.id).collect() };
    let (own, earlier) = (probes(at + 1), probes(at));
    let count = rng.between(1, 4);
    let (switch, ponr) = (rng.below(count), rng.percent(50).then(|| rng.below(count)));
    let steps = (0..count).map(|nth| StepDoc {
        id: u8::try_from(nth).unwrap(),
        switch: nth == switch,
        ponr: ponr == Some(nth),
        undo: rng.percent(65),
        verify: if rng.percent(60) { some(rng, &own, 35) } else { vec![] },
        gate: if rng.percent(15) { phases.iter().take(at).map(|p| p.id).next_back() } else { None },
        disturbs: if rng.percent(40) { some(rng, &earlier, 60) } else { vec![] },
        timeout: rng.pick(&[2_000, 10_000, 600_000]),
    });
    steps.collect()
}

/// The same steps, more or less.
fn mutate_steps(rng: &mut Rng, phases: &mut [PhaseDoc], at: usize) {
    let other = new_steps(rng, phases, at);
    let steps = &mut phases[at].steps;
    match rng.below(8) {
        // What may change while they run.
        0..=2 => {
            for (step, other) in steps.iter_mut().zip(other) {
                let (id, switch, ponr) = (step.id, step.switch, step.ponr);
                *step = StepDoc { id, switch, ponr, ..other };
            }
        }
        3 => steps.reverse(),
        4 => {
            if let Some(step) = steps.first_mut() {
                step.ponr = !step.ponr;
            }
            steps.iter_mut().skip(1).for_each(|step| step.ponr = false);
        }
        5 => {
            let last = steps.len().saturating_sub(1);
            steps.iter_mut().enumerate().for_each(|(nth, step)| step.switch = nth == last);
        }
        6 => *steps = vec![],
        _ => *steps = other,
    }
}

pub(super) fn document(rng: &mut Rng) -> Doc {
    let count = u8::try_from(rng.between(2, 3)).unwrap();
    let mut phases: Vec<PhaseDoc> = (0..count).map(|id| new_phase(rng, id)).collect();
    let mut id = 0;
    for at in 0..phases.len() {
        let later: Vec<u8> = phases.iter().skip(at + 1).map(|p| p.id).collect();
        for nth in 0..rng.between(1, 2) {
            let mut probe = new_probe(rng, id, 0, &later);
            if nth == 0 {
                (probe.gate, probe.until) = (true, None);
                (probe.tripwire, probe.marks_ponr) = (false, false);
            }
            phases[at].probes.push(probe);
            id += 1;
        }
    }
    for at in 0..phases.len() {
        if rng.percent(60) {
            phases[at].steps = new_steps(rng, &phases, at);
        }
    }
    if rng.percent(40) {
        old_side(rng, &mut phases);
    }
    Doc { phases }
}

/// One probe looks at an old side, and a tripwire will see that it stays gone.
fn old_side(rng: &mut Rng, phases: &mut [PhaseDoc]) {
    let id = u8::try_from(phases.iter().map(|phase| phase.probes.len()).sum::<usize>()).unwrap();
    let at = usize::try_from(rng.below(u64::try_from(phases.len()).unwrap())).unwrap();
    phases[0].probes[0].targets = vec![0];
    let wire = ProbeDoc { tripwire: true, waivable: false, until: None, proof: None, ..new_probe(rng, id, 0, &[]) };
    let wire = ProbeDoc { gate: true, preflight: false, before_ponr: false, marks_ponr: false, targets: vec![0], ..wire };
    phases[at].probes.push(wire);
}

/// Another document: mostly one that may follow, sometimes one that must be refused.
pub(super) fn mutate(rng: &mut Rng, doc: &mut Doc, rev: u32) {
    let at = usize::try_from(rng.below(u64::try_from(doc.phases.len()).unwrap())).unwrap();
    let unused = (0..9).find(|id| doc.probe(*id).is_none()).unwrap_or(0);
    match rng.below(14) {
        10..=12 => mutate_steps(rng, &mut doc.phases, at),
        13 => doc.phases[at].four_eyes = !doc.phases[at].four_eyes,
        0 | 1 => {
            if let Some(probe) = doc.phases[at].probes.first_mut() {
                let waivable = probe.waivable && rng.percent(60);
                *probe = ProbeDoc { rev, waivable, ..probe.clone() };
            }
        }
        2 => {
            let probe = new_probe(rng, unused, rev, &[]);
            doc.phases[at].probes.push(probe);
        }
        3 => {
            doc.phases[at].probes.pop();
        }
        4 => doc.phases[at].soak += 1_000,
        5 => doc.phases[at].min_samples += 1,
        6 => doc.phases.reverse(),
        7 => {
            let id = (0..9).find(|id| doc.position(*id).is_none()).unwrap_or(8);
            let mut phase = new_phase(rng, id);
            phase.probes.push(new_probe(rng, unused, rev, &[]));
            let position = if rng.percent(50) { doc.phases.len() } else { at };
            doc.phases.insert(position, phase);
        }
        8 => {
            if let (Some(probe), true) = (doc.phases[at].probes.pop(), doc.phases.len() > 1) {
                let to = (at + 1) % doc.phases.len();
                doc.phases[to].probes.push(probe);
            }
        }
        _ => {
            if doc.phases.len() > 1 {
                doc.phases.remove(at);
            }
        }
    }
    // A document without any probe has nothing to be random about.
    if doc.probes().next().is_none() {
        let probe = new_probe(rng, unused, rev, &[]);
        doc.phases[0].probes.push(probe);
    }
}
