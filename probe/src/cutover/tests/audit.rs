//! The audit trail, verified on this side.

use wiremock::{Request, Respond};

use super::*;
use crate::audit::{AuditPage, Frame};
use crate::event::Event;
use crate::now::{Millis, Now};
use crate::state::Stamp;

fn chain(count: u64) -> Vec<Frame> {
    let mut head = Head::genesis();
    let frame = |seq| {
        let at = Now { t: Millis(seq), utc: super::fixtures::at(0) };
        let event = Event::PhaseBegun { phase: "alloy".into(), stamp: Stamp { at, by: "vic".to_owned() } };
        let frame = Frame::new(&head, at, 0, &event).unwrap();
        head = head.follow(&frame).unwrap();
        frame
    };
    (1..=count).map(frame).collect()
}

/// Serves pages of a chain, the beginning of which may be missing.
struct Trail(Vec<Frame>, Head);

/// What is before the first of these frames.
pub(super) fn anchor(frames: &[Frame]) -> Option<Head> {
    let first = frames.first().filter(|first| first.seq > 1)?;
    Some(Head { seq: first.seq - 1, hash: first.prev.clone() })
}

/// What a verifier says of events that it has removed.
pub(super) fn gone() -> ResponseTemplate {
    ResponseTemplate::new(410).set_body_json(json!({
        "code": "no_longer_kept", "message": "event 7 is no longer kept", "verdict": null, "blockers": [], "hint": "ask from there on",
    }))
}

impl Respond for Trail {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let asked = |name: &str| request.url.query_pairs().find(|(n, _)| n == name).unwrap().1.parse::<u64>().unwrap();
        let (from, limit) = (asked("from"), usize::try_from(asked("limit")).unwrap());
        let anchor = anchor(&self.0);
        if anchor.as_ref().is_some_and(|anchor| (1..=anchor.seq).contains(&from)) {
            return gone();
        }
        let frames: Vec<_> = self.0.iter().filter(|frame| frame.seq >= from).take(limit).cloned().collect();
        let next = frames.last().map(|frame| frame.seq + 1).filter(|next| *next <= self.1.seq);
        ok(&AuditPage { frames, next, head: self.1.clone(), anchor })
    }
}

async fn trail(frames: Vec<Frame>, head: Head) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(method("GET")).and(path("/v1/audit")).respond_with(Trail(frames, head)).mount(&server).await;
    server
}

fn head(frames: &[Frame]) -> Head {
    frames.last().map_or_else(Head::genesis, |frame| Head { seq: frame.seq, hash: frame.hash.clone() })
}

#[tokio::test]
async fn a_whole_trail_verifies_over_several_pages() {
    let frames = chain(1203);
    let end = head(&frames);
    let server = trail(frames, end.clone()).await;
    let ran = cutover(&server, "audit verify").await;
    assert_eq!((ran.exit, ran.out), (Exit::OPEN, format!("ok: 1203 events, head {}\n", end.hash)), "{}", ran.err);
}

#[tokio::test]
async fn a_change_a_gap_a_cut_and_another_head_are_found() {
    let frames = chain(600);
    let mut changed = frames.clone();
    changed[550].utc = super::fixtures::at(1);
    let mut gap = frames.clone();
    gap.remove(550);
    let cut = frames[..550].to_vec();
    for (found, said) in [(changed, "frame 551: it was changed"), (gap, "frame 551: "), (cut, "frame 551: it is missing")] {
        let ran = cutover(&trail(found, head(&frames)).await, "audit verify").await;
        assert_eq!(ran.exit, Exit::CLOSED);
        assert!(ran.err.contains(said), "{}", ran.err);
    }
    let other = Head { seq: 600, hash: "0".repeat(64) };
    let ran = cutover(&trail(frames, other).await, "audit verify").await;
    assert_eq!(ran.exit, Exit::CLOSED);
    assert!(ran.err.contains("frame 600: it is not the head"), "{}", ran.err);
}

#[tokio::test]
async fn an_empty_trail_proves_nothing() {
    let ran = cutover(&trail(vec![], Head::genesis()).await, "audit verify").await;
    assert_eq!(ran.exit, Exit::UNKNOWN, "{}", ran.out);
}

#[tokio::test]
async fn the_list_shows_the_newest() {
    let frames = chain(1203);
    let end = head(&frames);
    let server = trail(frames, end).await;
    insta::assert_snapshot!("audit_list", cutover(&server, "audit list --limit 2").await.out);
    let ran = cutover(&server, "audit list --limit 700 -o name").await;
    assert_eq!((ran.out.lines().next(), ran.out.lines().count()), (Some("504"), 700));
    let ran = cutover(&server, "audit list --from 7 --limit 1 -o name").await;
    assert_eq!(ran.out, "7\n");
}

#[tokio::test]
async fn a_directory_is_verified_without_a_verifier() {
    let ran = PLAIN.run("http://127.0.0.1:1", "audit verify --dir /nowhere").await;
    assert_eq!(ran.exit, Exit::CLOSED);
    assert!(ran.err.contains("no such directory"), "{}", ran.err);
}

