//! `grafanaPanels`: the panels of dashboards show in the new Grafana what they show in the old one.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{Check, Context, FieldError, Meta, Nature, Report};
use crate::counter::{earlier, number};
use crate::net::{Budget, fetch, reasons};
use crate::outcome::{Measure, Outcome, PartId, ReasonSpec, Step};
use crate::proof::Rest;
use crate::target::{TargetKind, TargetUse};

use super::api::{ASKING, SAME_SERVER};
use super::query::NOWHERE;
use answer::{Answer, Answers};
use judge::{Kind, Seen, Sight, judge};
use question::About;
use scan::Scan;
use variables::Values;

mod answer;
mod judge;
mod look;
mod question;
mod rules;
mod scan;
mod shape;
mod side;
mod told;
mod variables;

/// A panel shows an error.
const PANEL_ERRORS: ReasonSpec = ReasonSpec::fail(
    "panel_errors",
    "open the panel that the evidence names in the new Grafana, and mend its datasource or its query; `skip` leaves one out",
);
/// A panel shows nothing.
const PANEL_EMPTY: ReasonSpec = ReasonSpec::fail(
    "panel_empty",
    "see which server the panel's datasource leads to in the new Grafana, and what that holds: the old one shows data for the same time; \
     `skip` leaves a panel out",
);
/// A panel is not there.
const NO_PANEL: ReasonSpec = ReasonSpec::fail(
    "panel_missing",
    "bring back the panel that the evidence names, or `skip` it if it was taken out on purpose",
);
/// A dashboard is not there.
const NO_DASHBOARD: ReasonSpec = ReasonSpec::fail(
    "dashboard_missing",
    "bring the dashboard that the evidence names into the new Grafana, or take it out of `dashboards`, or `skip` it",
);
/// Everything is empty.
const NOTHING_SHOWN: ReasonSpec = ReasonSpec::fail(
    "nothing_shown",
    "see what the datasources lead to, and whether `window` is a time with data: no panel shows anything at all",
);
/// There is nothing to look at.
const NOTHING_ASKED: ReasonSpec = ReasonSpec::fail(
    "nothing_asked",
    "name `dashboards` with panels that ask something, or `skip` less: there was no panel to ask",
);
/// Some could not be looked at.
const NOT_ASKED: ReasonSpec = ReasonSpec::unknown(
    "not_asked",
    "give the variable that the evidence names a value in `variables`, or the token what it lacks; or look at the panel yourself and \
     `skip` it",
);

/// Each panel of chosen dashboards is asked in both Grafanas for the same time, as somebody who clicks through all of them would: what
/// shows an error, or nothing where the old one shows data, is named. A proof: it takes its time, shows how far it has come, and
/// says what was asked.
///
/// Asked is Grafana's backend (`POST /api/ds/query`), with each panel's own queries and each side's own datasources, for the `window`
/// (1 h by default) that ended `settle` (1 m by default) before it began. What is wrong is asked once more, 15 s later, before it
/// counts. Rows and points are counted, at most 100 lines or points of a query; what they say is not compared, but a query that has
/// only zeros where the old one has others counts as empty. Variables are those of `variables`, or what the dashboard is saved
/// with, written as Grafana writes them for Loki, Prometheus and SQL; ad hoc filters are left out, and a panel that is repeated is asked
/// once. A panel whose queries both datasources refuse as wrong is broken on both sides: it is named, and fails nothing. Library panels
/// are asked like others. Panels that show another's data, or Grafana's own, ask nothing.
///
/// Without `old`, once that is gone for good, only errors are found, and that nothing is shown at all. A token of the role Viewer
/// is enough for dashboards that it may see; to look at all, leave `dashboards` out and give it the role Admin. At most `perSecond`
/// (5 by default) panels are asked in a second. After a Pass the next look begins when `rest` (15 m by default) is over.
///
/// Fail: a panel with an error, or without an answer in time; one that is empty and was not; a panel or dashboard that is not
/// there; no panel that shows anything; no panel to ask; both targets the same server; a Grafana that refuses, is silent for two minutes, or is none. Unknown: a
/// panel that could not be asked, such as one with a variable that has no value; a token that is missing, refused, or may not see
/// enough; our own resolver or network; a reply that is cut short, too large or not parsable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GrafanaPanels {
    /// Name of the target that people shall use, of kind `grafana`.
    pub new: String,
    /// Name of the target that people used before, of kind `grafana`, for as long as it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// The uids of the dashboards; all that the token sees if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dashboards: Vec<String>,
    /// How long a time is asked for, like `1h`.
    #[serde(default = "one_hour", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub window: Duration,
    /// How long that time must be over, like `1m`.
    #[serde(default = "one_minute", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub settle: Duration,
    /// What the dashboards' variables are set to, instead of what they are saved with: a value, or a list of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, Values>,
    /// Panels that are left out, as `UID/ID`, and dashboards, as `UID`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skip: Vec<String>,
    /// How long after a Pass the next look begins, like `15m`.
    #[serde(default = "a_quarter_of_an_hour", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub rest: Duration,
    /// How many panels are asked in a second at most.
    #[serde(default = "five")]
    pub per_second: u32,
}

fn one_hour() -> Duration {
    Duration::from_hours(1)
}

fn one_minute() -> Duration {
    Duration::from_mins(1)
}

fn a_quarter_of_an_hour() -> Duration {
    Duration::from_mins(15)
}

fn five() -> u32 {
    5
}

/// What is remembered between Runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    scan: Option<Scan>,
    /// When the next look begins.
    #[serde(default)]
    rests_until: Rest,
    /// A dashboard with a panel that shows something, for the negative control.
    lively: Option<String>,
    /// What the look before could not ask, as evidence: said until the present one is over.
    not_asked: Option<String>,
}

