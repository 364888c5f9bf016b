//! The Migration document of the rehearsal: the example of `deploy/`, with this homelab's addresses and a quicker pace.

use crate::homelab::Pace;
use crate::stack::Addresses;

/// `hands` is how a command of a step begins: the program, and where it asks.
pub(crate) fn migration(
    at: &Addresses,
    old_postgres: u16,
    Pace { soak, budget, every, late, within, .. }: Pace,
    hands: &str,
) -> String {
    format!(
        r#"apiVersion: phasegate.dev/v1alpha1
kind: Migration
metadata: {{name: homelab}}
spec:
  defaults: {{every: {every}, timeout: {every}, failAfter: 2, recoverAfter: 2}}
  targets:
    agents: {{agent: {{urls: ["{agent}"]}}}}
    k3s-alloy: {{alloy: {{urls: ["{alloy}"]}}}}
    docker-loki: {{loki: {{url: "{docker_loki}"}}}}
    k3s-loki: {{loki: {{url: "{k3s_loki}", gateway: "{gateway}"}}}}
    k3s-grafana: {{grafana: {{url: "{grafana}", token: {{env: GRAFANA_TOKEN}}}}}}
    docker-pg: {{postgres: {{dsn: {{env: PG_OLD_DSN}}}}}}
    k3s-pg: {{postgres: {{dsn: {{env: PG_NEW_DSN}}}}}}
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
    steps:
    - name: deploy-alloy
      do: [{hands}, kubectl-apply-alloy]
      verify: [alloy-health]
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
    steps:
    - name: copy-loki
      switch: true
      disturbs: [alloy-health]
      do: [{hands}, copy-loki]
      undo: {{manual: point Alloy at the old Loki again}}
      timeout: 3m
  - name: grafana
    gate: {{soak: {soak}, minSamples: 3, unknownBudget: {budget}}}
    probes:
    - {{name: k3s-grafana-health, use: [preflight, gate], check: {{grafanaHealth: {{grafana: k3s-grafana}}}}}}
    - name: canary-through-grafana
      check: {{grafanaQuery: {{grafana: k3s-grafana, datasource: {datasource}, loki: k3s-loki, oldLoki: docker-loki, agents: agents, within: {within}}}}}
    steps:
    - name: copy-grafana
      switch: true
      do: [{hands}, copy-grafana]
      undo: {{manual: open the old Grafana again; the new one has taken nothing from it}}
      timeout: 2m
  - name: postgres
    gate: {{soak: {soak}, minSamples: 3, unknownBudget: {budget}}}
    probes:
    - {{name: docker-pg-ready, use: [preflight], check: {{postgresReady: {{postgres: docker-pg}}}}}}
    - {{name: k3s-pg-ready, use: [preflight, gate], check: {{postgresReady: {{postgres: k3s-pg}}}}}}
    - {{name: k3s-pg-commits, check: {{postgresCanary: {{postgres: k3s-pg}}}}}}
    - {{name: docker-pg-gone, failAfter: 1, check: {{tcp: {{address: "127.0.0.1:{old_postgres}", expect: refused}}}}}}
    steps:
    - name: stop-application
      do: [{hands}, stop-application]
      undo: [{hands}, start-application]
      timeout: 1m
    - name: dump-and-restore
      do: [{hands}, dump-and-restore]
      timeout: 5m
    - name: canary-table
      do: [{hands}, canary-table]
      timeout: 1m
    - name: go-over
      switch: true
      ponr: true
      do: [{hands}, go-over]
      timeout: 1m
    - name: stop-old
      do: [{hands}, compose-stop-postgres]
      timeout: 1m
"#,
        agent = at.agent,
        alloy = at.alloy,
        docker_loki = at.old_loki,
        k3s_loki = at.new_loki,
        gateway = at.gateway,
        grafana = at.new_grafana,
        datasource = at.datasource,
    )
}
