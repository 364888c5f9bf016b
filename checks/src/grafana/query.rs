//! `grafanaQuery`: a fresh canary line comes back through Grafana, and it is what Loki itself answers.

mod compare;
mod direct;
mod fresh;
mod look;
pub(crate) mod through;
pub(crate) mod window;

use std::time::Duration;

use futures::future::{BoxFuture, join3};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{Check, Context, FieldError, Meta, Nature, Report};
use crate::kubernetes::SIGHT;
use crate::log_path::line::SERVICE;
use crate::loki;
use crate::net::{fetch, reasons};
use crate::outcome::{Outcome, ReasonSpec, Step};
use crate::target::{TargetKind, TargetUse, pods};

use super::api::PERMISSION_MISSING;
use super::{SERVER_ERROR, WRONG_REPLY};
use look::Question;
use window::Window;

/// The canary does not arrive in Loki.
const NO_FRESH_LINE: ReasonSpec = ReasonSpec::fail(
    "no_fresh_line",
    "follow the canary from agent to Loki: is the agent running, does the collector ship its lines, do the clocks agree; or \
     raise `within`",
);
/// Lines that look fresh, but no agent wrote them just now.
const NOT_LIVE: ReasonSpec = ReasonSpec::fail(
    "not_live",
    "find out who wrote the lines: they look fresh and belong to no running agent (old lines sent again, or an agent that the \
     target does not list)",
);
/// The agents write nothing.
const NO_CANARY: ReasonSpec = ReasonSpec::unknown(
    "no_canary",
    "look at the agents' log and sink: they write no canary, so there is nothing to look for; or raise `within` above their pace",
);
/// An agent can not be asked.
const AGENT_UNREACHABLE: ReasonSpec =
    ReasonSpec::unknown("agent_unreachable", "start the agent that the evidence names, or correct its URL");
/// The agents have only just begun.
const AGENT_STARTING: ReasonSpec =
    ReasonSpec::waiting("agent_starting", "wait for the first lines of an agent that has only just started");
/// The question itself is refused.
const BAD_QUERY: ReasonSpec =
    ReasonSpec::unknown("bad_query", "correct `selector`: Loki refuses the query with the words in the evidence");
/// More lines than can be compared.
const TOO_MANY_LINES: ReasonSpec = ReasonSpec::unknown(
    "too_many_lines",
    "narrow `selector`, for example to one node: there are too many lines to compare them all",
);
/// Lines from another time than was asked for.
const STALE_ANSWER: ReasonSpec =
    ReasonSpec::fail("stale_answer", "look for a cache between the verifier and Loki: lines of another time came back");
/// Grafana does not know the datasource.
pub(super) const NO_DATASOURCE: ReasonSpec = ReasonSpec::fail(
    "no_datasource",
    "see whether the datasource is provisioned, and under which uid: Grafana has none with the uid that the probe names",
);
/// Grafana could not get an answer from its datasource.
const DATASOURCE_ERROR: ReasonSpec = ReasonSpec::fail(
    "datasource_error",
    "mend the way from Grafana to Loki, or the datasource's settings: Grafana's own words are in the evidence",
);
/// The two answers differ.
const DIFFERS: ReasonSpec = ReasonSpec::fail(
    "differs",
    "see which Loki, and which tenant, the datasource's URL leads to: through Grafana come other lines than from Loki itself",
);
/// Nothing comes back, and no error.
const EMPTY_ANSWER: ReasonSpec = ReasonSpec::fail(
    "empty_answer",
    "see which Loki, and which tenant, the datasource's URL leads to: what answers there has none of the lines, and says so without an \
     error",
);
/// Their number is another.
const COUNT_DIFFERS: ReasonSpec = ReasonSpec::fail(
    "count_differs",
    "see whether something between Grafana and Loki answers metric queries from a cache, or from another Loki: logs and numbers go \
     different ways",
);
/// Both Lokis have the same lines.
const SAME_IN_BOTH: ReasonSpec = ReasonSpec::unknown(
    "same_in_both",
    "let the collector ship to the new Loki alone, or name in `selector` what only the new one gets: while the old one has the same \
     lines, it can not be told which of them Grafana asks",
);
/// It can not be told whether the old Loki has them too.
const OLD_LOKI_UNREADABLE: ReasonSpec = ReasonSpec::unknown(
    "old_loki_unreadable",
    "let the verifier read the old Loki; once it is gone for good, take `oldLoki` out of the document",
);
/// There is nothing to compare with.
const NOT_COMPARED: ReasonSpec =
    ReasonSpec::unknown("not_compared", "see part `loki` first: without fresh lines from there Grafana's answer proves nothing");

