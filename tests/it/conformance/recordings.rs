//! What real servers answered once, and what their stand-ins answer in the same situation.

use std::fmt::Write;

use anyhow::ensure;
use tests::standin::{Datasource, Mood, StandinAlloy, StandinGrafana, StandinJournal, StandinLoki, StandinPromtail};
use tests::{Line, World, wait_until};

use super::SOON;
use super::pair::now;
use super::recorded::{Of, Recorded};

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

struct Replays {
    world: World,
    differences: String,
}

impl Replays {
    fn new() -> Self {
        Self { world: World::new().unwrap(), differences: String::new() }
    }

    fn agree(&self) {
        assert!(self.differences.is_empty(), "{}", self.differences);
    }

    async fn same(&mut self, base: &str, names: &[&str]) {
        self.same_as(base, Some(TOKEN), names).await;
    }

    async fn same_as(&mut self, base: &str, authorization: Option<&str>, names: &[&str]) {
        for name in names {
            let difference = Recorded::read(name).replay(&self.world, base, Of::Standin, authorization).await;
            if !difference.is_empty() {
                write!(self.differences, "\n{name}\n  {difference}\n").unwrap();
            }
        }
    }
}

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
    let mut replays = Replays::new();
    let (loki, journal) = (StandinLoki::start().unwrap(), StandinJournal::new());
    loki.set_mood(Mood::Refuse).await.unwrap();
    let alloy = StandinAlloy::start(&journal, &[&loki.url()]).unwrap();
    journal.write("system-metrics", "first");
    let base = alloy.url();
    after_an_outage(&loki, &journal, async || has_retried(&replays.world, &base).await, || alloy.sent()).await;
    replays
        .same(
            &base,
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
            &[
                "alloy/reload-bad-config-400.json",
                "alloy/ready-after-bad-reload-200.json",
                "alloy/metrics-after-bad-reload-200.json",
            ],
        )
        .await;
    alloy.set_broken_config(None);
    replays.same(&base, &["alloy/reload-good-config-200.json"]).await;
    loki.set_mood(Mood::Refuse).await.unwrap();
    replays.same(&base, &["alloy/healthy-loki-down-200.json", "alloy/metrics-loki-down-200.json"]).await;
    replays.agree();
}

#[tokio::test]
async fn promtail() {
    let mut replays = Replays::new();
    let (loki, journal) = (StandinLoki::start().unwrap(), StandinJournal::new());
    loki.set_mood(Mood::Refuse).await.unwrap();
    let promtail = StandinPromtail::start(&journal, &loki.url()).unwrap();
    journal.write("system-metrics", "first");
    let base = promtail.url();
    after_an_outage(&loki, &journal, async || has_retried(&replays.world, &base).await, || promtail.sent()).await;
    replays.same(&base, &["promtail/ready-200.json", "promtail/metrics-steady-200.json"]).await;
    loki.set_mood(Mood::Refuse).await.unwrap();
    replays.same(&base, &["promtail/ready-loki-down-200.json"]).await;
    replays.agree();
}

#[tokio::test]
async fn grafana() {
    let mut replays = Replays::new();
    let loki = StandinLoki::start().unwrap();
    let now = now();
    for service in ["migration-canary", "system-metrics"] {
        let line = |seq: i64| {
            let text = format!(
                r#"{{"level":"info","service":"{service}","msg":"phasegate canary","node":"a","boot":"00ff","seq":{seq}}}"#
            );
            // Moments that are no whole milliseconds.
            Line::new(now / 1_000_000 * 1_000_000 - 1_000_000_000 + seq * 1_001_000, text)
        };
        let labels = [
            ("agent", "alloy"),
            ("job", "systemd-journal"),
            ("level", "info"),
            ("service", service),
            ("syslog_identifier", "system-metrics-canary"),
        ];
        loki.push(&labels, &(1..=5).map(line).collect::<Vec<_>>()).unwrap();
    }
    let grafana = StandinGrafana::start("glsa_good", &[Datasource::loki(loki.url())]).unwrap();
    grafana.set_version("10.0.0-preview");
    grafana.set_checks_datasources(false);
    let base = grafana.url();
    replays.same(&base, GRAFANA).await;
    replays.same_as(&base, Some("Bearer glsa_bad"), &["grafana/datasources-bad-token-401.json"]).await;
    replays.same_as(&base, Some("Basic YTpi"), &["grafana/datasources-bad-password-401.json"]).await;
    loki.set_mood(Mood::Refuse).await.unwrap();
    replays.same(&base, &["grafana/ds-query-loki-down-400.json", "grafana/proxy-loki-down-502.json"]).await;
    replays.agree();
}
