//! `lokiReady`: a Loki is ready, directly and through its gateway.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use crate::check::{Check, Context, Meta, Nature, Report};
use crate::net::fetch::{self, Reply};
use crate::net::{Budget, below, reasons, shown};
use crate::outcome::{Measure, Outcome, PartId, ReasonSpec, Step};
use crate::target::{LokiTarget, TargetKind, TargetUse};

use super::get;

/// Services are not up yet.
const STARTING: ReasonSpec =
    ReasonSpec::fail("starting", "wait until Loki's services run; replaying its WAL can take minutes after a crash");
/// Up, but in the pause that an ingester takes.
const INGESTER_WAITING: ReasonSpec =
    ReasonSpec::fail("ingester_waiting", "wait 15 s: an ingester pauses that long from the first question on");
/// On its way down.
const STOPPING: ReasonSpec = ReasonSpec::fail("stopping", "start Loki again, if it was not meant to stop");
/// 5xx of another kind.
const SERVER_ERROR: ReasonSpec =
    ReasonSpec::fail("server_error", "look at Loki's log, or the gateway's: it answers with the error in the evidence");
/// Something else answers.
const WRONG_REPLY: ReasonSpec =
    ReasonSpec::fail("wrong_reply", "correct the target's URL: what answers there is not Loki's own word of being ready");

const DIRECT: &str = "direct";
const GATEWAY: &str = "gateway";
/// A path that no Loki and no gateway serves.
const NOWHERE: &str = "phasegate-negative-control";

/// Loki says `ready` at `/ready` (part `direct`); if the target has a `gateway`, a real query through it (`/loki/api/v1/labels`)
/// succeeds as well (part `gateway`), because a gateway can be broken while Loki is ready.
///
/// Fail: refused, reset, silent, starting, in the ingester's 15 s pause, stopping, any other error or reply, a redirect, a web
/// page, a tenant that is denied. Unknown: our own resolver or network, an untrusted certificate, a reply that is cut short, too
/// large or not parsable. Loki takes pushes before it is ready: this check does not say whether lines arrive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LokiReady {
    /// Name of the target, of kind `loki`.
    pub loki: String,
}

/// One part's outcome, and how long Loki took if it answered.
type Sight = (Outcome, Option<Duration>);

async fn look_direct(cx: &Context, loki: &LokiTarget, base: &Url, budget: Budget) -> Sight {
    let url = below(base, &["ready"]);
    look(cx, loki, &url, budget, |reply| {
        let body = reply.whole()?;
        if reply.status.as_u16() == 200 && body.trim_ascii() == b"ready" {
            return Ok("ready".to_owned());
        }
        Err(WRONG_REPLY.because(reply.quote()))
    })
    .await
}

async fn look_through(cx: &Context, loki: &LokiTarget, base: &Url, budget: Budget) -> Sight {
    let url = below(base, &["loki", "api", "v1", "labels"]);
    look(cx, loki, &url, budget, |reply| {
        let document = reply.json()?;
        if document.get("status").and_then(Value::as_str) != Some("success") {
            return Err(WRONG_REPLY.because(reply.quote()));
        }
        match document.get("data") {
            None | Some(Value::Null) => Ok("no labels".to_owned()),
            Some(Value::Array(labels)) => Ok(format!("{} labels", labels.len())),
            Some(_) => Err(WRONG_REPLY.because(reply.quote())),
        }
    })
    .await
}

async fn look(
    cx: &Context,
    loki: &LokiTarget,
    url: &Url,
    budget: Budget,
    read: impl FnOnce(&Reply) -> Result<String, Outcome>,
) -> Sight {
    match get(cx, loki, url, budget).await {
        Ok(reply) => {
            let outcome = match refused(&reply).map_or_else(|| read(&reply), Err) {
                Ok(text) => Outcome::pass(format!("{}: {text}", shown(url))),
                Err(outcome) => outcome,
            };
            (outcome, Some(reply.took))
        }
        Err(outcome) => (outcome, None),
    }
}

/// What the status and Loki's own words say against it.
fn refused(reply: &Reply) -> Option<Outcome> {
    let (status, text) = (reply.status.as_u16(), reply.text());
    let reason = match status {
        200 if reply.is_html() => fetch::HTML,
        200 => return None,
        300..=399 => fetch::REDIRECT,
        401 | 403 => fetch::DENIED,
        503 if text.contains("waiting for 15s") => INGESTER_WAITING,
        503 if text.contains("Application is stopping") => STOPPING,
        503 if text.contains("not Running") || text.contains("not ready") => STARTING,
        500..=599 => SERVER_ERROR,
        _ => WRONG_REPLY,
    };
    Some(reason.because(reply.quote()))
}

impl Check for LokiReady {
    const META: Meta = Meta {
        kind: "lokiReady",
        nature: Nature::Continuous,
        reasons: &[
            reasons::NETWORK,
            fetch::REPLIES,
            &[STARTING, INGESTER_WAITING, STOPPING, SERVER_ERROR, WRONG_REPLY, reasons::TARGET_MISSING, super::BAD_TENANT],
        ],
        control: WRONG_REPLY,
        measures: &["latency_seconds"],
        waivable: true,
        rules: &[],
    };
    type Memory = ();

    fn targets(&self) -> Vec<TargetUse> {
        vec![TargetUse { field: "loki", kind: Some(TargetKind::Loki), name: self.loki.clone() }]
    }

    fn run<'a>(&'a self, cx: &'a Context, (): ()) -> BoxFuture<'a, Report<()>> {
        Box::pin(async move {
            let budget = Budget::start(cx.timeout);
            let loki = match cx.target::<LokiTarget>(&self.loki) {
                Ok(loki) => loki,
                Err(outcome) => {
                    return Report::new(Step::Done(BTreeMap::from([(PartId::new(DIRECT), outcome)])), ());
                }
            };
            let through = async {
                match &loki.gateway {
                    Some(gateway) => Some(look_through(cx, loki, gateway, budget).await),
                    None => None,
                }
            };
            let (direct, through) = tokio::join!(look_direct(cx, loki, &loki.url, budget), through);
            let mut parts = BTreeMap::new();
            let mut measures = Vec::new();
            for (name, (outcome, took)) in
                [(DIRECT, Some(direct)), (GATEWAY, through)].into_iter().filter_map(|(name, sight)| Some((name, sight?)))
            {
                let part = PartId::new(name);
                measures.extend(took.map(|took| Measure {
                    part: part.clone(),
                    name: "latency_seconds",
                    value: took.as_secs_f64(),
                }));
                parts.insert(part, outcome);
            }
            Report { measures, ..Report::new(Step::Done(parts), ()) }
        })
    }

    fn control<'a>(&'a self, cx: &'a Context, (): ()) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let budget = Budget::start(cx.timeout);
            let loki = match cx.target::<LokiTarget>(&self.loki) {
                Ok(loki) => loki,
                Err(outcome) => return outcome,
            };
            let (direct, _) = look_direct(cx, loki, &below(&loki.url, &[NOWHERE]), budget).await;
            match &loki.gateway {
                Some(gateway) if !matches!(direct, Outcome::Pass { .. }) => {
                    let (through, _) = look_through(cx, loki, &below(gateway, &[NOWHERE]), budget).await;
                    if matches!(through, Outcome::Pass { .. }) { through } else { direct }
                }
                _ => direct,
            }
        })
    }
}

#[cfg(test)]
mod tests;
