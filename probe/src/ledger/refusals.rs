//! What was wanted and refused, for the audit trail. The first of its kind is written at once; what the same person repeats
//! within a minute is counted and written as one, so that a script in a loop can not fill the disk.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::{Command, Event, Refusal, RefusalKind, StepEnd, Way, Wish};
use crate::now::{Millis, Now};
use crate::plan::{PhaseName, Plan, TargetName};
use crate::state::Stamp;

/// The same refusal is written this often at most.
const QUIET: Duration = Duration::from_mins(1);
/// Longest words that are kept, in characters.
const MAX_WORDS: usize = 500;

/// Refusals of the last minute, by who wanted what. There are only as many as there are names of tokens, kinds of wishes and
/// phases, steps and probes of the document.
#[derive(Debug, Default)]
pub(super) struct Refusals(BTreeMap<(String, String), Recent>);

#[derive(Debug)]
struct Recent {
    written: Millis,
    /// Refused since then, with the last of them.
    since: Option<Event>,
}

impl Refusals {
    /// What is to be written of this refusal now, if anything.
    pub(super) fn note(&mut self, command: &Command, refusal: &Refusal, plan: Option<&Plan>, now: Now) -> Option<Event> {
        // A run asks whether its step is done until its probes are green: that is waiting, not an attempt.
        let waits = matches!(command.wish, Wish::EndStep { end: StepEnd::Done, .. });
        if waits && matches!(refusal.kind, RefusalKind::Gate(_)) {
            return None;
        }
        let (what, phase) = wanted(&command.wish, plan);
        let key = (command.by.clone(), what.clone());
        let mut event = Event::Refused {
            stamp: Stamp { at: now, by: command.by.clone() },
            what,
            phase,
            kind: refusal.kind.as_str().to_owned(),
            message: plain(&refusal.message),
            times: 1,
        };
        match self.0.get_mut(&key) {
            Some(recent) if now.t.since(recent.written) < QUIET => {
                if let (Some(Event::Refused { times: before, .. }), Event::Refused { times, .. }) = (&recent.since, &mut event) {
                    *times = before.saturating_add(1);
                }
                recent.since = Some(event);
                None
            }
            Some(Recent { since: Some(_), .. }) => {
                let counted = self.0.remove(&key).and_then(|recent| recent.since);
                if let (Some(Event::Refused { times: before, .. }), Event::Refused { times, .. }) = (&counted, &mut event) {
                    *times = before.saturating_add(1);
                }
                self.0.insert(key, Recent { written: now.t, since: None });
                Some(event)
            }
            Some(Recent { since: None, .. }) | None => {
                self.0.insert(key, Recent { written: now.t, since: None });
                Some(event)
            }
        }
    }

    /// What was counted and is to be written now: what is older than a minute, or everything at the end.
    pub(super) fn rest(&mut self, now: Millis, end: bool) -> Vec<Event> {
        let mut counted = Vec::new();
        self.0.retain(|_, recent| {
            if !end && now.since(recent.written) < QUIET {
                return true;
            }
            recent.written = now;
            let since = recent.since.take();
            let goes_on = since.is_some();
            counted.extend(since);
            goes_on
        });
        counted
    }
}

