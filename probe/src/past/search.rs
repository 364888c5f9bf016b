//! PURE. The verdict of one gate at one moment of the past. Pages of the audit trail come in until nothing more is to be learnt.

use chrono::{DateTime, Utc};

use super::{CAME_TWICE, Gap, Glance, NOT_LOOKED, NOT_RUNNING, Past, Ruling, Seen, moment, unknown};
use crate::audit::Frame;
use crate::gate::Verdict;
use crate::now::{Millis, Now};
use crate::plan::{Plan, ProbePlan};
use crate::state::{Override, ProbeState, State};

/// What a clock that is kept in time may be moved by.
const SLACK_MS: i64 = 1000;

/// A question about the past, while it is being answered.
#[derive(Debug)]
pub struct Search {
    phase: String,
    time: DateTime<Utc>,
    past: Past,
    /// The newest event that counts; later ones are only looked through.
    newest: Option<Now>,
    /// An event after the moment was seen: the record goes on.
    passed: bool,
    /// Nothing more is wanted, unless the clock was set back since.
    done: bool,
    /// This moment, as the verifier that answers has it.
    now: Now,
    gap: Option<Gap>,
    until: Option<DateTime<Utc>>,
    /// Of what was before this moment the events are no longer kept.
    horizon: Option<DateTime<Utc>>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Beyond {
    /// The record begins later; none: there is no record.
    BeforeTheRecord(Option<DateTime<Utc>>),
    /// The events of that time are no longer kept.
    NoLongerKept,
    /// No such phase then.
    NoSuchPhase(Vec<String>),
}

/// Why a gate was not open.
#[derive(Debug, Clone, PartialEq)]
pub struct WasBlocked {
    /// The phase it belongs to.
    pub phase: String,
    /// The probe, unless the phase itself was the reason.
    pub probe: Option<String>,
    /// Why; `snake_case`.
    pub reason: String,
    /// The probe as it was then.
    pub seen: Option<Seen>,
}

/// What was known of a gate at a moment.
#[derive(Debug)]
pub struct Then {
    /// The phase.
    pub phase: String,
    /// The moment.
    pub time: DateTime<Utc>,
    /// The answer.
    pub verdict: Verdict,
    /// Since when.
    pub since: Now,
    /// When it changed next, as far as is recorded.
    pub until: Option<DateTime<Utc>>,
    /// Why nobody knew anything.
    pub gap: Option<Gap>,
    /// The verdict that was recorded last.
    pub recorded: Option<Ruling>,
    /// Why it was not open, first things first.
    pub blockers: Vec<WasBlocked>,
    /// Everything else.
    pub past: Past,
    /// The moment on the ledger's timeline.
    t: Millis,
}

impl Search {
    /// Nothing has been read yet. `begin` is what the events told that are no longer kept, and ends before the first frame.
    pub fn new(phase: &str, time: DateTime<Utc>, now: Now, begin: Past) -> Self {
        Self {
            phase: phase.to_owned(),
            time,
            newest: begin.last,
            horizon: begin.latest,
            past: begin,
            passed: false,
            done: false,
            now,
            gap: None,
            until: None,
        }
    }

    /// Takes the next frame; true: no more are wanted.
    pub fn take(&mut self, frame: &Frame) -> Result<bool, serde_json::Error> {
        if self.is_beyond() {
            return Ok(true);
        }
        let glance = Glance::of(frame)?;
        let at = self.past.in_order(glance.at);
        if !self.passed && at.utc <= self.time {
            self.past.take(frame)?;
            self.newest = Some(at);
            return Ok(false);
        }
        self.past.first.get_or_insert(at);
        self.passed = true;
        if self.past.head.seq == 0 {
            return Ok(true);
        }
        if at.utc <= self.time {
            self.gap = Some(Gap { from: at, to: self.past.last, why: CAME_TWICE });
            self.until = None;
            return Ok(true);
        }
        if !self.done {
            self.done = self.look_on(&glance, at, frame)?;
        }
        self.past.pass(&glance, at);
        Ok(self.done && !self.set_back_since())
    }

