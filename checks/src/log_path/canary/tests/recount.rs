//! Lines that are destroyed after they were found.

use super::*;

const ALL: fn(u64) -> bool = |_| true;

/// Lines are found from the first on, and are counted again each 25 seconds.
async fn world() -> World {
    let mut world = World::new().await;
    world.check.recheck = Duration::from_mins(10);
    for time in [10_000, 110_000] {
        world.writes(time, ALL);
        assert_eq!(world.says().await, "pass");
    }
    world
}

impl World {
    /// Takes lines out of the store.
    fn destroys(&self, wanted: impl Fn(u64) -> bool) {
        self.store.lock().unwrap().retain(|(_, text)| CanaryLine::parse(text).is_none_or(|line| !wanted(line.seq)));
    }

    /// Goes on for so many Runs of three seconds; what they say, without repetitions.
    async fn goes_on(&mut self, runs: usize) -> Vec<String> {
        let mut said = Vec::new();
        for _ in 0..runs {
            self.writes(3000, ALL);
            said.push(self.says().await);
        }
        said.dedup();
        said
    }
}

#[tokio::test]
async fn lines_that_are_destroyed_after_they_were_found_are_counted_exactly_and_held() {
    let mut world = world().await;
    assert_eq!(world.goes_on(40).await, ["pass"]);
    world.destroys(|seq| (150..170).contains(&seq) || seq == 200);
    assert_eq!(world.goes_on(40).await, ["pass", "destroyed"]);
    let outcome = part(&world.report().await, NODE);
    let words = outcome.evidence().as_str();
    assert!(words.contains("21 lines that were here are gone, the first is number 150"), "{words}");
    // Numbers 149 and 201, one a second.
    let (from, to) = (moment(START + 149_000), moment(START + 201_000));
    let seconds = [from, to].map(|at| at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true));
    assert!(words.contains(&format!("between {} and {}", seconds[0], seconds[1])), "{words}");
    assert_eq!(world.measure("destroyed_lines").await, "21");
    assert_eq!(world.measure("lost_lines").await, "0");
    assert_eq!(world.goes_on(200).await, ["destroyed", "pass"], "it is held for five minutes and counted once");
    assert_eq!(world.measure("destroyed_lines").await, "21");
}

#[tokio::test]
async fn everything_gone_but_the_newest_is_counted_to_the_last_line() {
    let mut world = world().await;
    assert_eq!(world.goes_on(20).await, ["pass"]);
    let last = world.head_seq();
    world.destroys(|_| true);
    let said = world.goes_on(60).await;
    assert_eq!(said, ["pass", "destroyed"]);
    let (destroyed, lost) = (world.measure("destroyed_lines").await, world.measure("lost_lines").await);
    assert_eq!((destroyed, lost), (last.to_string(), "0".to_owned()));
}

#[tokio::test]
async fn lines_that_are_away_for_one_count_only_are_not_destroyed() {
    let mut world = world().await;
    assert_eq!(world.goes_on(20).await, ["pass"]);
    let away = world.store.lock().unwrap()[..99].to_vec();
    world.destroys(|seq| seq < 100);
    // Until a count has missed them.
    let mut runs = 0..20;
    while !serde_json::to_string(&world.memory).unwrap().contains("\"d\":{\"f\":1,") {
        assert!(runs.next().is_some(), "they are never missed");
        assert_eq!(world.goes_on(1).await, ["pass"]);
    }
    world.store.lock().unwrap().extend(away);
    assert_eq!(world.goes_on(60).await, ["pass"]);
}

#[tokio::test]
async fn what_is_older_than_recheck_may_go() {
    let mut world = world().await;
    assert_eq!(world.goes_on(250).await, ["pass"]);
    for _ in 0..30 {
        // A retention a little longer than that.
        let oldest = world.head_seq() - 610;
        world.destroys(|seq| seq < oldest);
        assert_eq!(world.goes_on(5).await, ["pass"]);
    }
    let reach: f64 = world.measure("recheck_seconds").await.parse().unwrap();
    assert!((500.0..=600.0).contains(&reach), "{reach}");
}

