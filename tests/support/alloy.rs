//! Alloy 1.10.0, the new side's log collector.

use std::fmt::Write;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::Url;

use crate::http::Answer;
use crate::process::Spec;
use crate::server::Server;
use crate::stack;
use crate::world::World;

const START: Duration = Duration::from_mins(1);
const STOP: Duration = Duration::from_secs(30);
/// Where it keeps how far it has read.
const DATA: &str = "data";

/// A real Alloy that ships a journal, with the pipeline of the new side: units and identifiers of its own list are kept, with a
/// label `agent="alloy"`, everything else is dropped; `service` and `level` come from a JSON body. What it can do as a server is in
/// [`Server`].
#[derive(Debug)]
pub struct Alloy {
    server: Server,
    journal: PathBuf,
    file: PathBuf,
}

impl Deref for Alloy {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Alloy {
    /// Starts one that reads the journal in `journal` and ships to the Lokis at these base URLs; returns when it is ready.
    ///
    /// # Errors
    /// It can not be built or started, or is not ready within a minute.
    pub async fn start(world: &World, journal: &Path, lokis: &[&str]) -> Result<Self> {
        let alloy = Self::configured(world, journal, lokis).await?;
        alloy.start_again().await?;
        Ok(alloy)
    }

    /// One that is not started yet.
    ///
    /// # Errors
    /// It can not be built, or its file can not be written.
    pub async fn configured(world: &World, journal: &Path, lokis: &[&str]) -> Result<Self> {
        let binary = stack::binary("alloy").await?;
        let port = world.port()?;
        let folder = world.folder("alloy")?;
        let file = folder.join("config.alloy");
        let spec = Spec::new("alloy", binary)
            .args(["run".to_owned(), file.display().to_string(), "--disable-reporting".to_owned()])
            .arg(format!("--storage.path={}", folder.join(DATA).display()))
            .arg(format!("--server.http.listen-addr=127.0.0.1:{port}"));
        let server = Server::new(world, spec, port, "/-/ready", (START, STOP));
        let alloy = Self { server, journal: journal.to_owned(), file };
        alloy.configure(lokis)?;
        Ok(alloy)
    }

    /// Ships to the Lokis at these base URLs from now on: another configuration, and a reload.
    ///
    /// # Errors
    /// It refuses the reload; the error holds its words.
    pub async fn set_lokis(&self, lokis: &[&str]) -> Result<()> {
        self.configure(lokis)?;
        self.take().await
    }

    /// Its pipeline drops a service from now on, as a match stage does that somebody forgot; until the next [`Alloy::set_lokis`].
    ///
    /// # Errors
    /// Its file can not be read or written, or it refuses the reload.
    pub async fn drop_service(&self, service: &str) -> Result<()> {
        let sends = "  forward_to = [loki.write.k3s.receiver]";
        let stage =
            format!("  stage.match {{\n    selector = \"{{service=\\\"{service}\\\"}}\"\n    action   = \"drop\"\n  }}\n{sends}");
        let text = std::fs::read_to_string(&self.file)?;
        ensure!(text.contains(sends), "nothing is sent: {text}");
        std::fs::write(&self.file, text.replace(sends, &stage))?;
        self.take().await
    }

    /// A reload that it takes.
    async fn take(&self) -> Result<()> {
        let answer = self.reload().await?;
        ensure!(answer.status == 200, "Alloy refused the reload ({}): {}", answer.status, answer.body.trim());
        Ok(())
    }

    /// SIGKILL, and what it knew of how far it had read is gone; it starts again and reads all that its `max_age` allows.
    ///
    /// # Errors
    /// It will not go, its folder can not be removed, or it is not ready again within a minute.
    pub async fn start_without_positions(&self) -> Result<()> {
        self.kill().await?;
        let data = self.file.parent().context("the file is in no folder")?.join(DATA);
        std::fs::remove_dir_all(&data).with_context(|| data.display().to_string())?;
        self.start_again().await
    }

    /// Its configuration file, to be broken and mended.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// `POST /-/reload`.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn reload(&self) -> Result<Answer> {
        Answer::to(self.http().post(format!("{}/-/reload", self.url()))).await
    }

    /// Writes its configuration, to ship to the Lokis at these base URLs. It counts from the next start or reload on.
    ///
    /// # Errors
    /// The file can not be written, or a URL is none.
    pub fn configure(&self, lokis: &[&str]) -> Result<()> {
        std::fs::write(&self.file, config(&self.journal, lokis)?).with_context(|| format!("writing {}", self.file.display()))
    }
}

fn config(journal: &Path, lokis: &[&str]) -> Result<String> {
    let mut endpoints = String::new();
    for loki in lokis {
        let url = Url::parse(loki)?.join("/loki/api/v1/push")?;
        write!(
            endpoints,
            "\n  endpoint {{\n    url = \"{url}\"\n    batch_wait = \"100ms\"\n    max_backoff_period = \"2s\"\n    max_backoff_retries = 0\n  }}"
        )?;
    }
    let journal = journal.display();
    Ok(format!(
        r#"loki.relabel "r" {{
  forward_to = []
  rule {{
    source_labels = ["__journal__systemd_unit"]
    regex         = "(.+?)(?:@.*)?\\.service"
    target_label  = "service"
  }}
  rule {{
    source_labels = ["__journal_syslog_identifier"]
    regex         = "((?:gitops-sync|system-metrics|proxy).*)"
    target_label  = "service"
  }}
  rule {{
    source_labels = ["__journal_syslog_identifier"]
    target_label  = "syslog_identifier"
  }}
  rule {{
    source_labels = ["__journal_priority_keyword"]
    target_label  = "level"
  }}
}}

loki.source.journal "systemd" {{
  path          = "{journal}"
  max_age       = "7h"
  relabel_rules = loki.relabel.r.rules
  labels        = {{job = "systemd-journal", agent = "alloy"}}
  forward_to    = [loki.process.p.receiver]
}}

loki.process "p" {{
  stage.match {{
    selector = "{{service!~\"(gitops-sync|system-metrics|proxy).*\"}}"
    action   = "drop"
  }}
  stage.json {{
    expressions = {{level = "level", service = "service"}}
  }}
  stage.labels {{
    values = {{level = "", service = ""}}
  }}
  forward_to = [loki.write.k3s.receiver]
}}

loki.write "k3s" {{{endpoints}
}}
"#
    ))
}
