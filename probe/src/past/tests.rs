mod base;

use checks::Evidence;

use super::*;
use crate::audit::Frame;
use crate::now::Millis;
use crate::plan::{NaturePlan, Plan, ProbePlan};
use crate::store::testing::{now, state_of, story};

const BLIND: ReasonSpec = ReasonSpec::unknown("blind", "look");

fn chain(events: &[Event]) -> Vec<Frame> {
    let mut head = Head::genesis();
    let frame = |event: &Event| {
        let frame = Frame::new(&head, now(900_000), 0, event).unwrap();
        head = head.follow(&frame).unwrap();
        frame
    };
    events.iter().map(frame).collect()
}

fn utc(second: u64) -> DateTime<Utc> {
    now(second).utc
}

fn stamp(second: u64) -> Stamp {
    Stamp { at: now(second), by: "ann".to_owned() }
}

fn config(second: u64) -> Event {
    let Some(Event::ConfigLoaded { plan, .. }) = story(1).pop() else { panic!("a story begins with a document") };
    Event::ConfigLoaded { at: now(second), plan }
}

fn started(second: u64, last: Option<u64>) -> Event {
    Event::VerifierStarted { at: now(second), last: last.map(now), version: "1".to_owned() }
}

fn colour(second: u64, from: ProbeState, to: ProbeState) -> Event {
    let reason = (to != ProbeState::Green).then(|| Reason::from(BLIND));
    let evidence = Evidence::from(format!("seen at {second}"));
    Event::ProbeChanged { probe: "ready".into(), at: now(second), from, to, reason, evidence }
}

fn verdict(second: u64, from: Option<Verdict>, to: Verdict, blockers: &[&str]) -> Event {
    let blockers = blockers.iter().map(|&blocker| blocker.to_owned()).collect();
    Event::VerdictChanged { phase: "loki".into(), at: now(second), from, to, epoch: second, blockers }
}

/// Begun at 2, open from 10 to 20.
fn opened() -> Vec<Event> {
    vec![
        started(1, None),
        config(1),
        Event::PhaseBegun { phase: "loki".into(), stamp: stamp(2) },
        verdict(2, None, Verdict::Unknown, &["loki/ready: no_run"]),
        Event::PhaseSwitched { phase: "loki".into(), stamp: stamp(3), seals: vec![] },
        colour(5, ProbeState::Unknown, ProbeState::Green),
        verdict(5, Some(Verdict::Unknown), Verdict::Pending, &["loki/ready: soaking"]),
        verdict(10, Some(Verdict::Pending), Verdict::Open, &[]),
        colour(20, ProbeState::Green, ProbeState::Suspect),
        verdict(20, Some(Verdict::Open), Verdict::Pending, &["loki/ready: refused"]),
    ]
}

fn ask(events: &[Event], time: DateTime<Utc>, known: u64) -> Result<Then, Beyond> {
    let mut search = Search::new("loki", time, now(known), Past::default());
    for frame in chain(events) {
        if search.take(&frame).unwrap() {
            break;
        }
    }
    search.finish(Some(now(known)))
}

fn at(events: &[Event], second: u64) -> Then {
    ask(events, utc(second), 900_000).unwrap()
}

#[test]
fn a_verdict_is_as_it_was_from_its_edge_to_the_next() {
    let events = opened();
    for (second, verdict, since, until) in [
        (2, Verdict::Unknown, 2, Some(5)),
        (4, Verdict::Unknown, 2, Some(5)),
        (5, Verdict::Pending, 5, Some(10)),
        (10, Verdict::Open, 10, Some(20)),
        (19, Verdict::Open, 10, Some(20)),
        (20, Verdict::Pending, 20, None),
        (500, Verdict::Pending, 20, None),
    ] {
        let then = at(&events, second);
        assert_eq!((then.verdict, then.since, then.until), (verdict, now(since), until.map(utc)), "at {second}");
        assert_eq!(then.gap, None);
        assert_eq!(then.blockers.is_empty(), verdict == Verdict::Open, "at {second}");
    }
    let just_before = ask(&events, utc(10) - chrono::TimeDelta::milliseconds(1), 900).unwrap();
    assert_eq!(just_before.verdict, Verdict::Pending);
}

