//! The way back after the point of no return: rows that came to the new server go to the old one, all of them or none.

use reqwest::Method;
use tests::Major;

use super::*;

pub(super) const CARRY: &str = "carry-back --old env:OLD_OWNER --new env:NEW_OBSERVER --wait 2s";

/// Tables of all kinds, in an order in which nothing refers to what comes first by name.
const TABLES: &str = r#"
    CREATE TABLE public.a_child (id int PRIMARY KEY, metric int NOT NULL REFERENCES public.metrics);
    CREATE SCHEMA "Odd ""one""";
    CREATE TABLE "Odd ""one"""."it's" (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "my value" text,
      twice int GENERATED ALWAYS AS (length("my value") * 2) STORED, gone int);
    ALTER TABLE "Odd ""one"""."it's" DROP COLUMN gone;
    CREATE TABLE public.loose (at timestamptz(0), raw bytea, price numeric, tags text[]);
    CREATE TABLE public.parts (at date NOT NULL, n int) PARTITION BY RANGE (at);
    CREATE TABLE public.parts_1 PARTITION OF public.parts FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
    CREATE TABLE public.parts_2 PARTITION OF public.parts FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
    CREATE SEQUENCE public.down INCREMENT -1;
    INSERT INTO public.a_child VALUES (1, 1);
    INSERT INTO "Odd ""one"""."it's" ("my value") VALUES ('before');
    INSERT INTO public.loose VALUES ('2026-01-01', '\xff', 1.0, '{a}'), ('2026-01-01', '\xff', 1.0, '{a}');
    INSERT INTO public.parts VALUES ('2026-01-05', 1);
    ALTER TABLE public.a_child OWNER TO server; ALTER SCHEMA "Odd ""one""" OWNER TO server;
    ALTER TABLE "Odd ""one"""."it's" OWNER TO server; ALTER TABLE public.loose OWNER TO server;
    ALTER TABLE public.parts OWNER TO server; ALTER TABLE public.parts_1 OWNER TO server; ALTER TABLE public.parts_2 OWNER TO server;
    ALTER SEQUENCE public.down OWNER TO server;
    GRANT USAGE ON SCHEMA "Odd ""one""" TO observer;
    GRANT SELECT ON ALL TABLES IN SCHEMA public, "Odd ""one""" TO observer;
    GRANT SELECT ON ALL SEQUENCES IN SCHEMA public, "Odd ""one""" TO observer"#;

/// What the application does on the new server after the switch.
const TRAFFIC: &str = r#"
    INSERT INTO public.metrics (value) SELECT generate_series(1001, 1007);
    INSERT INTO public.a_child VALUES (2, 107), (3, 101);
    INSERT INTO "Odd ""one"""."it's" ("my value") VALUES (E'tab\tline\nback\\slash'), (NULL), ('\N'), ('ü ''quoted'' "too"');
    INSERT INTO public.loose VALUES ('2026-02-02', '\x00ff', 2.50, '{"x,y",NULL}'), ('2026-02-02', '\x00ff', 2.50, '{"x,y",NULL}');
    INSERT INTO public.parts VALUES ('2026-01-06', 2), ('2026-02-06', 3);
    SELECT nextval('public.down'), nextval('public.down')"#;

/// All rows of all tables, and where their sequences stand.
const ALL: &str = r#"SELECT json_build_object(
    'metrics', (SELECT json_agg(t ORDER BY id) FROM public.metrics t), 'child', (SELECT json_agg(t ORDER BY id) FROM public.a_child t),
    'odd', (SELECT json_agg(t ORDER BY id) FROM "Odd ""one"""."it's" t), 'loose', (SELECT json_agg(t ORDER BY t) FROM public.loose t),
    'parts', (SELECT json_agg(t ORDER BY t) FROM public.parts t), 'down', (SELECT last_value FROM public.down),
    'ids', (SELECT last_value FROM public.metrics_id_seq), 'odd_ids', (SELECT last_value FROM "Odd ""one"""."it's_id_seq"))::text"#;

