//! Waiting for a verdict: look, say what changed, look again. An `open` counts only while every look confirms it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::super::Answer;
use super::super::render::{Brief, Io, moment, soak_left};
use super::super::trouble::{Trouble, exit_of};
use super::{Goal, Until};
use crate::api::types::GateBody;
use crate::exit::Exit;
use crate::gate::Verdict;
use crate::now::span;

/// Since when the gate has been watched open without a break.
#[derive(Debug, Default)]
struct Watch {
    open: Option<(Instant, Option<DateTime<Utc>>)>,
}

impl Watch {
    /// Takes in one look and says for how long it has been open since.
    fn see(&mut self, seen: Result<&GateBody, &Trouble>, at: Instant) -> Option<Duration> {
        let since = seen.ok().filter(|body| body.verdict == Verdict::Open).map(|body| body.open_since);
        self.open = match (since, self.open) {
            (Some(since), Some((first, same))) if since == same => Some((first, same)),
            (Some(since), _) => Some((at, since)),
            (None, _) => None,
        };
        self.open.map(|(first, _)| at.duration_since(first))
    }
}

/// Looks until the goal is reached, something ends the waiting, or time is up.
pub(super) async fn wait(
    io: &mut Io<'_>,
    until: &Until,
    once: bool,
    look: impl AsyncFn() -> Result<GateBody, Trouble>,
) -> Answer {
    let deadline = Instant::now() + until.timeout;
    let mut watch = Watch::default();
    let mut said = String::new();
    let mut newest: Option<Result<GateBody, Trouble>> = None;
    loop {
        let started = Instant::now();
        let Ok(seen) = timeout_at(deadline, look()).await else { break };
        let open_for = watch.see(seen.as_ref(), started);
        say_change(io, until, &seen, open_for, &mut said);
        match &seen {
            Ok(body) if reached(until, body, open_for) => {
                io.show(&Brief(body));
                return Ok(exit_of(body.verdict));
            }
            Ok(body) if until.fail_fast && body.verdict == Verdict::Closed => {
                io.show(&Brief(body));
                return Ok(Exit::CLOSED);
            }
            Err(trouble) if ends(trouble, until) => return Err(trouble.clone()),
            Ok(_) | Err(_) => newest = Some(seen),
        }
        let next = started + until.interval;
        if once || next >= deadline {
            sleep_until(if once { started } else { deadline }).await;
            break;
        }
        sleep_until(next).await;
    }
    Err(timed_out(until, once, newest))
}

fn reached(until: &Until, body: &GateBody, open_for: Option<Duration>) -> bool {
    if body.verdict != until.goal.verdict() {
        return false;
    }
    until.goal != Goal::Open || open_for.is_some_and(|watched| watched >= until.stable_for)
}

/// Trouble that waiting does not mend: a wrong token, no such phase, wrong usage.
fn ends(trouble: &Trouble, until: &Until) -> bool {
    match trouble.exit {
        Exit::UNKNOWN => false,
        Exit::UNREACHABLE => until.fail_fast,
        _ => true,
    }
}

fn say_change(io: &mut Io<'_>, until: &Until, seen: &Result<GateBody, Trouble>, open_for: Option<Duration>, said: &mut String) {
    let (key, line) = match seen {
        Ok(body) => described(body, until, open_for),
        Err(trouble) => (trouble.message.to_string(), format!("{}; still trying", trouble.message)),
    };
    if key != *said {
        io.say(&line);
        *said = key;
    }
}

/// What makes a change worth a line, and the line.
fn described(body: &GateBody, until: &Until, open_for: Option<Duration>) -> (String, String) {
    let verdict = body.verdict.as_str().to_uppercase();
    let at = body.evaluated_at.map_or_else(String::new, |at| format!("{} ", moment(at)));
    let first = body.blockers.first();
    let key = format!("{verdict} {:?}", first.map(|b| (&b.phase, &b.probe, b.state, &b.reason)));
    let soak = soak_left(&body.soak).filter(|_| body.verdict == Verdict::Pending).map(|left| format!("soak: {left} left; "));
    let why = match first {
        Some(blocker) => {
            let who = blocker.probe.as_deref().unwrap_or(&blocker.phase);
            format!("{who}: {}: {}", blocker.reason, blocker.evidence)
        }
        None if open_for.is_some_and(|watched| watched < until.stable_for) => {
            format!("to stay so for {}", span(until.stable_for))
        }
        None => body.reason.clone(),
    };
    (key, format!("{at}{} {verdict} {}{}", body.gate, soak.unwrap_or_default(), why))
}

fn timed_out(until: &Until, once: bool, newest: Option<Result<GateBody, Trouble>>) -> Trouble {
    let goal = until.goal.verdict().as_str();
    let stable = if until.stable_for.is_zero() { String::new() } else { format!(" for {}", span(until.stable_for)) };
    let spent =
        if once { "at the first look".to_owned() } else { format!("within {}", humantime::format_duration(until.timeout)) };
    let not = format!("not {goal}{stable} {spent}");
    match newest {
        Some(Ok(body)) => Trouble::new(Exit::TIMEOUT, format!("gate {} was {not}; it is {}", body.gate, body.reason))
            .blocked_by(body.blockers)
            .hint(body.next_step),
        Some(Err(trouble)) => Trouble {
            blockers: trouble.blockers,
            hint: trouble.hint,
            ..Trouble::new(Exit::TIMEOUT, format!("the gate was {not}; the last look: {}", trouble.message))
        },
        None => Trouble::new(Exit::TIMEOUT, format!("the gate was {not}: no look came to an end")),
    }
}

#[cfg(test)]
mod tests;