#[test]
fn nothing_is_known_before_the_record_or_of_a_phase_that_was_not_there() {
    let events = opened();
    assert_eq!(ask(&events, utc(0), 900).unwrap_err(), Beyond::BeforeTheRecord(Some(utc(1))));
    assert_eq!(ask(&[], utc(0), 900).unwrap_err(), Beyond::BeforeTheRecord(None));
    let mut search = Search::new("lokki", utc(7), now(900), Past::default());
    let read = chain(&events).iter().take_while(|frame| !search.take(frame).unwrap()).count();
    assert!(read >= 7, "{read}");
    assert_eq!(search.finish(None).unwrap_err(), Beyond::NoSuchPhase(vec!["loki".to_owned()]));
}

#[test]
fn what_comes_after_the_change_is_not_read() {
    let frames = chain(&opened());
    let mut search = Search::new("loki", utc(7), now(900), Past::default());
    let read = frames.iter().position(|frame| search.take(frame).unwrap()).unwrap();
    assert_eq!(frames[read].seq, 8, "the edge to open ends it");
}

#[test]
fn a_verifier_that_was_down_knew_nothing() {
    let mut events = opened();
    events.truncate(8);
    events.extend([
        started(60, Some(40)),
        verdict(61, None, Verdict::Unknown, &["loki/ready: no_run"]),
        colour(62, ProbeState::Unknown, ProbeState::Green),
        verdict(62, Some(Verdict::Unknown), Verdict::Open, &[]),
    ]);
    let before = at(&events, 39);
    assert_eq!((before.verdict, before.until), (Verdict::Open, Some(utc(40))));
    for second in [41, 42, 59] {
        let down = at(&events, second);
        assert_eq!((down.verdict, down.since, down.until), (Verdict::Unknown, now(40), Some(utc(62))), "at {second}");
        assert_eq!(down.gap.as_ref().map(|gap| gap.why.name), Some("not_running"));
        assert_eq!(down.recorded.as_ref().map(|ruling| ruling.verdict), Some(Verdict::Open));
        let seen = down.probe("ready");
        assert_eq!(seen.sight.state, ProbeState::Unknown);
        assert!(seen.sight.evidence.to_string().contains("recorded last: green since"), "{:?}", seen.sight.evidence);
        assert_eq!(down.state().phase("loki").state(), crate::state::PhaseState::Active, "nobody could move it");
    }
    let up = at(&events, 60);
    assert_eq!((up.verdict, up.gap.is_none(), up.probe("ready").sight.state), (Verdict::Unknown, true, ProbeState::Unknown));
    assert_eq!(at(&events, 62).verdict, Verdict::Open);
}

#[test]
fn an_older_ledger_tells_of_a_restart_by_its_first_verdict() {
    let mut events = opened();
    events.remove(0);
    events.truncate(7);
    events.extend([
        Event::OverrideEnded { id: 9, stamp: stamp(30) },
        config(58),
        colour(60, ProbeState::Unknown, ProbeState::Waiting),
        verdict(60, None, Verdict::Unknown, &[]),
    ]);
    assert_eq!((at(&events, 29).verdict, at(&events, 29).until), (Verdict::Open, Some(utc(30))));
    for second in [31, 45, 58, 59] {
        let down = at(&events, second);
        assert_eq!((down.verdict, down.since), (Verdict::Unknown, now(30)), "at {second}");
        assert_eq!(down.probe("ready").sight.state, ProbeState::Unknown);
    }
    assert_eq!(at(&events, 60).probe("ready").sight.state, ProbeState::Waiting, "this the new process has seen");
}

