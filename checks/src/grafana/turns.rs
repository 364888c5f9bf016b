//! Things that are looked at in turn, some with each Run, so that a Grafana has time for people.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::net::{Budget, reasons};
use crate::outcome::Outcome;

/// How long the first round may stand still before it counts as an unknown.
pub(crate) const STANDS_STILL: Duration = Duration::from_mins(2);

/// How many are looked at with each Run.
const AT_ONCE: usize = 10;
/// Of those that something is wrong with, how many are looked at again with each Run, so that mending them is soon seen.
const AGAIN: usize = 5;
/// How many of those are kept.
const MAX_WRONG: usize = 50;

/// How far the turns have come, and what is wrong with which. Things are known by their uids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turns<W> {
    /// Which was looked at last in this round.
    after: String,
    /// How many were, in this round.
    looked: u64,
    /// How many there were in the last whole round.
    whole: Option<u64>,
    wrong: BTreeMap<String, W>,
    /// Further ones that something is wrong with, in this round and in the last whole one.
    further: (u64, u64),
}

impl<W> Default for Turns<W> {
    fn default() -> Self {
        Self { after: String::new(), looked: 0, whole: None, wrong: BTreeMap::new(), further: (0, 0) }
    }
}

/// One of a Run's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Turn {
    /// What is to be looked at.
    pub(crate) uid: String,
    /// Whether that is out of turn.
    pub(crate) again: bool,
}

/// The turns of one Run, for as long as its time lasts.
#[derive(Debug)]
pub(crate) struct Slice {
    turns: std::vec::IntoIter<Turn>,
    until: Instant,
    fresh: bool,
}

impl Slice {
    /// The next turn; none when the time is over. If it is over before the first one, that is an outcome: what was seen in earlier
    /// rounds would stay as it was for ever.
    pub(crate) fn next(&mut self) -> Result<Option<Turn>, Outcome> {
        let fresh = std::mem::replace(&mut self.fresh, false);
        if Instant::now() < self.until || self.turns.len() == 0 {
            return Ok(self.turns.next());
        }
        if fresh { Err(reasons::TIMEOUT.because("no time was left for any dashboard after they were listed")) } else { Ok(None) }
    }
}

impl<W> Turns<W> {
    /// What a Run has to look at, within the first half of its time.
    pub(crate) fn slice(&mut self, all: &[String], budget: Budget) -> Slice {
        Slice { turns: self.due(all).into_iter(), until: budget.start + budget.timeout() / 2, fresh: true }
    }

    /// What is to be looked at now, of all there are, which are sorted. What is not among them any more is forgotten.
    fn due(&mut self, all: &[String]) -> Vec<Turn> {
        self.wrong.retain(|uid, _| all.binary_search(uid).is_ok());
        let turn = |again: bool| move |uid: &String| Turn { uid: uid.clone(), again };
        let again = self.wrong.keys().take(AGAIN).map(turn(true));
        let next = all.iter().filter(|uid| **uid > self.after).take(AT_ONCE).map(turn(false));
        again.chain(next).collect()
    }

    /// One was looked at.
    pub(crate) fn seen(&mut self, turn: &Turn, wrong: Option<W>) {
        if !turn.again {
            self.after.clone_from(&turn.uid);
            self.looked = self.looked.saturating_add(1);
        }
        match wrong {
            None => drop(self.wrong.remove(&turn.uid)),
            Some(wrong) if self.wrong.len() < MAX_WRONG || self.wrong.contains_key(&turn.uid) => {
                self.wrong.insert(turn.uid.clone(), wrong);
            }
            Some(_) => self.further.0 = self.further.0.saturating_add(1),
        }
    }

    /// Whether all were looked at; then the next round begins.
    pub(crate) fn ends(&mut self, all: &[String]) -> bool {
        let over = all.last().is_none_or(|last| *last <= self.after);
        if over {
            self.whole = Some(std::mem::take(&mut self.looked));
            self.further = (0, self.further.0);
            self.after.clear();
        }
        over
    }

    /// How many there were in the last whole round.
    pub(crate) const fn whole(&self) -> Option<u64> {
        self.whole
    }

    /// How many were looked at in the last whole round, or in the first one so far.
    pub(crate) fn looked(&self) -> u64 {
        self.whole.unwrap_or(self.looked)
    }

    /// How many something is wrong with.
    pub(crate) fn many_wrong(&self) -> u64 {
        u64::try_from(self.wrong.len()).unwrap_or_default().saturating_add(self.further.0.max(self.further.1))
    }

    /// What is wrong, with as many as are kept.
    pub(crate) fn wrong(&self) -> impl Iterator<Item = (&str, &W)> {
        self.wrong.iter().map(|(uid, wrong)| (uid.as_str(), wrong))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("{n:03}")).collect()
    }

    /// One Run over things of which these are wrong. Which were looked at.
    fn run(turns: &mut Turns<()>, all: &[String], wrong: impl Fn(&str) -> bool) -> Vec<String> {
        let due = turns.due(all);
        for turn in &due {
            turns.seen(turn, wrong(&turn.uid).then_some(()));
        }
        turns.ends(all);
        due.into_iter().map(|turn| turn.uid).collect()
    }

    #[test]
    fn each_has_its_turn_and_a_wrong_one_has_it_again() {
        let (all, mut turns) = (all(25), Turns::default());
        let wrong = |uid: &str| uid == "003";
        assert_eq!(run(&mut turns, &all, wrong), all[..10]);
        let second = run(&mut turns, &all, wrong);
        assert_eq!((second[0].as_str(), &second[1..]), ("003", &all[10..20]));
        assert_eq!((turns.whole(), turns.looked()), (None, 20));
        run(&mut turns, &all, wrong);
        assert_eq!((turns.whole(), turns.looked(), turns.many_wrong()), (Some(25), 25, 1));
        assert_eq!(run(&mut turns, &all, |_| false).len(), 11);
        assert_eq!(turns.many_wrong(), 0);
        assert_eq!(run(&mut turns, &all[..5], |_| false), [""; 0], "those that are left had their turn");
        assert_eq!(turns.whole(), Some(10));
    }

    #[test]
    fn what_is_gone_is_not_wrong_and_what_is_not_kept_counts() {
        let (all, mut turns) = (all(120), Turns::default());
        for _ in 0..12 {
            run(&mut turns, &all, |_| true);
        }
        assert_eq!((turns.whole(), turns.many_wrong()), (Some(120), 120));
        run(&mut turns, &all[100..], |_| false);
        assert_eq!(turns.wrong().count(), 0);
    }

    #[test]
    fn nothing_at_all_is_a_whole_round() {
        let mut turns = Turns::default();
        run(&mut turns, &[], |_| true);
        assert_eq!((turns.whole(), turns.many_wrong()), (Some(0), 0));
    }
}
