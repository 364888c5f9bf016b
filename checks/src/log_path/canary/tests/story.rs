//! What pipelines do, told line by line.

use super::*;

const ALL: fn(u64) -> bool = |_| true;
const NONE: fn(u64) -> bool = |_| false;

#[tokio::test]
async fn lines_that_arrive_pass_and_are_counted() {
    let mut world = World::new().await;
    world.writes(600_000, ALL);
    let report = world.report().await;
    let outcome = part(&report, NODE);
    assert_eq!(word(&outcome), "pass");
    assert!(outcome.evidence().as_str().contains("line 600 of 600"), "{outcome:?}");
    let value = |name| report.measures.iter().find(|measure| measure.name == name).unwrap().value.to_string();
    let values = ["head_seq", "latency_seconds", "outstanding_lines", "lost_lines", "duplicate_lines"].map(value);
    assert_eq!(values, ["600", "0", "0", "0", "0"]);
}

#[tokio::test]
async fn the_first_line_is_waited_for_and_no_line_at_all_is_stalled() {
    let mut world = World::new().await;
    assert_eq!(world.says().await, "first_line");
    world.writes(3000, NONE);
    assert_eq!(world.says().await, "first_line");
    world.writes(5000, NONE);
    assert_eq!(world.says().await, "stalled");
    assert_eq!(world.control().await, "stalled");
    world.writes(1000, ALL);
    assert_eq!(world.says().await, "pass");
    assert_eq!(world.control().await, "stalled", "whatever is there, nobody wrote that");
}

#[tokio::test]
async fn a_pipeline_that_stops_is_seen_when_the_next_line_is_late() {
    let mut world = World::new().await;
    world.writes(60_000, ALL);
    assert_eq!(world.says().await, "pass");
    world.writes(6000, NONE);
    assert_eq!(world.says().await, "pass", "five seconds and a moment");
    world.writes(1000, NONE);
    assert_eq!(world.says().await, "stalled");
    assert_eq!(world.measure("outstanding_lines").await, "7");
}

/// With a cadence slower than `lateAfter`, the line that was just written is not late.
#[tokio::test]
async fn a_slow_agent_is_judged_by_its_own_cadence() {
    let mut world = World::of(20_000).await;
    world.writes(200_000, ALL);
    assert_eq!(world.says().await, "pass");
    world.writes(20_000, NONE);
    assert_eq!(world.says().await, "pass");
    world.now += 7000;
    assert_eq!(world.says().await, "stalled");
}

#[tokio::test]
async fn a_pause_of_240_seconds_loses_nothing() {
    let mut world = World::new().await;
    world.writes(120_000, ALL);
    assert_eq!(world.says().await, "pass");
    let mut late = Vec::new();
    for _ in 0..8 {
        late.extend(world.silently(30_000));
        assert_eq!(world.says().await, "stalled");
    }
    // The newest come first, the oldest last.
    for half in late.rchunks(120) {
        for line in half {
            world.arrives(line);
        }
        world.writes(3000, ALL);
        assert_eq!(world.says().await, "pass");
    }
    for _ in 0..60 {
        world.writes(15_000, ALL);
        assert_eq!(world.says().await, "pass");
    }
    let values = [world.measure("lost_lines").await, world.measure("outstanding_lines").await];
    assert_eq!(values, ["0", "0"]);
    // Of the pause's 240 lines the last six were not late yet when it was over.
    assert_eq!(world.measure("late_lines").await, "234");
}

#[tokio::test]
async fn twelve_hundred_destroyed_lines_are_twelve_hundred() {
    let mut world = World::new().await;
    world.writes(120_000, ALL);
    assert_eq!(world.says().await, "pass");
    // Acknowledged, queryable, and gone: 121 to 1,320.
    let mut said = Vec::new();
    while world.head_seq() < 3000 {
        world.writes(15_000, |seq| !(121..=1320).contains(&seq));
        said.push(world.says().await);
    }
    said.dedup();
    assert_eq!(said, ["stalled", "pass", "lost", "pass"]);
    assert_eq!(world.measure("lost_lines").await, "1200");
    assert_eq!(world.measure("outstanding_lines").await, "0");
}

