//! What was: `report`, `history` and `gate explain --at`.

use wiremock::matchers::query_param;
use wiremock::{Request, Respond};

use super::audit::{anchor, gone};
use super::fixtures::{at, past, report};
use super::*;
use crate::audit::{AuditPage, Frame};
use crate::event::{Event, StepEnd, Way};
use crate::gate::Verdict;
use crate::now::{Millis, Now};
use crate::state::{Lock, ProbeState, Stamp};

fn fixed(ran: &Ran, server: &MockServer) -> String {
    let text = format!("{}--- stderr\n{}--- exit {} {}", ran.out, ran.err, ran.exit.code, ran.exit.name);
    text.replace(&server.uri(), "http://verifier:9470")
}

/// What a hostile target, or a hostile person, may say.
const HOSTILE: &str = "</code><script>alert('x')</script> ``` [x](javascript:y) | *z*\n# no heading \u{1b}[31m\u{202e}";

#[tokio::test]
async fn the_report_is_a_checklist_with_evidence() {
    let server = serve("GET", "/v1/report", ok(&report())).await;
    insta::assert_snapshot!("report", fixed(&cutover(&server, "report").await, &server));
    insta::assert_snapshot!("report_html", fixed(&cutover(&server, "report --html").await, &server));
    let json = cutover(&server, "report -o json").await;
    assert_eq!(serde_json::from_str::<crate::api::types::ReportBody>(&json.out).unwrap(), report(), "the body as it is");
    assert_eq!(cutover(&server, "report -o yaml").await.exit, Exit::OPEN);
    assert_eq!(
        cutover(&server, "report -o name").await.out,
        "ingest\npreflight\n",
        "the preflight of a waiting phase is asked for"
    );
    let both = cutover(&server, "report --html -o json").await;
    assert_eq!(both.exit, Exit::USAGE);
    assert!(both.err.contains("leave out one of"), "{}", both.err);
}

#[tokio::test]
async fn a_stale_report_ticks_nothing_of_the_present() {
    let mut body = report();
    body.age_seconds = Some(42.0);
    let server = serve("GET", "/v1/report", ok(&body)).await;
    for line in ["report", "report --html", "report -o json", "report -o yaml"] {
        let stale = cutover(&server, line).await;
        assert_eq!(stale.exit, Exit::UNKNOWN, "{line}");
        assert!(stale.err.contains("42.0s old"), "{line}: {}", stale.err);
        for open in ["gate OPEN", "- [x] journal (", "\"open\"", "class=\"open\""] {
            assert!(!stale.out.contains(open), "{line}: {open}: {}", stale.out);
        }
    }
    let markdown = cutover(&server, "report").await.out;
    assert!(markdown.contains("- [ ] journal (logCanary): UNKNOWN"), "{markdown}");
    assert!(markdown.contains("  - when the phase was completed: GREEN"), "what was proven then stays so: {markdown}");
}

#[tokio::test]
async fn hostile_words_stay_words_in_every_language() {
    let mut body = report();
    let phase = &mut body.phases[0];
    for text in [
        &mut phase.criteria[0].probe.evidence,
        &mut phase.overrides_ever[0].made.reason,
        &mut phase.regressions_ever[0].evidence,
        &mut phase.phase.steps[0].note,
    ] {
        HOSTILE.clone_into(text);
    }
    phase.overrides_ever[0].made.ticket = Some(HOSTILE.to_owned());
    phase.criteria[0].at_completion.as_mut().unwrap().evidence = HOSTILE.to_owned();
    phase.phase.adopted = Some(HOSTILE.to_owned());
    body.next_step = HOSTILE.to_owned();
    let server = serve("GET", "/v1/report", ok(&body)).await;
    let html = cutover(&server, "report --html").await.out;
    assert!(
        !html.contains("<script") && !html.contains('\u{202e}') && !html.contains("src=") && !html.contains("url("),
        "{html}"
    );
    assert_eq!(html.matches("&lt;script&gt;alert(&#39;x&#39;)").count(), 8, "{html}");
    let markdown = cutover(&server, "report -o wide").await.out;
    for line in markdown.lines().filter(|line| line.contains("script")) {
        let told = line.contains("```` </code><script>") && (line.ends_with("````") || line.ends_with("````)"));
        let ours = line.contains("\\</code\\>\\<script\\>");
        assert!(told || ours, "{line}");
    }
    assert_eq!(markdown.matches("<script").count(), 8, "{markdown}");
    assert_eq!(markdown.lines().filter(|line| line.starts_with("# ")).count(), 1, "{markdown}");
    assert!(!markdown.contains('\u{1b}') && !markdown.contains('\u{202e}'), "{markdown}");
}

