//! The Migration document of the rehearsal: the example of `deploy/`, with this homelab's addresses and a quicker pace.

use anyhow::{Context, Result};

use crate::cluster::probes;
use crate::homelab::Pace;
use crate::stack::Addresses;

/// `hands` and `cutover` are how the commands of steps begin: the program, and where it asks.
pub(crate) fn migration(
    at: &Addresses,
    Pace { soak, budget, every, late, within, quiet, .. }: Pace,
    hands: &str,
    cutover: &str,
    (counts, kubernetes): (bool, bool),
) -> Result<String> {
    let mut more = if counts { More::of(at, within) } else { More::default() };
    let mut k3s_alloy = format!("urls: [\"{}\"]", at.alloy);
    if kubernetes {
        more.in_the_cluster();
        let (_, port) = at.alloy.rsplit_once(':').context("Alloy has no port")?;
        k3s_alloy = format!("pods: {{namespace: observability, selector: app=alloy, port: {port}}}");
    }
    Ok(format!(
        r#"apiVersion: phasegate.dev/v1alpha1
kind: Migration
metadata: {{name: homelab}}
spec:
{annotations}  defaults: {{every: {every}, timeout: {every}, failAfter: 2, recoverAfter: 2}}
  targets:
    agents: {{agent: {{urls: ["{agent}"]}}}}
    k3s-alloy: {{alloy: {{{k3s_alloy}}}}}
    docker-loki: {{loki: {{url: "{docker_loki}"}}}}
    k3s-loki: {{loki: {{url: "{k3s_loki}", gateway: "{gateway}"}}}}
    k3s-grafana: {{grafana: {{url: "{grafana}", token: {{env: GRAFANA_TOKEN}}}}}}
    docker-grafana: {{grafana: {{url: "{old_grafana}", token: {{env: GRAFANA_TOKEN}}}}}}
    docker-pg: {{postgres: {{dsn: {{env: PG_OLD_DSN}}}}}}
    docker-pg-app: {{postgres: {{dsn: {{env: PG_OLD_APP_DSN}}}}}}
    k3s-pg: {{postgres: {{dsn: {{env: PG_NEW_DSN}}}}}}
    k3s-pg-app: {{postgres: {{dsn: {{env: PG_NEW_APP_DSN}}}}}}
    k3s-pg-canary: {{postgres: {{dsn: {{env: PG_CANARY_DSN}}}}}}
  phases:
  - name: alloy
    gate: {{soak: {soak}, minSamples: 3, unknownBudget: {budget}}}
    probes:
    - {{name: docker-loki-ready, use: [preflight, gate], until: loki, check: {{lokiReady: {{loki: docker-loki}}}}}}
    # Whether it reads the journal is seen by the canary. Each start and reload waits for new movement else, and phases that follow
    # one another within minutes would make that flapping.
    - {{name: alloy-health, failAfter: 1, check: {{alloyHealth: {{alloy: k3s-alloy, journal: false}}}}}}
    - name: journal-to-docker-loki
      until: loki
      check:
        logCanary:
          agents: agents
          loki: docker-loki
          selector: '{{service="migration-canary", agent="alloy"}}'   # shipped by Alloy, not by Promtail
          alloy: k3s-alloy
          lateAfter: {late}
          lostAfter: 40s
          holdFor: 10s
{alloy_more}    steps:
    - name: deploy-alloy
      do: [{hands}, kubectl-apply-alloy]
      verify: [alloy-health{alloy_verify}]
      undo: [{hands}, kubectl-delete-alloy]
      timeout: 2m
    - name: retire-promtail
      switch: true
      do: [{hands}, compose-stop-promtail]
      undo: [{hands}, compose-start-promtail]
      timeout: 2m
  - name: loki
    breaks: the old Grafana sees no new lines until phase grafana is complete
    gate: {{soak: {soak}, minSamples: 3, unknownBudget: {budget}}}
    probes:
    - {{name: k3s-loki-ready, use: [preflight, gate], check: {{lokiReady: {{loki: k3s-loki}}}}}}
    - {{name: k3s-loki-ingest, check: {{lokiIngest: {{loki: k3s-loki, within: {within}}}}}}}
    - name: journal-to-k3s-loki
      check: {{logCanary: {{agents: agents, loki: k3s-loki, alloy: k3s-alloy, lateAfter: {late}, lostAfter: 40s, holdFor: 10s}}}}
{loki_more}    steps:
    - name: copy-loki
      disturbs: [alloy-health, docker-loki-ready, journal-to-docker-loki{loki_disturbs}]
      do: [{hands}, copy-loki]
      verify: [k3s-loki-ready{loki_verify}]
      undo: [{hands}, ship-to-old-loki]
      timeout: 6m
    - name: ship-to-new-loki
      switch: true
      disturbs: [alloy-health]
      do: [{hands}, ship-to-new-loki]
      undo: {{manual: point Alloy at the old Loki again}}
      timeout: 3m
  - name: grafana
    gate: {{soak: {soak}, minSamples: 3, unknownBudget: {budget}}}
    probes:
    - {{name: k3s-grafana-health, use: [preflight, gate], check: {{grafanaHealth: {{grafana: k3s-grafana}}}}}}
    - name: canary-through-grafana
      check: {{grafanaQuery: {{grafana: k3s-grafana, datasource: {datasource}, loki: k3s-loki, oldLoki: docker-loki, agents: agents, within: {within}}}}}
{grafana_more}    steps:
    - name: copy-grafana
      switch: true
      do: [{hands}, copy-grafana]
{grafana_verify}      undo: {{manual: open the old Grafana again; the new one has taken nothing from it}}
      timeout: 2m
  - name: postgres
    gate: {{soak: {soak}, minSamples: 3, unknownBudget: {budget}}}
    probes:
    - {{name: docker-pg-ready, use: [preflight], check: {{postgresReady: {{postgres: docker-pg-app, observer: docker-pg}}}}}}
    - {{name: two-databases, use: [preflight, beforePonr], check: {{postgresIdentity: {{old: docker-pg, new: k3s-pg}}}}}}
    - {{name: k3s-pg-ready, use: [preflight, gate], check: {{postgresReady: {{postgres: k3s-pg-app, observer: k3s-pg}}}}}}
    - {{name: k3s-pg-commits, check: {{postgresCanary: {{postgres: k3s-pg-canary}}}}}}
    - name: application-on-k3s
      check:
        postgresTraffic:
          postgres: k3s-pg
          writers:
          - name: system-metrics
            role: server
            table: system_metrics
            time: time
            every: 2s
            complete: SELECT count(DISTINCT metric_type) = 4 FROM system_metrics WHERE time > now() - interval '5 seconds'
          - {{name: reading-sync, role: server, table: reading_sync_history, time: at, every: 3s}}
          - {{name: daily-report, role: server, table: daily_report, time: at, schedule: "* * * * *", jitter: 30s}}
    - name: docker-pg-fenced
      use: [verify, beforePonr, gate]
      check: {{postgresFence: {{postgres: docker-pg, roles: [server], attempt: docker-pg-app}}}}
    - {{name: docker-pg-quiet, check: {{postgresQuiet: {{postgres: docker-pg, window: {quiet}, readers: [grafana]}}}}}}
    - {{name: one-side-only, use: [verify, gate], check: {{postgresSplitBrain: {{old: docker-pg, new: k3s-pg}}}}}}
    - {{name: same-catalog, use: [verify, gate], sealAt: switch, check: {{postgresCatalog: {{old: docker-pg, new: k3s-pg}}}}}}
    - {{name: sequences-ahead, use: [verify, gate], sealAt: switch, check: {{postgresSequences: {{old: docker-pg, new: k3s-pg}}}}}}
    - {{name: sound-indexes, use: [verify, gate], sealAt: switch, check: {{postgresIndexes: {{postgres: k3s-pg}}}}}}
    - name: no-gap
      check: {{postgresContinuity: {{old: docker-pg, new: k3s-pg, tables: [{{table: system_metrics, time: time, within: 10m}}]}}}}
    - {{name: every-row, use: [verify, gate], sealAt: switch, check: {{postgresRows: {{old: docker-pg, new: k3s-pg, manifest: postgres-manifest, loadPercent: 100}}}}}}
{postgres_more}    steps:
    - name: stop-application
      do: [{hands}, stop-application]
      undo: [{hands}, start-application]
      timeout: 1m
    - name: fence-old
      do: [{cutover}, postgres, fence, --old, "env:PG_OLD_OPERATOR", --role, server]
      verify: [docker-pg-fenced]
      undo: [{cutover}, postgres, unfence, --old, "env:PG_OLD_OPERATOR", --new, "env:PG_NEW_DSN", --no-mark]
      timeout: 2m
    - name: dump-and-restore
      do: [{cutover}, postgres, manifest, --old, "env:PG_OLD_DSN", --again, --, {hands}, "dump-and-restore:{{snapshot}}"]
      timeout: 5m
    - name: canary-table
      do: [{hands}, canary-table]
      timeout: 1m
    - name: baseline
      do: [{cutover}, postgres, baseline, --old, "env:PG_OLD_DSN", --new, "env:PG_NEW_DSN", --again]
      verify: [one-side-only, every-row, same-catalog, sequences-ahead, sound-indexes]
      timeout: 2m
    - name: go-over
      switch: true
      ponr: true
      do: [{hands}, go-over]
      timeout: 1m
"#,
        agent = at.agent,
        docker_loki = at.old_loki,
        k3s_loki = at.new_loki,
        gateway = at.gateway,
        grafana = at.new_grafana,
        old_grafana = at.old_grafana,
        datasource = at.datasource,
        alloy_more = more.alloy,
        alloy_verify = more.alloy_verify,
        loki_more = more.loki,
        loki_disturbs = more.loki_disturbs,
        loki_verify = more.loki_verify,
        annotations = more.annotations,
        grafana_more = more.grafana,
        grafana_verify = more.grafana_verify,
        postgres_more = more.postgres,
    ))
}