#[tokio::test]
async fn the_evidence_of_a_loss_says_how_many_and_which_is_the_first() {
    let mut world = World::new().await;
    world.writes(60_000, ALL);
    world.report().await;
    for _ in 0..50 {
        world.writes(9000, |seq| !(100..103).contains(&seq) && seq != 200);
        world.report().await;
    }
    let lost = part(&world.report().await, NODE);
    assert_eq!(word(&lost), "lost");
    assert!(lost.evidence().as_str().contains("3 lines are lost, the first is number 100"), "{lost:?}");
    world.writes(120_000, ALL);
    let lost = part(&world.report().await, NODE);
    assert!(lost.evidence().as_str().contains("4 lines are lost, the first is number 100"), "{lost:?}");
}

#[tokio::test]
async fn a_restart_of_the_agent_loses_nothing_that_it_wrote() {
    let mut world = World::new().await;
    world.writes(60_000, ALL);
    assert_eq!(world.says().await, "pass");
    let tail = world.silently(5000);
    assert_eq!(world.says().await, "pass");
    world.restarts();
    assert_eq!(world.says().await, "first_line");
    world.writes(3000, ALL);
    assert_eq!(world.says().await, "pass");
    for line in &tail {
        world.arrives(line);
    }
    for _ in 0..60 {
        world.writes(15_000, ALL);
        assert_eq!(world.says().await, "pass");
    }
    let values = [world.measure("lost_lines").await, world.measure("unaccounted_lines").await];
    assert_eq!(values, ["0", "0"]);
    assert_eq!(
        world.memory.values().map(|book| serde_json::to_value(book).unwrap()["o"].clone()).collect::<Vec<_>>(),
        [json!([])]
    );
}

/// The agent told of them, so its sink took them: a node that restarts with its collector loses just these.
#[tokio::test]
async fn the_last_lines_before_a_restart_of_the_agent_are_lost_when_they_never_arrive() {
    let mut world = World::new().await;
    world.writes(60_000, ALL);
    assert_eq!(world.says().await, "pass");
    let tail = world.silently(5000);
    assert_eq!(world.says().await, "pass", "they are on their way");
    world.restarts();
    world.writes(3000, ALL);
    assert_eq!(world.says().await, "pass");
    for line in &tail[..2] {
        world.arrives(line);
    }
    let mut said = Vec::new();
    for _ in 0..60 {
        world.writes(15_000, ALL);
        said.push(world.says().await);
    }
    said.dedup();
    assert_eq!(said, ["pass", "lost", "pass"]);
    assert_eq!(world.measure("lost_lines").await, "3");
}

#[tokio::test]
async fn a_pause_over_a_restart_of_the_agent_loses_nothing_however_long_it_is() {
    let mut world = World::new().await;
    world.writes(60_000, ALL);
    assert_eq!(world.says().await, "pass");
    let mut late = world.silently(5000);
    assert_eq!(world.says().await, "pass");
    world.restarts();
    for _ in 0..40 {
        late.extend(world.silently(15_000));
        assert_eq!(world.says().await, "stalled");
    }
    for line in &late {
        world.arrives(line);
    }
    for _ in 0..60 {
        world.writes(15_000, ALL);
        assert_eq!(world.says().await, "pass");
    }
    assert_eq!(world.measure("lost_lines").await, "0");
}

/// Each start is too young for its lines to be late; that none of any start arrives is not.
#[tokio::test]
async fn an_agent_that_is_started_again_and_again_does_not_hide_a_pipeline_that_stands_still() {
    for before in [0, 60_000] {
        let mut world = World::new().await;
        world.writes(before, ALL);
        let mut said = vec![world.says().await];
        for _ in 0..5 {
            world.restarts();
            world.writes(4000, NONE);
            said.push(world.says().await);
        }
        assert_eq!(said.last().unwrap(), "stalled", "{said:?}");
        assert_eq!(said[1], "first_line", "{said:?}");
        world.writes(1000, ALL);
        assert_eq!(world.says().await, "pass");
        world.restarts();
        world.writes(4000, NONE);
        assert_eq!(world.says().await, "first_line", "it is waited for anew");
    }
}

