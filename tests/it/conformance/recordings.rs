//! What real servers answered once, and what their stand-ins answer in the same situation.

use anyhow::ensure;
use tests::standin::{Datasource, Mood, StandinAlloy, StandinGrafana, StandinJournal, StandinLoki, StandinPromtail};
use tests::{World, wait_until};

use super::SOON;
use super::pair::now;
use super::recorded::{Of, Replays, stream};

const TOKEN: &str = "Bearer glsa_good";
/// What was asked of a Grafana while its Loki answered.
pub(super) const GRAFANA: &[&str] = &[
    "grafana/health-200.json",
    "grafana/healthz-200.json",
    "grafana/unknown-api-route-404.json",
    "grafana/unknown-page-no-login-302.json",
    "grafana/datasources-200.json",
    "grafana/datasource-by-uid-200.json",
    "grafana/datasource-missing-404.json",
    "grafana/datasource-health-404.json",
    "grafana/datasource-health-missing-500.json",
    "grafana/datasources-no-login-401.json",
    "grafana/proxy-loki-labels-200.json",
    "grafana/ds-query-logs-200.json",
    "grafana/ds-query-no-data-200.json",
    "grafana/ds-query-instant-metric-200.json",
    "grafana/ds-query-range-metric-200.json",
    "grafana/ds-query-parse-error-400.json",
    "grafana/ds-query-one-of-two-fails-400.json",
    "grafana/ds-query-unknown-datasource-404.json",
];

/// A journal whose first line met a Loki that was down.
async fn after_an_outage(loki: &StandinLoki, journal: &StandinJournal, retries: impl AsyncFn() -> bool, sent: impl Fn() -> u64) {
    let again = async || {
        ensure!(retries().await, "not yet");
        Ok(())
    };
    wait_until(SOON, "a collector tries again", again).await.unwrap();
    loki.set_mood(Mood::Fine).await.unwrap();
    (0..4).for_each(|number| journal.write("system-metrics", &format!("line {number}")));
    let all = async || {
        ensure!(sent() == 5, "{}", sent());
        Ok(())
    };
    wait_until(SOON, "a collector sends all", all).await.unwrap();
}

/// A collector has met a Loki that did not answer.
async fn has_retried(world: &World, base: &str) -> bool {
    let text = world.http().get(format!("{base}/metrics")).send().await.unwrap().text().await.unwrap();
    text.contains("status_code=\"-1\"")
}

#[tokio::test]
async fn alloy() {
    let world = World::new().unwrap();
    let mut replays = Replays::new(&world, Of::Standin);
    let (loki, journal) = (StandinLoki::start().unwrap(), StandinJournal::new());
    loki.set_mood(Mood::Refuse).await.unwrap();
    let alloy = StandinAlloy::start(&journal, &[&loki.url()]).unwrap();
    let base = alloy.url();
    let unbegun = world.http().get(format!("{base}/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(!unbegun.contains("loki_write_sent_entries_total"), "there was no line yet: {unbegun}");
    journal.write("system-metrics", "first");
    after_an_outage(&loki, &journal, async || has_retried(&world, &base).await, || alloy.sent()).await;
    replays
        .same(
            &base,
            Some(TOKEN),
            &[
                "alloy/ready-200.json",
                "alloy/healthy-200.json",
                "alloy/components-200.json",
                "alloy/component-loki-write-200.json",
                "alloy/component-unknown-404.json",
                "alloy/metrics-steady-200.json",
            ],
        )
        .await;
    alloy.set_broken_config(Some(
        "reading config path \"/etc/alloy/c.alloy\": /etc/alloy/c.alloy:31:40: expected expression, got }",
    ));
    replays
        .same(
            &base,
            Some(TOKEN),
            &[
                "alloy/reload-bad-config-400.json",
                "alloy/ready-after-bad-reload-200.json",
                "alloy/metrics-after-bad-reload-200.json",
            ],
        )
        .await;
    alloy.set_broken_config(None);
    replays.same(&base, Some(TOKEN), &["alloy/reload-good-config-200.json"]).await;
    loki.set_mood(Mood::Refuse).await.unwrap();
    replays.same(&base, Some(TOKEN), &["alloy/healthy-loki-down-200.json", "alloy/metrics-loki-down-200.json"]).await;
    replays.agree();
}

#[tokio::test]
async fn promtail() {
    let world = World::new().unwrap();
    let mut replays = Replays::new(&world, Of::Standin);
    let (loki, journal) = (StandinLoki::start().unwrap(), StandinJournal::new());
    loki.set_mood(Mood::Refuse).await.unwrap();
    let promtail = StandinPromtail::start(&journal, &loki.url()).unwrap();
    journal.write("system-metrics", "first");
    let base = promtail.url();
    after_an_outage(&loki, &journal, async || has_retried(&world, &base).await, || promtail.sent()).await;
    replays.same(&base, Some(TOKEN), &["promtail/ready-200.json", "promtail/metrics-steady-200.json"]).await;
    loki.set_mood(Mood::Refuse).await.unwrap();
    replays.same(&base, Some(TOKEN), &["promtail/ready-loki-down-200.json"]).await;
    replays.agree();
}

#[tokio::test]
async fn grafana() {
    let world = World::new().unwrap();
    let mut replays = Replays::new(&world, Of::Standin);
    let loki = StandinLoki::start().unwrap();
    let now = now();
    for service in ["migration-canary", "system-metrics"] {
        let (labels, lines) = stream(service, now);
        loki.push(&labels, &lines).unwrap();
    }
    let grafana = StandinGrafana::start("glsa_good", &[Datasource::loki(loki.url())]).unwrap();
    grafana.set_version("10.0.0-preview");
    grafana.set_checks_datasources(false);
    let base = grafana.url();
    replays.same(&base, Some(TOKEN), GRAFANA).await;
    replays.same(&base, Some("Bearer glsa_bad"), &["grafana/datasources-bad-token-401.json"]).await;
    replays.same(&base, Some("Basic YTpi"), &["grafana/datasources-bad-password-401.json"]).await;
    loki.set_mood(Mood::Refuse).await.unwrap();
    replays.same(&base, Some(TOKEN), &["grafana/ds-query-loki-down-400.json", "grafana/proxy-loki-down-502.json"]).await;
    replays.agree();
}
