//! Looking at Loki over its HTTP API.

pub mod ingest;
pub(crate) mod lines;
pub mod ready;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use crate::check::Context;
use crate::net::Budget;
use crate::net::fetch::{self, Reply};
use crate::outcome::{Outcome, ReasonSpec};
use crate::target::LokiTarget;

/// The tenant's name can not be sent.
pub(crate) const BAD_TENANT: ReasonSpec =
    ReasonSpec::unknown("bad_tenant", "correct the target's `tenant`: it can not be sent as a header");

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
