//! What a comparison has come to, in words.

use std::collections::BTreeSet;

use crate::outcome::{Outcome, Progress};

use super::scan::{Counts, Kept, Scan, Walk};
use super::section::Section;
use super::thing::{Thing, Things, name};
use super::{CHANGED, MISSING, NOTHING, UNRESOLVED};

/// How many of each kind are named.
const NAMED: usize = 8;
/// How much of the evidence one kind takes at most, in bytes.
const MAX_LIST: usize = 280;
/// What is not compared, because it differs without anything being different.
const NORMALISED: &str = "left out: id, version, iteration, schemaVersion, pluginVersion, empty lists, how a datasource is named";

/// What two sides have of a section.
#[derive(Debug)]
pub(super) struct Compared<'a> {
    pub(super) section: Section,
    pub(super) old: &'a Things,
    pub(super) new: &'a Things,
    pub(super) changed: &'a Kept,
    pub(super) noted: &'a Kept,
    /// What is meant to differ, and was not looked at.
    pub(super) ignored: &'a BTreeSet<String>,
}

impl Compared<'_> {
    /// The outcome of a section, and how many things it is about. What is too much is named and no failure: nothing is gone.
    pub(super) fn outcome(&self, versions: Option<&(String, String)>, panels: u64) -> (Outcome, Counts) {
        let missing: Vec<(&String, &Thing)> = self.old.iter().filter(|(key, _)| !self.new.contains_key(*key)).collect();
        let mut extra: Vec<&Thing> =
            self.new.iter().filter(|(key, _)| !self.old.contains_key(*key)).map(|(_, new)| new).collect();
        extra.sort_by_key(|thing| !thing.weighty);
        let counts = Counts { missing: size(missing.len()), changed: self.changed.count, extra: size(extra.len()) };
        let missing = missing.into_iter().map(|(_, thing)| self.missing(thing));
        let extra = extra.into_iter().map(|thing| thing.label.clone());
        let lists = [
            listed("missing", counts.missing, missing),
            listed("changed", counts.changed, self.changed.words().map(str::to_owned)),
            listed("extra", counts.extra, extra),
            listed("may differ", self.noted.count, self.noted.words().map(str::to_owned)),
            listed("ignored", size(self.ignored.len()), self.ignored.iter().map(|key| name(key))),
        ];
        let lists: String = lists.into_iter().flatten().collect();
        let things = self.section.things();
        let total = self.old.len();
        if total == 0 && matches!(self.section, Section::Dashboards | Section::Users) {
            return (NOTHING.because(format!("the old side has no {things}{lists}")), counts);
        }
        let Counts { missing, changed, extra } = counts;
        let sum = format!("missing {missing}, changed {changed}, extra {extra} of {total} {things}{lists}");
        let outcome = match (missing, changed) {
            (0, 0) => Outcome::pass(self.same(total, panels, versions, &lists)),
            (0, _) => CHANGED.because(sum),
            _ => MISSING.because(sum),
        };
        (outcome, counts)
    }

    fn same(&self, total: usize, panels: u64, versions: Option<&(String, String)>, lists: &str) -> String {
        let things = self.section.things();
        if self.section == Section::Dashboards {
            let said = |version: &str| if version.is_empty() { "unknown".to_owned() } else { name(version) };
            let versions = versions.map(|(old, new)| format!("; versions {} and {}", said(old), said(new))).unwrap_or_default();
            return format!("{total} dashboards with {panels} panels are the same{lists}{versions}; {NORMALISED}");
        }
        if total == 0 { format!("no {things} on the old side{lists}") } else { format!("{total} {things} are the same{lists}") }
    }

    /// What is not there, and under what uid it is, if something of its name is.
    fn missing(&self, thing: &Thing) -> String {
        let of_its_name = |(key, new): &(&String, &Thing)| {
            let named = thing.facts.get("name");
            named.is_some() && new.facts.get("name") == named && !self.old.contains_key(*key)
        };
        match self.new.iter().find(of_its_name) {
            Some((key, _)) => format!("{}, there with the uid {}", thing.label, name(key)),
            None => thing.label.clone(),
        }
    }
}

/// Where the dashboards of both sides lead to on the new one.
pub(super) fn references(walk: &Walk) -> (Outcome, Counts) {
    let Walk { references, compared, unresolved, .. } = walk;
    let counts = Counts { changed: unresolved.count, ..Counts::default() };
    if *compared == 0 {
        return (NOTHING.because("no dashboard is on both sides"), counts);
    }
    if unresolved.count == 0 {
        let evidence = format!("all {references} references in {compared} dashboards lead to a datasource of the new side");
        return (Outcome::pass(evidence), counts);
    }
    let list = listed("no datasource", unresolved.count, unresolved.words().map(str::to_owned)).unwrap_or_default();
    (UNRESOLVED.because(format!("of {references} references in {compared} dashboards{list}")), counts)
}

/// How many annotations both sides have.
pub(super) fn annotations((old, new): (u64, u64)) -> (Outcome, Counts) {
    let counts = Counts { missing: old.saturating_sub(new), changed: 0, extra: new.saturating_sub(old) };
    let evidence = format!("{old} on the old side, {new} on the new one; those that alert rules write are not counted");
    if counts.missing > 0 {
        return (MISSING.because(format!("missing {}: {evidence}", counts.missing)), counts);
    }
    (Outcome::pass(evidence), counts)
}

/// The first of a kind, and how many there are.
fn listed(what: &str, count: u64, words: impl Iterator<Item = String>) -> Option<String> {
    if count == 0 {
        return None;
    }
    let mut list = String::new();
    let mut named = 0_u64;
    for words in words.take(NAMED) {
        if named > 0 && list.len() + words.len() > MAX_LIST {
            break;
        }
        let comma = if named > 0 { ", " } else { "" };
        list = format!("{list}{comma}{words}");
        named = named.saturating_add(1);
    }
    let more = count.saturating_sub(named);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(format!("; {what} {count}: {list}{more}"))
}

/// How far a comparison has come.
pub(super) fn progress(scan: &Scan, sections: &BTreeSet<Section>) -> Progress {
    let walk = &scan.walk;
    let others = sections.iter().filter(|section| **section != Section::Dashboards);
    let total = scan.dashboards.saturating_add(size(others.clone().count()));
    let finished = size(others.filter(|section| scan.done.contains_key(section.part())).count());
    let of_dashboards = if scan.done.contains_key(Section::Dashboards.part()) { scan.dashboards } else { walk.compared };
    let note = match scan.section(sections) {
        Some(Section::Dashboards) => {
            let anew = if walk.anew { "; some appeared or vanished, so all are compared again" } else { "" };
            let differ = if walk.changed.count > 0 { format!(", {} differ so far", walk.changed.count) } else { String::new() };
            format!("dashboards: {} of {} compared{differ}{anew}", walk.compared, scan.dashboards)
        }
        Some(section) => format!("{}: {} compared", section.part(), walk.compared),
        None => "everything is compared".to_owned(),
    };
    let failed = scan.done.iter().filter(|(_, finished)| matches!(finished.outcome, Outcome::Fail { .. }));
    let failed: Vec<&str> = failed.map(|(part, _)| part.as_str()).collect();
    let failed = if failed.is_empty() { String::new() } else { format!("; not the same: {}", failed.join(", ")) };
    Progress { done: finished.saturating_add(of_dashboards), total, note: format!("{note}{failed}").into() }
}

fn size(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
