//! Part by part: digests first, then what is in the buckets that differ, then once more what differs.

use futures::future::BoxFuture;
use tokio::time::Instant;
use tokio_postgres::error::SqlState;

use crate::net::{Budget, reasons};
use crate::outcome::Outcome;
use crate::postgres::{NOT_ACCEPTING, TOO_MANY_CONNECTIONS};

use super::ask::{self, Question};
use super::compare::{compare, differing};
use super::part::Part;
use super::questions::hidden_settings;
use super::scan::{Counts, Found, Scan, Walk};
use super::sides::{Both, Sides};
use super::{Came, HIDDEN_SETTING, NOTHING, PostgresCatalog, told};

/// How many things a bucket should have.
const IN_A_BUCKET: u64 = 128;
/// Most buckets of one part.
const MAX_BUCKETS: u64 = 512;
/// How many things' names are asked for at once.
const AT_ONCE: u64 = 2000;
/// How much one session reads before the next Run goes on with a new one, which is well below what it may.
const IN_A_RUN: usize = 384 * 1024;

/// Whether an outcome is about a server or the way to it, or about somebody who changes the catalog at this moment.
pub(super) fn may_pass_away(outcome: &Outcome) -> bool {
    let passing = [NOT_ACCEPTING, TOO_MANY_CONNECTIONS];
    let said = outcome.evidence().as_str();
    let in_between = [SqlState::LOCK_NOT_AVAILABLE, SqlState::INTERNAL_ERROR]
        .iter()
        .any(|code| said.contains(&format!("SQLSTATE {}", code.code())));
    in_between || reasons::NETWORK.iter().chain(&passing).any(|spec| outcome.reason() == Some(&(*spec).into()))
}

impl PostgresCatalog {
    /// Goes on until the end, or until this Run's share of time or bytes is used up. `Err` when a server does not answer.
    pub(super) async fn look(&self, sides: &mut Sides, scan: &mut Scan, budget: Budget) -> Result<Came, Outcome> {
        // The last question has a quarter of the time for its answer.
        let pause = budget.start + budget.timeout() * 3 / 4;
        while let Some(part) = scan.part(&self.parts) {
            match Box::pin(self.step(sides, part, scan, None, budget)).await {
                Ok(()) => scan.answered(),
                Err(trouble) if may_pass_away(&trouble) => return Err(trouble),
                Err(trouble) => {
                    scan.answered();
                    scan.finish(part, trouble, Counts::default());
                    if part == Part::ServerSettings {
                        sides.clear(budget).await?;
                    }
                }
            }
            let spent = Instant::now() >= pause || sides.spent >= IN_A_RUN;
            if spent && scan.part(&self.parts).is_some() {
                return Ok(Came::OnTheWay(told::progress(scan, &self.parts)));
            }
        }
        Ok(Came::ToTheEnd)
    }

    /// Does what is next in a part.
    async fn step(
        &self,
        sides: &mut Sides,
        part: Part,
        scan: &mut Scan,
        besides: Option<&str>,
        budget: Budget,
    ) -> Result<(), Outcome> {
        let questions = sides.questions(part, &self.except, besides);
        let Some(walk) = &mut scan.walk else {
            return begin(sides, part, &questions, scan, budget).await;
        };
        let these = walk.next(AT_ONCE);
        if these.is_empty() {
            let found = once_more(sides, &questions, walk, budget).await?;
            scan.finish(part, told::outcome(part, &found), found.counts);
            return Ok(());
        }
        let buckets = walk.buckets;
        let both = sides.ask(&questions, |question| question.names(buckets, &these), ask::names, budget).await?;
        walk.add(differing(&both.old, &both.new));
        Ok(())
    }

    /// What is really there, as if the new database lacked one relation.
    pub(super) fn look_wrong<'a>(&'a self, sides: &'a mut Sides, budget: Budget) -> BoxFuture<'a, Result<Outcome, Outcome>> {
        Box::pin(async move {
            let questions = sides.questions(Part::Relations, &self.except, None);
            let first = sides.ask(&questions, Question::first, ask::list, budget).await?;
            let Some(first) = first.old.first() else {
                return Err(NOTHING.because(format!("{} has no tables", sides.pair.old.place)));
            };
            let mut scan = Scan::begin(sides.pair.identities(&self.old, &self.new));
            while !scan.done.contains_key(&Part::Relations) {
                self.step(sides, Part::Relations, &mut scan, Some(first), budget).await?;
            }
            let finished = scan.done.remove(&Part::Relations);
            finished.map(|finished| finished.outcome).ok_or_else(|| NOTHING.because("no tables were compared"))
        })
    }
}

/// Compares the digests of a part: it is finished if they are the same, and looked into if not.
async fn begin(
    sides: &mut Sides,
    part: Part,
    questions: &Both<Question>,
    scan: &mut Scan,
    budget: Budget,
) -> Result<(), Outcome> {
    if part == Part::ServerSettings {
        nothing_hidden(sides, budget).await?;
    }
    let both = sides.ask(questions, Question::digest, ask::digest, budget).await?;
    let counts = Counts::of(&both.old, &both.new);
    if both.old.things == both.new.things && both.old.sum == both.new.sum {
        let found = Found { counts, ..Found::default() };
        scan.finish(part, told::outcome(part, &found), counts);
        return Ok(());
    }
    let wished = (both.old.things.max(both.new.things) / IN_A_BUCKET).next_power_of_two().min(MAX_BUCKETS);
    let buckets = u32::try_from(wished).unwrap_or(1);
    let both = sides.ask(questions, |question| question.buckets(buckets), ask::buckets, budget).await?;
    let all = both.old.keys().chain(both.new.keys().filter(|bucket| !both.old.contains_key(*bucket)));
    let differing = all.filter(|bucket| both.old.get(*bucket) != both.new.get(*bucket));
    let things =
        |bucket: &u32| [&both.old, &both.new].iter().filter_map(|side| side.get(bucket)).map(|(things, _)| *things).max();
    let left = differing.map(|bucket| (*bucket, things(bucket).unwrap_or_default())).collect();
    scan.walk = Some(Walk::of(buckets, left, counts));
    Ok(())
}

/// Looks once more at what differed, with all its properties.
async fn once_more(sides: &mut Sides, questions: &Both<Question>, walk: &Walk, budget: Budget) -> Result<Found, Outcome> {
    let names = walk.again();
    if names.is_empty() {
        return Ok(Found::of(walk, Vec::new()));
    }
    let both = sides.ask(questions, |question| question.definitions(&names), ask::definitions, budget).await?;
    let sights = names.iter().map(|name| (name.clone(), compare(both.old.get(name), both.new.get(name)))).collect();
    Ok(Found::of(walk, sights))
}

/// That no setting of the server is covered by one of our own login.
async fn nothing_hidden(sides: &mut Sides, budget: Budget) -> Result<(), Outcome> {
    let question = hidden_settings();
    let both = sides.ask_sql(&question, &question, ask::list, budget).await?;
    for (hidden, reader) in [(&both.old, &sides.pair.old), (&both.new, &sides.pair.new)] {
        if let Some(name) = hidden.first() {
            let words =
                format!("{}: {name} is set by the login itself; run ALTER ROLE {} RESET {name};", reader.place, reader.role);
            return Err(HIDDEN_SETTING.because(words));
        }
    }
    Ok(())
}