    /// Whether events that are no longer kept would be needed: the latest of them is of a later time.
    fn is_beyond(&self) -> bool {
        self.horizon.is_some_and(|horizon| self.time < horizon)
    }

    /// Whether the wall clock stands behind where it would stand by the ledger's timeline, which no jump moves: then the moment
    /// may have come twice.
    fn set_back_since(&self) -> bool {
        let stands = |at: Now| at.utc.timestamp_millis().saturating_sub_unsigned(at.t.0);
        self.newest.is_some_and(|newest| stands(newest) > stands(self.now).saturating_add(SLACK_MS))
    }

    /// Looks whether this later event ends what was true at the moment, or tells that nobody knew it.
    fn look_on(&mut self, glance: &Glance, at: Now, frame: &Frame) -> Result<bool, serde_json::Error> {
        let begins_anew = match glance.event.as_str() {
            "verifierStarted" => Some((glance.last, NOT_RUNNING)),
            "nobodyLooked" => Some((glance.last, NOT_LOOKED)),
            "verdictChanged" if self.past.restarts(glance) => Some((self.past.alive_before(at), NOT_RUNNING)),
            _ => None,
        };
        if let Some((last, why)) = begins_anew
            && self.gap.is_none()
            && let Some(last) = last.or(self.past.alive)
        {
            if last.utc < self.time {
                self.gap = Some(Gap { from: last, to: Some(at), why });
            } else if self.verdict() != Verdict::Unknown {
                self.until = Some(last.utc);
                return Ok(true);
            }
        }
        let own = glance.phase.as_deref() == Some(&*self.phase);
        let changes = match glance.event.as_str() {
            "verdictChanged" => own && glance.to.as_deref() != Some(self.verdict().as_str()),
            // The phase may be gone with this document.
            "configLoaded" => {
                let event = frame.event()?;
                matches!(&event, crate::event::Event::ConfigLoaded { plan, .. } if plan.position(&self.phase).is_none())
            }
            _ => false,
        };
        if changes {
            self.until = Some(at.utc);
        }
        Ok(changes)
    }

    fn verdict(&self) -> Verdict {
        let recorded = self.past.verdict(&self.phase).map(|ruling| ruling.verdict);
        recorded.filter(|_| self.gap.is_none()).unwrap_or(Verdict::Unknown)
    }

    /// The answer. `known`: up to when the verifier that answers is sure that the record is whole; none: only up to its end.
    pub fn finish(mut self, known: Option<Now>) -> Result<Then, Beyond> {
        let first = self.past.first.map(|first| first.utc);
        if first.is_none_or(|first| self.time < first) {
            return Err(Beyond::BeforeTheRecord(first));
        }
        if self.is_beyond() {
            return Err(Beyond::NoLongerKept);
        }
        let plan = self.past.state.durable.plan.clone();
        let there_is = || plan.iter().flat_map(|plan| &plan.phases).map(|phase| phase.name.to_string()).collect();
        let Some((at, plan)) = plan.as_deref().and_then(|plan| Some((plan.position(&self.phase)?, plan))) else {
            return Err(Beyond::NoSuchPhase(there_is()));
        };
        if let Some(known) = known.or(self.newest)
            && !self.passed
            && self.gap.is_none()
            && self.time > known.utc
        {
            self.gap = Some(Gap { from: known, to: None, why: NOT_LOOKED });
        }
        let verdict = self.verdict();
        let Self { phase, time, past, newest, gap, until, .. } = self;
        let recorded = past.verdict(&phase).cloned();
        let started = past.probe("").since;
        let since = match (&gap, &recorded) {
            (Some(gap), _) => gap.from,
            (None, Some(ruling)) => ruling.since,
            (None, None) => started,
        };
        let later = |newest: Now| newest.t.plus((time - newest.utc).to_std().unwrap_or_default());
        let t = newest.map_or(Millis(0), later);
        let mut then = Then { phase, time, verdict, since, until, gap, recorded, blockers: Vec::new(), past, t };
        then.blockers = then.blocked_by(plan, at);
        Ok(then)
    }
}

impl Then {
    /// The ledger as it was.
    pub fn state(&self) -> &State {
        &self.past.state
    }

