//! Looking at Grafana Alloy over its HTTP server.

pub mod health;
pub mod shipping;

use reqwest::header::HeaderMap;
use url::Url;

use crate::check::Context;
use crate::net::exposition::Page;
use crate::net::fetch::{self, Reply};
use crate::net::{Budget, below, reasons};
use crate::outcome::{Outcome, PartId, ReasonSpec};

/// Lines that it has read from journals, before any rule.
pub(crate) const JOURNAL_LINES: &str = "loki_source_journal_target_lines_total";
/// Lines that its pipeline has dropped on purpose.
pub(crate) const DROPPED: &str = "loki_process_dropped_lines_total";
/// When its configuration was loaded: a time that only ever increases, by restart or reload.
pub(crate) const LOADED_AT: &str = "alloy_config_last_load_success_timestamp_seconds";
/// Lines that a Loki has taken from it, by `host`: the host and port of the push URL.
pub(crate) const SENT: &str = "loki_write_sent_entries_total";
/// Lines that it has given up, by `host` and `reason`.
pub(crate) const GIVEN_UP: &str = "loki_write_dropped_entries_total";
/// Its requests to push, by `host` and `status_code`.
pub(crate) const ANSWERS: &str = "loki_write_request_duration_seconds_count";
/// The metric that only an Alloy has.
const MARK: &str = "alloy_build_info";

/// Two processes answer in turn.
const SEVERAL_INSTANCES: ReasonSpec = ReasonSpec::unknown(
    "several_instances",
    "list the URL of each instance: behind this one, different instances answer in turn, so none of them is watched",
);

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

/// What a status of [`ANSWERS`] is, in words: -1 is no status.
pub(crate) fn answer(status: &str) -> String {
    if status == "-1" { "no connection or no answer".to_owned() } else { format!("status {status}") }
}

/// The worst of some outcomes; of equals the first.
fn worst(outcomes: Vec<Outcome>) -> Option<Outcome> {
    outcomes.into_iter().reduce(|worst, next| if next.rank() > worst.rank() { next } else { worst })
}

/// The outcome of controls: what is nearest to a Pass; of equals the first.
fn best(outcomes: Vec<Outcome>) -> Outcome {
    let best = outcomes.into_iter().reduce(|best, next| if next.rank() < best.rank() { next } else { best });
    best.unwrap_or_else(|| reasons::TARGET_MISSING.because("no URL"))
}
