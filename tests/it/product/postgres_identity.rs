//! `postgresIdentity` against real servers: one under two names, two that are copies of each other, and one that takes another's place.

use std::sync::Arc;
use std::time::Duration;

use checks::{Context, DynCheck, Outcome, PartId, Step};
use chrono::TimeDelta;
use serde_json::{Value, json};
use tests::{FaultProxy, Postgres, Spec, World};

use super::postgres_canary::{context, sql};

struct Two {
    world: World,
    old: Postgres,
    new: Postgres,
}

/// The check as the verifier holds it.
struct Look {
    check: Arc<dyn DynCheck>,
    cx: Context,
    memory: Option<Vec<u8>>,
}

impl Two {
    async fn start() -> Self {
        let world = World::new().unwrap();
        let (old, new) = tokio::try_join!(Postgres::start(&world), Postgres::start(&world)).unwrap();
        Self { world, old, new }
    }

    /// The check with these further settings, between two logins.
    fn look_at(&self, more: Value, old: &str, new: &str) -> Look {
        let mut block = json!({"old": "old", "new": "new", "holdFor": "1m"});
        block.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let cx = context(&self.world, [("old", old), ("new", new)]);
        Look { check: (checks::registry().get("postgresIdentity").unwrap().parse)(block).unwrap(), cx, memory: None }
    }

    fn look(&self, more: Value) -> Look {
        self.look_at(more, &self.old.dsn(), &self.new.dsn())
    }

    /// The new server becomes a copy of the old one's files.
    async fn copy(&self) {
        tokio::try_join!(self.old.stop(), self.new.stop()).unwrap();
        std::fs::remove_dir_all(self.new.data()).unwrap();
        let (from, to) = (self.old.data().display().to_string(), self.new.data().display().to_string());
        let copied = self.world.run(Spec::new("cp", "/bin/cp").args(["-a".to_owned(), from, to]), Duration::from_mins(1)).await;
        assert_eq!(copied.unwrap().code, 0);
        tokio::try_join!(self.old.start_again(), self.new.start_again()).unwrap();
    }
}

impl Look {
    /// One look, some seconds later: for each part `pass`, or the reason.
    async fn parts(&mut self) -> [String; 3] {
        self.cx.now += TimeDelta::seconds(5);
        let report = self.check.run(&self.cx, self.memory.as_deref()).await.unwrap();
        self.memory = Some(report.memory);
        let Step::Done(parts) = report.step else { panic!("not done") };
        ["both", "old", "new"].map(|name| reason(&parts[&PartId::new(name)]))
    }
}

fn reason(outcome: &Outcome) -> String {
    outcome.reason().map_or_else(|| "pass".to_owned(), ToString::to_string)
}

fn are(parts: [&str; 3]) -> [String; 3] {
    parts.map(str::to_owned)
}

#[tokio::test]
async fn two_servers_are_two_and_one_under_two_names_is_one() {
    let two = Two::start().await;
    let mut look = two.look(json!({}));
    assert_eq!(look.parts().await, are(["pass", "pass", "pass"]));
    assert_eq!(reason(&look.check.control(&look.cx, None).await), "same_server");
    // By another address, and in another database.
    let alias = FaultProxy::start(format!("127.0.0.1:{}", two.old.port())).unwrap();
    let dsn = format!("postgres://server:server@{}/homelab", alias.address());
    assert_eq!(two.look_at(json!({}), &two.old.dsn(), &dsn).parts().await, are(["same_server", "pass", "pass"]));
    let other = two.old.url("server", "server", "postgres");
    assert_eq!(two.look_at(json!({}), &two.old.dsn(), &other).parts().await, are(["same_server", "pass", "pass"]));
    // The look leaves nothing behind that another would trip over.
    let locks = two.old.connect_as_superuser().await.unwrap();
    let left: i64 = locks.query_one("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'", &[]).await.unwrap().get(0);
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_copy_of_the_files_is_told_from_a_restored_dump() {
    let two = Two::start().await;
    assert_eq!(two.look(json!({"method": "volumeCopy"})).parts().await, are(["not_copied", "pass", "pass"]));
    two.copy().await;
    assert_eq!(two.look(json!({})).parts().await, are(["copied", "pass", "pass"]));
    assert_eq!(two.look(json!({"method": "volumeCopy"})).parts().await, are(["pass", "pass", "pass"]));
}

#[tokio::test]
async fn another_server_in_the_place_of_one_is_seen_and_so_is_one_that_can_not_be_written_to() {
    let two = Two::start().await;
    let (mut look, third) = (two.look(json!({})), Postgres::start(&two.world).await.unwrap());
    assert_eq!(look.parts().await, are(["pass", "pass", "pass"]));
    look.cx.targets = context(&two.world, [("old", &two.old.dsn()), ("new", &third.dsn())]).targets;
    assert_eq!(look.parts().await, are(["pass", "pass", "swapped"]));
    look.cx.now += TimeDelta::seconds(60);
    assert_eq!(look.parts().await, are(["pass", "pass", "pass"]), "it was meant");
    let expected = two.look(json!({"oldSystem": "1", "newSystem": "1"})).parts().await;
    assert_eq!(expected, are(["pass", "wrong_server", "wrong_server"]));
    for postgres in [&two.old, &two.new] {
        sql(postgres, "ALTER SYSTEM SET default_transaction_read_only = on").await;
        sql(postgres, "SELECT pg_reload_conf()").await;
    }
    let read_only = tests::wait_until(super::PATIENCE, "the setting holds", async || {
        let parts = two.look(json!({})).parts().await;
        anyhow::ensure!(parts == are(["pass", "pass", "read_only"]), "{parts:?}");
        Ok(())
    });
    read_only.await.unwrap();
    two.old.stop().await.unwrap();
    assert_eq!(two.look(json!({})).parts().await, are(["refused", "refused", "read_only"]));
}