#[tokio::test]
async fn a_gate_is_explained_as_it_was() {
    let server = serve("GET", "/v1/gates/loki/at", ok(&past(Verdict::Closed))).await;
    let closed = cutover(&server, "gate explain loki --at 2026-02-02T02:30:00Z").await;
    insta::assert_snapshot!("explain_then", fixed(&closed, &server));
    insta::assert_snapshot!("explain_then_wide", fixed(&cutover(&server, "gate explain loki --at 10m -o wide").await, &server));
    let json = cutover(&server, "gate explain loki --at 10m -o json").await;
    assert_eq!((json.exit, json.out.contains("\"open\"")), (Exit::CLOSED, false), "{}", json.out);
    let server = serve("GET", "/v1/gates/loki/at", ok(&past(Verdict::Unknown))).await;
    insta::assert_snapshot!("explain_down", fixed(&cutover(&server, "gate explain loki --at 10m").await, &server));
    for (verdict, exit) in [
        (Verdict::Open, Exit::OPEN),
        (Verdict::Closed, Exit::CLOSED),
        (Verdict::Pending, Exit::PENDING),
        (Verdict::Unknown, Exit::UNKNOWN),
    ] {
        let server = serve("GET", "/v1/gates/loki/at", ok(&past(verdict))).await;
        for format in ["table", "wide", "json", "yaml", "name", "github", "junit"] {
            let line = format!("gate explain loki --at 10m -o {format}");
            assert_eq!(cutover(&server, &line).await.exit, exit, "{line}");
        }
    }
}

#[tokio::test]
async fn what_was_open_is_no_output_of_a_pipeline() {
    let server = serve("GET", "/v1/gates/loki/at", ok(&past(Verdict::Open))).await;
    let folder = tempfile::tempdir().unwrap();
    let shell = Shell { collected: Some(folder.path().to_owned()), ..PLAIN };
    shell.run(&server.uri(), "gate explain loki --at 10m -o github").await;
    let outputs = std::fs::read_to_string(folder.path().join("output")).unwrap();
    assert!(outputs.contains("verdict_then=open\n"), "{outputs}");
    assert!(!outputs.lines().any(|line| line.starts_with("open=") || line.starts_with("verdict=")), "{outputs}");
}

#[tokio::test]
async fn a_span_is_counted_from_now_and_refusals_say_what_to_do() {
    let server = MockServer::start().await;
    let asked = |time: &str| Mock::given(path("/v1/gates/loki/at")).and(query_param("time", time));
    asked("2026-02-02T01:10:00Z").respond_with(ok(&past(Verdict::Closed))).mount(&server).await;
    assert_eq!(cutover(&server, "gate explain loki --at 90m").await.exit, Exit::CLOSED);
    for (status, exit) in [(410, Exit::NOT_FOUND), (400, Exit::USAGE), (404, Exit::NOT_FOUND)] {
        let server = serve("GET", "/v1/gates/loki/at", refusal(status, None, json!([]))).await;
        let ran = cutover(&server, "gate explain loki --at 90m").await;
        assert_eq!(ran.exit, exit, "{status}");
        assert!(ran.err.contains("hint: wait"), "{}", ran.err);
    }
    for lie in [past(Verdict::Open), past(Verdict::Unknown)] {
        let mut lie = lie;
        if lie.verdict == Verdict::Open {
            lie.blockers = past(Verdict::Closed).blockers;
        } else {
            (lie.verdict, lie.blockers) = (Verdict::Open, vec![]);
        }
        let server = serve("GET", "/v1/gates/loki/at", ok(&lie)).await;
        let ran = cutover(&server, "gate explain loki --at 10m").await;
        assert_eq!((ran.exit, ran.err.contains("contradicts itself")), (Exit::UNKNOWN, true), "{}", ran.err);
    }
    assert!(Cli::try_parse_from(["cutover", "gate", "explain", "loki", "--at", "2h", "--entry"]).is_err());
}

