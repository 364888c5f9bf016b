//! The application whose database moves: it writes an order every now and then, to wherever it is pointed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_postgres::NoTls;

const PAUSE: Duration = Duration::from_millis(300);
const ORDERS: &str = "CREATE TABLE IF NOT EXISTS orders (id bigserial PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())";

/// A running application.
pub(crate) struct Application {
    writing: JoinSet<()>,
    written: Arc<AtomicU64>,
}

impl Application {
    /// Makes its table where it is missing, and begins to write.
    pub(crate) async fn start(dsn: &str) -> Result<Self> {
        let mut application = Self { writing: JoinSet::new(), written: Arc::default() };
        application.point_at(dsn).await?;
        Ok(application)
    }

    /// Writes here from now on.
    pub(crate) async fn point_at(&mut self, dsn: &str) -> Result<()> {
        self.stop().await;
        let (client, connection) = tokio_postgres::connect(dsn, NoTls).await.context("the application can not log in")?;
        // The connection's end shows in the client's next statement.
        self.writing.spawn(async move { drop(connection.await) });
        client.batch_execute(ORDERS).await?;
        let written = Arc::clone(&self.written);
        self.writing.spawn(async move {
            while client.execute("INSERT INTO orders DEFAULT VALUES", &[]).await.is_ok() {
                written.fetch_add(1, Ordering::Relaxed);
                sleep(PAUSE).await;
            }
        });
        Ok(())
    }

    /// Writes nothing any more.
    pub(crate) async fn stop(&mut self) {
        self.writing.shutdown().await;
    }

    /// How many orders were committed, on either side.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }
}
