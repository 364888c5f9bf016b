//! One scrape: the state of a [`Reading`] and the counters, as Prometheus families.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::sheet::{Sheet, seconds};
use super::{Engine, Metrics, OUTCOMES, Tally};
use crate::gate::{Evaluation, GateView, ProbeView, Verdict};
use crate::ledger::Reading;
use crate::now::Now;
use crate::plan::{PhasePlan, Plan, ProbeName, ProbePlan};
use crate::state::{PhaseState, ProbeState, State, Trust};

/// Everything one scrape needs, taken at one moment.
#[derive(Debug)]
pub(super) struct Scrape {
    reading: Reading,
    classic: bool,
    tallies: BTreeMap<ProbeName, Tally>,
    engine: Engine,
    reasons: Arc<BTreeMap<&'static str, Vec<&'static str>>>,
}

impl Scrape {
    /// Copies the counters, so that encoding holds no lock.
    pub(super) fn new(metrics: &Metrics, reading: &Reading, classic: bool) -> Self {
        let (tallies, engine) = (metrics.tallies.lock().clone(), metrics.engine.lock().clone());
        Self { reading: reading.clone(), classic, tallies, engine, reasons: metrics.reasons.clone() }
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut sheet = Sheet::new(&mut encoder, self.classic);
        sheet.gauge("build_info", "Version of the verifier; always 1", [([("version", env!("CARGO_PKG_VERSION"))], 1_u32)])?;
        self.engine_families(&mut sheet)?;
        let state = &*self.reading.snapshot.state;
        let Some(plan) = state.durable.plan.as_deref() else { return Ok(()) };
        let board = Board::new(self, state, plan);
        board.probe_families(&mut sheet)?;
        board.run_families(&mut sheet)?;
        board.gate_families(&mut sheet)?;
        board.phase_families(&mut sheet)
    }
}

impl Scrape {
    fn engine_families(&self, sheet: &mut Sheet<'_, '_>) -> fmt::Result {
        let engine = &self.engine;
        sheet.single("time_seconds", "The verifier's clock at the moment of the scrape", &seconds(self.reading.now.utc))?;
        let help = "How much later than due Runs started";
        sheet.single_histogram("scheduler_lag_seconds", help, &engine.lag)?;
        sheet.single("ledger_queue_depth", "Messages that wait for the ledger's writer", &engine.queue)?;
        sheet.single_counter("ledger_persist_failures", "Writes of the ledger that failed", engine.persist_failures)?;
        let persisted = at(engine.persisted);
        sheet.single("ledger_last_persist_timestamp_seconds", "When the ledger was last written; 0 for never", &persisted)?;
        let help = "Events at the beginning of the audit trail that are no longer kept, which is bounded in a cluster";
        sheet.single("ledger_dropped_events", help, &engine.dropped)?;
        let reloaded = u32::from(engine.reloaded);
        sheet.single("config_last_reload_successful", "Whether the newest document is in force", &reloaded)?;
        let help = "When a document was last put in force; 0 for never";
        sheet.single("config_last_reload_success_timestamp_seconds", help, &at(engine.reload_success))?;
        self.annotation_families(sheet)
    }

    fn annotation_families(&self, sheet: &mut Sheet<'_, '_>) -> fmt::Result {
        let standings = || self.engine.annotations.iter().map(|one| ([("target", one.target.as_str())], one));
        let failing = standings().map(|(labels, one)| (labels, u32::from(one.problem.is_some())));
        sheet.gauge("annotations_failing", "Whether events can not be marked in a Grafana; it changes no verdict", failing)?;
        let waiting = standings().map(|(labels, one)| (labels, one.waiting));
        sheet.gauge("annotations_waiting", "Events that are not marked in a Grafana yet", waiting)?;
        let marked = standings().map(|(labels, one)| (labels, one.marked));
        sheet.counter("annotations_marked", "Events that were marked in a Grafana, or found marked there", marked)?;
        let failures = standings().map(|(labels, one)| (labels, one.failures));
        sheet.counter("annotations_failures", "Rounds of marking events in a Grafana that failed", failures)
    }
}