/// Serves pages of a chain, a hundred frames at most.
struct Trail(Vec<Frame>);

impl Respond for Trail {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let asked = |name: &str| request.url.query_pairs().find(|(n, _)| n == name).unwrap().1.parse::<u64>().unwrap();
        let (from, limit) = (asked("from"), usize::try_from(asked("limit").min(100)).unwrap());
        let head = self.0.last().map_or_else(Head::genesis, |frame| Head { seq: frame.seq, hash: frame.hash.clone() });
        let anchor = anchor(&self.0);
        if anchor.as_ref().is_some_and(|anchor| (1..=anchor.seq).contains(&from)) {
            return gone();
        }
        let frames: Vec<_> = self.0.iter().filter(|frame| frame.seq >= from).take(limit).cloned().collect();
        let next = frames.last().map(|frame| frame.seq + 1).filter(|next| *next <= head.seq);
        ok(&AuditPage { frames, next, head, anchor })
    }
}

pub(super) async fn trail(events: &[Event]) -> MockServer {
    trail_after(0, events).await
}

/// A trail of which so many events are no longer kept.
async fn trail_after(gone: usize, events: &[Event]) -> MockServer {
    let mut head = Head::genesis();
    let mut frames = Vec::new();
    for (nth, event) in events.iter().enumerate() {
        let seconds = i64::try_from(nth).unwrap() - i64::try_from(events.len()).unwrap();
        let frame = Frame::new(&head, Now { t: Millis(0), utc: at(seconds * 60) }, 0, event).unwrap();
        head = head.follow(&frame).unwrap();
        frames.push(frame);
    }
    let server = serve("GET", "/v1/report", ok(&report())).await;
    Mock::given(method("GET")).and(path("/v1/audit")).respond_with(Trail(frames.split_off(gone))).mount(&server).await;
    server
}

pub(super) fn story() -> Vec<Event> {
    let stamp = |seconds: i64, by: &str| Stamp { at: Now { t: Millis(0), utc: at(seconds) }, by: by.to_owned() };
    let now = |seconds: i64| stamp(seconds, "").at;
    let start = |way| Event::StepStarted {
        phase: "loki".into(),
        step: "copy".into(),
        way,
        stamp: stamp(-300, "vic"),
        lock: 7,
        checked: true,
        switch: true,
        ponr: true,
        seals: vec![],
    };
    let lock = Lock {
        id: 7,
        phase: "loki".into(),
        stamp: stamp(-400, "vic"),
        place: "laptop, process 4711".to_owned(),
        ttl: std::time::Duration::from_mins(1),
    };
    vec![
        Event::VerifierStarted {
            at: Now { t: Millis(1_100_000), utc: at(-900) },
            last: Some(Now { t: Millis(0), utc: at(-2000) }),
            version: "0.1.0".to_owned(),
        },
        Event::PhaseBegun { phase: "loki".into(), stamp: stamp(-800, "vic") },
        Event::Refused {
            stamp: stamp(-700, "cron"),
            what: "complete loki".to_owned(),
            phase: Some("loki".into()),
            kind: "gate_closed".to_owned(),
            message: "phase loki can not complete: closed".to_owned(),
            times: 60,
        },
        Event::OverrideCreated {
            id: 1,
            probe: "journal".into(),
            stamp: stamp(-600, "ann"),
            reason: HOSTILE.to_owned(),
            ticket: Some("OPS-4711".into()),
            until: Millis(60_000),
        },
        Event::LockTaken { lock },
        start(Way::Do),
        Event::StepEnded {
            phase: "loki".into(),
            step: "copy".into(),
            way: Way::Do,
            stamp: stamp(-200, "vic"),
            end: StepEnd::Failed,
            switch: true,
            note: "exit 3".to_owned(),
        },
        Event::ProbeChanged {
            probe: "ingest".into(),
            at: now(-150),
            from: ProbeState::Green,
            to: ProbeState::Red,
            reason: None,
            evidence: "12 lines lost".into(),
        },
        Event::VerdictChanged {
            phase: "loki".into(),
            at: now(-150),
            from: Some(Verdict::Open),
            to: Verdict::Closed,
            epoch: 3,
            blockers: vec!["loki/ingest: lost".to_owned()],
        },
        Event::OverrideEnded { id: 1, stamp: stamp(-100, "verifier") },
    ]
}

