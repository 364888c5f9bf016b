//! The log path with stand-ins: everything in this process but the agent.

use anyhow::Result;
use tests::standin::{
    Datasource, Flaws, Mood, StandinAlloy, StandinGateway, StandinGrafana, StandinJournal, StandinLoki, StandinPromtail,
};
use tests::{Agent, World};

use crate::stack::{Addresses, Stack};

/// The service account's token for the new Grafana.
const TOKEN: &str = "rehearsal-service-account";
/// The identifier under which the agent's lines are in the journal.
const IDENTIFIER: &str = "system-metrics-canary";
/// A collector that is not there.
const ABSENT: Flaws = Flaws { deaf: true, frozen: true, swallow_every: None, double_every: None };

pub(crate) struct Standins {
    promtail: StandinPromtail,
    alloy: StandinAlloy,
    agent: Agent,
    old_loki: StandinLoki,
    new_loki: StandinLoki,
    gateway: StandinGateway,
    old_grafana: StandinGrafana,
    new_grafana: StandinGrafana,
    _journal: StandinJournal,
}

impl Standins {
    pub(crate) async fn start(world: &World) -> Result<Self> {
        let journal = StandinJournal::new();
        let sink = world.write("journal", "")?;
        journal.follow(&sink, IDENTIFIER);
        let agent = Agent::configured(world, "node-1", &["--every", "200ms", "--sink", &format!("file:{}", sink.display())])?;
        let (old_loki, new_loki) = (StandinLoki::start()?, StandinLoki::start()?);
        let alloy = StandinAlloy::start(&journal, &[&old_loki.url()])?;
        alloy.set_flaws(ABSENT);
        alloy.set_mood(Mood::Refuse).await?;
        let gateway = StandinGateway::start(new_loki.url())?;
        Ok(Self {
            promtail: StandinPromtail::start(&journal, &old_loki.url())?,
            old_grafana: StandinGrafana::start(TOKEN, &[Datasource::loki(old_loki.url())])?,
            new_grafana: StandinGrafana::start(TOKEN, &[Datasource::loki(gateway.url())])?,
            alloy,
            agent,
            old_loki,
            new_loki,
            gateway,
            _journal: journal,
        })
    }
}

impl Stack for Standins {
    const PARTS: &'static str = "PostgreSQL, the agent, the verifier and cutover are real; the others are stand-ins that speak their protocols (--real: all are real)";
    const COUNTS: bool = false;

    fn addresses(&self) -> Addresses {
        Addresses {
            agent: self.agent.url().to_owned(),
            alloy: self.alloy.url(),
            old_loki: self.old_loki.url(),
            new_loki: self.new_loki.url(),
            gateway: self.gateway.url(),
            old_grafana: self.old_grafana.url(),
            new_grafana: self.new_grafana.url(),
            datasource: Datasource::loki("").uid,
            token: TOKEN.to_owned(),
            editor: TOKEN.to_owned(),
            new_grafana_files: String::new(),
            old_loki_of_alloy: String::new(),
        }
    }

    async fn deploy_alloy(&self) -> Result<()> {
        self.agent.start_again().await?;
        self.alloy.set_flaws(Flaws::default());
        self.alloy.set_mood(Mood::Fine).await
    }

    async fn remove_alloy(&self) -> Result<()> {
        self.agent.stop().await?;
        self.alloy.set_flaws(ABSENT);
        self.alloy.set_mood(Mood::Refuse).await
    }

    async fn restore_promtail(&self) -> Result<()> {
        self.promtail.set_flaws(Flaws::default());
        self.promtail.set_mood(Mood::Fine).await
    }

    async fn retire_promtail(&self) -> Result<()> {
        self.promtail.set_flaws(ABSENT);
        self.promtail.set_mood(Mood::Refuse).await
    }

    async fn stop_shipping(&self) -> Result<()> {
        self.alloy.set_flaws(Flaws { frozen: true, ..Flaws::default() });
        Ok(())
    }

    async fn ship_again(&self) -> Result<()> {
        self.alloy.set_flaws(Flaws::default());
        Ok(())
    }

    async fn copy_loki(&self) -> Result<String> {
        let lines = self.old_loki.lines("{service=~\".+\"}", 0, i64::MAX)?;
        self.new_loki.push(&[("service", "history")], &lines)?;
        self.alloy.set_lokis(&[&self.old_loki.url(), &self.new_loki.url()])?;
        Ok(format!("{} lines", lines.len()))
    }

    async fn ship_to_old_loki(&self) -> Result<()> {
        self.alloy.set_lokis(&[&self.old_loki.url()])
    }

    async fn ship_to_new_loki(&self) -> Result<()> {
        self.alloy.set_lokis(&[&self.new_loki.url()])
    }

    async fn move_grafana(&self) -> Result<String> {
        self.new_grafana.set_datasource_url(&Datasource::loki("").uid, &self.old_loki.url());
        Ok("its one datasource".to_owned())
    }

    async fn marks(&self) -> Result<Option<usize>> {
        Ok(None)
    }

    async fn repoint_grafana(&self) -> Result<()> {
        self.new_grafana.set_datasource_url(&Datasource::loki("").uid, &self.gateway.url());
        Ok(())
    }
}