#[tokio::test]
async fn the_first_lines_are_owed_also_when_none_of_the_start_before_ever_arrived() {
    let mut world = World::new().await;
    world.writes(60_000, ALL);
    assert_eq!(world.says().await, "pass");
    for _ in 0..2 {
        world.restarts();
        world.writes(4000, NONE);
        assert_eq!(world.says().await, "first_line");
    }
    let mut said = Vec::new();
    for _ in 0..60 {
        world.writes(15_000, ALL);
        said.push(world.says().await);
    }
    said.dedup();
    assert_eq!(said, ["pass", "lost", "pass"]);
    assert_eq!(world.measure("lost_lines").await, "8", "four of each start");
}

#[tokio::test]
async fn the_first_lines_of_a_new_start_are_owed_when_lines_were_arriving_before() {
    let mut world = World::new().await;
    world.writes(60_000, ALL);
    assert_eq!(world.says().await, "pass");
    world.restarts();
    world.writes(10_000, |seq| seq > 4);
    for _ in 0..45 {
        assert_ne!(world.says().await, "stalled");
        world.writes(9000, ALL);
    }
    assert_eq!(world.says().await, "lost");
    assert_eq!(world.measure("lost_lines").await, "4");
}

#[tokio::test]
async fn a_verifier_that_was_away_for_ten_hours_reads_everything_and_counts_exactly() {
    let mut world = World::new().await;
    world.writes(60_000, ALL);
    assert_eq!(world.says().await, "pass");
    world.check.lost_after = Duration::from_secs(40);
    world.writes(36_000_000, |seq| !(5000..5010).contains(&seq));
    for _ in 0..12 {
        world.writes(8000, ALL);
        let said = world.says().await;
        assert!(said == "pass" || said == "lost", "{said}");
    }
    assert_eq!(world.measure("lost_lines").await, "10");
}

#[tokio::test]
async fn a_fast_agent_is_read_in_windows_that_are_not_cut() {
    let mut world = World::of(5).await;
    world.writes(30_000, |seq| seq != 5900);
    for _ in 0..3 {
        world.writes(5000, ALL);
        let report = world.report().await;
        let said = word(&part(&report, NODE));
        assert_eq!(said, "pass", "{:?}", part(&report, NODE));
    }
    assert_eq!(world.measure("outstanding_lines").await, "1");
}

#[tokio::test]
async fn an_agent_that_stops_writing_is_silent_also_while_it_answers() {
    let mut world = World::new().await;
    world.writes(60_000, ALL);
    assert_eq!(world.says().await, "pass");
    world.now += 5900;
    assert_eq!(world.says().await, "pass");
    world.now += 500;
    world.head.lock().unwrap().failed = 3;
    let silent = part(&world.report().await, NODE);
    assert_eq!(word(&silent), "agent_silent");
    assert!(silent.evidence().as_str().contains("3 were refused"), "{silent:?}");
    let mut world = World::new().await;
    world.head.lock().unwrap().failed = 1;
    assert_eq!(world.says().await, "agent_silent", "none was ever taken");
}

#[tokio::test]
async fn lines_that_are_there_twice_are_told_but_do_no_harm() {
    let mut world = World::new().await;
    world.writes(60_000, ALL);
    let again = world.store.lock().unwrap().clone();
    world.store.lock().unwrap().extend(again[55..].to_vec());
    assert_eq!(world.says().await, "pass");
    assert_eq!(world.measure("duplicate_lines").await, "5");
}

#[tokio::test]
async fn a_clock_that_is_set_back_loses_nothing() {
    let mut world = World::new().await;
    world.writes(120_000, ALL);
    assert_eq!(world.says().await, "pass");
    // The node's clock; the lines go on.
    world.now -= 60_000;
    for _ in 0..60 {
        world.writes(15_000, ALL);
        assert_eq!(world.says().await, "pass");
    }
    let values = [world.measure("lost_lines").await, world.measure("outstanding_lines").await];
    assert_eq!(values, ["0", "0"]);
}

