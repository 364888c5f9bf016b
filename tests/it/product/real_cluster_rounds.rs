//! The ledger in a real cluster under disturbances at random moments: a verifier is killed, frozen for longer than its Lease, cut off from
//! the API server, or ended beside a second one. Each of them is asked for its gate and written to all the time, and what they said is
//! compared with the Lease, the audit trail and each other.
//!
//! `PHASEGATE_ROUNDS` says how many, `PHASEGATE_SEED` which ones.

mod judge;
mod member;
mod stage;
mod trail;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::model::rng::Rng;

use stage::Stage;

/// Rounds on one ledger: it takes a thousand facts, and each round records some tens.
const OF_ONE_LEDGER: u64 = 8;

/// What happens to the verifier that has the Lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// It is killed.
    Kill,
    /// It is frozen for longer than the Lease lasts, and goes on.
    Freeze,
    /// It does not reach the API server for a while.
    Cut,
    /// It ends in good order beside a second one.
    Leave,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Kill, Self::Freeze, Self::Cut, Self::Leave];
}

/// What must never be.
#[derive(Debug, Default)]
struct Violations {
    /// Two writers in one term, or an acknowledged write that is not there.
    writers: Vec<String>,
    /// A gate that was open without evidence.
    open: Vec<String>,
    /// Soak that was lost, or that nobody has served.
    soak: Vec<String>,
    /// A Lease that was not given back at an orderly end.
    lease: Vec<String>,
}

impl Violations {
    fn add(&mut self, other: Self) {
        self.writers.extend(other.writers);
        self.open.extend(other.open);
        self.soak.extend(other.soak);
        self.lease.extend(other.lease);
    }
}

/// How a round went.
struct Round {
    kind: Kind,
    how: String,
    /// From the disturbance to another holder of the Lease, in seconds.
    taken: Option<f64>,
    /// The longest time without an open gate, in seconds.
    shut: f64,
    soak: String,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let taken = self.taken.map_or_else(|| "nobody took over".to_owned(), |taken| format!("taken over after {taken:.1} s"));
        write!(f, "{:?}, {}: {taken}, not open for {:.1} s, soak {}", self.kind, self.how, self.shut, self.soak)
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

fn spread(mut of: Vec<f64>) -> String {
    of.sort_by(f64::total_cmp);
    let at = |percent: usize| of.get((of.len() * percent).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default();
    format!("n={} p50 {:.1} s, p95 {:.1} s, max {:.1} s", of.len(), at(50), at(95), at(100))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_in_a_real_cluster_one_writes_and_no_gate_is_open_without_evidence() {
    let (rounds, seed) = (number("PHASEGATE_ROUNDS", 6), number("PHASEGATE_SEED", 1));
    println!("PHASEGATE_SEED={seed} PHASEGATE_ROUNDS={rounds}");
    let mut rng = Rng::new(seed);
    let mut stage = Stage::start().await;
    let (mut violations, mut done) = (Violations::default(), Vec::new());
    let mut bag: Vec<Kind> = Vec::new();
    let mut left = 0;
    for nth in 0..rounds {
        if left == 0 || stage.flaps() {
            violations.add(stage.another_ledger(nth).await);
            left = OF_ONE_LEDGER;
        }
        left -= 1;
        if bag.is_empty() {
            bag = Kind::ALL.to_vec();
        }
        let kind = bag.remove(usize::try_from(rng.below(u64::try_from(bag.len()).unwrap())).unwrap());
        let (round, found) = stage.round(kind, &mut rng).await;
        println!("round {} of {rounds}: {round}", nth + 1);
        for words in found.writers.iter().chain(&found.open).chain(&found.soak).chain(&found.lease) {
            println!("  VIOLATION: {words}");
        }
        violations.add(found);
        done.push(round);
    }
    violations.add(stage.end().await);

    let mut kinds: BTreeMap<Kind, Vec<&Round>> = BTreeMap::new();
    for round in &done {
        kinds.entry(round.kind).or_default().push(round);
    }
    for (kind, rounds) in kinds {
        println!("{kind:?}: {} rounds", rounds.len());
        println!("  taken over: {}", spread(rounds.iter().filter_map(|round| round.taken).collect()));
        println!("  not open:   {}", spread(rounds.iter().map(|round| round.shut).collect()));
    }
    let Violations { writers, open, soak, lease } = &violations;
    println!("two writers: {}, open without evidence: {}, soak lost: {}", writers.len(), open.len(), soak.len());
    println!("a Lease was not given back: {}", lease.len());
    println!("{}", stage.counted());
    assert!([writers, open, soak, lease].iter().all(|found| found.is_empty()), "{violations:#?}");
}

/// A pause of random length.
async fn pause(rng: &mut Rng, low: u64, high: u64) {
    tokio::time::sleep(Duration::from_millis(rng.between(low, high))).await;
}
