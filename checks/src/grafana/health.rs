//! `grafanaHealth`: a Grafana runs and reaches its own database.

use std::time::Duration;

use futures::future::BoxFuture;
use reqwest::header::HeaderMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use crate::check::{Check, Context, FieldError, Meta, Nature, Report};
use crate::net::fetch::{self, Reply};
use crate::net::{Budget, below, reasons, shown};
use crate::outcome::{Measure, Outcome, PartId, ReasonSpec, Step};
use crate::target::{GrafanaTarget, TargetKind, TargetUse};

use super::{SERVER_ERROR, WRONG_REPLY};

/// Grafana runs, its own database does not.
const DATABASE_FAILING: ReasonSpec = ReasonSpec::fail(
    "database_failing",
    "mend the database that Grafana keeps its dashboards and users in: its log names the error, often a volume that is full or \
     not writable",
);
/// Another version than expected.
const WRONG_VERSION: ReasonSpec =
    ReasonSpec::fail("wrong_version", "see which image runs: another Grafana than expected answers; or correct `version`");
/// The version can not be seen.
const VERSION_HIDDEN: ReasonSpec = ReasonSpec::unknown(
    "version_hidden",
    "let Grafana name its version to everyone (`hide_version = false`), or leave `version` out",
);

/// A path that no Grafana serves.
const NOWHERE: &str = "phasegate-negative-control";

/// Grafana answers `/api/health` and says that it reaches its own database; with `version`, the version is as expected.
///
/// It says no more than that: nothing of datasources, provisioning, dashboards, users or plugins, all of which can be broken while
/// this passes (`grafanaQuery` looks at the data). Grafana repeats its answer for 5 s, so a database that has just failed is seen
/// that much later. No token is sent, because the question needs none.
///
/// Fail: refused, reset, silent, the database fails, another version, any other error or reply, a redirect, a web page. Unknown:
/// our own resolver or network, an untrusted certificate, a reply that is cut short, too large or not parsable, a version that is
/// asked for and hidden.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GrafanaHealth {
    /// Name of the target, of kind `grafana`.
    pub grafana: String,
    /// How the version must begin, like `12.3`: right for 12.3.2, not for 12.30.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

impl GrafanaHealth {
    /// Looks at one URL; also says how long Grafana took, if it answered.
    async fn look(&self, cx: &Context, url: &Url, budget: Budget) -> (Outcome, Option<Duration>) {
        match fetch::get(&cx.clients, url, HeaderMap::new(), budget).await {
            Ok(reply) => {
                let outcome = match self.judge(&reply) {
                    Ok(version) => Outcome::pass(format!("{}: database ok, version {version}", shown(url))),
                    Err(outcome) => outcome,
                };
                (outcome, Some(reply.took))
            }
            Err(outcome) => (outcome, None),
        }
    }

    /// The version, if nothing speaks against it.
    fn judge(&self, reply: &Reply) -> Result<String, Outcome> {
        let said = |name: &str, document: &Value| document.get(name).and_then(Value::as_str).map(|text| reply.clip(text));
        match reply.status.as_u16() {
            200 => {}
            503 if reply.json().is_ok_and(|document| document.get("database").is_some()) => {
                return Err(DATABASE_FAILING.because(reply.quote()));
            }
            300..=399 => return Err(fetch::REDIRECT.because(reply.quote())),
            500..=599 => return Err(SERVER_ERROR.because(reply.quote())),
            // Health needs no login, so one that is asked for is not Grafana's.
            _ => return Err(WRONG_REPLY.because(reply.quote())),
        }
        let document = reply.json()?;
        match said("database", &document).as_deref() {
            Some("ok") => {}
            Some(_) => return Err(DATABASE_FAILING.because(reply.quote())),
            None => return Err(WRONG_REPLY.because(reply.quote())),
        }
        let version = said("version", &document).filter(|version| !version.is_empty());
        match (&self.version, version) {
            (Some(expected), Some(version)) if !begins(&version, expected) => {
                Err(WRONG_VERSION.because(format!("version {version}, expected {expected}")))
            }
            (Some(expected), None) => Err(VERSION_HIDDEN.because(format!("expected {expected}; {}", reply.quote()))),
            (_, version) => Ok(version.unwrap_or_else(|| "hidden".to_owned())),
        }
    }
}

/// Whether a version begins with these numbers, each of them in full.
fn begins(version: &str, expected: &str) -> bool {
    version.strip_prefix(expected).is_some_and(|rest| expected.ends_with('.') || !rest.starts_with(|c: char| c.is_ascii_digit()))
}

impl Check for GrafanaHealth {
    const META: Meta = Meta {
        kind: "grafanaHealth",
        nature: Nature::Continuous,
        reasons: &[
            reasons::NETWORK,
            fetch::REPLIES,
            &[DATABASE_FAILING, WRONG_VERSION, VERSION_HIDDEN, SERVER_ERROR, WRONG_REPLY, reasons::TARGET_MISSING],
        ],
        control: WRONG_REPLY,
        measures: &["latency_seconds"],
        waivable: true,
    };
    type Memory = ();

    fn targets(&self) -> Vec<TargetUse> {
        vec![TargetUse { field: "grafana", kind: Some(TargetKind::Grafana), name: self.grafana.clone() }]
    }

    fn validate(&self) -> Vec<FieldError> {
        if self.version.as_ref().is_none_or(|version| version.starts_with(|c: char| c.is_ascii_digit())) {
            return Vec::new();
        }
        let hint = "write it like 12.3, or leave it out".into();
        vec![FieldError { field: "version", message: "no version begins like that".into(), hint }]
    }

    fn run<'a>(&'a self, cx: &'a Context, (): ()) -> BoxFuture<'a, Report<()>> {
        Box::pin(async move {
            let budget = Budget::start(cx.timeout);
            let (outcome, took) = match cx.target::<GrafanaTarget>(&self.grafana) {
                Ok(grafana) => self.look(cx, &below(&grafana.url, &["api", "health"]), budget).await,
                Err(outcome) => (outcome, None),
            };
            let part = PartId::new(PartId::WHOLE);
            let measures = took.map(|took| Measure { part, name: "latency_seconds", value: took.as_secs_f64() });
            Report { measures: measures.into_iter().collect(), ..Report::new(Step::whole(outcome), ()) }
        })
    }

    fn control<'a>(&'a self, cx: &'a Context, (): ()) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let budget = Budget::start(cx.timeout);
            match cx.target::<GrafanaTarget>(&self.grafana) {
                // Below `/api` Grafana answers in JSON, with or without a login: not found, or not logged in.
                Ok(grafana) => self.look(cx, &below(&grafana.url, &["api", NOWHERE]), budget).await.0,
                Err(outcome) => outcome,
            }
        })
    }
}

#[cfg(test)]
mod tests;
