//! `cutover postgres` with two real servers, a real verifier, and the roles that an operator has.

mod carry_back;
mod compare;
mod fence;
mod manifest;
mod marks;
mod steps;
mod unfence;

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use serde_json::Value;
use tests::{Output, Postgres, Process, Role, Spec, Verifier, World, wait_until};

use super::postgres_canary::sql;
use super::{PATIENCE, QUICK, migration};

/// The verifier's own role, and the application's table.
const OLD_SIDE: &str = "CREATE ROLE observer LOGIN PASSWORD 'observer'; GRANT pg_monitor TO observer; \
     CREATE TABLE public.metrics (id serial PRIMARY KEY, value int); ALTER TABLE public.metrics OWNER TO server; \
     INSERT INTO public.metrics (value) SELECT generate_series(1, 100); GRANT SELECT ON public.metrics TO observer";
/// The operator's, who is no superuser.
const OPERATOR: &str = "CREATE ROLE operator LOGIN PASSWORD 'operator'; GRANT pg_monitor, pg_signal_backend TO operator; \
     GRANT ALTER SYSTEM ON PARAMETER default_transaction_read_only TO operator; \
     GRANT EXECUTE ON FUNCTION pg_reload_conf() TO operator";

/// A phase that is about something else.
fn document() -> String {
    migration(QUICK, "{}", super::AT_ONCE, &["{name: beat, check: {heartbeat: {within: 10m}}}"])
}

/// Two servers with the same rows, and a verifier.
struct Pair {
    world: World,
    old: Postgres,
    new: Postgres,
    verifier: Verifier,
}

impl Pair {
    async fn new() -> Self {
        Self::with(&document()).await
    }

    async fn with(document: &str) -> Self {
        let world = World::new().unwrap();
        let (old, new) = (Postgres::start(&world).await.unwrap(), Postgres::start(&world).await.unwrap());
        Self::between(world, old, new, document).await
    }

    async fn between(world: World, old: Postgres, new: Postgres, document: &str) -> Self {
        for side in [&old, &new] {
            sql(side, OLD_SIDE).await;
        }
        sql(&old, OPERATOR).await;
        let env = [("PG_NEW_OBSERVER", new.url("observer", "observer", "homelab"))];
        let env: Vec<_> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let verifier = Verifier::start_with(&world, document, &env).await.unwrap();
        Self { world, old, new, verifier }
    }

    /// `cutover`, with all logins that it may need in its environment, and itself on the `PATH`.
    fn spec(&self, args: &[&str]) -> Spec {
        let (_, program) = self.verifier.cutover_in(Role::Operate).unwrap();
        let folder = std::path::Path::new(&program).parent().unwrap().display().to_string();
        self.verifier
            .cutover_spec(Role::Operate, args)
            .unwrap()
            .env("PATH", format!("{folder}:{}", std::env::var("PATH").unwrap_or_default()))
            .env("OLD_OPERATOR", self.old.url("operator", "operator", "homelab"))
            .env("OLD_OBSERVER", self.old.url("observer", "observer", "homelab"))
            .env("OLD_OWNER", self.old.owner_dsn())
            .env("NEW_OBSERVER", self.new.url("observer", "observer", "homelab"))
            .env("OLD_SUPERUSER", self.old.superuser_dsn())
            .env("OLD_SERVER", self.old.dsn())
            .env("NEW_SERVER", self.new.dsn())
            .env("NEW_OTHER", self.new.url("observer", "observer", "postgres"))
            .env("OLD_WRONG", self.old.url("operator", "hunter2", "homelab"))
    }

    async fn ran(&self, args: &[&str]) -> Output {
        self.world.run(self.spec(args), Duration::from_mins(2)).await.unwrap()
    }

    /// Runs `cutover postgres …` and insists on its exit code.
    async fn exits(&self, code: i32, line: &str) -> Output {
        let args: Vec<_> = ["postgres"].into_iter().chain(line.split(' ')).collect();
        let output = self.ran(&args).await;
        assert_eq!(output.code, code, "{line}: {}{}", output.stdout, output.stderr);
        for secret in ["observer:observer", "operator:operator", "phasegate_owner:phasegate_owner", "hunter2"] {
            assert!(!output.stdout.contains(secret) && !output.stderr.contains(secret), "{line}: {}", output.stderr);
        }
        output
    }

    /// Starts it beside the test.
    fn starts(&self, line: &str) -> Arc<Process> {
        let args: Vec<_> = ["postgres"].into_iter().chain(line.split(' ')).collect();
        self.world.start(self.spec(&args)).unwrap()
    }

    async fn fact(&self, name: &str) -> Value {
        self.verifier.get(&format!("/v1/facts/{name}")).await.unwrap().json().unwrap()
    }

    /// Whether the application can write on old.
    async fn writes(&self) -> bool {
        let session = self.old.connect().await.unwrap();
        match session.execute("INSERT INTO public.metrics (value) VALUES (0)", &[]).await {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error.code().map(|code| code.code().to_owned()).as_deref(), Some("25006"), "{error}");
                false
            }
        }
    }
}

/// Waits until it says this.
async fn says(process: &Process, words: &str) {
    wait_until(PATIENCE, words, async || {
        ensure!(process.stderr().contains(words), "{}", process.log());
        Ok(())
    })
    .await
    .unwrap();
}

async fn ends(process: &Process) -> i32 {
    process.wait(PATIENCE).await.unwrap().code().unwrap()
}

const BASELINE: &str = "baseline --old env:OLD_OBSERVER --new env:NEW_OBSERVER";
const FENCE: &str = "fence --old env:OLD_OPERATOR --role server";
const VERIFY: &str = "verify-fence --old env:OLD_OPERATOR --role server";
const UNFENCE: &str = "unfence --old env:OLD_OPERATOR --new env:NEW_OBSERVER";
