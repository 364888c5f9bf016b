//! Can the bench be trusted? Its servers are the real ones, and nothing that it starts outlives a test.

use std::time::Duration;

use anyhow::ensure;
use tests::hostile::Habit;
use tests::{Answer, Hostile, Line, Loki, Output, Postgres, Spec, World, now, wait_until};

const SOON: Duration = Duration::from_secs(20);

/// True while the process is there and no zombie.
fn alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

mod real_loki {
    use super::*;

    #[tokio::test]
    async fn returns_what_was_pushed_also_after_a_kill_and_a_stop() {
        let world = World::new().unwrap();
        let loki = Loki::start(&world).await.unwrap();
        let at = now();
        let span = (at - 60_000_000_000, at + 60_000_000_000);
        let sent = [Line::new(at, "one"), Line::new(at + 1, "two")];
        loki.push(&[("service", "bench"), ("host", "docker")], &sent).await.unwrap();
        loki.push(&[("service", "other")], &[Line::new(at, "else")]).await.unwrap();
        let query = "{service=\"bench\"}";
        assert_eq!(loki.wait_for_lines(query, span, 2, SOON).await.unwrap(), sent);

        loki.kill().await.unwrap();
        assert!(loki.lines(query, span.0, span.1).await.is_err());
        loki.start_again().await.unwrap();
        assert_eq!(loki.wait_for_lines(query, span, 2, SOON).await.unwrap(), sent);

        assert!(loki.stop().await.unwrap().success());
        loki.start_again().await.unwrap();
        assert_eq!(loki.wait_for_lines(query, span, 2, SOON).await.unwrap(), sent);
    }

    #[tokio::test]
    async fn says_why_it_refuses_a_push() {
        let world = World::new().unwrap();
        let loki = Loki::start(&world).await.unwrap();
        let last_month = now() - 30 * 24 * 3600 * 1_000_000_000;
        let refused = loki.push(&[("service", "bench")], &[Line::new(last_month, "late")]).await.unwrap_err();
        assert!(refused.to_string().contains("timestamp too old"), "{refused}");
    }

    #[tokio::test]
    async fn does_not_answer_while_frozen() {
        let world = World::new().unwrap();
        let loki = Loki::start(&world).await.unwrap();
        loki.freeze().await.unwrap();
        let url = format!("{}/ready", loki.url());
        let silence = world.http().get(&url).timeout(Duration::from_millis(300)).send().await.unwrap_err();
        assert!(silence.is_timeout(), "{silence}");
        loki.thaw();
        let ready = async || {
            let answer = world.http().get(&url).send().await?;
            ensure!(answer.status() == 200, "{}", answer.status());
            Ok(())
        };
        wait_until(SOON, "Loki answers again", ready).await.unwrap();
    }
}

mod real_loki_canary {
    use tests::LokiCanary;

    use super::*;

    /// The value of one of its counters.
    async fn counted(canary: &LokiCanary, name: &str) -> anyhow::Result<u64> {
        let metrics = canary.get("/metrics").await?.body;
        let line = metrics.lines().find(|line| line.starts_with(&format!("loki_canary_{name} ")));
        Ok(line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_default())
    }

    #[tokio::test]
    async fn receives_what_it_pushes_until_it_is_suspended() {
        let world = World::new().unwrap();
        let loki = Loki::start(&world).await.unwrap();
        let canary = LokiCanary::start(&world, loki.authority(), Duration::from_millis(50)).await.unwrap();
        let receives = async || {
            let received = counted(&canary, "response_latency_seconds_count").await?;
            ensure!(received > 10, "{received} so far");
            Ok(())
        };
        wait_until(SOON, "it receives lines", receives).await.unwrap();
        canary.suspend().await.unwrap();
        let written = counted(&canary, "entries_total").await.unwrap();
        let all = async || {
            let found = loki.count(LokiCanary::SELECTOR).await?;
            ensure!(found == written, "{found} of {written}");
            Ok(())
        };
        wait_until(SOON, "all that it wrote is in Loki", all).await.unwrap();
        assert_eq!(counted(&canary, "entries_total").await.unwrap(), written);
    }
}

