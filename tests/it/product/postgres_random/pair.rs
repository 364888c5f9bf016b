//! Servers that are started once, and a random database that moves from one of them to another.

use std::collections::BTreeMap;
use std::sync::Arc;

use checks::postgres::manifest::Manifest;
use checks::postgres::mark::{Mark, Side as Marked};
use checks::postgres::taking::{Counting, Depth, Holding};
use checks::{Context, Fact, Outcome, Step};
use chrono::TimeDelta;
use serde_json::{Value, json};
use tests::{Major, Postgres, Session, World};

use super::mutations::{Mutation, Side, mutations};
use super::schema::{ROLES, schema};
use crate::model::rng::Rng;
use crate::product::postgres_canary::context;

const DEPTH: Depth = Depth { exact_up_to_gib: 10, sample_one_in: 100, load_percent: 100 };
/// What is not at stake here costs no time, and what is on its own is not compared.
const SETTINGS: &[(&str, &str)] =
    &[("fsync", "off"), ("full_page_writes", "off"), ("autovacuum", "off"), ("lo_compat_privileges", "on")];
/// The observer, as for a database with row security.
const OBSERVER: &str = "GRANT pg_read_all_data TO phasegate; ALTER ROLE phasegate BYPASSRLS";

/// One of 17, one of 18, and two of 15.
pub(super) struct Servers {
    world: World,
    fifteen: [Postgres; 2],
    seventeen: Postgres,
    eighteen: Postgres,
}

impl Servers {
    pub(super) async fn start() -> Self {
        let world = World::new().unwrap();
        let start = |major| Postgres::start_with(&world, major, SETTINGS);
        let (a, b, seventeen, eighteen) =
            tokio::try_join!(start(Major::Fifteen), start(Major::Fifteen), start(Major::Seventeen), start(Major::Eighteen))
                .unwrap();
        let servers = Self { world, fifteen: [a, b], seventeen, eighteen };
        for postgres in servers.fifteen.iter().chain([&servers.seventeen, &servers.eighteen]) {
            postgres.grant("observer").await.unwrap();
            let session = postgres.connect_as_superuser().await.unwrap();
            session.batch_execute(&format!("{OBSERVER}; {ROLES}")).await.unwrap();
        }
        servers
    }

    fn pair(&self, seed: u64) -> (&Postgres, &Postgres, &'static str) {
        let [old, new] = &self.fifteen;
        match seed % 4 {
            0 => (old, &self.eighteen, "15 to 18"),
            1 => (&self.seventeen, &self.eighteen, "17 to 18"),
            2 => (old, &self.seventeen, "15 to 17"),
            _ => (old, new, "15 to 15"),
        }
    }
}

/// One database on two servers.
pub(super) struct Case<'a> {
    servers: &'a Servers,
    seed: u64,
    sql: Vec<String>,
    manifest: Manifest,
}

/// The copy of the new side's database that is changed.
const CHANGED: &str = "changed";

async fn on(postgres: &Postgres, database: &str) -> Session {
    postgres.connect_to("postgres", database).await.unwrap()
}

impl<'a> Case<'a> {
    /// Makes it on the old side, and moves it.
    pub(super) async fn made(servers: &'a Servers, seed: u64, rng: &mut Rng) -> Self {
        let (old, new, versions) = servers.pair(seed);
        let mut case = Self { servers, seed, sql: schema(rng), manifest: empty() };
        for postgres in [old, new] {
            on(postgres, "postgres").await.batch_execute(&format!("CREATE DATABASE {}", case.database())).await.unwrap();
        }
        let session = on(old, &case.database()).await;
        for statement in &case.sql {
            if let Err(error) = session.batch_execute(statement).await {
                panic!("seed {seed}, {versions}: {statement}: {error:?}\n{}", case.sql());
            }
        }
        let cx = case.context(&case.database(), &case.database());
        let holding = Holding::begin(&cx, "old").await.unwrap();
        let mut counting = Counting::begin(&cx, "old", &holding, DEPTH).await.unwrap();
        if let Err(error) = new.restore_database(old, &case.database(), &holding.name).await {
            panic!("seed {seed}, {versions}: {error:?}\n{}", case.sql());
        }
        while counting.next(&cx).await.unwrap().is_some() {}
        case.manifest = counting.end(&cx, &holding).await;
        holding.end(&cx).await;
        case
    }

    fn database(&self) -> String {
        format!("random_{}", self.seed)
    }

