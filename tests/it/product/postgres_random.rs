//! The proofs of what a database holds, on random databases that really move between versions 15, 17 and 18: an honest move passes, and
//! each single change is found and named. `PHASEGATE_SCHEMAS` says how many databases; a failure prints the seed and the SQL.

mod kinds;
mod mutations;
mod names;
mod pair;
mod schema;
mod tables;
mod views;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::model::rng::Rng;
use mutations::{Mutation, Side};
use pair::{Case, Servers};

/// Changes of the new side, and one of the old side after them.
const CHANGES: u32 = 3;

/// How many databases, in both halves together. Here a taste of it; a campaign takes a thousand.
fn schemas() -> u64 {
    std::env::var("PHASEGATE_SCHEMAS").ok().map_or(8, |text| text.parse().expect("PHASEGATE_SCHEMAS is a number"))
}

/// What a campaign came to.
#[derive(Default)]
struct Tally {
    schemas: u32,
    mutations: u32,
    found: u32,
    kinds: BTreeMap<&'static str, u32>,
    wrong: Vec<String>,
}

impl Tally {
    async fn case(&mut self, servers: &Servers, seed: u64) {
        let mut rng = Rng::new(seed);
        let case = Case::made(servers, seed, &mut rng).await;
        self.schemas += 1;
        for difference in case.differences().await {
            self.wrong(format!("seed {seed}, {}: a false difference: {difference}\n{}", case.versions(), case.sql()));
        }
        for nth in 0..=CHANGES {
            let side = if nth == CHANGES { Side::Old } else { Side::New };
            let Some(mutation) = case.mutated(side, &mut rng).await else { continue };
            self.mutations += 1;
            *self.kinds.entry(mutation.kind).or_default() += 1;
            match case.misses(&mutation).await {
                None => self.found += 1,
                Some(said) => {
                    let Mutation { kind, plant, names, .. } = &mutation;
                    self.wrong(format!(
                        "seed {seed}, {}: not found: {kind} on {side:?}: {plant}\nthat names {names}\n{said}\n{}",
                        case.versions(),
                        case.sql()
                    ));
                }
            }
            case.taken_back(&mutation).await;
        }
        case.dropped().await;
    }

    /// Told at once, and once more at the end.
    fn wrong(&mut self, words: String) {
        println!("{}", words.lines().take(4).collect::<Vec<_>>().join("\n"));
        self.wrong.push(words);
    }

    fn say(&self) -> String {
        let mut words = String::new();
        let Self { schemas, mutations, found, kinds, wrong } = self;
        writeln!(
            words,
            "{schemas} schemas, {mutations} mutations of {} kinds, {found} found, {} wrong",
            kinds.len(),
            wrong.len()
        )
        .unwrap();
        writeln!(words, "{kinds:?}").unwrap();
        words
    }
}

/// Each seed is one database; the pair of versions goes round.
async fn campaign(first: u64) {
    let began = tokio::time::Instant::now();
    let servers = Servers::start().await;
    println!("servers run after {:?}", began.elapsed());
    let mut tally = Tally::default();
    let cases = schemas().div_ceil(2);
    for seed in first..first + cases {
        Box::pin(tally.case(&servers, seed)).await;
        if (seed + 1 - first).is_multiple_of(50) {
            println!("{}", tally.say());
        }
        // One is enough to be looked at; a campaign collects some.
        if tally.wrong.len() >= 20 {
            break;
        }
    }
    println!("{}", tally.say());
    assert!(tally.wrong.is_empty(), "{}\n{}", tally.wrong.join("\n\n"), tally.say());
    assert!(u64::from(tally.found) >= cases, "too few changes could be made: {}", tally.say());
}

#[tokio::test]
async fn random_databases_move_and_each_change_is_found_first_half() {
    Box::pin(campaign(first(0))).await;
}

#[tokio::test]
async fn random_databases_move_and_each_change_is_found_last_half() {
    Box::pin(campaign(first(1_000_000))).await;
}

/// The first seed: `PHASEGATE_SEED` goes on where a campaign found something.
fn first(half: u64) -> u64 {
    std::env::var("PHASEGATE_SEED").ok().map_or(half, |text| text.parse::<u64>().expect("PHASEGATE_SEED is a number"))
}
