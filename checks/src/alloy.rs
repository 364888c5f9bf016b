//! Looking at Grafana Alloy over its HTTP server.

pub mod health;

use reqwest::header::HeaderMap;
use url::Url;

use crate::check::Context;
use crate::net::exposition::Page;
use crate::net::fetch::{self, Reply};
use crate::net::{Budget, below};
use crate::outcome::{Outcome, PartId};

/// Lines that it has read from journals, before any rule.
pub(crate) const JOURNAL_LINES: &str = "loki_source_journal_target_lines_total";
/// Lines that its pipeline has dropped on purpose.
pub(crate) const DROPPED: &str = "loki_process_dropped_lines_total";
/// The metric that only an Alloy has.
const MARK: &str = "alloy_build_info";

/// Asks one Alloy.
pub(crate) async fn get(cx: &Context, url: &Url, budget: Budget) -> Result<Reply, Outcome> {
    fetch::get(&cx.clients, url, HeaderMap::new(), budget).await
}

/// The metrics of these names that one Alloy serves.
pub(crate) async fn metrics(cx: &Context, base: &Url, budget: Budget, names: &[&str]) -> Result<Page, Outcome> {
    let reply = get(cx, &below(base, &["metrics"]), budget).await?;
    let wanted: Vec<&str> = std::iter::once(MARK).chain(names.iter().copied()).collect();
    Page::read(&reply, &wanted)
}

/// The part that one Alloy is: host and port, and the path if it has one.
pub(crate) fn part(base: &Url) -> PartId {
    let port = base.port_or_known_default().map(|port| format!(":{port}")).unwrap_or_default();
    PartId::new(format!("{}{port}{}", base.host_str().unwrap_or_default(), base.path().trim_end_matches('/')))
}
