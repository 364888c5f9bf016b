//! The relational core: two PostgreSQL servers, and the application that moves from one to the other.

use anyhow::{Context, Result, ensure};

use super::application::{Application, Writes};
use crate::postgres::Postgres;
use crate::world::World;

/// Two PostgreSQL servers, and an application that writes to the old one at first.
#[derive(Debug)]
pub struct Databases {
    /// The one on Docker.
    pub old: Postgres,
    /// The one in k3s. Its database is empty.
    pub new: Postgres,
    /// What writes.
    pub application: Application,
}

impl Databases {
    /// Starts both, and the application.
    ///
    /// # Errors
    /// PostgreSQL is not installed, or does not start.
    pub async fn start(world: &World) -> Result<Self> {
        let (old, new) = tokio::try_join!(Postgres::start(world), Postgres::start(world))?;
        let application = Application::start(&old.dsn()).await?;
        Ok(Self { old, new, application })
    }

    /// Stops the application and moves all data by dump and restore, as of a snapshot if there is one. Returns what was written, all of
    /// which has arrived.
    ///
    /// # Errors
    /// The dump or the restore fails, or rows are missing afterwards.
    pub async fn dump_and_restore(&mut self, snapshot: Option<&str>) -> Result<Writes> {
        self.application.stop().await;
        match snapshot {
            Some(snapshot) => self.new.restore_snapshot(&self.old, snapshot).await?,
            None => self.new.restore_from(&self.old).await?,
        }
        let (before, after) = (rows(&self.old).await?, rows(&self.new).await?);
        ensure!(before == after, "{before:?} on the old side, but {after:?} on the new one");
        let written = self.application.written();
        // A row whose acknowledgement was on its way when the application stopped is in the table, and not in its tally.
        let short = before.metrics < written.metrics || before.syncs < written.syncs || before.reports < written.reports;
        ensure!(!short, "the application wrote {written:?}, the old side has {before:?}");
        Ok(after)
    }
}

async fn rows(postgres: &Postgres) -> Result<Writes> {
    let session = postgres.connect().await?;
    let count = async |table: &str| -> Result<u64> {
        let row = session.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await.context("counting rows")?;
        Ok(u64::try_from(row.try_get::<_, i64>(0)?)?)
    };
    Ok(Writes {
        metrics: count("system_metrics").await?,
        syncs: count("reading_sync_history").await?,
        reports: count("daily_report").await?,
    })
}
