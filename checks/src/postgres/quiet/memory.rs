//! What is known of a server from look to look, and what that says: pure, the same for runs and for the negative control.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::counter::{age, later, words};
use crate::outcome::Outcome;

use super::change::Change;
use super::kind::Kind;
use super::read::{Look, Others, Reading, few};
use super::{NEVER_SEEN, OBSERVING, OPEN_TRANSACTION, PREPARED_TRANSACTION, PostgresQuiet, SESSIONS_LEFT, SETTLING};

/// Counters of a session that idles show ten seconds later what it did.
pub(super) const COUNTED_WITHIN: Duration = Duration::from_secs(11);
/// Looks that are farther apart than this, or than the window if that is longer, begin the window anew.
const LONGEST_GAP: Duration = Duration::from_mins(1);
/// What a wait may take longer than it should.
const SLACK: Duration = Duration::from_mins(1);

/// What happened, as long as it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Event {
    kind: Kind,
    at: DateTime<Utc>,
    text: String,
}

/// Transactions that nothing accounts for so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Debt {
    xids: u64,
    at: DateTime<Utc>,
    text: String,
}

/// The window that has to be quiet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Window {
    at: DateTime<Utc>,
    next_xid: u64,
    tended: u64,
}

/// What is remembered between Runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    last: Option<Reading>,
    /// What others had done when it was last known exactly.
    others: Option<Others>,
    /// When the last look showed anything.
    seen: Option<DateTime<Utc>>,
    /// Since when nothing happened that would begin the window anew.
    calm: Option<DateTime<Utc>>,
    window: Option<Window>,
    event: Option<Event>,
    debt: Option<Debt>,
    /// Transactions that autovacuum may have begun and not ended yet, and since when.
    credit: Option<(u64, DateTime<Utc>)>,
    /// Whether the last look that showed anything showed nothing wrong.
    clean: bool,
    /// Since when nobody listens.
    stopped: Option<DateTime<Utc>>,
}

impl Memory {
    /// What was read last.
    pub(super) fn last(&self) -> Option<&Reading> {
        self.last.as_ref()
    }

    /// How long nothing was written, as far as this counts.
    pub(super) fn quiet_for(&self, now: DateTime<Utc>) -> Duration {
        self.window.and_then(|window| age(now, window.at)).unwrap_or_default()
    }

    /// As if one transaction more had been there at the last look, and nothing had explained it in time.
    pub(super) fn of_control(look: &Look, now: DateTime<Utc>) -> Self {
        let before = Reading { next_xid: look.reading.next_xid.saturating_sub(1), ..look.reading.clone() };
        let long_ago = crate::counter::earlier(now, COUNTED_WITHIN);
        let debt = Debt { xids: 0, at: long_ago, text: "the negative control".to_owned() };
        Self { last: Some(before), seen: Some(long_ago), debt: Some(debt), ..Self::default() }
    }

    /// Judges what changed, and says the worst of it.
    pub(super) fn changes(&mut self, check: &PostgresQuiet, look: &Look, now: DateTime<Utc>) -> Option<Outcome> {
        self.compare(check, look, now);
        self.event.as_ref().map(|event| event.kind.reason().because(event.text.as_str()))
    }

    /// Judges a look.
    pub(super) fn judge(&mut self, check: &PostgresQuiet, look: &Look, now: DateTime<Utc>) -> Outcome {
        self.never_ahead_of(now);
        let gap = self.seen.and_then(|seen| age(now, seen)).unwrap_or_default();
        if gap > check.window.max(LONGEST_GAP) {
            self.window = None;
        }
        self.compare(check, look, now);
        let flaw = standing(check, look);
        if flaw.is_some() || self.calm.is_none() {
            self.disturbed(now);
        }
        self.seen = Some(now);
        self.last = Some(look.reading.clone());
        self.open_window(check, now);
        let outcome = self.outcome(check, look, flaw, now);
        self.clean = match &outcome {
            Outcome::Pass { .. } => true,
            Outcome::Waiting { reason, .. } => *reason == OBSERVING.into(),
            Outcome::Fail { .. } | Outcome::Unknown { .. } => false,
        };
        outcome
    }

