//! Collectors that ship, and collectors that only say so.

use std::collections::BTreeMap;

use anyhow::ensure;
use serde_json::{Value, json};
use tests::hostile::Habit;
use tests::standin::{Flaws, Limits, Mood, Positions, StandinAlloy, StandinJournal, StandinLoki, StandinPromtail};
use tests::{Line, World, wait_until};

use super::SOON;

const ALL: &str = "{job=\"systemd-journal\"}";

fn lines(loki: &StandinLoki, query: &str) -> Vec<Line> {
    loki.lines(query, 0, i64::MAX).unwrap()
}

async fn arrived(loki: &StandinLoki, query: &str, count: usize) {
    let there = async || {
        let there = lines(loki, query).len();
        ensure!(there == count, "{there}");
        Ok(())
    };
    wait_until(SOON, &format!("{count} lines of {query}"), there).await.unwrap();
}

async fn says_sent(alloy: &StandinAlloy, count: u64) {
    wait_until(SOON, &format!("it says {count} sent"), async || {
        ensure!(alloy.sent() == count, "{}", alloy.sent());
        Ok(())
    })
    .await
    .unwrap();
}

/// The value of the first series that starts so.
async fn metric(world: &World, base: &str, series: &str) -> Option<String> {
    let text = world.http().get(format!("{base}/metrics")).send().await.unwrap().text().await.unwrap();
    let line = text.lines().find(|line| line.starts_with(series))?;
    Some(line.rsplit(' ').next().unwrap().to_owned())
}

