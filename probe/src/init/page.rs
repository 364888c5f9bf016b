//! The document as text, with comments for the person who goes on from there.

use super::Phase;
use super::answers::{Answers, Value};

/// What stands behind an example value.
const EDIT: &str = "# EDIT: an example";

const HEAD: &str = "\
# A migration from Docker Compose to k3s in phases, lowest risk first. Written by `probe init`.
#
#   probe config check FILE            says everything that is wrong with this file, at once
#   probe check --config.file FILE     looks once, by hand
#   probe config example               shows more kinds of check
#
# No secret stands in this file: it names an environment variable `{env: NAME}` or a file `{file: PATH}` of the verifier.

apiVersion: phasegate.dev/v1alpha1
kind: Migration
";

const DEFAULTS: &str = "
spec:
  # What holds for every probe that does not say otherwise. These are the built-in numbers.
  defaults:
    every: 5s             # time between two runs of a probe
    timeout: 4s           # how long one run may take; at most `every`
    failAfter: 2          # consecutive fails that make a probe red (the first one shuts the gate already)
    recoverAfter: 2       # consecutive passes that make it green
    controlEvery: 10m     # how often each probe proves that it can tell right from wrong

  targets:
";

const PHASES: &str = "
  # In their order. A phase can be complete once its gate is open; its probes stay required for all later phases, until the
  # phase that `until` names switches.
  phases:
";

const GATE: &str = "    gate: {soak: 1h, minSamples: 60, unknownBudget: 5m, maxWait: 72h}\n    probes:\n";

/// A document.
pub(super) struct Page {
    pub(super) text: String,
}

impl Page {
    /// The document that says this.
    pub(super) fn of(answers: &Answers) -> Self {
        let mut page = Self { text: HEAD.to_owned() };
        page.value("metadata: {name: ", &answers.name, "}");
        page.add(DEFAULTS);
        page.targets(answers);
        page.add(PHASES);
        for phase in &answers.phases {
            match phase {
                Phase::Alloy => page.alloy(answers),
                Phase::Loki => page.loki(answers),
                Phase::Grafana => page.grafana(answers),
                Phase::Postgres => page.postgres(answers),
            }
        }
        page
    }

    /// The lines whose values are examples, with their numbers.
    pub(super) fn edits(&self) -> Vec<(usize, &str)> {
        (1..).zip(self.text.lines()).filter_map(|(number, line)| Some((number, line.strip_suffix(EDIT)?.trim()))).collect()
    }

