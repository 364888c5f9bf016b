//! Every check of PostgreSQL over pairs of major versions and both ways of moving: green after an honest move, red for a planted fault,
//! and as documented when the network between breaks. Another check is one more line in `CASES`.

mod after_the_mark;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use checks::{Context, DynCheck, Step};
use chrono::TimeDelta;
use futures::future::LocalBoxFuture;
use serde_json::{Value, json};
use tests::{Application, Fault, FaultProxy, Major, Postgres, World, wait_until};

use super::postgres_canary::{context, sql};

/// How data come to the new side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    DumpRestore,
    VolumeCopy,
}

/// Two servers after an honest move, with the roles that `deploy/postgres` makes. The application is stopped.
pub(super) struct Moved {
    pub(super) world: World,
    pub(super) old: Postgres,
    pub(super) new: Postgres,
    pub(super) way: Way,
}

type Case = for<'a> fn(&'a Moved) -> LocalBoxFuture<'a, ()>;

/// Each check: green, red for its fault and green again.
const CASES: &[(&str, Case)] = &[
    ("postgresIdentity", |moved| Box::pin(identity(moved))),
    ("postgresReady", |moved| Box::pin(ready(moved))),
    ("postgresCanary", |moved| Box::pin(canary(moved))),
    ("postgresSequences", |moved| Box::pin(sequences(moved))),
    ("postgresIndexes", |moved| Box::pin(indexes(moved))),
    ("postgresContinuity", |moved| Box::pin(after_the_mark::continuity(moved))),
    ("postgresQuiet", |moved| Box::pin(after_the_mark::quiet(moved))),
    ("postgresFence", |moved| Box::pin(after_the_mark::fence(moved))),
    ("postgresTraffic", |moved| Box::pin(after_the_mark::traffic(moved))),
    ("postgresSplitBrain", |moved| Box::pin(after_the_mark::split_brain(moved))),
];

#[tokio::test]
async fn from_15_to_15_by_dump() {
    hold(Major::Fifteen, Major::Fifteen, Way::DumpRestore).await;
}

#[tokio::test]
async fn from_15_to_18_by_dump() {
    hold(Major::Fifteen, Major::Eighteen, Way::DumpRestore).await;
}

#[tokio::test]
async fn from_17_to_17_by_dump() {
    hold(Major::Seventeen, Major::Seventeen, Way::DumpRestore).await;
}

#[tokio::test]
async fn from_17_to_18_by_dump() {
    hold(Major::Seventeen, Major::Eighteen, Way::DumpRestore).await;
}

#[tokio::test]
async fn from_15_to_15_by_a_copy_of_the_volume() {
    hold(Major::Fifteen, Major::Fifteen, Way::VolumeCopy).await;
}

#[tokio::test]
async fn from_17_to_17_by_a_copy_of_the_volume() {
    hold(Major::Seventeen, Major::Seventeen, Way::VolumeCopy).await;
}

async fn hold(old: Major, new: Major, way: Way) {
    let moved = Moved::start(old, new, way).await;
    for (name, case) in CASES {
        println!("{name}, {old:?} to {new:?}, {way:?}");
        case(&moved).await;
    }
}

impl Moved {
    pub(super) async fn start(old: Major, new: Major, way: Way) -> Self {
        let world = World::new().unwrap();
        let old = Postgres::start_version(&world, old).await.unwrap();
        old.grant("observer").await.unwrap();
        let mut application = Application::start(&old.dsn()).await.unwrap();
        wait_until(super::PATIENCE, "the application writes", async || {
            let written = application.written();
            ensure!(written.metrics >= 8 && written.syncs >= 1, "{written:?}");
            Ok(())
        })
        .await
        .unwrap();
        application.stop().await;
        let new = match way {
            Way::DumpRestore => {
                let new = Postgres::start_version(&world, new).await.unwrap();
                new.grant("observer").await.unwrap();
                new.restore_from(&old).await.unwrap();
                new
            }
            Way::VolumeCopy => {
                old.stop().await.unwrap();
                let new = Postgres::copy_of(&world, &old).await.unwrap();
                old.start_again().await.unwrap();
                new
            }
        };
        new.grant("canary").await.unwrap();
        Self { world, old, new, way }
    }

    /// A check that looks at these targets.
    pub(super) fn look<const N: usize>(&self, kind: &str, block: Value, targets: [(&str, &str); N]) -> Look {
        Look::at(&self.world, kind, block, targets)
    }
}

/// A check as the verifier holds it.
pub(super) struct Look {
    check: Arc<dyn DynCheck>,
    pub(super) cx: Context,
    memory: Option<Vec<u8>>,
    /// What the last look said.
    evidence: String,
}

impl Look {
    pub(super) fn at<const N: usize>(world: &World, kind: &str, block: Value, targets: [(&str, &str); N]) -> Self {
        let check = (checks::registry().get(kind).unwrap().parse)(block).unwrap();
        Self { check, cx: context(world, targets), memory: None, evidence: String::new() }
    }

