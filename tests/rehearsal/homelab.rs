//! The stack that moves, whatever it is made of, and a verifier that watches it.

use std::time::Duration;

use anyhow::Result;
use tests::{Databases, Role, Verifier, World, binary};

use crate::cluster::{Cluster, NAME, NAMESPACE};
use crate::document;
use crate::hands::Hands;
use crate::screen::Screen;
use crate::stack::Stack;

/// How long things take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) soak: &'static str,
    pub(crate) budget: &'static str,
    /// Between two looks, and for one.
    pub(crate) every: &'static str,
    /// How long a line may be on its way.
    pub(crate) late: &'static str,
    /// How old the newest line may be.
    pub(crate) within: &'static str,
    /// For how long nothing may write to the old database.
    pub(crate) quiet: &'static str,
    /// How long any level may take to be reached, on a slow machine.
    pub(crate) patience: Duration,
}

impl Pace {
    /// Long enough to watch.
    pub(crate) fn watchable() -> Self {
        Self { soak: "15s", budget: "3s", every: "1s", late: "2s", within: "5s", quiet: "5s", patience: Duration::from_mins(2) }
    }

    /// For CI.
    pub(crate) fn fast() -> Self {
        Self { soak: "4s", ..Self::watchable() }
    }

    /// For real servers, a dozen of which share the machine: one late answer of theirs is no reason to stop, and several of
    /// them are flapping, which is over after ten minutes.
    pub(crate) fn patient(self) -> Self {
        Self { budget: "6s", every: "3s", late: "10s", within: "20s", quiet: "15s", patience: Duration::from_mins(14), ..self }
    }
}

/// Everything that runs.
pub(crate) struct Homelab<'w, S> {
    pub(crate) world: &'w World,
    pub(crate) logs: S,
    pub(crate) databases: Databases,
    pub(crate) verifier: Verifier,
    pub(crate) hands: Hands,
    /// Where the new side is, if it is told of.
    pub(crate) cluster: Option<Cluster>,
    pub(crate) patience: Duration,
}

impl<'w, S: Stack> Homelab<'w, S> {
    pub(crate) async fn start(
        world: &'w World,
        logs: impl Future<Output = Result<S>>,
        pace: Pace,
        kubernetes: bool,
    ) -> Result<Self> {
        Screen::say("old side (Docker Compose)  Promtail → Loki ← Grafana · PostgreSQL with an application on it");
        Screen::say("new side (k3s)             Alloy → Loki ← gateway ← Grafana · PostgreSQL");
        Screen::say(S::PARTS);
        Screen::say("starting all of it …");
        let (databases, logs) = tokio::try_join!(Databases::start(world), logs)?;
        roles(&databases).await?;
        let cluster = if kubernetes { Some(Cluster::start(world).await?) } else { None };
        let addresses = logs.addresses();
        let hands = Hands::start().await?;
        let program = binary("hands")?;
        let document = document::migration(
            &addresses,
            pace,
            &format!("{}, \"{}\"", program.display(), hands.address()),
            &binary("cutover")?.display().to_string(),
            (S::COUNTS, kubernetes),
        )?;
        let file = world.write("migration.yaml", &document)?;
        Screen::say(&format!("the Migration document, {} lines: {}", document.lines().count(), file.display()));
        let secrets = [
            ("PG_OLD_DSN", databases.old.observer_dsn()),
            ("PG_NEW_DSN", databases.new.observer_dsn()),
            ("PG_OLD_APP_DSN", databases.old.dsn()),
            ("PG_NEW_APP_DSN", databases.new.dsn()),
            ("PG_CANARY_DSN", databases.new.canary_dsn()),
            ("GRAFANA_TOKEN", addresses.token),
            ("GRAFANA_EDITOR", addresses.editor),
        ];
        let secrets = secrets.each_ref().map(|(name, secret)| (*name, secret.as_str()));
        let verifier = match &cluster {
            None => Verifier::start_with(world, &document, &secrets).await?,
            Some(cluster) => {
                cluster.migrate(&file).await?;
                let verifier =
                    Verifier::launch_for_migration_in(world, &cluster.kubeconfig().await?, (NAMESPACE, NAME), &secrets)?;
                // The steps are in it, for `cutover`.
                verifier.write_migration(&document)?;
                verifier.answers().await?;
                verifier
            }
        };
        let lab = Self { world, logs, databases, verifier, hands, cluster, patience: pace.patience };
        lab.addresses();
        Ok(lab)
    }

    /// What became of it, for whoever wants to know why it failed.
    pub(crate) async fn aftermath(&self, screen: &Screen) -> Result<()> {
        screen.title("It failed; this is what the verifier knows of it");
        for words in [["status"], ["history"]] {
            Screen::command(&format!("cutover {}", words.join(" ")), &self.verifier.cutover(&words).await?);
        }
        Ok(())
    }

    pub(crate) fn addresses(&self) {
        let (url, at, databases) = (self.verifier.url(), self.logs.addresses(), &self.databases);
        Screen::say(&format!("page     {url}/"));
        Screen::say(&format!("metrics  {url}/metrics"));
        Screen::say(&format!("API      {url}/v1/status · {url}/v1/gates/alloy · {url}/v1/openapi.json"));
        let old = format!("loki {}  grafana {}  postgres 127.0.0.1:{}", at.old_loki, at.old_grafana, databases.old.port());
        Screen::say(&format!("old      {old}"));
        let new = format!("loki {}  grafana {}  postgres 127.0.0.1:{}", at.new_loki, at.new_grafana, databases.new.port());
        Screen::say(&format!("new      alloy {}  {new}", at.alloy));
        let file = self.verifier.document().display();
        let token = self.verifier.token(Role::Operate);
        Screen::say(&format!("cutover  PHASEGATE_SERVER={url} PHASEGATE_TOKEN={token} PHASEGATE_FILE={file}"));
        Screen::say(&format!("folder   {}", self.world.dir().display()));
    }
}

/// The roles of `deploy/postgres`, each on its side, before anything moves.
async fn roles(Databases { old, new, .. }: &Databases) -> Result<()> {
    Screen::say(
        "roles from deploy/postgres: phasegate on both sides, phasegate_operator on the old one, phasegate_canary on the new one",
    );
    old.grant("observer").await?;
    old.grant("operator").await?;
    // The dump brings their grants along.
    new.grant("observer").await?;
    new.run_file("operator", &[("new", "yes")]).await
}