/// What asking through Grafana can come to, beside what happens on the way.
pub(crate) const THROUGH: &[ReasonSpec] = &[
    reasons::SECRET_MISSING,
    fetch::TOKEN_REFUSED,
    PERMISSION_MISSING,
    STALE_ANSWER,
    NO_DATASOURCE,
    DATASOURCE_ERROR,
    SERVER_ERROR,
    WRONG_REPLY,
];

/// What the lines of Loki and of Grafana can come to.
pub(super) const COMPARED: &[ReasonSpec] = &[
    loki::BAD_TENANT,
    NO_FRESH_LINE,
    NOT_LIVE,
    NO_CANARY,
    AGENT_UNREACHABLE,
    AGENT_STARTING,
    BAD_QUERY,
    TOO_MANY_LINES,
    DIFFERS,
    EMPTY_ANSWER,
    COUNT_DIFFERS,
    NOT_COMPARED,
    SAME_IN_BOTH,
    OLD_LOKI_UNREADABLE,
];

const LOKI: &str = "loki";
const GRAFANA: &str = "grafana";
const METRIC: &str = "metric";
const GATEWAY: &str = "gateway";
/// A uid that no datasource has; the configuration refuses it.
pub(super) const NOWHERE: &str = "phasegate-negative-control";
/// What is wrong with something that is no uid.
pub(crate) const NO_UID: &str = "this can not be the uid of a datasource";
/// Longest `within`.
const LONGEST: Duration = Duration::from_hours(1);
/// Shortest `within`: the newest second is left out.
const SHORTEST: Duration = Duration::from_secs(5);

/// A fresh canary line comes back through Grafana (`POST /api/ds/query`, part `grafana`) and the answer has the same lines as
/// Loki's own for the same span of time (part `loki`).
///
/// Loki is asked first, on its own URL, for the lines of `selector` in the last `within`; one of them must be a canary line that
/// is fresh by Loki's timestamp and by the time in the line. With `agents`, the agent's head must vouch for it too: same node and
/// boot, a number that it has just written, so that no old, repeated or forged line counts. Then Grafana is asked for the same
/// span, past its query cache, for the lines and, with a metric query, for their number (part `metric`); the target's `gateway`, if
/// it has one, is asked for the lines at the same time (part `gateway`). A line that Loki has and Grafana has not, or the other way
/// round, fails; a line that arrived between the two questions is looked up again in Loki. Loki, Grafana and the second look at Loki
/// get two, two and one fifth of `timeout`. Dashboards and other datasources are not looked at.
///
/// Two Lokis that a collector writes the same lines to give the same answers. So name the one that Grafana asked before as
/// `oldLoki`: it is asked last, within the last fifth of `timeout`, and one of the lines must be missing there, which proves that
/// Grafana did not ask it. It must be the right server and tenant: one that never had the lines is told from the new one all too
/// easily, so the evidence says how many it has. Take `oldLoki` out once the old Loki is gone for good: the verifier can not tell one
/// that is gone from one that only Grafana reaches. Without it, a Grafana that still asks the old Loki passes as long as both get the
/// lines.
///
/// Fail: no fresh line in Loki, although agents write or no `agents` are named (then a dead agent can not be told from a dead
/// pipeline); lines that no agent vouches for; lines or numbers that differ, none at all, or of another time than asked for; a
/// datasource that is missing
/// or answers with an error, its own credentials refused included; either server refusing, resetting, silent, answering 5xx, a
/// redirect or a web page; Loki denying the target's tenant. Unknown: Grafana refuses our own token, or it is missing; the agents
/// write nothing, or can not be asked; Loki refuses the query itself; more lines than can be compared; the old Loki has all the
/// lines too, or can not be read; our own resolver or network; a reply that is cut short, too large or not parsable. No lines on both sides is never a pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GrafanaQuery {
    /// Name of the target, of kind `grafana`. Its token needs no more than the role Viewer.
    pub grafana: String,
    /// The uid of the Loki datasource in Grafana.
    pub datasource: String,
    /// Name of the target, of kind `loki`, that the datasource must lead to.
    pub loki: String,
    /// Name of the target, of kind `loki`, that the datasource led to before the move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_loki: Option<String>,
    /// Name of the target, of kind `agent`, whose agents write the canary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agents: Option<String>,
    /// Which lines to ask for: a `LogQL` stream selector, with line filters if need be.
    #[serde(default = "canary")]
    pub selector: String,
    /// How old the newest line may be, `5s` to `1h`.
    #[serde(default = "half_a_minute", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub within: Duration,
}

