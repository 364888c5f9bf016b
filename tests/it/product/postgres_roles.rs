//! `deploy/postgres/*.sql` by the real `psql` on real servers: what each role can do is enough, and is all.

use serde_json::json;
use tests::{Application, Major, Postgres, Session, World, wait_until};

use super::postgres_canary::sql;
use super::postgres_versions::Look;

const TABLES: &str = "CREATE TABLE IF NOT EXISTS early (id bigserial PRIMARY KEY, word text)";

/// What the server says to a statement that it refuses.
async fn refusal(session: &Session, statement: &str) -> String {
    let Err(error) = session.batch_execute(statement).await else { panic!("{statement} went through") };
    error.as_db_error().map_or_else(|| error.to_string(), |error| error.message().to_owned())
}

async fn text(session: &Session, query: &str) -> Option<String> {
    session.query_one(query, &[]).await.unwrap().get(0)
}

/// `grant` twice: a second time changes nothing and is no error.
async fn granted(world: &World, major: Major, name: &str) -> Postgres {
    let postgres = Postgres::start_version(world, major).await.unwrap();
    postgres.connect().await.unwrap().batch_execute(TABLES).await.unwrap();
    for _ in 0..2 {
        postgres.grant(name).await.unwrap();
    }
    postgres
}

#[tokio::test]
async fn the_observer_reads_what_the_application_has_and_what_the_server_says_and_changes_nothing() {
    for major in Major::ALL {
        let world = World::new().unwrap();
        let postgres = granted(&world, major, "observer").await;
        let application = postgres.connect().await.unwrap();
        let later = "CREATE TABLE later (id bigserial PRIMARY KEY); INSERT INTO later DEFAULT VALUES; INSERT INTO early (word) VALUES ('x')";
        application.batch_execute(later).await.unwrap();

        let observer = postgres.connect_to("phasegate", "homelab").await.unwrap();
        for table in ["early", "later"] {
            assert_eq!(text(&observer, &format!("SELECT count(*)::text FROM {table}")).await.as_deref(), Some("1"));
            let last = format!("SELECT last_value::text FROM pg_sequences WHERE sequencename = '{table}_id_seq'");
            assert_eq!(text(&observer, &last).await.as_deref(), Some("1"), "{major:?}: {table}");
        }
        assert!(text(&observer, "SELECT current_setting('data_directory')").await.unwrap().ends_with("/data"));
        let others = "SELECT count(*)::text FROM pg_stat_activity WHERE usename = 'server' AND state IS NOT NULL";
        assert_eq!(text(&observer, others).await.as_deref(), Some("1"), "{major:?}: another role's session");
        assert_eq!(text(&observer, "SHOW statement_timeout").await.as_deref(), Some("30s"));
        for statement in [
            "INSERT INTO early (word) VALUES ('y')",
            "UPDATE later SET id = 2",
            "DELETE FROM early",
            "TRUNCATE early",
            "SELECT nextval('early_id_seq')",
            "CREATE TABLE mine ()",
            "SELECT rolpassword FROM pg_authid",
            "SELECT pg_reload_conf()",
        ] {
            assert!(refusal(&observer, statement).await.contains("permission denied"), "{major:?}: {statement}");
        }
        // It sees a fence, and no fence where there is none.
        let mut look = Look::at(&world, "postgresReady", json!({"postgres": "it"}), [("it", &postgres.observer_dsn())]);
        look.says("pass", &[]).await;
        postgres.set("default_transaction_read_only", "on").await.unwrap();
        look.says("fail read_only", &[]).await;
    }
}

#[tokio::test]
async fn an_observer_that_leaks_sessions_leaves_the_application_its_own() {
    let world = World::new().unwrap();
    let postgres = Postgres::start(&world).await.unwrap();
    postgres.grant("observer").await.unwrap();
    let mut sessions = Vec::new();
    for _ in 0..16 {
        sessions.push(postgres.connect_to("phasegate", "homelab").await.unwrap());
    }
    let one_more = postgres.connect_to("phasegate", "homelab").await.unwrap_err();
    assert!(format!("{one_more:#}").contains("too many connections for role"), "{one_more:#}");
    postgres.connect().await.unwrap();
}