#[tokio::test]
async fn the_history_tells_who_did_what() {
    let server = trail(&story()).await;
    assert!(!cutover(&server, "history -o wide").await.out.contains('\u{202e}'), "nothing turns the words around");
    insta::assert_snapshot!("history", fixed(&cutover(&server, "history").await, &server));
    let lines = async |line: &str| {
        let ran = cutover(&server, line).await;
        assert_eq!(ran.exit, Exit::OPEN, "{line}: {}", ran.err);
        ran.out.lines().skip(1).map(|line| line.split_once("Z  ").unwrap().1.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!((lines("history").await.len(), lines("history --all").await.len()), (9, 10));
    let loki = lines("history --all --phase loki").await;
    assert_eq!(loki.len(), 8, "{loki:?}");
    assert!(loki.iter().any(|line| line.contains("probe ingest went from green to red")), "{loki:?}");
    let alloy = lines("history --phase alloy").await;
    assert_eq!(alloy.len(), 3, "the start, and the override of its probe: {alloy:?}");
    assert_eq!(lines("history --limit 2").await.len(), 2);
    assert!(lines("history --limit 1").await[0].contains("ended override 1"));
    assert_eq!(lines("history --since 150s --all").await.len(), 2, "by the moment at which it was written");
    let json = cutover(&server, "history -o json --limit 1").await;
    let json: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((&json["events"][0]["seq"], &json["events"][0]["event"]["event"]), (&10.into(), &"overrideEnded".into()));
    assert_eq!(cutover(&server, "history -o name").await.out.lines().count(), 9);
    let nowhere = cutover(&server, "history --phase lokki").await;
    assert_eq!(nowhere.exit, Exit::NOT_FOUND);
    assert!(nowhere.err.contains("there is alloy, loki, grafana"), "{}", nowhere.err);
    let nothing = cutover(&server, "history --since 1s").await;
    assert_eq!((nothing.exit, nothing.out.as_str()), (Exit::OPEN, ""));
    assert!(nothing.err.contains("nothing happened"), "{}", nothing.err);
}

#[tokio::test]
async fn a_long_history_is_read_from_its_end() {
    let events: Vec<_> = (0..130).flat_map(|_| story()).collect();
    let server = trail(&events).await;
    let ran = cutover(&server, "history --limit 1000 -o name").await;
    let seqs: Vec<u64> = ran.out.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!((seqs.len(), seqs.first(), seqs.last()), (1000, Some(&190), Some(&1300)), "{seqs:?}");
    assert!(seqs.is_sorted(), "{seqs:?}");
    let ran = cutover(&server, "history -o name").await;
    assert_eq!(ran.out.lines().count(), 50);
    let asked = server.received_requests().await.unwrap();
    assert!(asked.iter().filter(|request| request.url.path() == "/v1/audit").count() < 40);
}

#[tokio::test]
async fn a_history_ends_where_the_trail_begins_and_says_so() {
    let events: Vec<_> = (0..130).flat_map(|_| story()).collect();
    let server = trail_after(1200, &events).await;
    let ran = cutover(&server, "history --limit 1000 -o name").await;
    let seqs: Vec<u64> = ran.out.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!((ran.exit, seqs.len(), seqs.first(), seqs.last()), (Exit::OPEN, 90, Some(&1201), Some(&1300)), "{seqs:?}");
    assert!(ran.err.contains("events 1 to 1200 are no longer kept"), "{}", ran.err);
    for line in ["history --limit 10 -o name", "history --since 150s"] {
        let ran = cutover(&server, line).await;
        assert_eq!((ran.exit, ran.err.as_str()), (Exit::OPEN, ""), "{line}: nothing is missing from it");
    }
}
