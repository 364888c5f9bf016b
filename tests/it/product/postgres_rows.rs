//! `postgresRows` with two real servers: rows of every kind that came over, rows that did not, and writers on both sides meanwhile.

mod facts;
mod kinds;
mod planted;
mod writers;

use std::collections::BTreeMap;
use std::sync::Arc;

use checks::postgres::manifest::Manifest;
use checks::postgres::mark::{Mark, Side};
use checks::postgres::taking::{Counting, Depth, Holding};
use checks::{Context, DynCheck, Fact, Outcome, PartId, Step};
use chrono::TimeDelta;
use serde_json::{Value, json};
use tests::{Major, Postgres, World};

use super::postgres_canary::{context, sql};

const OBSERVER: &str = "CREATE ROLE observer LOGIN PASSWORD 'observer'; GRANT pg_monitor TO observer";
const SEES: &str = "GRANT SELECT ON ALL TABLES IN SCHEMA public TO observer; \
     ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO observer";
/// Every row is hashed, as fast as it goes.
const DEPTH: Depth = Depth { exact_up_to_gib: 10, sample_one_in: 100, load_percent: 100 };

/// An old server with data, and an empty new one.
struct Move {
    world: World,
    old: Postgres,
    new: Postgres,
}

impl Move {
    async fn of(schema: &str) -> Self {
        Self::between(Major::Fifteen, Major::Fifteen, schema).await
    }

    async fn between(from: Major, to: Major, schema: &str) -> Self {
        let world = World::new().unwrap();
        let old = Postgres::start_version(&world, from).await.unwrap();
        let new = Postgres::start_version(&world, to).await.unwrap();
        sql(&old, OBSERVER).await;
        sql(&new, OBSERVER).await;
        sql(&old, schema).await;
        sql(&old, SEES).await;
        Self { world, old, new }
    }

    fn context(&self) -> Context {
        let dsn = |postgres: &Postgres| postgres.url("observer", "observer", "homelab");
        context(&self.world, [("old", &dsn(&self.old)), ("new", &dsn(&self.new))])
    }

    /// A snapshot, and the counting in it.
    async fn begin(&self, depth: Depth) -> (Context, Holding, Counting) {
        let cx = self.context();
        let holding = Holding::begin(&cx, "old").await.unwrap();
        let counting = Counting::begin(&cx, "old", &holding, depth).await.unwrap();
        (cx, holding, counting)
    }

    /// Dumps and restores in one snapshot, and counts in it.
    async fn comes_over(&self) -> Manifest {
        let (cx, holding, counting) = self.begin(DEPTH).await;
        self.new.restore_snapshot(&self.old, &holding.name).await.unwrap();
        counted(&cx, holding, counting).await
    }

    async fn mark(&self) -> Mark {
        let cx = self.context();
        Mark { old: Side::take(&cx, "old").await.unwrap(), new: Side::take(&cx, "new").await.unwrap() }
    }

    /// A comparison with this manifest, and a mark that is taken now.
    async fn look(&self, manifest: Option<&Manifest>, more: Value) -> Look {
        let mut block = json!({"old": "old", "new": "new", "loadPercent": 100});
        let fields = block.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        fields.extend(manifest.map(|_| ("manifest".to_owned(), json!("postgres-manifest"))));
        let check = (checks::registry().get("postgresRows").unwrap().parse)(block).unwrap();
        let mut look = Look { check, cx: self.context(), memory: None, runs: 0, identities: BTreeMap::new() };
        look.knows("postgres-mark", serde_json::to_value(self.mark().await).unwrap());
        if let Some(manifest) = manifest {
            look.knows("postgres-manifest", serde_json::to_value(manifest).unwrap());
        }
        look
    }
}

async fn counted(cx: &Context, holding: Holding, mut counting: Counting) -> Manifest {
    while counting.next(cx).await.unwrap().is_some() {}
    let manifest = counting.end(cx, &holding).await;
    holding.end(cx).await;
    manifest
}

/// The check as the verifier holds it.
struct Look {
    check: Arc<dyn DynCheck>,
    cx: Context,
    memory: Option<Vec<u8>>,
    runs: u32,
    identities: BTreeMap<String, String>,
}

impl Look {
    fn knows(&mut self, name: &str, value: Value) {
        let mut facts = self.cx.facts.as_ref().clone();
        facts.insert(name.to_owned(), Fact { at: self.cx.now, value });
        self.cx.facts = Arc::new(facts);
    }

    /// One Run, some seconds later.
    async fn run(&mut self) -> Step {
        self.cx.now += TimeDelta::seconds(5);
        self.runs += 1;
        let report = self.check.run(&self.cx, self.memory.as_deref()).await.unwrap();
        assert!(report.memory.len() < checks::MAX_MEMORY, "{}", report.memory.len());
        self.memory = Some(report.memory);
        self.identities = report.identities;
        report.step
    }

    /// Runs until it is done.
    async fn parts(&mut self) -> BTreeMap<PartId, Outcome> {
        for _ in 0..1000 {
            if let Step::Done(parts) = self.run().await {
                return parts;
            }
        }
        panic!("a thousand runs, and not done");
    }

    /// A new comparison, from its beginning.
    async fn anew(&mut self) -> [Outcome; 3] {
        self.memory = None;
        let parts = self.parts().await;
        ["tables", "objects", "behind"].map(|name| {
            let part = parts.get(&PartId::new(name)).or_else(|| parts.get(&PartId::new("all")));
            part.unwrap_or_else(|| panic!("{name}: {parts:?}")).clone()
        })
    }

    /// The tables of a new comparison are told with this reason, and these words.
    async fn tables(&mut self, why: &str, words: &[&str]) {
        let [tables, ..] = self.anew().await;
        assert_eq!(reason(&tables), why, "{tables:?}");
        says(&tables, words);
    }
}

fn reason(outcome: &Outcome) -> String {
    outcome.reason().map_or_else(|| "pass".to_owned(), ToString::to_string)
}

fn says(outcome: &Outcome, words: &[&str]) {
    for word in words {
        assert!(outcome.evidence().as_str().contains(word), "{word}: {outcome:?}");
    }
}
