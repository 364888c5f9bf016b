//! The comparison of core and oracle, and the invariants, on random histories.

use super::case::Case;
use super::drive::{Counts, Pair};
use super::generate::Generator;
use super::shrink::{print, shrink};

/// Inputs per history.
const LENGTH: usize = 200;

/// One history by its seed. A difference comes back with the whole history.
fn one(seed: u64) -> Result<Counts, Case> {
    let mut generator = Generator::new(seed);
    let docs = generator.docs.clone();
    let mut pair = Pair::new(&docs);
    let mut ticks = Vec::with_capacity(LENGTH);
    while ticks.len() < LENGTH {
        let tick = generator.next(&pair.core.state);
        ticks.push(tick);
        if pair.happen(ticks.last().unwrap()).is_err() {
            return Err(Case { docs: docs.clone(), ticks });
        }
    }
    if pair.core.replays() { Ok(pair.counts) } else { Err(Case { docs: docs.clone(), ticks }) }
}

fn compare(seeds: std::ops::Range<u64>) {
    let mut sum = Counts::default();
    let histories = seeds.end - seeds.start;
    for seed in seeds {
        match one(seed) {
            Ok(counts) => sum += counts,
            Err(case) => {
                let (case, words) = shrink(&case);
                panic!("seed {seed}: {}", print(&case, &words));
            }
        }
    }
    println!("{histories} histories compared: {sum:?}");
    let met = [sum.open, sum.completed, sum.latched, sum.locks, sum.undone, sum.broken, sum.ponrs, sum.whole, sum.excused];
    let removals = [sum.removed, sum.gone, sum.returned, sum.crossed, sum.came_back];
    let proofs = [sum.outdated, sum.outrun, sum.silent];
    assert!(
        histories < 500 || met.iter().chain(&removals).chain(&proofs).all(|times| *times > 0),
        "the histories are too dull: {sum:?}"
    );
}

/// How many histories, in all four quarters together. Here a taste of it; `tests/mutants/campaign` runs 100,000.
pub(crate) fn histories() -> u64 {
    std::env::var("PHASEGATE_HISTORIES").ok().map_or(2_000, |text| text.parse().expect("PHASEGATE_HISTORIES is a number"))
}

fn quarter(nth: u64) {
    let size = histories().div_ceil(4);
    compare(nth * 1_000_000_000..nth * 1_000_000_000 + size);
}

#[test]
fn core_and_oracle_agree_on_random_histories_first_quarter() {
    quarter(0);
}

#[test]
fn core_and_oracle_agree_on_random_histories_second_quarter() {
    quarter(1);
}

#[test]
fn core_and_oracle_agree_on_random_histories_third_quarter() {
    quarter(2);
}

#[test]
fn core_and_oracle_agree_on_random_histories_last_quarter() {
    quarter(3);
}
