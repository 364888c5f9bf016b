//! Makes a failing history as short as it gets, by leaving things out.

use std::fmt::Write as _;

use super::case::{Case, Said, Tick};
use super::drive::run;

/// The shortest history found that still fails, with its words.
pub(crate) fn shrink(case: &Case) -> (Case, String) {
    let mut best = case.clone();
    let (at, mut words) = run(&best).expect_err("only a failing history is shrunk");
    best.ticks.truncate(at + 1);
    let mut size = best.ticks.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        while at < best.ticks.len() {
            let shorter = without(&best, at, size);
            match run(&shorter) {
                Err((_, now)) if shorter.ticks.len() < best.ticks.len() => (best, words) = (shorter, now),
                _ => at += size,
            }
        }
        size /= 2;
    }
    (best, words)
}

/// Leaves out `size` things, not their time.
fn without(case: &Case, at: usize, size: usize) -> Case {
    let end = (at + size).min(case.ticks.len());
    let mut ticks: Vec<Tick> = case.ticks[..at].to_vec();
    let (mut after, mut jump) = (0, 0);
    for tick in &case.ticks[at..end] {
        after += tick.after;
        jump += tick.jump;
    }
    ticks.extend_from_slice(&case.ticks[end..]);
    if let Some(next) = ticks.get_mut(at) {
        next.after += after;
        next.jump += jump;
    }
    Case { docs: case.docs.clone(), ticks }
}

/// A history for people.
pub(crate) fn print(case: &Case, words: &str) -> String {
    let mut text = format!("{words}\n");
    let used = |index: usize| case.ticks.iter().any(|tick| tick.act == super::case::Act::Configure(index));
    for (index, doc) in case.docs.iter().enumerate().filter(|(index, _)| used(*index)) {
        writeln!(text, "document {index}:").unwrap();
        for phase in &doc.phases {
            let numbers = (phase.soak, phase.budget, phase.min_samples);
            let eyes = if phase.four_eyes { ", four eyes" } else { "" };
            writeln!(text, "  phase {} soak, budget, minSamples {numbers:?}{eyes}", phase.id).unwrap();
            for probe in &phase.probes {
                writeln!(text, "    {probe:?}").unwrap();
            }
            for step in &phase.steps {
                writeln!(text, "    {step:?}").unwrap();
            }
        }
    }
    let mut t = super::generate::START;
    for (at, tick) in case.ticks.iter().enumerate() {
        t += tick.after;
        let said = if tick.said == Said::default() { String::new() } else { format!(" {:?}", tick.said) };
        writeln!(text, "  {at:3} at {t} (+{}, clock {:+}): {:?}{said}", tick.after, tick.jump, tick.act).unwrap();
    }
    text
}