/// A wish in words, and the phase it is about. Names that the document does not have are left out: they have no end.
fn wanted(wish: &Wish, plan: Option<&Plan>) -> (String, Option<PhaseName>) {
    let known = |phase: &PhaseName| plan.is_some_and(|plan| plan.phase(phase).is_some()).then(|| phase.clone());
    let of_phase = |verb: &str, phase: &PhaseName| {
        let known = known(phase);
        (format!("{verb} {}", known.as_deref().unwrap_or("an unknown phase")), known)
    };
    let of_step = |verb: &str, phase: &PhaseName, step: &str| {
        let own = plan.and_then(|plan| plan.phase(phase)).and_then(|phase| phase.step(step)).map(|step| step.name.clone());
        let step = own.map_or_else(|| "an unknown step".to_owned(), |step| format!("step {step}"));
        let (phase, known) = of_phase("of", phase);
        (format!("{verb} {step} {phase}"), known)
    };
    let of_probe = |verb: &str, probe: &str| {
        let found = plan.and_then(|plan| plan.probe(probe).and_then(|(at, own)| Some((own, plan.phases.get(at)?))));
        let name = found.map_or("an unknown probe", |(own, _)| &*own.name);
        (format!("{verb} {name}"), found.map(|(_, phase)| phase.name.clone()))
    };
    let of_target = |verb: &str, target: &TargetName| {
        let known = plan.is_some_and(|plan| plan.probes().any(|(_, probe)| probe.targets.contains(target)));
        (format!("{verb} {}", if known { &**target } else { "an unknown target" }), None)
    };
    match wish {
        Wish::Begin(phase) => of_phase("begin", phase),
        Wish::Switch(phase) => of_phase("switch", phase),
        Wish::Complete(phase) => of_phase("complete", phase),
        Wish::Rollback(phase, _) => of_phase("roll back", phase),
        Wish::Adopt(phase, _) => of_phase("adopt", phase),
        Wish::Acknowledge(phase, _) => of_phase("acknowledge the regressions of", phase),
        Wish::Override { probe, .. } => of_probe("override", probe),
        Wish::Revoke(_) => ("end an override".to_owned(), None),
        Wish::Record(..) => ("record a fact".to_owned(), None),
        Wish::Forget(probe, _) => of_probe("forget a part of", probe),
        Wish::Lock { phase, .. } => of_phase("take the lock for", phase),
        Wish::Renew(_) => ("renew a lock".to_owned(), None),
        Wish::Release(_) => ("release a lock".to_owned(), None),
        Wish::ForceRelease(..) => ("end somebody else's lock".to_owned(), None),
        Wish::StartStep { phase, step, way: Way::Do, .. } => of_step("start", phase, step),
        Wish::StartStep { phase, step, way: Way::Undo, .. } => of_step("undo", phase, step),
        Wish::StepWorked(phase, step) => of_step("say that the work is over of", phase, step),
        Wish::EndStep { phase, step, .. } => of_step("end", phase, step),
        Wish::Approve(phase, _) => of_phase("approve the plan of", phase),
        Wish::Decommission(target, _) => of_target("decommission", target),
        Wish::Recommission(target, _) => of_target("take back the decommission of", target),
        Wish::Rehearsed(phase, _) => of_phase("record a rehearsal of", phase),
    }
}

fn plain(words: &str) -> String {
    words.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_WORDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Terms;
    use crate::gate::Verdict;
    use crate::store::testing::now;

    fn command(by: &str, wish: Wish) -> Command {
        Command { by: by.to_owned(), wish, terms: Terms::default() }
    }

    fn no() -> Refusal {
        Refusal::new(RefusalKind::Gate(Verdict::Closed), "the gate\nis closed")
    }

    fn times(events: &[Event]) -> Vec<u64> {
        let times = |event: &Event| if let Event::Refused { times, .. } = event { *times } else { 0 };
        events.iter().map(times).collect()
    }

    #[test]
    fn a_loop_is_written_once_a_minute_with_its_count() {
        let mut refusals = Refusals::default();
        let mut written = Vec::new();
        for second in 0..150 {
            written.extend(refusals.note(&command("cron", Wish::Complete("loki".into())), &no(), None, now(second)));
            if second % 10 == 0 {
                written.extend(refusals.rest(now(second).t, false));
            }
        }
        written.extend(refusals.rest(now(150).t, true));
        assert_eq!(times(&written), [1, 60, 60, 29], "all 150 are told, in four events");
        assert!(refusals.rest(now(400).t, false).is_empty() && refusals.0.is_empty());
    }

    #[test]
    fn others_and_other_wishes_count_for_themselves_but_invented_names_do_not() {
        let mut refusals = Refusals::default();
        let mut note = |by, wish| refusals.note(&command(by, wish), &no(), None, now(0)).is_some();
        assert!(note("ann", Wish::Complete("loki".into())));
        assert!(note("bob", Wish::Complete("loki".into())));
        assert!(note("ann", Wish::Begin("loki".into())));
        for round in 0..100 {
            assert!(!note("ann", Wish::Complete(format!("invented-{round}").as_str().into())));
        }
    }

    #[test]
    fn waiting_for_a_steps_probes_is_no_attempt() {
        let mut refusals = Refusals::default();
        let end = |end| Wish::EndStep { phase: "loki".into(), step: "copy".into(), end, note: String::new() };
        assert_eq!(refusals.note(&command("ann", end(StepEnd::Done)), &no(), None, now(0)), None);
        let locked = Refusal::new(RefusalKind::Locked, "lock 3 was released");
        let told = refusals.note(&command("ann", end(StepEnd::Done)), &locked, None, now(0));
        assert!(matches!(&told, Some(Event::Refused { kind, .. }) if kind == "locked"), "{told:?}");
    }
}
