//! A writer on the server that is read: how long its transactions take meanwhile.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::{Spec, wait_until};

use super::pair::{Pair, plain};
use super::proof::{Facts, Often, Proof};
use crate::figures::{say, tell};

const PGBENCH: Duration = Duration::from_hours(1);
const QUIET: Duration = Duration::from_secs(30);
/// One insertion and one change of a row of its own, as a job does that keeps its state.
const SCRIPT: &str = "\\set value random(1, 1000000)\nBEGIN;\nINSERT INTO writes (value) VALUES (:value);\n\
     UPDATE writes SET value = value + 1 WHERE id = (SELECT max(id) FROM writes);\nEND;\n";

/// Who reads the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beside {
    Nobody,
    /// `postgresRows` at so much load.
    Proof(u32),
    /// Plain statements over whole tables, one after the other.
    Plain,
}

impl Beside {
    const ALL: [Self; 4] = [Self::Nobody, Self::Proof(25), Self::Proof(100), Self::Plain];

    fn words(self) -> String {
        match self {
            Self::Nobody => "alone".to_owned(),
            Self::Proof(load) => format!("beside the proof, loadPercent {load}"),
            Self::Plain => "beside plain statements".to_owned(),
        }
    }
}

/// The latencies of one kind, all rounds together.
#[derive(Debug, Default)]
struct Seen {
    micros: Vec<u32>,
    /// Rows that were read meanwhile, per second.
    read: f64,
}

/// Each of them once a round, in turn.
pub(crate) async fn watch(pair: &Pair, facts: &Facts, seconds: u64, rounds: u32) -> Result<()> {
    let mut seen = Beside::ALL.map(|beside| (beside, Seen::default()));
    for round in 1..=rounds {
        for (beside, seen) in &mut seen {
            say(&format!("writer, round {round} of {rounds}: {seconds} s {}", beside.words()));
            alone(pair).await?;
            let before = rows_read(pair).await?;
            let micros = one(pair, facts, *beside, seconds).await?;
            seen.micros.extend(micros);
            alone(pair).await?;
            seen.read += (rows_read(pair).await? - before) / f64::from(u32::try_from(seconds)?) / f64::from(rounds);
        }
    }
    let figures: Vec<_> = seen
        .into_iter()
        .map(|(beside, Seen { mut micros, read })| {
            micros.sort_unstable();
            (beside, micros.len(), at(&micros, 50), at(&micros, 99), read)
        })
        .collect();
    let alone = figures.first().map_or((1.0, 1.0), |figure| (figure.2, figure.3));
    tell(&format!("writer at 50 transactions a second on the server that is read, {rounds} x {seconds} s each:"));
    for (beside, count, p50, p99, read) in figures {
        tell(&format!(
            "  {:<36} n={count:<5} p50 {p50:>6.2} ms (x {:.2})  p99 {p99:>6.2} ms (x {:.2})  {read:>9.0} rows read a second",
            beside.words(),
            p50 / alone.0,
            p99 / alone.1
        ));
    }
    Ok(())
}

/// A percentile in milliseconds, of what is sorted.
fn at(micros: &[u32], percent: usize) -> f64 {
    let nth = (micros.len() * percent).div_ceil(100).saturating_sub(1);
    f64::from(micros.get(nth).copied().unwrap_or_default()) / 1000.0
}

async fn one(pair: &Pair, facts: &Facts, beside: Beside, seconds: u64) -> Result<Vec<u32>> {
    match beside {
        Beside::Nobody => pgbench(pair, seconds).await,
        Beside::Proof(load) => {
            let proof = Proof::begin(pair, facts, load, Often::Always).await?;
            let micros = pgbench(pair, seconds).await;
            proof.verifier.kill9().await?;
            micros
        }
        Beside::Plain => {
            let forever = async {
                loop {
                    if let Err(error) = plain(&pair.new).await {
                        return error;
                    }
                }
            };
            tokio::select! {
                micros = pgbench(pair, seconds) => micros,
                error = forever => Err(error),
            }
        }
    }
}

async fn pgbench(pair: &Pair, seconds: u64) -> Result<Vec<u32>> {
    let logs = pair.world.dir().join("latencies");
    std::fs::create_dir_all(&logs)?;
    let script = pair.world.write("writer.sql", SCRIPT)?;
    let spec = Spec::new("pgbench", pair.new.own_program("pgbench"))
        .args(["-n", "-c", "4", "-R", "50", "-l", "-T"])
        .arg(seconds.to_string())
        .arg(format!("--log-prefix={}", logs.join("log").display()))
        .arg("-f")
        .arg(script.display().to_string())
        .arg(pair.new.dsn());
    let ran = pair.world.run(spec, PGBENCH).await?;
    ensure!(ran.code == 0, "pgbench ended with {}: {}", ran.code, ran.stderr);
    let mut micros = Vec::new();
    for file in std::fs::read_dir(&logs)? {
        let text = std::fs::read_to_string(file?.path())?;
        micros.extend(text.lines().filter_map(|line| line.split(' ').nth(2)?.parse::<u32>().ok()));
    }
    std::fs::remove_dir_all(&logs)?;
    ensure!(!micros.is_empty(), "pgbench wrote down no transaction");
    Ok(micros)
}

/// Ends what the last reader has left running; what a session counted is told at the latest when it ends.
async fn alone(pair: &Pair) -> Result<()> {
    let session = pair.new.connect_as_superuser().await?;
    let others = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    wait_until(QUIET, "no other session is left", async || {
        let left: i64 = session.query_one(others, &[]).await?.try_get(0)?;
        ensure!(left == 0, "{left} sessions");
        Ok(())
    })
    .await
}

async fn rows_read(pair: &Pair) -> Result<f64> {
    let sql = "SELECT sum(seq_tup_read)::float8 FROM pg_stat_user_tables";
    Ok(pair.new.connect_as_superuser().await?.query_one(sql, &[]).await?.try_get(0)?)
}
