//! How far a look at all panels has come: dashboard by dashboard, and then once more what was wrong.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::counter::later;
use crate::proof::Away;

use super::judge::{Kind, Sight};

/// Most panels that are looked at once more.
const MAX_AGAIN: usize = 100;
/// Most panels that are kept by name, of each kind.
const MAX_NAMES: usize = 12;
/// Longest text that is kept of one, in bytes.
const MAX_WORDS: usize = 400;
/// What was wrong is looked at once more after this time: a restart, a slow store.
const PAUSE: Duration = Duration::from_secs(15);

/// A panel of a dashboard, or a dashboard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) uid: String,
    /// The panel's id, and which of those with this id it is.
    pub(super) panel: Option<(i64, usize)>,
}

/// Names of panels, and how many more there are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Names {
    pub(super) named: Vec<String>,
    pub(super) count: u64,
}

impl Names {
    fn push(&mut self, words: &str) {
        self.count = self.count.saturating_add(1);
        if self.named.len() < MAX_NAMES {
            self.named.push(clipped(words));
        }
    }
}

/// A bounded line; a control character would be stored as six.
fn clipped(words: &str) -> String {
    let words: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match words.get(..words.floor_char_boundary(MAX_WORDS)) {
        Some(start) if start.len() < words.len() => format!("{start}…"),
        Some(_) | None => words,
    }
}

/// A look that is under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Scan {
    #[serde(with = "chrono::serde::ts_milliseconds")]
    pub(super) begun: DateTime<Utc>,
    /// In milliseconds.
    pub(super) window: (i64, i64),
    /// The dashboard that was come to, the numbers of its last saves, and how many of its panels are done; none once all are.
    at: String,
    within: Option<(i64, i64, usize)>,
    pub(super) dashboards: u64,
    pub(super) asked: u64,
    pub(super) shown: u64,
    pub(super) silent: u64,
    pub(super) skipped: u64,
    pub(super) empty: Names,
    pub(super) broken: Names,
    pub(super) unseen: Names,
    pub(super) found: Vec<(Kind, String)>,
    pub(super) found_more: u64,
    again: Vec<Place>,
    again_more: u64,
    /// Whether what was wrong is looked at once more.
    second: bool,
    #[serde(with = "chrono::serde::ts_milliseconds_option")]
    pause: Option<DateTime<Utc>>,
    /// The first dashboard in which a panel shows something.
    pub(super) lively: Option<String>,
    #[serde(default)]
    away: Away,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// To look at this dashboard, from where it was come to.
    Dashboard(String),
    /// To look at this once more.
    Again(Place),
    /// Nothing, before this time.
    Wait(DateTime<Utc>),
    /// Everything was looked at.
    Over,
}

impl Scan {
    pub(super) fn begin(now: DateTime<Utc>, window: (i64, i64)) -> Self {
        Self {
            begun: now,
            window,
            at: String::new(),
            within: None,
            dashboards: 0,
            asked: 0,
            shown: 0,
            silent: 0,
            skipped: 0,
            empty: Names::default(),
            broken: Names::default(),
            unseen: Names::default(),
            found: Vec::new(),
            found_more: 0,
            again: Vec::new(),
            again_more: 0,
            second: false,
            pause: None,
            lively: None,
            away: Away::default(),
        }
    }

    pub(super) fn next(&mut self, uids: &BTreeSet<String>, now: DateTime<Utc>) -> Next {
        if let Some(until) = self.pause.filter(|until| *until > now) {
            return Next::Wait(until);
        }
        self.pause = None;
        if self.within.is_some() && uids.contains(&self.at) {
            return Next::Dashboard(self.at.clone());
        }
        let after = (std::ops::Bound::Excluded(self.at.clone()), std::ops::Bound::Unbounded);
        if let Some(uid) = uids.range(after).next() {
            return Next::Dashboard(uid.clone());
        }
        if self.again.is_empty() {
            return Next::Over;
        }
        if !self.second {
            let until = later(now, PAUSE);
            (self.second, self.pause) = (true, Some(until));
            return Next::Wait(until);
        }
        self.again.first().cloned().map_or(Next::Over, Next::Again)
    }

