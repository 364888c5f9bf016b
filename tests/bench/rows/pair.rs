//! Two servers with the same rows: one is a copy of the other's volume.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::{Major, Output, Postgres, Spec, World, binary};
use tokio::time::{Instant, sleep};

use crate::usage::peak;

const LONG: Duration = Duration::from_hours(2);
/// Tables of rows: the first has a key, the second has none.
pub(crate) const TABLES: [&str; 2] = ["readings", "metrics"];
/// Autovacuum would come at another moment of each run.
const SETTINGS: [(&str, &str); 3] = [("shared_buffers", "128MB"), ("max_wal_size", "4GB"), ("autovacuum", "off")];

pub(crate) struct Pair {
    pub(crate) world: World,
    pub(crate) old: Postgres,
    pub(crate) new: Postgres,
}

/// A command of ours that ran to its end.
pub(crate) struct Ran {
    pub(crate) output: Output,
    pub(crate) took: Duration,
    /// The most memory that it had, in MiB.
    pub(crate) peak: f64,
}

impl Pair {
    /// So many million rows of about 130 bytes, and a table for a writer.
    pub(crate) async fn with_rows(millions: u32) -> Result<Self> {
        let columns = "at timestamptz NOT NULL, sensor int NOT NULL, value numeric(10, 2), note text";
        let half = millions * 500_000;
        let rows = format!(
            "SELECT n, '2026-01-01'::timestamptz + n * interval '1 s', n % 100, n % 10000 * 0.01, md5(n::text) || md5((-n)::text) \
             FROM generate_series(1, {half}) AS n"
        );
        Self::of(&[
            &format!("CREATE TABLE readings (id bigint, {columns}); INSERT INTO readings {rows}; ALTER TABLE readings ADD PRIMARY KEY (id)"),
            &format!("CREATE TABLE metrics (n bigint, {columns}); INSERT INTO metrics {rows}"),
            "CREATE TABLE writes (id bigserial PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(), value int NOT NULL)",
        ])
        .await
    }

    /// So many tables of ten rows.
    pub(crate) async fn with_tables(tables: u32) -> Result<Self> {
        let make = format!(
            "DO $$ BEGIN FOR n IN 1..{tables} LOOP EXECUTE format('CREATE TABLE small_%s (id int PRIMARY KEY, note text)', n); \
             EXECUTE format('INSERT INTO small_%s SELECT m, ''note '' || m FROM generate_series(1, 10) AS m', n); \
             IF n % 100 = 0 THEN COMMIT; END IF; END LOOP; END $$"
        );
        Self::of(&[&make]).await
    }

    /// What these statements of the application make.
    pub(crate) async fn of(statements: &[&str]) -> Result<Self> {
        let world = World::new()?;
        let old = Postgres::start_with(&world, Major::Fifteen, &SETTINGS).await?;
        let application = old.connect().await?;
        for statement in statements {
            application.batch_execute(statement).await.with_context(|| (*statement).to_owned())?;
        }
        drop(application);
        old.grant("observer").await?;
        // Whoever reads rows first would otherwise write down that they are committed.
        old.connect_as_superuser().await?.batch_execute("VACUUM (FREEZE, ANALYZE)").await?;
        ensure!(old.stop().await?.success(), "the old server did not stop");
        let new = Postgres::copy_of(&world, &old).await?;
        old.start_again().await?;
        Ok(Self { world, old, new })
    }

    /// `cutover` with both logins in its environment, against no verifier.
    pub(crate) fn cutover(&self, words: &[&str]) -> Result<Spec> {
        let spec = Spec::new("cutover", binary("cutover")?).args(words.iter().copied());
        Ok(self.logins(spec).env("PHASEGATE_SERVER", "http://127.0.0.1:9"))
    }

    pub(crate) fn logins(&self, spec: Spec) -> Spec {
        spec.env("OLD", self.old.observer_dsn()).env("NEW", self.new.observer_dsn())
    }

    /// Runs a command and watches its memory.
    pub(crate) async fn run(&self, spec: Spec) -> Result<Ran> {
        let began = Instant::now();
        let process = self.world.start(spec)?;
        let pid = process.pid().context("it has no process")?;
        let mut most = 0.0;
        let status = loop {
            // A process that has just ended has no memory.
            most = peak(pid).unwrap_or(most);
            if let Some(status) = process.ended()? {
                break status;
            }
            ensure!(began.elapsed() < LONG, "{}", process.log());
            sleep(Duration::from_millis(5)).await;
        };
        let output = Output { code: status.code().unwrap_or(-1), stdout: process.stdout(), stderr: process.stderr() };
        Ok(Ran { output, took: began.elapsed(), peak: most })
    }

    /// Runs `cutover`, which has to succeed.
    pub(crate) async fn succeeds(&self, spec: Spec) -> Result<Ran> {
        let ran = self.run(spec).await?;
        ensure!(ran.output.code == 0, "it ended with {}: {}{}", ran.output.code, ran.output.stdout, ran.output.stderr);
        Ok(ran)
    }
}

/// One statement per table, which says the same of its rows; without parallel workers, as ours.
pub(crate) async fn plain(postgres: &Postgres) -> Result<Duration> {
    let session = postgres.connect_as_superuser().await?;
    session.batch_execute("SET max_parallel_workers_per_gather = 0").await?;
    let began = Instant::now();
    for table in TABLES {
        session.query_one(&format!("SELECT count(*), sum(hashtextextended(t::text, 0))::text FROM {table} AS t"), &[]).await?;
    }
    Ok(began.elapsed())
}
