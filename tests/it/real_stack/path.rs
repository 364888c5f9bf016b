//! From the journal to Grafana.

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Grafana, LogPath, World, wait_until};

use super::SOON;

/// The lines of the last ten minutes that Grafana's datasource answers with.
async fn lines(grafana: &Grafana, query: &str) -> Result<Vec<String>> {
    let body = json!({"from": "now-10m", "to": "now", "queries": [{
        "refId": "A", "datasource": {"type": "loki", "uid": grafana.datasource()},
        "expr": query, "queryType": "range", "maxLines": 1000,
    }]});
    let response = grafana.as_admin(Method::POST, "/api/ds/query").json(&body).send().await?;
    ensure!(response.status() == 200, "{}: {}", response.status(), response.text().await?);
    let reply: Value = response.json().await?;
    let frames = reply.pointer("/results/A/frames").and_then(Value::as_array).with_context(|| format!("no frames: {reply}"))?;
    let mut lines = Vec::new();
    for frame in frames {
        let fields = frame.pointer("/schema/fields").and_then(Value::as_array).context("no fields")?;
        if let Some(column) = fields.iter().position(|field| field["name"] == "Line") {
            let values = frame.pointer(&format!("/data/values/{column}")).and_then(Value::as_array).context("no values")?;
            lines.extend(values.iter().filter_map(Value::as_str).map(str::to_owned));
        }
    }
    Ok(lines)
}

#[tokio::test]
async fn a_line_of_the_journal_comes_back_through_grafana_once_from_each_collector() {
    let world = World::new().unwrap();
    let logs = LogPath::start(&world).await.unwrap();
    logs.deploy_alloy().await.unwrap();
    // No collector keeps the first, both the second, only Alloy the third.
    for (identifier, message) in [("sshd", "kept private"), ("gitops-sync", "told by both"), ("system-metrics", "told by one")] {
        logs.journal.log(identifier, message).unwrap();
    }
    let expected = [(r#"{agent=""}"#, vec!["told by both"]), (r#"{agent="alloy"}"#, vec!["told by both", "told by one"])];
    for (selector, expected) in expected {
        let query = format!(r#"{} |= "told by""#, selector.replace('{', r#"{job="systemd-journal","#));
        let look = async || {
            let mut seen = lines(&logs.old_grafana, &query).await?;
            seen.sort();
            ensure!(seen == expected, "{query}: {seen:?}");
            Ok(())
        };
        wait_until(SOON, "the lines come back through Grafana", look).await.unwrap();
    }
    let private = lines(&logs.old_grafana, r#"{job="systemd-journal"} |= "kept private""#).await.unwrap();
    assert_eq!(private, Vec::<String>::new());
    // The new Grafana asks the new Loki, which has nothing yet.
    assert_eq!(lines(&logs.new_grafana, r#"{job="systemd-journal"}"#).await.unwrap(), Vec::<String>::new());
}
