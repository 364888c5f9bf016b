//! What the canary remembers, and what a row means in its light. No I/O: a crash of the verifier may have made it older than the
//! row, and nothing here may take that for damage, or damage for that.

use std::hash::BuildHasher;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::outcome::{Outcome, ReasonSpec};

use super::burden::Latencies;
use super::{ANOTHER_WRITER, COMMIT_LOST, NOT_COMPARABLE, ROW_LOST};

/// A lost commit is told for at least so many looks, whatever the wall clock does meanwhile.
const LEAST_LOOKS: u32 = 10;

/// What the canary remembers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    /// The database that all of this is about.
    identity: String,
    /// Whom the row names when it is ours: a random number, so that another verifier is told from this one.
    writer: String,
    /// The highest number that is known to be committed; none before the first.
    committed: Option<i64>,
    /// When the server had been started then.
    boot: String,
    /// A number was sent, and the answer never came: it may be committed, or not.
    doubt: bool,
    /// The last look found the row further on than it should be.
    ahead: bool,
    /// Damage that is told for a while after it was seen.
    held: Option<Held>,
    /// What the last commits took.
    #[serde(default)]
    pub(super) latencies: Latencies,
}

/// Damage that was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Held {
    damage: Damage,
    evidence: String,
    since: DateTime<Utc>,
    looks: u32,
}

/// What a look can find that must not be forgotten with the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Damage {
    Row,
    Commit,
    Writer,
}

impl Damage {
    const ALL: [Self; 3] = [Self::Row, Self::Commit, Self::Writer];

    const fn reason(self) -> ReasonSpec {
        match self {
            Self::Row => ROW_LOST,
            Self::Commit => COMMIT_LOST,
            Self::Writer => ANOTHER_WRITER,
        }
    }
}

/// The row, as it stands in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// The number.
    pub(super) beat: i64,
    /// Who wrote it.
    pub(super) writer: String,
    /// The database that the table was made in.
    pub(super) home: String,
    /// How large table and index are, in bytes.
    pub(super) bytes: i64,
}

impl Memory {
    /// Goes on with what is about this database; of another one nothing is known yet.
    pub(super) fn about(self, identity: &str) -> Self {
        let named = !self.writer.is_empty() && self.writer.bytes().all(|byte| byte.is_ascii_hexdigit());
        if self.identity == identity && named {
            return self;
        }
        // The standard library's own random keys: they only have to differ between verifiers.
        let random = std::hash::RandomState::new().hash_one(identity);
        Self { identity: identity.to_owned(), writer: format!("{random:016x}"), ..Self::default() }
    }

    /// Whom the row names when it is ours.
    pub(super) fn writer(&self) -> &str {
        &self.writer
    }

    /// Whether anything was ever committed here.
    pub(super) fn has_committed(&self) -> bool {
        self.committed.is_some()
    }

    /// The number below which none may be written again.
    pub(super) fn floor(&self) -> i64 {
        self.committed.unwrap_or_default()
    }

    /// Compares the row with what was committed.
    pub(super) fn compare(&mut self, place: &str, row: &Row, boot: &str) -> Result<(), Outcome> {
        let Some(committed) = self.committed else { return Ok(()) };
        let (beat, restarted) = (row.beat, self.boot != boot);
        if beat < committed {
            let since = if restarted { "; the server was restarted since" } else { "" };
            return Err(COMMIT_LOST.because(format!("{place}: number {committed} was committed, the row has {beat}{since}")));
        }
        if row.writer != self.writer {
            return Err(ANOTHER_WRITER.because(format!("{place}: number {beat} is by {}, not by {}", row.writer, self.writer)));
        }
        let expected = beat == committed || self.doubt && beat == committed.saturating_add(1);
        let again = std::mem::replace(&mut self.ahead, !expected);
        self.committed = Some(beat);
        if expected {
            return Ok(());
        }
        if again {
            let words = "the row runs ahead twice in a row, under this verifier's own name";
            return Err(ANOTHER_WRITER.because(format!("{place}: {words}: {beat} instead of {committed}")));
        }
        if restarted {
            let words = "this verifier remembers an older number, and the server was restarted since";
            return Err(NOT_COMPARABLE.because(format!("{place}: the row has {beat}, {words}")));
        }
        Ok(())
    }

