//! Which events are marked, and in which words.

use checks::grafana::annotations::Mark;

use crate::audit::Frame;
use crate::config::without_secrets;
use crate::event::{Event, Way};
use crate::now::Now;
use crate::state::Stamp;

/// Longest text from outside, in characters.
const MAX_TEXT: usize = 200;
/// So much of an event's hash tells it from that of any other chain.
const HASH: usize = 16;

/// What is marked.
struct Told {
    /// The tag.
    tag: &'static str,
    phase: String,
    at: Now,
    what: String,
}

fn by(tag: &'static str, phase: &str, stamp: &Stamp, what: &str) -> Told {
    Told { tag, phase: phase.to_owned(), at: stamp.at, what: format!("{what} by {}", clip(&stamp.by)) }
}

/// The mark of an event; none for those that say nothing about a phase's way.
pub(super) fn mark(frame: &Frame, event: &Event, migration: &str, tags: &[String]) -> Option<Mark> {
    let Told { tag, phase, at, what } = tell(event)?;
    let own = ["phasegate".to_owned(), format!("migration:{migration}"), format!("phase:{phase}"), tag.to_owned()];
    let hash = frame.hash.get(..HASH).unwrap_or(&frame.hash);
    Some(Mark {
        at: at.utc,
        text: escape(&format!("phase {phase} of migration {migration}: {what}")),
        key: format!("phasegate-event:{}-{hash}", frame.seq),
        tags: own.into_iter().chain(tags.iter().cloned()).collect(),
    })
}

fn tell(event: &Event) -> Option<Told> {
    let told = match event {
        Event::PhaseBegun { phase, stamp } => by("begun", phase, stamp, "begun"),
        // That of a phase without steps is one with its end.
        Event::StepStarted { phase, stamp, way: Way::Do, switch: true, .. } => {
            by("switching", phase, stamp, "the switch was started")
        }
        Event::PhaseSwitched { phase, stamp, .. } => by("switched", phase, stamp, "switched"),
        Event::PhaseCompleted { phase, stamp, overrides, .. } => {
            let with = if overrides.is_empty() { String::new() } else { format!(", with {} overridden", overrides.len()) };
            let told = by("completed", phase, stamp, "completed");
            Told { what: format!("{}{with}", told.what), ..told }
        }
        Event::PhaseRolledBack { phase, stamp, reason } => {
            let told = by("rolled-back", phase, stamp, "rolled back");
            Told { what: format!("{}: {}", told.what, clip(reason)), ..told }
        }
        Event::PhaseAdopted { phase, stamp, reason } => {
            let told = by("adopted", phase, stamp, "adopted, not proven,");
            Told { what: format!("{}: {}", told.what, clip(reason)), ..told }
        }
        // What was seen stays in the record: it may quote more than everybody who sees a dashboard should read.
        Event::RegressionLatched { phase, probe, at, reason, .. } => {
            let what = format!("regressed: probe {probe} went red ({reason})");
            Told { tag: "regressed", phase: phase.to_string(), at: *at, what }
        }
        Event::RegressionAcknowledged { phase, stamp, reason } => {
            let told = by("regression-acknowledged", phase, stamp, "its regressions were acknowledged");
            Told { what: format!("{}: {}", told.what, clip(reason)), ..told }
        }
        Event::StepStarted { .. }
        | Event::ConfigLoaded { .. }
        | Event::ProbeChanged { .. }
        | Event::VerdictChanged { .. }
        | Event::ControlPassed { .. }
        | Event::MemoryLost { .. }
        | Event::ProofFinished { .. }
        | Event::AnotherServer { .. }
        | Event::AnotherBoot { .. }
        | Event::VerifierStarted { .. }
        | Event::NobodyLooked { .. }
        | Event::Refused { .. }
        | Event::FactRecorded { .. }
        | Event::OverrideCreated { .. }
        | Event::OverrideEnded { .. }
        | Event::PartForgotten { .. }
        | Event::LockTaken { .. }
        | Event::LockReleased { .. }
        | Event::StepWorked { .. }
        | Event::StepEnded { .. }
        | Event::PlanApproved { .. }
        | Event::PonrDetected { .. }
        | Event::TargetRemoved { .. }
        | Event::TargetGone { .. }
        | Event::TargetReturned { .. }
        | Event::StepsRehearsed { .. }
        | Event::LockRenewed { .. }
        | Event::RunObserved { .. }
        | Event::ControlObserved { .. }
        | Event::Evaluated(_)
        | Event::StoreChanged { .. } => return None,
    };
    Some(told)
}

/// What somebody wrote, in one line that is not too long, without what it says is a secret.
fn clip(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let words: Vec<String> = plain.split_whitespace().map(str::to_owned).collect();
    let text = without_secrets(&words).join(" ");
    let mut clipped: String = text.chars().take(MAX_TEXT).collect();
    if clipped.len() < text.len() {
        clipped.push('…');
    }
    clipped
}

