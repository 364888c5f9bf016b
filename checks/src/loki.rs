//! Looking at Loki over its HTTP API.

pub mod ready;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use crate::check::Context;
use crate::net::fetch::{self, Reply};
use crate::net::{Budget, reasons};
use crate::outcome::{Outcome, ReasonSpec};
use crate::target::{LokiTarget, Target};

/// The tenant's name can not be sent.
pub(crate) const BAD_TENANT: ReasonSpec =
    ReasonSpec::unknown("bad_tenant", "correct the target's `tenant`: it can not be sent as a header");

const TENANT: HeaderName = HeaderName::from_static("x-scope-orgid");

/// The Loki of this name.
pub(crate) fn target<'a>(cx: &'a Context, name: &str) -> Result<&'a LokiTarget, Outcome> {
    match cx.targets.get(name) {
        Some(Target::Loki(loki)) => Ok(loki),
        Some(other) => Err(reasons::TARGET_MISSING.because(format!("target {name} is of kind {}", other.kind().as_str()))),
        None => Err(reasons::TARGET_MISSING.because(format!("no target {name}"))),
    }
}

/// A path below a base URL, which may have a path of its own.
pub(crate) fn below(base: &Url, path: &[&str]) -> Url {
    let mut url = base.clone();
    url.set_query(None);
    url.set_fragment(None);
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    url
}

/// Asks Loki, or a gateway in front of it, as the target's tenant.
pub(crate) async fn get(cx: &Context, loki: &LokiTarget, url: &Url, budget: Budget) -> Result<Reply, Outcome> {
    let mut headers = HeaderMap::new();
    if let Some(tenant) = &loki.tenant {
        let value = HeaderValue::try_from(tenant).map_err(|_| BAD_TENANT.because(format!("{tenant:?}")))?;
        headers.insert(TENANT, value);
    }
    fetch::get(&cx.clients, url, headers, budget).await
}