    /// A number is about to be sent.
    pub(super) fn sends(&mut self) {
        self.doubt = true;
    }

    /// The server has acknowledged a number.
    pub(super) fn acknowledged(&mut self, beat: i64, boot: &str) {
        self.committed = Some(beat);
        boot.clone_into(&mut self.boot);
        self.doubt = false;
    }

    /// What to say of a look: damage is told for `hold` after it was seen, and for some looks at least.
    pub(super) fn told(&mut self, seen: Outcome, now: DateTime<Utc>, hold: Duration) -> Outcome {
        let damage = Damage::ALL.into_iter().find(|damage| seen.reason() == Some(&damage.reason().into()));
        if let Some(damage) = damage {
            self.held = Some(Held { damage, evidence: seen.evidence().to_string(), since: now, looks: 1 });
            return seen;
        }
        let Some(held) = &mut self.held else { return seen };
        // A wall clock that was set back would hold it for ever.
        held.since = held.since.min(now);
        held.looks = held.looks.saturating_add(1);
        let age = (now - held.since).to_std().unwrap_or_default();
        if age >= hold && held.looks > LEAST_LOOKS {
            self.held = None;
            return seen;
        }
        if !matches!(seen, Outcome::Pass { .. }) {
            return seen;
        }
        let left = hold.saturating_sub(age).as_secs();
        let told = held.damage.reason();
        told.because(format!("{} (seen {} s ago, and told for {left} s more)", held.evidence, age.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: &str = "me@host:5432/app";
    const HOLD: Duration = Duration::from_mins(5);

    /// After one number that was acknowledged while the server had its first start.
    fn after(beat: i64) -> Memory {
        let mut memory = Memory::default().about("7/16384");
        memory.sends();
        memory.acknowledged(beat, "first");
        memory
    }

    fn row(beat: i64, writer: &str) -> Row {
        Row { beat, writer: writer.to_owned(), home: "7/16384".into(), bytes: 8192 }
    }

    /// What a row means to this memory.
    fn fate(memory: &mut Memory, beat: i64, writer: &str, boot: &str) -> String {
        let fate = memory.compare(PLACE, &row(beat, writer), boot);
        fate.err().map_or_else(|| "fine".to_owned(), |outcome| outcome.reason().unwrap().to_string())
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + chrono::TimeDelta::seconds(seconds)
    }

    #[test]
    fn the_number_that_was_acknowledged_must_be_there() {
        for boot in ["first", "second"] {
            for (beat, expected) in [(7, "fine"), (6, "commit_lost"), (0, "commit_lost")] {
                let mut memory = after(7);
                let writer = memory.writer().to_owned();
                assert_eq!(fate(&mut memory, beat, &writer, boot), expected, "{beat} {boot}");
            }
        }
        let mut memory = after(7);
        assert_eq!(fate(&mut memory, 6, "somebody", "first"), "commit_lost", "an older row is a loss, whoever wrote it");
    }

    #[test]
    fn a_memory_that_is_older_than_the_row_is_no_damage() {
        let mut memory = after(7);
        let writer = memory.writer().to_owned();
        assert_eq!(fate(&mut memory, 12, &writer, "first"), "fine");
        memory.sends();
        memory.acknowledged(13, "first");
        assert_eq!(fate(&mut memory, 13, &writer, "first"), "fine");
        assert_eq!(fate(&mut memory, 12, &writer, "first"), "commit_lost", "and from then on it counts again");
    }

    #[test]
    fn a_memory_that_is_older_proves_nothing_across_a_restart_of_the_server() {
        let mut memory = after(7);
        let writer = memory.writer().to_owned();
        assert_eq!(fate(&mut memory, 12, &writer, "second"), "not_comparable");
        memory.sends();
        memory.acknowledged(13, "second");
        assert_eq!(fate(&mut memory, 13, &writer, "second"), "fine");
    }

    #[test]
    fn a_number_whose_answer_never_came_may_be_there_or_not() {
        for beat in [7, 8] {
            let mut memory = after(7);
            memory.sends();
            let writer = memory.writer().to_owned();
            assert_eq!(fate(&mut memory, beat, &writer, "second"), "fine");
            assert_eq!(memory.floor(), beat);
        }
    }

    #[test]
    fn another_writer_is_told_by_its_name_or_by_running_ahead() {
        let mut memory = after(7);
        assert_eq!(fate(&mut memory, 8, "somebody", "first"), "another_writer");
        assert_eq!(fate(&mut memory, 7, "somebody", "first"), "another_writer");
        // A copy of this verifier's state has the same name.
        let mut memory = after(7);
        let writer = memory.writer().to_owned();
        assert_eq!(fate(&mut memory, 8, &writer, "first"), "fine");
        memory.sends();
        memory.acknowledged(9, "first");
        assert_eq!(fate(&mut memory, 10, &writer, "first"), "another_writer");
    }

    #[test]
    fn of_another_database_nothing_is_known() {
        let mut memory = after(7).about("8/16384");
        assert!(!memory.has_committed());
        assert_eq!(memory.floor(), 0);
        assert_eq!(fate(&mut memory, 3, "whoever", "first"), "fine");
        let same = after(7);
        assert_eq!(same.clone().about("7/16384"), same);
    }

    #[test]
    fn two_verifiers_have_two_names() {
        assert_ne!(after(1).writer(), after(1).writer());
        let hostile = Memory { writer: "'; DROP TABLE x; --".into(), ..after(7) };
        assert!(hostile.about("7/16384").writer().bytes().all(|byte| byte.is_ascii_hexdigit()));
    }

    #[test]
    fn damage_is_told_for_its_time_and_for_some_looks_whatever_the_clock_does() {
        let label = |memory: &mut Memory, seconds| memory.told(Outcome::pass("fine"), at(seconds), HOLD).label();
        let mut slow = after(7);
        assert_eq!(slow.told(COMMIT_LOST.because("7 is gone"), at(0), HOLD).label(), "fail");
        for look in 1..300 {
            assert_eq!(label(&mut slow, look), "fail", "second {look}");
        }
        assert_eq!(label(&mut slow, 300), "pass");
        assert_eq!(label(&mut slow, 301), "pass");

        let mut jumping = after(7);
        drop(jumping.told(COMMIT_LOST.because("7 is gone"), at(1_000_000), HOLD));
        assert_eq!(label(&mut jumping, 0), "fail", "the clock was set back");
        for look in 0..8 {
            assert_eq!(label(&mut jumping, 9_000_000), "fail", "the clock jumped ahead, look {look}");
        }
        assert_eq!(label(&mut jumping, 9_000_000), "pass");
    }

    #[test]
    fn while_damage_is_told_what_is_seen_now_comes_first() {
        let mut memory = after(7);
        drop(memory.told(COMMIT_LOST.because("7 is gone"), at(0), HOLD));
        let now = memory.told(NOT_COMPARABLE.because("x"), at(1), HOLD);
        assert_eq!(now.label(), "unknown");
        let held = memory.told(Outcome::pass("fine"), at(2), HOLD);
        assert_eq!(held.reason(), Some(&COMMIT_LOST.into()));
        assert!(held.evidence().as_str().starts_with("7 is gone (seen 2 s ago"), "{held:?}");
    }

    #[test]
    fn it_is_small_and_survives_a_round_trip() {
        let mut memory = after(7);
        drop(memory.told(COMMIT_LOST.because("x".repeat(5000)), at(0), HOLD));
        let bytes = serde_json::to_vec(&memory).unwrap();
        assert!(bytes.len() < 4096, "{}", bytes.len());
        assert_eq!(serde_json::from_slice::<Memory>(&bytes).unwrap(), memory);
    }
}
