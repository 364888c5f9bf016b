//! `grafanaDatasource`: the datasource that dashboards use leads to the expected Loki.

mod settings;
mod survey;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::{BoxFuture, join};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{Check, Context, FieldError, Meta, Nature, Report};
use crate::loki::names::{Address, Loki};
use crate::net::{Budget, fetch, reasons};
use crate::outcome::{Measure, Outcome, PartId, ReasonSpec, Step};
use crate::target::{GrafanaTarget, LokiTarget, TargetKind, TargetUse};

use super::access::{Access, DASHBOARDS, DATASOURCES};
use super::api::Api;
use super::datasources::Datasources;
use super::query::{COMPARED, GrafanaQuery, NO_DATASOURCE, NOWHERE, THROUGH};
use settings::judge;
use survey::{Survey, uses};

/// It leads elsewhere.
const WRONG_URL: ReasonSpec = ReasonSpec::fail(
    "wrong_url",
    "point the datasource at the new Loki (its provisioning file, or its page); if the URL in the evidence is the new Loki by another \
     name, add its host and port to `hosts`",
);
/// It is no datasource for a Loki.
const WRONG_TYPE: ReasonSpec =
    ReasonSpec::fail("wrong_type", "name the uid of a datasource of type loki: the one that the probe names is of another type");
/// Browsers would ask Loki themselves.
const NOT_PROXIED: ReasonSpec = ReasonSpec::fail(
    "not_proxied",
    "set the datasource's `access` to `proxy`: the browser asks it directly, so what Grafana sees there is not what people see",
);
/// Dashboards ask something else.
const STALE_REFERENCES: ReasonSpec = ReasonSpec::fail(
    "stale_references",
    "give the new Loki's datasource the uid that the dashboards use, or change them; list under `others` what they may refer to \
     besides",
);
/// No dashboard asks it.
const NOT_USED: ReasonSpec = ReasonSpec::fail(
    "not_used",
    "see which datasource the dashboards use: none of them refers to this one; if no dashboard shows logs, say `dashboards: false`",
);
/// Not all dashboards were read yet.
const SURVEYING: ReasonSpec = ReasonSpec::waiting("surveying", "wait until all dashboards were read once");

const SETTINGS: &str = "settings";
const CANARY: &str = "canary";
const SURVEY: &str = "dashboards";

/// The datasource with this uid exists in Grafana and its URL is that of the expected Loki (part `settings`), a fresh canary line of
/// that Loki comes back through it (part `canary`), and it is the one that dashboards refer to (part `dashboards`).
///
/// The URL is compared by host and port with the target's `url` and `gateway` and with `hosts`; two Lokis that get the same lines can
/// be told apart by nothing else. The canary is looked for as `grafanaQuery` does, with Loki's own answer beside Grafana's: Grafana's
/// own test of a datasource passes on an empty Loki, and some versions have none. All dashboards are read, some with each run, and
/// what their panels, rows, template variables and annotations refer to is looked up, by uid and, as dashboards of old do, by name: a
/// reference to another Loki datasource that `others` does not list, or to one that is not there, is named. Twins, further datasources
/// that lead to a Loki, are named in the evidence.
///
/// Fail: no such datasource, of another type, asked by the browser instead of Grafana, its URL is another's; what `grafanaQuery` fails
/// for; dashboards refer to another Loki datasource, or none of them to this one. Waiting: not all dashboards were read yet. Unknown:
/// the token may not read all datasources (role Viewer) or all dashboards (role Admin), or is refused; our own resolver or network; a
/// reply that is cut short, too large or not parsable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GrafanaDatasource {
    /// Name of the target, of kind `grafana`. To read all dashboards its token needs the role Admin.
    pub grafana: String,
    /// The uid of the datasource, which dashboards refer to.
    pub datasource: String,
    /// Name of the target, of kind `loki`, that it must lead to.
    pub loki: String,
    /// By which further hosts and ports Grafana may address that Loki, like `loki:3100`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub hosts: BTreeSet<String>,
    /// Further datasources, by uid or name, that dashboards may refer to although they lead to another Loki, or are not there.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub others: BTreeSet<String>,
    /// Whether dashboards are read.
    #[serde(default = "yes")]
    pub dashboards: bool,
    /// Which lines to ask for: a `LogQL` stream selector, with line filters if need be.
    #[serde(default = "super::query::canary")]
    pub selector: String,
    /// How old the newest line may be, `5s` to `1h`.
    #[serde(default = "super::query::half_a_minute", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub within: Duration,
}

fn measure(part: &str, name: &'static str, value: f64) -> Measure {
    Measure { part: PartId::new(part), name, value }
}

const fn yes() -> bool {
    true
}

impl GrafanaDatasource {
    fn query(&self) -> GrafanaQuery {
        GrafanaQuery {
            grafana: self.grafana.clone(),
            datasource: self.datasource.clone(),
            loki: self.loki.clone(),
            old_loki: None,
            agents: None,
            selector: self.selector.clone(),
            within: self.within,
        }
    }

    /// The expected Loki under all names that Grafana may have for it.
    fn expected(&self, loki: &LokiTarget) -> Loki {
        let hosts: Vec<String> = self.hosts.iter().cloned().collect();
        Loki::new(&self.loki, loki, &hosts)
    }