    /// What a probe looked like; unknown while nobody knew.
    pub fn probe(&self, name: &str) -> Seen {
        let seen = self.past.probe(name);
        let Some(gap) = &self.gap else { return seen };
        let (state, since) = (seen.sight.state.as_str(), moment(seen.since.utc));
        let words = format!("{}; recorded last: {state} since {since}: {}", gap.words(), seen.sight.evidence);
        Seen { sight: unknown(gap.why, words), since: gap.from }
    }

    /// The overrides that were active.
    pub fn overrides(&self) -> impl Iterator<Item = (u64, &Override)> {
        let active = self.state().durable.overrides.iter().filter(|(_, exception)| exception.until > self.t);
        active.map(|(id, exception)| (*id, exception))
    }

    /// Whether an override was active for a probe.
    pub fn overridden(&self, probe: &ProbePlan) -> bool {
        self.state().overridden(probe, self.t).is_some()
    }

    /// Whether the gate of the phase at this position asked for this probe of the phase at that one, unless it was overridden.
    pub fn counts(&self, plan: &Plan, at: usize, of: usize, probe: &ProbePlan) -> bool {
        let adopted = plan.phases.get(of).is_some_and(|phase| self.state().phase(&phase.name).adopted.is_some());
        probe.gate && of <= at && !self.state().retired(probe) && !(probe.is_proof() && adopted)
    }

    /// What was recorded when the verdict came, as far as it still was so, and what had come to it since.
    fn blocked_by(&self, plan: &Plan, at: usize) -> Vec<WasBlocked> {
        if self.verdict == Verdict::Open {
            return Vec::new();
        }
        let own = |reason: &str| WasBlocked { phase: self.phase.clone(), probe: None, reason: reason.to_owned(), seen: None };
        if let Some(gap) = &self.gap {
            return vec![own(gap.why.name)];
        }
        let Some(recorded) = &self.recorded else { return vec![own(NOT_LOOKED.name)] };
        let mut blockers = Vec::new();
        for line in &recorded.blockers {
            let Some((place, reason)) = line.split_once(": ") else { continue };
            let (phase, probe) = place.split_once('/').unwrap_or((place, "-"));
            let probe = Some(probe).filter(|probe| *probe != "-").map(str::to_owned);
            let seen = probe.as_deref().map(|probe| self.probe(probe));
            // These are not about the colour that the probe has.
            let seen = seen.filter(|_| !matches!(reason, "soaking" | "regressed"));
            // A probe that had turned green since blocked nothing any more.
            if seen.as_ref().is_none_or(|seen| seen.sight.state != ProbeState::Green) {
                blockers.push(WasBlocked { phase: phase.to_owned(), probe, reason: reason.to_owned(), seen });
            }
        }
        for (of, probe) in plan.probes().filter(|(of, probe)| self.counts(plan, at, *of, probe) && !self.overridden(probe)) {
            let seen = self.probe(&probe.name);
            let told = blockers.iter().any(|blocker| blocker.probe.as_deref() == Some(&*probe.name) && blocker.seen.is_some());
            if seen.sight.state != ProbeState::Green && !told {
                let phase = plan.phases.get(of).map_or_else(String::new, |phase| phase.name.to_string());
                let reason = seen.sight.reason.as_ref().map_or_else(String::new, ToString::to_string);
                blockers.push(WasBlocked { phase, probe: Some(probe.name.to_string()), reason, seen: Some(seen) });
            }
        }
        blockers
    }
}

impl Gap {
    /// What is to be said of it, a sentence fragment.
    pub fn words(&self) -> String {
        let from = moment(self.from.utc);
        let span = self.to.map_or_else(|| format!("after {from}"), |to| format!("between {from} and {}", moment(to.utc)));
        match self.why.name {
            name if name == NOT_RUNNING.name => format!("the verifier did not run {span}"),
            name if name == CAME_TWICE.name => format!("the wall clock was set back, and the time {span} came twice"),
            _ => format!("the verifier evaluated nothing {span}"),
        }
    }
}
