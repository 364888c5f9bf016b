//! What it costs to prove every row: time beside a plain statement, memory, the writer who is there as well, and a kill half-way.

pub(crate) mod pair;
mod proof;
mod resume;
mod writer;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use tests::{Role, Verifier};

use crate::figures::{say, tell};
use pair::{Pair, Ran, plain};
use proof::{FACTS, Facts, Often, Proof, Taken};

/// How many rows, and how often.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many million rows of about 130 bytes: half of them in a table with a key, half in one without.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=50))]
    millions: u32,
    /// How often each figure is taken.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// For how many seconds the writer is watched at a time.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// How many tables of ten rows, for what a table costs by itself.
    #[arg(long, default_value_t = 1_000)]
    tables: u32,
}

/// Rows, the writer, the kill, and small tables.
pub(crate) async fn measure(options: &Options) -> Result<()> {
    let Options { millions, rounds, seconds, tables } = *options;
    say(&format!("{millions} million rows are made, and copied with their volume"));
    let pair = Pair::with_rows(millions).await?;
    let facts = recorded(&pair).await?;
    let at_full_load = speed(&pair, &facts, millions, rounds).await?;
    writer::watch(&pair, &facts, seconds, rounds).await?;
    resume::measure(&pair, &facts, at_full_load).await?;
    drop(pair);
    small(tables).await
}

/// The mark and the manifest, as `cutover` records them.
async fn recorded(pair: &Pair) -> Result<Facts> {
    let verifier = Proof::waiting(pair, 100, Often::Once).await?;
    manifest(pair, &verifier, 100).await?;
    let words = ["postgres", "baseline", "--old", "env:OLD", "--new", "env:NEW"];
    pair.succeeds(pair.logins(verifier.cutover_spec(Role::Operate, &words)?)).await?;
    let mut facts = Facts::new();
    for name in FACTS {
        let fact = verifier.get(&format!("/v1/facts/{name}")).await?.json()?;
        facts.push((name, fact.get("value").with_context(|| format!("{name}: {fact}"))?.clone()));
    }
    verifier.sigterm().await?;
    Ok(facts)
}

async fn manifest(pair: &Pair, verifier: &Verifier, load: u32) -> Result<Ran> {
    let load = load.to_string();
    let words =
        ["postgres", "manifest", "--old", "env:OLD", "--again", "--load-percent", load.as_str(), "--", "true", "{snapshot}"];
    pair.succeeds(pair.logins(verifier.cutover_spec(Role::Operate, &words)?)).await
}

async fn compare(pair: &Pair, load: u32) -> Result<Ran> {
    let load = load.to_string();
    let words =
        ["postgres", "compare", "--old", "env:OLD", "--new", "env:NEW", "--only", "rows", "--load-percent", load.as_str()];
    pair.succeeds(pair.cutover(&words)?).await
}

async fn proven(pair: &Pair, facts: &Facts, load: u32) -> Result<Taken> {
    let proof = Proof::begin(pair, facts, load, Often::Once).await?;
    let taken = proof.proven().await?;
    ensure!(proof.verifier.sigterm().await?.success(), "the verifier did not end well");
    Ok(taken)
}

/// What was measured in each round.
#[derive(Debug, Default)]
struct Figure {
    took: Vec<Duration>,
    peak: f64,
    cpu: f64,
}

impl Figure {
    fn add(&mut self, took: Duration, peak: f64, cpu: f64) {
        self.took.push(took);
        (self.peak, self.cpu) = (self.peak.max(peak), self.cpu.max(cpu));
    }

    fn ran(&mut self, ran: &Ran) {
        self.add(ran.took, ran.peak, 0.0);
    }

    fn taken(&mut self, taken: &Taken) {
        self.add(taken.took, taken.peak, taken.cpu);
    }

    fn median(&self) -> Duration {
        let mut took = self.took.clone();
        took.sort_unstable();
        took.get(took.len() / 2).copied().unwrap_or_default()
    }

    /// Time per unit, as a ratio to another one's, and the most memory.
    fn line(&self, name: &str, units: f64, unit: &str, beside: Option<Duration>) -> String {
        let took = self.median().as_secs_f64();
        let ratio = beside.map_or_else(String::new, |beside| format!("  x {:.2}", took / beside.as_secs_f64()));
        let peak = if self.peak > 0.0 { format!("  {:.1} MiB at its peak", self.peak) } else { String::new() };
        let cpu = if self.cpu > 0.0 { format!(", {:.2} s of processor", self.cpu) } else { String::new() };
        format!("  {name:<44} {took:>7.2} s  {:>8.3} {unit}{ratio}{peak}{cpu}", took / units)
    }
}

/// Each of them once a round, one after the other. Returns how long one side takes by a plain statement.
async fn speed(pair: &Pair, facts: &Facts, millions: u32, rounds: u32) -> Result<Duration> {
    let [mut by_statement, mut at_full, mut at_half, mut proof_at_full, mut proof, mut by_hand] =
        [(); 6].map(|()| Figure::default());
    let verifier = Proof::waiting(pair, 100, Often::Once).await?;
    for round in 1..=rounds {
        say(&format!("speed, round {round} of {rounds}"));
        by_statement.add(plain(&pair.old).await?, 0.0, 0.0);
        at_full.ran(&manifest(pair, &verifier, 100).await?);
        by_statement.add(plain(&pair.new).await?, 0.0, 0.0);
        proof_at_full.taken(&proven(pair, facts, 100).await?);
        by_statement.add(plain(&pair.old).await?, 0.0, 0.0);
        at_half.ran(&manifest(pair, &verifier, 50).await?);
        by_hand.ran(&compare(pair, 100).await?);
        proof.taken(&proven(pair, facts, 25).await?);
    }
    let beside = by_statement.median();
    let units = f64::from(millions);
    tell(&format!("{millions} million rows, median of {rounds} rounds; the ratio is to the plain statement:"));
    for (name, figure) in [
        ("SELECT count(*), sum(hashtextextended(…))", &by_statement),
        ("cutover postgres manifest, load 100", &at_full),
        ("cutover postgres manifest, load 50 (default)", &at_half),
        ("cutover postgres compare, both sides, load 100", &by_hand),
        ("postgresRows with a manifest, load 100", &proof_at_full),
        ("postgresRows with a manifest, load 25 (default)", &proof),
    ] {
        tell(&figure.line(name, units, "s/million", Some(beside)));
    }
    Ok(beside)
}

async fn small(tables: u32) -> Result<()> {
    say(&format!("{tables} tables of ten rows are made, and copied"));
    let pair = Pair::with_tables(tables).await?;
    let facts = recorded(&pair).await?;
    let verifier = Proof::waiting(&pair, 100, Often::Once).await?;
    let [mut at_full, mut by_hand, mut proof_at_full, mut proof] = [(); 4].map(|()| Figure::default());
    at_full.ran(&manifest(&pair, &verifier, 100).await?);
    by_hand.ran(&compare(&pair, 100).await?);
    proof_at_full.taken(&proven(&pair, &facts, 100).await?);
    proof.taken(&proven(&pair, &facts, 25).await?);
    tell(&format!("{tables} tables of ten rows:"));
    for (name, figure) in [
        ("cutover postgres manifest, load 100", &at_full),
        ("cutover postgres compare, both sides, load 100", &by_hand),
        ("postgresRows with a manifest, load 100", &proof_at_full),
        ("postgresRows with a manifest, load 25 (default)", &proof),
    ] {
        tell(&figure.line(name, f64::from(tables) / 1000.0, "ms/table", None));
    }
    Ok(())
}