#[test]
fn a_frozen_verifier_knew_nothing_either() {
    let mut events = opened();
    events.truncate(8);
    events.push(Event::NobodyLooked { at: now(35), last: now(15) });
    assert_eq!((at(&events, 15).verdict, at(&events, 15).until), (Verdict::Open, Some(utc(15))));
    let frozen = at(&events, 20);
    assert_eq!((frozen.verdict, frozen.gap.map(|gap| gap.why.name)), (Verdict::Unknown, Some("not_evaluated")));
    let again = at(&events, 40);
    assert_eq!((again.verdict, again.since), (Verdict::Open, now(35)), "not without a break since 10");
}

#[test]
fn what_the_record_does_not_reach_yet_is_unknown() {
    let mut events = opened();
    events.truncate(8);
    assert_eq!(ask(&events, utc(30), 30).unwrap().verdict, Verdict::Open);
    let beyond = ask(&events, utc(31), 30).unwrap();
    assert_eq!((beyond.verdict, beyond.since, beyond.until), (Verdict::Unknown, now(30), None));
}

#[test]
fn a_moment_that_came_twice_is_unknown() {
    let mut events = opened();
    events
        .push(Event::OverrideEnded { id: 9, stamp: Stamp { at: Now { t: Millis(22_000), utc: utc(12) }, by: "ann".to_owned() } });
    let ask = |second, now: Now| {
        let mut search = Search::new("loki", utc(second), now, Past::default());
        let _last = chain(&events).iter().find(|frame| search.take(frame).unwrap());
        search.finish(Some(now)).unwrap()
    };
    let later = Now { t: Millis(900_000), utc: utc(890) };
    let twice = ask(15, later);
    assert_eq!((twice.verdict, twice.gap.map(|gap| gap.why.name)), (Verdict::Unknown, Some("clock_set_back")));
    assert_eq!((twice.until, twice.blockers.len()), (None, 1));
    assert_eq!(ask(11, later).verdict, Verdict::Open, "the clock did not go back as far as that");
    assert_eq!(ask(15, now(900)).verdict, Verdict::Open, "no clock is behind: nothing more is read");
}

#[test]
fn another_document_makes_a_changed_probe_unknown() {
    let mut events = opened();
    events.truncate(8);
    let Event::ConfigLoaded { plan, .. } = config(12) else { panic!() };
    let mut phases = plan.phases.clone();
    phases[0].probes[0] = ProbePlan { hash: "another".to_owned(), ..phases[0].probes[0].clone() };
    events.push(Event::ConfigLoaded { at: now(12), plan: Plan::new("homelab", "hash", phases).into() });
    assert_eq!(at(&events, 11).probe("ready").sight.state, ProbeState::Green);
    assert_eq!(at(&events, 12).probe("ready").sight.state, ProbeState::Unknown, "nobody has seen the new one");
}

#[test]
fn blockers_are_those_of_the_moment() {
    let mut events = opened();
    events.truncate(7);
    events.extend([
        colour(12, ProbeState::Green, ProbeState::Red),
        verdict(12, Some(Verdict::Pending), Verdict::Closed, &["loki/-: not_switched", "loki/ready: refused"]),
        colour(14, ProbeState::Red, ProbeState::Green),
        Event::ProbeChanged {
            probe: "history".into(),
            at: now(16),
            from: ProbeState::Waiting,
            to: ProbeState::Red,
            reason: None,
            evidence: "a hole".into(),
        },
    ]);
    let named = |second| {
        let named = |blocker: WasBlocked| blocker.probe.unwrap_or(blocker.reason);
        at(&events, second).blockers.into_iter().map(named).collect::<Vec<_>>()
    };
    assert_eq!(named(13), ["not_switched", "ready", "history"], "the proof was not begun: unknown");
    assert_eq!(named(15), ["not_switched", "history"]);
    let hole = at(&events, 17).blockers.pop().unwrap();
    assert_eq!(hole.seen.map(|seen| seen.sight.evidence.to_string()).as_deref(), Some("a hole"));
}

