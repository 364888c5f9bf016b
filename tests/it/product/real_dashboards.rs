//! A real Grafana takes the dashboards as its sidecar would put them there.

use anyhow::ensure;
use reqwest::Method;
use tests::{Grafana, World, wait_until};

use super::PATIENCE;
use crate::dashboards::boards;
use crate::promql::{read, root};

#[tokio::test]
async fn a_real_grafana_provisions_every_dashboard_as_it_is() {
    let world = World::new().unwrap();
    let grafana = Grafana::start(&world, "http://127.0.0.1:9").await.unwrap();
    for (name, board) in boards() {
        let file = format!("deploy/components/dashboards/{name}.json");
        std::fs::copy(root().join(&file), grafana.dashboards().join(format!("{name}.json"))).unwrap();
        assert!(read(&file).contains(board["uid"].as_str().unwrap()));
    }
    for (name, board) in boards() {
        let path = format!("/api/dashboards/uid/{}", board["uid"].as_str().unwrap());
        let taken = wait_until(PATIENCE, name, async || {
            let taken = grafana.call(Method::GET, &path, None).await?;
            ensure!(taken["meta"]["provisioned"] == true, "{taken}");
            Ok(taken)
        });
        let taken = taken.await.unwrap();
        for part in ["title", "panels", "templating", "annotations", "links", "schemaVersion", "tags"] {
            assert_eq!(taken["dashboard"][part], board[part], "{name}: {part}");
        }
    }
}