/// More starts in a row than are followed: what the first of them still owes is named, not forgotten and not called lost.
#[tokio::test]
async fn the_tail_of_a_start_that_too_many_followed_is_unaccounted_for() {
    let mut world = World::new().await;
    world.writes(60_000, ALL);
    assert_eq!(world.says().await, "pass");
    world.writes(3000, NONE);
    assert_eq!(world.says().await, "pass");
    for _ in 0..5 {
        world.restarts();
        world.writes(4000, ALL);
        assert_eq!(world.says().await, "pass");
    }
    let report = world.report().await;
    let words = part(&report, NODE).evidence().as_str().to_owned();
    assert!(words.contains("of 3 lines of earlier starts nobody can tell any more"), "{words}");
    let values = [world.measure("unaccounted_lines").await, world.measure("lost_lines").await];
    assert_eq!(values, ["3", "0"]);
}

/// A minute's lines, four more that the agent was not asked about, of which `arrive` come, and a new start three seconds later.
async fn after_an_end_that_nobody_heard_of(arrive: usize, farewell: bool) -> (String, [String; 2]) {
    let mut world = World::new().await;
    world.writes(60_000, ALL);
    assert_eq!(world.says().await, "pass");
    let mut tail = world.silently(4000);
    tail.last_mut().unwrap().end = farewell;
    for line in tail.iter().take(arrive) {
        world.arrives(line);
    }
    world.now += 3000;
    world.restarts();
    for _ in 0..60 {
        world.writes(15_000, ALL);
        assert_eq!(world.says().await, "pass");
    }
    let words = part(&world.report().await, NODE).evidence().as_str().to_owned();
    (words, [world.measure("unheard_lines").await, world.measure("lost_lines").await])
}

#[tokio::test]
async fn an_agent_that_was_killed_leaves_a_tail_that_is_named_and_not_called_lost() {
    let (words, values) = after_an_end_that_nobody_heard_of(2, false).await;
    assert_eq!(values, ["6", "0"]);
    assert!(words.contains("start 0000000000000007 ended without a word after its line 62: at most 6 more"), "{words}");
}

#[tokio::test]
async fn an_agent_that_says_farewell_leaves_no_tail() {
    let (words, values) = after_an_end_that_nobody_heard_of(4, true).await;
    assert_eq!(values, ["0", "0"]);
    assert!(!words.contains("without a word"), "{words}");
}

#[tokio::test]
async fn a_farewell_that_did_not_arrive_is_no_farewell() {
    let (_, values) = after_an_end_that_nobody_heard_of(3, true).await;
    assert_eq!(values, ["5", "0"]);
}

#[tokio::test]
async fn a_node_whose_clock_is_minutes_off_is_judged_by_its_own_and_told() {
    for (off, words) in [(300_000, "the node's clock is 5m behind"), (-300_000, "the node's clock is 5m ahead")] {
        let mut world = World::new().await;
        world.off = off;
        world.writes(60_000, ALL);
        assert_eq!(world.says().await, "pass");
        world.writes(5000, |seq| seq != 62);
        for _ in 0..60 {
            let outcome = part(&world.report().await, NODE);
            if word(&outcome) == "pass" {
                assert!(outcome.evidence().as_str().contains(words), "{outcome:?}");
            } else {
                assert_eq!(word(&outcome), "lost");
            }
            world.writes(9000, ALL);
        }
        assert_eq!(world.measure("lost_lines").await, "1");
        world.writes(7000, NONE);
        assert_eq!(world.says().await, "stalled", "{off}");
        let skew: f64 = world.measure("clock_skew_seconds").await.parse().unwrap();
        assert!((skew * 1000.0 + f64::from(i32::try_from(off).unwrap())).abs() < 5000.0, "{skew}");
    }
}