    /// One look, some seconds later, a proof to its end: for each part its outcome and reason.
    pub(super) async fn parts(&mut self) -> BTreeMap<String, String> {
        loop {
            self.cx.now += TimeDelta::seconds(5);
            let report = self.check.run(&self.cx, self.memory.as_deref()).await.unwrap();
            self.memory = Some(report.memory);
            if let Step::Done(parts) = report.step {
                let word = |outcome: &checks::Outcome| match outcome.reason() {
                    Some(reason) => format!("{} {reason}", outcome.label()),
                    None => outcome.label().to_owned(),
                };
                self.evidence = parts.values().map(|outcome| outcome.evidence().as_str()).collect::<Vec<_>>().join("; ");
                return parts.iter().map(|(part, outcome)| (part.to_string(), word(outcome))).collect();
            }
        }
    }

    /// Whatever the parts are, this is what each of them says, or those of `but` instead.
    pub(super) async fn says(&mut self, all: &str, but: &[(&str, &str)]) {
        let parts = self.parts().await;
        assert!(!parts.is_empty());
        for (part, said) in &parts {
            let expected = but.iter().find(|(name, _)| name == part).map_or(all, |(_, said)| said);
            assert_eq!(said, expected, "{part}: {parts:?}");
        }
        assert!(but.iter().all(|(name, _)| parts.contains_key(*name)), "{parts:?}");
    }

    /// What the check makes of a network that resets, falls silent and is slow on the way to the server behind `proxy`; `whole` are the
    /// parts that do not need that server.
    pub(super) async fn through(&mut self, proxy: &FaultProxy, whole: &[(&str, &str)]) {
        self.through_as(proxy, ["fail reset", "fail timeout"], whole).await;
    }

    /// The same, where the two have other names.
    async fn through_as(&mut self, proxy: &FaultProxy, [reset, timeout]: [&str; 2], whole: &[(&str, &str)]) {
        self.says("pass", &[]).await;
        proxy.set(Fault::Reset).await.unwrap();
        self.says(reset, whole).await;
        assert!(self.evidence.contains("reset"), "{}", self.evidence);
        self.silent(proxy, timeout, whole).await;
        // Each answer of the server, of which a login has several, comes later; the whole look stays well below the timeout.
        proxy.set(Fault::Delay(Duration::from_millis(50))).await.unwrap();
        self.says("pass", &[]).await;
        proxy.clear().await.unwrap();
        self.says("pass", &[]).await;
    }

    /// What the check says while nothing comes through any more, and it stays like that.
    async fn silent(&mut self, proxy: &FaultProxy, timeout: &str, whole: &[(&str, &str)]) {
        proxy.set(Fault::BlackHole).await.unwrap();
        let patience = std::mem::replace(&mut self.cx.timeout, Duration::from_secs(2));
        self.says(timeout, whole).await;
        assert!(self.evidence.contains("no answer within"), "{}", self.evidence);
        self.cx.timeout = patience;
    }

    /// Wherever the server's words are cut off, none of these parts passes; when enough came through they say the truth, and they
    /// still do when all is well again.
    async fn cut_off(&mut self, proxy: &FaultProxy, truth: &[(&str, &str)]) {
        for step in 0..200 {
            proxy.set(Fault::Truncate(step * 100)).await.unwrap();
            let parts = self.parts().await;
            let said: Vec<_> = truth.iter().map(|(part, _)| (*part, parts[*part].as_str())).collect();
            assert!(said.iter().all(|(_, said)| *said != "pass"), "after {} bytes: {parts:?}", step * 100);
            if said == truth {
                assert!(step > 10, "this soon? {parts:?}");
                proxy.clear().await.unwrap();
                return self.says("pass", truth).await;
            }
        }
        panic!("the truth does not come out: {}", self.evidence);
    }
}

/// The same login by way of a proxy.
pub(super) fn by_way_of(proxy: &FaultProxy, dsn: &str, postgres: &Postgres) -> String {
    dsn.replace(&format!("127.0.0.1:{}", postgres.port()), &proxy.address().to_string())
}

/// A proxy on the way to this server.
pub(super) fn proxy_to(postgres: &Postgres) -> FaultProxy {
    FaultProxy::start(format!("127.0.0.1:{}", postgres.port())).unwrap()
}

