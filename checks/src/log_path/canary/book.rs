//! What is remembered of one agent: the account of its present boot, and those of boots before it that are not closed yet.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::log_path::account::{Account, Loss, MARGIN, Settled, Sweep, millis, span_of};
use crate::log_path::head::Told;
use crate::log_path::hops::Counts;
use crate::log_path::line::Boot;
use crate::log_path::recount::{Gone, Recount, of_this_version};
use crate::log_path::trace::{CUT, Source, Trace};
use crate::net::Budget;
use crate::outcome::Outcome;

use super::judge::{Pace, Seen};

/// Lines are not read again further back than this.
const FARTHEST: i64 = 7 * 86_400_000;
/// Loki's timestamps may be ahead of the clocks here by this much: more it does not take itself.
const AHEAD: i64 = 600_000;

/// What is remembered of one agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Book {
    /// The agent's node.
    pub(super) node: String,
    /// The moment of its newest head, by its own clock.
    #[serde(rename = "h")]
    head_now: Option<i64>,
    #[serde(rename = "c")]
    current: Option<Account>,
    #[serde(rename = "o")]
    former: Vec<Former>,
    /// Lines lost so far.
    pub(super) lost: u64,
    /// Lines of closed accounts that came although they were late.
    #[serde(rename = "a", default)]
    late: u64,
    /// Lines so far of which nobody can tell any more: too many boots came after theirs.
    #[serde(rename = "u")]
    pub(super) unaccounted: u64,
    /// Lines so far that may have been written after the agent was last asked and before it ended without a word: at most so many.
    #[serde(rename = "y", default)]
    pub(super) unheard: u64,
    /// The newest of such ends.
    #[serde(rename = "z", default, skip_serializing_if = "Option::is_none")]
    pub(super) tail: Option<Tail>,
    /// The loss that is held.
    #[serde(rename = "x")]
    pub(super) held: Option<Held>,
    /// Since when none of its newest lines was found, over however many boots.
    #[serde(rename = "q", default, skip_serializing_if = "Option::is_none")]
    pub(super) quiet: Option<i64>,
    /// What was delivered, to be counted again.
    #[serde(rename = "d", default, deserialize_with = "of_this_version", skip_serializing_if = "Recount::is_empty")]
    pub(super) recount: Recount,
    /// Lines so far that were there and are not any more.
    #[serde(rename = "g", default)]
    pub(super) gone: u64,
    /// Those of them that are held.
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    pub(super) ruin: Option<Ruin>,
    /// Since when older lines can not be read.
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    pub(super) stuck: Option<i64>,
    /// Loki did not answer when it was last asked, or has not what it had.
    #[serde(rename = "s", default, skip_serializing_if = "std::ops::Not::not")]
    shaken: bool,
    /// The counters along the way when lines were last seen standing still.
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    pub(super) mark: Option<Counts>,
}

/// A boot that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Former {
    #[serde(rename = "a")]
    account: Account,
    #[serde(rename = "r")]
    retired: i64,
    #[serde(rename = "e")]
    every: i64,
    /// Lines that it may have written after it was last asked, at most.
    #[serde(rename = "t", default)]
    tail: u64,
}

/// What is left to do for a boot that is over.
enum Rest {
    Open(Former),
    Closed(Account, Option<Tail>),
}

/// The end of a start that nobody heard of: how many lines after the last that is known were written is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tail {
    /// The start.
    #[serde(rename = "b")]
    pub(super) boot: Boot,
    /// The last line that is known.
    #[serde(rename = "l")]
    pub(super) last: u64,
    /// At most so many came after it.
    #[serde(rename = "n")]
    pub(super) lines: u64,
}

/// A loss, and when it was last added to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Held {
    #[serde(flatten)]
    pub(super) loss: Loss,
    pub(super) at: i64,
}

/// Lines that were destroyed, and when that was last added to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ruin {
    #[serde(flatten)]
    pub(super) gone: Gone,
    pub(super) at: i64,
}

