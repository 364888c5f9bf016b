//! Section by section, and in some of them thing by thing.

use std::collections::BTreeSet;

use futures::future::try_join;
use serde::Deserialize;
use tokio::time::Instant;

use crate::net::Budget;
use crate::outcome::Outcome;

use super::super::dashboard::{Place, references};
use super::super::datasources::{Datasources, Resolved};
use super::detail::{Detail, detail, panel_count};
use super::lists::{datasources, things};
use super::scan::{Kept, Next, Scan, Walk};
use super::section::{REFERENCES, Section};
use super::side::{Seen, Side, Sides};
use super::thing::{Things, difference, name};
use super::{Came, GrafanaParity, annotations, may_pass_away, told};

/// What both sides have of a section.
#[derive(Debug)]
pub(super) struct Lists {
    section: Section,
    pub(super) old: Things,
    pub(super) new: Things,
    /// What is meant to differ.
    ignored: BTreeSet<String>,
    /// What dashboards refer to.
    pub(super) datasources: (Datasources, Datasources),
}

#[derive(Debug, Deserialize)]
struct Health {
    #[serde(default)]
    version: String,
}

impl GrafanaParity {
    /// Goes on until the end, or until this Run's share of its time is over. `Err` when a server does not answer, or who is asked
    /// can not be told.
    pub(super) async fn look(&self, sides: &Sides<'_>, scan: &mut Scan, budget: Budget) -> Result<Came, Outcome> {
        // The last question has a quarter of the time for its answer.
        let pause = budget.start + budget.timeout() * 3 / 4;
        let seen = sides.seen().await?;
        if scan.versions.is_none() {
            sides.are_two().await?;
            scan.versions = Some(try_join(version(&sides.old), version(&sides.new)).await?);
        }
        let mut lists = None;
        while let Some(section) = scan.section(&self.sections) {
            let looked = match sides.all_of(section, &seen) {
                Ok(()) => self.step(sides, section, scan, &mut lists).await,
                Err(denied) => Err(denied),
            };
            match looked {
                Ok(()) => scan.answered(),
                Err(trouble) if may_pass_away(&trouble) => return Err(trouble),
                Err(trouble) => {
                    scan.answered();
                    scan.end(section, &trouble);
                }
            }
            if Instant::now() >= pause && scan.section(&self.sections).is_some() {
                return Ok(Came::OnTheWay(told::progress(scan, &self.sections)));
            }
        }
        Ok(Came::ToTheEnd)
    }

    /// Does what is next in a section.
    async fn step(&self, sides: &Sides<'_>, section: Section, scan: &mut Scan, lists: &mut Option<Lists>) -> Result<(), Outcome> {
        if section == Section::Annotations {
            return annotations::step(sides, scan).await;
        }
        if lists.as_ref().is_none_or(|lists| lists.section != section) {
            *lists = Some(self.lists(sides, section).await?);
        }
        let Some(both) = lists else { return Ok(()) };
        if !section.one_by_one() {
            both.compare(scan);
            return Ok(());
        }
        if section == Section::Dashboards {
            scan.dashboards = u64::try_from(both.old.len()).unwrap_or_default();
        }
        match scan.walk.next(&both.old, &both.new) {
            Next::Compare(key) => both.compare_one(sides, &key, &mut scan.walk).await,
            Next::Close => {
                // Not held twice: of many dashboards that is memory.
                *lists = None;
                let now = self.lists(sides, section).await?;
                let seen: Seen = sides.seen().await?;
                sides.all_of(section, &seen)?;
                now.close(scan);
                Ok(())
            }
        }
    }

