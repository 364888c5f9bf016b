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

/// Serves pages of a chain.
struct Trail(Vec<Frame>, Head);

impl Respond for Trail {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let asked = |name: &str| request.url.query_pairs().find(|(n, _)| n == name).unwrap().1.parse::<u64>().unwrap();
        let (from, limit) = (asked("from"), usize::try_from(asked("limit")).unwrap());
        let frames: Vec<_> = self.0.iter().filter(|frame| frame.seq >= from).take(limit).cloned().collect();
        let next = frames.last().map(|frame| frame.seq + 1).filter(|next| *next <= self.1.seq);
        ok(&AuditPage { frames, next, head: self.1.clone() })
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