#[tokio::test]
async fn a_password_that_is_left_out_stays_as_it_is_and_another_application_and_schema_can_be_named() {
    let world = World::new().unwrap();
    let postgres = Postgres::start(&world).await.unwrap();
    sql(&postgres, "CREATE ROLE shop; CREATE SCHEMA goods AUTHORIZATION shop").await;
    for (name, role) in [
        ("observer", "phasegate"),
        ("operator", "phasegate_operator"),
        ("canary", "phasegate_canary"),
        ("owner", "phasegate_owner"),
    ] {
        postgres.run_file(name, &[]).await.unwrap();
        postgres.connect_to(role, "homelab").await.unwrap_err();
        postgres.grant(name).await.unwrap();
        postgres.run_file(name, &[]).await.unwrap();
        postgres.connect_to(role, "homelab").await.unwrap();
    }
    postgres.run_file("observer", &[("app", "shop"), ("schema", "goods")]).await.unwrap();
    sql(&postgres, "SET ROLE shop; CREATE TABLE goods.later ()").await;
    let observer = postgres.connect_to("phasegate", "homelab").await.unwrap();
    assert_eq!(text(&observer, "SELECT count(*)::text FROM goods.later").await.as_deref(), Some("0"));
    // Quotes in a password are a password's.
    let quoted = "it's \"$1\"; DROP ROLE phasegate";
    postgres.run_file("observer", &[("password", quoted)]).await.unwrap();
    let error = postgres.run_file("observer", &[("app", "nobody_of_this_name")]).await.unwrap_err();
    assert!(format!("{error:#}").contains("does not exist"), "{error:#}");
}

/// Words of SQL without comments, commands of `psql` and the breaks of lines.
fn statements(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with("--") && !line.starts_with('\\'));
    lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_canarys_file_and_the_checks_next_step_are_the_same() {
    let registry = checks::registry();
    let reasons = registry.get("postgresCanary").unwrap().meta;
    let next = reasons.reasons().find(|reason| reason.name == "not_set_up").unwrap().next;
    let told = next[next.find("CREATE SCHEMA").unwrap()..].replace("ROLE", "phasegate_canary");
    let file = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/postgres/canary.sql")).unwrap();
    let (file, told) = (statements(&file), statements(&told));
    assert!(file.ends_with(&told), "the file:\n{file}\nthe reason:\n{told}");
}

#[tokio::test]
async fn the_canarys_role_writes_its_rows_and_sees_nothing_else() {
    let world = World::new().unwrap();
    let postgres = granted(&world, Major::Eighteen, "canary").await;
    let mut look = Look::at(&world, "postgresCanary", json!({"postgres": "new"}), [("new", &postgres.canary_dsn())]);
    look.says("pass", &[]).await;
    postgres.grant("canary").await.unwrap();
    look.says("pass", &[]).await;
    let canary = postgres.connect_to("phasegate_canary", "homelab").await.unwrap();
    for statement in ["SELECT * FROM early", "DELETE FROM phasegate.canary", "CREATE TABLE phasegate.more ()"] {
        assert!(refusal(&canary, statement).await.contains("permission denied"), "{statement}");
    }
}

#[tokio::test]
async fn the_operator_fences_and_unfences_without_being_superuser_and_can_do_nothing_else() {
    for major in Major::ALL {
        let world = World::new().unwrap();
        let postgres = granted(&world, major, "operator").await;
        let application = postgres.connect().await.unwrap();
        let operator = postgres.connect_to("phasegate_operator", "homelab").await.unwrap();
        operator.batch_execute("ALTER SYSTEM SET default_transaction_read_only = on").await.unwrap();
        operator.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        let end = "SELECT count(pg_terminate_backend(pid))::text FROM pg_stat_activity WHERE usename = 'server'";
        assert_eq!(text(&operator, end).await.as_deref(), Some("1"), "{major:?}");
        let gone = async || {
            anyhow::ensure!(application.batch_execute("SELECT 1").await.is_err(), "the session is there");
            Ok(())
        };
        wait_until(super::PATIENCE, "the application's session ends", gone).await.unwrap();
        let written = async || Ok(postgres.connect().await?.batch_execute("INSERT INTO early (word) VALUES ('x')").await?);
        let fenced = async || {
            let refused = written().await.is_err_and(|error| format!("{error:#}").contains("read-only transaction"));
            anyhow::ensure!(refused, "writes are taken");
            Ok(())
        };
        wait_until(super::PATIENCE, "the fence holds", fenced).await.unwrap();
        let seen =
            "SELECT count(*)::text FROM pg_stat_activity WHERE datname IS NOT NULL AND state IS NULL AND pid <> pg_backend_pid()";
        assert_eq!(text(&operator, seen).await.as_deref(), Some("0"), "{major:?}: nobody's state is hidden");

        // From within the fence, over a new connection.
        let operator = postgres.connect_to("phasegate_operator", "homelab").await.unwrap();
        for statement in
            ["ALTER SYSTEM SET fsync = off", "SELECT * FROM early", "SELECT pg_promote()", "ALTER ROLE server NOLOGIN"]
        {
            let said = refusal(&operator, statement).await;
            assert!(said.contains("permission denied") || said.contains("read-only"), "{major:?}: {statement}: {said}");
        }
        let superuser = postgres.connect_as_superuser().await.unwrap();
        let pid = text(&superuser, "SELECT pg_backend_pid()::text").await.unwrap();
        let said = refusal(&operator, &format!("SELECT pg_terminate_backend({pid})")).await;
        assert!(said.contains("permission denied to terminate process") || said.contains("must be a superuser"), "{said}");
        operator.batch_execute("ALTER SYSTEM RESET default_transaction_read_only").await.unwrap();
        operator.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        wait_until(super::PATIENCE, "the fence is gone", written).await.unwrap();
    }
}

