use std::cell::RefCell;
use std::collections::VecDeque;

use super::super::super::render::{Collected, Format, Keyboard};
use super::super::super::tests::fixtures::{at, gate};
use super::*;

type Look = Result<GateBody, Trouble>;

fn unreachable() -> Look {
    Err(Trouble::new(Exit::UNREACHABLE, "nobody there"))
}

fn open_since(seconds: i64) -> GateBody {
    GateBody { open_since: Some(at(seconds)), ..gate(Verdict::Open) }
}

fn until(line: &str) -> Until {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        until: Until,
    }
    let args = ["wait"].into_iter().chain(line.split_whitespace());
    <Line as clap::Parser>::try_parse_from(args).unwrap().until
}

/// Waits over these looks, the last of which repeats; says exit code, number of looks, stdout and stderr.
async fn over(line: &str, looks: Vec<Look>) -> (Exit, usize, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let looks = RefCell::new((VecDeque::from(looks), 0));
    let mut io = Io {
        out: Box::new(&mut out),
        err: Box::new(&mut err),
        format: Format::Name,
        called: crate::cutover::plugin::Called::Plain,
        keyboard: Keyboard::None,
        screen: false,
        collected: Collected::default(),
        broken: None,
    };
    let look = async || {
        let mut looks = looks.borrow_mut();
        looks.1 += 1;
        if looks.0.len() > 1 { looks.0.pop_front().unwrap() } else { looks.0[0].clone() }
    };
    let until = until(line);
    let answer = wait(&mut io, &until, until.timeout.is_zero(), look).await;
    drop(io);
    let exit = answer.unwrap_or_else(|trouble| trouble.exit);
    let count = looks.borrow().1;
    (exit, count, anstream::adapter::strip_str(std::str::from_utf8(&err).unwrap()).to_string())
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_the_verdict_it_waited_for() {
    let soon = |verdict| vec![Ok(gate(Verdict::Unknown)), unreachable(), Ok(gate(verdict))];
    for (line, verdict, exit) in [
        ("", Verdict::Open, Exit::OPEN),
        ("--for closed", Verdict::Closed, Exit::CLOSED),
        ("--for pending", Verdict::Pending, Exit::PENDING),
    ] {
        assert_eq!(over(line, soon(verdict)).await.0, exit);
    }
}

#[tokio::test(start_paused = true)]
async fn it_gives_up_in_the_end() {
    for look in [Ok(gate(Verdict::Closed)), Ok(gate(Verdict::Unknown)), unreachable()] {
        let started = Instant::now();
        let (exit, looks, _) = over("--timeout 10s --interval 2s", vec![look]).await;
        assert_eq!((exit, looks, started.elapsed()), (Exit::TIMEOUT, 5, Duration::from_secs(10)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_that_hangs_does_not_hold_it() {
    let mut io = Io {
        out: Box::new(std::io::sink()),
        err: Box::new(std::io::sink()),
        format: Format::Name,
        called: crate::cutover::plugin::Called::Plain,
        keyboard: Keyboard::None,
        screen: false,
        collected: Collected::default(),
        broken: None,
    };
    let answer = wait(&mut io, &until("--timeout 10s"), false, async || std::future::pending().await).await;
    assert_eq!(answer.unwrap_err().exit, Exit::TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn fail_fast_ends_at_closed_and_unreachable_only() {
    let later = |look: Look| vec![Ok(gate(Verdict::Pending)), Ok(gate(Verdict::Unknown)), look];
    assert_eq!(over("--fail-fast", later(Ok(gate(Verdict::Closed)))).await.0, Exit::CLOSED);
    assert_eq!(over("--fail-fast", later(unreachable())).await.0, Exit::UNREACHABLE);
    assert_eq!(over("--fail-fast", later(Ok(open_since(0)))).await.0, Exit::OPEN);
}

#[tokio::test(start_paused = true)]
async fn what_waiting_does_not_mend_ends_it() {
    for exit in [Exit::AUTH, Exit::NOT_FOUND, Exit::USAGE] {
        assert_eq!(over("", vec![Err(Trouble::new(exit, "no"))]).await.0, exit);
    }
}

#[tokio::test(start_paused = true)]
async fn stable_means_watched_without_a_break() {
    let line = "--stable-for 6s --interval 2s --timeout 1m";
    assert_eq!(over(line, vec![Ok(open_since(-9999))]).await.1, 4);
    let broken_by = |look: Look| vec![Ok(open_since(0)), Ok(open_since(0)), look, Ok(open_since(0))];
    for look in [unreachable(), Ok(gate(Verdict::Pending)), Err(Trouble::new(Exit::UNKNOWN, "stale"))] {
        assert_eq!(over(line, broken_by(look)).await.1, 7);
    }
    let reopened = vec![Ok(open_since(0)), Ok(open_since(0)), Ok(open_since(3))];
    assert_eq!(over(line, reopened).await.1, 6);
}

#[tokio::test(start_paused = true)]
async fn it_speaks_on_change_only() {
    let looks =
        vec![Ok(gate(Verdict::Pending)), Ok(gate(Verdict::Pending)), unreachable(), unreachable(), Ok(gate(Verdict::Open))];
    let (_, _, said) = over("", looks).await;
    insta::assert_snapshot!(said);
}
