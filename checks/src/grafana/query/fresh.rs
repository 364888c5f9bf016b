//! Whether a canary line is fresh and real: by its time, and by the word of the agent that wrote it.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use reqwest::header::HeaderMap;

use crate::check::Context;
use crate::log_path::line::{CanaryLine, Head};
use crate::net::fetch;
use crate::net::{Budget, below, shown};
use crate::outcome::Outcome;
use crate::target::AgentTarget;

use super::window::{Lines, named};
use super::{AGENT_STARTING, AGENT_UNREACHABLE, NO_CANARY, NO_FRESH_LINE, NOT_LIVE};

/// What the agents say of themselves.
#[derive(Debug, Default)]
pub(super) struct Heads {
    /// The heads that were read.
    read: Vec<Head>,
    /// Of the others, why not.
    unread: Vec<String>,
}

impl Heads {
    /// Asks all agents at once.
    pub(super) async fn ask(cx: &Context, agents: &AgentTarget, budget: Budget) -> Self {
        let mut heads = Self::default();
        let asked = agents.urls.iter().map(async |base| {
            let url = below(base, &["v1", "head"]);
            let reply =
                fetch::get(&cx.clients, &url, HeaderMap::new(), budget).await.map_err(|why| why.evidence().to_string())?;
            if reply.status.as_u16() != 200 {
                return Err(reply.quote());
            }
            let head = reply.json().map_err(|why| why.evidence().to_string())?;
            serde_json::from_value::<Head>(head).map_err(|error| format!("{}: no head of an agent: {error}", shown(&url)))
        });
        for answer in join_all(asked).await {
            match answer {
                Ok(head) => heads.read.push(head),
                Err(why) => heads.unread.push(why),
            }
        }
        heads
    }
}

/// By what a line is measured.
#[derive(Debug)]
pub(super) struct Judge<'a> {
    /// The verifier's clock at the start of the Run.
    pub(super) now: DateTime<Utc>,
    /// How old the newest line may be.
    pub(super) within: Duration,
    /// How long ago the Run began when the agents were asked.
    pub(super) spent: Duration,
    /// What the agents said, if they are to be asked.
    pub(super) heads: Option<&'a Heads>,
}

/// The line that proves it.
#[derive(Debug)]
pub(super) struct Proven {
    /// The line.
    pub(super) line: CanaryLine,
    /// Its age by Loki's timestamp.
    pub(super) age: Duration,
}

impl Judge<'_> {
    /// The newest canary line that is fresh by Loki's time, by its own, and by its agent's head.
    pub(super) fn judge(&self, lines: &Lines) -> Result<Proven, Outcome> {
        let canaries = || lines.iter().rev().filter_map(|(at, line)| Some((*at, CanaryLine::parse(line)?)));
        let fresh = || canaries().filter_map(|(at, line)| Some((self.age(at, &line)?, line)));
        let proven =
            fresh().find(|(_, line)| self.heads.is_none_or(|heads| heads.read.iter().any(|head| self.vouches(head, line))));
        if let Some((age, line)) = proven {
            return Ok(Proven { line, age });
        }
        let seen = match canaries().next() {
            Some((at, line)) => format!("the newest canary is {}, logged {}", named(&line), DateTime::from_timestamp_nanos(at)),
            None if lines.is_empty() => format!("no line in the last {:?}", self.within),
            None => format!("{} lines in the last {:?}, none of them a canary", lines.len(), self.within),
        };
        Err(match self.heads {
            None => NO_FRESH_LINE.because(seen),
            Some(heads) => self.why_not(heads, &seen, fresh().next().is_some()),
        })
    }

    /// Its age, if it is fresh: neither an old line, nor an old line that was logged anew, nor one from the future.
    fn age(&self, at: i64, line: &CanaryLine) -> Option<Duration> {
        let age = self.now.signed_duration_since(DateTime::from_timestamp_nanos(at)).to_std().ok()?;
        let written = self.now.signed_duration_since(line.at).abs().to_std().ok()?;
        (age <= self.within && written <= self.within).then_some(age)
    }

    /// Whether the agent has just written this line. Both times are by its own clock, so the verifier's does not matter here.
    fn vouches(&self, head: &Head, line: &CanaryLine) -> bool {
        let patience = self.within.saturating_add(self.spent);
        let behind = head.last.saturating_sub(line.seq);
        line.node == head.node
            && line.boot == head.boot
            && (head.first.max(1)..=head.last).contains(&line.seq)
            && span(head, behind) <= patience.as_millis()
            && within(head.now.signed_duration_since(line.at), patience)
    }

    /// What the heads make of a window without a line that they vouch for.
    fn why_not(&self, heads: &Heads, seen: &str, looks_fresh: bool) -> Outcome {
        let writing = |head: &&Head| head.last_at.is_some_and(|at| within(head.now.signed_duration_since(at), self.within));
        let age = |head: &Head| span(head, head.last.saturating_sub(head.first).saturating_add(1));
        let due = |head: &Head| self.within.as_millis().saturating_sub(age(head));
        // The agent that has been writing for longest is the first whose lines are due.
        let first = heads.read.iter().filter(writing).min_by_key(|head| due(head));
        match (first, heads.unread.first()) {
            (Some(head), _) if due(head) == 0 => {
                let wrote = format!("the agent of {} wrote up to #{} of boot {}; {seen}", head.node, head.last, head.boot);
                if looks_fresh { NOT_LIVE.because(wrote) } else { NO_FRESH_LINE.because(wrote) }
            }
            (_, Some(why)) => AGENT_UNREACHABLE.because(format!("{why}; {seen}")),
            (Some(head), None) => {
                let due = TimeDelta::milliseconds(i64::try_from(due(head)).unwrap_or_default());
                let at = self.now.checked_add_signed(due).unwrap_or(self.now);
                AGENT_STARTING.until(at, format!("the agent of {} began only {} lines ago; {seen}", head.node, head.last))
            }
            (None, None) => NO_CANARY.because(format!("no agent wrote a line in the last {:?}; {seen}", self.within)),
        }
    }
}

/// How long an agent takes for that many lines, in milliseconds.
fn span(head: &Head, lines: u64) -> u128 {
    u128::from(lines).saturating_mul(u128::from(head.every_ms))
}

fn within(time: TimeDelta, limit: Duration) -> bool {
    time.abs().to_std().is_ok_and(|time| time <= limit)
}