mod postgres {
    use super::*;

    const IDENTITY: &str = "SELECT system_identifier FROM pg_control_system()";

    async fn number(postgres: &Postgres, query: &str) -> i64 {
        postgres.connect_as_superuser().await.unwrap().query_one(query, &[]).await.unwrap().get(0)
    }

    #[tokio::test]
    async fn two_clusters_are_two_and_each_keeps_its_data() {
        let world = World::new().unwrap();
        let (old, new) = tokio::try_join!(Postgres::start(&world), Postgres::start(&world)).unwrap();
        let identity = number(&old, IDENTITY).await;
        assert_ne!(identity, number(&new, IDENTITY).await);

        let application = old.connect().await.unwrap();
        application.batch_execute("CREATE TABLE t AS SELECT generate_series(1, 1000) AS id").await.unwrap();
        old.kill().await.unwrap();
        assert!(old.connect().await.is_err());
        old.start_again().await.unwrap();
        assert_eq!(number(&old, "SELECT count(*) FROM t").await, 1000);
        assert_eq!(number(&old, IDENTITY).await, identity);

        assert!(old.stop().await.unwrap().success());
        old.start_again().await.unwrap();
        assert_eq!(number(&old, "SELECT count(*) FROM t").await, 1000);
    }

    #[tokio::test]
    async fn checks_passwords_and_freezes_with_all_its_children() {
        let world = World::new().unwrap();
        let postgres = Postgres::start(&world).await.unwrap();
        let session = postgres.connect().await.unwrap();
        let wrong = postgres.url("server", "wrong", "homelab");
        let refused = tokio_postgres::connect(&wrong, tokio_postgres::NoTls).await.map(drop).unwrap_err();
        assert_eq!(refused.code(), Some(&tokio_postgres::error::SqlState::INVALID_PASSWORD));

        postgres.freeze().await.unwrap();
        let asked = tokio::time::timeout(Duration::from_millis(300), session.simple_query("SELECT 1")).await;
        assert!(asked.is_err(), "an open session got an answer from a frozen server");
        postgres.thaw();
        session.simple_query("SELECT 1").await.unwrap();
        postgres.freeze().await.unwrap();
        postgres.kill().await.unwrap();
    }
}

mod world {
    use super::*;

    fn sleeper(world: &World) -> i32 {
        world.start(Spec::new("sleeper", "sleep").arg("600")).unwrap().pid().unwrap()
    }

    #[tokio::test]
    async fn its_processes_die_with_it() {
        let world = World::new().unwrap();
        let (pid, folder) = (sleeper(&world), world.dir().to_owned());
        assert!(alive(pid) && folder.is_dir());
        drop(world);
        assert!(!alive(pid) && !folder.exists());
    }

    #[tokio::test]
    async fn its_processes_die_with_it_when_the_test_panics() {
        let (tell, told) = std::sync::mpsc::channel();
        let test = std::thread::spawn(move || {
            let world = World::new().unwrap();
            tell.send(sleeper(&world)).unwrap();
            panic!("as a failing test does");
        });
        assert!(test.join().is_err());
        assert!(!alive(told.recv().unwrap()));
    }

    #[tokio::test]
    async fn its_processes_outlive_the_thread_that_started_them() {
        let world = World::new().unwrap();
        let pid = std::thread::scope(|scope| scope.spawn(|| sleeper(&world)).join().unwrap());
        // A second process, started and waited for: time enough for the first one to be killed.
        world.run(Spec::new("true", "true"), SOON).await.unwrap();
        assert!(alive(pid));
    }

