//! What real servers answered once, and what they answer now: the recordings that stand-ins are held to are true.

use anyhow::ensure;
use tests::{Alloy, Grafana, Journal, Loki, Promtail, Server, World, wait_until};

use super::SOON;
use super::pair::now;
use super::recorded::{Of, Replays, stream};

async fn metrics_hold(server: &Server, what: &str) {
    let look = async || {
        let text = server.get("/metrics").await?.body;
        ensure!(text.contains(what), "{text}");
        Ok(())
    };
    wait_until(SOON, what, look).await.unwrap();
}

/// A journal whose first line met a Loki that was down, as when the recordings were made.
async fn after_an_outage(loki: &Loki, journal: &Journal, collector: &Server, sent: &str) {
    journal.log("gitops-sync", "first").unwrap();
    metrics_hold(collector, "status_code=\"-1\"").await;
    loki.start_again().await.unwrap();
    for number in 0..4 {
        journal.log("gitops-sync", &format!("line {number}")).unwrap();
    }
    let all = async || {
        let text = collector.get("/metrics").await?.body;
        let lines: f64 = text
            .lines()
            .filter(|line| line.starts_with(sent))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum();
        ensure!((4.5..5.5).contains(&lines), "{lines} of 5 lines");
        Ok(())
    };
    wait_until(SOON, "the collector has sent all", all).await.unwrap();
}

#[tokio::test]
async fn alloy() {
    let world = World::new().unwrap();
    let (journal, loki) = tokio::try_join!(Journal::start(&world), Loki::start(&world)).unwrap();
    loki.kill().await.unwrap();
    let alloy = Alloy::start(&world, journal.folder(), &[loki.url()]).await.unwrap();
    let unbegun = alloy.get("/metrics").await.unwrap().body;
    assert!(!unbegun.contains("loki_write_sent_entries_total"), "there was no line yet: {unbegun}");
    after_an_outage(&loki, &journal, &alloy, "loki_write_sent_entries_total{").await;
    let mut replays = Replays::new(&world, Of::Real);
    replays
        .same(
            alloy.url(),
            None,
            &[
                "alloy/ready-200.json",
                "alloy/healthy-200.json",
                "alloy/components-200.json",
                "alloy/component-unknown-404.json",
                "alloy/metrics-steady-200.json",
            ],
        )
        .await;
    std::fs::write(alloy.file(), "loki.write \"k3s\" { endpoint { url = } }").unwrap();
    let refused = alloy.reload().await.unwrap();
    assert!(refused.status == 400 && refused.body.contains("expected expression, got }"), "{refused:?}");
    let after = ["alloy/ready-after-bad-reload-200.json", "alloy/metrics-after-bad-reload-200.json"];
    replays.same(alloy.url(), None, &after).await;
    alloy.configure(&[loki.url()]).unwrap();
    replays.same(alloy.url(), None, &["alloy/reload-good-config-200.json"]).await;
    loki.kill().await.unwrap();
    journal.log("gitops-sync", "in vain").unwrap();
    replays.same(alloy.url(), None, &["alloy/healthy-loki-down-200.json", "alloy/metrics-loki-down-200.json"]).await;
    replays.agree();
}

#[tokio::test]
async fn promtail() {
    let world = World::new().unwrap();
    let (journal, loki) = tokio::try_join!(Journal::start(&world), Loki::start(&world)).unwrap();
    loki.kill().await.unwrap();
    let promtail = Promtail::start(&world, journal.folder(), loki.url()).await.unwrap();
    after_an_outage(&loki, &journal, &promtail, "promtail_sent_entries_total{").await;
    let mut replays = Replays::new(&world, Of::Real);
    replays.same(promtail.url(), None, &["promtail/ready-200.json", "promtail/metrics-steady-200.json"]).await;
    loki.kill().await.unwrap();
    replays.same(promtail.url(), None, &["promtail/ready-loki-down-200.json"]).await;
    replays.agree();
}

#[tokio::test]
async fn grafana() {
    let world = World::new().unwrap();
    let loki = Loki::start(&world).await.unwrap();
    let now = now();
    for service in ["migration-canary", "system-metrics"] {
        let (labels, lines) = stream(service, now);
        loki.push(&labels, &lines).await.unwrap();
    }
    let grafana = Grafana::start(&world, loki.url()).await.unwrap();
    let token = format!("Bearer {}", grafana.token("admin", "Admin").await.unwrap());
    let mut replays = Replays::new(&world, Of::Real);
    replays.same(grafana.url(), Some(&token), super::recordings::GRAFANA).await;
    replays.same(grafana.url(), Some("Bearer glsa_bad"), &["grafana/datasources-bad-token-401.json"]).await;
    replays.same(grafana.url(), Some("Basic YTpi"), &["grafana/datasources-bad-password-401.json"]).await;
    loki.kill().await.unwrap();
    let down = ["grafana/ds-query-loki-down-400.json", "grafana/proxy-loki-down-502.json"];
    replays.same(grafana.url(), Some(&token), &down).await;
    replays.agree();
}
