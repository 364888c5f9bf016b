//! Ours beside Grafana's: the agent with the check `logCanary`, and loki-canary, on the same real Loki and under the same faults.

mod cases;
mod fork;
mod stage;
mod table;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use futures::future::{LocalBoxFuture, join_all};
use serde_json::json;

use crate::figures::{say, tell};

use cases::Outage;
use stage::Collector;
use table::Part;

const NOTES: &str = "\
Both write 10 lines/s into one Loki. loki-canary pushes them itself, its pushes through a proxy that can hold them up, its websocket and
queries directly to Loki; all of its times are its defaults. The agent writes into a journald, a collector ships that through a proxy of
the same kind; the verifier asks Loki directly, with defaults. A fault hits both proxies at the same moment. Each case has a Loki and
processes of its own; `steady` runs alone, the others side by side. Looked at every 0.2 s. loki-canary counts what it did not receive
when its timer ticks, every 60 s, and what is still not in Loki after 300 s at another tick: one figure of it may be 60 s off the next.
Its spot check knows one line of each 15 minutes, and counts that once a minute for as long as it is missing.";

/// What is done to both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Case {
    /// Nothing: what they cost.
    Steady,
    /// Pushes fall silent; and, beside it, Loki is frozen.
    Outage,
    /// 240 s without shipping, nothing lost.
    Pause,
    /// Delivered lines are deleted.
    Destroy,
    /// Each tenth push is acknowledged and thrown away.
    Drop,
}

/// Which cases, and for how long.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// These cases only.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Case::Steady, Case::Outage, Case::Pause, Case::Destroy, Case::Drop])]
    only: Vec<Case>,
    /// All of it in about a quarter of an hour: destroyed lines are waited for 8 minutes instead of 65, which is too short for the
    /// default `recheck`.
    #[arg(long)]
    quick: bool,
    /// Most seconds until the first sign of an outage.
    #[arg(long, default_value_t = 180)]
    outage_limit: u64,
    /// Most seconds until destroyed lines are reported.
    #[arg(long, default_value_t = 3_900)]
    destroy_limit: u64,
    /// What ships the agent's lines.
    #[arg(long, value_enum, default_value_t = Collector::Promtail)]
    collector: Collector,
    /// The table and all raw figures as JSON, into this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Options {
    fn cases(&self) -> Vec<LocalBoxFuture<'static, Result<Part>>> {
        let collector = self.collector;
        let outage_limit = Duration::from_secs(self.outage_limit);
        let destroy_limit = Duration::from_secs(if self.quick { self.destroy_limit.min(480) } else { self.destroy_limit });
        let follow = Duration::from_secs(if self.quick { 300 } else { 480 });
        let outage = |how| -> LocalBoxFuture<'static, Result<Part>> { Box::pin(cases::outage(collector, how, outage_limit)) };
        let of = |case: &Case| -> Vec<LocalBoxFuture<'static, Result<Part>>> {
            match case {
                Case::Steady => Vec::new(),
                Case::Outage => [Outage::Dark, Outage::Frozen].map(outage).into(),
                Case::Pause => vec![Box::pin(cases::pause(collector, follow))],
                Case::Destroy => vec![Box::pin(cases::destroy(collector, destroy_limit))],
                Case::Drop => vec![Box::pin(cases::drop_some(collector))],
            }
        };
        self.only.iter().flat_map(of).collect()
    }
}

/// Runs the cases, and prints one table.
pub(crate) async fn measure(options: &Options) -> Result<()> {
    let mut results = Vec::new();
    if options.only.contains(&Case::Steady) {
        results.push(cases::steady(options.collector).await);
    }
    results.extend(join_all(options.cases()).await);
    let (mut parts, mut failures) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(part) => parts.push(part),
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    let head =
        json!({"build": build, "collector": format!("{:?}", options.collector), "quick": options.quick, "failures": failures});
    tell(&format!("phasegate ({build}) beside loki-canary 3.6.3\n{}\n\n{NOTES}", table::text(&parts)));
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&table::json(&parts, &head))?;
        std::fs::write(file, text + "\n").with_context(|| format!("writing {}", file.display()))?;
        say(&format!("raw figures: {}", file.display()));
    }
    ensure!(failures.is_empty(), "{} of the cases: {}", failures.len(), failures.join("; "));
    Ok(())
}