#[tokio::test]
async fn without_recheck_nothing_is_counted_again_or_kept() {
    let mut world = World::new().await;
    world.check.recheck = Duration::ZERO;
    world.writes(120_000, ALL);
    assert_eq!(world.goes_on(20).await, ["pass"]);
    world.destroys(|seq| seq < 100);
    assert_eq!(world.goes_on(100).await, ["pass"]);
    assert!(world.memory.values().all(|book| book.recount.is_empty()));
}

#[tokio::test]
async fn lines_of_a_start_that_is_over_are_counted_again_as_well() {
    let mut world = world().await;
    assert_eq!(world.goes_on(10).await, ["pass"]);
    world.restarts();
    world.goes_on(120).await;
    let first = Boot(7).to_string();
    world.store.lock().unwrap().retain(|(_, text)| !text.contains(&first) || !text.contains("\"seq\":14"));
    assert_eq!(world.goes_on(40).await, ["pass", "destroyed"]);
    assert_eq!(world.measure("destroyed_lines").await, "11", "14, and 140 to 149");
}

#[tokio::test]
async fn older_lines_that_loki_does_not_answer_for_are_unknown_after_a_while() {
    let mut world = world().await;
    assert_eq!(world.goes_on(10).await, ["pass"]);
    world.answers_from(Some(world.now - 30_000));
    assert_eq!(world.goes_on(150).await, ["pass", "old_unreadable"]);
    world.answers_from(None);
    assert_eq!(world.goes_on(20).await, ["pass"]);
}

/// As it was written before lines were counted again, and as a later version may write it.
#[tokio::test]
async fn a_memory_of_another_version_is_read_and_counts_anew() {
    let mut world = world().await;
    for version in [None, Some(0), Some(99)] {
        let mut memory = serde_json::to_value(&world.memory).unwrap();
        for book in memory.as_object_mut().unwrap().values_mut() {
            let book = book.as_object_mut().unwrap();
            match version {
                Some(version) => drop(book.insert("d".to_owned(), json!({"v": version, "rows": "otherwise"}))),
                None => book.retain(|key, _| !["d", "g"].contains(&key.as_str())),
            }
        }
        world.memory = serde_json::from_value(memory).unwrap();
        assert_eq!(world.goes_on(10).await, ["pass"]);
    }
    let last = world.head_seq();
    world.destroys(|seq| seq == last);
    assert_eq!(world.goes_on(60).await, ["pass", "destroyed"]);
}

#[tokio::test]
async fn a_loki_that_comes_back_without_its_newest_lines_is_found_out_within_two_minutes_by_default() {
    let mut world = World::new().await;
    for _ in 0..120 {
        world.writes(60_000, ALL);
        assert_eq!(world.says().await, "pass");
    }
    let last = world.head_seq();
    world.answers_from(Some(i64::MAX / 1_000_000));
    world.writes(3000, ALL);
    assert_eq!(world.says().await, "query_failed");
    world.destroys(|seq| (last - 1500..last - 300).contains(&seq));
    world.answers_from(None);
    assert_eq!(world.goes_on(40).await, ["pass", "destroyed"]);
    let outcome = part(&world.report().await, NODE);
    let words = format!("1200 lines that were here are gone, the first is number {}", last - 1500);
    assert!(outcome.evidence().as_str().contains(&words), "{outcome:?}");
    assert_eq!(world.goes_on(200).await, ["destroyed", "pass"]);
    assert_eq!(world.measure("destroyed_lines").await, "1200");
}

/// It was away between two looks, so that nothing but its emptiness tells.
#[tokio::test]
async fn a_loki_that_is_suddenly_empty_is_found_out_within_a_minute_by_default() {
    let mut world = World::of(100).await;
    for _ in 0..26 {
        world.writes(5000, ALL);
        assert_eq!(world.says().await, "pass");
    }
    // What it counts in turn is done.
    assert_eq!(world.goes_on(20).await, ["pass"]);
    world.destroys(|_| true);
    let said = world.goes_on(12).await;
    assert_eq!(said, ["pass", "destroyed"]);
}