/// What a Run came to.
enum Came {
    /// The end of the look.
    To(Outcome),
    /// Not to its end.
    OnTheWay(Step),
}

impl GrafanaPanels {
    /// The time that is asked for, in milliseconds.
    fn window_before(&self, now: DateTime<Utc>) -> (i64, i64) {
        let to = earlier(now, self.settle);
        (earlier(to, self.window).timestamp_millis(), to.timestamp_millis())
    }

    fn report(&self, cx: &Context, memory: Memory, scan: Scan, came: Came) -> Report<Memory> {
        let lively = scan.lively.clone().or(memory.lively);
        let counts = [
            ("panels_asked", scan.asked),
            ("panels_shown", scan.shown),
            ("panels_empty", scan.empty.count),
            ("panels_wrong", u64::try_from(scan.found.len()).unwrap_or(u64::MAX).saturating_add(scan.found_more)),
        ];
        let measure = |(name, count)| Measure { part: PartId::new(PartId::WHOLE), name, value: number(count) };
        let measures = counts.into_iter().map(measure).collect();
        let (step, memory) = match came {
            Came::OnTheWay(step) => {
                let step = match (&memory.not_asked, step) {
                    (Some(words), Step::More(_)) => Step::whole(NOT_ASKED.because(words)),
                    (_, step) => step,
                };
                (step, Memory { scan: Some(scan), rests_until: Rest::default(), lively, not_asked: memory.not_asked })
            }
            Came::To(outcome) => {
                let passed = matches!(outcome, Outcome::Pass { .. });
                let rests_until = Rest::after(passed, cx.now, self.rest);
                let unclear = matches!(outcome, Outcome::Unknown { .. });
                let not_asked = unclear.then(|| outcome.evidence().as_str().to_owned());
                (Step::whole(outcome), Memory { scan: None, rests_until, lively, not_asked })
            }
        };
        Report { measures, ..Report::new(step, memory) }
    }

    /// A real panel's question to a datasource that is not there, and to one that has nothing, where the old side has rows: neither
    /// may pass for the same.
    async fn look_wrong(&self, cx: &Context, memory: Memory) -> Result<Outcome, Outcome> {
        let budget = Budget::start(cx.timeout);
        let sides = self.sides(cx, budget).await?;
        let Some((uid, board, panel)) = self.some_panel(&sides, memory.lively.as_ref(), budget).await? else {
            return Err(NOTHING_ASKED.because("no panel asks anything"));
        };
        let window = self.window_before(cx.now);
        let about = About { uid: &uid, board: &board, given: &self.variables, window, instead: Some(NOWHERE) };
        let (nowhere, _) = sides.new.seen(about, &panel, budget).await?;
        let answer = |answer: Answer| Seen::Answers(Answers::from([("A".to_owned(), answer)]));
        let old = answer(Answer::Rows { rows: 1, zeros: false });
        let nothing = answer(answer::rows(&serde_json::json!({"frames": []})).unwrap_or(Answer::NOTHING));
        if !matches!(judge(&nothing, Some(&old)), Sight::Bad(Kind::Empty, _)) {
            return Ok(Outcome::pass(format!("{}: an empty answer is taken for right", panel.named)));
        }
        match judge(&nowhere, Some(&old)) {
            Sight::Bad(kind, words) => {
                let found = told::wrong(&[(kind, format!("{} {words}", panel.named))], 0);
                Ok(found.unwrap_or_else(|| Outcome::pass("nothing is wrong")))
            }
            Sight::Unseen(words) => Err(NOT_ASKED.because(words)),
            Sight::Shown | Sight::Empty | Sight::Broken(_) | Sight::Silent => {
                Ok(Outcome::pass(format!("{}: a datasource that is not there is taken for right", panel.named)))
            }
        }
    }
}

impl Check for GrafanaPanels {
    const META: Meta = Meta {
        kind: "grafanaPanels",
        nature: Nature::Proof,
        reasons: &[
            reasons::NETWORK,
            fetch::REPLIES,
            ASKING,
            &[
                PANEL_ERRORS,
                PANEL_EMPTY,
                NO_PANEL,
                NO_DASHBOARD,
                NOTHING_SHOWN,
                NOTHING_ASKED,
                NOT_ASKED,
                SAME_SERVER,
                reasons::TARGET_MISSING,
            ],
        ],
        control: PANEL_ERRORS,
        measures: &["panels_asked", "panels_shown", "panels_empty", "panels_wrong"],
        waivable: true,
        rules: &[],
    };
    type Memory = Memory;

    fn targets(&self) -> Vec<TargetUse> {
        let of = |field, name: &String| TargetUse { field, kind: Some(TargetKind::Grafana), name: name.clone() };
        std::iter::once(of("new", &self.new)).chain(self.old.iter().map(|old| of("old", old))).collect()
    }

    fn validate(&self) -> Vec<FieldError> {
        rules::broken(self)
    }

    fn run<'a>(&'a self, cx: &'a Context, mut memory: Memory) -> BoxFuture<'a, Report<Memory>> {
        Box::pin(async move {
            if let Some(step) = memory.rests_until.holds(cx.now) {
                return Report::new(step, memory);
            }
            let mut scan = memory.scan.take().unwrap_or_else(|| Scan::begin(cx.now, self.window_before(cx.now)));
            let came = self.advance(cx, &mut scan).await;
            self.report(cx, memory, scan, came)
        })
    }

    fn control<'a>(&'a self, cx: &'a Context, memory: Memory) -> BoxFuture<'a, Outcome> {
        Box::pin(async move { self.look_wrong(cx, memory).await.unwrap_or_else(|outcome| outcome) })
    }
}

#[cfg(test)]
mod tests;