impl Book {
    /// Nothing known yet.
    pub(super) fn new(node: &str) -> Self {
        Self {
            node: node.to_owned(),
            head_now: None,
            current: None,
            former: Vec::new(),
            lost: 0,
            late: 0,
            unaccounted: 0,
            unheard: 0,
            tail: None,
            held: None,
            quiet: None,
            recount: Recount::default(),
            gone: 0,
            ruin: None,
            stuck: None,
            shaken: false,
            mark: None,
        }
    }

    /// How many lines came although they were late.
    pub(super) fn late(&self) -> u64 {
        let open = self.former.iter().map(|former| &former.account).chain(&self.current);
        open.map(Account::late).fold(self.late, u64::saturating_add)
    }

    /// The account of the present boot.
    pub(super) fn current(&self) -> Option<&Account> {
        self.current.as_ref()
    }

    /// Takes in the agent's word. `Err`: it was heard before, so it does not come from the agent as it is now.
    pub(super) fn hears(&mut self, told: &Told, now: DateTime<Utc>, pace: Pace) -> Result<(), String> {
        let now = millis(now);
        let same = self.current.as_ref().is_some_and(|account| account.boot == told.boot);
        if same && self.head_now == Some(told.now) {
            return Err("the agent's clock stands where it stood before".into());
        }
        if let Some(account) = self.current.as_ref().filter(|account| same && told.last < account.last) {
            return Err(format!("the agent was at line {} before and says {}", account.last, told.last));
        }
        if !same {
            let owed = self.current.as_ref().is_some_and(Account::has_begun);
            let back = self.former.iter().position(|former| former.account.boot == told.boot);
            let next = back.map_or_else(|| Account::new(told.boot, now, owed), |at| self.former.remove(at).account);
            let former = self.current.replace(next).filter(Account::has_begun);
            let began = told.last_at.map_or(told.now, |at| at.saturating_sub(span_of(told.last.saturating_sub(1), told.every)));
            self.former.extend(former.map(|account| {
                // The clock is the node's for both.
                let silent = began.saturating_sub(account.last_at).max(0);
                let tail = u64::try_from(silent / told.every.max(1)).unwrap_or_default();
                Former { account, retired: now, every: told.every, tail }
            }));
            while self.former.len() > pace.formers {
                let account = self.former.remove(0).account;
                self.unaccounted = self.unaccounted.saturating_add(account.outstanding());
                self.late = self.late.saturating_add(account.late());
            }
        }
        self.head_now = Some(told.now);
        if let Some(account) = &mut self.current {
            account.last = told.last;
            account.last_at = told.last_at.unwrap_or(account.last_at);
        }
        self.held = self.held.map(|held| Held { at: held.at.min(now), ..held }).filter(|held| now - held.at < pace.hold);
        self.ruin = self.ruin.map(|ruin| Ruin { at: ruin.at.min(now), ..ruin }).filter(|ruin| now - ruin.at < pace.hold);
        Ok(())
    }

