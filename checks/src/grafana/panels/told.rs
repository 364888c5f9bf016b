//! What a look at all panels has come to, in words.

use chrono::DateTime;

use crate::outcome::{Outcome, Progress};

use super::judge::Kind;
use super::scan::{Names, Scan};
use super::{GrafanaPanels, NO_DASHBOARD, NO_PANEL, NOT_ASKED, NOTHING_ASKED, NOTHING_SHOWN, PANEL_EMPTY, PANEL_ERRORS};

/// How many are named.
const NAMED: usize = 5;

impl GrafanaPanels {
    /// How far a look has come, of so many dashboards.
    pub(super) fn progress(scan: &Scan, dashboards: u64, here: u64) -> Progress {
        let done = scan.done();
        let left = dashboards.saturating_sub(scan.dashboards).saturating_sub(u64::from(here > 0));
        // Dashboards that were not read yet are taken to be as large as the others.
        let read = scan.dashboards.saturating_add(u64::from(here > 0)).max(1);
        let about = done.saturating_add(here);
        let total = about.saturating_add(left.saturating_mul(about.div_ceil(read)));
        let mut note = format!("panels: {done} of about {total} asked, {} empty so far", scan.empty.count);
        if scan.suspects() > 0 {
            let suspects = scan.suspects();
            note = format!("{note}; {suspects} not as before, to be asked once more");
        }
        if let Some((_, words)) = scan.found.first() {
            note = format!("{note}; {words}");
        }
        Progress { done, total: total.max(done), note: note.into() }
    }

    /// What a look that is over has found.
    pub(super) fn told(&self, scan: &Scan) -> Outcome {
        if let Some(outcome) = wrong(&scan.found, scan.found_more.saturating_add(scan.beyond())) {
            return outcome;
        }
        if scan.unseen.count > 0 {
            let count = scan.unseen.count.saturating_add(scan.beyond());
            let unseen = Names { named: scan.unseen.named.clone(), count };
            return NOT_ASKED.because(format!("{} not asked: {}", counted(count, "panel"), some(&unseen)));
        }
        let sides = if self.old.is_some() { " on both sides" } else { "" };
        let counts = format!(
            "{} of {} asked{sides}, {} show something",
            counted(scan.asked, "panel"),
            counted(scan.dashboards, "dashboard"),
            scan.shown
        );
        let mut words = vec![counts];
        if scan.empty.count > 0 {
            words.push(format!("{} empty{sides}: {}", scan.empty.count, some(&scan.empty)));
        }
        if scan.broken.count > 0 {
            words.push(format!("{} broken{sides}: {}", scan.broken.count, some(&scan.broken)));
        }
        if scan.silent > 0 {
            words.push(format!("{} ask nothing", scan.silent));
        }
        if scan.skipped > 0 {
            words.push(format!("{} skipped", scan.skipped));
        }
        let clock = |milliseconds| DateTime::from_timestamp_millis(milliseconds).unwrap_or_default().format("%F %TZ").to_string();
        words.push(format!("from {} to {}", clock(scan.window.0), clock(scan.window.1)));
        let words = words.join("; ");
        match (scan.asked, scan.shown) {
            (0, _) => NOTHING_ASKED.because(words),
            (_, 0) => NOTHING_SHOWN.because(words),
            _ => Outcome::pass(words),
        }
    }
}

/// The worst of what was found decides, and the first are named.
pub(super) fn wrong(found: &[(Kind, String)], more: u64) -> Option<Outcome> {
    let mut found = found.to_vec();
    found.sort();
    let reason = match found.first()?.0 {
        Kind::Errors => PANEL_ERRORS,
        Kind::NoDashboard => NO_DASHBOARD,
        Kind::NoPanel => NO_PANEL,
        Kind::Empty => PANEL_EMPTY,
    };
    let count = u64::try_from(found.len()).unwrap_or(u64::MAX).saturating_add(more);
    let named = Names { named: found.into_iter().map(|(_, words)| words).collect(), count };
    Some(reason.because(some(&named)))
}

fn some(names: &Names) -> String {
    let named: Vec<&str> = names.named.iter().take(NAMED).map(String::as_str).collect();
    let others = names.count.saturating_sub(u64::try_from(named.len()).unwrap_or_default());
    let others = if others > 0 { format!("; and {others} more") } else { String::new() };
    format!("{}{others}", named.join("; "))
}

fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}
