//! What proofs about a database share that go on over many Runs: the few finds that are named, how much is asked at once, and which
//! trouble is waited out. How much is asked goes by the Run's timeout; what reads every row of a live server goes by `content::Piece`, which
//! keeps to a fixed span, and rests in between.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_postgres::error::SqlState;

use crate::net::reasons;
use crate::outcome::{Outcome, ReasonSpec};

use super::{NOT_ACCEPTING, Refusal, TOO_MANY_CONNECTIONS};

/// Somebody else has what is to be looked at.
pub(super) const LOCKED: ReasonSpec = ReasonSpec::unknown(
    "locked",
    "find out who holds a lock on what is to be read (`pg_locks`, `pg_stat_activity`), and wait for it or end it",
);

/// Finds that are told in words.
const SHOWN: usize = 3;
/// Characters that are told of each: names on a hostile server may be long.
const LONGEST: usize = 250;

/// What was found: all of it counted, the first in words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Found {
    count: u64,
    shown: Vec<String>,
}

impl Found {
    /// One more.
    pub(super) fn add(&mut self, words: &str) {
        self.count = self.count.saturating_add(1);
        if self.shown.len() < SHOWN {
            self.shown.push(words.chars().take(LONGEST).collect());
        }
    }

    /// How many in all.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Nothing.
    pub(super) fn is_none(&self) -> bool {
        self.count == 0
    }

    /// The first of them, and how many more there are.
    pub(super) fn in_words(&self) -> String {
        let shown = self.shown.join("; ");
        match self.count.saturating_sub(u64::try_from(self.shown.len()).unwrap_or_default()) {
            0 => shown,
            more => format!("{shown}; and {more} more"),
        }
    }

    /// The outcome of a reason that there is something.
    pub(super) fn because(&self, reason: ReasonSpec, place: &str) -> Option<Outcome> {
        (!self.is_none()).then(|| reason.because(format!("{place}: {}", self.in_words())))
    }
}

/// How many blocks of a table are read with one question: as many as take a small part of a Run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Blocks(u32);

impl Default for Blocks {
    fn default() -> Self {
        Self(4096)
    }
}

impl Blocks {
    const LEAST: u32 = 16;
    const MOST: u32 = 1 << 18;

    /// So many.
    pub(super) fn count(self) -> u64 {
        u64::from(self.0.clamp(Self::LEAST, Self::MOST))
    }

    /// The last question took so long.
    pub(super) fn took(&mut self, elapsed: Duration, timeout: Duration) {
        if elapsed > timeout / 10 {
            self.0 = (self.0 / 2).max(Self::LEAST);
        } else if elapsed < timeout / 40 {
            self.0 = self.0.saturating_mul(2).min(Self::MOST);
        }
    }

    /// The last question was not answered in time. Whether fewer can be asked for.
    pub(super) fn shrink(&mut self) -> bool {
        let can = self.0 > Self::LEAST;
        self.0 = (self.0 / 8).max(Self::LEAST);
        can
    }
}

/// Why a Run came no further.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    /// What it means.
    pub(super) outcome: Outcome,
    /// Whether it goes away by itself, as a restart does.
    pub(super) passing: bool,
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Self {
        // What was listed a moment ago is gone, or somebody holds a lock on it.
        let moved = [SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_COLUMN, SqlState::LOCK_NOT_AVAILABLE];
        let moved = refusal.code.as_ref().is_some_and(|code| moved.contains(code))
            || refusal.code == Some(SqlState::INTERNAL_ERROR) && refusal.words.contains("with OID");
        let locked = refusal.code == Some(SqlState::LOCK_NOT_AVAILABLE);
        let outcome = if locked { LOCKED.because(refusal.words) } else { Outcome::from(refusal) };
        let passing = moved || Self::is_of_the_server(&outcome);
        Self { outcome, passing }
    }
}

impl From<Outcome> for Trouble {
    fn from(outcome: Outcome) -> Self {
        let passing = Self::is_of_the_server(&outcome);
        Self { outcome, passing }
    }
}

impl Trouble {
    fn is_of_the_server(outcome: &Outcome) -> bool {
        let of_it = [NOT_ACCEPTING, TOO_MANY_CONNECTIONS];
        reasons::NETWORK.iter().chain(&of_it).any(|spec| outcome.reason() == Some(&(*spec).into()))
    }
}

/// Whether it was our own limit that ended a statement.
pub(super) fn took_too_long(refusal: &Refusal) -> bool {
    refusal.code == Some(SqlState::QUERY_CANCELED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::QUERY_FAILED;

    #[test]
    fn the_first_finds_are_named_and_all_are_counted() {
        let mut found = Found::default();
        assert!(found.is_none());
        for number in 0..5 {
            found.add(&format!("{number}{}", "x".repeat(1000)));
        }
        let words = found.in_words();
        assert!(words.len() < 800 && words.starts_with("0x") && words.ends_with("; and 2 more"), "{words}");
    }

    #[test]
    fn questions_grow_and_shrink_within_bounds() {
        let (mut blocks, timeout) = (Blocks::default(), Duration::from_secs(10));
        blocks.took(Duration::from_millis(1), timeout);
        assert_eq!(blocks.count(), 8192);
        blocks.took(Duration::from_secs(5), timeout);
        assert_eq!(blocks.count(), 4096);
        assert!(blocks.shrink());
        while blocks.shrink() {}
        assert_eq!(blocks.count(), 16);
        for _ in 0..40 {
            blocks.took(Duration::ZERO, timeout);
        }
        assert_eq!(blocks.count(), 1 << 18);
    }

    #[test]
    fn what_moves_while_it_is_looked_at_is_looked_at_again() {
        let refusal = |code: Option<SqlState>, words: &str| Refusal { reason: QUERY_FAILED, code, words: words.to_owned() };
        assert!(Trouble::from(refusal(Some(SqlState::UNDEFINED_TABLE), "")).passing);
        assert!(Trouble::from(refusal(Some(SqlState::INTERNAL_ERROR), "could not open relation with OID 7")).passing);
        assert!(!Trouble::from(refusal(Some(SqlState::INTERNAL_ERROR), "no")).passing);
        assert!(!Trouble::from(refusal(None, "")).passing);
        assert!(Trouble::from(reasons::REFUSED.because("")).passing);
    }
}
