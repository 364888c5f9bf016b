//! Looking at Loki over its HTTP API.

pub(crate) mod counts;
pub mod freshness;
pub mod handover;
pub mod history;
pub mod ingest;
pub(crate) mod lines;
pub(crate) mod names;
pub mod quiet;
pub mod ready;
#[cfg(test)]
mod scripted;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use crate::check::Context;
use crate::net::Budget;
use crate::net::exposition::{Page, Sample};
use crate::net::fetch::{self, Reply};
use crate::outcome::{Outcome, ReasonSpec};
use crate::target::LokiTarget;

/// The tenant's name can not be sent.
pub(crate) const BAD_TENANT: ReasonSpec =
    ReasonSpec::unknown("bad_tenant", "correct the target's `tenant`: it can not be sent as a header");

/// Two processes answer in turn.
pub(crate) const SEVERAL_INSTANCES: ReasonSpec = ReasonSpec::unknown(
    "several_instances",
    "use one target and probe for each Loki that takes pushes: behind this URL, different instances answer in turn",
);

/// The metric that only a Loki has.
pub(crate) const BUILD: &str = "loki_build_info";
/// Lines that it was sent, before it looks at them.
pub(crate) const RECEIVED: &str = "loki_distributor_lines_received_total";
/// Lines that it threw away.
pub(crate) const DISCARDS: &str = "loki_discarded_samples_total";

/// Whether a sample counts what the target's tenant has sent; without a tenant, what anybody has.
pub(crate) fn is_ours(tenant: Option<&str>, sample: &Sample) -> bool {
    let of = sample.labels.get("tenant").map(String::as_str).unwrap_or_default();
    tenant.is_none_or(|tenant| tenant.split('|').any(|tenant| of == tenant))
}

/// How many lines it was sent from outside; it writes some itself.
pub(crate) fn received(page: &Page, tenant: Option<&str>) -> Result<f64, Outcome> {
    let internal = |sample: &Sample| sample.labels.get("is_internal_stream").is_some_and(|internal| internal == "true");
    page.sum(RECEIVED, |sample| is_ours(tenant, sample) && !internal(sample))
}

const TENANT: HeaderName = HeaderName::from_static("x-scope-orgid");

/// Asks Loki, or a gateway in front of it, as the target's tenant.
pub(crate) async fn get(cx: &Context, loki: &LokiTarget, url: &Url, budget: Budget) -> Result<Reply, Outcome> {
    let mut headers = HeaderMap::new();
    if let Some(tenant) = &loki.tenant {
        let value = HeaderValue::try_from(tenant).map_err(|_| BAD_TENANT.because(format!("{tenant:?}")))?;
        headers.insert(TENANT, value);
    }
    fetch::get(&cx.clients, url, headers, budget).await
}