    fn add(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// One line with a value.
    fn value(&mut self, before: &str, value: &Value, after: &str) {
        let edit = if value.assumed { format!("   {EDIT}") } else { String::new() };
        let text = &value.text;
        self.add(&format!("{before}{text}{after}{edit}\n"));
    }

    fn targets(&mut self, answers: &Answers) {
        let has = |phase| answers.phases.contains(&phase);
        if answers.has_canary() {
            self.add("    agents:               # `probe agent` on each node: writes the numbered canary lines\n");
            self.add(
                "      # Without an agent no log line is proven, and no gate of the phases that follow these lines opens.\n",
            );
            self.value("      agent: {urls: ", &answers.agents, "}");
        }
        if has(Phase::Alloy) {
            self.add("    k3s-alloy:            # each Alloy by itself: a service in front of them answers for one at a time\n");
            self.value("      alloy: {urls: ", &answers.alloy, "}");
            self.add("    docker-loki:\n");
            self.value("      loki: {url: ", &answers.docker_loki, "}");
        }
        if has(Phase::Loki) || has(Phase::Grafana) {
            self.add("    k3s-loki:\n      loki:\n");
            self.value("        url: ", &answers.k3s_loki, "");
            if let Some(gateway) = &answers.gateway {
                self.add("        # The way that Grafana takes; without a gateway remove the line.\n");
                self.value("        gateway: ", gateway, "");
            }
        }
        if has(Phase::Grafana) {
            self.add("    k3s-grafana:\n      grafana:\n");
            self.value("        url: ", &answers.grafana, "");
            self.add("        # A service account's token; the role Viewer is enough.\n");
            self.value("        token: ", &answers.grafana_token, "");
        }
        if has(Phase::Postgres) {
            self.add("    # Connection strings like postgres://user:password@192.0.2.10:5432/app\n    docker-pg:\n");
            self.value("      postgres: {dsn: ", &answers.old_postgres, "}");
            self.add("    k3s-pg:\n");
            self.value("      postgres: {dsn: ", &answers.new_postgres, "}");
        }
    }

    fn phase(&mut self, about: &str, name: &str) {
        self.add(&format!("\n  # {about}\n  - name: {name}\n{GATE}"));
    }

    fn alloy(&mut self, answers: &Answers) {
        self.phase("Alloy in k3s takes over the journal. Complete: logs appear in the Loki that is still on Docker.", "alloy");
        // What looks at the old Loki leaves when the next phase switches away from it.
        let until = if answers.phases.contains(&Phase::Loki) { "      until: loki\n" } else { "" };
        self.add("    - name: docker-loki-ready\n      use: [preflight, gate]   # must be green before the phase begins, too\n");
        self.add("      check:\n        lokiReady: {loki: docker-loki}\n");
        self.add(until);
        self.add("    - name: alloy-health\n      check:\n        alloyHealth: {alloy: k3s-alloy}\n");
        self.add(
            "    # Alloy's own counters: lines go to the old Loki, and to no other. If Alloy's `loki.write` has another name for it, add\n    \
             # that: `hosts: {docker-loki: [\"…:3100\"]}`.\n    - name: alloy-to-docker-loki\n      check:\n        \
             alloyShipping: {alloy: k3s-alloy, lokis: [docker-loki]",
        );
        self.add(if until.is_empty() { "}\n" } else { ", mayShipTo: [k3s-loki]}\n" });
        self.add(until);
        self.add(
            "    # Promtail's lines are those without a label `agent`. While both ship, each line is there twice.\n    \
             - name: promtail-has-ended\n      check:\n        \
             shipperHandover: {loki: docker-loki, selector: '{job=\"systemd-journal\"}', new: alloy}\n",
        );
        self.add(until);
        self.add(
            "    # The proof of the phase. Its lines carry SYSLOG_IDENTIFIER=system-metrics-canary: if your pipeline keeps only some\n    \
             # units or identifiers, add this one to what it keeps, or no line arrives. The selector takes only what Alloy ships, by\n    \
             # its label `agent`: a line that the old collector ships proves nothing about Alloy.\n",
        );
        self.add("    - name: journal-to-docker-loki\n      check:\n        logCanary:\n          agents: agents\n");
        self.add("          loki: docker-loki\n          selector: '{service=\"migration-canary\", agent=\"alloy\"}'\n");
        self.add("          alloy: k3s-alloy   # its counters tell where lines stop, if they do\n");
        self.add(until);
    }

    fn loki(&mut self, answers: &Answers) {
        self.phase("Loki with its history moves onto a volume in k3s. Complete: it accepts the logs that Alloy ships.", "loki");
        self.add("    - name: k3s-loki-ready\n      use: [preflight, gate]\n      check:\n        lokiReady: {loki: k3s-loki}\n");
        self.add("    - name: k3s-loki-ingest\n      check:\n        lokiIngest: {loki: k3s-loki}\n");
        self.add("    - name: journal-to-k3s-loki\n      check:\n        logCanary: {agents: agents, loki: k3s-loki");
        // Without the phase before, there are no targets of those names.
        if !answers.phases.contains(&Phase::Alloy) {
            self.add("}\n");
            return;
        }
        self.add(
            ", alloy: k3s-alloy}\n    - name: alloy-to-k3s-loki   # green once Alloy ships to the new Loki, and to no other\n",
        );
        self.add("      check:\n        alloyShipping: {alloy: k3s-alloy, lokis: [k3s-loki]}\n");
        self.add(
            "    # Nothing of the past is missing: hour by hour and service by service, lines, bytes, and the text of a sample. Proven\n    \
             # before the switch, and good for all time then.\n    - name: loki-history\n      every: 10s\n      timeout: 9s\n      \
             sealAt: switch\n      check:\n        lokiHistory: {old: docker-loki, new: k3s-loki, over: 7d}\n",
        );
        self.add("    - name: nobody-ships-to-docker-loki   # asked for until `cutover decommission docker-loki`\n");
        self.add("      check:\n        lokiQuiet: {loki: docker-loki}\n");
    }

    fn grafana(&mut self, answers: &Answers) {
        self.phase("Grafana moves. Complete: it shows what is in the new Loki.", "grafana");
        self.add("    - name: k3s-grafana-health\n      use: [preflight, gate]\n      check:\n");
        self.add("        grafanaHealth: {grafana: k3s-grafana}\n");
        self.add(
            "    - name: canary-through-grafana\n      every: 10s\n      timeout: 8s\n      check:\n        grafanaQuery:\n",
        );
        self.add("          grafana: k3s-grafana\n          loki: k3s-loki\n          agents: agents\n");
        if answers.phases.contains(&Phase::Alloy) {
            self.add("          # What Grafana asked before: as long as both have the same lines, nobody can tell which one it asks.\n");
            self.add("          oldLoki: docker-loki\n");
        } else {
            self.add(
                "          # oldLoki: the target of the Loki that Grafana asked before. Without it, a Grafana that still asks\n",
            );
            self.add("          # that one passes as long as both get the lines.\n");
        }
        self.add("          # The uid of the datasource that leads to this Loki.\n");
        self.value("          datasource: ", &answers.datasource, "");
    }

    fn postgres(&mut self, answers: &Answers) {
        let about = "PostgreSQL moves, once all before it is stable. Complete: the application's traffic is switched over.";
        self.phase(about, "postgres");
        self.add(
            "    - name: docker-pg-ready\n      use: [preflight]    # the old side must be well when its data is taken over\n",
        );
        self.add("      check:\n        postgresReady: {postgres: docker-pg}\n");
        self.add(
            "    - name: k3s-pg-ready\n      use: [preflight, gate]\n      check:\n        postgresReady: {postgres: k3s-pg}\n",
        );
        self.add("    # Writes to one row of a table of its own, on the new side only. It is unknown until you have made that table:\n");
        self.add("    # `probe check --config.file FILE k3s-pg-commits` prints the SQL once the server answers; `probe config schema` has it.\n");
        self.add("    - name: k3s-pg-commits\n      check:\n        postgresCanary: {postgres: k3s-pg}\n");
        if let Some(address) = &answers.old_address {
            self.add("    - name: docker-pg-gone      # nothing may write to the old database any more\n      every: 10s\n");
            self.add(&format!("      check:\n        tcp: {{address: {address}, expect: refused}}\n"));
        }
    }
}
