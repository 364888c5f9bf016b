//! What is done to both, and what they said about it.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::{Fault, wait_until};
use tokio::time::{sleep, sleep_until};

use crate::figures::say;

use super::stage::{Collector, Stage, Truth, Used};
use super::table::Part;
use super::watch::Watch;

/// The counters by which loki-canary says that lines are missing.
const LOSS: [&str; 3] = ["websocket_missing_entries_total", "missing_entries_total", "spot_check_missing_entries_total"];
/// Its other counters of what should not be.
const ODD: [&str; 4] =
    ["unexpected_entries_total", "duplicate_entries_total", "out_of_order_entries_total", "ws_reconnects_total"];
/// loki-canary counts what did not come each 60 s, and what it wrote before its websocket was there is among the first.
pub(super) const WARM_UP: Duration = Duration::from_secs(125);
/// How long the calm is measured.
const CALM: Duration = Duration::from_mins(2);
/// How long shipping pauses.
const PAUSE: Duration = Duration::from_mins(4);
/// After this both have said all that they say about lines that are missing: 300 s by both's defaults, 60 s of loki-canary's timer or
/// 113 s of the verifier's own pace, and some.
const SAID_ALL: Duration = Duration::from_secs(450);
/// A second probe that counts again so far back only, and so more often: each 150 s instead of each hour.
const SHORT_RECHECK: &str = "1h";

/// A stage on which both have run for a while.
async fn warm(collector: Collector, rechecks: &[&str], name: &str) -> Result<Stage> {
    let ready = tokio::time::Instant::now() + WARM_UP;
    let stage = Stage::open(collector, rechecks).await?;
    say(&format!("{name}: all lines of both arrive; warming up ({})", stage.folder()));
    sleep_until(ready).await;
    Ok(stage)
}

/// What both use while nothing happens.
pub(super) async fn steady(collector: Collector) -> Result<Part> {
    let stage = warm(collector, &[], "steady").await?;
    let mut watches = stage.watch().await?;
    let before = stage.used()?;
    sleep(CALM).await;
    let after = stage.used()?;
    stage.follow(&mut watches, CALM + Duration::from_secs(1)).await?;
    let bytes = stage.line_bytes().await?;
    let spent: Vec<Used> = before
        .iter()
        .zip(after)
        .map(|(before, after)| Used { cpu: after.cpu - before.cpu, logged: after.logged - before.logged, ..after })
        .collect();
    let [agent, verifier, rival, journald, shipper] = spent[..] else { unreachable!("as many as there were") };
    let [ours, rivals] = &watches;
    let raw = json!({"agent": agent, "verifier": verifier, "loki_canary": rival, "journald": journald, "collector": shipper, "line_bytes": bytes, "watch": raw(&watches)});
    Ok(Part::new("steady: 120 s at 10 lines/s each", raw)
        .row(
            "processor seconds",
            format!("{:.2} (agent {:.2}, verifier {:.2})", agent.cpu + verifier.cpu, agent.cpu, verifier.cpu),
            format!("{:.2}", rival.cpu),
        )
        .row(
            "resident MiB",
            format!("agent {:.1}, verifier {:.1}", agent.resident, verifier.resident),
            format!("{:.1}", rival.resident),
        )
        .row(
            "bytes logged",
            format!("{} (agent {}, verifier {})", agent.logged + verifier.logged, agent.logged, verifier.logged),
            rival.logged.to_string(),
        )
        .row("bytes of a line in Loki", bytes[0].to_string(), bytes[1].to_string())
        .row("false signs", first(ours, &["gate_not_open", "probe_red"]), first(rivals, &LOSS))
        .row("beside it: journald", format!("{:.2} s, {:.1} MiB", journald.cpu, journald.resident), "pushes by itself")
        .row(
            format!("beside it: {collector:?}"),
            format!("{:.2} s, {:.1} MiB", shipper.cpu, shipper.resident),
            "pushes by itself",
        ))
}

/// How an outage comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outage {
    /// What is pushed falls silent; what is read is answered.
    Dark,
    /// Loki stands still.
    Frozen,
}