    #[tokio::test]
    async fn what_lost_its_parents_dies_with_it() {
        let world = World::new().unwrap();
        let file = world.dir().join("pid");
        // A process of another session, with an empty environment and in another folder, whose parents have ended.
        let script =
            format!("cd /; env -i setsid bash -c 'echo $$ >{0}.next; mv {0}.next {0}; exec sleep 600' &", file.display());
        assert_eq!(world.run(Spec::new("parent", "bash").args(["-c", script.as_str()]), SOON).await.unwrap().code, 0);
        let look = async || Ok(std::fs::read_to_string(&file)?.trim().parse()?);
        let pid = wait_until(SOON, "the orphan is there", look).await.unwrap();
        assert!(alive(pid));
        drop(world);
        assert!(!alive(pid));
    }

    #[tokio::test]
    async fn hands_out_each_port_once() {
        let world = World::new().unwrap();
        let mut ports: Vec<u16> = (0..200).map(|_| world.port().unwrap()).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 200);
    }

    #[tokio::test]
    async fn runs_a_command_to_its_end() {
        let world = World::new().unwrap();
        let spec = Spec::new("sh", "sh").args(["-c", "echo data; echo talk >&2; echo \"$PHASEGATE_SERVER\"; exit 5"]);
        let output = world.run(spec.env("PHASEGATE_SERVER", "here"), SOON).await.unwrap();
        assert_eq!(output, Output { code: 5, stdout: "data\nhere\n".to_owned(), stderr: "talk\n".to_owned() });
        let late = world.run(Spec::new("sleep", "sleep").arg("600"), Duration::from_millis(50)).await.unwrap_err();
        assert!(format!("{late:#}").contains("sleep ends"), "{late:#}");
    }

    #[tokio::test]
    async fn a_server_that_ends_at_once_shows_its_last_words() {
        let world = World::new().unwrap();
        let server = world.start(Spec::new("server", "sh").args(["-c", "echo no such flag >&2; exit 2"])).unwrap();
        let error = server.wait_until::<()>(SOON, "it is ready", async || anyhow::bail!("not yet")).await.unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains("no such flag") && error.contains("exit status: 2"), "{error}");
    }
}

mod hostile {
    use super::*;

    async fn ask(habit: Habit) -> Result<Answer, reqwest::Error> {
        let world = World::new().unwrap();
        let server = Hostile::start(habit).await.unwrap();
        let response = world.http().get(server.url()).timeout(Duration::from_millis(500)).send().await;
        assert_eq!(server.connections(), 1);
        let response = response?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer { status, headers, body: response.text().await? })
    }

    #[tokio::test]
    async fn silence_is_a_timeout_of_the_client() {
        assert!(ask(Habit::Silent).await.unwrap_err().is_timeout());
    }

    #[tokio::test]
    async fn a_reset_and_a_close_differ() {
        let reset = format!("{:?}", ask(Habit::Reset).await.unwrap_err());
        assert!(reset.contains("ConnectionReset") || reset.contains("BrokenPipe"), "{reset}");
        let closed = format!("{:?}", ask(Habit::Close).await.unwrap_err());
        assert!(closed.contains("IncompleteMessage"), "{closed}");
    }

    #[tokio::test]
    async fn bodies_without_an_end_and_with_a_wrong_one() {
        for habit in [Habit::Endless, Habit::Drip(Duration::from_millis(20))] {
            assert!(ask(habit).await.unwrap_err().is_timeout(), "{habit:?}");
        }
        assert!(!ask(Habit::Truncated).await.unwrap_err().is_timeout());
    }

    #[tokio::test]
    async fn answers_of_another_kind() {
        let page = ask(Habit::Html).await.unwrap();
        assert!(page.status == 200 && page.body.starts_with("<!DOCTYPE html>") && page.json().is_err());
        for code in [401, 500] {
            assert_eq!(ask(Habit::Status(code)).await.unwrap().status, code);
        }
    }
}