async fn identity(moved: &Moved) {
    let Moved { old, new, way, .. } = moved;
    let block = |method: &str| json!({"old": "old", "new": "new", "method": method});
    let (right, wrong, reason) = match way {
        Way::DumpRestore => ("dumpRestore", "volumeCopy", "fail not_copied"),
        Way::VolumeCopy => ("volumeCopy", "dumpRestore", "fail copied"),
    };
    let (of_old, of_new) = (old.observer_dsn(), new.observer_dsn());
    moved.look("postgresIdentity", block(right), [("old", &of_old), ("new", &of_new)]).says("pass", &[]).await;
    moved.look("postgresIdentity", block(wrong), [("old", &of_old), ("new", &of_new)]).says("pass", &[("both", reason)]).await;
    let same = [("both", "fail same_server")];
    moved.look("postgresIdentity", block(right), [("old", &of_old), ("new", &of_old)]).says("pass", &same).await;
    let proxy = proxy_to(new);
    let through = by_way_of(&proxy, &of_new, new);
    let mut look = moved.look("postgresIdentity", block(right), [("old", &of_old), ("new", &through)]);
    look.through(&proxy, &[("old", "pass")]).await;
}

async fn ready(moved: &Moved) {
    for postgres in [&moved.old, &moved.new] {
        let proxy = proxy_to(postgres);
        let dsn = by_way_of(&proxy, &postgres.observer_dsn(), postgres);
        let mut look = moved.look("postgresReady", json!({"postgres": "it"}), [("it", &dsn)]);
        look.through(&proxy, &[]).await;
        postgres.set("full_page_writes", "off").await.unwrap();
        look.says("fail unsafe_setting", &[]).await;
        postgres.reset("full_page_writes").await.unwrap();
        look.says("pass", &[]).await;
    }
}

async fn canary(moved: &Moved) {
    let proxy = proxy_to(&moved.new);
    let dsn = by_way_of(&proxy, &moved.new.canary_dsn(), &moved.new);
    let mut look = moved.look("postgresCanary", json!({"postgres": "new", "holdFor": "0s"}), [("new", &dsn)]);
    look.through(&proxy, &[]).await;
    sql(&moved.new, "UPDATE phasegate.canary SET beat = beat - 2").await;
    // What was lost is told for ten looks, whatever `holdFor` says.
    for _ in 0..10 {
        look.says("fail commit_lost", &[]).await;
    }
    look.says("pass", &[]).await;
    // Never on the old side: nobody made the table there.
    let old = moved.old.observer_dsn();
    moved.look("postgresCanary", json!({"postgres": "old"}), [("old", &old)]).says("unknown not_set_up", &[]).await;
}

async fn sequences(moved: &Moved) {
    let dsn = [moved.old.observer_dsn(), moved.new.observer_dsn()];
    let block = json!({"old": "old", "new": "new"});
    let mut look = moved.look("postgresSequences", block, [("old", &dsn[0]), ("new", &dsn[1])]);
    look.says("pass", &[]).await;
    let set = |to: &str| {
        format!(
            "SELECT setval(format('%I.%I', schemaname, sequencename)::regclass, {to}) FROM pg_sequences \
             WHERE schemaname = 'public'"
        )
    };
    sql(&moved.new, &set("1, false")).await;
    look.says("pass", &[("values", "fail sequence_behind"), ("columns", "fail collides")]).await;
    sql(&moved.new, &set("1000000, true")).await;
    look.says("pass", &[]).await;
}

async fn indexes(moved: &Moved) {
    let dsn = moved.new.observer_dsn();
    let mut look = moved.look("postgresIndexes", json!({"postgres": "new"}), [("new", &dsn)]);
    look.says("pass", &[]).await;
    sql(&moved.new, "CREATE TABLE more (n int); CREATE INDEX more_n ON more (n)").await;
    sql(&moved.new, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'more_n'::regclass").await;
    look.says("pass", &[("indexes", "fail invalid_index")]).await;
    sql(&moved.new, "DROP TABLE more").await;
    look.says("pass", &[]).await;
}

#[tokio::test]
async fn a_server_of_each_version_has_what_tests_ask_of_it() {
    for major in Major::ALL {
        let world = World::new().unwrap();
        let settings = [("shared_preload_libraries", "pg_stat_statements")];
        let postgres = Postgres::start_with(&world, major, &settings).await.unwrap();
        sql(&postgres, "CREATE EXTENSION pg_stat_statements; CREATE EXTENSION amcheck; SELECT count(*) FROM pg_stat_statements")
            .await;
        sql(&postgres, "BEGIN; CREATE TABLE mine (); PREPARE TRANSACTION 'mine'").await;
        sql(&postgres, "ROLLBACK PREPARED 'mine'").await;
        let session = postgres.connect_as_superuser().await.unwrap();
        let version: String = session.query_one("SHOW server_version", &[]).await.unwrap().get(0);
        assert!(version.starts_with(major.number()), "{version}");
        for program in ["pg_dump", "pg_restore", "psql", "pgbench"] {
            Postgres::program_of(major, program).await.unwrap();
        }
        let error = postgres.set("max_connections", "50").await.unwrap_err();
        assert!(error.to_string().contains("needs a restart"), "{error:#}");
        postgres.set("no_such_setting", "1").await.unwrap_err();
        postgres.set("log_line_prefix", "it's ").await.unwrap();
    }
}