/// How long it takes until either says that nothing arrives any more.
pub(super) async fn outage(collector: Collector, outage: Outage, limit: Duration) -> Result<Part> {
    let (name, title) = match outage {
        Outage::Dark => ("outage", "outage: pushes fall silent (black hole), Loki answers all reads"),
        Outage::Frozen => ("frozen", "outage: Loki is frozen (SIGSTOP), for pushes and reads"),
    };
    let stage = warm(collector, &[], name).await?;
    let mut watches = stage.watch().await?;
    match outage {
        Outage::Dark => stage.hold(Fault::BlackHole).await?,
        Outage::Frozen => stage.loki.freeze().await?,
    }
    say(&format!("{name}: it is down"));
    stage.follow(&mut watches, limit).await?;
    let evidence = stage.evidence().await?;
    let [ours, rivals] = &watches;
    let by_limit = |said: Option<f64>| said.map_or(format!("never within {} s", limit.as_secs()), seconds);
    let sign = rivals
        .earliest(&LOSS)
        .map_or(by_limit(None), |(name, at)| format!("{} ({name} +{:.0})", seconds(at), rivals.grown(name)));
    let mut part = Part::new(title, json!({"evidence": evidence, "watch": raw(&watches)}))
        .row("first sign: the gate, a loss counter", by_limit(ours.first("gate_not_open")), sign)
        .row("red probe; another counter", by_limit(ours.first("probe_red")), first(rivals, &ODD));
    for name in LOSS {
        part = part.row(name, "", by_limit(rivals.first(name)));
    }
    let still = |name| rivals.last(name).map_or("at once".to_owned(), |at| format!("after {}", seconds(at)));
    Ok(part.row("no loss sign: latency histogram stands still", "", still("response_latency_seconds_count")).row(
        "no loss sign: it writes no more (entries_total)",
        "",
        still("entries_total"),
    ))
}

/// Nothing is lost: what do they say?
pub(super) async fn pause(collector: Collector, follow: Duration) -> Result<Part> {
    let stage = warm(collector, &[], "pause").await?;
    let mut watches = stage.watch().await?;
    stage.hold(Fault::BlackHole).await?;
    say("pause: shipping pauses");
    stage.follow(&mut watches, PAUSE).await?;
    let written = [watches[0].grown("head_seq"), watches[1].grown("entries_total")];
    stage.release().await?;
    say("pause: shipping goes on");
    stage.follow(&mut watches, PAUSE + follow).await?;
    let truth = stage.truth().await?;
    let [ours, rivals] = &watches;
    let part = Part::new(
        format!("pause: 240 s without shipping, {} s after it", follow.as_secs()),
        json!({"truth": truth, "evidence": stage.evidence().await?, "watch": raw(&watches)}),
    )
    .row("lines written in the pause", format!("{:.0}", written[0]), format!("{:.0}", written[1]))
    .row("lines that never arrived (true)", missing(truth[0]), missing(truth[1]))
    .row(
        "lines reported lost",
        format!("{:.0}", ours.grown("lost_lines") + ours.grown("destroyed_lines")),
        counted(rivals, "missing_entries_total"),
    )
    .row("other loss counters", "", format!("{}, {}", counted(rivals, LOSS[0]), counted(rivals, LOSS[2])))
    .row("other counters", "", ODD.map(|name| counted(rivals, name)).join(", "));
    Ok(part.row("the gate at the end", gate(ours), ""))
}