pub(super) fn canary() -> String {
    format!("{{service=\"{SERVICE}\"}}")
}

pub(super) const fn half_a_minute() -> Duration {
    Duration::from_secs(30)
}

/// Whether a datasource may have this uid.
pub(crate) fn is_uid(text: &str) -> bool {
    let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    !text.is_empty() && text.chars().all(letters) && text != NOWHERE
}

impl Check for GrafanaQuery {
    const META: Meta = Meta {
        kind: "grafanaQuery",
        nature: Nature::Continuous,
        reasons: &[reasons::NETWORK, SIGHT, pods::FOUND, fetch::REPLIES, &[reasons::TARGET_MISSING], COMPARED, THROUGH],
        control: DIFFERS,
        measures: &["latency_seconds", "age_seconds"],
        waivable: true,
        rules: pods::RULES,
    };
    type Memory = ();

    fn targets(&self) -> Vec<TargetUse> {
        let mut uses = vec![
            TargetUse { field: "grafana", kind: Some(TargetKind::Grafana), name: self.grafana.clone() },
            TargetUse { field: "loki", kind: Some(TargetKind::Loki), name: self.loki.clone() },
        ];
        let old =
            self.old_loki.iter().map(|name| TargetUse { field: "oldLoki", kind: Some(TargetKind::Loki), name: name.clone() });
        uses.extend(old);
        uses.extend(self.agents.iter().map(|name| TargetUse {
            field: "agents",
            kind: Some(TargetKind::Agent),
            name: name.clone(),
        }));
        uses
    }

    fn validate(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut wrong =
            |field, message: &str, hint: &str| errors.push(FieldError { field, message: message.into(), hint: hint.into() });
        if !is_uid(&self.datasource) {
            wrong("datasource", NO_UID, "take it from the datasource's page or provisioning file");
        }
        if !self.selector.trim_start().starts_with('{') || self.selector.len() > 1000 {
            wrong("selector", "this is no selector of log streams", "write it like {service=\"migration-canary\"}");
        }
        if self.selector.contains("$__") || self.selector.contains("${__") {
            wrong("selector", "a variable that Grafana replaces and Loki does not", "write it without `$__…`");
        }
        if self.old_loki.as_ref() == Some(&self.loki) {
            wrong("oldLoki", "this is the new one as well", "name the Loki that Grafana asked before, or leave it out");
        }
        if !(SHORTEST..=LONGEST).contains(&self.within) {
            wrong("within", "the age can not be asked for", "use 5s to 1h, some times the pace of the agents");
        }
        errors
    }

    fn run<'a>(&'a self, cx: &'a Context, (): ()) -> BoxFuture<'a, Report<()>> {
        Box::pin(async move {
            let look = self.look_now(cx).await;
            let parts = look.parts();
            Report { measures: look.measures, ..Report::new(Step::Done(parts), ()) }
        })
    }

    /// Three looks that must not pass: at lines that are too old, at a datasource that is not there, and at Grafana's answer for
    /// the time before, whose lines can not be those of Loki's own answer.
    fn control<'a>(&'a self, cx: &'a Context, (): ()) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let window = Window::before(cx.now, self.within);
            let datasource = self.datasource.as_str();
            let look = |datasource, window, earlier| Box::pin(self.look(cx, Question { datasource, window, earlier }));
            let looks =
                join3(look(datasource, window.earlier(), false), look(NOWHERE, window, false), look(datasource, window, true));
            let (old, nowhere, other) = looks.await;
            let passes = |outcome: &Outcome| matches!(outcome, Outcome::Pass { .. });
            let wrong = [old.loki, nowhere.grafana, nowhere.metric].into_iter().find(passes);
            wrong.unwrap_or(if passes(&other.loki) { other.grafana } else { other.loki })
        })
    }
}

#[cfg(test)]
mod tests;
