//! `grafanaParity`: what people have in the old Grafana, they have in the new one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{Check, Context, FieldError, Meta, Nature, Report};
use crate::counter::number;
use crate::net::{Budget, fetch, reasons};
use crate::outcome::{Measure, Outcome, PartId, Progress, ReasonSpec, Step};
use crate::proof::Rest;
use crate::target::{TargetKind, TargetUse};

use super::api::{ASKING, SAME_SERVER};
use scan::{Counts, Kept, Scan};
pub use section::Section;
use side::{Side, Sides};

mod annotations;
mod detail;
mod lists;
mod look;
mod rules;
mod scan;
mod section;
mod side;
mod thing;
mod told;

/// Something is not there.
const MISSING: ReasonSpec = ReasonSpec::fail(
    "missing",
    "bring what the evidence names to the new Grafana, by copying the database of a stopped Grafana again; or `ignore` what is meant \
     to be gone",
);
/// Something is another.
const CHANGED: ReasonSpec = ReasonSpec::fail(
    "changed",
    "compare what the evidence names in both Grafanas: somebody has changed it on one side only; or `ignore` what is meant to differ",
);
/// A dashboard asks a datasource that is not there.
const UNRESOLVED: ReasonSpec = ReasonSpec::fail(
    "unresolved_datasource",
    "give the new Grafana's datasource the uid that the evidence names, or correct the dashboard",
);
/// There is nothing to be compared.
const NOTHING: ReasonSpec = ReasonSpec::fail(
    "nothing_to_compare",
    "correct the target `old`, or the organization of its token: it has nothing of what is to be compared",
);
/// What people have in the old Grafana is in the new one: dashboards with every panel, folders with their permissions, teams, users
/// and roles, service accounts, plugins, datasources, alert rules, contact points, annotations. A proof: it takes its time, shows
/// how far it has come, and says what it has compared.
///
/// Each of these `sections` is a part of its own, and `references` is one: every datasource that a dashboard refers to, in panels,
/// nested rows, variables and annotations, is there on the new side. A dashboard is compared by what people see in it; numbers of
/// the save and of the version of Grafana are left out, and the evidence names them. A newer version of a plugin and another URL
/// of a datasource are named and no failure, nor is what the new side has beyond the old one: nothing is gone. Annotations are
/// counted, those without that alert rules write; passwords, tokens and the settings of contact points are not read, let alone shown.
///
/// Both tokens need a service account with the role Admin: Grafana leaves out of its lists what the asker may not see. Each side
/// is asked at most `perSecond` (20 by default) questions a second, in slices, one per run. What differs is looked at twice. A
/// Grafana that does not answer is waited for two minutes. After a Pass the next comparison begins when `rest` (15 m by default)
/// is over. `ignore` names what is meant to differ, like `{dashboards: [uid], users: [login]}`.
///
/// Fail: something missing or changed, a reference without a datasource, no dashboard in the old Grafana, both targets the same
/// server; one of the two refuses, is silent, is no Grafana. Unknown: a token that is refused or may not see everything, our own
/// resolver or network, a reply that is cut short, too large or not parsable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GrafanaParity {
    /// Name of the target that everything comes from, of kind `grafana`.
    pub old: String,
    /// Name of the target that it was moved to, of kind `grafana`.
    pub new: String,
    /// What is compared; everything by default.
    #[serde(default = "everything")]
    pub sections: BTreeSet<Section>,
    /// What is meant to differ, by section.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ignore: BTreeMap<Section, BTreeSet<String>>,
    /// How many questions each side is asked per second, at most.
    #[serde(default = "twenty")]
    pub per_second: u32,
    /// How long after a Pass the next comparison begins, like `15m`.
    #[serde(default = "a_quarter_of_an_hour", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub rest: Duration,
}

fn everything() -> BTreeSet<Section> {
    Section::ALL.iter().copied().collect()
}

fn twenty() -> u32 {
    20
}

fn a_quarter_of_an_hour() -> Duration {
    Duration::from_mins(15)
}

/// What is remembered between Runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    scan: Option<Scan>,
    /// When the next comparison begins.
    #[serde(default)]
    rests_until: Rest,
}

/// What a Run came to.
enum Came {
    /// To the end of the comparison.
    ToTheEnd,
    /// Not so far.
    OnTheWay(Progress),
    /// There was no answer, and not for the first time.
    Nowhere(Outcome),
}

/// Whether an outcome is about a server or the way to it, not about what was asked.
fn may_pass_away(outcome: &Outcome) -> bool {
    let passing = [super::SERVER_ERROR, fetch::TRUNCATED, fetch::NOT_HTTP, fetch::HTML, fetch::REDIRECT];
    reasons::NETWORK.iter().chain(&passing).any(|spec| outcome.reason() == Some(&(*spec).into()))
}

impl GrafanaParity {
    async fn sides<'a>(&'a self, cx: &'a Context, budget: Budget) -> Result<Sides<'a>, Outcome> {
        let old = Side::open(cx, &self.old, self.per_second, budget).await?;
        Ok(Sides { old, new: Side::open(cx, &self.new, self.per_second, budget).await? })
    }

    /// Goes on with the comparison, as long as this Run's share of time lasts.
    async fn advance(&self, cx: &Context, scan: &mut Scan) -> Came {
        let budget = Budget::start(cx.timeout);
        let trouble = match self.sides(cx, budget).await {
            Ok(sides) => match Box::pin(self.look(&sides, scan, budget)).await {
                Ok(came) => return came,
                Err(trouble) => trouble,
            },
            Err(trouble) => trouble,
        };
        if !may_pass_away(&trouble) || !scan.waits_out(cx.now) {
            return Came::Nowhere(trouble);
        }
        let progress = told::progress(scan, &self.sections);
        let note = format!("no answer, asked again with the next run: {}; {}", trouble.evidence(), progress.note);
        Came::OnTheWay(Progress { note: note.into(), ..progress })
    }

