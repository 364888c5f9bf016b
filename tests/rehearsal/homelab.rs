//! The stack that moves: an old and a new Loki, an old and a new PostgreSQL, and a verifier that watches them.

use anyhow::Result;
use tests::{Loki, Postgres, Role, Verifier, World};

use crate::screen::Screen;

/// How long things take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    soak: &'static str,
    budget: &'static str,
}

impl Pace {
    /// Long enough to watch.
    pub(crate) fn watchable() -> Self {
        Self { soak: "20s", budget: "3s" }
    }

    /// For CI.
    pub(crate) fn fast() -> Self {
        Self { soak: "6s", budget: "2s" }
    }
}

/// Everything that runs.
pub(crate) struct Homelab<'w> {
    world: &'w World,
    pub(crate) docker_loki: Loki,
    pub(crate) k3s_loki: Loki,
    pub(crate) docker_postgres: Postgres,
    pub(crate) k3s_postgres: Postgres,
    pub(crate) verifier: Verifier,
}

impl<'w> Homelab<'w> {
    pub(crate) async fn start(world: &'w World, screen: &Screen, pace: Pace) -> Result<Self> {
        screen.title("The homelab");
        Screen::say("starting two Lokis and two PostgreSQL clusters: the old side (Docker Compose) and the new one (k3s) …");
        let (docker_loki, k3s_loki, docker_postgres, k3s_postgres) =
            tokio::try_join!(Loki::start(world), Loki::start(world), Postgres::start(world), Postgres::start(world))?;
        let document = migration(&docker_loki, &k3s_loki, pace);
        let secrets = [("PG_OLD_DSN", docker_postgres.dsn()), ("PG_NEW_DSN", k3s_postgres.dsn())];
        let secrets = secrets.each_ref().map(|(name, dsn)| (*name, dsn.as_str()));
        Screen::say("the Migration document:");
        for line in document.lines() {
            Screen::say(&format!("  {line}"));
        }
        let verifier = Verifier::start_with(world, &document, &secrets).await?;
        let lab = Self { world, docker_loki, k3s_loki, docker_postgres, k3s_postgres, verifier };
        lab.addresses();
        Ok(lab)
    }

    pub(crate) fn addresses(&self) {
        let url = self.verifier.url();
        Screen::say(&format!("page     {url}/"));
        Screen::say(&format!("metrics  {url}/metrics"));
        Screen::say(&format!("gate     {url}/v1/gates/loki"));
        Screen::say(&format!("old      loki {}  postgres 127.0.0.1:{}", self.docker_loki.url(), self.docker_postgres.port()));
        Screen::say(&format!("new      loki {}  postgres 127.0.0.1:{}", self.k3s_loki.url(), self.k3s_postgres.port()));
        Screen::say(&format!("cutover  PHASEGATE_SERVER={url} PHASEGATE_TOKEN={}", self.verifier.token(Role::Operate)));
        Screen::say(&format!("folder   {}", self.world.dir().display()));
    }
}

fn migration(docker: &Loki, k3s: &Loki, pace: Pace) -> String {
    let Pace { soak, budget } = pace;
    format!(
        r#"apiVersion: phasegate.dev/v1alpha1
kind: Migration
metadata: {{name: homelab}}
spec:
  defaults: {{every: 1s, timeout: 800ms, failAfter: 2, recoverAfter: 2}}
  targets:
    docker-loki: {{loki: {{url: "{docker}"}}}}
    k3s-loki: {{loki: {{url: "{k3s}"}}}}
    docker-postgres: {{postgres: {{dsn: {{env: PG_OLD_DSN}}}}}}
    k3s-postgres: {{postgres: {{dsn: {{env: PG_NEW_DSN}}}}}}
  phases:
  - name: loki
    gate: {{soak: {soak}, minSamples: 5, unknownBudget: {budget}}}
    probes:
    - name: docker-loki-ready            # the way back, until the next phase moves
      check: {{lokiReady: {{loki: docker-loki}}}}
      use: [preflight, gate]
      until: postgres
    - name: k3s-loki-ready
      check: {{lokiReady: {{loki: k3s-loki}}}}
  - name: postgres
    gate: {{soak: {soak}, minSamples: 5, unknownBudget: {budget}}}
    probes:
    - name: docker-postgres-ready
      check: {{postgresReady: {{postgres: docker-postgres}}}}
      use: [preflight]
    - name: k3s-postgres-ready
      check: {{postgresReady: {{postgres: k3s-postgres}}}}
"#,
        docker = docker.url(),
        k3s = k3s.url(),
    )
}
