//! What proving a moved Grafana costs: time, questions, memory of the verifier.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use tests::{Grafana, Verifier, World};
use tokio::time::{Instant, interval};

use crate::figures::{say, tell};
use crate::usage::{cpu, peak};

/// How many dashboards are saved at once.
const AT_ONCE: usize = 8;
const PATIENCE: Duration = Duration::from_mins(30);
const NOWHERE: &str = "http://127.0.0.1:9";

/// This many dashboards, moved by a copy of the database, and proven with the default settings.
pub(crate) async fn measure(dashboards: u32, panels: u32) -> Result<()> {
    let world = World::new()?;
    let (old, new) = tokio::try_join!(Grafana::start(&world, NOWHERE), Grafana::start(&world, NOWHERE))?;
    say(&format!("{dashboards} dashboards with {panels} panels each are saved"));
    let (grafana, loki) = (&old, old.datasource());
    let saved = stream::iter(0..dashboards).map(|nth| async move {
        let body = json!({"dashboard": dashboard(nth, panels, loki), "overwrite": true});
        grafana.create("/api/dashboards/db", &body).await.map(|_| ())
    });
    saved.buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
    let token = old.token("phasegate", "Admin").await?;
    say("the database is copied");
    new.take_over(&old).await?;

    let (before, begun) = (answered(&old).await?, Instant::now());
    let verifier = Verifier::start_with(&world, &document(&old, &new), &[("TOKEN", &token)]).await?;
    let pid = verifier.process().pid().context("the verifier has no process")?;
    let mut tick = interval(Duration::from_millis(200));
    let probe = loop {
        tick.tick().await;
        let probe: Value = verifier.get("/v1/probes/parity").await?.json()?;
        ensure!(probe.get("state").is_some_and(|state| state != "red"), "{probe}");
        if probe.get("state").is_some_and(|state| state == "green") {
            break probe;
        }
        ensure!(begun.elapsed() < PATIENCE, "not proven: {probe}");
    };
    let took = begun.elapsed();
    let asked = answered(&old).await? - before;
    for part in probe.get("parts").and_then(Value::as_array).into_iter().flatten() {
        let text = |key: &str| part.get(key).and_then(Value::as_str).unwrap_or_default();
        tell(&format!("{:<16} {}", text("part"), text("evidence")));
    }
    let rate = f64::from(u32::try_from(asked)?) / took.as_secs_f64();
    tell(&format!("proven after {took:.1?}; the old Grafana answered {asked} questions, {rate:.1} a second"));
    tell(&format!("verifier: {:.1} MiB at its peak, {:.2} s of processor", peak(pid)?, cpu(pid)?));
    Ok(())
}

fn dashboard(nth: u32, panels: u32, loki: &str) -> Value {
    let panel = |of: u32| {
        let asked = json!({"type": "loki", "uid": loki});
        let expr = format!("sum by (level) (count_over_time({{service=\"service-{nth}\"}} |= `part {of}` [5m]))");
        json!({
            "id": of, "title": format!("Panel {of}"), "type": "timeseries", "datasource": asked, "description": "What it shows, and why",
            "gridPos": {"x": of % 2 * 12, "y": of * 8, "w": 12, "h": 8}, "targets": [{"refId": "A", "expr": expr, "datasource": asked}],
            "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "single"}},
            "fieldConfig": {"defaults": {"unit": "short", "color": {"mode": "palette-classic"}, "custom": {"drawStyle": "line"}}, "overrides": []},
        })
    };
    let panels: Vec<Value> = (1..=panels).map(panel).collect();
    json!({"uid": format!("bench-{nth}"), "title": format!("Dashboard {nth}"), "tags": ["bench"], "schemaVersion": 36, "panels": panels})
}

fn document(old: &Grafana, new: &Grafana) -> String {
    let target = |grafana: &Grafana| format!("{{grafana: {{url: \"{}\", token: {{env: TOKEN}}}}}}", grafana.url());
    format!(
        "apiVersion: phasegate.dev/v1alpha1\nkind: Migration\nmetadata: {{name: bench}}\nspec:\n  targets:\n    \
         old: {}\n    new: {}\n  phases:\n  - name: move\n    gate: {{soak: 0s, minSamples: 1, unknownBudget: 0s}}\n    probes:\n    \
         - {{name: parity, controlEvery: 10s, check: {{grafanaParity: {{old: old, new: new}}}}}}\n",
        target(old),
        target(new)
    )
}

/// How many requests a Grafana has answered.
async fn answered(grafana: &Grafana) -> Result<u64> {
    let page = grafana.get("/metrics").await?.body;
    let of = |line: &&str| line.starts_with("grafana_http_request_duration_seconds_count{");
    let counts = page.lines().filter(of).filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    Ok(counts.sum())
}
