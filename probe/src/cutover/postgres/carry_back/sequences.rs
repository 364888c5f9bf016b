//! Sequences: the old server goes on counting from where the new one has come to.

use std::collections::BTreeMap;
use std::time::Duration;

use checks::postgres::by_hand::Hand;

use super::super::super::doctor::Finding;
use super::super::super::trouble::Trouble;
use super::tables::{ask, number};
use crate::exit::Exit;

/// Sequences that are asked in one statement.
const AT_ONCE: usize = 100;

const ALL: &str = "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name, q.seqincrement AS step, \
     has_sequence_privilege(c.oid, 'UPDATE') AS settable \
     FROM pg_sequence q JOIN pg_class c ON c.oid = q.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
     WHERE c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'phasegate') ORDER BY 1";

/// Where a sequence stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At {
    step: i64,
    last: i64,
    called: bool,
    settable: bool,
}

impl At {
    /// Whether it is further than the other, in its own direction.
    fn is_beyond(self, other: Self) -> bool {
        if self.last == other.last {
            return self.called && !other.called;
        }
        (self.last > other.last) == (self.step > 0)
    }
}

/// Sequences of a server, by name.
pub(super) async fn read(hand: &mut Hand, limit: Duration) -> Result<BTreeMap<String, At>, Trouble> {
    let rows = ask(hand, ALL, limit).await?;
    let mut steps = Vec::new();
    for row in &rows {
        let name = row.text("name").unwrap_or_default().to_owned();
        steps.push((name, number::<i64>(hand.place(), Some(row), "step")?, row.yes("settable")));
    }
    let mut sequences = BTreeMap::new();
    for some in steps.chunks(AT_ONCE) {
        let each = some.iter().map(|(name, _, _)| {
            format!("SELECT '{}' AS name, last_value AS last, is_called AS called FROM {name}", name.replace('\'', "''"))
        });
        let values = ask(hand, &each.collect::<Vec<_>>().join(" UNION ALL "), limit).await?;
        for (name, step, settable) in some {
            let row = values.iter().find(|row| row.text("name") == Some(name));
            let last = number(hand.place(), row, "last")?;
            let called = row.is_some_and(|row| row.yes("called"));
            sequences.insert(name.clone(), At { step: *step, last, called, settable: *settable });
        }
    }
    Ok(sequences)
}

/// Sequences of the old server that are behind, each with where it is to stand, and what keeps some from being raised.
pub(super) fn behind(new: &BTreeMap<String, At>, old: &BTreeMap<String, At>) -> (Vec<(String, At)>, Vec<Finding>) {
    let (mut behind, mut findings) = (Vec::new(), Vec::new());
    for (name, at) in new {
        let hindrance = match old.get(name) {
            Some(there) if there.step.signum() != at.step.signum() => "counts in the other direction on the old server",
            Some(there) if !at.is_beyond(*there) => continue,
            Some(there) if there.settable => {
                behind.push((name.clone(), *at));
                continue;
            }
            Some(_) => {
                let next = "log in as its owner, or as a superuser";
                let text = format!("sequence {name} is behind on the old server, and the role may not raise it");
                findings.push(Finding::problem("sequences", Exit::AUTH, text, next));
                continue;
            }
            None => "is not on the old server",
        };
        let next = "make the sequence there what it is on the new server; nothing was changed";
        findings.push(Finding::problem("sequences", Exit::CLOSED, format!("sequence {name} {hindrance}"), next));
    }
    (behind, findings)
}

/// Has them stand there. No rollback takes it back: it may leave a gap, and is done last.
pub(super) async fn raise(hand: &mut Hand, behind: &[(String, At)], limit: Duration) -> Result<(), Trouble> {
    for some in behind.chunks(AT_ONCE) {
        let each =
            some.iter().map(|(name, at)| format!("setval('{}'::regclass, {}, {})", name.replace('\'', "''"), at.last, at.called));
        ask(hand, &format!("SELECT {}", each.collect::<Vec<_>>().join(", ")), limit).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(step: i64, last: i64, called: bool) -> At {
        At { step, last, called, settable: true }
    }

    #[test]
    fn further_is_in_its_own_direction() {
        assert!(at(1, 8, true).is_beyond(at(1, 7, true)));
        assert!(!at(1, 7, true).is_beyond(at(1, 8, true)));
        assert!(at(-1, -8, true).is_beyond(at(-1, -7, true)));
        assert!(!at(-1, -7, true).is_beyond(at(-1, -8, true)));
        assert!(at(1, 7, true).is_beyond(at(1, 7, false)) && !at(1, 7, false).is_beyond(at(1, 7, true)));
    }

    #[test]
    fn those_that_are_behind_are_raised_and_no_other() {
        let of = |sequences: &[(&str, At)]| sequences.iter().map(|(name, at)| ((*name).to_owned(), *at)).collect();
        let new = of(&[("p.a", at(1, 9, true)), ("p.b", at(1, 3, true)), ("p.c", at(1, 1, true)), ("p.d", at(-1, 1, true))]);
        let old = of(&[("p.a", at(1, 7, true)), ("p.b", at(1, 4, true)), ("p.d", at(1, 1, true))]);
        let (raised, findings) = behind(&new, &old);
        assert_eq!(raised, [("p.a".to_owned(), at(1, 9, true))]);
        let texts: Vec<_> = findings.iter().map(|finding| finding.text.as_str()).collect();
        assert_eq!(
            texts,
            ["sequence p.c is not on the old server", "sequence p.d counts in the other direction on the old server"]
        );
        let held = of(&[("p.a", At { settable: false, ..at(1, 7, true) })]);
        let (raised, findings) = behind(&of(&[("p.a", at(1, 9, true))]), &held);
        assert!(raised.is_empty() && findings[0].text.contains("may not raise it"));
    }
}
