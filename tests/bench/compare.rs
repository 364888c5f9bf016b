//! Ours beside pgcopydb's `compare`, on the same two databases: how long they take, and what each of them finds.

mod plants;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use tests::{Postgres, Spec};
use tokio::time::Instant;

use crate::figures::{say, tell};
use crate::rows::pair::{Pair, plain};
use plants::{PLANTS, SCHEMA};

const LONG: Duration = Duration::from_hours(2);
/// What pgcopydb compares, each with a command of its own.
const THEIRS: [&str; 2] = ["schema", "data"];

/// How many rows, and how often.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many million rows of about 130 bytes, for the time; what is found is tried on small tables.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=50))]
    millions: u32,
    /// How often the time is taken.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

/// What one of them says of two databases.
struct Said {
    /// What is different, in its own terms; empty if nothing is.
    different: String,
    took: Duration,
}

/// Time, and then one thing that is wrong after the other.
pub(crate) async fn measure(options: &Options) -> Result<()> {
    let Options { millions, rounds } = *options;
    let pgcopydb = Postgres::pgcopydb().await?;
    let theirs = Theirs { program: pgcopydb.display().to_string() };
    say(&format!("{millions} million rows are made, and copied with their volume"));
    let pair = Pair::with_rows(millions).await?;
    let (mut by_statement, mut ours, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=rounds {
        say(&format!("time, round {round} of {rounds}"));
        by_statement.push(plain(&pair.old).await?);
        for (said, all) in [(ours_says(&pair).await?, &mut ours), (theirs.say(&pair).await?, &mut others)] {
            ensure!(said.different.is_empty(), "two databases that are the same: {}", said.different);
            all.push(said.took);
        }
    }
    let beside = median(by_statement);
    tell(&format!(
        "{millions} million rows that are the same, both sides read, median of {rounds} rounds; one plain statement on one side: {beside:.1?}"
    ));
    for (name, all) in [("cutover postgres compare", ours), ("pgcopydb compare", others)] {
        let took = median(all);
        tell(&format!("  {name:<26} {took:>7.1?}  x {:.2}", took.as_secs_f64() / beside.as_secs_f64()));
    }
    drop(pair);
    found(&theirs).await
}

/// Each plant on data of its own, that came over as they should.
async fn found(theirs: &Theirs) -> Result<()> {
    say("a small database is made, and copied");
    let pair = Pair::of(SCHEMA).await?;
    let admin = pair.new.connect_to("postgres", "postgres").await?;
    admin.batch_execute("CREATE DATABASE kept TEMPLATE homelab").await?;
    tell(&format!("{:<42} {:<30} {:<30}", "what is wrong", "cutover postgres compare", "pgcopydb compare"));
    let (mut ours, mut others) = ((0, Duration::ZERO), (0, Duration::ZERO));
    for (name, plant) in [("nothing", "SELECT 1")].iter().chain(PLANTS) {
        admin.batch_execute("DROP DATABASE homelab WITH (FORCE)").await?;
        admin.batch_execute("CREATE DATABASE homelab TEMPLATE kept OWNER server").await?;
        pair.new.connect_as_superuser().await?.batch_execute(plant).await.with_context(|| (*plant).to_owned())?;
        let (our, their) = (ours_says(&pair).await?, theirs.say(&pair).await?);
        for (said, sum) in [(&our, &mut ours), (&their, &mut others)] {
            sum.0 += u32::from(!said.different.is_empty() && *name != "nothing");
            sum.1 += said.took;
        }
        tell(&format!("{name:<42} {:<30} {:<30}", shown(&our), shown(&their)));
    }
    let of = PLANTS.len();
    let [ours, others] = [ours, others].map(|(found, took)| format!("{found} of {of}, {took:.1?} in all"));
    tell(&format!("{:<42} {:<30} {:<30}", "found", ours, others));
    Ok(())
}

fn shown(said: &Said) -> String {
    if said.different.is_empty() { "-".to_owned() } else { format!("yes: {}", said.different) }
}

/// Whatever it covers: it names what it found something in.
async fn ours_says(pair: &Pair) -> Result<Said> {
    let words = ["postgres", "compare", "--old", "env:OLD", "--new", "env:NEW", "--load-percent", "100", "--output", "name"];
    let ran = pair.run(pair.cutover(&words)?).await?;
    let mut names: Vec<&str> = ran.output.stdout.lines().collect();
    names.dedup();
    let different = match ran.output.code {
        0 => String::new(),
        1 => names.join(", "),
        3 | 4 => format!("not known, {}", names.join(", ")),
        code => anyhow::bail!("cutover ended with {code}: {}", ran.output.stderr),
    };
    Ok(Said { different, took: ran.took })
}

struct Theirs {
    program: String,
}

impl Theirs {
    /// As superuser, and with a fresh folder for each command, since it would go on with what is in an old one.
    async fn say(&self, pair: &Pair) -> Result<Said> {
        let (began, mut different) = (Instant::now(), Vec::new());
        for what in THEIRS {
            let folder = pair.world.dir().join("pgcopydb");
            if folder.exists() {
                std::fs::remove_dir_all(&folder)?;
            }
            let spec = Spec::new("pgcopydb", &self.program)
                .args(["compare", what])
                .args(["--source".to_owned(), pair.old.superuser_dsn(), "--target".to_owned(), pair.new.superuser_dsn()])
                .arg("--dir")
                .arg(folder.display().to_string());
            let ran = pair.world.run(spec, LONG).await?;
            // It says what differs as errors in its log, and may end with 0 all the same.
            let errors = ran.stderr.contains(" ERROR ");
            ensure!(errors || ran.code == 0, "pgcopydb compare {what} ended with {}: {}", ran.code, ran.stderr);
            match (errors, ran.code) {
                (false, _) => {}
                (true, 0) => different.push(format!("{what} (exit 0)")),
                (true, _) => different.push(what.to_owned()),
            }
        }
        Ok(Said { different: different.join(", "), took: began.elapsed() })
    }
}

fn median(mut took: Vec<Duration>) -> Duration {
    took.sort_unstable();
    took.get(took.len() / 2).copied().unwrap_or_default()
}