    /// How many panels of a dashboard, last saved so often on the two sides, are done. None if it was saved since.
    pub(super) fn enter(&mut self, uid: &str, saves: (i64, i64)) -> Option<usize> {
        match self.within {
            Some((new, old, done)) if self.at == uid => (saves == (new, old)).then_some(done),
            Some(_) | None => {
                uid.clone_into(&mut self.at);
                self.within = Some((saves.0, saves.1, 0));
                Some(0)
            }
        }
    }

    /// All panels of the dashboard are done.
    pub(super) fn leave(&mut self) {
        self.within = None;
        self.dashboards = self.dashboards.saturating_add(1);
    }

    /// What a panel, or a dashboard, has come to. What is wrong at the first look is looked at once more.
    pub(super) fn judged(&mut self, place: Place, name: &str, sight: Sight) {
        self.away.answered();
        if self.second {
            self.again.retain(|other| *other != place);
        } else {
            if let Some((_, _, done)) = &mut self.within {
                *done = done.saturating_add(1);
            }
            if matches!(sight, Sight::Bad(..) | Sight::Unseen(_)) {
                if self.again.len() < MAX_AGAIN {
                    self.again.push(place);
                } else {
                    self.again_more = self.again_more.saturating_add(1);
                }
                return;
            }
        }
        self.asked = self.asked.saturating_add(u64::from(sight != Sight::Silent));
        match sight {
            Sight::Shown => {
                self.shown = self.shown.saturating_add(1);
                self.lively.get_or_insert(place.uid);
            }
            Sight::Silent => self.silent = self.silent.saturating_add(1),
            Sight::Empty => self.empty.push(name),
            Sight::Broken(words) => self.broken.push(&format!("{name} ({words})")),
            Sight::Unseen(words) => self.unseen.push(&format!("{name}: {words}")),
            Sight::Bad(kind, words) => {
                if self.found.len() < MAX_NAMES {
                    self.found.push((kind, clipped(&format!("{name} {words}"))));
                } else {
                    self.found_more = self.found_more.saturating_add(1);
                }
            }
        }
    }

    /// A panel that is not to be asked.
    pub(super) fn skip(&mut self) {
        if let Some((_, _, done)) = &mut self.within {
            *done = done.saturating_add(1);
        }
        self.skipped = self.skipped.saturating_add(1);
    }

    /// What was to be looked at once more is no longer there.
    pub(super) fn forget(&mut self, place: &Place) {
        self.again.retain(|other| other != place);
    }

    /// Everything is looked at anew.
    pub(super) fn start_over(&mut self, now: DateTime<Utc>, window: (i64, i64)) {
        *self = Self::begin(now, window);
    }

    /// Panels that were wrong at the first look and are too many to be looked at once more.
    pub(super) fn beyond(&self) -> u64 {
        self.again_more
    }

    /// Panels that are still to be looked at once more.
    pub(super) fn suspects(&self) -> u64 {
        u64::try_from(self.again.len()).unwrap_or(u64::MAX).saturating_add(self.again_more)
    }

    /// How many panels were come to.
    pub(super) fn done(&self) -> u64 {
        let found = u64::try_from(self.found.len()).unwrap_or(u64::MAX).saturating_add(self.found_more);
        [self.shown, self.silent, self.skipped, self.empty.count, self.broken.count, self.unseen.count, found]
            .iter()
            .fold(self.suspects(), |sum, count| sum.saturating_add(*count))
    }

    /// There was no answer. Whether that is still to be waited out, as a restart is.
    pub(super) fn waits_out(&mut self, now: DateTime<Utc>) -> bool {
        self.away.waits_out(now)
    }
}
