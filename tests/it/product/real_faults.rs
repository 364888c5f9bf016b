//! Real servers behind a proxy that breaks what passes: with each fault each check says what it is, and none says that all is
//! well; once the fault is gone, all is well again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::ensure;
use checks::log_path::line::CanaryLine;
use serde_json::Value;
use tests::standin::Datasource;
use tests::{
    Agent, Fault, FaultProxy, Line, Loki, Postgres, StandinAlloy, StandinGrafana, StandinJournal, Verifier, World, wait_until,
};
use tokio::task::JoinSet;

use super::{AT_ONCE, PATIENCE, by_hand, looks, migration, now, opened, postgres_canary, reaches, real_canary};

/// Enough for a debug build to look on a busy machine, and little to wait for where nobody answers.
const LOOKS: &str = "{every: 5s, timeout: 3s}";
const LONG: Duration = Duration::from_hours(1);

/// One look by hand at these probes: what came of each, as `pass` or `fail timeout`.
async fn look(world: &World, document: &str, args: &[&str], env: &[(&str, &str)]) -> BTreeMap<String, (String, Value)> {
    let args: Vec<_> = args.iter().copied().chain(["-o", "json"]).collect();
    let body = by_hand::json(&by_hand::check(world, document, &args, env).await);
    let probes = body["probes"].as_array().unwrap_or_else(|| panic!("{body}"));
    let word = |probe: &Value, key: &str| probe[key].as_str().map(str::to_owned);
    let said = probes.iter().map(|probe| {
        let outcome = [word(probe, "outcome"), word(probe, "reason")].into_iter().flatten().collect::<Vec<_>>().join(" ");
        (word(probe, "name").unwrap(), (outcome, probe.clone()))
    });
    said.collect()
}

/// Compares a look with what is expected of each probe (`|` between what it may be), and each that is not well must say what to do
/// next.
fn compare(fault: &str, seen: &BTreeMap<String, (String, Value)>, expected: &[(&str, &str)], wrong: &mut Vec<String>) {
    for (name, words) in expected {
        let (outcome, probe) = &seen[*name];
        let helps = outcome == "pass" || probe["next"].as_str().is_some_and(|next| !next.is_empty());
        if !words.split('|').any(|word| word == outcome) || !helps {
            wrong.push(format!("{fault}: {name} is `{outcome}` instead of `{words}`: {}", probe["evidence"]));
        }
    }
}

/// Looks until this comes of each probe; on a busy machine no line may come between two looks.
async fn reaches_by_hand(
    (world, document, env): (&World, &str, &[(&str, &str)]),
    when: &str,
    expected: &[(&str, &str)],
    wrong: &mut Vec<String>,
) {
    let looks = async || {
        let seen = look(world, document, &["--times", "2", "--pause", "300ms"], env).await;
        let mut differences = Vec::new();
        compare(when, &seen, expected, &mut differences);
        ensure!(differences.is_empty(), "{}", differences.join("\n"));
        Ok(())
    };
    if let Err(error) = wait_until(PATIENCE, when, looks).await {
        wrong.push(format!("{error:#}"));
    }
}

/// Lines that come without pause.
fn pushing(loki: std::sync::Arc<Loki>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        loop {
            ticks.tick().await;
            let line = Line::new(now().timestamp_nanos_opt().unwrap(), "traffic");
            loki.push(&[("job", "traffic")], &[line]).await.unwrap();
        }
    });
    tasks
}

