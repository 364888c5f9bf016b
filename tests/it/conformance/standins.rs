//! What a stand-in does on demand and a real server does not.

use std::time::Duration;

use serde_json::{Value, json};
use tests::hostile::Habit;
use tests::standin::{Datasource, Mood, Recall, Settings, Stage, StandinGateway, StandinGrafana, StandinLoki, Troubles};
use tests::{Line, World};

use super::pair::{HOUR, SECOND, now};

async fn get(world: &World, url: &str) -> Result<(u16, String, String), reqwest::Error> {
    let answer = world.http().get(url).timeout(Duration::from_secs(2)).send().await?;
    let kind = answer.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned()).unwrap_or_default();
    Ok((answer.status().as_u16(), kind, answer.text().await?))
}

#[tokio::test]
async fn a_mood_changes_at_once_also_for_open_connections_and_passes() {
    let world = World::new().unwrap();
    let loki = StandinLoki::start().unwrap();
    let ready = format!("{}/ready", loki.url());
    let fine = (200, "text/plain; charset=utf-8".to_owned(), "ready\n".to_owned());
    for _ in 0..3 {
        assert_eq!(get(&world, &ready).await.unwrap(), fine);
        loki.set_mood(Mood::Refuse).await.unwrap();
        let refused = get(&world, &ready).await.unwrap_err();
        assert!(refused.is_connect(), "{refused:?}");
        loki.set_mood(Mood::Bad(Habit::Status(500))).await.unwrap();
        assert_eq!(get(&world, &ready).await.unwrap().0, 500);
        loki.set_mood(Mood::Bad(Habit::Html)).await.unwrap();
        assert!(get(&world, &ready).await.unwrap().1.starts_with("text/html"));
        loki.set_mood(Mood::Bad(Habit::Truncated)).await.unwrap();
        assert!(get(&world, &ready).await.is_err());
        loki.set_mood(Mood::Bad(Habit::Reset)).await.unwrap();
        assert!(get(&world, &ready).await.is_err());
        loki.set_mood(Mood::Fine).await.unwrap();
    }
    loki.set_mood(Mood::Bad(Habit::Silent)).await.unwrap();
    let silent = world.http().get(&ready).timeout(Duration::from_millis(200)).send().await.unwrap_err();
    assert!(silent.is_timeout(), "{silent:?}");
    loki.set_mood(Mood::Slow(Duration::from_millis(300))).await.unwrap();
    let slow = world.http().get(&ready).timeout(Duration::from_millis(100)).send().await.unwrap_err();
    assert!(slow.is_timeout(), "{slow:?}");
    assert_eq!(get(&world, &ready).await.unwrap(), fine);
}