/// What is looked at besides, where Lokis can count their lines and Grafanas have more than a datasource.
#[derive(Default)]
struct More {
    alloy: String,
    alloy_verify: &'static str,
    loki: String,
    loki_disturbs: &'static str,
    loki_verify: &'static str,
    annotations: &'static str,
    grafana: String,
    grafana_verify: &'static str,
    postgres: String,
}

impl More {
    fn of(at: &Addresses, within: &str) -> Self {
        let lines = r#"selector: '{job="systemd-journal"}'"#;
        let services = format!("services: {{gitops-sync: {within}, system-metrics: {within}}}");
        let old_side = r#"oldLoki: docker-loki, oldSelector: '{job="systemd-journal", agent=""}'"#;
        let hosts = format!("hosts: {{docker-loki: [\"{}\"]}}", at.old_loki_of_alloy);
        let handover = format!("shipperHandover: {{loki: docker-loki, {lines}, new: alloy, window: 30s");
        let freshness = format!("streamFreshness: {{{lines}, {services}, loki");
        let history =
            r#"selector: '{job="systemd-journal", service!="migration-canary"}', over: 24h, settle: 0s, sampleOneIn: 1"#;
        let alloy = [
            format!(
                "{{name: alloy-to-docker-loki, until: loki, check: {{alloyShipping: {{alloy: k3s-alloy, lokis: [docker-loki], \
                 mayShipTo: [k3s-loki], {hosts}, within: {within}, holdFor: 10s}}}}}}"
            ),
            format!("{{name: alloy-carries-all, use: [verify], check: {{{handover}, both: true}}}}}}"),
            format!("{{name: promtail-has-ended, until: loki, check: {{{handover}}}}}}}"),
            format!("{{name: services-to-docker-loki, until: loki, check: {{{freshness}: docker-loki, {old_side}}}}}}}"),
        ];
        let loki = [
            format!(
                "{{name: loki-history, use: [verify, gate], sealAt: switch, check: {{lokiHistory: {{old: docker-loki, new: k3s-loki, \
                 {history}, visibleWithin: 10s, rest: 5s, loadPercent: 50}}}}}}"
            ),
            format!(
                "{{name: alloy-to-k3s-loki, check: {{alloyShipping: {{alloy: k3s-alloy, lokis: [k3s-loki], within: {within}, \
                 holdFor: 10s}}}}}}"
            ),
            "{name: nobody-ships-to-docker-loki, check: {lokiQuiet: {loki: docker-loki, for: 8s}}}".to_owned(),
            format!("{{name: services-to-k3s-loki, check: {{{freshness}: k3s-loki}}}}}}"),
        ];
        let grafana = [
            format!(
                "{{name: grafana-provisioning, check: {{grafanaHealth: {{grafana: k3s-grafana, provisioned: {{files: [\"{}\"], \
                 dashboards: [from-a-file], within: 20s}}}}}}}}",
                at.new_grafana_files
            ),
            format!(
                "{{name: datasource-of-dashboards, check: {{grafanaDatasource: {{grafana: k3s-grafana, datasource: {}, loki: k3s-loki, \
                 within: {within}}}}}}}",
                at.datasource
            ),
            "{name: grafana-parity, use: [verify, gate], check: {grafanaParity: {old: docker-grafana, new: k3s-grafana, rest: 10s}}}"
                .to_owned(),
            "{name: grafana-panels, check: {grafanaPanels: {old: docker-grafana, new: k3s-grafana, dashboards: [homelab, from-a-file], rest: 10s}}}"
                .to_owned(),
        ];
        Self {
            alloy: items(&alloy),
            alloy_verify: ", alloy-carries-all",
            loki: items(&loki),
            loki_disturbs: ", alloy-to-docker-loki, promtail-has-ended, services-to-docker-loki",
            loki_verify: ", loki-history",
            annotations: "  annotations: {grafana: k3s-grafana, token: {env: GRAFANA_EDITOR}}\n",
            grafana: items(&grafana),
            grafana_verify: "      verify: [grafana-parity]\n",
            postgres: String::new(),
        }
    }

    /// Adds what is looked at where the new side is made of objects.
    fn in_the_cluster(&mut self) {
        self.alloy += &items(&[probes::ALLOY]);
        self.loki += &items(&probes::LOKI);
        self.grafana += &items(&[probes::GRAFANA]);
        self.postgres += &items(&probes::POSTGRES);
    }
}

/// Items of a list of probes.
fn items<T: AsRef<str>>(items: &[T]) -> String {
    items.iter().flat_map(|item| ["    - ", item.as_ref(), "\n"]).collect()
}