    /// Reads what can be read, and settles what can be settled.
    pub(super) async fn read(
        &mut self,
        source: &dyn Source,
        told: &Told,
        now: DateTime<Utc>,
        (pace, budget): (Pace, Budget),
    ) -> Seen {
        let now = millis(now);
        let mut seen = Seen::default();
        let Some(mut account) = self.current.take() else { return seen };
        let mut trace = Trace::new(source, (&told.node, told.boot), told.every, budget);
        let known = account.newest();
        let followed = follow(&mut account, &mut trace, told, now, pace).await;
        account.owes(told.written_before(pace.late));
        match followed {
            Ok(settled) => self.settles((told.boot, told.every), &settled, now, pace),
            Err(outcome) => seen.trouble = Some(outcome),
        }
        seen.take(&trace.lines);
        let found: BTreeSet<u64> = trace.lines.iter().map(|line| line.seq).collect();
        self.current = Some(account);
        let flowing = seen.is_flowing();
        if flowing {
            self.quiet = None;
        } else if seen.trouble.is_none() && told.last > 0 {
            self.quiet = Some(self.quiet.unwrap_or(now).min(now));
        }
        if seen.trouble.is_none() {
            for mut former in std::mem::take(&mut self.former) {
                // While no lines of a later boot arrive, those of an earlier one may be held up just the same.
                former.retired = if flowing { former.retired.min(now) } else { now };
                let node = self.node.clone();
                let whose = (former.account.boot, former.every);
                let mut trace = Trace::new(source, (&node, former.account.boot), former.every, budget);
                match former.follow(&mut trace, now, pace).await {
                    Ok((settled, rest)) => {
                        self.settles(whose, &settled, now, pace);
                        match rest {
                            Rest::Open(former) => self.former.push(former),
                            Rest::Closed(account, tail) => self.ends(&account, tail),
                        }
                    }
                    Err((outcome, former)) => {
                        seen.trouble = Some(outcome);
                        self.former.push(former);
                    }
                }
            }
        }
        // A Loki that was away between two looks is told by what it does not have any more.
        let young = span_of(told.last.saturating_sub(known), told.every) <= pace.late.saturating_add(MARGIN / 2);
        let vanished = known > 0 && young && !found.contains(&known);
        self.shaken |= seen.trouble.is_some() || vanished;
        // The newest lines come first; while they do not arrive, or can not be read, older ones can wait.
        if flowing && seen.trouble.is_none() {
            if std::mem::take(&mut self.shaken) {
                self.recount.hurries();
            }
            seen.stuck = self.count_again(source, now.max(told.now), (pace, budget)).await.err();
        }
        seen
    }

    /// Reads a slice of what was delivered again.
    async fn count_again(&mut self, source: &dyn Source, now: i64, (pace, budget): (Pace, Budget)) -> Result<(), Outcome> {
        let Some(slice) = self.recount.next(now, now.saturating_add(AHEAD), pace.room) else { return Ok(()) };
        let node = self.node.clone();
        let mut trace = Trace::new(source, (&node, slice.boot), slice.every, budget.until(4));
        let cursor = match trace.read(slice.from, slice.to).await {
            Ok(cursor) => cursor,
            Err(outcome) => {
                self.stuck = self.stuck.or(Some(now));
                return Err(outcome);
            }
        };
        self.stuck = None;
        let Some(gone) = self.recount.saw(&trace.lines, cursor, now, pace.room) else { return Ok(()) };
        self.gone = self.gone.saturating_add(gone.count);
        let gone = self.ruin.map_or(gone, |Ruin { gone: before, .. }| Gone {
            first: before.first,
            count: before.count.saturating_add(gone.count),
            from: before.from.min(gone.from),
            to: before.to.max(gone.to),
        });
        self.ruin = Some(Ruin { gone, at: now });
        Ok(())
    }

    fn settles(&mut self, whose: (Boot, i64), settled: &Settled, now: i64, pace: Pace) {
        self.recount.takes(whose, settled, pace.room);
        self.loses(settled.loss, now);
    }

    fn ends(&mut self, account: &Account, tail: Option<Tail>) {
        self.late = self.late.saturating_add(account.late());
        let Some(tail) = tail else { return };
        self.unheard = self.unheard.saturating_add(tail.lines);
        self.tail = Some(tail);
    }

    fn loses(&mut self, loss: Option<Loss>, now: i64) {
        let Some(loss) = loss else { return };
        self.lost = self.lost.saturating_add(loss.count);
        let before = self.held.map(|held| held.loss);
        let count = before.map_or(0, |before| before.count).saturating_add(loss.count);
        let first = before.map_or(loss.first, |before| before.first);
        self.held = Some(Held { loss: Loss { first, count }, at: now });
    }
}

