//! The moves of the four phases, as an operator makes them.

use anyhow::{Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Databases, Grafana, LogPath, Loki, World, wait_until};

use super::SOON;

const CANARY: &str = r#"{service="migration-canary"}"#;

/// The agent's numbers that a Loki has, without gaps and doubles; an error says which are missing.
async fn numbers(loki: &Loki) -> Result<Vec<u64>> {
    let lines = loki.recent_lines(CANARY).await?;
    let mut numbers = Vec::new();
    for line in lines {
        numbers.push(checks::log_path::line::CanaryLine::parse(&line.text).map(|line| line.seq).unwrap_or_default());
    }
    numbers.sort_unstable();
    let whole: Vec<u64> = (1..=u64::try_from(numbers.len())?).collect();
    ensure!(numbers == whole, "{numbers:?}");
    Ok(numbers)
}

async fn at_least(loki: &Loki, count: usize) -> usize {
    let look = async || {
        let numbers = numbers(loki).await?;
        ensure!(numbers.len() >= count, "{} of {count}", numbers.len());
        Ok(numbers.len())
    };
    wait_until(SOON, &format!("lines 1 to {count} without a gap"), look).await.unwrap()
}

async fn datasource(grafana: &Grafana) -> String {
    let path = format!("/api/datasources/uid/{}", grafana.datasource());
    let reply: Value = grafana.as_admin(Method::GET, &path).send().await.unwrap().json().await.unwrap();
    reply["url"].as_str().unwrap_or_else(|| panic!("{reply}")).to_owned()
}

#[tokio::test]
async fn the_log_path_moves_and_no_line_no_dashboard_and_no_token_is_lost() {
    let world = World::new().unwrap();
    let logs = LogPath::start(&world).await.unwrap();
    logs.journal.log("gitops-sync", "history, told by Promtail").unwrap();
    let history = async |loki: &Loki| loki.count(r#"{agent="", job="systemd-journal"} |= "history""#).await;
    let arrives = async || {
        ensure!(history(&logs.old_loki).await? == 1, "not yet");
        Ok(())
    };
    wait_until(SOON, "Promtail ships", arrives).await.unwrap();

    logs.deploy_alloy().await.unwrap();
    logs.retire_promtail().await.unwrap();
    let shipped = at_least(&logs.old_loki, 5).await;

    logs.copy_loki(&world).await.unwrap();
    logs.ship_to_new_loki().await.unwrap();
    // What was written before, while the Lokis stood still, and after.
    at_least(&logs.new_loki, shipped + 20).await;
    assert_eq!(history(&logs.new_loki).await.unwrap(), 1);

    let dashboard = json!({"dashboard": {"uid": "homelab", "title": "Homelab", "panels": []}});
    let made = logs.old_grafana.as_admin(Method::POST, "/api/dashboards/db").json(&dashboard).send().await.unwrap();
    assert_eq!(made.status(), 200);
    let seen = async || {
        let request = world.http().get(format!("{}/api/dashboards/uid/homelab", logs.new_grafana.url()));
        request.bearer_auth(&logs.token).send().await.unwrap().status().as_u16()
    };
    assert_eq!(seen().await, 401, "a token of the old Grafana is none of the new one's before the move");
    logs.move_grafana().await.unwrap();
    assert_eq!((seen().await, datasource(&logs.new_grafana).await), (200, logs.old_loki.url().to_owned()));
    logs.repoint_grafana().await.unwrap();
    assert_eq!((seen().await, datasource(&logs.new_grafana).await), (200, logs.gateway.url()));
}

#[tokio::test]
async fn the_database_moves_with_all_that_was_written_and_the_writers_go_on() {
    let world = World::new().unwrap();
    let mut databases = Databases::start(&world).await.unwrap();
    let writes = async |databases: &Databases, more: u64| {
        let before = databases.application.written();
        let look = async || {
            let now = databases.application.written();
            ensure!(now.metrics >= before.metrics + more && now.syncs > before.syncs, "{now:?}");
            Ok(())
        };
        wait_until(SOON, "the application writes", look).await.unwrap();
    };
    writes(&databases, 8).await;
    let moved = databases.dump_and_restore(None).await.unwrap();
    assert!(moved.metrics >= 8 && moved.syncs >= 1, "{moved:?}");
    databases.application.point_at(&databases.new.dsn()).await.unwrap();
    databases.old.stop().await.unwrap();
    writes(&databases, 8).await;
}
