//! What a comparison has come to, in words.

use std::collections::BTreeSet;

use crate::outcome::{Outcome, Progress};

use super::NOTHING;
use super::part::Part;
use super::scan::{Counts, Found, Scan};

/// How much of the evidence one kind takes at most, in bytes.
const MAX_LIST: usize = 300;

/// The outcome of a part. What is too much and does no harm is named and no failure: nothing is gone.
pub(super) fn outcome(part: Part, found: &Found) -> Outcome {
    let Counts { total, missing, changed, extra, harmful, excepted } = found.counts;
    let things = part.things();
    let lists = [
        listed("missing", missing, &found.missing),
        listed("changed", changed, &found.changed),
        listed("extra, and that matters:", harmful, &found.harmful),
        listed("extra", extra.saturating_sub(harmful), &found.extra),
        listed("no failure:", size(found.noted.len()), &found.noted),
        (excepted > 0).then(|| format!("; left out by `except`: {excepted}")),
    ];
    let lists: String = lists.into_iter().flatten().collect();
    if part == Part::Relations && total == 0 {
        return NOTHING.because(format!("the old database has no {things}{lists}"));
    }
    let [gone, other, more] = part.reasons();
    let sum = format!("missing {missing}, changed {changed}, extra {extra} of {total} {things}{lists}");
    match (missing, changed, harmful) {
        (0, 0, 0) if total == 0 => Outcome::pass(format!("no {things} on the old side{lists}")),
        (0, 0, 0) => Outcome::pass(format!("{total} {things} are the same{lists}")),
        (0, 0, _) => more.because(sum),
        (0, ..) => other.because(sum),
        _ => gone.because(sum),
    }
}

/// The first of a kind, and how many there are.
fn listed(what: &str, count: u64, words: &[String]) -> Option<String> {
    if count == 0 {
        return None;
    }
    let (mut list, mut named) = (String::new(), 0_u64);
    for words in words {
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
pub(super) fn progress(scan: &Scan, parts: &BTreeSet<Part>) -> Progress {
    let note = match (scan.part(parts), &scan.walk) {
        (Some(part), Some(walk)) => {
            format!("{}: {} of {} buckets are still to be looked into", part.name(), walk.left.len(), walk.buckets)
        }
        (Some(part), None) => format!("{} is next", part.name()),
        (None, _) => "everything is compared".to_owned(),
    };
    let failed = scan.done.iter().filter(|(_, finished)| matches!(finished.outcome, Outcome::Fail { .. }));
    let failed: Vec<&str> = failed.map(|(part, _)| part.name()).collect();
    let failed = if failed.is_empty() { String::new() } else { format!("; not the same: {}", failed.join(", ")) };
    Progress { done: size(scan.done.len()), total: size(parts.len()), note: format!("{note}{failed}").into() }
}

pub(super) fn size(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
