//! A server that answers all that a check asks, and each of its answers spoilt in every way: none of it may come to a Pass.

use std::time::Duration;

use futures::stream::{self, StreamExt as _};

use super::super::{Manner, Reply, Server};
use super::{Dsn, context_of, dsn, error, ready, rows};
use crate::check::Check;
use crate::outcome::{Outcome, Step};
use crate::{Context, Facts};

/// The words by which a question is known, and the answer: one row of these columns, so many times.
type Answer = (&'static str, Vec<(&'static str, &'static str)>, usize);

/// All that a server says.
#[derive(Debug, Clone)]
pub(crate) struct Script(pub(crate) Vec<Answer>);

/// What becomes of one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Harm {
    /// It has so many rows.
    Rows(usize),
    /// A column is left out.
    Without(&'static str),
    /// A column says this.
    Says(&'static str, &'static str),
    /// It breaks off after so many eighths, and the connection closes.
    Cut(usize),
    /// It does not come.
    Silence,
    /// An error instead.
    Refusal,
}

impl Script {
    /// Which server it is, for checks that read one, or compare two.
    pub(crate) fn of(system: &'static str) -> Self {
        Self(vec![("pg_control_system", vec![("system", system), ("database", "16384"), ("version", "170001")], 1)])
    }

    /// Two that are not the same: a lock that is taken at the first is not seen at the other.
    pub(crate) fn two() -> [Self; 2] {
        let (taken, seen) = (vec![("taken", "t")], vec![("seen", "0")]);
        [Self::of("1").and(&[("pg_try_advisory_lock", taken, 1)]), Self::of("2").and(&[("pg_locks", seen, 1)])]
    }

    /// And this.
    pub(crate) fn and(mut self, answers: &[Answer]) -> Self {
        self.0.extend_from_slice(answers);
        self
    }

    /// As it is.
    fn manner(&self) -> Manner {
        Manner::Answers(self.0.iter().map(|(words, columns, count)| (*words, Reply::Say(rows(columns, *count)))).collect())
    }

    /// With one answer spoilt.
    fn with(&self, which: usize, harm: Harm) -> Manner {
        let spoilt = |(at, (words, columns, count)): (usize, &Answer)| {
            if at != which {
                return (*words, Reply::Say(rows(columns, *count)));
            }
            let whole = rows(columns, (*count).max(1));
            let reply = match harm {
                Harm::Rows(count) => Reply::Say(rows(columns, count)),
                Harm::Without(name) => {
                    let rest: Vec<_> = columns.iter().filter(|column| column.0 != name).copied().collect();
                    Reply::Say(rows(&rest, (*count).max(1)))
                }
                Harm::Says(name, value) => {
                    let other: Vec<_> =
                        columns.iter().map(|column| if column.0 == name { (column.0, value) } else { *column }).collect();
                    Reply::Say(rows(&other, (*count).max(1)))
                }
                Harm::Cut(eighths) => Reply::Last(whole[..whole.len() * eighths / 8].to_vec()),
                Harm::Silence => Reply::Silence,
                Harm::Refusal => Reply::Say([error("XX000"), ready()].concat()),
            };
            (*words, reply)
        };
        Manner::Answers(self.0.iter().enumerate().map(spoilt).collect())
    }

    /// Every harm to every answer, with the words of the question.
    fn spoilt(&self) -> Vec<(&'static str, Harm, Manner)> {
        let mut all = Vec::new();
        for (which, (words, columns, count)) in self.0.iter().enumerate() {
            let mut harms = vec![Harm::Silence, Harm::Refusal, Harm::Rows(usize::from(*count == 0)), Harm::Rows(count + 1)];
            harms.extend((0..8).map(Harm::Cut));
            for (name, value) in columns {
                harms.push(Harm::Without(name));
                harms.extend(["NULL", "<b>", ""].into_iter().filter(|other| other != value).map(|other| Harm::Says(name, other)));
            }
            all.extend(harms.into_iter().map(|harm| (*words, harm, self.with(which, harm))));
        }
        all
    }
}

/// Two honest servers pass; with any one answer of either spoilt, nothing does, but what is `harmless`.
pub(crate) async fn none_passes<C: Check>(check: &C, sides: [Script; 2], facts: Facts, harmless: impl Fn(&str, Harm) -> bool) {
    let honest = || sides.clone().map(|side| side.manner());
    let said = reasons(check, honest(), &facts, Duration::from_secs(20)).await;
    assert!(!said.is_empty() && said.iter().all(|reason| reason == "pass"), "{said:?}");
    let mut cases = Vec::new();
    for side in 0..2 {
        for (words, harm, manner) in sides[side].spoilt() {
            let mut both = honest();
            both[side] = manner;
            cases.push((format!("{}: {words}: {harm:?}", ["old", "new"][side]), harmless(words, harm), both));
        }
    }
    let looks = cases.into_iter().map(|(name, harmless, both)| {
        let facts = &facts;
        async move { (name, harmless, reasons(check, both, facts, Duration::from_millis(400)).await) }
    });
    let said: Vec<_> = stream::iter(looks).buffer_unordered(8).collect().await;
    let endless = said.iter().filter(|(_, _, said)| said.is_empty());
    let passed = said.iter().filter(|(_, harmless, said)| !harmless && said.iter().all(|reason| reason == "pass"));
    let wrong: Vec<_> = endless.chain(passed).map(|(name, _, said)| format!("{name}: {said:?}")).collect();
    assert!(said.len() > 50 && wrong.is_empty(), "of {} answers:\n{}", said.len(), wrong.join("\n"));
}

/// What a check comes to in the end, each part by its reason, all of them declared; a server that is away is waited for. Nothing: it goes
/// on for ever.
async fn reasons<C: Check>(check: &C, [old, new]: [Manner; 2], facts: &Facts, timeout: Duration) -> Vec<String> {
    let (old, new) = (Server::start(old).await, Server::start(new).await);
    let (old, new) = (Dsn::new(&dsn(old.address, "disable")), Dsn::new(&dsn(new.address, "disable")));
    let mut cx = Context { facts: facts.clone().into(), timeout, ..context_of([("old", &old), ("new", &new)]) };
    let mut memory = C::Memory::default();
    for _ in 0..20 {
        let report = check.run(&cx, memory).await;
        memory = report.memory;
        cx.now += Duration::from_mins(1);
        if let Step::Done(parts) = report.step {
            let said: String = parts.values().map(|outcome| outcome.evidence().to_string()).collect();
            assert!(!said.contains("hunter2"), "{said}");
            let declared = |outcome: &Outcome| match outcome.reason() {
                None => "pass".to_owned(),
                Some(reason) => {
                    assert!(C::META.reasons().any(|spec| spec.name == reason.as_str()), "{reason} is not declared");
                    reason.to_string()
                }
            };
            return parts.values().map(declared).collect();
        }
    }
    Vec::new()
}