async fn all(server: &Postgres) -> Value {
    let session = server.connect_as_superuser().await.unwrap();
    let text: String = session.query_one(ALL, &[]).await.unwrap().get(0);
    serde_json::from_str(&text).unwrap()
}

/// Both servers with all tables, the old one fenced, and a mark.
async fn switched() -> Pair {
    let pair = Pair::new().await;
    switch(&pair).await;
    pair
}

async fn switch(pair: &Pair) {
    for side in [&pair.old, &pair.new] {
        sql(side, TABLES).await;
    }
    fence(pair).await;
}

async fn fence(pair: &Pair) {
    pair.old.grant("owner").await.unwrap();
    pair.exits(0, FENCE).await;
    pair.exits(0, BASELINE).await;
}

/// Refused with these words, and without a change.
async fn refused(pair: &Pair, code: i32, words: &[&str]) {
    let before = all(&pair.old).await;
    let output = pair.exits(code, CARRY).await;
    for words in words {
        assert!(output.stdout.contains(words) || output.stderr.contains(words), "{words}: {}{}", output.stdout, output.stderr);
    }
    assert!(output.stderr.contains("nothing was changed") || output.stdout.contains("nothing was changed"), "{}", output.stderr);
    assert_eq!(all(&pair.old).await, before);
    pair.exits(1, &format!("{CARRY} --check")).await;
    assert!(!pair.writes().await, "the fence stays");
}