    /// What is really there, as if the new Grafana lacked one dashboard, and as if another were changed.
    async fn look_wrong(&self, cx: &Context) -> Result<Outcome, Outcome> {
        let sides = self.sides(cx, Budget::start(cx.timeout)).await?;
        let seen = sides.seen().await?;
        sides.all_of(Section::Dashboards, &seen)?;
        let lists = self.lists(&sides, Section::Dashboards).await?;
        let Some((key, thing)) = lists.old.first_key_value() else {
            return Err(NOTHING.because(format!("{} has no dashboards", self.old)));
        };
        let found = detail::detail(&sides.old, Section::Dashboards, thing, &lists.datasources.0).await?;
        let Some(found) = found else {
            return Err(sides.old.named(super::WRONG_REPLY.because(format!("{} is listed and not there", thing.label))));
        };
        let mut other = found.facts.clone();
        other.insert("title".to_owned(), thing::Fact::shown("another title"));
        if thing::difference(&found.facts, &other).changed.is_empty() {
            return Ok(Outcome::pass(format!("{}: another title is taken for the same", thing.label)));
        }
        let old = BTreeMap::from([(key.clone(), thing.clone())]);
        let mut new = lists.new.clone();
        new.remove(key);
        let (changed, noted) = (Kept::default(), Kept::default());
        let compared = told::Compared {
            section: Section::Dashboards,
            old: &old,
            new: &new,
            changed: &changed,
            noted: &noted,
            ignored: &BTreeSet::new(),
        };
        Ok(compared.outcome(None, 0).0)
    }

    /// All parts, those that are not finished with what kept them from it.
    fn parts(&self, scan: &Scan, trouble: Option<&Outcome>) -> Step {
        let mut parts: BTreeMap<PartId, Outcome> =
            scan.done.iter().map(|(part, finished)| (PartId::new(part), finished.outcome.clone())).collect();
        for part in self.sections.iter().flat_map(|section| section.parts()) {
            if let Some(trouble) = trouble {
                parts.entry(PartId::new(part)).or_insert_with(|| trouble.clone());
            }
        }
        Step::Done(parts)
    }

    fn report(&self, cx: &Context, mut scan: Scan, came: Came) -> Report<Memory> {
        let measures = measures(&scan);
        let (step, memory) = match came {
            Came::OnTheWay(progress) => (Step::More(progress), Memory { scan: Some(scan), rests_until: Rest::default() }),
            Came::Nowhere(outcome) => {
                let parts = self.parts(&scan, Some(&outcome));
                scan.start_over(cx.now);
                (parts, Memory { scan: Some(scan), rests_until: Rest::default() })
            }
            Came::ToTheEnd => {
                let passed = scan.done.values().all(|finished| matches!(finished.outcome, Outcome::Pass { .. }));
                (self.parts(&scan, None), Memory { scan: None, rests_until: Rest::after(passed, cx.now, self.rest) })
            }
        };
        Report { measures, ..Report::new(step, memory) }
    }
}

fn measures(scan: &Scan) -> Vec<Measure> {
    let compared =
        Measure { part: PartId::new(Section::Dashboards.part()), name: "dashboards_total", value: number(scan.dashboards) };
    let of_parts = scan.done.iter().flat_map(|(part, finished)| {
        let Counts { missing, changed, extra } = finished.counts;
        let counts = [("missing", missing), ("changed", changed), ("extra", extra)];
        counts.map(|(name, count)| Measure { part: PartId::new(part), name, value: number(count) })
    });
    std::iter::once(compared).chain(of_parts).collect()
}

impl Check for GrafanaParity {
    const META: Meta = Meta {
        kind: "grafanaParity",
        nature: Nature::Proof,
        reasons: &[
            reasons::NETWORK,
            fetch::REPLIES,
            ASKING,
            &[MISSING, CHANGED, UNRESOLVED, NOTHING, SAME_SERVER, reasons::TARGET_MISSING],
        ],
        control: MISSING,
        measures: &["dashboards_total", "missing", "changed", "extra"],
        waivable: true,
        rules: &[],
    };
    type Memory = Memory;

    fn targets(&self) -> Vec<TargetUse> {
        let of = |field, name: &String| TargetUse { field, kind: Some(TargetKind::Grafana), name: name.clone() };
        vec![of("old", &self.old), of("new", &self.new)]
    }

    fn validate(&self) -> Vec<FieldError> {
        rules::broken(self)
    }

    fn run<'a>(&'a self, cx: &'a Context, memory: Memory) -> BoxFuture<'a, Report<Memory>> {
        Box::pin(async move {
            if let Some(step) = memory.rests_until.holds(cx.now) {
                return Report::new(step, memory);
            }
            let mut scan = memory.scan.unwrap_or_else(|| Scan::begin(cx.now));
            let came = self.advance(cx, &mut scan).await;
            self.report(cx, scan, came)
        })
    }

    fn control<'a>(&'a self, cx: &'a Context, _memory: Memory) -> BoxFuture<'a, Outcome> {
        Box::pin(async move { Box::pin(self.look_wrong(cx)).await.unwrap_or_else(|outcome| outcome) })
    }
}

#[cfg(test)]
mod tests;
