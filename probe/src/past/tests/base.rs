//! What the events told stands for them when they are no longer kept.

use super::*;

/// One of everything that is remembered, two starts and a frozen evaluator.
fn eventful() -> Vec<Event> {
    let created = |id, second| Event::OverrideCreated {
        id,
        probe: "ready".into(),
        stamp: stamp(second),
        reason: "disk".to_owned(),
        ticket: None,
        until: Millis(70_000),
    };
    let mut events = opened();
    events.truncate(8);
    events.extend([
        created(0, 11),
        completed(12),
        colour(14, ProbeState::Green, ProbeState::Red),
        verdict(14, Some(Verdict::Open), Verdict::Closed, &["loki/ready: refused"]),
        Event::RegressionLatched {
            phase: "loki".into(),
            probe: "ready".into(),
            at: now(14),
            reason: BLIND.into(),
            evidence: "gone".into(),
        },
        Event::OverrideEnded { id: 0, stamp: stamp(15) },
        started(60, Some(40)),
        verdict(61, None, Verdict::Unknown, &["loki/ready: no_run"]),
        created(1, 62),
        colour(63, ProbeState::Unknown, ProbeState::Green),
        verdict(63, Some(Verdict::Unknown), Verdict::Open, &[]),
        Event::NobodyLooked { at: now(80), last: now(70) },
        Event::RegressionAcknowledged { phase: "loki".into(), stamp: stamp(81), reason: "a cable".to_owned() },
        Event::AnotherBoot { at: now(90) },
        started(90, Some(85)),
        verdict(91, None, Verdict::Unknown, &[]),
        Event::PhaseRolledBack { phase: "loki".into(), stamp: stamp(92), reason: "a hole".to_owned() },
        config(93),
    ]);
    events
}

/// As it comes back from where it is kept.
fn kept(record: &Record) -> Record {
    serde_json::from_str(&serde_json::to_string(record).unwrap()).unwrap()
}

fn answer(frames: &[Frame], time: DateTime<Utc>, begin: Past) -> Result<String, Beyond> {
    let mut search = Search::new("loki", time, now(100), begin);
    let _last = frames.iter().find(|frame| search.take(frame).unwrap());
    let then = search.finish(Some(now(100)))?;
    let Then { verdict, since, until, gap, recorded, blockers, .. } = &then;
    let overrides: Vec<_> = then.overrides().collect();
    let probes = [then.probe("ready"), then.probe("history")];
    let phase = then.state().phase("loki");
    Ok(format!("{verdict:?} {since:?} {until:?} {gap:?} {recorded:?} {blockers:?} {overrides:?} {probes:?} {phase:?}"))
}

#[test]
fn wherever_the_record_is_cut_what_is_told_is_the_same() {
    let frames = chain(&eventful());
    let whole = serde_json::to_value(record(&eventful())).unwrap();
    let mut begin = Record::default();
    for cut in 0..frames.len() {
        let (_, rest) = frames.split_at(cut);
        let mut read = kept(&begin);
        for frame in rest {
            read.take(frame).unwrap();
        }
        assert_eq!(serde_json::to_value(&read).unwrap(), whole, "cut after {cut}");
        let horizon = begin.past.latest;
        let mut told = 0;
        for half in 0..200 {
            let time = utc(half / 2) + chrono::TimeDelta::milliseconds(i64::try_from(half % 2).unwrap() * 500);
            let asked = answer(rest, time, kept(&begin).past);
            if time < utc(1) {
                assert_eq!(asked, Err(Beyond::BeforeTheRecord(Some(utc(1)))));
            } else if horizon.is_some_and(|horizon| time < horizon) {
                assert_eq!(asked, Err(Beyond::NoLongerKept), "cut after {cut}, at {time}");
            } else {
                assert_eq!(asked, answer(&frames, time, Past::default()), "cut after {cut}, at {time}");
                told += 1;
            }
        }
        assert!(told > 0);
        begin.take(&frames[cut]).unwrap();
    }
}

#[test]
fn a_moment_that_came_before_the_clock_was_set_back_is_no_longer_kept() {
    let mut events = opened();
    let back = Stamp { at: Now { t: Millis(22_000), utc: utc(12) }, by: "ann".to_owned() };
    events.push(Event::OverrideEnded { id: 9, stamp: back });
    let frames = chain(&events);
    let mut begin = Record::default();
    for frame in &frames {
        begin.take(frame).unwrap();
    }
    // The last event that is gone is of second 12, the latest of second 20: this was before the one and after the other.
    assert_eq!(answer(&[], utc(15), begin.past.clone()), Err(Beyond::NoLongerKept));
    assert!(answer(&[], utc(20), begin.past).is_ok());
}