/// What of another role it may not do, though it does all that the application may.
#[tokio::test]
async fn the_owner_adds_rows_and_raises_sequences_through_a_fence_and_is_no_superuser() {
    for major in Major::ALL {
        let world = World::new().unwrap();
        let postgres = granted(&world, major, "owner").await;
        postgres.set("default_transaction_read_only", "on").await.unwrap();
        let owner = postgres.connect_to("phasegate_owner", "homelab").await.unwrap();
        assert!(
            refusal(&owner, "INSERT INTO early (word) VALUES ('x')").await.contains("read-only"),
            "{major:?}: not by accident"
        );
        let through = "BEGIN READ WRITE; INSERT INTO early (id, word) VALUES (7, 'x'); SELECT setval('early_id_seq', 7); COMMIT";
        owner.batch_execute(through).await.unwrap();
        assert_eq!(text(&owner, "SELECT count(*)::text FROM early").await.as_deref(), Some("1"));
        let others = "SELECT count(*)::text FROM pg_stat_activity WHERE datname IS NOT NULL AND state IS NULL";
        assert_eq!(text(&owner, others).await.as_deref(), Some("0"), "{major:?}: nobody's state is hidden");
        for statement in [
            "SET session_replication_role = replica",
            "ALTER SYSTEM SET default_transaction_read_only = off",
            "SELECT pg_reload_conf()",
            "BEGIN READ WRITE; CREATE ROLE more",
            "SELECT rolpassword FROM pg_authid",
        ] {
            assert!(refusal(&owner, statement).await.contains("permission denied"), "{major:?}: {statement}");
            owner.batch_execute("ROLLBACK").await.unwrap();
        }
        let anew = [("triggers", "yes"), ("password", "phasegate_owner")];
        postgres.reset("default_transaction_read_only").await.unwrap();
        postgres.run_file("owner", &anew).await.unwrap();
        owner.batch_execute("SET session_replication_role = replica").await.unwrap();
    }
}

#[tokio::test]
async fn a_dump_of_a_side_with_these_roles_is_restored_where_they_are() {
    let world = World::new().unwrap();
    let (old, new) = tokio::try_join!(Postgres::start(&world), Postgres::start_version(&world, Major::Eighteen)).unwrap();
    Application::start(&old.dsn()).await.unwrap().stop().await;
    for name in ["observer", "operator", "owner"] {
        old.grant(name).await.unwrap();
    }
    new.grant("observer").await.unwrap();
    let error = new.restore_from(&old).await.unwrap_err();
    assert!(format!("{error:#}").contains("role \"phasegate_operator\" does not exist"), "{error:#}");
    sql(&new, "DROP TABLE IF EXISTS system_metrics, reading_sync_history, daily_report CASCADE").await;
    new.run_file("operator", &[("new", "yes"), ("password", "phasegate_operator")]).await.unwrap();
    new.restore_from(&old).await.unwrap();
    new.connect_to("phasegate_operator", "homelab").await.unwrap_err();
    let observer = new.connect_to("phasegate", "homelab").await.unwrap();
    text(&observer, "SELECT count(*)::text FROM system_metrics").await;
}