/// A probe with the phase it belongs to and what was evaluated of it.
struct Row<'a> {
    phase: &'a PhasePlan,
    probe: &'a ProbePlan,
    /// None: never evaluated.
    view: Option<&'a ProbeView>,
}

impl<'a> Row<'a> {
    fn labels(&self) -> [(&'static str, &'a str); 2] {
        [("phase", &*self.phase.name), ("probe", &*self.probe.name)]
    }
}

struct Board<'a> {
    scrape: &'a Scrape,
    state: &'a State,
    plan: &'a Plan,
    now: Now,
    fresh: bool,
    evaluation: Option<&'a Evaluation>,
    rows: Vec<Row<'a>>,
}

impl<'a> Board<'a> {
    fn new(scrape: &'a Scrape, state: &'a State, plan: &'a Plan) -> Self {
        let evaluation = scrape.reading.snapshot.evaluation.as_deref();
        let row = |(at, (phase, probe)): (usize, (usize, &'a ProbePlan))| {
            let view = evaluation.and_then(|evaluation| evaluation.probe_named(at, &probe.name));
            plan.phases.get(phase).map(|phase| Row { phase, probe, view })
        };
        let rows = plan.probes().enumerate().filter_map(row).collect();
        Self { scrape, state, plan, now: scrape.reading.now, fresh: scrape.reading.fresh().is_some(), evaluation, rows }
    }

    fn colour(&self, row: &Row<'_>) -> ProbeState {
        row.view.filter(|_| self.fresh).map_or(ProbeState::Unknown, |view| view.sight.state)
    }

    /// Whether a gate asks for this probe, once it is its phase's turn.
    fn required(&self, row: &Row<'_>) -> bool {
        self.state.asked_for(&row.phase.name, row.probe) && self.state.overridden(row.probe, self.now.t).is_none()
    }

    fn probe_families(&self, sheet: &mut Sheet<'_, '_>) -> fmt::Result {
        let live = |row: &Row<'_>| self.state.live.probes.get(&row.probe.name);
        let colours = self.rows.iter().flat_map(|row| {
            let is = self.colour(row);
            let [phase, probe] = row.labels();
            ProbeState::ALL.map(|state| ([phase, probe, ("state", state.as_str())], u32::from(state == is)))
        });
        sheet.gauge("probe_state", "The colour of a probe: 1 for the one it has", colours)?;
        let required = self.rows.iter().map(|row| (row.labels(), u32::from(self.required(row))));
        let help = "1 while gates ask for a probe; 0 for one that is retired, overridden, or not meant for a gate";
        sheet.gauge("probe_required", help, required)?;
        let since = self.rows.iter().map(|row| (row.labels(), at(row.view.map(|view| view.since))));
        sheet.gauge("probe_state_since_timestamp_seconds", "Since when a probe has its colour; 0 for never evaluated", since)?;
        let last_run = self.rows.iter().map(|row| {
            let last = live(row).and_then(|record| record.last.as_ref());
            (row.labels(), at(last.map(|run| run.started)))
        });
        sheet.gauge("probe_last_run_timestamp_seconds", "Start of a probe's newest Run; 0 for none", last_run)?;
        let last_pass = self.rows.iter().map(|row| (row.labels(), at(live(row).and_then(|record| record.last_pass))));
        sheet.gauge("probe_last_pass_timestamp_seconds", "Start of a probe's newest Pass; 0 for none", last_pass)?;
        let fails = self.rows.iter().map(|row| (row.labels(), live(row).map_or(0, |record| record.fails)));
        sheet.gauge("probe_consecutive_failures", "Consecutive Fails of a probe", fails)?;
        let flaps = self.rows.iter().map(|row| (row.labels(), live(row).map_or(0, |record| record.flaps)));
        sheet.counter("probe_flaps", "How often a probe began to change its colour too often to be believed", flaps)?;
        let trusted = self.rows.iter().map(|row| {
            let trusted = live(row).is_some_and(|record| matches!(record.trust(row.probe, self.now.t), Trust::Trusted(_)));
            ([("probe", &*row.probe.name)], u32::from(trusted))
        });
        sheet.gauge("probe_control_trusted", "Whether a probe's negative control was seen failing", trusted)?;
        let overridden =
            self.rows.iter().map(|row| (row.labels(), u32::from(self.state.overridden(row.probe, self.now.t).is_some())));
        sheet.gauge("override_active", "Whether an override takes a probe out of the gates", overridden)
    }

    fn run_families(&self, sheet: &mut Sheet<'_, '_>) -> fmt::Result {
        let tallies = &self.scrape.tallies;
        let runs = self.rows.iter().flat_map(|row| {
            let counts = tallies.get(&row.probe.name).map_or([0; OUTCOMES.len()], |tally| tally.runs);
            let [phase, probe] = row.labels();
            let sample = move |(outcome, count)| ([phase, probe, ("check", &*row.probe.check), ("outcome", outcome)], count);
            OUTCOMES.into_iter().zip(counts).map(sample)
        });
        sheet.counter("probe_runs", "Finished Runs by what they saw; progress is a slice of a proof", runs)?;
        let durations = self.rows.iter().map(|row| {
            let tally = tallies.get(&row.probe.name);
            (row.labels(), tally.map_or_else(|| Tally::default().durations, |tally| tally.durations.clone()))
        });
        sheet.histogram("probe_duration_seconds", "How long Runs took", durations)?;
        let failures = self.rows.iter().flat_map(|row| {
            let counted = tallies.get(&row.probe.name).map(|tally| &tally.failures);
            let declared = self.scrape.reasons.get(&*row.probe.check).into_iter().flatten().copied();
            let seen = counted.into_iter().flat_map(|failures| failures.keys().map(String::as_str));
            let reasons: BTreeSet<&str> = declared.chain(seen).collect();
            reasons.into_iter().map(move |reason| {
                let count = counted.and_then(|failures| failures.get(reason)).copied().unwrap_or(0);
                ([("probe", &*row.probe.name), ("reason", reason)], count)
            })
        });
        sheet.counter("probe_failures", "Runs that were a Fail or an Unknown, by reason", failures)?;
        let values = self.rows.iter().flat_map(|row| {
            let values = tallies.get(&row.probe.name).into_iter().flat_map(|tally| &tally.values);
            values.map(|((part, name), value)| ([("probe", &*row.probe.name), ("part", part.as_str()), ("value", name)], *value))
        });
        sheet.gauge("probe_value", "Numbers that a probe's newest Run reported", values)?;
        let latencies = self.rows.iter().flat_map(|row| {
            let latencies = tallies.get(&row.probe.name).into_iter().flat_map(|tally| &tally.latencies);
            latencies.map(|(part, histogram)| ([("probe", &*row.probe.name), ("part", part.as_str())], histogram.clone()))
        });
        let help = "How long targets took, or how far behind log lines were, at each look";
        sheet.histogram("probe_latency_seconds", help, latencies)
    }

    fn gate_families(&self, sheet: &mut Sheet<'_, '_>) -> fmt::Result {
        let gates: Vec<_> = self.plan.phases.iter().map(|phase| (phase, self.gate(phase))).collect();
        let verdict = |gate: Option<&GateView>| gate.filter(|_| self.fresh).map_or(Verdict::Unknown, |gate| gate.verdict);
        let open = gates.iter().map(|(phase, gate)| (of(phase), u32::from(verdict(*gate) == Verdict::Open)));
        sheet.gauge("gate_open", "1 only while a fresh evaluation says open", open)?;
        let verdicts = gates.iter().flat_map(|(phase, gate)| {
            let (is, [phase]) = (verdict(*gate), of(phase));
            Verdict::ALL.map(|verdict| ([phase, ("verdict", verdict.as_str())], u32::from(verdict == is)))
        });
        sheet.gauge("gate_verdict", "The verdict of a gate: 1 for the one it has", verdicts)?;
        let blockers =
            gates.iter().map(|(phase, gate)| (of(phase), gate.filter(|_| self.fresh).map_or(1, |gate| gate.blocked_by)));
        sheet.gauge("gate_blockers", "How many reasons keep a gate from being open", blockers)?;
        let have = gates.iter().map(|(phase, gate)| {
            (of(phase), gate.filter(|_| self.fresh).map_or(Duration::ZERO, |gate| gate.soak.have).as_secs_f64())
        });
        sheet.gauge("gate_soak_seconds", "Green time that the probe with the least of it has served", have)?;
        let need = gates.iter().map(|(phase, _)| (of(phase), phase.gate.soak.as_secs_f64()));
        sheet.gauge("gate_soak_required_seconds", "Green time that a gate needs", need)?;
        let max_wait = gates.iter().filter_map(|(phase, _)| Some((of(phase), phase.gate.max_wait?.as_secs_f64())));
        sheet.gauge("gate_max_wait_seconds", "How long a phase may be active before somebody is told", max_wait)?;
        let evaluated = gates.iter().map(|(phase, _)| (of(phase), at(self.evaluation.map(|evaluation| evaluation.at))));
        sheet.gauge("gate_last_evaluation_timestamp_seconds", "When a gate was last evaluated; 0 for never", evaluated)
    }

    fn gate(&self, phase: &PhasePlan) -> Option<&'a GateView> {
        self.evaluation.and_then(|evaluation| evaluation.gate(&phase.name))
    }

