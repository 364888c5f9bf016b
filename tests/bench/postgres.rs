//! What watching two PostgreSQL servers costs them: statements, their time, and how many fewer transactions others get through.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::{Application, Major, Pace, Postgres, Role, Spec, Verifier, World, wait_until};
use tokio::time::sleep;

use crate::figures::{say, tell};
use crate::usage::{cpu, peak};

const PATIENCE: Duration = Duration::from_mins(5);
const PGBENCH: Duration = Duration::from_mins(10);
/// Longer than the window in which nothing may write on the old side.
const AT_REST: Duration = Duration::from_mins(1);
/// The application with its real cadence: once a minute, twice a day, once a night, so that it hardly shows.
const PACE: Pace = Pace { minute: Duration::from_secs(10), half_a_day: Duration::from_secs(30), day: Duration::from_mins(1) };

struct Watched {
    world: World,
    old: Postgres,
    new: Postgres,
    verifier: Verifier,
    _application: Application,
}

/// Both servers after a move, watched with default settings: at rest, and under pgbench with and without the verifier.
pub(crate) async fn measure(seconds: u64, rounds: u32) -> Result<()> {
    let watched = Watched::start().await?;
    watched.at_rest().await?;
    watched.under_load(seconds, rounds).await
}

impl Watched {
    async fn start() -> Result<Self> {
        let world = World::new()?;
        let start = || Postgres::start_with(&world, Major::Fifteen, &[("shared_preload_libraries", "pg_stat_statements")]);
        let (old, new) = tokio::try_join!(start(), start())?;
        say("two servers, the application's data on both, and tables of pgbench on the new one");
        let mut application = Application::start_at(&old.dsn(), PACE).await?;
        application.stop().await;
        for postgres in [&old, &new] {
            postgres.grant("observer").await?;
        }
        new.restore_from(&old).await?;
        pgbench(&world, &new, &["-i", "-q", "-s", "5"]).await?;
        for postgres in [&old, &new] {
            postgres.connect_as_superuser().await?.batch_execute("CREATE EXTENSION pg_stat_statements").await?;
        }
        new.grant("observer").await?;
        new.grant("canary").await?;
        old.set("default_transaction_read_only", "on").await?;
        let secrets = [
            ("OLD", old.observer_dsn()),
            ("NEW", new.observer_dsn()),
            ("OLD_APP", old.dsn()),
            ("NEW_APP", new.dsn()),
            ("CANARY", new.canary_dsn()),
        ];
        let verifier =
            Verifier::start_with(&world, DOCUMENT, &secrets.each_ref().map(|(name, dsn)| (*name, dsn.as_str()))).await?;
        let words = ["postgres", "baseline", "--old", "env:OLD", "--new", "env:NEW"];
        let spec = verifier.cutover_spec(Role::Operate, &words)?.env("OLD", old.observer_dsn()).env("NEW", new.observer_dsn());
        let recorded = world.run(spec, PATIENCE).await?;
        ensure!(recorded.code == 0, "{}", recorded.stderr);
        application.point_at(&new.dsn()).await?;
        let watched = Self { world, old, new, verifier, _application: application };
        say("waiting until every probe is green");
        watched.is_green().await?;
        Ok(watched)
    }

    async fn is_green(&self) -> Result<()> {
        wait_until(PATIENCE, "every probe is green", async || {
            let probes = self.verifier.get("/v1/probes").await?.json()?;
            let probes = probes.get("probes").and_then(Value::as_array).context("no probes")?;
            let states = probes.iter().map(|probe| probe.get("state").and_then(Value::as_str).unwrap_or_default());
            ensure!(states.clone().all(|state| state == "green"), "{probes:?}");
            Ok(())
        })
        .await
    }