    /// Nobody listens, where that is allowed.
    pub(super) fn refused(&mut self, words_of_it: &str, now: DateTime<Utc>) -> Outcome {
        self.never_ahead_of(now);
        let Some((seen, last)) = self.seen.zip(self.last.as_ref()) else {
            return NEVER_SEEN.because(format!("{words_of_it}; it was never seen quiet"));
        };
        let since = *self.stopped.get_or_insert(now);
        let told = format!("last seen {} at next_xid {}", clock(seen), last.next_xid);
        if self.clean {
            return Outcome::pass(format!("stopped since {}, {words_of_it}; {told}, quiet", clock(since)));
        }
        let why = self.event.as_ref().map_or("something stood in the way then", |event| event.text.as_str());
        NEVER_SEEN.because(format!("{words_of_it}; {told}, and not quiet: {why}"))
    }

    /// It answers again, though not as asked.
    pub(super) fn answers(&mut self, outcome: Outcome, now: DateTime<Utc>) -> Outcome {
        let Some(since) = self.stopped else { return outcome };
        let text = format!("it was stopped since {} and answers again: {}", clock(since), outcome.evidence());
        self.clean = false;
        self.happened(Kind::CameBack, text, now);
        self.event.as_ref().map_or(outcome, |event| event.kind.reason().because(event.text.as_str()))
    }

    /// A clock that was set back makes nothing last longer.
    fn never_ahead_of(&mut self, now: DateTime<Utc>) {
        let times = [self.seen.as_mut(), self.calm.as_mut(), self.stopped.as_mut()];
        let more = [
            self.window.as_mut().map(|window| &mut window.at),
            self.event.as_mut().map(|event| &mut event.at),
            self.debt.as_mut().map(|debt| &mut debt.at),
            self.credit.as_mut().map(|credit| &mut credit.1),
        ];
        for time in times.into_iter().chain(more).flatten() {
            *time = now.min(*time);
        }
    }

    fn disturbed(&mut self, now: DateTime<Utc>) {
        self.calm = Some(now);
        self.window = None;
    }

    fn happened(&mut self, kind: Kind, text: String, now: DateTime<Utc>) {
        self.disturbed(now);
        let cut = |text: String| text.chars().take(600).collect();
        self.event = Some(match self.event.take() {
            Some(worse) if worse.kind < kind && worse.kind.is_held() => {
                Event { at: now, text: cut(format!("{}; then {text}", worse.text)), ..worse }
            }
            Some(worse) if worse.kind < kind => worse,
            Some(_) | None => Event { kind, at: now, text: cut(text) },
        });
    }

    /// What happened since the last look.
    fn compare(&mut self, check: &PostgresQuiet, look: &Look, now: DateTime<Utc>) {
        let Some(before) = self.last.take() else {
            self.others = look.exact.then_some(look.others);
            return;
        };
        let now_is = &look.reading;
        let between = self.seen.and_then(|seen| age(now, seen)).map(words).unwrap_or_default();
        if before.identity != now_is.identity {
            let text = format!("{}: it was {} and is {} now", look.place, before.identity, now_is.identity);
            *self = Self { event: self.event.take(), ..Self::default() };
            self.others = look.exact.then_some(look.others);
            self.happened(Kind::Swapped, text, now);
            return;
        }
        if let Some(since) = self.stopped.take() {
            let text = format!("{}: {}", look.place, came_back(since, &before, look));
            self.happened(Kind::CameBack, text, now);
        }
        let Some(xids) = now_is.next_xid.checked_sub(before.next_xid) else {
            let text = format!("{}: next_xid was {} and is {} now", look.place, before.next_xid, now_is.next_xid);
            (self.debt, self.credit, self.others) = (None, None, look.exact.then_some(look.others));
            self.happened(Kind::WentBack, text, now);
            return;
        };
        let change = Change::between(&before, look);
        if change.began_anew {
            self.others = None;
            if xids > 0 {
                self.window = None;
            }
        }
        let alone = self.is_alone(check, look);
        self.visits(check, look, now);
        let late = xids == 0 && self.window.is_none() && self.debt.is_none() && !self.has_settled(now);
        if !change.named.is_empty() && !late {
            (self.debt, self.credit) = (None, None);
            let named = change.named.join("; ");
            let text = format!("{}: {named}, committed or rolled back, within {between}; {xids} transactions", look.place);
            self.happened(Kind::Written, text, now);
            return;
        }
        // Transactions are of sessions, or of workers: with no session anywhere they are autovacuum's, in whatever database.
        // What moved before is still owed.
        let autovacuums = change.nobody_elsewhere && (alone || !change.databases.is_empty());
        self.account(if autovacuums { 0 } else { xids }, &change, look, &between, now);
    }

