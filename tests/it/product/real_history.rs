//! `lokiHistory` between real Lokis of different settings: a history that was moved, and what goes wrong with that.

use serde_json::{Value, json};
use tests::{Loki, Verifier, World};

use super::{AT_ONCE, looks, migration, now};

const HOUR: i64 = 3_600_000_000_000;
const JOB: (&str, &str) = ("job", "systemd-journal");

/// By service: a line each ten minutes, one each hour, and a single one.
pub(super) type History = Vec<(&'static str, Vec<tests::Line>)>;

/// The beginning of the present hour.
fn present() -> i64 {
    now().timestamp_nanos_opt().unwrap() / HOUR * HOUR
}

/// Two days of history, all of it in hours that are over.
pub(super) fn history() -> History {
    let begin = present() - 48 * HOUR;
    let each = |every: i64, count: i64, text: &str| {
        (0..count).map(|n| tests::Line::new(begin + n * every + 7_000_000_042, format!("{text} {n}"))).collect()
    };
    let once = vec![tests::Line::new(begin + 31 * HOUR + 5, "backup done")];
    vec![("proxy", each(HOUR / 6, 48 * 6, "GET /")), ("gitops-sync", each(HOUR, 48, "synced")), ("backup", once)]
}

pub(super) async fn push(loki: &Loki, history: &History) {
    for (service, lines) in history {
        loki.push(&[JOB, ("service", service)], lines).await.unwrap();
    }
}

/// As Docker's is configured, with its default settings and an older schema.
pub(super) async fn old_loki(world: &World, seconds: u32) -> Loki {
    let schema = json!({"configs": [{
        "from": "2020-10-24", "store": "tsdb", "object_store": "filesystem", "schema": "v13",
        "index": {"prefix": "index_", "period": "24h"},
    }]});
    Loki::start_with(world, json!({"schema_config": schema, "ingester": ingester(seconds)})).await.unwrap()
}

/// What writes what it holds as soon as so many seconds have brought nothing new, and looks for that each second.
fn ingester(seconds: u32) -> Value {
    json!({
        "lifecycler": {"min_ready_duration": "0s", "final_sleep": "0s"},
        "chunk_idle_period": format!("{seconds}s"), "flush_check_period": "1s",
    })
}

/// As the one in k3s is, with another split, and a cache of results that lies about what came late.
async fn new_loki(world: &World, seconds: u32) -> Loki {
    let range = json!({"align_queries_with_step": true, "cache_results": true});
    let limits = json!({"split_queries_by_interval": "15m", "query_timeout": "300s"});
    Loki::start_with(world, json!({"query_range": range, "limits_config": limits, "ingester": ingester(seconds)})).await.unwrap()
}

/// A new Loki that was given this history, and has written it.
pub(super) async fn new_with(world: &World, history: &History) -> Loki {
    let loki = new_loki(world, 1).await;
    push(&loki, history).await;
    loki.flush().await.unwrap();
    loki
}

/// A verifier with a probe for each of these new Lokis, of the same name.
async fn verifier(world: &World, old: &Loki, news: &[(&str, &Loki)]) -> Verifier {
    let targets = news.iter().map(|(name, loki)| format!(", {name}: {{loki: {{url: \"{}\"}}}}", loki.url()));
    let targets = format!("{{old: {{loki: {{url: \"{}\"}}}}{}}}", old.url(), targets.collect::<String>());
    let probes: Vec<String> = news
        .iter()
        .map(|(name, _)| {
            let more = "over: 60h, settle: 0s, visibleWithin: 20s, rest: 0s, sampleOneIn: 1, loadPercent: 100";
            format!("{{name: {name}, controlEvery: 2s, check: {{lokiHistory: {{old: old, new: {name}, {more}}}}}}}")
        })
        .collect();
    let probes: Vec<&str> = probes.iter().map(String::as_str).collect();
    Verifier::start(world, &migration("{every: 2s, timeout: 2s}", &targets, AT_ONCE, &probes)).await.unwrap()
}

#[tokio::test]
async fn a_history_that_was_moved_is_proven_with_other_settings_and_live_writers() {
    let world = World::new().unwrap();
    let (old, new) = (old_loki(&world, 1).await, new_loki(&world, 1).await);
    push(&old, &history()).await;
    new.take_over(&world, &old).await.unwrap();
    let verifier = verifier(&world, &old, &[("new", &new)]).await;
    // What is written now is in no hour that is over.
    let live = tests::Line::new(now().timestamp_nanos_opt().unwrap(), "written meanwhile");
    old.push(&[JOB, ("service", "proxy")], &[live]).await.unwrap();
    let probe = looks(&verifier, "new", "green", "").await;
    let evidence = probe["evidence"].as_str().unwrap();
    assert!(evidence.contains("up to 3 services: 337 lines"), "{evidence}");
    assert!(evidence.contains("the text of all 337 was compared"), "{evidence}");

    // A restart of either is no loss.
    new.stop().await.unwrap();
    new.start_again().await.unwrap();
    looks(&verifier, "new", "green", "").await;
}

#[tokio::test]
async fn what_is_missing_altered_swapped_or_added_is_named_by_service_and_hour() {
    let world = World::new().unwrap();
    let old = old_loki(&world, 1).await;
    let whole = history();
    push(&old, &whole).await;
    old.flush().await.unwrap();

    let mut missing = whole.clone();
    missing[0].1.drain(61..64);
    let mut altered = whole.clone();
    altered[0].1[100].text = altered[0].1[100].text.replace("GET", "PUT");
    let mut swapped = whole.clone();
    // Of the same length, in the same hour.
    swapped[0].1[60].text = "synced 1".to_owned();
    let one = swapped[0].1[60].clone();
    let mut before = whole.clone();
    before[0].1[60].text = one.text.clone();
    before[1].1[10].text = "synced 2".to_owned();
    swapped[0].1[60].text = "synced 2".to_owned();
    swapped[1].1[10].text = one.text;
    let mut added = whole.clone();
    let again = tests::Line::new(added[2].1[0].at + 1, "backup done twice");
    added[2].1.push(again);

    let other_old = old_loki(&world, 1).await;
    push(&other_old, &before).await;
    other_old.flush().await.unwrap();
    let news = [
        ("missing", new_with(&world, &missing).await),
        ("altered", new_with(&world, &altered).await),
        ("added", new_with(&world, &added).await),
    ];
    let named: Vec<(&str, &Loki)> = news.iter().map(|(name, loki)| (*name, loki)).collect();
    let first = verifier(&world, &old, &named).await;
    let swapped = new_with(&world, &swapped).await;
    let second = verifier(&world, &other_old, &[("swapped", &swapped)]).await;
    for (verifier, name, reason, words) in [
        (&first, "missing", "lines_missing", "3 of 6 lines missing"),
        (&first, "altered", "lines_differ", "1 that only the old one has, 1 only the new one"),
        (&first, "added", "lines_extra", "2 lines, 1 more than the old 1"),
        (&second, "swapped", "lines_differ", "1 that only the old one has, 1 only the new one"),
    ] {
        let probe = looks(verifier, name, "red", reason).await;
        let evidence = probe["evidence"].as_str().unwrap();
        assert!(evidence.contains(words), "{name}: {evidence}");
        assert!(name == "added" || evidence.contains("proxy"), "{name}: {evidence}");
    }
}

#[tokio::test]
async fn a_volume_copied_from_a_running_loki_lacks_what_was_not_written() {
    let world = World::new().unwrap();
    let (old, new) = (old_loki(&world, 1800).await, new_loki(&world, 1).await);
    push(&old, &history()).await;
    old.flush().await.unwrap();
    new.take_over_carelessly(&world, &old).await.unwrap();
    let verifier = verifier(&world, &old, &[("new", &new)]).await;
    let probe = looks(&verifier, "new", "red", "lines_missing").await;
    assert!(probe["evidence"].as_str().unwrap().contains("6 of 6 lines missing"), "{probe}");
}

#[tokio::test]
async fn what_loki_shows_only_after_a_while_is_waited_for() {
    let world = World::new().unwrap();
    let (old, new) = (old_loki(&world, 1).await, new_loki(&world, 1800).await);
    push(&old, &history()).await;
    old.flush().await.unwrap();
    // Taken, and older than what its queriers ask the ingester for.
    push(&new, &history()).await;
    let verifier = verifier(&world, &old, &[("new", &new)]).await;
    looks(&verifier, "new", "waiting", "unfinished").await;
    new.flush().await.unwrap();
    looks(&verifier, "new", "green", "").await;
}
