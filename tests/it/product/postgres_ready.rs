//! `postgresReady` with the verifier's own login beside the application's, against a real server: what that role lacks is named with the
//! GRANT that gives it, and what it has too much of is told.

use std::collections::BTreeMap;

use checks::{Outcome, PartId, Step};
use serde_json::json;
use tests::{Postgres, World};

use super::postgres_canary::{context, sql};

const TABLE: &str = "CREATE SCHEMA app; CREATE TABLE app.metrics (n int); ALTER SCHEMA app OWNER TO server; \
     ALTER TABLE app.metrics OWNER TO server";

/// A server with the application's table, and an observer that nothing was granted to.
struct Seen {
    world: World,
    postgres: Postgres,
}

impl Seen {
    async fn start() -> Self {
        let world = World::new().unwrap();
        let postgres = Postgres::start(&world).await.unwrap();
        sql(&postgres, TABLE).await;
        sql(&postgres, "CREATE ROLE observer LOGIN PASSWORD 'observer'").await;
        Self { world, postgres }
    }

    fn observer(&self) -> String {
        self.postgres.url("observer", "observer", "homelab")
    }

    /// One look with this login of the observer.
    async fn parts(&self, observer: &str) -> BTreeMap<String, Outcome> {
        let cx = context(&self.world, [("application", &self.postgres.dsn()), ("observer", observer)]);
        let block = json!({"postgres": "application", "observer": "observer"});
        let check = (checks::registry().get("postgresReady").unwrap().parse)(block).unwrap();
        let Step::Done(parts) = check.run(&cx, None).await.unwrap().step else { panic!("not done") };
        assert!(matches!(parts[&PartId::new("application")], Outcome::Pass { .. }), "{parts:?}");
        parts.into_iter().map(|(part, outcome)| (part.as_str().to_owned(), outcome)).collect()
    }

    async fn observer_is(&self, observer: &str, reason: &str, colour: &str) -> String {
        let outcome = self.parts(observer).await.remove("observer").unwrap();
        let is = outcome.reason().map_or_else(|| "pass".to_owned(), ToString::to_string);
        assert_eq!((is.as_str(), outcome.label()), (reason, colour), "{outcome:?}");
        outcome.evidence().to_string()
    }
}

#[tokio::test]
async fn what_the_verifiers_own_role_lacks_is_named_and_granting_it_opens() {
    let seen = Seen::start().await;
    let (observer, mut granted) = (seen.observer(), Vec::new());
    for _ in 0..2 {
        let words = seen.observer_is(&observer, "no_permission", "unknown").await;
        let (_, grant) = words.split_once("; run ").unwrap();
        sql(&seen.postgres, grant).await;
        granted.push(grant.to_owned());
    }
    let expected = [
        "GRANT pg_monitor TO \"observer\";",
        "GRANT USAGE ON SCHEMA app TO \"observer\"; GRANT SELECT ON ALL TABLES IN SCHEMA app TO \"observer\";",
    ];
    assert_eq!(granted, expected);
    let words = seen.observer_is(&observer, "pass", "pass").await;
    assert!(words.contains("all of 1 tables, and can not write"), "{words}");
}

#[tokio::test]
async fn a_role_that_could_be_the_applications_is_no_observer() {
    let seen = Seen::start().await;
    let words = seen.observer_is(&seen.postgres.dsn(), "not_an_observer", "unknown").await;
    assert!(words.contains("may write to app.metrics"), "{words}");
    let words = seen.observer_is(&seen.postgres.superuser_dsn(), "not_an_observer", "unknown").await;
    assert!(words.contains("is a superuser"), "{words}");
    let wrong = seen.postgres.url("observer", "wrong", "homelab");
    seen.observer_is(&wrong, "own_login_denied", "unknown").await;
    sql(&seen.postgres, "GRANT pg_monitor TO observer").await;
    let elsewhere = seen.postgres.url("observer", "observer", "postgres");
    seen.observer_is(&elsewhere, "other_database", "fail").await;
}

#[tokio::test]
async fn what_would_make_the_verifier_blind_is_told() {
    let seen = Seen::start().await;
    sql(&seen.postgres, "GRANT pg_monitor TO observer; GRANT USAGE ON SCHEMA app TO observer").await;
    sql(&seen.postgres, "GRANT SELECT ON app.metrics TO observer").await;
    let observer = seen.observer();
    seen.observer_is(&observer, "pass", "pass").await;
    sql(&seen.postgres, "ALTER ROLE observer SET default_transaction_read_only = on").await;
    seen.observer_is(&observer, "own_read_only", "unknown").await;
    sql(&seen.postgres, "ALTER ROLE observer RESET default_transaction_read_only").await;
    let own = format!("{observer}?options=-c%20default_transaction_read_only%3Don");
    seen.observer_is(&own, "own_read_only", "unknown").await;
    sql(&seen.postgres, "ALTER ROLE observer SET track_counts = on").await;
    sql(&seen.postgres, "ALTER SYSTEM SET track_counts = off").await;
    seen.postgres.stop().await.unwrap();
    seen.postgres.start_again().await.unwrap();
    seen.observer_is(&observer, "counters_off", "unknown").await;
}
