//! What the agent serves: its head, for the verifier, and metrics and health, for operations.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::registry::Registry;

use super::emitter::Account;
use crate::api::{accepts_openmetrics, exposition_type};
use crate::metrics::sheet::{Sheet, seconds};

/// A journal that has not read for longer than this hangs.
const SLOW: Duration = Duration::from_secs(5);

/// The agent's routes.
pub(super) fn app(account: Arc<Account>) -> Router {
    Router::new()
        .route("/v1/head", get(head))
        .route("/metrics", get(metrics))
        .route("/-/healthy", get(|| async { "healthy\n" }))
        .route("/-/ready", get(ready))
        .with_state(account)
}

async fn head(State(account): State<Arc<Account>>) -> impl IntoResponse {
    // An answer from a cache would hide that the agent has stopped.
    ([(CACHE_CONTROL, "no-store")], Json(account.head()))
}

/// Ready is who writes, and is read.
async fn ready(State(account): State<Arc<Account>>) -> (StatusCode, String) {
    let (unread, counts) = (account.unread(), account.counts());
    match (counts.trouble, counts.last) {
        (Some(trouble), _) => (StatusCode::SERVICE_UNAVAILABLE, format!("the sink refuses lines: {trouble}\n")),
        (None, _) if unread > SLOW => {
            let seconds = unread.as_secs();
            (StatusCode::SERVICE_UNAVAILABLE, format!("the sink has not read what it was sent for {seconds} s\n"))
        }
        (None, 0) => (StatusCode::SERVICE_UNAVAILABLE, "no line was written yet\n".to_owned()),
        (None, _) => (StatusCode::OK, "ready\n".to_owned()),
    }
}

async fn metrics(State(account): State<Arc<Account>>, headers: HeaderMap) -> Result<impl IntoResponse, StatusCode> {
    let openmetrics = accepts_openmetrics(&headers);
    match render(account, openmetrics) {
        Ok(body) => Ok(([(CONTENT_TYPE, exposition_type(openmetrics))], body)),
        Err(error) => {
            tracing::error!(%error, "the metrics can not be rendered");
            Err(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

fn render(account: Arc<Account>, openmetrics: bool) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("phasegate");
    registry.register_collector(Box::new(Scrape { account, classic: !openmetrics }));
    let mut body = String::new();
    text::encode_registry(&mut body, &registry)?;
    if openmetrics {
        text::encode_eof(&mut body)?;
    }
    Ok(body)
}

#[derive(Debug)]
struct Scrape {
    account: Arc<Account>,
    classic: bool,
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut sheet = Sheet::new(&mut encoder, self.classic);
        let (node, unread, counts) = ([("node", self.account.node())], self.account.unread(), self.account.counts());
        sheet.gauge("build_info", "Version of the agent; always 1", [([("version", env!("CARGO_PKG_VERSION"))], 1_u32)])?;
        let now = seconds(self.account.head().now);
        sheet.gauge("time_seconds", "The agent's clock at the moment of the scrape", [(node, now)])?;
        sheet.counter("canary_emitted", "Canary lines that the sink took", [(node, counts.last)])?;
        sheet.counter("agent_write_failures", "Canary lines that the sink refused", [(node, counts.failed)])?;
        let last = counts.last_at.map_or(0.0, seconds);
        sheet.gauge("agent_last_write_timestamp_seconds", "When the sink last took a line; 0 for never", [(node, last)])?;
        let unread = unread.as_secs_f64();
        sheet.gauge(
            "agent_unread_seconds",
            "For how long the sink has not read what it was sent; 0 if it has read all",
            [(node, unread)],
        )?;
        let every = self.account.every().as_secs_f64();
        sheet.gauge("agent_interval_seconds", "Time between two canary lines", [(node, every)])
    }
}

#[cfg(test)]
mod tests {
    use checks::log_path::line::Boot;

    use super::*;
    use crate::clock::Clock;

    #[test]
    fn the_whole_exposition() {
        let account = Account::new("node-1".into(), "canary".into(), Boot(1), Duration::from_millis(500), Clock::machine(None).0);
        let version = env!("CARGO_PKG_VERSION");
        let classic = render(Arc::new(account), false).unwrap().replace(version, "VERSION");
        insta::with_settings!({filters => vec![(r"(time_seconds\{.*\}) .*", "$1 [now]")]}, {
            insta::assert_snapshot!(classic);
        });
    }
}
