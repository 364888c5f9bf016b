//! Whether Grafana serves what its provisioning files say. A file that it can not load is one line in its log; it stays ready, and
//! serves what it had before, or nothing.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::Context;
use crate::counter::later;
use crate::net::Budget;
use crate::outcome::Outcome;
use crate::target::GrafanaTarget;

use super::super::api::Api;
use super::super::dashboard::{normalised, read};
use super::super::datasources::Datasources;
use super::super::turns::{STANDS_STILL, Turns};
use super::files::{File, Files};
use super::{BROKEN_FILE, DUPLICATE_UID, LOADING, NO_UID, NOT_PROVISIONED, OUTDATED};

/// Dashboards that are named in one evidence.
const FEW: usize = 5;

/// What Grafana must serve from files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Provisioned {
    /// The files, or folders of files, that Grafana provisions dashboards from, as the verifier sees them: mount the same `ConfigMap`s.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<PathBuf>,
    /// Uids of dashboards that must come from a file, whether the verifier sees it or not.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub dashboards: BTreeSet<String>,
    /// How long Grafana may take to load a file that was changed, like `3m`.
    #[serde(default = "three_minutes", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub within: Duration,
}

fn three_minutes() -> Duration {
    Duration::from_mins(3)
}

/// What is remembered between Runs: all dashboards in turn, and what is wrong with which.
pub(super) type Memory = Turns<Wrong>;

/// What is wrong with a dashboard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wrong {
    kind: Kind,
    words: String,
}

/// The worst comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Kind {
    Missing,
    Outdated,
    /// Its file is so new that Grafana may not have read it.
    Young(#[serde(with = "chrono::serde::ts_milliseconds")] DateTime<Utc>),
}

impl Provisioned {
    /// Looks at the files, and at the dashboards whose turn it is.
    pub(super) async fn look(&self, cx: &Context, grafana: &GrafanaTarget, memory: &mut Memory, budget: Budget) -> Outcome {
        self.try_look(cx, grafana, memory, budget).await.unwrap_or_else(|outcome| outcome)
    }

    async fn try_look(
        &self,
        cx: &Context,
        grafana: &GrafanaTarget,
        memory: &mut Memory,
        budget: Budget,
    ) -> Result<Outcome, Outcome> {
        let files = Files::read(&self.files).await?;
        let api = Api::open(cx, grafana).await?;
        let uids: BTreeSet<&String> = files.dashboards.keys().chain(&self.dashboards).collect();
        let all: Vec<String> = uids.into_iter().cloned().collect();
        let datasources = Datasources::of(&api, budget).await?;
        let mut slice = memory.slice(&all, budget);
        while let Some(turn) = slice.next()? {
            let wrong = self.compare(&api, &turn.uid, files.dashboards.get(&turn.uid), &datasources, cx.now, budget).await?;
            memory.seen(&turn, wrong);
        }
        memory.ends(&all);
        Ok(judge(&files, memory, cx.now))
    }

    /// What is wrong with one dashboard.
    async fn compare(
        &self,
        api: &Api<'_>,
        uid: &str,
        file: Option<&File>,
        datasources: &Datasources,
        now: DateTime<Utc>,
        budget: Budget,
    ) -> Result<Option<Wrong>, Outcome> {
        let of = file.map(|file| format!(", the dashboard of {}", file.named())).unwrap_or_default();
        let (kind, words) = match read(api, uid, budget).await? {
            None => (Kind::Missing, format!("{uid}{of}, is not there")),
            Some(served) if !served.meta.provisioned => (Kind::Missing, format!("{uid}{of}, is there, and not from a file")),
            Some(served) => {
                let Some(file) = file else { return Ok(None) };
                match file.model().await {
                    None => {
                        let words = format!("{uid}{of}, whose file changes just now");
                        return Ok(Some(Wrong { kind: Kind::Young(later(now, self.within)), words }));
                    }
                    Some(model) if normalised(&model, datasources) == normalised(&served.model, datasources) => return Ok(None),
                    Some(_) => (Kind::Outdated, format!("{uid}{of}, is another version than the file")),
                }
            }
        };
        let young = file.and_then(|file| self.young_until(file.modified?)).filter(|until| *until > now);
        Ok(Some(Wrong { kind: young.map_or(kind, Kind::Young), words }))
    }

    fn young_until(&self, modified: SystemTime) -> Option<DateTime<Utc>> {
        let age = modified.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        let modified = DateTime::from_timestamp_millis(i64::try_from(age.as_millis()).ok()?)?;
        Some(later(modified, self.within))
    }

    /// A dashboard that is in no file must not pass.
    pub(super) async fn look_wrong(
        &self,
        cx: &Context,
        grafana: &GrafanaTarget,
        nowhere: &str,
        budget: Budget,
    ) -> Result<Outcome, Outcome> {
        let api = Api::open(cx, grafana).await?;
        let wrong = self.compare(&api, nowhere, None, &Datasources::default(), cx.now, budget).await?;
        Ok(wrong.map_or_else(
            || Outcome::pass("a dashboard that nobody has is taken for one"),
            |wrong| NOT_PROVISIONED.because(wrong.words),
        ))
    }
}

/// What files and dashboards come to. What is wrong with a file by itself comes first: it explains the rest.
fn judge(files: &Files, memory: &Memory, now: DateTime<Utc>) -> Outcome {
    let named = |list: &[String]| {
        let more = if list.len() > FEW { format!("; and {} more", list.len() - FEW) } else { String::new() };
        format!("{}{more}", list.iter().take(FEW).cloned().collect::<Vec<_>>().join("; "))
    };
    if !files.broken.is_empty() {
        return BROKEN_FILE.because(named(&files.broken));
    }
    if !files.twice.is_empty() {
        return DUPLICATE_UID.because(named(&files.twice));
    }
    let wrong = memory.wrong().map(|(_, wrong)| wrong).min_by_key(|wrong| wrong.kind);
    if let Some(worst) = wrong {
        let alike: Vec<String> = memory
            .wrong()
            .map(|(_, wrong)| wrong)
            .filter(|wrong| wrong.kind == worst.kind)
            .map(|wrong| wrong.words.clone())
            .collect();
        let evidence = format!("{} of {} dashboards: {}", memory.many_wrong(), memory.looked(), named(&alike));
        return match worst.kind {
            Kind::Missing => NOT_PROVISIONED.because(evidence),
            Kind::Outdated => OUTDATED.because(evidence),
            Kind::Young(until) => LOADING.until(until, evidence),
        };
    }
    if memory.many_wrong() > 0 {
        // Those that were kept are mended; others were too many to be kept, and have their turn again.
        let evidence =
            format!("{} further dashboards were wrong in the last round, and are looked at again", memory.many_wrong());
        return LOADING.until(later(now, STANDS_STILL), evidence);
    }
    if !files.nameless.is_empty() {
        return NO_UID.because(named(&files.nameless));
    }
    match memory.whole() {
        None => LOADING.until(later(now, STANDS_STILL), format!("{} dashboards looked at so far", memory.looked())),
        Some(0) => NOT_PROVISIONED.because("no dashboard stands in the files"),
        Some(many) => Outcome::pass(format!("{many} dashboards are what their files say")),
    }
}