    /// What each server was asked within a minute, and how long a look takes.
    async fn at_rest(&self) -> Result<()> {
        say(&format!("at rest, for {AT_REST:?}"));
        let pid = self.verifier.process().pid().context("the verifier has no process")?;
        for postgres in [&self.old, &self.new] {
            postgres.connect_as_superuser().await?.execute("SELECT pg_stat_statements_reset()", &[]).await?;
        }
        let before = cpu(pid)?;
        sleep(AT_REST).await;
        for (name, postgres) in [("old", &self.old), ("new", &self.new)] {
            let session = postgres.connect_as_superuser().await?;
            let row = session
                .query_one(
                    "SELECT coalesce(sum(calls), 0)::float8, coalesce(sum(total_exec_time), 0) FROM pg_stat_statements s \
                     JOIN pg_roles r ON r.oid = s.userid WHERE r.rolname LIKE 'phasegate%'",
                    &[],
                )
                .await?;
            let (calls, millis): (f64, f64) = (row.get(0), row.get(1));
            tell(&format!("{name}: {calls:.0} statements a minute, {millis:.0} ms of its time in all"));
        }
        tell(&format!("verifier: {:.2} s of processor in that minute, {:.1} MiB at its peak", cpu(pid)? - before, peak(pid)?));
        let page = self.verifier.get("/metrics").await?.body;
        let value = |series: &str, probe: &str| {
            let of = |line: &&str| line.starts_with(series) && line.contains(&format!("probe=\"{probe}\""));
            page.lines().find(of).and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        };
        for probe in PROBES {
            let sum = value("phasegate_probe_duration_seconds_sum", probe).context("no duration")?;
            let count = value("phasegate_probe_duration_seconds_count", probe).context("no duration")?;
            tell(&format!("{probe:<8} {:>6.1} ms a look", sum * 1000.0 / count));
        }
        Ok(())
    }

    async fn under_load(&self, seconds: u64, rounds: u32) -> Result<()> {
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for round in 1..=rounds {
            say(&format!("pgbench, round {round} of {rounds}: {seconds} s with the verifier, {seconds} s while it is frozen"));
            let time = seconds.to_string();
            let load = ["-n", "-c", "4", "-T", time.as_str()];
            with.push(rate(&pgbench(&self.world, &self.new, &load).await?)?);
            self.verifier.process().freeze().await?;
            let alone = pgbench(&self.world, &self.new, &load).await;
            self.verifier.process().thaw();
            without.push(rate(&alone?)?);
        }
        let (with, without) = (median(with), median(without));
        tell(&format!(
            "pgbench: {with:.0} transactions a second beside the verifier, {without:.0} without, ratio {:.3}",
            with / without
        ));
        Ok(())
    }
}

async fn pgbench(world: &World, postgres: &Postgres, args: &[&str]) -> Result<String> {
    let spec = Spec::new("pgbench", postgres.own_program("pgbench")).args(args.iter().copied()).arg(postgres.superuser_dsn());
    let ran = world.run(spec, PGBENCH).await?;
    ensure!(ran.code == 0, "pgbench ended with {}: {}", ran.code, ran.stderr);
    Ok(ran.stdout)
}

fn rate(output: &str) -> Result<f64> {
    let line = output.lines().find_map(|line| line.strip_prefix("tps = ")).with_context(|| format!("no tps in {output}"))?;
    line.split(' ').next().and_then(|rate| rate.parse().ok()).with_context(|| format!("no number in {line}"))
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or_default()
}

const PROBES: [&str; 7] = ["ready", "two", "canary", "traffic", "fence", "quiet", "split"];

/// All checks of the phase, with the cadence that a document has that says nothing.
const DOCUMENT: &str = r#"apiVersion: phasegate.dev/v1alpha1
kind: Migration
metadata: {name: bench}
spec:
  targets:
    old: {postgres: {dsn: {env: OLD}}}
    new: {postgres: {dsn: {env: NEW}}}
    old-app: {postgres: {dsn: {env: OLD_APP}}}
    new-app: {postgres: {dsn: {env: NEW_APP}}}
    canary: {postgres: {dsn: {env: CANARY}}}
  phases:
  - name: move
    probes:
    - {name: ready, check: {postgresReady: {postgres: new-app, observer: new}}}
    - {name: two, check: {postgresIdentity: {old: old, new: new}}}
    - {name: canary, check: {postgresCanary: {postgres: canary}}}
    - name: traffic
      check:
        postgresTraffic:
          postgres: new
          writers:
          - {name: job, role: server, table: system_metrics, time: time, every: 10s}
          - {name: service, role: server, table: reading_sync_history, time: at, every: 30s}
          - {name: report, role: server, table: daily_report, time: at, schedule: "0 3 * * *"}
    - {name: fence, check: {postgresFence: {postgres: old, roles: [server], attempt: old-app}}}
    - {name: quiet, check: {postgresQuiet: {postgres: old, window: 1m}}}
    - {name: split, check: {postgresSplitBrain: {old: old, new: new}}}
"#;