    pub(super) fn versions(&self) -> &'static str {
        self.servers.pair(self.seed).2
    }

    /// All that made it.
    pub(super) fn sql(&self) -> String {
        self.sql.join(";\n")
    }

    fn context(&self, old_database: &str, new_database: &str) -> Context {
        let (old, new, _) = self.servers.pair(self.seed);
        let dsn = |postgres: &Postgres, database: &str| postgres.url("phasegate", "phasegate", database);
        context(&self.servers.world, [("old", &dsn(old, old_database)), ("new", &dsn(new, new_database))])
    }

    /// What the proofs say of an honest move, unless they pass.
    pub(super) async fn differences(&self) -> Vec<String> {
        let mut said = Vec::new();
        for (kind, with_manifest) in
            [("postgresCatalog", false), ("postgresRows", true), ("postgresRows", false), ("postgresSequences", false)]
        {
            let parts = self.parts(kind, with_manifest, &self.database()).await;
            let wrong = parts.into_iter().filter(|(_, outcome)| !matches!(outcome, Outcome::Pass { .. }));
            said.extend(wrong.map(|(part, outcome)| format!("{kind} {part}: {outcome:?}")));
        }
        said
    }

    /// A proof from its beginning to its end.
    async fn parts(&self, kind: &str, with_manifest: bool, new: &str) -> BTreeMap<String, Outcome> {
        let mut block = json!({"old": "old", "new": "new"});
        let fields = block.as_object_mut().unwrap();
        if kind != "postgresCatalog" {
            fields.insert("loadPercent".to_owned(), json!(100));
        }
        let mut cx = self.context(&self.database(), new);
        if kind == "postgresRows" {
            let mark = Mark { old: Marked::take(&cx, "old").await.unwrap(), new: Marked::take(&cx, "new").await.unwrap() };
            let mut facts = BTreeMap::from([("postgres-mark".to_owned(), serde_json::to_value(&mark).unwrap())]);
            if with_manifest {
                fields.insert("manifest".to_owned(), json!("postgres-manifest"));
                facts.insert("postgres-manifest".to_owned(), serde_json::to_value(&self.manifest).unwrap());
            }
            let fact = |(name, value): (String, Value)| (name, Fact { at: cx.now, value });
            cx.facts = Arc::new(facts.into_iter().map(fact).collect());
        }
        let check = (checks::registry().get(kind).unwrap().parse)(block).unwrap();
        let mut memory: Option<Vec<u8>> = None;
        for _ in 0..200 {
            cx.now += TimeDelta::seconds(5);
            let report = check.run(&cx, memory.as_deref()).await.unwrap();
            assert!(report.memory.len() <= checks::MAX_MEMORY);
            memory = Some(report.memory);
            if let Step::Done(parts) = report.step {
                return parts.into_iter().map(|(part, outcome)| (part.to_string(), outcome)).collect();
            }
        }
        panic!("seed {}: {kind} does not come to an end", self.seed);
    }

    /// Makes one change that can be made: of a copy of the new side's database, or of the old one.
    pub(super) async fn mutated(&self, side: Side, rng: &mut Rng) -> Option<Mutation> {
        let (old, new, _) = self.servers.pair(self.seed);
        let (postgres, database) = match side {
            Side::Old => (old, self.database()),
            Side::New => (new, CHANGED.to_owned()),
        };
        if side == Side::New {
            let copy = format!("CREATE DATABASE {CHANGED} TEMPLATE {}", self.database());
            let admin = on(new, "postgres").await;
            admin.batch_execute(&format!("DROP DATABASE IF EXISTS {CHANGED} WITH (FORCE)")).await.unwrap();
            admin.batch_execute(&copy).await.unwrap();
        }
        let session = on(postgres, &database).await;
        session.batch_execute("SET search_path = pg_catalog; SET session_replication_role = replica").await.unwrap();
        mutations(&session, side, rng).await
    }

    /// Whether no proof finds and names it; then what they said.
    pub(super) async fn misses(&self, mutation: &Mutation) -> Option<String> {
        let new = if mutation.side == Side::New { CHANGED.to_owned() } else { self.database() };
        let mut said = String::new();
        // Both ways are trodden.
        let with_manifest = self.seed.is_multiple_of(2) || mutation.side == Side::Old;
        for kind in mutation.proofs() {
            let parts = self.parts(kind, with_manifest, &new).await;
            for (part, outcome) in parts.iter().filter(|(_, outcome)| !matches!(outcome, Outcome::Pass { .. })) {
                let evidence = outcome.evidence().as_str();
                // Whether a name is quoted that need not be is no matter.
                let (evidence, names) = (evidence.replace('"', ""), mutation.names.replace('"', ""));
                if outcome.label() == "fail" && evidence.contains(&names) {
                    return None;
                }
                said = format!("{said}{kind} {part}: {outcome:?}\n");
            }
        }
        Some(if said.is_empty() { "nothing was said".to_owned() } else { said })
    }

    /// What is outside of the database is as it was.
    pub(super) async fn taken_back(&self, mutation: &Mutation) {
        let (old, new, _) = self.servers.pair(self.seed);
        let postgres = if mutation.side == Side::New { new } else { old };
        if !mutation.back.is_empty() {
            on(postgres, "postgres").await.batch_execute(&mutation.back).await.unwrap();
        }
    }

    pub(super) async fn dropped(&self) {
        let (old, new, _) = self.servers.pair(self.seed);
        for postgres in [old, new] {
            let admin = on(postgres, "postgres").await;
            for database in [self.database(), CHANGED.to_owned()] {
                admin.batch_execute(&format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)")).await.unwrap();
            }
        }
    }
}

fn empty() -> Manifest {
    serde_json::from_value(json!({"identity": "0/0", "snapshot": "3:3:", "at": "1970-01-01T00:00:00Z", "tables": {}})).unwrap()
}
