//! What the steps of the rehearsal do: their commands ask this process, which does it with the servers it has.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use tests::Databases;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::cluster::{Cluster, Part};
use crate::homelab::Homelab;
use crate::stack::Stack;

/// Where the commands of steps ask.
pub(crate) struct Hands {
    listener: TcpListener,
    address: SocketAddr,
    /// The deed that goes wrong the next time it is asked for.
    broken: Option<&'static str>,
}

/// One command's question.
pub(crate) struct Asked {
    deed: String,
    stream: BufReader<TcpStream>,
}

impl Hands {
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        Ok(Self { address: listener.local_addr()?, listener, broken: None })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// This deed goes wrong once.
    pub(crate) fn break_once(&mut self, deed: &'static str) {
        self.broken = Some(deed);
    }

    /// The next question.
    pub(crate) async fn asked(&self) -> Result<Asked> {
        let (stream, _) = self.listener.accept().await?;
        let mut stream = BufReader::new(stream);
        let mut deed = String::new();
        stream.read_line(&mut deed).await?;
        Ok(Asked { deed: deed.trim().to_owned(), stream })
    }
}

/// What runs has its objects as well, where there is a cluster.
async fn rolled_out(cluster: Option<&Cluster>, part: Part, said: &str) -> Result<String> {
    let Some(cluster) = cluster else { return Ok(said.to_owned()) };
    Ok(format!("{said}; {}", cluster.apply(part).await?))
}

impl<S: Stack> Homelab<'_, S> {
    /// Does what a command asked for, and answers it.
    pub(crate) async fn answer(&mut self, mut asked: Asked) -> Result<()> {
        let answer = match self.does(&asked.deed).await {
            Ok(words) => format!("done {words}\n"),
            Err(error) => format!("failed {error:#}\n"),
        };
        // A command that was killed meanwhile hears no answer.
        drop(asked.stream.write_all(answer.as_bytes()).await);
        Ok(())
    }

    async fn does(&mut self, deed: &str) -> Result<String> {
        if self.hands.broken.is_some_and(|broken| broken == deed) {
            self.hands.broken = None;
            bail!("permission denied");
        }
        let plain = |words: &str| Ok(words.to_owned());
        let (deed, of) = deed.split_once(':').unwrap_or((deed, ""));
        match deed {
            "kubectl-apply-alloy" => {
                self.logs.deploy_alloy().await?;
                rolled_out(self.cluster.as_ref(), Part::Alloy, "daemonset alloy and the agent run").await
            }
            "kubectl-delete-alloy" => {
                if let Some(cluster) = &self.cluster {
                    cluster.delete(Part::Alloy).await?;
                }
                self.logs.remove_alloy().await.and(plain("daemonset alloy and the agent are gone"))
            }
            "compose-stop-promtail" => self.logs.retire_promtail().await.and(plain("container promtail stopped")),
            "compose-start-promtail" => self.logs.restore_promtail().await.and(plain("container promtail started")),
            "copy-loki" => {
                let moved = self.logs.copy_loki().await?;
                let said = format!("the volume of the old Loki is copied: {moved}; Alloy ships to both");
                rolled_out(self.cluster.as_ref(), Part::Loki, &said).await
            }
            "ship-to-old-loki" => self.logs.ship_to_old_loki().await.and(plain("Alloy ships to the old Loki alone")),
            "ship-to-new-loki" => self.logs.ship_to_new_loki().await.and(plain("Alloy ships to the new Loki alone")),
            "copy-grafana" => {
                let moved = self.logs.move_grafana().await?;
                let said = format!("the volume of the old Grafana is copied: {moved}");
                rolled_out(self.cluster.as_ref(), Part::Grafana, &said).await
            }
            "stop-application" => {
                self.databases.application.stop().await;
                plain("the application is stopped")
            }
            "start-application" => {
                let old = self.databases.old.dsn();
                self.databases.application.point_at(&old).await.and(plain("the application writes to the old side"))
            }
            "dump-and-restore" => {
                let moved = self.databases.dump_and_restore(Some(of)).await?;
                let said = format!(
                    "pg_dump --snapshot={of} | pg_restore: {} metrics and {} syncs are on both sides",
                    moved.metrics, moved.syncs
                );
                rolled_out(self.cluster.as_ref(), Part::Postgres, &said).await
            }
            "canary-table" => {
                self.databases.new.grant("canary").await?;
                plain("the role and the table for our own numbers are made on the new side: deploy/postgres/canary.sql")
            }
            "go-over" => {
                let new = self.databases.new.dsn();
                self.databases.application.point_at(&new).await.and(plain("the application writes to the new side"))
            }
            other => bail!("nobody knows how to {other}"),
        }
    }

    /// Runs `cutover` to its end, and does meanwhile what its steps ask for.
    pub(crate) async fn runs(&mut self, words: &[&str]) -> Result<tests::Output> {
        let Databases { old, new, .. } = &self.databases;
        let credentials =
            [("PG_OLD_OPERATOR", old.operator_dsn()), ("PG_OLD_DSN", old.observer_dsn()), ("PG_NEW_DSN", new.observer_dsn())];
        let spec = self.verifier.cutover_spec(tests::Role::Operate, words)?;
        let spec = credentials.into_iter().fold(spec, |spec, (name, dsn)| spec.env(name, dsn));
        let process = self.world.start(spec)?;
        loop {
            let asked = tokio::select! {
                asked = self.hands.asked() => asked?,
                status = process.wait(self.patience) => {
                    let code = status?.code().context("cutover was killed")?;
                    ensure!(process.ended()?.is_some(), "cutover still runs");
                    return Ok(tests::Output { code, stdout: process.stdout(), stderr: process.stderr() });
                }
            };
            self.answer(asked).await?;
        }
    }
}