    fn phase_families(&self, sheet: &mut Sheet<'_, '_>) -> fmt::Result {
        let phases: Vec<_> = self.plan.phases.iter().map(|phase| (phase, self.state.phase(&phase.name))).collect();
        let states = phases.iter().flat_map(|(phase, record)| {
            let (is, [phase]) = (record.state(), of(phase));
            PhaseState::ALL.map(|state| ([phase, ("state", state.as_str())], u32::from(state == is)))
        });
        sheet.gauge("phase_state", "Where a phase stands: 1 for the state it has", states)?;
        let since = phases.iter().map(|(phase, record)| {
            let stamp = record.complete.as_ref().or(record.begun.as_ref());
            (of(phase), at(stamp.map(|stamp| stamp.at)))
        });
        sheet.gauge("phase_state_since_timestamp_seconds", "When a phase was begun or completed; 0 while it waits", since)?;
        let switched = phases.iter().map(|(phase, record)| (of(phase), at(record.switched.as_ref().map(|stamp| stamp.at))));
        sheet.gauge("phase_switched_timestamp_seconds", "When a phase switched to the new side; 0 if it has not", switched)?;
        let crossed = phases.iter().map(|(phase, record)| (of(phase), u32::from(record.ponr.is_some())));
        sheet.gauge("phase_ponr_crossed", "1 once nothing leads a phase back", crossed)?;
        let regressed = phases.iter().map(|(phase, record)| (of(phase), record.regressed.len()));
        sheet.gauge("phase_regressed", "Probes of a complete phase whose regression is latched", regressed)?;
        let regressions = phases.iter().map(|(phase, record)| (of(phase), record.regressions));
        sheet.counter("regressions", "Regressions that were ever latched", regressions)?;
        let lock = self.state.durable.lock.as_ref();
        let live = lock.filter(|_| self.state.locked(self.scrape.reading.now.t).is_some());
        let held = u32::from(live.is_some());
        sheet.single("lock_held", "1 while somebody may run steps and keeps others out", &held)?;
        let acquired = at(live.map(|lock| lock.stamp.at));
        sheet.single("lock_acquired_timestamp_seconds", "When that lock was taken; 0 while there is none", &acquired)
    }
}

fn of(phase: &PhasePlan) -> [(&'static str, &str); 1] {
    [("phase", &*phase.name)]
}

/// Seconds since 1970; 0 for never.
fn at(moment: Option<Now>) -> f64 {
    moment.map_or(0.0, |now| seconds(now.utc))
}
