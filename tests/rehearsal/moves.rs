//! The moves of each phase: what an operator does to the stack itself, between two `cutover` commands.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::standin::{Datasource, Flaws, Mood};
use tests::{Postgres, Spec};

use crate::homelab::Homelab;
use crate::screen::Screen;

const DUMP: Duration = Duration::from_mins(1);

/// The SQL that the check itself tells to run once on the new side, for this role.
fn canary_table(role: &str) -> Result<String> {
    let registry = checks::registry();
    let reason = registry.get("postgresCanary").and_then(|entry| entry.meta.reasons().find(|reason| reason.name == "not_set_up"));
    let next = reason.context("postgresCanary does not say how it is set up")?.next;
    let (_, sql) = next.split_once("CREATE SCHEMA").context("the reason not_set_up holds no SQL")?;
    Ok(format!("CREATE SCHEMA{sql}").replace("ROLE", role))
}

impl Homelab<'_> {
    /// Phase 1: Alloy and an agent on the node; then Promtail stops.
    pub(crate) async fn deploy_alloy(&self) -> Result<()> {
        Screen::say(
            "kubectl apply -k k3s/alloy: Alloy reads the journal and ships to the Loki on Docker; an agent writes numbered lines",
        );
        self.new.agent.start_again().await?;
        self.new.alloy.set_flaws(Flaws::default());
        self.new.alloy.set_mood(Mood::Fine).await
    }

    pub(crate) async fn retire_promtail(&self) -> Result<()> {
        Screen::say("docker compose stop promtail");
        self.old.promtail.set_flaws(Flaws { deaf: true, frozen: true, ..Flaws::default() });
        self.old.promtail.set_mood(Mood::Refuse).await
    }

    /// Phase 2: the history is copied, Alloy ships to the new Loki.
    pub(crate) fn move_the_logs(&self) -> Result<()> {
        let lines = self.old.loki.lines("{service=~\".+\"}", 0, i64::MAX)?;
        self.new.loki.push(&[("service", "history")], &lines)?;
        Screen::say(&format!("the volume of the old Loki is copied: {} lines", lines.len()));
        Screen::say("kubectl apply -k k3s/alloy: its pipeline writes to the Loki in k3s");
        self.new.alloy.set_lokis(&[&self.new.loki.url()])
    }

    /// Phase 3: the datasource that dashboards use leads to the new Loki, through its gateway.
    pub(crate) fn repoint_grafana(&self) {
        Screen::say("the datasource is mended: it asks the Loki in k3s, through the gateway");
        let datasource = Datasource::loki("");
        self.new.grafana.set_datasource_url(&datasource.uid, &self.new.gateway.url());
    }

    /// Phase 4: writers stop, dump and restore, writers go on over there, the old server stops.
    pub(crate) async fn move_the_database(&mut self) -> Result<()> {
        self.application.stop().await;
        let written = self.application.written();
        Screen::say(&format!("the application is stopped after {written} orders"));
        let (dump, restore) = (Postgres::program("pg_dump")?, Postgres::program("psql")?);
        let line = "\"$0\" --dbname=\"$2\" | \"$1\" --quiet --no-psqlrc --set=ON_ERROR_STOP=1 --dbname=\"$3\" >&2";
        let (old, new) = (self.old.postgres.superuser_dsn(), self.new.postgres.superuser_dsn());
        let words = ["-c".to_owned(), format!("set -o pipefail; {line}"), text(&dump), text(&restore), old, new];
        let moved = self.world.run(Spec::new("dump and restore", "bash").args(words), DUMP).await?;
        ensure!(moved.code == 0, "pg_dump | psql ended with {}: {}", moved.code, moved.stderr);
        let over_there = self.new.postgres.connect().await?;
        let orders: i64 = over_there.query_one("SELECT count(*) FROM orders", &[]).await?.get(0);
        ensure!(u64::try_from(orders)? == written, "{orders} of {written} orders arrived");
        Screen::say(&format!("pg_dump | psql: {orders} orders are on the new side"));
        self.new.postgres.connect_as_superuser().await?.batch_execute(&canary_table("server")?).await?;
        Screen::say(
            "the table for our own numbers is made on the new side, with the SQL that `probe check k3s-pg-commits` prints",
        );
        Screen::say("the application writes to the new side; docker compose stop postgres");
        self.application.point_at(&self.new.postgres.dsn()).await?;
        self.old.postgres.stop().await.map(drop)
    }
}

fn text(path: &std::path::Path) -> String {
    path.display().to_string()
}