async fn has_read(world: &World, alloy: &StandinAlloy, count: &str) {
    wait_until(SOON, &format!("it has read {count}"), async || {
        let read = metric(world, &alloy.url(), "loki_source_journal_target_lines_total").await;
        ensure!(read.as_deref() == Some(count), "{read:?}");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn two_collectors_ship_one_journal_twice_and_differ_by_agent() {
    let world = World::new().unwrap();
    let (loki, journal) = (StandinLoki::start().unwrap(), StandinJournal::new());
    let sink = world.dir().join("sink");
    journal.follow(&sink, "system-metrics-canary");
    let body = r#"{"level":"warn","service":"migration-canary","msg":"x","seq":1}"#;
    std::fs::write(&sink, format!("{body}\nno JSON\n")).unwrap();
    let alloy = StandinAlloy::start(&journal, &[&loki.url()]).unwrap();
    let promtail = StandinPromtail::start(&journal, &loki.url()).unwrap();
    arrived(&loki, ALL, 4).await;
    let by_alloy = lines(&loki, "{job=\"systemd-journal\",agent=\"alloy\"}");
    assert_eq!(by_alloy, lines(&loki, "{job=\"systemd-journal\",agent=\"\"}"), "the same moments and texts");
    assert_eq!(
        lines(&loki, "{service=\"migration-canary\",level=\"warn\",syslog_identifier=\"system-metrics-canary\",agent=\"alloy\"}")
            .len(),
        1
    );
    assert_eq!(lines(&loki, "{service=\"system-metrics-canary\",level=\"info\",agent=\"\"} |= \"no JSON\"").len(), 1);
    drop(promtail);
    journal.write("x", "after");
    arrived(&loki, ALL, 5).await;
    says_sent(&alloy, 3).await;
}

#[tokio::test]
async fn a_handover_to_another_loki_loses_nothing_and_its_metrics_tell_where() {
    let world = World::new().unwrap();
    let (old, new, journal) = (StandinLoki::start().unwrap(), StandinLoki::start().unwrap(), StandinJournal::new());
    let alloy = StandinAlloy::start(&journal, &[&old.url()]).unwrap();
    journal.write("x", "one");
    arrived(&old, ALL, 1).await;
    alloy.set_lokis(&[&old.url(), &new.url()]).unwrap();
    journal.write("x", "two");
    arrived(&old, ALL, 2).await;
    arrived(&new, ALL, 1).await;
    alloy.set_flaws(Flaws { frozen: true, ..Flaws::default() });
    journal.write("x", "on the way");
    has_read(&world, &alloy, "3").await;
    let third = StandinLoki::start().unwrap();
    alloy.set_lokis(&[&new.url(), &third.url()]).unwrap();
    alloy.set_flaws(Flaws::default());
    arrived(&new, ALL, 2).await;
    arrived(&third, ALL, 1).await;
    assert_eq!(lines(&old, ALL).len(), 2);
    for (loki, sent) in [(&old, "2"), (&new, "2"), (&third, "1")] {
        let series = format!(
            "loki_write_sent_entries_total{{component_id=\"loki.write.k3s\",component_path=\"/\",host=\"{}\",tenant=\"\"}}",
            loki.address()
        );
        assert_eq!(metric(&world, &alloy.url(), &series).await.as_deref(), Some(sent), "{series}");
    }
}

#[tokio::test]
async fn health_does_not_tell_of_a_pause_or_a_dead_reader() {
    let world = World::new().unwrap();
    let (loki, journal) = (StandinLoki::start().unwrap(), StandinJournal::new());
    let alloy = StandinAlloy::start(&journal, &[&loki.url()]).unwrap();
    let health = async || world.http().get(format!("{}/-/healthy", alloy.url())).send().await.unwrap().status();
    journal.write("x", "one");
    arrived(&loki, ALL, 1).await;
    // Another collector of the same journal shows that there was time enough.
    let witness = StandinLoki::start().unwrap();
    let _promtail = StandinPromtail::start(&journal, &witness.url()).unwrap();
    for (flaws, read) in [(Flaws { deaf: true, ..Flaws::default() }, "1"), (Flaws { frozen: true, ..Flaws::default() }, "3")] {
        let before = lines(&loki, ALL).len();
        alloy.set_flaws(flaws);
        journal.write("x", "held back");
        arrived(&witness, ALL, before + 1).await;
        has_read(&world, &alloy, read).await;
        assert_eq!(lines(&loki, ALL).len(), before, "{flaws:?}");
        assert_eq!(health().await, 200);
        alloy.set_flaws(Flaws::default());
        arrived(&loki, ALL, before + 1).await;
    }
    alloy.set_unhealthy(true);
    assert_eq!(health().await, 500);
}

#[tokio::test]
async fn what_it_says_it_sent_is_not_what_arrived() {
    let (loki, journal) = (StandinLoki::start().unwrap(), StandinJournal::new());
    let alloy = StandinAlloy::start(&journal, &[&loki.url()]).unwrap();
    alloy.set_flaws(Flaws { swallow_every: Some(3), ..Flaws::default() });
    (1..=9).for_each(|n| journal.write("x", &format!("line {n}")));
    says_sent(&alloy, 9).await;
    let texts: Vec<String> = lines(&loki, ALL).into_iter().map(|line| line.text).collect();
    assert_eq!(texts, ["line 1", "line 2", "line 4", "line 5", "line 7", "line 8"]);
    alloy.set_flaws(Flaws { double_every: Some(2), ..Flaws::default() });
    (10..=13).for_each(|n| journal.write("x", &format!("line {n}")));
    says_sent(&alloy, 13).await;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    lines(&loki, ALL).into_iter().skip(6).for_each(|line| *counts.entry(line.text).or_default() += 1);
    assert_eq!(json!(counts), json!({"line 10": 2, "line 11": 1, "line 12": 2, "line 13": 1}));
}

#[tokio::test]
async fn an_outage_is_waited_out_and_a_refusal_is_not() {
    let world = World::new().unwrap();
    let (loki, journal) = (StandinLoki::start().unwrap(), StandinJournal::new());
    let alloy = StandinAlloy::start(&journal, &[&loki.url()]).unwrap();
    loki.set_mood(Mood::Bad(Habit::Status(503))).await.unwrap();
    journal.write("x", "waited for");
    let retried = async || {
        let retried = metric(&world, &alloy.url(), "loki_write_batch_retries_total").await;
        ensure!(retried.as_deref().is_some_and(|count| count != "0"), "{retried:?}");
        Ok(())
    };
    wait_until(SOON, "it tries again", retried).await.unwrap();
    assert_eq!(alloy.sent(), 0);
    loki.set_mood(Mood::Fine).await.unwrap();
    arrived(&loki, ALL, 1).await;
    says_sent(&alloy, 1).await;

    // One line too many bytes: the whole batch counts as dropped, and the good line is there all the same.
    loki.set_limits(Limits { line: 10, ..Limits::default() });
    alloy.set_flaws(Flaws { frozen: true, ..Flaws::default() });
    journal.write("x", "short");
    journal.write("x", "much too long for it");
    has_read(&world, &alloy, "3").await;
    alloy.set_flaws(Flaws::default());
    let dropped = "loki_write_dropped_entries_total{component_id=\"loki.write.k3s\",component_path=\"/\",host=\"";
    wait_until(SOON, "the batch is dropped", async || {
        let dropped = metric(&world, &alloy.url(), dropped).await;
        ensure!(dropped.as_deref() == Some("2"), "{dropped:?}");
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(alloy.sent(), 1);
    assert_eq!(lines(&loki, ALL).len(), 2);
}

#[tokio::test]
async fn a_restart_without_positions_ships_again_and_doubles_nothing() {
    let world = World::new().unwrap();
    let (loki, journal) = (StandinLoki::start().unwrap(), StandinJournal::new());
    let alloy = StandinAlloy::start(&journal, &[&loki.url()]).unwrap();
    (0..5).for_each(|n| journal.write("x", &n.to_string()));
    says_sent(&alloy, 5).await;
    alloy.restart(Positions::Lost);
    says_sent(&alloy, 5).await;
    assert_eq!(lines(&loki, ALL).len(), 5);
    alloy.set_flaws(Flaws { frozen: true, ..Flaws::default() });
    journal.write("x", "read and not shipped");
    has_read(&world, &alloy, "6").await;
    alloy.restart(Positions::Kept);
    alloy.set_flaws(Flaws::default());
    journal.write("x", "next");
    says_sent(&alloy, 1).await;
    assert_eq!(lines(&loki, ALL).len(), 6, "one line is lost");
}

#[tokio::test]
async fn a_pipeline_drops_what_it_does_not_keep_and_counts_it() {
    let world = World::new().unwrap();
    let (loki, journal) = (StandinLoki::start().unwrap(), StandinJournal::new());
    let alloy = StandinAlloy::start(&journal, &[&loki.url()]).unwrap();
    alloy.set_keep(Some(&["system-metrics", "gitops-sync"]));
    for identifier in ["system-metrics-canary", "migration-canary", "gitops-sync"] {
        journal.write(identifier, "x");
    }
    arrived(&loki, ALL, 2).await;
    let components: Value = serde_json::from_str(
        &world.http().get(format!("{}/api/v0/web/components", alloy.url())).send().await.unwrap().text().await.unwrap(),
    )
    .unwrap();
    assert!(components.as_array().unwrap().iter().all(|one| one["health"]["state"] == "healthy"), "{components}");
    assert_eq!(metric(&world, &alloy.url(), "loki_process_dropped_lines_total").await.as_deref(), Some("1"));
    assert_eq!(metric(&world, &alloy.url(), "loki_source_journal_target_lines_total").await.as_deref(), Some("3"));
}