#[test]
fn overrides_are_active_for_as_long_as_they_were() {
    let mut events = opened();
    let stamp = stamp(6);
    let created = Event::OverrideCreated {
        id: 3,
        probe: "ready".into(),
        stamp,
        reason: "disk".to_owned(),
        ticket: None,
        until: Millis(9_000),
    };
    events.insert(7, created);
    let active = |second| at(&events, second).overrides().map(|(id, _)| id).collect::<Vec<_>>();
    assert_eq!((active(5), active(6), active(8), active(9)), (vec![], vec![3], vec![3], vec![]));
}

fn record(events: &[Event]) -> Record {
    let mut record = Record::default();
    for frame in chain(events) {
        record.take(&frame).unwrap();
    }
    record
}

fn completed(second: u64) -> Event {
    Event::PhaseCompleted { phase: "loki".into(), stamp: stamp(second), seals: vec![], overrides: vec![] }
}

#[test]
fn a_completion_keeps_what_it_was_made_on_until_it_is_taken_back() {
    let mut events = opened();
    events.insert(8, completed(15));
    let kept = record(&events);
    let completion = kept.completion("loki").unwrap();
    assert_eq!((completion.seal.seq, &completion.stamp), (9, &stamp(15)));
    let ready = &completion.probes["ready"];
    assert_eq!((ready.sight.state, ready.sight.evidence.to_string().as_str()), (ProbeState::Green, "seen at 5"));
    assert_eq!(kept.past.probe("ready").sight.state, ProbeState::Suspect, "now it is another");
    events.push(Event::PhaseRolledBack { phase: "loki".into(), stamp: stamp(30), reason: "a hole".to_owned() });
    assert_eq!(record(&events).completion("loki"), None);
    events.push(Event::PhaseAdopted { phase: "loki".into(), stamp: stamp(31), reason: "by hand".to_owned() });
    assert_eq!(record(&events).completion("loki"), None, "adopted is not completed, whatever was before");
}

#[test]
fn exceptions_and_regressions_keep_how_they_ended() {
    let mut events = opened();
    let create = |id, second| Event::OverrideCreated {
        id,
        probe: "ready".into(),
        stamp: stamp(second),
        reason: "disk".to_owned(),
        ticket: None,
        until: Millis(9_000),
    };
    events.extend([create(0, 30), Event::OverrideEnded { id: 0, stamp: stamp(31) }, create(1, 32)]);
    events.push(Event::OverrideEnded { id: 1, stamp: Stamp { at: now(33), by: crate::decide::VERIFIER.to_owned() } });
    events.extend([create(2, 34), Event::AnotherBoot { at: now(35) }, create(3, 36)]);
    let latch = |second| Event::RegressionLatched {
        phase: "loki".into(),
        probe: "ready".into(),
        at: now(second),
        reason: BLIND.into(),
        evidence: "gone".into(),
    };
    let ack = Event::RegressionAcknowledged { phase: "loki".into(), stamp: stamp(41), reason: "a cable".to_owned() };
    events.extend([latch(40), ack, latch(42)]);
    let record = record(&events);
    let how: Vec<_> = record.exceptions.iter().map(|each| each.ended.as_ref().map(|ended| ended.how.as_str())).collect();
    assert_eq!(how, [Some("it was revoked"), Some("it expired"), Some("the machine was booted anew"), None]);
    let how: Vec<_> = record.regressions.iter().map(|each| each.ended.as_ref().map(|ended| ended.how.as_str())).collect();
    assert_eq!(how, [Some("a cable"), None]);
}

#[test]
fn the_fold_is_the_ledgers_own() {
    let story = story(20);
    let mut past = Past::default();
    let frames = chain(&story);
    for frame in &frames {
        past.take(frame).unwrap();
    }
    assert_eq!(past.state.durable, state_of(&story).durable);
    assert_eq!(past.head.hash, frames.last().unwrap().hash);
    assert!(matches!(past.state.durable.plan.as_ref().unwrap().phases[0].probes[1].nature, NaturePlan::Proof { .. }));
}