/// Delivered lines are destroyed.
pub(super) async fn destroy(collector: Collector, limit: Duration) -> Result<Part> {
    let stage = warm(collector, &[SHORT_RECHECK], "destroy").await?;
    // What is under way is not acknowledged, and comes again.
    stage.hold(Fault::BlackHole).await?;
    let mut counts = stage.count().await?;
    wait_until(WARM_UP, "nothing is under way any more", async || {
        sleep(Duration::from_secs(1)).await;
        let now = stage.count().await?;
        let still = std::mem::replace(&mut counts, now) == now;
        ensure!(still, "{now:?}");
        Ok(())
    })
    .await?;
    let mut watches = stage.watch().await?;
    stage.follow_while(&mut watches, stage.loki.destroy()).await?;
    stage.release().await?;
    say(&format!("destroy: {counts:?} lines are destroyed"));
    let (mut evidence, mut age) = (String::new(), Duration::from_secs(5));
    while age < limit && (watches[0].first("destroyed_lines").is_none() || age < SAID_ALL) {
        stage.follow(&mut watches, age).await?;
        age += Duration::from_secs(5);
        if evidence.is_empty() && watches[0].first("destroyed_lines").is_some() {
            evidence = stage.evidence().await?;
        }
    }
    let followed = watches[0].elapsed().as_secs();
    let truth = stage.truth().await?;
    let [ours, rivals] = &watches;
    let said = |watch: &Watch, name: &str| {
        let never = || format!("none within {followed} s");
        watch.first(name).map_or_else(never, |at| format!("{:.0} after {}", watch.grown(name), seconds(at)))
    };
    // What was on its way into the account when it was destroyed is lost to it, not destroyed.
    let both = |of: &str| {
        let [destroyed, lost] = ["destroyed_lines", "lost_lines"].map(|name| said(ours, &format!("{name}{of}")));
        format!("{destroyed}; lost: {lost}")
    };
    let part = Part::new(
        format!("destroy: delivered lines are deleted, followed for {followed} s"),
        json!({"counts": counts, "truth": truth, "evidence": evidence, "watch": raw(&watches)}),
    )
    .row("lines destroyed", counts[0].to_string(), counts[1].to_string())
    .row("lines that Loki lacks at the end (true)", missing(truth[0]), missing(truth[1]))
    .row("reported destroyed, recheck 24h (default); by spot check", both(""), said(rivals, LOSS[2]))
    .row(format!("reported destroyed, recheck {SHORT_RECHECK}"), both(&format!(" of canary-{SHORT_RECHECK}")), "");
    Ok(part
        .row("reported missing", "", said(rivals, LOSS[1]))
        .row("not received in time", "", counted(rivals, LOSS[0]))
        .row("other counters", "", ODD.map(|name| counted(rivals, name)).join(", "))
        .row("metric test (once an hour, first at a random moment)", "", metric_test(rivals))
        .row("the gate at the end", gate(ours), ""))
}

/// Some pushes are acknowledged and thrown away.
pub(super) async fn drop_some(collector: Collector) -> Result<Part> {
    const EVERY: u64 = 10;
    const TIMES: u64 = 30;
    let stage = warm(collector, &[], "drop").await?;
    let mut watches = stage.watch().await?;
    let dropped = stage.follow_while(&mut watches, stage.drop_pushes(EVERY, TIMES)).await?;
    let took = watches[0].elapsed();
    say(&format!("drop: 30 pushes of each were dropped in {took:.0?}"));
    stage.follow(&mut watches, took + SAID_ALL).await?;
    let truth = stage.truth().await?;
    let [ours, rivals] = &watches;
    let said = |watch: &Watch, name: &str| {
        format!("{:.0} ({} to {})", watch.grown(name), time(watch.first(name)), time(watch.last(name)))
    };
    Ok(Part::new(
        "drop: each tenth push acknowledged and thrown away, 30 of 300",
        json!({"dropped_pushes": dropped, "truth": truth, "evidence": stage.evidence().await?, "watch": raw(&watches)}),
    )
    .row("pushes dropped", dropped[0].to_string(), dropped[1].to_string())
    .row("lines that never arrived (true)", missing(truth[0]), missing(truth[1]))
    .row("lines reported lost", said(ours, "lost_lines"), said(rivals, LOSS[1]))
    .row("not received in time", "", said(rivals, LOSS[0]))
    .row("the gate at the end", gate(ours), ""))
}

fn seconds(seconds: f64) -> String {
    format!("{seconds:.1} s")
}

fn time(at: Option<f64>) -> String {
    at.map_or("-".to_owned(), seconds)
}

fn gate(ours: &Watch) -> String {
    let open = if ours.now("gate_not_open") > 0.0 { "not open" } else { "open" };
    format!("{open}, last change after {}", time(ours.last("gate_not_open")))
}

fn metric_test(rivals: &Watch) -> String {
    let at = rivals.last("metric_test_actual");
    at.map_or("has not run".to_owned(), |at| {
        let [actual, expected] = ["metric_test_actual", "metric_test_expected"].map(|name| rivals.now(name));
        format!("{actual:.0} of {expected:.0} after {}", seconds(at))
    })
}

fn missing(truth: Truth) -> String {
    format!("{} of {}", truth.missing(), truth.written)
}

fn counted(watch: &Watch, name: &str) -> String {
    format!("{} +{:.0}", name.trim_end_matches("_total"), watch.grown(name))
}

/// The first of these that changed.
fn first(watch: &Watch, names: &[&str]) -> String {
    watch.earliest(names).map_or("none".to_owned(), |(name, at)| format!("{name} after {}", seconds(at)))
}

fn raw([ours, rivals]: &[Watch; 2]) -> Value {
    json!({"phasegate": ours.tracks(), "loki_canary": rivals.tracks()})
}