    /// Whether nobody is in this database who could write, and nobody came since the look before.
    fn is_alone(&self, check: &PostgresQuiet, look: &Look) -> bool {
        let none_came = self.others.is_some_and(|base| base.compares(&look.others) && base.sessions == look.others.sessions);
        look.exact && none_came && look.sessions.iter().all(|present| check.readers.contains(&present.name))
    }

    /// Whether autovacuum accounts for what moved the number of transactions.
    fn account(&mut self, xids: u64, change: &Change, look: &Look, between: &str, now: DateTime<Utc>) {
        let young = |(left, since): (u64, DateTime<Utc>)| (age(now, since)? <= COUNTED_WITHIN).then_some((left, since));
        let credit = self.credit.take().and_then(young);
        let has = change.tended.saturating_add(credit.map_or(0, |(left, _)| left));
        let owed = self.debt.as_ref().map_or(0, |debt| debt.xids).saturating_add(xids);
        if owed <= has {
            let since = if change.tended > 0 { now } else { credit.map_or(now, |(_, since)| since) };
            self.credit = (has > owed).then_some((has - owed, since));
            self.debt = None;
            return;
        }
        let text = if xids > 0 {
            let anew = if change.began_anew { "; its counters began anew (start, crash or reset)" } else { "" };
            let others = if change.databases.is_empty() {
                String::new()
            } else {
                format!("; rows were written in other databases: {}", few(change.databases.iter().cloned()))
            };
            format!("{}: next_xid moved by {xids} to {} within {between}{anew}{others}", look.place, look.reading.next_xid)
        } else {
            self.debt.as_ref().map(|debt| debt.text.clone()).unwrap_or_default()
        };
        let at = self.debt.as_ref().map_or(now, |debt| debt.at);
        if age(now, at).unwrap_or_default() >= COUNTED_WITHIN {
            self.debt = None;
            let about = "no table, schema, large object or readable sequence accounts for it, nor does autovacuum";
            self.happened(Kind::Unexplained, format!("{text}; {about}"), now);
            return;
        }
        self.debt = Some(Debt { xids: owed - has, at, text: text.chars().take(300).collect() });
    }

    /// Sessions and rollbacks of others. What is not exact is too low, so that it raises no false alarm.
    fn visits(&mut self, check: &PostgresQuiet, look: &Look, now: DateTime<Utc>) {
        let Some(base) = self.others.filter(|base| base.compares(&look.others)) else {
            self.others = look.exact.then_some(look.others);
            return;
        };
        let rollbacks = look.others.rollbacks - base.rollbacks;
        if rollbacks > 0 {
            let text = format!("{}: {rollbacks} transactions or logins of others ended in a rollback", look.place);
            self.happened(Kind::RefusedAttempts, text, now);
        }
        let sessions = look.others.sessions - base.sessions;
        if sessions > 0 && !check.visitors && check.readers.is_empty() {
            let text = format!("{}: {sessions} sessions of others that this look did not meet", look.place);
            self.happened(Kind::Visited, text, now);
        }
        self.others = Some(if look.exact {
            look.others
        } else {
            let (sessions, rollbacks) = (base.sessions + sessions.max(0), base.rollbacks + rollbacks.max(0));
            Others { sessions, rollbacks, ..base }
        });
    }

    /// Whether counters show all that was done before the calm.
    fn has_settled(&self, now: DateTime<Utc>) -> bool {
        self.calm.and_then(|calm| age(now, calm)).is_some_and(|calm| calm >= COUNTED_WITHIN)
    }