    /// What both sides have, without what is ignored.
    pub(super) async fn lists(&self, sides: &Sides<'_>, section: Section) -> Result<Lists, Outcome> {
        let (mut old, mut new) = try_join(things(&sides.old, section), things(&sides.new, section)).await?;
        let ignored = self.ignore.get(&section).cloned().unwrap_or_default();
        for side in [&mut old, &mut new] {
            side.retain(|key, _| !ignored.contains(key));
        }
        let datasources = match section {
            Section::Dashboards => try_join(datasources(&sides.old), datasources(&sides.new)).await?,
            Section::Folders
            | Section::Teams
            | Section::Users
            | Section::ServiceAccounts
            | Section::Plugins
            | Section::Datasources
            | Section::AlertRules
            | Section::ContactPoints
            | Section::Annotations => Default::default(),
        };
        Ok(Lists { section, old, new, ignored, datasources })
    }
}

async fn version(side: &Side<'_>) -> Result<String, Outcome> {
    side.get::<Health>(&["api", "health"], &[]).await.map(|health| name(&health.version))
}

impl Lists {
    /// Compares what a list alone tells.
    fn compare(&self, scan: &mut Scan) {
        let (mut changed, mut noted) = (Kept::default(), Kept::default());
        for (key, old) in &self.old {
            let Some(new) = self.new.get(key) else { continue };
            let found = difference(&old.facts, &new.facts);
            for (words, kept) in [(found.changed, &mut changed), (found.noted, &mut noted)] {
                if !words.is_empty() {
                    kept.add(key, &format!("{}: {}", old.label, words.join("; ")));
                }
            }
        }
        let compared = told::Compared {
            section: self.section,
            old: &self.old,
            new: &self.new,
            changed: &changed,
            noted: &noted,
            ignored: &self.ignored,
        };
        let (outcome, counts) = compared.outcome(None, 0);
        scan.finish(self.section.part(), outcome, counts);
    }

    /// Compares one thing that both sides have.
    async fn compare_one(&self, sides: &Sides<'_>, key: &str, walk: &mut Walk) -> Result<(), Outcome> {
        let (Some(old), Some(new)) = (self.old.get(key), self.new.get(key)) else { return Ok(()) };
        let asked = try_join(
            detail(&sides.old, self.section, old, &self.datasources.0),
            detail(&sides.new, self.section, new, &self.datasources.1),
        );
        let (Some(ours), Some(theirs)) = asked.await? else {
            walk.passed(key, false);
            return Ok(());
        };
        let found = difference(&ours.facts, &theirs.facts).changed;
        if !found.is_empty() {
            walk.changed.add(key, &format!("{}: {}", old.label, found.join("; ")));
        }
        let places = references(&theirs.model, &self.datasources.1);
        for place in &places {
            if let Resolved::Missing(word) = &place.leads_to {
                let before = if self.was_missing(&ours, place) { ", nor on the old side" } else { "" };
                walk.unresolved.add(key, &format!("{}: {} to {}{before}", old.label, name(&place.named), name(word)));
            }
        }
        if !walk.is_second_look() {
            walk.panels = walk.panels.saturating_add(panel_count(&ours.model));
            walk.references = walk.references.saturating_add(u64::try_from(places.len()).unwrap_or_default());
        }
        walk.passed(key, true);
        Ok(())
    }

    fn was_missing(&self, old: &Detail, place: &Place) -> bool {
        references(&old.model, &self.datasources.0).contains(place)
    }

    /// The end of a section, by what is there now: if it is not what was compared, all of it is looked at anew.
    fn close(&self, scan: &mut Scan) {
        if !scan.walk.is_of(&self.old, &self.new) {
            scan.walk = Walk::anew();
            return;
        }
        let walk = std::mem::take(&mut scan.walk);
        let noted = Kept::default();
        let compared = told::Compared {
            section: self.section,
            old: &self.old,
            new: &self.new,
            changed: &walk.changed,
            noted: &noted,
            ignored: &self.ignored,
        };
        let (outcome, counts) = compared.outcome(scan.versions.as_ref(), walk.panels);
        scan.finish(self.section.part(), outcome, counts);
        if self.section == Section::Dashboards {
            let (outcome, counts) = told::references(&walk);
            scan.finish(REFERENCES, outcome, counts);
        }
    }
}