#[tokio::test]
async fn no_check_is_green_on_a_loki_that_is_cut_off_and_each_is_once_it_is_back() {
    let world = World::new().unwrap();
    let loki = std::sync::Arc::new(Loki::start(&world).await.unwrap());
    let _traffic = pushing(loki.clone());
    let proxy = FaultProxy::start_http(loki.url()).unwrap();
    let (url, direct) = (proxy.url(), loki.url());
    let targets =
        format!("{{behind: {{loki: {{url: \"{url}\"}}}}, through: {{loki: {{url: \"{direct}\", gateway: \"{url}\"}}}}}}");
    let address = proxy.address();
    let json = "json: {pointer: /status, equals: success}";
    let probes = [
        "{name: ready, check: {lokiReady: {loki: behind}}}",
        "{name: through, check: {lokiReady: {loki: through}}}",
        "{name: ingest, check: {lokiIngest: {loki: behind}}}",
        &format!("{{name: http, check: {{http: {{url: \"{url}/loki/api/v1/labels\", {json}}}}}}}"),
        &format!("{{name: open, check: {{tcp: {{address: \"{address}\"}}}}}}"),
        &format!("{{name: dead, check: {{tcp: {{address: \"{address}\", expect: refused}}}}}}"),
    ];
    let document = migration(LOOKS, &targets, AT_ONCE, &probes);
    let (timeout, reset) = ("fail timeout", "fail reset");
    let (accepted, dead) = ("pass", "fail contradicted");
    // What `tcp` proves is that a connection is accepted, and no more.
    let table = [
        (Fault::Refuse, ["fail refused", "fail refused", "fail refused", "fail refused", "fail contradicted", "pass"]),
        // Whether the reset or the connection is noticed first is a matter of luck.
        (Fault::Reset, [reset, reset, reset, reset, "pass|fail reset", "fail contradicted|fail reset"]),
        (Fault::BlackHole, [timeout, timeout, timeout, timeout, accepted, dead]),
        (Fault::Delay(LONG), [timeout, timeout, timeout, timeout, accepted, dead]),
        (Fault::DelayFirst(LONG), [timeout, timeout, timeout, timeout, accepted, dead]),
        (Fault::Throttle(20), [timeout, timeout, timeout, timeout, accepted, dead]),
        (
            Fault::Truncate(5),
            ["unknown truncated", "unknown truncated", "unknown truncated", "unknown truncated", accepted, dead],
        ),
        (
            Fault::Corrupt(3),
            ["fail wrong_reply", "unknown unparsable", "unknown unparsable", "unknown unparsable", accepted, dead],
        ),
        (Fault::Status(401, "no org id".into()), ["fail denied", "fail denied", "fail denied", "fail denied", accepted, dead]),
        (Fault::Status(403, "forbidden".into()), ["fail denied", "fail denied", "fail denied", "fail denied", accepted, dead]),
        (
            Fault::Status(429, "slow down".into()),
            ["fail wrong_reply", "fail wrong_reply", "fail wrong_reply", "fail wrong_status", accepted, dead],
        ),
        (
            Fault::Status(500, "panic".into()),
            ["fail server_error", "fail server_error", "fail server_error", "fail wrong_status", accepted, dead],
        ),
        (
            Fault::Status(200, "{}".into()),
            ["fail wrong_reply", "fail wrong_reply", "unknown unparsable", "fail wrong_value", accepted, dead],
        ),
        (Fault::LoginPage, ["fail html", "fail html", "fail html", "fail html", accepted, dead]),
    ];
    let names = ["ready", "through", "ingest", "http", "open", "dead"];
    let well = names.map(|name| (name, if name == "dead" { dead } else { "pass" }));
    let mut wrong = Vec::new();
    for (fault, expected) in table {
        proxy.set(fault.clone()).await.unwrap();
        let seen = look(&world, &document, &[], &[]).await;
        let expected: Vec<_> = names.into_iter().zip(expected).collect();
        compare(&format!("{fault:?}"), &seen, &expected, &mut wrong);
        proxy.clear().await.unwrap();
        reaches_by_hand((&world, &document, &[]), &format!("after {fault:?}"), &well, &mut wrong).await;
    }
    proxy.set(Fault::Delay(Duration::from_millis(50))).await.unwrap();
    reaches_by_hand((&world, &document, &[]), "a delay that is no fault", &well, &mut wrong).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn no_check_is_green_on_a_postgres_that_is_cut_off_and_each_is_once_it_is_back() {
    let world = World::new().unwrap();
    let postgres = Postgres::start(&world).await.unwrap();
    postgres_canary::sql(&postgres, &postgres_canary::setup()).await;
    let proxy = FaultProxy::start(format!("127.0.0.1:{}", postgres.port())).unwrap();
    let dsn = format!("postgres://server:server@{}/homelab", proxy.address());
    let env = [("PG_DSN", dsn.as_str())];
    let probes =
        ["{name: ready, check: {postgresReady: {postgres: new}}}", "{name: canary, check: {postgresCanary: {postgres: new}}}"];
    let document = migration(LOOKS, "{new: {postgres: {dsn: {env: PG_DSN}}}}", AT_ONCE, &probes);
    // Between two messages it is closed, within one it is torn. With a damaged length the rest is waited for. Damage to the login
    // is not taken for a wrong password.
    let (torn, damaged) = ("unknown unreadable|fail reset", "unknown unreadable|fail timeout");
    let table = [
        (Fault::Refuse, "fail refused"),
        (Fault::Reset, "fail reset"),
        (Fault::BlackHole, "fail timeout"),
        (Fault::Delay(LONG), "fail timeout"),
        (Fault::DelayFirst(LONG), "fail timeout"),
        (Fault::Throttle(20), "fail timeout"),
        (Fault::Truncate(0), "fail reset"),
        (Fault::Truncate(1), "fail reset"),
        (Fault::Truncate(20), torn),
        (Fault::Truncate(200), torn),
        (Fault::Truncate(800), torn),
        (Fault::Corrupt(1), "fail not_postgres"),
        (Fault::Corrupt(2), damaged),
        (Fault::Corrupt(20), damaged),
        (Fault::Corrupt(50), damaged),
        (Fault::Corrupt(90), damaged),
        (Fault::Corrupt(150), damaged),
        (Fault::Corrupt(300), damaged),
    ];
    let names = ["ready", "canary"];
    let mut wrong = Vec::new();
    for (fault, expected) in table {
        proxy.set(fault.clone()).await.unwrap();
        let seen = look(&world, &document, &[], &env).await;
        compare(&format!("{fault:?}"), &seen, &names.map(|name| (name, expected)), &mut wrong);
        proxy.clear().await.unwrap();
        let well = names.map(|name| (name, "pass"));
        reaches_by_hand((&world, &document, &env), &format!("after {fault:?}"), &well, &mut wrong).await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn no_query_is_green_on_an_answer_that_is_broken_and_each_is_once_it_is_whole() {
    let world = World::new().unwrap();
    let file = world.dir().join("lines");
    let sink = format!("file:{}", file.display());
    let flags = ["--every", "100ms", "--sink", sink.as_str()];
    let (agent, loki) = tokio::try_join!(Agent::start(&world, "node-1", &flags), Loki::start(&world)).unwrap();
    let journal = StandinJournal::new();
    journal.follow(&file, "system-metrics-canary");
    let _alloy = StandinAlloy::start(&journal, &[loki.url()]).unwrap();
    let datasource = Datasource::loki(loki.url());
    let grafana = StandinGrafana::start("glsa_token", std::slice::from_ref(&datasource)).unwrap();
    let (web, pane) = (FaultProxy::start_http(loki.url()).unwrap(), FaultProxy::start_http(grafana.url()).unwrap());
    let targets = [
        format!("agents: {{agent: {{urls: [\"{}\"]}}}}", agent.url()),
        format!("behind: {{loki: {{url: \"{}\"}}}}, loki: {{loki: {{url: \"{}\"}}}}", web.url(), loki.url()),
        format!("grafana: {{grafana: {{url: \"{}\", token: {{env: GRAFANA_TOKEN}}}}}}", pane.url()),
    ];
    let uid = datasource.uid;
    let probes = [
        "{name: canary, check: {logCanary: {agents: agents, loki: behind}}}",
        &format!("{{name: query, check: {{grafanaQuery: {{grafana: grafana, datasource: {uid}, loki: loki, agents: agents}}}}}}"),
        "{name: health, check: {grafanaHealth: {grafana: grafana}}}",
    ];
    let document = migration(LOOKS, &format!("{{{}}}", targets.join(", ")), AT_ONCE, &probes);
    let env = [("GRAFANA_TOKEN", "glsa_token")];
    let names = ["canary", "query", "health"];
    let well = names.map(|name| (name, "pass"));
    wait_until(PATIENCE, "all is well at first", async || {
        let mut wrong = Vec::new();
        compare("at first", &look(&world, &document, &[], &env).await, &well, &mut wrong);
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(())
    })
    .await
    .unwrap();
    let table = [
        (Fault::Refuse, ["fail refused"; 3]),
        (Fault::Reset, ["fail reset"; 3]),
        (Fault::BlackHole, ["fail timeout"; 3]),
        (Fault::Throttle(20), ["fail timeout"; 3]),
        (Fault::Truncate(40), ["unknown truncated"; 3]),
        (Fault::Corrupt(3), ["unknown unparsable"; 3]),
        (Fault::Status(401, "no".into()), ["fail denied", "unknown token_refused", "fail wrong_reply"]),
        (Fault::Status(403, "no".into()), ["fail denied", "unknown permission_missing", "fail wrong_reply"]),
        (Fault::Status(429, "slow down".into()), ["fail query_failed", "fail wrong_reply", "fail wrong_reply"]),
        (Fault::Status(502, "no upstream".into()), ["fail query_failed", "fail server_error", "fail server_error"]),
        (Fault::Status(200, "{}".into()), ["fail not_loki", "fail wrong_reply", "fail wrong_reply"]),
        (Fault::LoginPage, ["fail html"; 3]),
        (Fault::DropWrites(1), ["pass", "unknown unparsable", "pass"]),
    ];
    let mut wrong = Vec::new();
    for (fault, expected) in table {
        for proxy in [&web, &pane] {
            proxy.set(fault.clone()).await.unwrap();
        }
        let seen = look(&world, &document, &[], &env).await;
        let expected: Vec<_> = names.into_iter().zip(expected).collect();
        compare(&format!("{fault:?}"), &seen, &expected, &mut wrong);
        for proxy in [&web, &pane] {
            proxy.clear().await.unwrap();
        }
        reaches_by_hand((&world, &document, &env), &format!("after {fault:?}"), &well, &mut wrong).await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A gate over a Loki, its gateway and a PostgreSQL behind proxies: it is shut by each fault, and opens when all of them are gone.
#[tokio::test]
async fn a_gate_is_shut_by_what_breaks_on_the_way_and_opens_again() {
    let world = World::new().unwrap();
    let (loki, postgres) = tokio::try_join!(Loki::start(&world), Postgres::start(&world)).unwrap();
    let (web, gateway) = (FaultProxy::start_http(loki.url()).unwrap(), FaultProxy::start_http(loki.url()).unwrap());
    let wire = FaultProxy::start(format!("127.0.0.1:{}", postgres.port())).unwrap();
    let targets = format!(
        "{{web: {{loki: {{url: \"{}\"}}}}, through: {{loki: {{url: \"{}\", gateway: \"{}\"}}}}, pg: {{postgres: {{dsn: {{env: PG_DSN}}}}}}}}",
        web.url(),
        loki.url(),
        gateway.url()
    );
    let probes = [
        "{name: loki, check: {lokiReady: {loki: web}}}",
        "{name: gateway, check: {lokiReady: {loki: through}}}",
        "{name: pg, check: {postgresReady: {postgres: pg}}}",
    ];
    let document = migration("{every: 2s, timeout: 2s, maxAge: 20s, controlEvery: 2s}", &targets, AT_ONCE, &probes);
    let dsn = format!("postgres://server:server@{}/homelab", wire.address());
    let verifier = Verifier::start_with(&world, &document, &[("PG_DSN", &dsn)]).await.unwrap();
    opened(&verifier).await;

    web.set(Fault::BlackHole).await.unwrap();
    looks(&verifier, "loki", "red", "timeout").await;
    reaches(&verifier, "closed").await;
    web.clear().await.unwrap();
    reaches(&verifier, "open").await;

    wire.set(Fault::Reset).await.unwrap();
    gateway.set(Fault::Truncate(3)).await.unwrap();
    looks(&verifier, "pg", "red", "reset").await;
    looks(&verifier, "gateway", "unknown", "truncated").await;
    reaches(&verifier, "closed").await;
    wire.clear().await.unwrap();
    reaches(&verifier, "unknown").await;
    gateway.clear().await.unwrap();
    reaches(&verifier, "open").await;
}

/// A real agent, a collector that keeps its connection, and a real Loki behind a proxy.
struct Pipeline {
    _world: World,
    _agent: Agent,
    _loki: Loki,
    _alloy: StandinAlloy,
    _journal: StandinJournal,
    proxy: FaultProxy,
    verifier: Verifier,
}

impl Pipeline {
    async fn open() -> Self {
        let world = World::new().unwrap();
        let file = world.dir().join("lines");
        let (agent, loki) = real_canary::agent_and_loki(&world, &file).await;
        let proxy = FaultProxy::start_http(loki.url()).unwrap();
        let journal = StandinJournal::new();
        journal.follow(&file, "system-metrics-canary");
        let alloy = StandinAlloy::start(&journal, &[&proxy.url()]).unwrap();
        let verifier = real_canary::watched(&world, &agent, &loki).await;
        Self { _world: world, _agent: agent, _loki: loki, _alloy: alloy, _journal: journal, proxy, verifier }
    }

    async fn lost(&self, count: usize) -> anyhow::Result<()> {
        let metrics = self.verifier.get("/metrics").await?.body;
        let line = metrics.lines().find(|line| line.contains("value=\"lost_lines\"}")).unwrap_or_default().to_owned();
        ensure!(line.ends_with(&format!(" {count}.0")), "not {count}: {line}");
        Ok(())
    }
}

#[tokio::test]
async fn a_connection_that_falls_silent_under_a_collector_shuts_the_gate_and_loses_nothing() {
    let path = Pipeline::open().await;
    assert_eq!(path.proxy.connections(), 1, "the collector keeps its connection");
    path.proxy.set(Fault::BlackHole).await.unwrap();
    looks(&path.verifier, "canary", "red", "stalled").await;
    reaches(&path.verifier, "closed").await;
    path.proxy.clear().await.unwrap();
    reaches(&path.verifier, "open").await;
    path.lost(0).await.unwrap();
}

/// The numbers in a push that was acknowledged and dropped.
fn numbers(body: &[u8]) -> BTreeSet<u64> {
    let push: Value = serde_json::from_slice(body).unwrap();
    let streams = push["streams"].as_array().unwrap().iter();
    let lines = streams.flat_map(|stream| stream["values"].as_array().unwrap());
    lines.map(|line| CanaryLine::parse(line[1].as_str().unwrap()).unwrap().seq).collect()
}

#[tokio::test]
async fn lines_that_are_acknowledged_and_dropped_are_told_to_the_line() {
    let path = Pipeline::open().await;
    path.proxy.set(Fault::DropWrites(7)).await.unwrap();
    wait_until(PATIENCE, "three writes were dropped", async || {
        let dropped = path.proxy.dropped().requests;
        ensure!(dropped >= 3, "{dropped}");
        Ok(())
    })
    .await
    .unwrap();
    path.proxy.clear().await.unwrap();
    let dropped: BTreeSet<u64> = path.proxy.dropped().bodies.iter().flat_map(|body| numbers(body)).collect();
    let red = looks(&path.verifier, "canary", "red", "lost").await;
    let first = format!("the first is number {};", dropped.first().unwrap());
    assert!(red["evidence"].as_str().unwrap().contains(&first), "{dropped:?}: {red}");
    wait_until(PATIENCE, "each of them is told", async || path.lost(dropped.len()).await).await.unwrap();
    reaches(&path.verifier, "open").await;
    path.lost(dropped.len()).await.unwrap();
}