    fn open_window(&mut self, check: &PostgresQuiet, now: DateTime<Utc>) {
        if let Some(event) = self.event.as_ref().filter(|event| event.kind.is_held()) {
            if age(now, event.at).unwrap_or_default() < check.hold_for {
                return;
            }
            self.event = None;
        }
        let ready = self.window.is_none() && self.debt.is_none() && self.others.is_some() && self.has_settled(now);
        if let Some(last) = self.last.as_ref().filter(|_| ready) {
            self.window = Some(Window { at: now, next_xid: last.next_xid, tended: last.tended });
        }
    }

    fn outcome(&mut self, check: &PostgresQuiet, look: &Look, flaw: Option<(Outcome, bool)>, now: DateTime<Utc>) -> Outcome {
        let quiet = self.quiet_for(now);
        let over = self.window.is_some() && quiet >= check.window && self.debt.is_none();
        if over {
            self.event = None;
        }
        let asked = words(check.window);
        let (worse, flaw) = match flaw {
            Some((flaw, true)) => (Some(flaw), None),
            Some((flaw, false)) => (None, Some(flaw)),
            None => (None, None),
        };
        if let Some(event) = self.event.as_ref().filter(|event| worse.is_none() || event.kind <= Kind::CameBack) {
            let rest = if event.kind.is_held() {
                format!("told for {}", words(check.hold_for))
            } else {
                format!("quiet for {} of {asked}", words(quiet))
            };
            return event.kind.reason().because(format!("{}; seen at {}, {rest}", event.text, clock(event.at)));
        }
        if let Some(flaw) = worse.or(flaw) {
            return flaw;
        }
        if let Some(debt) = &self.debt {
            return SETTLING
                .until(later(debt.at, COUNTED_WITHIN), format!("{}; counters show within 11s what it was", debt.text));
        }
        let tended = self.window.map_or(0, |window| look.reading.tended.saturating_sub(window.tended));
        let xids = self.window.map_or(0, |window| look.reading.next_xid.saturating_sub(window.next_xid));
        let noise =
            if xids > 0 { format!(", {xids} transactions of {tended} vacuum or analyze runs aside") } else { String::new() };
        let evidence = format!(
            "{}: nothing was written for {}{noise}; next_xid {}, nobody else logged in",
            look.place,
            words(quiet),
            look.reading.next_xid
        );
        if over {
            return Outcome::pass(evidence);
        }
        let begins = self.window.map_or_else(|| later(now, COUNTED_WITHIN + LONGEST_GAP), |window| window.at);
        OBSERVING.until(later(later(begins, check.window), SLACK), format!("{evidence}; {asked} are needed"))
    }
}

/// What is wrong now, whatever was before; and whether it writes.
fn standing(check: &PostgresQuiet, look: &Look) -> Option<(Outcome, bool)> {
    let place = &look.place;
    if !look.writers.is_empty() {
        let who =
            few(look.writers.iter().map(|one| format!("{} in {} (pid {}, since {})", one.name, one.what, one.value, one.since)));
        return Some((OPEN_TRANSACTION.because(format!("{place}: {who}")), true));
    }
    if !look.prepared.is_empty() {
        let who = few(look.prepared.iter().map(|one| format!("'{}' of {} since {}", one.what, one.name, one.since)));
        return Some((PREPARED_TRANSACTION.because(format!("{place}: {who}")), true));
    }
    let who =
        few(look.left(&check.readers).map(|one| format!("{} × {} ({}) since {}", one.value, one.name, one.what, one.since)));
    (!who.is_empty()).then(|| (SESSIONS_LEFT.because(format!("{place}: {who}")), false))
}

fn came_back(since: DateTime<Utc>, before: &Reading, look: &Look) -> String {
    let xids = look.reading.next_xid.saturating_sub(before.next_xid);
    let who = few(look.sessions.iter().map(|one| format!("{} × {}", one.value, one.name)));
    let who = if who.is_empty() { "nobody" } else { who.as_str() };
    format!("it was stopped since {} and answers again; next_xid moved by {xids} meanwhile, logged in: {who}", clock(since))
}

fn clock(time: DateTime<Utc>) -> String {
    time.format("%F %TZ").to_string()
}