/// Reads the newest lines. Says from when on that was.
async fn read_newest(trace: &mut Trace<'_>, told: &Told, now: i64, pace: Pace) -> Result<Option<i64>, Outcome> {
    let Some(last_at) = told.last_at else { return Ok(None) };
    let end = now.max(told.now).saturating_add(AHEAD);
    let fresh = last_at.saturating_sub(pace.late).saturating_sub(told.every.saturating_mul(2)).saturating_sub(MARGIN);
    if trace.read(fresh, end).await? < end {
        return Err(CUT.because("not even the newest lines could be read in one run"));
    }
    // A number that the agent has not told of yet is left to the next run.
    trace.lines.retain(|line| line.seq <= told.last);
    Ok(Some(fresh))
}

/// The newest lines in another place.
pub(super) async fn newest(
    source: &dyn Source,
    told: &Told,
    now: DateTime<Utc>,
    (pace, budget): (Pace, Budget),
) -> Result<Seen, Outcome> {
    let mut trace = Trace::new(source, (&told.node, told.boot), told.every, budget);
    read_newest(&mut trace, told, millis(now), pace).await?;
    let mut seen = Seen::default();
    seen.take(&trace.lines);
    Ok(seen)
}

/// Reads the newest lines, which decide, then as much of a sweep as this Run has time for.
async fn follow(account: &mut Account, trace: &mut Trace<'_>, told: &Told, now: i64, pace: Pace) -> Result<Settled, Outcome> {
    let Some(fresh) = read_newest(trace, told, now, pace).await? else { return Ok(Settled::default()) };
    if trace.lines.is_empty() {
        return Ok(Settled::default());
    }
    let from = account.since_when(told.every).max(now.saturating_sub(FARTHEST));
    let sweep = match account.sweep {
        Some(sweep) => sweep.not_after(now),
        None if from >= fresh || account.wants_sweep(now, pace.lost) => Sweep::new(now, from),
        None => {
            account.observe(&trace.lines, now, pace.lost, pace.intervals);
            return Ok(Settled::default());
        }
    };
    let cursor = trace.read(sweep.cursor, fresh).await?;
    trace.lines.retain(|line| line.seq <= told.last);
    account.sweep = Some(sweep.at(cursor));
    account.observe(&trace.lines, now, pace.lost, pace.intervals);
    Ok(if cursor >= fresh { account.settle(&trace.lines, pace.lost) } else { Settled::default() })
}

impl Former {
    /// Reads on until nothing more is to be expected, then closes the account. Gives back what it still has to follow.
    async fn follow(mut self, trace: &mut Trace<'_>, now: i64, pace: Pace) -> Result<(Settled, Rest), (Outcome, Self)> {
        let account = &mut self.account;
        let end = now.max(account.last_at).saturating_add(AHEAD);
        let sweep = account.sweep.map_or_else(
            || Sweep::new(now, account.since_when(self.every).max(now.saturating_sub(FARTHEST))),
            |sweep| sweep.not_after(now),
        );
        let cursor = match trace.read(sweep.cursor, end).await {
            Ok(cursor) => cursor,
            Err(outcome) => return Err((outcome, self)),
        };
        account.sweep = Some(sweep.at(cursor));
        account.observe(&trace.lines, now, pace.lost, pace.intervals);
        if now.saturating_sub(self.retired) > pace.late {
            account.owes(account.last);
        }
        if cursor < end {
            return Ok((Settled::default(), Rest::Open(self)));
        }
        let settled = account.settle(&trace.lines, pace.lost);
        let over = sweep.began.saturating_sub(self.retired) >= pace.lost && !account.is_moving(sweep.began, pace.lost);
        if !over {
            return Ok((settled, Rest::Open(self)));
        }
        let rest = account.close();
        let tail = self.unheard();
        Ok((settled.and(&rest), Rest::Closed(self.account, tail)))
    }

    /// What of its end nobody can tell, once its account is closed.
    fn unheard(&self) -> Option<Tail> {
        let Account { boot, last, .. } = self.account;
        let newest = self.account.newest();
        let lines = last.saturating_add(self.tail).saturating_sub(last.max(newest));
        (lines > 0 && !self.account.has_ended()).then(|| Tail { boot, last: last.max(newest), lines })
    }
}
