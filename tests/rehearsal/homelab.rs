//! The stack that moves: everything on the old side and on the new one, and a verifier that watches them.

use anyhow::Result;
use tests::standin::{
    Datasource, Flaws, Mood, StandinAlloy, StandinGateway, StandinGrafana, StandinJournal, StandinLoki, StandinPromtail,
};
use tests::{Agent, Postgres, Role, Verifier, World};

use crate::application::Application;
use crate::document;
use crate::screen::Screen;

/// The service account's token for the new Grafana.
const TOKEN: &str = "rehearsal-service-account";
/// The identifier under which the agent's lines are in the journal.
const IDENTIFIER: &str = "system-metrics-canary";

/// How long things take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) soak: &'static str,
    pub(crate) budget: &'static str,
}

impl Pace {
    /// Long enough to watch.
    pub(crate) fn watchable() -> Self {
        Self { soak: "15s", budget: "3s" }
    }

    /// For CI.
    pub(crate) fn fast() -> Self {
        Self { soak: "4s", budget: "2s" }
    }
}

/// The side on Docker Compose.
pub(crate) struct OldSide {
    pub(crate) promtail: StandinPromtail,
    pub(crate) loki: StandinLoki,
    pub(crate) postgres: Postgres,
    grafana: StandinGrafana,
}

/// The side in k3s.
pub(crate) struct NewSide {
    pub(crate) alloy: StandinAlloy,
    pub(crate) agent: Agent,
    pub(crate) loki: StandinLoki,
    pub(crate) gateway: StandinGateway,
    pub(crate) grafana: StandinGrafana,
    pub(crate) postgres: Postgres,
}

/// Everything that runs.
pub(crate) struct Homelab<'w> {
    pub(crate) world: &'w World,
    pub(crate) old: OldSide,
    pub(crate) new: NewSide,
    pub(crate) application: Application,
    pub(crate) verifier: Verifier,
    _journal: StandinJournal,
}

impl<'w> Homelab<'w> {
    pub(crate) async fn start(world: &'w World, screen: &Screen, pace: Pace) -> Result<Self> {
        screen.title("The homelab");
        Screen::say("old side (Docker Compose)  Promtail → Loki ← Grafana · PostgreSQL with an application on it");
        Screen::say("new side (k3s)             Alloy → Loki ← gateway ← Grafana · PostgreSQL");
        Screen::say(
            "PostgreSQL, the agent, the verifier and cutover are real; the others are stand-ins that speak their protocols",
        );
        let (docker_postgres, k3s_postgres) = tokio::try_join!(Postgres::start(world), Postgres::start(world))?;
        let application = Application::start(&docker_postgres.dsn()).await?;

        let journal = StandinJournal::new();
        let sink = world.write("journal", "")?;
        journal.follow(&sink, IDENTIFIER);
        let agent = Agent::start(world, "node-1", &["--every", "200ms", "--sink", &format!("file:{}", sink.display())]).await?;
        agent.sigterm().await?;
        let (docker_loki, k3s_loki) = (StandinLoki::start()?, StandinLoki::start()?);
        let old = OldSide {
            promtail: StandinPromtail::start(&journal, &docker_loki.url())?,
            grafana: StandinGrafana::start(TOKEN, &[Datasource::loki(docker_loki.url())])?,
            loki: docker_loki,
            postgres: docker_postgres,
        };
        let alloy = StandinAlloy::start(&journal, &[&old.loki.url()])?;
        alloy.set_flaws(Flaws { deaf: true, frozen: true, ..Flaws::default() });
        alloy.set_mood(Mood::Refuse).await?;
        let gateway = StandinGateway::start(k3s_loki.url())?;
        // As it was copied from the old side: it still asks the old Loki.
        let grafana = StandinGrafana::start(TOKEN, &[Datasource::loki(old.loki.url())])?;
        let new = NewSide { alloy, agent, loki: k3s_loki, gateway, grafana, postgres: k3s_postgres };

        let document = document::migration(&old, &new, pace);
        let file = world.write("migration.yaml", &document)?;
        Screen::say(&format!("the Migration document, {} lines: {}", document.lines().count(), file.display()));
        let secrets =
            [("PG_OLD_DSN", old.postgres.dsn()), ("PG_NEW_DSN", new.postgres.dsn()), ("GRAFANA_TOKEN", TOKEN.to_owned())];
        let secrets = secrets.each_ref().map(|(name, secret)| (*name, secret.as_str()));
        let verifier = Verifier::start_with(world, &document, &secrets).await?;
        let lab = Self { world, old, new, application, verifier, _journal: journal };
        lab.addresses();
        Ok(lab)
    }

    pub(crate) fn addresses(&self) {
        let (url, old, new) = (self.verifier.url(), &self.old, &self.new);
        Screen::say(&format!("page     {url}/"));
        Screen::say(&format!("metrics  {url}/metrics"));
        Screen::say(&format!("API      {url}/v1/status · {url}/v1/gates/alloy · {url}/v1/openapi.json"));
        Screen::say(&format!(
            "old      loki {}  grafana {}  postgres 127.0.0.1:{}",
            old.loki.url(),
            old.grafana.url(),
            old.postgres.port()
        ));
        Screen::say(&format!(
            "new      alloy {}  loki {}  grafana {}  postgres 127.0.0.1:{}",
            new.alloy.url(),
            new.loki.url(),
            new.grafana.url(),
            new.postgres.port()
        ));
        Screen::say(&format!("cutover  PHASEGATE_SERVER={url} PHASEGATE_TOKEN={}", self.verifier.token(Role::Operate)));
        Screen::say(&format!("folder   {}", self.world.dir().display()));
    }
}
