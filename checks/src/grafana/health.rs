//! `grafanaHealth`: a Grafana runs and reaches its own database.

mod files;
mod provisioned;

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::{BoxFuture, join};
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

use super::api::ASKING;
use super::{SERVER_ERROR, WRONG_REPLY};
use provisioned::{Memory, Provisioned};

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

/// A file that is no dashboard.
const BROKEN_FILE: ReasonSpec = ReasonSpec::fail(
    "broken_file",
    "mend the file at the place that the evidence names: Grafana skips it, stays ready, and serves what it had before",
);
/// Two files for one dashboard.
const DUPLICATE_UID: ReasonSpec = ReasonSpec::fail(
    "duplicate_uid",
    "give one of the two files another uid: Grafana loads nothing more of the folder while it has both",
);
/// A dashboard that should come from a file.
const NOT_PROVISIONED: ReasonSpec = ReasonSpec::fail(
    "not_provisioned",
    "see whether the file reached Grafana's provisioning folder, and what its log says of it: the dashboard is not there, or was made by \
     hand",
);
/// A dashboard that is not what its file says.
const OUTDATED: ReasonSpec = ReasonSpec::fail(
    "outdated",
    "look for the file in Grafana's log: it serves another version than the file has, as it does when it can not load it",
);
/// A file that was only just changed, or a first round.
const LOADING: ReasonSpec = ReasonSpec::waiting("loading", "wait until Grafana has read its files again, and all were looked at");
/// A dashboard that can not be known.
const NO_UID: ReasonSpec = ReasonSpec::unknown(
    "no_uid",
    "give the dashboard in the file a `uid`: Grafana makes one up, so that it can not be told which dashboard it is",
);
/// Files that can not be read.
const FILES_UNREADABLE: ReasonSpec = ReasonSpec::unknown(
    "files_unreadable",
    "mount what Grafana provisions its dashboards from for the verifier as well, readable, or correct `provisioned.files`",
);

/// A path that no Grafana serves.
const NOWHERE: &str = "phasegate-negative-control";

/// Grafana answers `/api/health` and says that it reaches its own database; with `version`, the version is as expected; with
/// `provisioned`, it serves what its dashboard files say.
///
/// Grafana's own answer says no more than that: nothing of datasources, provisioning, dashboards, users or plugins, all of which can
/// be broken while it is ready. It repeats its answer for 5 s, so a database that has just failed is seen that much later. No token
/// is sent for it, because the question needs none.
///
/// With `provisioned` there are the parts `database` and `provisioning`. The verifier reads the files itself, all of them with each
/// run, and asks Grafana for the dashboards, some with each run: a file that is no JSON, one uid in two files, a dashboard that is
/// missing, made by hand, or of another version than its file. Grafana skips such files, says so in its log alone, and serves what it
/// had. `provisioned.dashboards` names those that must come from a file, in case the file itself is missing.
///
/// Fail: refused, reset, silent, the database fails, another version, any other error or reply, a redirect, a web page; a broken or
/// doubled file, a dashboard that is not what its file says. Waiting: a file was changed within `provisioned.within`, or not all were
/// looked at yet. Unknown: our own resolver or network, an untrusted certificate, a reply that is cut short, too large or not
/// parsable, a version that is asked for and hidden; files that can not be read or have no uid, a token that is refused or too weak.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GrafanaHealth {
    /// Name of the target, of kind `grafana`.
    pub grafana: String,
    /// How the version must begin, like `12.3`: right for 12.3.2, not for 12.30.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What Grafana must serve from files. The target needs a token then, of a role that sees these dashboards and all datasources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioned: Option<Provisioned>,
}

const DATABASE: &str = "database";
const PROVISIONING: &str = "provisioning";

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
            ASKING,
            &[DATABASE_FAILING, WRONG_VERSION, VERSION_HIDDEN, reasons::TARGET_MISSING],
            &[BROKEN_FILE, DUPLICATE_UID, NOT_PROVISIONED, OUTDATED, LOADING, NO_UID, FILES_UNREADABLE],
        ],
        control: WRONG_REPLY,
        measures: &["latency_seconds"],
        waivable: true,
        rules: &[],
    };
    type Memory = Memory;

    fn targets(&self) -> Vec<TargetUse> {
        vec![TargetUse { field: "grafana", kind: Some(TargetKind::Grafana), name: self.grafana.clone() }]
    }

    fn validate(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut wrong =
            |field, message: &str, hint: &str| errors.push(FieldError { field, message: message.into(), hint: hint.into() });
        if self.version.as_ref().is_some_and(|version| !version.starts_with(|c: char| c.is_ascii_digit())) {
            wrong("version", "no version begins like that", "write it like 12.3, or leave it out");
        }
        if self.provisioned.as_ref().is_some_and(|what| what.files.is_empty() && what.dashboards.is_empty()) {
            wrong("provisioned", "it names nothing", "name `files`, `dashboards` or both");
        }
        errors
    }

    fn run<'a>(&'a self, cx: &'a Context, mut memory: Memory) -> BoxFuture<'a, Report<Memory>> {
        Box::pin(async move {
            let budget = Budget::start(cx.timeout);
            let grafana = match cx.target::<GrafanaTarget>(&self.grafana) {
                Ok(grafana) => grafana,
                Err(outcome) => return Report::new(Step::whole(outcome), memory),
            };
            let health = below(&grafana.url, &["api", "health"]);
            let (name, took, parts) = match &self.provisioned {
                None => {
                    let (outcome, took) = self.look(cx, &health, budget).await;
                    (PartId::WHOLE, took, BTreeMap::from([(PartId::new(PartId::WHOLE), outcome)]))
                }
                Some(provisioned) => {
                    let looks = join(self.look(cx, &health, budget), provisioned.look(cx, grafana, &mut memory, budget));
                    let ((outcome, took), files) = looks.await;
                    (DATABASE, took, BTreeMap::from([(PartId::new(DATABASE), outcome), (PartId::new(PROVISIONING), files)]))
                }
            };
            let latency =
                |took: Duration| Measure { part: PartId::new(name), name: "latency_seconds", value: took.as_secs_f64() };
            Report { measures: took.map(latency).into_iter().collect(), ..Report::new(Step::Done(parts), memory) }
        })
    }

    /// Below `/api` Grafana answers in JSON, with or without a login: not found, or not logged in. That must not pass for health, nor a
    /// dashboard that nobody has for a provisioned one.
    fn control<'a>(&'a self, cx: &'a Context, _memory: Memory) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let budget = Budget::start(cx.timeout);
            let grafana = match cx.target::<GrafanaTarget>(&self.grafana) {
                Ok(grafana) => grafana,
                Err(outcome) => return outcome,
            };
            if let Some(provisioned) = &self.provisioned {
                let wrong = provisioned.look_wrong(cx, grafana, NOWHERE, budget).await;
                let wrong = wrong.unwrap_or_else(|outcome| outcome);
                if wrong.reason() != Some(&NOT_PROVISIONED.into()) {
                    return wrong;
                }
            }
            self.look(cx, &below(&grafana.url, &["api", NOWHERE]), budget).await.0
        })
    }
}

#[cfg(test)]
mod tests;