#[tokio::test]
async fn a_trail_without_its_beginning_verifies_and_says_what_is_not_kept() {
    let frames = chain(1203);
    let server = trail(frames[500..].to_vec(), head(&frames)).await;
    let ran = cutover(&server, "audit verify").await;
    let said =
        format!("ok: 703 events, head {}\nevents 1 to 500 are no longer kept: verified are 501 to 1203\n", frames[1202].hash);
    assert_eq!((ran.exit, ran.out), (Exit::OPEN, said), "{}", ran.err);
    let json: Value = serde_json::from_str(&cutover(&server, "audit verify -o json").await.out).unwrap();
    assert_eq!(json["anchor"], json!({"seq": 500, "hash": frames[499].hash}));
    let whole = trail(frames.clone(), head(&frames)).await;
    let json: Value = serde_json::from_str(&cutover(&whole, "audit verify -o json").await.out).unwrap();
    assert!(json.get("anchor").is_none(), "{json}");
    let ran = cutover(&server, "audit list --limit 10000 -o name").await;
    assert_eq!((ran.out.lines().next(), ran.out.lines().count()), (Some("501"), 703));
    let ran = cutover(&server, "audit list --from 7").await;
    assert_eq!((ran.exit, ran.err.contains("event 7 is no longer kept")), (Exit::NOT_FOUND, true), "{}", ran.err);
    // Nothing is left of it that could be verified.
    let ran = cutover(&trail(vec![], Head::genesis()).await, "audit verify").await;
    assert_eq!(ran.exit, Exit::UNKNOWN, "{}", ran.out);
}

/// What is said to be before a chain, when a page from some frame on is asked for.
type Says = fn(u64, &[Frame]) -> Option<Head>;

/// Serves a chain, and says of each page what it begins after.
struct Saying(Vec<Frame>, Says);

impl Respond for Saying {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let asked = request.url.query_pairs().find(|(name, _)| name == "from").unwrap().1.parse::<u64>().unwrap();
        let frames: Vec<_> = self.0.iter().filter(|frame| frame.seq >= asked).take(500).cloned().collect();
        ok(&AuditPage { frames, next: None, head: head(&self.0), anchor: (self.1)(asked, &self.0) })
    }
}

#[tokio::test]
async fn a_beginning_that_contradicts_what_was_verified_is_a_broken_chain() {
    let of = |frame: &Frame| Head { seq: frame.seq, hash: frame.hash.clone() };
    let honest: Says = |asked, frames| {
        // It is shortened while it is read, behind what was read.
        (asked > 500).then(|| Head { seq: 100, hash: frames[99].hash.clone() })
    };
    let lies: [Says; 5] = [
        |asked, _| (asked > 500).then(|| Head { seq: 100, hash: "1".repeat(64) }),
        |asked, frames| (asked > 500).then(|| Head { seq: 700, hash: frames[699].hash.clone() }),
        |_, frames| Some(Head { seq: 3, hash: frames[2].hash.clone() }),
        |_, _| Some(Head { seq: 0, hash: "1".repeat(64) }),
        |asked, frames| (asked == 0).then(|| Head { seq: 100, hash: frames[99].hash.clone() }),
    ];
    let ask = async |says: Says, frames: Vec<Frame>| {
        let server = MockServer::start().await;
        Mock::given(path("/v1/audit")).respond_with(Saying(frames, says)).mount(&server).await;
        cutover(&server, "audit verify").await
    };
    let ran = ask(honest, chain(1203)).await;
    assert_eq!(ran.exit, Exit::OPEN, "{}", ran.err);
    for (number, lie) in lies.into_iter().enumerate() {
        let mut frames = chain(1203);
        if number == 3 {
            // A chain of its own, which does not begin with the genesis.
            let start = Head { seq: 0, hash: "1".repeat(64) };
            let event: Event = serde_json::from_str(frames[0].event.get()).unwrap();
            frames = vec![Frame::new(&start, Now { t: Millis(0), utc: super::fixtures::at(0) }, 0, &event).unwrap()];
            assert_eq!(of(&frames[0]).seq, 1);
        }
        let ran = ask(lie, frames).await;
        assert_eq!(ran.exit, Exit::CLOSED, "lie {number}: {}{}", ran.out, ran.err);
        assert!(ran.err.contains("the audit trail does not verify: frame "), "lie {number}: {}", ran.err);
    }
}

/// Is shortened after the first page of it was sent, so that the next one is gone; for good, or again and again.
struct Shrinking(Vec<Frame>, bool, std::sync::atomic::AtomicUsize);

impl Respond for Shrinking {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let nth = self.2.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        match nth {
            0 => ok(&AuditPage { frames: self.0[..500].to_vec(), next: Some(501), head: head(&self.0), anchor: None }),
            nth if nth == 1 || self.1 => gone(),
            _ => Trail(self.0[600..].to_vec(), head(&self.0)).respond(request),
        }
    }
}

#[tokio::test]
async fn a_trail_that_is_shortened_meanwhile_is_verified_anew() {
    for (for_ever, exit) in [(false, Exit::OPEN), (true, Exit::NOT_FOUND)] {
        let server = MockServer::start().await;
        let shrinking = Shrinking(chain(1203), for_ever, std::sync::atomic::AtomicUsize::default());
        Mock::given(path("/v1/audit")).respond_with(shrinking).mount(&server).await;
        let ran = cutover(&server, "audit verify").await;
        assert_eq!(ran.exit, exit, "{}", ran.err);
        assert_eq!(ran.out.contains("events 1 to 600 are no longer kept"), !for_ever, "{}", ran.out);
    }
}
