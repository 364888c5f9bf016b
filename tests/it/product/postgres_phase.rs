//! The whole of phase `postgres`, with real servers, the roles of `deploy/postgres` and nothing more, and an application with three kinds
//! of writer: green while all is well, and shut within seconds by what goes wrong after the switch.

use std::time::Duration;

use anyhow::ensure;
use serde_json::Value;
use tests::{Application, Habit, Major, Pace, Postgres, Reader, Role, Verifier, World, Writer, wait_until};
use tokio::time::Instant;

use super::{AT_ONCE, PATIENCE, gate, looks, migration, opened, reaches};

const TARGETS: &str = "{old: {postgres: {dsn: {env: OLD}}}, old-app: {postgres: {dsn: {env: OLD_APP}}}, new: {postgres: {dsn: {env: NEW}}}, \
     new-app: {postgres: {dsn: {env: NEW_APP}}}, canary: {postgres: {dsn: {env: CANARY}}}}";
const READY: &str = "{name: ready, check: {postgresReady: {postgres: new-app, observer: new}}}";
const TWO: &str = "{name: two, check: {postgresIdentity: {old: old, new: new}}}";
const CANARY: &str = "{name: canary, check: {postgresCanary: {postgres: canary}}}";
const TRAFFIC: &str = "{name: traffic, check: {postgresTraffic: {postgres: new, writers: [\
     {name: job, role: server, table: system_metrics, time: time, every: 2s, complete: \"SELECT count(DISTINCT metric_type) = 4 FROM \
      system_metrics WHERE time > now() - interval '10 seconds'\"}, \
     {name: service, role: server, table: reading_sync_history, time: at, every: 2s}, \
     {name: report, role: server, table: daily_report, time: at, schedule: \"* * * * *\", jitter: 30s}]}}}";
const FENCE: &str = "{name: fence, check: {postgresFence: {postgres: old, roles: [server], attempt: old-app}}}";
const QUIET: &str = "{name: quiet, check: {postgresQuiet: {postgres: old, window: 15s, readers: [grafana]}}}";
const SPLIT: &str = "{name: split, check: {postgresSplitBrain: {old: old, new: new}}}";
/// How soon a write on the old side has to shut the gate.
const SHUT_WITHIN: Duration = Duration::from_secs(10);
/// A good deal longer than any window or cadence.
const HEALTHY: Duration = Duration::from_mins(1);

/// Two servers after a move, and what watches them.
struct Phase {
    world: World,
    old: Postgres,
    new: Postgres,
    application: Application,
    verifier: Verifier,
}

impl Phase {
    /// The application runs on the old server; nothing has begun.
    async fn before(pair: (Major, Major), probes: &[&str]) -> Self {
        let world = World::new().unwrap();
        let start = |major| Postgres::start_version(&world, major);
        let (old, new) = tokio::try_join!(start(pair.0), start(pair.1)).unwrap();
        let application = Application::start_at(&old.dsn(), Pace::BUSY).await.unwrap();
        for postgres in [&old, &new] {
            postgres.grant("observer").await.unwrap();
        }
        old.grant("operator").await.unwrap();
        new.run_file("operator", &[("new", "yes")]).await.unwrap();
        let document = migration("{every: 2s, timeout: 2s, maxAge: 20s}", TARGETS, AT_ONCE, probes);
        let secrets = [
            ("OLD", old.observer_dsn()),
            ("OLD_APP", old.dsn()),
            ("NEW", new.observer_dsn()),
            ("NEW_APP", new.dsn()),
            ("CANARY", new.canary_dsn()),
        ];
        let secrets = secrets.each_ref().map(|(name, dsn)| (*name, dsn.as_str()));
        let verifier = Verifier::start_with(&world, &document, &secrets).await.unwrap();
        Self { world, old, new, application, verifier }
    }

    /// `cutover postgres …`, with the operator's credentials.
    async fn sql_work(&self, words: &[&str], code: i32) {
        let words: Vec<&str> = ["postgres"].iter().chain(words).copied().collect();
        let spec = self.verifier.cutover_spec(Role::Operate, &words).unwrap();
        let spec =
            spec.env("OPERATOR", self.old.operator_dsn()).env("OLD", self.old.observer_dsn()).env("NEW", self.new.observer_dsn());
        let ran = self.world.run(spec, PATIENCE).await.unwrap();
        assert_eq!(ran.code, code, "{words:?}: {}{}", ran.stdout, ran.stderr);
    }

    async fn fence(&self) {
        self.sql_work(&["fence", "--old", "env:OPERATOR", "--role", "server"], 0).await;
    }

    /// What an operator does between `begin` and the switch.
    async fn moves(&mut self, fenced: bool) {
        self.application.stop().await;
        if fenced {
            self.fence().await;
        }
        self.new.restore_from(&self.old).await.unwrap();
        self.new.grant("canary").await.unwrap();
        self.sql_work(&["baseline", "--old", "env:OLD", "--new", "env:NEW"], 0).await;
        self.application.point_at(&self.new.dsn()).await.unwrap();
    }

    /// From now until the gate is not open, and what is told then.
    async fn shuts(&self, since: Instant) -> Value {
        let body = wait_until(PATIENCE, "the gate is not open", async || {
            let body = gate(&self.verifier).await?;
            ensure!(body["open"] == false, "it is open");
            Ok(body)
        });
        let body = body.await.unwrap();
        assert!(since.elapsed() < SHUT_WITHIN, "shut after {:?}: {body}", since.elapsed());
        body
    }
}

