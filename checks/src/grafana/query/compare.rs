//! Whether what comes back another way is what Loki itself answers.

use crate::outcome::Outcome;

use super::window::{Lines, Window, worded};
use super::{COUNT_DIFFERS, DIFFERS, EMPTY_ANSWER, NOT_COMPARED};

/// Loki's own answers: before the others were asked, and after.
#[derive(Debug)]
pub(super) struct Own<'a> {
    pub(super) before: &'a Lines,
    pub(super) after: After,
}

/// What Loki answered when it was asked again. Lines only ever join, so whatever the others saw must be among them.
#[derive(Debug)]
pub(super) enum After {
    /// It was not asked: nobody had more than before.
    NotAsked,
    /// These.
    Lines(Lines),
    /// Nothing that can be compared with; why.
    Unusable(String),
}

impl Own<'_> {
    /// All of Loki's lines are there, and nothing that is not in Loki by now. `whose`: whose answer it is.
    pub(super) fn has_lines(&self, theirs: &Lines, whose: &str, clip: impl Fn(&str) -> String) -> Result<(), Outcome> {
        let ours = self.before;
        if theirs.is_empty() && !ours.is_empty() {
            return Err(EMPTY_ANSWER.because(format!("{whose} answer is empty; Loki has {} lines", ours.len())));
        }
        let mut missing = ours.difference(theirs);
        if let Some(first) = missing.next() {
            let (count, of, has) = (1 + missing.count(), ours.len(), theirs.len());
            let first = clip(&worded(first));
            return Err(DIFFERS.because(format!("{count} of Loki's {of} lines are not among {whose} {has}, first {first}")));
        }
        if theirs.len() == ours.len() {
            return Ok(());
        }
        let after = self.after()?;
        let mut extra = theirs.difference(after);
        match extra.next() {
            None => Ok(()),
            Some(first) => {
                let (count, of, first) = (1 + extra.count(), theirs.len(), clip(&worded(first)));
                Err(DIFFERS.because(format!("{count} of {whose} {of} lines are not in Loki, first {first}")))
            }
        }
    }

    /// Whether a number of lines is more than Loki had before.
    pub(super) fn had_fewer(&self, window: Window, count: u64) -> bool {
        window.counted(self.before) < count
    }

    /// A count of the lines is what Loki has.
    pub(super) fn has_count(&self, window: Window, count: u64) -> Result<(), Outcome> {
        let least = window.counted(self.before);
        if count == 0 && least > 0 {
            return Err(EMPTY_ANSWER.because(format!("Grafana counts nothing; Loki has {least} lines")));
        }
        if count < least {
            return Err(COUNT_DIFFERS.because(format!("Grafana counts {count} lines, Loki has {least}")));
        }
        if count > least {
            let most = window.counted(self.after()?);
            if count > most {
                return Err(COUNT_DIFFERS.because(format!("Grafana counts {count} lines, Loki has {most}")));
            }
        }
        Ok(())
    }

    fn after(&self) -> Result<&Lines, Outcome> {
        match &self.after {
            After::Lines(lines) => Ok(lines),
            After::NotAsked => Err(NOT_COMPARED.because("more lines than Loki had before, and it was not asked again")),
            After::Unusable(why) => Err(NOT_COMPARED.because(format!("lines came while we asked: {why}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window { start: 1000, end: 2000 };

    fn lines(millis: &[i64]) -> Lines {
        millis.iter().map(|at| (at * 1_000_000, at.to_string())).collect()
    }

    fn judged(before: &[i64], after: Option<&[i64]>, count: u64) -> String {
        let before = lines(before);
        let after = after.map_or(After::NotAsked, |after| After::Lines(lines(after)));
        let outcome = Own { before: &before, after }.has_count(WINDOW, count);
        outcome.map_or_else(|outcome| outcome.reason().unwrap().to_string(), |()| "same".to_owned())
    }

    #[test]
    fn a_count_lies_between_what_loki_had_before_and_has_after() {
        for (before, after, count, expected) in [
            (&[1500, 1600][..], None, 2, "same"),
            (&[1500, 1600], None, 1, "count_differs"),
            (&[1500, 1600], None, 0, "empty_answer"),
            (&[1500, 1600], None, 3, "not_compared"),
            (&[1500, 1600], Some(&[1500, 1600, 1700][..]), 3, "same"),
            (&[1500, 1600], Some(&[1500, 1600]), 3, "count_differs"),
            // The count is of what lies after the start, up to a millisecond before the end.
            (&[1000, 1500, 1999], None, 2, "same"),
            (&[], None, 0, "same"),
        ] {
            assert_eq!(judged(before, after, count), expected, "{before:?} {after:?} {count}");
        }
    }
}