async fn back_and_on(pair: &Pair) {
    pair.exits(0, &format!("{CARRY} --check")).await;
    sql(&pair.new, TRAFFIC).await;
    let (old, new) = (all(&pair.old).await, all(&pair.new).await);
    let left = pair.exits(1, &format!("{CARRY} --check")).await;
    assert!(left.stdout.contains("17 rows are left to carry"), "{}", left.stdout);
    let dry = pair.exits(0, &format!("{CARRY} --dry-run")).await;
    assert!(dry.stdout.contains("public.metrics: 7 rows would be carried back"), "{}", dry.stdout);
    assert_eq!(all(&pair.old).await, old);
    pair.exits(1, UNFENCE).await;

    let carried = pair.exits(0, &format!("{CARRY} -o json")).await;
    let body: Value = serde_json::from_str(&carried.stdout).unwrap();
    assert_eq!((&body["fact"], &body["done"]), (&"postgres-mark.2".into(), &true.into()), "{body}");
    assert_eq!(all(&pair.old).await, new);
    assert!(!pair.writes().await, "the fence stays until it is taken off");
    assert_eq!(
        pair.fact("postgres-mark.2").await["value"]["old"]["identity"],
        pair.fact("postgres-mark").await["value"]["old"]["identity"]
    );
    let again = pair.exits(0, CARRY).await;
    assert!(again.stdout.contains("nothing is left to carry"), "{}", again.stdout);
    pair.exits(0, &format!("{CARRY} --check")).await;

    pair.exits(0, UNFENCE).await;
    assert!(pair.writes().await);
    let session = pair.old.connect().await.unwrap();
    let id: i32 = session.query_one("SELECT max(id) FROM public.metrics", &[]).await.unwrap().get(0);
    assert_eq!(id, 108, "ids go on after those that the new server gave out");
    session.execute(r#"INSERT INTO "Odd ""one"""."it's" ("my value") VALUES ('on')"#, &[]).await.unwrap();
    pair.exits(0, &format!("{CARRY} --check")).await;
}

#[tokio::test]
async fn rows_go_back_with_their_ids_and_the_application_goes_on_there() {
    back_and_on(&switched().await).await;
}

#[tokio::test]
async fn rows_go_back_from_a_newer_version() {
    let world = World::new().unwrap();
    let old = Postgres::start_version(&world, Major::Fifteen).await.unwrap();
    let new = Postgres::start_version(&world, Major::Eighteen).await.unwrap();
    let pair = Pair::between(world, old, new, &document()).await;
    switch(&pair).await;
    back_and_on(&pair).await;
}

#[tokio::test]
async fn what_is_there_already_is_not_carried_twice() {
    let pair = switched().await;
    sql(&pair.new, TRAFFIC).await;
    let marks = pair.verifier.get("/v1/facts").await.unwrap().json().unwrap();
    pair.exits(0, CARRY).await;
    let after = all(&pair.old).await;
    // As if it had been killed right after the commit: nothing is recorded under this name, and the first mark counts.
    let first = pair.fact("postgres-mark").await["value"].clone();
    assert_eq!(marks["facts"].as_array().unwrap().len(), 1);
    let put = pair.verifier.request(Method::PUT, "/v1/facts/killed", Some(Role::Operate), Some(&first)).await.unwrap();
    assert_eq!(put.status, 200, "{put:?}");
    let second = pair.exits(0, &format!("{CARRY} --fact killed")).await;
    assert!(second.stdout.contains("public.metrics: 7 rows are on the old server already"), "{}", second.stdout);
    assert_eq!(all(&pair.old).await, after);
    pair.exits(0, &format!("{UNFENCE} --fact killed")).await;
}

#[tokio::test]
async fn without_a_verifier_this_machine_remembers() {
    let pair = switched().await;
    sql(&pair.new, TRAFFIC).await;
    pair.verifier.kill9().await.unwrap();
    let carried = pair.exits(0, CARRY).await;
    assert!(carried.stdout.contains("postgres-mark.2 is kept on this machine alone"), "{}", carried.stdout);
    assert_eq!(all(&pair.old).await, all(&pair.new).await);
    pair.exits(0, UNFENCE).await;
    assert!(pair.writes().await);
}

#[tokio::test]
async fn what_was_changed_deleted_or_truncated_does_not_lead_back() {
    let pair = switched().await;
    sql(&pair.new, TRAFFIC).await;
    sql(&pair.new, "TRUNCATE public.loose; INSERT INTO public.loose VALUES ('2026-03-03', '', 1, '{}')").await;
    refused(&pair, 1, &["public.loose: rows of before the mark are not the same on both servers (2 on the old one, 0 on"]).await;
    sql(&pair.new, "DELETE FROM public.a_child WHERE id = 2").await;
    refused(&pair, 1, &["public.a_child: 1 rows came to the new server; counted since the mark: 2 inserted, 1 deleted"]).await;
    sql(&pair.new, "UPDATE public.metrics SET value = 0 WHERE id = 5").await;
    refused(&pair, 1, &["public.metrics: 8 rows came to the new server; counted since the mark: 7 inserted, 1 updated"]).await;
    sql(&pair.new, "SELECT pg_stat_reset()").await;
    refused(&pair, 1, &["counters began anew since the mark, so whether rows were changed can not be told"]).await;
}

#[tokio::test]
async fn rows_on_both_sides_are_not_merged() {
    let pair = switched().await;
    sql(&pair.new, TRAFFIC).await;
    pair.exits(0, &format!("{UNFENCE} --accept-loss")).await;
    assert!(pair.writes().await);
    pair.exits(0, FENCE).await;
    refused(
        &pair,
        1,
        &[
            "public.metrics: 1 rows came to the old server since the mark, and 7 to the new one",
            "may have given out the same ids",
        ],
    )
    .await;
    sql(&pair.old, "BEGIN READ WRITE; DELETE FROM public.metrics WHERE value = 0; COMMIT").await;
    refused(&pair, 1, &["public.metrics: counted on the old server since the mark: 1 inserted, 1 deleted"]).await;
}

#[tokio::test]
async fn a_server_on_which_something_can_still_be_written_is_waited_for() {
    let pair = switched().await;
    sql(&pair.new, TRAFFIC).await;
    let open = pair.new.connect().await.unwrap();
    open.batch_execute("BEGIN; INSERT INTO public.metrics (value) VALUES (1)").await.unwrap();
    refused_while_open(&pair, "1 transactions write, 0 are prepared").await;
    open.batch_execute("PREPARE TRANSACTION 'half'").await.unwrap();
    refused_while_open(&pair, "0 transactions write, 1 are prepared").await;
    open.batch_execute("COMMIT PREPARED 'half'").await.unwrap();
    let old = pair.old.connect_as_superuser().await.unwrap();
    old.batch_execute("BEGIN READ WRITE; INSERT INTO public.metrics (value) VALUES (1)").await.unwrap();
    refused_while_open(&pair, "1 transactions write, 0 are prepared").await;
    old.batch_execute("ROLLBACK").await.unwrap();
    drop(open);
    let carried = pair.exits(0, CARRY).await;
    assert!(carried.stdout.contains("public.metrics: 8 rows were carried back"), "{}", carried.stdout);
    pair.old.stop().await.unwrap();
}

async fn refused_while_open(pair: &Pair, words: &str) {
    let before = all(&pair.old).await;
    let output = pair.exits(1, CARRY).await;
    assert!(output.stderr.contains(words) && output.stderr.contains("nothing was changed"), "{}", output.stderr);
    assert_eq!(all(&pair.old).await, before);
}

#[tokio::test]
async fn what_the_old_server_would_not_take_as_it_is_is_refused_by_name() {
    let pair = switched().await;
    sql(&pair.new, TRAFFIC).await;
    // A trigger: the owner may not leave it out, and one that fires always can not be left out.
    let write = |statement: &str| format!("BEGIN READ WRITE; {statement}; COMMIT");
    let trigger = "CREATE FUNCTION public.double() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.value := 0; RETURN NEW; END'; \
         CREATE TRIGGER twice BEFORE INSERT ON public.metrics FOR EACH ROW EXECUTE FUNCTION public.double()";
    sql(&pair.old, &write(trigger)).await;
    refused(&pair, 1, &["twice on public.metrics", "GRANT SET ON PARAMETER session_replication_role"]).await;
    sql(&pair.old, &write("ALTER TABLE public.metrics ENABLE ALWAYS TRIGGER twice")).await;
    refused(&pair, 1, &["twice on public.metrics would fire in any case"]).await;
    sql(&pair.old, &write("ALTER TABLE public.metrics ENABLE TRIGGER twice")).await;
    // Columns that differ.
    sql(&pair.old, &write("ALTER TABLE public.loose DROP COLUMN tags")).await;
    refused(&pair, 1, &["public.loose: column tags is text[] on the new server and not there on the old one"]).await;
    sql(&pair.old, &write("ALTER TABLE public.loose ADD COLUMN tags text[]; UPDATE public.loose SET tags = '{a}'")).await;
    refused(&pair, 1, &["public.loose: counted on the old server since the mark: 2 updated"]).await;
}

#[tokio::test]
async fn rights_that_are_missing_and_large_objects_are_named() {
    let pair = switched().await;
    sql(&pair.new, TRAFFIC).await;
    sql(
        &pair.old,
        "BEGIN READ WRITE; ALTER TABLE public.loose OWNER TO postgres; GRANT SELECT ON public.loose TO phasegate_owner; COMMIT",
    )
    .await;
    refused(&pair, 4, &["public.loose: the role may not add rows on the old server", "GRANT postgres TO that role"]).await;
    let superuser = CARRY.replace("OLD_OWNER", "OLD_SUPERUSER");
    pair.exits(0, &format!("{superuser} --dry-run")).await;
    sql(&pair.new, "SELECT lo_from_bytea(4711, 'x')").await;
    refused(&pair, 1, &["1 large objects were made or changed hands on the new server since the mark: 4711"]).await;
    pair.old.stop().await.unwrap();
    std::fs::write(pair.old.data().join("standby.signal"), "").unwrap();
    pair.old.start_again().await.unwrap();
    refused(&pair, 1, &["the old server is in recovery"]).await;
}

#[tokio::test]
async fn a_trigger_is_left_out_if_the_role_may() {
    let pair = switched().await;
    sql(&pair.new, TRAFFIC).await;
    let trigger = "CREATE FUNCTION public.double() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.value := 0; RETURN NEW; END'; \
         CREATE TRIGGER twice BEFORE INSERT ON public.metrics FOR EACH ROW EXECUTE FUNCTION public.double()";
    sql(
        &pair.old,
        &format!("BEGIN READ WRITE; {trigger}; GRANT SET ON PARAMETER session_replication_role TO phasegate_owner; COMMIT"),
    )
    .await;
    let carried = pair.exits(0, CARRY).await;
    assert!(carried.stdout.contains("left out by session_replication_role"), "{}", carried.stdout);
    assert_eq!(all(&pair.old).await, all(&pair.new).await);
}

#[tokio::test]
async fn what_the_old_server_makes_of_a_row_must_add_up_as_well() {
    let pair = Pair::new().await;
    for side in [&pair.old, &pair.new] {
        sql(side, TABLES).await;
    }
    // The same column of the same type, generated by another expression: only the sum of what is there in the end tells.
    let otherwise = r#"BEGIN READ WRITE; ALTER TABLE "Odd ""one"""."it's" DROP COLUMN twice;
        ALTER TABLE "Odd ""one"""."it's" ADD COLUMN twice int GENERATED ALWAYS AS (length("my value") * 3) STORED; COMMIT"#;
    sql(&pair.old, otherwise).await;
    fence(&pair).await;
    sql(&pair.new, TRAFFIC).await;
    refused(&pair, 1, &[r#""Odd ""one"""."it's": 5 rows on the old server do not add up to those of both"#]).await;
}

/// Each row takes the old server a while.
const SLOW: &str = "BEGIN READ WRITE; CREATE FUNCTION public.slow(int) RETURNS boolean LANGUAGE plpgsql AS \
     'BEGIN IF $1 > 1000 THEN PERFORM pg_sleep(0.03); END IF; RETURN true; END'; \
     ALTER TABLE public.metrics ADD CHECK (public.slow(value)); COMMIT";

#[tokio::test]
async fn what_is_broken_off_in_the_middle_changes_nothing() {
    let pair = switched().await;
    sql(&pair.new, "INSERT INTO public.metrics (value) SELECT generate_series(1001, 1200)").await;
    sql(&pair.old, SLOW).await;
    let before = all(&pair.old).await;
    let run = pair.starts(CARRY);
    says(&run, "of 200 rows are over after").await;
    run.kill().await.unwrap();
    alone(&pair).await;
    assert_eq!(all(&pair.old).await, before);
    let run = pair.starts(CARRY);
    says(&run, "of 200 rows are over after").await;
    run.signal(rustix::process::Signal::INT);
    assert_eq!(ends(&run).await, 130, "{}", run.log());
    assert!(run.stderr().contains("takes back what was not committed"), "{}", run.stderr());
    alone(&pair).await;
    assert_eq!(all(&pair.old).await, before);
    // What comes in the meantime is not overlooked.
    let run = pair.starts(CARRY);
    says(&run, "of 200 rows are over after").await;
    sql(&pair.new, "INSERT INTO public.metrics (value) VALUES (1)").await;
    assert_eq!(ends(&run).await, 1, "{}", run.log());
    assert!(run.stderr().contains("public.metrics was written to meanwhile (1 inserted)"), "{}", run.stderr());
    alone(&pair).await;
    assert_eq!(all(&pair.old).await, before);
    pair.exits(0, CARRY).await;
    assert_eq!(all(&pair.old).await, all(&pair.new).await);
}

/// Waits until the old server has noticed.
async fn alone(pair: &Pair) {
    let session = pair.old.connect_as_superuser().await.unwrap();
    wait_until(PATIENCE, "the transaction is gone", async || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'phasegate_owner'";
        let left: i64 = session.query_one(sql, &[]).await?.get(0);
        ensure!(left == 0, "{left}");
        Ok(())
    })
    .await
    .unwrap();
}