#[tokio::test]
async fn a_standin_ends_when_it_is_dropped() {
    let world = World::new().unwrap();
    let loki = StandinLoki::start().unwrap();
    let ready = format!("{}/ready", loki.url());
    assert_eq!(get(&world, &ready).await.unwrap().0, 200);
    drop(loki);
    tests::wait_until(super::SOON, "nobody listens", async || {
        anyhow::ensure!(get(&world, &ready).await.is_err(), "it still answers");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_loki_starts_slowly_and_stops_in_order() {
    let world = World::new().unwrap();
    let loki = StandinLoki::start().unwrap();
    loki.push(&[("job", "x")], &[Line::new(now(), "before")]).unwrap();
    loki.restart();
    let (ready, labels) = (format!("{}/ready", loki.url()), format!("{}/loki/api/v1/labels", loki.url()));
    let (status, _, words) = get(&world, &ready).await.unwrap();
    assert!(status == 503 && words.starts_with("Some services are not Running:\n"), "{status} {words}");
    assert!(get(&world, &labels).await.unwrap_err().is_timeout());
    loki.push(&[("job", "x")], &[Line::new(now(), "meanwhile")]).unwrap();
    for (stage, words) in [
        (Stage::IngesterWaiting, "Ingester not ready: waiting for 15s after being ready\n"),
        (Stage::Stopping, "Application is stopping\n"),
    ] {
        loki.set_stage(stage);
        assert_eq!(get(&world, &ready).await.unwrap(), (503, "text/plain; charset=utf-8".into(), words.into()));
        assert_eq!(get(&world, &labels).await.unwrap().0, 200);
    }
    loki.set_stage(Stage::Ready);
    let metrics = get(&world, &format!("{}/metrics", loki.url())).await.unwrap().2;
    assert!(metrics.contains("tenant=\"fake\"} 1\n"), "counts from before the restart: {metrics}");
    assert_eq!(loki.lines("{job=\"x\"}", 0, i64::MAX).unwrap().len(), 2);
}

#[tokio::test]
async fn a_loki_loses_lines_and_keeps_quiet_about_it() {
    let loki = StandinLoki::start().unwrap();
    let at = now() - HOUR;
    let lines: Vec<Line> = (0..10).map(|n| Line::new(at + n * SECOND, format!("line {n}"))).collect();
    loki.push(&[("job", "x")], &lines).unwrap();
    assert_eq!(loki.lose("{job=\"x\"} |= \"line\"", at + 2 * SECOND, at + 5 * SECOND).unwrap(), 3);
    loki.set_keeps(false);
    loki.push(&[("job", "x")], &[Line::new(at + 60 * SECOND, "acknowledged")]).unwrap();
    let left = loki.lines("{job=\"x\"}", 0, i64::MAX).unwrap();
    assert_eq!(left, [&lines[..2], &lines[5..]].concat());
    let world = World::new().unwrap();
    loki.set_troubles(Troubles { flush_failures: 3, wal_disk_full: 2, panics: 1 });
    let metrics = get(&world, &format!("{}/metrics", loki.url())).await.unwrap().2;
    for line in [
        "loki_ingester_chunks_flush_failures_total 3",
        "loki_ingester_wal_disk_full_failures_total 2",
        "loki_panic_total 1",
        "loki_distributor_lines_received_total{format=\"loki\",is_internal_stream=\"false\",policy=\"\",tenant=\"fake\"} 11",
    ] {
        assert!(metrics.lines().any(|other| other == line), "{line}\n{metrics}");
    }
    assert!(!metrics.contains("discarded"), "{metrics}");
}

#[tokio::test]
async fn a_loki_with_tenants_keeps_them_apart() {
    let loki = StandinLoki::start_with(Settings { tenants: true, ..Settings::default() }).unwrap();
    let world = World::new().unwrap();
    let url = format!("{}/loki/api/v1/labels", loki.url());
    let (status, _, words) = get(&world, &url).await.unwrap();
    assert_eq!((status, words.as_str()), (401, "no org id\n"));
    assert_eq!(get(&world, &format!("{}/ready", loki.url())).await.unwrap().0, 200);
    let body = json!({"streams": [{"stream": {"job": "x"}, "values": [[now().to_string(), "l"]]}]});
    let push = world.http().post(format!("{}/loki/api/v1/push", loki.url())).json(&body).header("X-Scope-OrgID", "one");
    assert_eq!(push.send().await.unwrap().status(), 204);
    for (tenant, data) in [("one", json!(["job", "service_name"])), ("two", Value::Null)] {
        let answer: Value = world.http().get(&url).header("X-Scope-OrgID", tenant).send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["data"], data, "{tenant}");
    }
}

#[tokio::test]
async fn a_gateway_breaks_apart_from_its_loki() {
    let world = World::new().unwrap();
    let loki = StandinLoki::start().unwrap();
    let gateway = StandinGateway::start(loki.url()).unwrap();
    let (root, labels) = (gateway.url(), format!("{}/loki/api/v1/labels", gateway.url()));
    assert_eq!(
        get(&world, &labels).await.unwrap(),
        (200, "application/json; charset=UTF-8".into(), "{\"status\":\"success\"}".into())
    );
    let body = json!({"streams": [{"stream": {"job": "x"}, "values": [[now().to_string(), "through"]]}]});
    let push = format!("{root}/loki/api/v1/push");
    assert_eq!(world.http().post(&push).json(&body).send().await.unwrap().status(), 204);
    assert_eq!(loki.lines("{job=\"x\"}", 0, i64::MAX).unwrap().len(), 1);
    let large = world.http().post(&push).json(&json!({"streams": ["x".repeat(4 * 1024 * 1024)]})).send().await.unwrap();
    assert_eq!((large.status().as_u16(), large.headers()["content-type"].to_str().unwrap()), (413, "text/html"));
    for path in ["ready", "metrics"] {
        assert_eq!(get(&world, &format!("{root}/{path}")).await.unwrap().0, 404);
    }
    gateway.set_broken(true);
    let (status, kind, page) = get(&world, &labels).await.unwrap();
    assert!(status == 502 && kind == "text/html" && page.contains("502 Bad Gateway"), "{status} {kind} {page}");
    assert_eq!(get(&world, &format!("{}/ready", loki.url())).await.unwrap().0, 200);
    assert_eq!(get(&world, &format!("{root}/")).await.unwrap().2, "OK");
    gateway.set_broken(false);
    loki.set_mood(Mood::Refuse).await.unwrap();
    assert_eq!(get(&world, &labels).await.unwrap().0, 502);
    assert_eq!(get(&world, &format!("{root}/")).await.unwrap().2, "OK");
}

/// How many lines of `{job="x"}` come back through Grafana.
async fn through(world: &World, grafana: &StandinGrafana, from: &str) -> usize {
    let query =
        json!({"refId": "A", "datasource": {"type": "loki", "uid": "P8E80F9AEF21F6940"}, "expr": "{job=\"x\"}", "maxLines": 100});
    let body = json!({"from": from, "to": "now", "queries": [query]});
    let request = world.http().post(format!("{}/api/ds/query", grafana.url())).bearer_auth("token").json(&body);
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    answer
        .pointer("/results/A/frames/0/data/values/2")
        .and_then(Value::as_array)
        .map(Vec::len)
        .unwrap_or_else(|| panic!("{answer}"))
}

#[tokio::test]
async fn a_grafana_answers_from_the_loki_it_points_to_or_from_memory() {
    let world = World::new().unwrap();
    let (old, new) = (StandinLoki::start().unwrap(), StandinLoki::start().unwrap());
    let push = |loki: &StandinLoki, text: &str| loki.push(&[("job", "x")], &[Line::new(now(), text)]).unwrap();
    push(&old, "one");
    push(&old, "two");
    push(&new, "three");
    let grafana = StandinGrafana::start("token", &[Datasource::loki(old.url())]).unwrap();
    assert_eq!(through(&world, &grafana, "now-1h").await, 2);
    grafana.set_datasource_url("P8E80F9AEF21F6940", &new.url());
    assert_eq!(through(&world, &grafana, "now-1h").await, 1);

    grafana.set_recall(Recall::Cached);
    assert_eq!(through(&world, &grafana, "now-1h").await, 1);
    push(&new, "four");
    assert_eq!(through(&world, &grafana, "now-30m").await, 1, "from memory, whatever the range");
    grafana.set_recall(Recall::Fresh);
    assert_eq!(through(&world, &grafana, "now-1h").await, 2);
    grafana.set_recall(Recall::AsOf(now()));
    push(&new, "five");
    assert_eq!(through(&world, &grafana, "now-1h").await, 2, "nothing newer");

    let health = format!("{}/api/health", grafana.url());
    assert_eq!(get(&world, &health).await.unwrap().0, 200);
    grafana.set_database(false);
    let (status, _, body) = get(&world, &health).await.unwrap();
    assert!(status == 503 && body.contains("\"database\":\"failing\""), "{status} {body}");
    let ok = format!("{}/healthz", grafana.url());
    assert_eq!(get(&world, &ok).await.unwrap().2, "Ok", "the web server only");
}

#[tokio::test]
async fn the_health_of_a_datasource_is_good_on_an_empty_loki() {
    let world = World::new().unwrap();
    let loki = StandinLoki::start().unwrap();
    let grafana = StandinGrafana::start("token", &[Datasource::loki(loki.url())]).unwrap();
    let ask = async || {
        let url = format!("{}/api/datasources/uid/P8E80F9AEF21F6940/health", grafana.url());
        let answer = world.http().get(url).bearer_auth("token").send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let (status, body) = ask().await;
    assert_eq!((status, &body["message"]), (200, &json!("Successfully queried the Loki API.")));
    loki.set_mood(Mood::Refuse).await.unwrap();
    let (status, body) = ask().await;
    assert!(status == 400 && body["message"].as_str().unwrap().ends_with("connection refused"), "{status} {body}");
}