/// Grafana shows the text of an annotation as HTML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use checks::ReasonSpec;

    use super::*;
    use crate::audit::Head;
    use crate::event::StepEnd;
    use crate::store::testing::now;

    fn stamp(second: u64) -> Stamp {
        Stamp { at: now(second), by: "anna".to_owned() }
    }

    fn told(event: &Event) -> Option<Mark> {
        let frame = Frame::new(&Head { seq: 11, hash: "0".repeat(64) }, now(9), 0, event).unwrap();
        mark(&frame, event, "homelab", &["home".to_owned()])
    }

    fn back(reason: &str) -> Mark {
        told(&Event::PhaseRolledBack { phase: "loki".into(), stamp: stamp(3), reason: reason.to_owned() }).unwrap()
    }

    #[test]
    fn what_happens_to_a_phase_is_told_in_words() {
        let (phase, stamp) = (|| "loki".into(), || stamp(3));
        let step = |way, switch| Event::StepStarted {
            phase: phase(),
            step: "move".into(),
            way,
            stamp: stamp(),
            lock: 1,
            checked: false,
            switch,
            ponr: false,
            seals: vec![],
        };
        let reason = ReasonSpec::fail("refused", "start it").into();
        for (event, tag, text) in [
            (Event::PhaseBegun { phase: phase(), stamp: stamp() }, "begun", "begun by anna"),
            (step(Way::Do, true), "switching", "the switch was started by anna"),
            (Event::PhaseSwitched { phase: phase(), stamp: stamp(), seals: vec![] }, "switched", "switched by anna"),
            (
                Event::PhaseCompleted { phase: phase(), stamp: stamp(), seals: vec![], overrides: vec![1, 2] },
                "completed",
                "completed by anna, with 2 overridden",
            ),
            (
                Event::PhaseAdopted { phase: phase(), stamp: stamp(), reason: "before us".into() },
                "adopted",
                "adopted, not proven, by anna: before us",
            ),
            (
                Event::RegressionLatched {
                    phase: phase(),
                    probe: "ready".into(),
                    at: now(3),
                    reason,
                    evidence: "http://192.0.2.1: refused".into(),
                },
                "regressed",
                "regressed: probe ready went red (refused)",
            ),
        ] {
            let mark = told(&event).unwrap();
            assert_eq!(mark.text, format!("phase loki of migration homelab: {text}"));
            assert_eq!(mark.tags, ["phasegate", "migration:homelab", "phase:loki", tag, "home"]);
            assert_eq!(mark.at, now(3).utc, "when it happened, not when it was written");
        }
        for event in [step(Way::Do, false), step(Way::Undo, true)] {
            assert_eq!(told(&event), None);
        }
        let ended = Event::StepEnded {
            phase: phase(),
            step: "move".into(),
            way: Way::Do,
            stamp: stamp(),
            end: StepEnd::Done,
            switch: true,
            note: String::new(),
        };
        let rehearsed = Event::StepsRehearsed { phase: phase(), stamp: stamp(), spans: [("move".into(), Duration::ZERO)].into() };
        assert_eq!((told(&ended), told(&rehearsed)), (None, None));
    }

    #[test]
    fn each_event_has_a_tag_that_no_other_has() {
        let (one, other) = (back("a hole"), back("another hole"));
        assert!(one.key.starts_with("phasegate-event:12-") && one.key.len() == "phasegate-event:12-".len() + HASH, "{}", one.key);
        assert_ne!(one.key, other.key, "the same number in another chain");
        assert_eq!(one.key, back("a hole").key);
    }

    #[test]
    fn what_somebody_wrote_is_short_and_one_line_and_no_markup_and_no_secret() {
        let text = |reason: &str| back(reason).text.rsplit_once("by anna: ").unwrap().1.to_owned();
        assert_eq!(text("a\nhole\u{1b}[31m"), "a hole [31m");
        assert_eq!(text("<img src=x> & co"), "&lt;img src=x&gt; &amp; co");
        assert_eq!(text("see postgres://me:hunter2@host/db, token=hunter3"), "see postgres://***@host/db, token=***");
        let long = text(&"ä".repeat(10_000));
        assert_eq!(long.chars().count(), MAX_TEXT + 1);
    }

    #[test]
    fn all_tags_fit_into_what_grafana_keeps() {
        let longest = "p".repeat(63);
        let event = Event::RegressionAcknowledged { phase: longest.as_str().into(), stamp: stamp(1), reason: String::new() };
        let frame = Frame::new(&Head { seq: u64::MAX - 1, hash: "0".repeat(64) }, now(9), 0, &event).unwrap();
        let mark = mark(&frame, &event, &longest, &["t".repeat(200)]).unwrap();
        let tags: Vec<_> = mark.tags.iter().chain([&mark.key]).collect();
        assert!(serde_json::to_string(&tags).unwrap().len() <= 500, "{tags:?}");
    }
}