    /// What Grafana says of its datasources.
    async fn open<'a>(&self, cx: &'a Context, budget: Budget) -> Result<Opened<'a>, Outcome> {
        let grafana = cx.target::<GrafanaTarget>(&self.grafana)?;
        let loki = self.expected(cx.target(&self.loki)?);
        let api = Api::open(cx, grafana).await?;
        let access = Access::of(&api, budget).await?;
        access.covers(DATASOURCES, "GET /api/datasources")?;
        let datasources = Datasources::of(&api, budget).await?;
        Ok(Opened { grafana, loki, api, access, datasources })
    }

    /// What its settings and the dashboards say.
    async fn ask(&self, cx: &Context, mut survey: Survey, budget: Budget) -> (Outcome, Outcome, Survey) {
        let found = match self.open(cx, budget).await {
            Ok(found) => found,
            Err(outcome) => return (outcome.clone(), outcome, survey),
        };
        let settings = judge(&found.datasources, &self.datasource, &found.loki, &found.grafana.url);
        if !self.dashboards {
            return (settings, Outcome::pass("not asked for"), survey);
        }
        let advanced = async {
            found.access.covers(DASHBOARDS, "GET /api/search")?;
            survey.advance(self, &found.api, &found.datasources, budget).await
        };
        let dashboards = advanced.await.map_or_else(|outcome| outcome, |()| survey.judge(cx.now));
        (settings, dashboards, survey)
    }

    async fn look_wrong(&self, cx: &Context, survey: &Survey) -> Result<Outcome, Outcome> {
        let budget = Budget::start(cx.timeout);
        let found = self.open(cx, budget).await?;
        let (datasources, grafana) = (&found.datasources, &found.grafana.url);
        let nowhere = Self { datasource: NOWHERE.to_owned(), ..self.clone() };
        let absent = judge(datasources, NOWHERE, &found.loki, grafana);
        let elsewhere = judge(datasources, &self.datasource, &Loki::nobody(), grafana);
        let used = match &survey.example {
            Some(uid) => uses(&found.api, uid, &nowhere, datasources, budget).await?.stale.is_empty(),
            None => false,
        };
        if used {
            return Ok(Outcome::pass("a dashboard that refers to the datasource is taken for one that does not"));
        }
        let wrong = [absent, elsewhere].into_iter().find(|outcome| matches!(outcome, Outcome::Pass { .. }));
        match wrong {
            Some(wrong) => Ok(wrong),
            None => Ok(nowhere.query().look_now(cx).await.grafana),
        }
    }
}

/// A Grafana that says which datasources it has.
struct Opened<'a> {
    grafana: &'a GrafanaTarget,
    loki: Loki,
    api: Api<'a>,
    access: Access,
    datasources: Datasources,
}

impl Check for GrafanaDatasource {
    const META: Meta = Meta {
        kind: "grafanaDatasource",
        nature: Nature::Continuous,
        reasons: &[
            reasons::NETWORK,
            fetch::REPLIES,
            &[reasons::TARGET_MISSING],
            COMPARED,
            THROUGH,
            &[WRONG_URL, WRONG_TYPE, NOT_PROXIED, STALE_REFERENCES, NOT_USED, SURVEYING],
        ],
        control: NO_DATASOURCE,
        measures: &["latency_seconds", "dashboards_read"],
        waivable: true,
        rules: &[],
    };
    type Memory = Survey;

    fn targets(&self) -> Vec<TargetUse> {
        vec![
            TargetUse { field: "grafana", kind: Some(TargetKind::Grafana), name: self.grafana.clone() },
            TargetUse { field: "loki", kind: Some(TargetKind::Loki), name: self.loki.clone() },
        ]
    }

    fn validate(&self) -> Vec<FieldError> {
        let mut errors = Check::validate(&self.query());
        let mut wrong = |field, message: String, hint: &str| errors.push(FieldError { field, message, hint: hint.into() });
        if let Some(host) = self.hosts.iter().find(|host| Address::parse(host).is_none()) {
            wrong("hosts", format!("{host:?} is no host and port"), "write it like loki:3100");
        }
        if self.others.contains(&self.datasource) {
            wrong("others", "this is the expected one".to_owned(), "leave it out of `others`");
        }
        errors
    }

    fn run<'a>(&'a self, cx: &'a Context, memory: Survey) -> BoxFuture<'a, Report<Survey>> {
        Box::pin(async move {
            let budget = Budget::start(cx.timeout);
            let query = self.query();
            let asked = join(Box::pin(self.ask(cx, memory, budget)), Box::pin(query.look_now(cx)));
            let ((settings, dashboards, survey), look) = asked.await;
            let mut measures = Vec::from_iter(look.latency().map(|value| measure(CANARY, "latency_seconds", value)));
            let mut parts = BTreeMap::from([(PartId::new(SETTINGS), settings), (PartId::new(CANARY), look.worst())]);
            if self.dashboards {
                parts.insert(PartId::new(SURVEY), dashboards);
                measures.push(measure(SURVEY, "dashboards_read", survey.read()));
            }
            Report { measures, ..Report::new(Step::Done(parts), survey) }
        })
    }

    /// Three looks that must not pass: for a datasource that is not there, for one that leads to another Loki, and, once dashboards were
    /// read, for references of theirs to a datasource that none of them uses.
    fn control<'a>(&'a self, cx: &'a Context, memory: Survey) -> BoxFuture<'a, Outcome> {
        Box::pin(async move { self.look_wrong(cx, &memory).await.unwrap_or_else(|outcome| outcome) })
    }
}

#[cfg(test)]
mod tests;
