//! The application whose database moves, with the habits of real ones: a job that runs every minute, and a service with a long-lived
//! connection that writes twice a day. Both are sped up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_postgres::{Client, NoTls};

/// A minute of the job.
const MINUTE: Duration = Duration::from_millis(500);
/// Half a day of the service.
const HALF_A_DAY: Duration = Duration::from_secs(2);
/// No primary key, whole seconds: rows of the job can not be told apart by a key.
const METRICS: &str = "CREATE TABLE IF NOT EXISTS system_metrics \
     (time timestamptz(0) NOT NULL DEFAULT now(), host text NOT NULL, metric_type text NOT NULL, payload jsonb NOT NULL)";
const HISTORY: &str = "CREATE TABLE IF NOT EXISTS reading_sync_history \
     (id bigserial PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(), synced int NOT NULL)";
const KINDS: [&str; 4] = ["cpu", "memory", "disk", "network"];

/// How many rows were committed, on either side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Writes {
    /// In `system_metrics`.
    pub metrics: u64,
    /// In `reading_sync_history`.
    pub syncs: u64,
}

#[derive(Debug, Default)]
struct Tally {
    metrics: AtomicU64,
    syncs: AtomicU64,
}

/// A running application: the job connects anew each time, the service keeps the connection that it was started with.
#[derive(Debug)]
pub struct Application {
    writing: JoinSet<()>,
    tally: Arc<Tally>,
}

impl Application {
    /// Makes its tables where they are missing, and begins to write to the database at `dsn`.
    ///
    /// # Errors
    /// It can not log in.
    pub async fn start(dsn: &str) -> Result<Self> {
        let mut application = Self { writing: JoinSet::new(), tally: Arc::default() };
        application.point_at(dsn).await?;
        Ok(application)
    }

    /// Writes to the database at `dsn` from now on: both parts are started anew.
    ///
    /// # Errors
    /// It can not log in there.
    pub async fn point_at(&mut self, dsn: &str) -> Result<()> {
        self.stop().await;
        let (service, connection) = connect(dsn).await?;
        self.writing.spawn(connection);
        service.batch_execute(&format!("{METRICS}; {HISTORY}")).await.context("the application can not make its tables")?;
        self.writing.spawn(serve(service, Arc::clone(&self.tally)));
        self.writing.spawn(run_job(dsn.to_owned(), Arc::clone(&self.tally)));
        Ok(())
    }

    /// Writes nothing any more.
    pub async fn stop(&mut self) {
        self.writing.shutdown().await;
    }

    /// What was committed so far.
    pub fn written(&self) -> Writes {
        let Tally { metrics, syncs } = self.tally.as_ref();
        Writes { metrics: metrics.load(Ordering::SeqCst), syncs: syncs.load(Ordering::SeqCst) }
    }
}

async fn connect(dsn: &str) -> Result<(Client, impl Future<Output = ()> + use<>)> {
    let (client, connection) = tokio_postgres::connect(dsn, NoTls).await.context("the application can not log in")?;
    // The connection's end shows in the client's next statement.
    Ok((client, async { drop(connection.await) }))
}

/// The service: one row per half a day, over the one connection that it has.
async fn serve(client: Client, tally: Arc<Tally>) {
    while client.execute("INSERT INTO reading_sync_history (synced) VALUES (1)", &[]).await.is_ok() {
        tally.syncs.fetch_add(1, Ordering::SeqCst);
        sleep(HALF_A_DAY).await;
    }
}

/// The job: four rows per minute, over a new connection each time; an error is of no interest to it.
async fn run_job(dsn: String, tally: Arc<Tally>) {
    loop {
        if let Ok((client, connection)) = connect(&dsn).await {
            tokio::select! {
                () = connection => {}
                () = insert_metrics(&client, &tally) => {}
            }
        }
        sleep(MINUTE).await;
    }
}

async fn insert_metrics(client: &Client, tally: &Tally) {
    if client.batch_execute(METRICS).await.is_err() {
        return;
    }
    for kind in KINDS {
        let row = "INSERT INTO system_metrics (host, metric_type, payload) VALUES ('node-1', $1, '{}')";
        if client.execute(row, &[&kind]).await.is_ok() {
            tally.metrics.fetch_add(1, Ordering::SeqCst);
        }
    }
}