#[tokio::test]
async fn a_healthy_phase_with_thirty_transactions_a_second_is_green_and_stays_so() {
    let mut phase = Phase::before((Major::Fifteen, Major::Fifteen), &[READY, TWO, CANARY, TRAFFIC, FENCE, QUIET, SPLIT]).await;
    phase.moves(true).await;
    let reader = Reader::start(&phase.old.reader_dsn()).await.unwrap();
    opened(&phase.verifier).await;
    let (begun, before) = (Instant::now(), phase.application.written());
    while begun.elapsed() < HEALTHY {
        reader.read().await.unwrap();
        let body = gate(&phase.verifier).await.unwrap();
        assert_eq!(body["verdict"], "open", "after {:?}: {body}", begun.elapsed());
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let after = phase.application.written();
    let rows = after.metrics + after.syncs + after.reports - before.metrics - before.syncs - before.reports;
    assert!(rows > 60 * 10, "the application wrote {rows} rows in a minute");
    let told = looks(&phase.verifier, "split", "green", "").await.to_string();
    assert!(told.contains("past the point of no return") && told.contains("public.system_metrics"), "{told}");
}

#[tokio::test]
async fn a_stray_insert_on_the_old_server_shuts_the_gate_at_once_and_is_named() {
    // Without a fence, which would refuse it.
    let mut phase = Phase::before((Major::Fifteen, Major::Fifteen), &[READY, TWO, CANARY, TRAFFIC, QUIET, SPLIT]).await;
    phase.moves(false).await;
    opened(&phase.verifier).await;
    let planted = Instant::now();
    let session = phase.old.connect().await.unwrap();
    session.batch_execute("INSERT INTO reading_sync_history (synced) VALUES (1), (1), (1)").await.unwrap();
    drop(session);
    phase.shuts(planted).await;
    let red = looks(&phase.verifier, "split", "red", "split_brain").await;
    let words = red["evidence"].as_str().unwrap();
    assert!(words.contains("3 rows in public.reading_sync_history, id ") && words.contains(", time 20"), "{words}");
    let red = looks(&phase.verifier, "quiet", "red", "written").await;
    let words = red["evidence"].as_str().unwrap();
    assert!(words.contains("public.reading_sync_history") && words.contains("3 inserted"), "{words}");
    reaches(&phase.verifier, "closed").await;
}

#[tokio::test]
async fn a_writer_that_stays_behind_is_refused_and_told() {
    let mut phase = Phase::before((Major::Fifteen, Major::Fifteen), &[TRAFFIC, FENCE, QUIET, SPLIT]).await;
    phase.moves(true).await;
    opened(&phase.verifier).await;
    // The job's settings still name the old server.
    let planted = Instant::now();
    phase.application.point(Writer::Job, &phase.old.dsn()).await.unwrap();
    phase.shuts(planted).await;
    looks(&phase.verifier, "quiet", "red", "refused_attempts").await;
    let job = looks(&phase.verifier, "traffic", "red", "silent").await.to_string();
    assert!(job.contains("job"), "{job}");
    phase.application.point(Writer::Job, &phase.new.dsn()).await.unwrap();
    reaches(&phase.verifier, "open").await;
}

/// It leaves a part of its work out, and says nothing.
#[tokio::test]
async fn a_job_that_is_cut_short_is_told() {
    let mut phase = Phase::before((Major::Fifteen, Major::Fifteen), &[TRAFFIC, FENCE, QUIET, SPLIT]).await;
    phase.moves(true).await;
    opened(&phase.verifier).await;
    phase.application.set(Writer::Job, Habit::Partial).await.unwrap();
    looks(&phase.verifier, "traffic", "red", "partial").await;
    phase.application.set(Writer::Job, Habit::Commits).await.unwrap();
    reaches(&phase.verifier, "open").await;
}

#[tokio::test]
async fn past_the_first_row_on_the_new_server_nobody_unfences_the_old_one_unnoticed() {
    let mut phase = Phase::before((Major::Fifteen, Major::Fifteen), &[TRAFFIC, FENCE, QUIET, SPLIT]).await;
    phase.moves(true).await;
    opened(&phase.verifier).await;
    phase.sql_work(&["unfence", "--old", "env:OPERATOR", "--new", "env:NEW"], 1).await;
    phase.old.reset("default_transaction_read_only").await.unwrap();
    looks(&phase.verifier, "fence", "red", "not_fenced").await;
    phase.fence().await;
    reaches(&phase.verifier, "open").await;
}

/// From another major version, and to one.
#[tokio::test]
async fn other_major_versions_are_watched_alike() {
    for pair in [(Major::Fifteen, Major::Eighteen), (Major::Seventeen, Major::Seventeen), (Major::Seventeen, Major::Eighteen)] {
        let mut phase = Phase::before(pair, &[READY, TWO, CANARY, TRAFFIC, FENCE, QUIET, SPLIT]).await;
        phase.moves(true).await;
        opened(&phase.verifier).await;
        let planted = Instant::now();
        let stray = phase.old.connect().await.unwrap();
        stray.batch_execute("BEGIN READ WRITE; INSERT INTO reading_sync_history (synced) VALUES (1); COMMIT").await.unwrap();
        phase.shuts(planted).await;
        looks(&phase.verifier, "split", "red", "split_brain").await;
        looks(&phase.verifier, "quiet", "red", "").await;
    }
}
