//! Which datasources the dashboards refer to.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::counter::{later, number};
use crate::net::Budget;
use crate::outcome::Outcome;

use super::super::api::Api;
use super::super::dashboard::{list, read, references};
use super::super::datasources::{Datasources, Resolved};
use super::super::turns::{STANDS_STILL, Turns};
use super::settings::{LOKI, named};
use super::{GrafanaDatasource, NOT_USED, STALE_REFERENCES, SURVEYING};

/// Dashboards that are named in one evidence.
const FEW: usize = 5;
/// How much of what is said of one dashboard is kept, in characters.
const MAX_WORDS: usize = 160;

/// What is remembered between Runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survey {
    /// All dashboards, in turn; with each that refers to something else, what that is.
    turns: Turns<String>,
    /// How many refer to the expected datasource, and in how many places: in this round and in the last whole one.
    users: (Users, Users),
    /// One of them, for the negative control.
    pub(super) example: Option<String>,
}

/// Dashboards that refer to the expected datasource.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Users {
    dashboards: u64,
    places: u64,
}

/// What one dashboard refers to.
#[derive(Debug, Default)]
pub(super) struct Uses {
    /// Places that refer to the expected datasource.
    expected: u64,
    /// What else of the kind, in words.
    pub(super) stale: Vec<String>,
}

impl Survey {
    /// Dashboards of the last whole round, or of the first one so far.
    pub(super) fn read(&self) -> f64 {
        number(self.turns.looked())
    }

    /// Reads those whose turn it is.
    pub(super) async fn advance(
        &mut self,
        check: &GrafanaDatasource,
        api: &Api<'_>,
        datasources: &Datasources,
        budget: Budget,
    ) -> Result<(), Outcome> {
        let all: Vec<String> = list(api, budget).await?.into_iter().map(|listed| listed.uid).collect();
        let mut slice = self.turns.slice(&all, budget);
        while let Some(turn) = slice.next()? {
            let uses = uses(api, &turn.uid, check, datasources, budget).await?;
            if uses.expected > 0 {
                self.example = Some(turn.uid.clone());
            }
            if uses.expected > 0 && !turn.again {
                self.users.0.dashboards = self.users.0.dashboards.saturating_add(1);
                self.users.0.places = self.users.0.places.saturating_add(uses.expected);
            }
            let words = || uses.stale.join(", ").chars().take(MAX_WORDS).collect();
            self.turns.seen(&turn, (!uses.stale.is_empty()).then(words));
        }
        if self.turns.ends(&all) {
            self.users = (Users::default(), self.users.0);
        }
        Ok(())
    }

    /// What the dashboards refer to, in the end.
    pub(super) fn judge(&self, now: DateTime<Utc>) -> Outcome {
        let many = self.turns.many_wrong();
        if many > 0 {
            let words: Vec<&str> = self.turns.wrong().take(FEW).map(|(_, words)| words.as_str()).collect();
            return STALE_REFERENCES.because(format!("{many} dashboards refer to another one: {}", words.join("; ")));
        }
        let Users { dashboards, places } = self.users.1;
        match self.turns.whole() {
            None => SURVEYING.until(later(now, STANDS_STILL), format!("{} dashboards read so far", self.turns.looked())),
            Some(read) if dashboards == 0 => NOT_USED.because(format!("none of {read} dashboards refers to it")),
            Some(read) => Outcome::pass(format!(
                "{dashboards} of {read} dashboards refer to it, in {places} places, and none to another Loki"
            )),
        }
    }
}

/// What a dashboard refers to; one that is gone refers to nothing.
pub(super) async fn uses(
    api: &Api<'_>,
    uid: &str,
    check: &GrafanaDatasource,
    datasources: &Datasources,
    budget: Budget,
) -> Result<Uses, Outcome> {
    let dashboard = read(api, uid, budget).await?;
    Ok(dashboard.map(|dashboard| check.uses_of(&dashboard.model, datasources)).unwrap_or_default())
}

impl GrafanaDatasource {
    /// What a dashboard refers to.
    fn uses_of(&self, model: &Value, datasources: &Datasources) -> Uses {
        let title = model.get("title").and_then(Value::as_str).unwrap_or("a dashboard without a title");
        let mut uses = Uses::default();
        let mut stale: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for place in references(model, datasources) {
            let elsewhere = match &place.leads_to {
                Resolved::Uid(uid) if *uid == self.datasource => {
                    uses.expected = uses.expected.saturating_add(1);
                    None
                }
                Resolved::Uid(uid) => datasources
                    .by_uid(uid)
                    .filter(|other| other.plugin == LOKI && !self.others.contains(uid) && !self.others.contains(&other.name))
                    .map(named),
                Resolved::Missing(word) => {
                    let ours = place.plugin.as_deref().is_none_or(|plugin| plugin == LOKI);
                    (ours && !self.others.contains(word)).then(|| format!("{word}, which is not there"))
                }
                Resolved::Own | Resolved::Variable(_) => None,
            };
            if let Some(elsewhere) = elsewhere {
                stale.entry(elsewhere).or_default().push(place.named);
            }
        }
        let worded = |(elsewhere, places): (&String, &Vec<String>)| format!("\"{title}\" to {elsewhere} ({})", places.join(", "));
        uses.stale = stale.iter().map(worded).collect();
        uses
    }
}
